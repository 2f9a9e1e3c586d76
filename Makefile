# SPDX-License-Identifier: GPL-2.0-or-later
# Thin front of meson and ninja.  `make help` lists the targets.

BUILD ?= build
T ?=
F ?=
FUZZ_SECONDS ?= 60
KILL_ROUNDS ?= 300
RACE_ROUNDS ?= 30
CRASH_SEEDS ?= 200
SOAK_SECONDS ?= 600
SOAK_SEED ?=
REF ?=
EMULATOR ?=

# ninja uses all processors by itself.
.NOTPARALLEL:
.PHONY: all help deps deps-build deps-check daemon demo check check-asan check-tsan check-clang check-fs coverage race fuzz torture soak hostile programs interop libvirt bench compatibility clean install deb check-deb

all: $(BUILD)/build.ninja  ## build everything (the default)
	@ninja -C $(BUILD)

daemon: $(BUILD)/build.ninja  ## build the daemon only
	@ninja -C $(BUILD) tools/qemu-storage-daemon

help:  ## list the targets
	@grep -hE '^[a-z-]+:.*## ' Makefile | sed 's/:.*## /\t/' | expand -t 16

deps:  ## install all that the project needs from Debian (as root or through sudo)
	@scripts/install-deps check clang

# Each time: a library that is removed later would show as an error of ninja or the compiler.
deps-build:
	@scripts/install-deps --quiet build

# What the tests use besides may have come after the build was configured, which has to be told.
deps-check: $(BUILD)/build.ninja
	@scripts/install-deps --quiet check
	@[ -f $(BUILD)/.with-check ] || \
	    { meson setup --reconfigure $(BUILD) . >/dev/null && touch $(BUILD)/.with-check; }

$(BUILD)/build.ninja: | meson.build deps-build
	@./configure --build-dir=$(BUILD) --enable-werror

demo: daemon  ## run the main job on real disks: a group snapshot under load, and one that fails
	@scripts/install-deps --quiet demo
	@scripts/demo $(BUILD)

check: deps-check all  ## build and run the whole test suite (T=pattern: only tests whose name matches)
	@scripts/run-tests $(BUILD) '$(T)'

# What those that are left out spend their time in is the installed QEMU, libvirt, or waiting; their images are made by
# unit tests.  Of the long ones of a daemon, which waits for files in one way or the other, one is enough.
ASAN_ONCE = backup|chains-get-shorter|copies-to-new-files|error-policy|file-systems-that-stop|fleecing|hostile-clients|mirror|slow-disk-holds-up-nobody|throttle
ASAN_TESTS = ^(?!qcow2-repair-both-ways|qcow2-hostile-images|qcow2-images-both-ways|qcow2-snapshots-both-ways|.*crash-states|qemu-img-is-interrupted|libvirt-(as-documented|backups|chains|devices|real-guest|with-a-machine)|($(ASAN_ONCE))-threads)

check-asan:  ## the suite under AddressSanitizer and UBSan
	@scripts/install-deps --quiet check
	@[ -f build-asan/build.ninja ] || ./configure --build-dir=build-asan --enable-asan --enable-werror
	@ninja -C build-asan
	@scripts/run-tests build-asan '$(or $(T),$(ASAN_TESTS))'

check-tsan:  ## the threaded tests under ThreadSanitizer
	@scripts/install-deps --quiet check clang
	@[ -f build-tsan/build.ninja ] || ./configure --build-dir=build-tsan --cc=clang --enable-tsan
	@ninja -C build-tsan
	@scripts/run-tests build-tsan '^(aio|coroutine|event-loop|iothread|error-policy|group-snapshot|qcow2-threads|race|reopen)'

coverage:  ## run the suite in a build that counts, and print lines and branches per folder (F=pattern: details of files)
	@scripts/install-deps --quiet check --also gcovr
	@[ -f build-coverage/build.ninja ] || ./configure --build-dir=build-coverage --debug -Db_coverage=true \
	    -Dc_args=-fprofile-update=atomic
	@ninja -C build-coverage
	@find build-coverage -name '*.gcda' -delete
	@scripts/run-tests build-coverage '$(T)' || echo 'coverage: some tests failed; what they went through counts'
	@scripts/coverage build-coverage '$(F)'

check-clang:  ## build with clang, warnings and context errors are errors
	@scripts/install-deps --quiet check clang
	@[ -f build-clang/build.ninja ] || ./configure --build-dir=build-clang --cc=clang --enable-werror
	@ninja -C build-clang

check-fs: all  ## as root: what works on files, on xfs, btrfs, ext2, and with sectors of 4 KiB, on loop devices
	@scripts/check-fs $(BUILD) '$(T)'

libvirt: deps-check all  ## what libvirt does, a real guest too, with the program EMULATOR (the one that is built, without a machine)
	@for t in group-snapshots chains backups devices $(if $(EMULATOR),real-guest); do \
	    echo "== $$t"; GUEST_INIT=$(abspath $(BUILD))/tests/libvirt/guest/guest-init \
	    EMULATOR='$(or $(EMULATOR),$(abspath $(BUILD))/tools/qemu-system-x86_64)' \
	    $(if $(EMULATOR),,QEMU_INNER=off) /usr/bin/python3 tests/libvirt/$$t.py </dev/null || exit 1; done

race:  ## RACE_ROUNDS (30) times everything at once, under ThreadSanitizer
	@[ -f build-tsan/build.ninja ] || ./configure --build-dir=build-tsan --cc=clang --enable-tsan
	@ninja -C build-tsan tools/qemu-storage-daemon
	@QSD=$(abspath build-tsan)/tools/qemu-storage-daemon tests/race/everything-at-once.py $(RACE_ROUNDS)

fuzz:  ## run each fuzz target for FUZZ_SECONDS (60), under the sanitizers, with clang
	@scripts/install-deps --quiet check clang
	@[ -f build-fuzz/build.ninja ] || ./configure --build-dir=build-fuzz --cc=clang --enable-asan -Dfuzzing=true
	@ninja -C build-fuzz tests/fuzz/fuzz-hmp tests/fuzz/fuzz-nbd tests/fuzz/fuzz-options tests/fuzz/fuzz-qcow2 tests/fuzz/fuzz-qmp
	@tests/fuzz/run build-fuzz $(FUZZ_SECONDS)

torture: all  ## kill the daemon KILL_ROUNDS (300) times, cut the power in CRASH_SEEDS (200) runs, verify each time
	@QSD=$(abspath $(BUILD))/tools/qemu-storage-daemon tests/qmp/killed-at-every-step.py $(KILL_ROUNDS)
	@$(BUILD)/tests/unit/test-group-crash --seeds=1-$(CRASH_SEEDS) --verbose | grep -E '^ok|a second'
	@$(BUILD)/tests/unit/test-group-schedules --seeds=1-$$(($(CRASH_SEEDS) * 20)) --verbose | grep -E '^ok|schedules,'
	@$(BUILD)/tests/unit/test-qcow2-crash -m thorough

soak: all  ## everything at random for SOAK_SECONDS (600), from SOAK_SEED if given
	@QSD=$(abspath $(BUILD))/tools/qemu-storage-daemon tests/soak/soak $(SOAK_SECONDS) $(SOAK_SEED)

hostile: all  ## all damages to all fields of qcow2 images, and 120,000 random ones
	@$(BUILD)/tests/unit/test-qcow2-hostile -m thorough

programs: all  ## all small programs on tiny images, every call of all of them fails in every way
	@$(BUILD)/tests/unit/test-qcow2-programs -m thorough --verbose | grep -E '^(not )?ok|programs|failing calls'

interop: deps-check all  ## the comparisons with the installed QEMU, all of them; `make check` takes a sample
	@INTEROP_FULL=1 scripts/run-tests $(BUILD) 'both-ways|states|hostile-images'

bench: deps-check daemon  ## compare with the installed QEMU, or with the programs in the folder REF, in one table
	@tests/bench/bench $(BUILD) $(if $(REF),--ref '$(REF)')
	@tests/bench/scale $(BUILD) $(if $(REF),--ref '$(REF)')
	@tests/bench/jobs $(BUILD) $(if $(REF),--ref '$(REF)')
	@tests/bench/tools $(BUILD) $(if $(REF),--ref '$(REF)')
	@tests/bench/guest $(BUILD) $(if $(REF),--ref '$(REF)/qemu-system-x86_64')

compatibility: daemon  ## write docs/compatibility.md anew, after a change of the interface
	@scripts/compatibility doc $(BUILD)/tools/qemu-storage-daemon > $(BUILD)/compatibility.md
	@mv $(BUILD)/compatibility.md docs/compatibility.md

clean:  ## remove the build directories
	@rm -rf build build-asan build-tsan build-clang build-coverage build-deb build-fuzz

install: all  ## install below the prefix given to configure, or another one: prefix=/usr DESTDIR=/where
	$(if $(prefix),@meson configure $(BUILD) -Dprefix='$(abspath $(prefix))')
	@meson install -C $(BUILD)

deb:  ## build Debian packages into build-deb/packages (program_prefix=X-: beside QEMU's programs)
	@scripts/install-deps --quiet deb
	@scripts/make-deb --build-dir=build-deb --program-prefix='$(program_prefix)' --output=build-deb/packages

check-deb: deps-check all  ## as root: install the packages into a bare Debian 12, which it gets from a mirror first
	@scripts/install-deps --quiet deb --also mmdebstrap lintian
	@[ -f build-deb/debian-12.tar ] || scripts/make-bare-debian build-deb
	@scripts/run-tests $(BUILD) '^(installed|bare-debian)$$'
