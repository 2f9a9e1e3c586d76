# SPDX-License-Identifier: GPL-2.0-or-later
# Thin front of meson and ninja.  `make help` lists the targets.

BUILD ?= build
T ?=
FUZZ_SECONDS ?= 60
KILL_ROUNDS ?= 300
RACE_ROUNDS ?= 30
CRASH_SEEDS ?= 200
SOAK_SECONDS ?= 600
SOAK_SEED ?=

.PHONY: all help deps demo check check-asan check-tsan check-clang check-fs race fuzz torture soak hostile interop bench clean install

all: $(BUILD)/build.ninja  ## build everything (the default)
	@ninja -C $(BUILD)

help:  ## list the targets
	@grep -hE '^[a-z-]+:.*## ' Makefile | sed 's/:.*## /\t/' | expand -t 16

deps:  ## install what the project needs from Debian (as root or through sudo)
	@scripts/install-deps

$(BUILD)/build.ninja: | meson.build
	@scripts/install-deps --quiet
	@./configure --build-dir=$(BUILD) --enable-werror

demo: all  ## run the main job on real disks: a group snapshot under load, and one that fails
	@scripts/demo $(BUILD)

check: all  ## build and run the whole test suite (T=pattern: only tests whose name matches)
	@scripts/run-tests $(BUILD) '$(T)'

# What those that are left out spend their time in is the installed QEMU; their images are made by unit tests.
ASAN_TESTS = ^(?!qcow2-repair-both-ways|qcow2-hostile-images|qcow2-images-both-ways|.*crash-states)

check-asan:  ## the suite under AddressSanitizer and UBSan
	@scripts/install-deps --quiet
	@[ -f build-asan/build.ninja ] || ./configure --build-dir=build-asan --enable-asan --enable-werror
	@ninja -C build-asan
	@scripts/run-tests build-asan '$(or $(T),$(ASAN_TESTS))'

check-tsan:  ## the threaded tests under ThreadSanitizer
	@scripts/install-deps --quiet
	@[ -f build-tsan/build.ninja ] || ./configure --build-dir=build-tsan --cc=clang --enable-tsan
	@ninja -C build-tsan
	@scripts/run-tests build-tsan '^(aio|coroutine|event-loop|iothread|error-policy|group-snapshot|qcow2-threads|race|reopen)'

check-clang:  ## build with clang, warnings and context errors are errors
	@scripts/install-deps --quiet
	@[ -f build-clang/build.ninja ] || ./configure --build-dir=build-clang --cc=clang --enable-werror
	@ninja -C build-clang

check-fs: all  ## as root: what works on files, on xfs, btrfs, ext2, and with sectors of 4 KiB, on loop devices
	@scripts/check-fs $(BUILD) '$(T)'

race:  ## RACE_ROUNDS (30) times everything at once, under ThreadSanitizer
	@[ -f build-tsan/build.ninja ] || ./configure --build-dir=build-tsan --cc=clang --enable-tsan
	@ninja -C build-tsan tools/qemu-storage-daemon
	@QSD=$(abspath build-tsan)/tools/qemu-storage-daemon tests/race/everything-at-once.py $(RACE_ROUNDS)

fuzz:  ## run each fuzz target for FUZZ_SECONDS (60), under the sanitizers, with clang
	@scripts/install-deps --quiet
	@[ -f build-fuzz/build.ninja ] || ./configure --build-dir=build-fuzz --cc=clang --enable-asan -Dfuzzing=true
	@ninja -C build-fuzz tests/fuzz/fuzz-nbd tests/fuzz/fuzz-options tests/fuzz/fuzz-qcow2 tests/fuzz/fuzz-qmp
	@tests/fuzz/run build-fuzz $(FUZZ_SECONDS)

torture: all  ## kill the daemon KILL_ROUNDS (300) times, cut the power in CRASH_SEEDS (200) runs, verify each time
	@QSD=$(abspath $(BUILD))/tools/qemu-storage-daemon tests/qmp/killed-at-every-step.py $(KILL_ROUNDS)
	@$(BUILD)/tests/unit/test-group-crash --seeds=1-$(CRASH_SEEDS) --verbose | grep -E '^ok|a second'
	@$(BUILD)/tests/unit/test-qcow2-crash -m thorough

soak: all  ## everything at random for SOAK_SECONDS (600), from SOAK_SEED if given
	@QSD=$(abspath $(BUILD))/tools/qemu-storage-daemon tests/soak/soak $(SOAK_SECONDS) $(SOAK_SEED)

hostile: all  ## all damages to all fields of qcow2 images, and 120,000 random ones
	@$(BUILD)/tests/unit/test-qcow2-hostile -m thorough

interop: all  ## the comparisons with the installed QEMU, all of them; `make check` takes a sample
	@INTEROP_FULL=1 scripts/run-tests $(BUILD) 'both-ways|states|hostile-images'

bench: all  ## compare with the installed QEMU, in one table
	@tests/bench/bench $(BUILD)

clean:  ## remove the build directories
	@rm -rf build build-asan build-tsan build-clang build-fuzz

install: all  ## install below the prefix given to configure
	@meson install -C $(BUILD)
