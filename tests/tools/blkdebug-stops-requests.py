#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""A request stops at a breakpoint until it is resumed; a configuration file and rules make requests fail when they say."""

from qemuio import Images, main, read, requires, wrote

requires('qemu-img')

STOPS = "blkdebug: Suspended request 'A'\n"
GOES_ON = "blkdebug: Resuming request 'A'\n"
OPEN = 'open blkdebug::a.qcow2'


def test_a_stopped_request_waits_and_others_go_on():
    with Images() as d:
        d.create('a.qcow2', 'qcow2', '4M')
        assert d.ok(None, OPEN, 'break write_aio A', 'aio_write -P 1 0 64k', 'wait_break A',
                    'write -P 2 128k 64k', 'read -P 2 128k 64k', 'resume A', 'aio_flush', 'read -P 1 0 64k') == \
            STOPS + wrote(65536, 131072, '64 KiB') + read(65536, 131072, '64 KiB') + GOES_ON + \
            wrote(65536, 0, '64 KiB') + read(65536, 0, '64 KiB')


def test_a_breakpoint_stops_one_request():
    with Images() as d:
        d.create('a.qcow2', 'qcow2', '4M')
        assert d.ok(None, OPEN, 'break write_aio A', 'aio_write 0 64k', 'wait_break A', 'aio_write 64k 64k',
                    'sleep 50', 'remove_break A', 'aio_flush') == \
            STOPS + wrote(65536, 65536, '64 KiB') + GOES_ON + wrote(65536, 0, '64 KiB')


def test_a_breakpoint_that_was_removed_stops_nothing():
    with Images() as d:
        d.create('a.qcow2', 'qcow2', '4M')
        assert d.ok(None, OPEN, 'break write_aio A', 'remove_break A', 'write 0 64k') == wrote(65536, 0, '64 KiB')


def test_what_is_stopped_at_the_end_is_let_go():
    with Images() as d:
        d.create('a.qcow2', 'qcow2', '4M')
        for last in (('close',), ('quit',), ()):
            assert d.ok(None, OPEN, 'break write_aio A', 'break write_aio B', 'aio_write 0 64k', 'wait_break A',
                        *last, timeout=20).endswith(wrote(65536, 0, '64 KiB'))


def test_names_that_are_none():
    with Images() as d:
        d.create('a.qcow2', 'qcow2', '4M')
        for image, why in (('blkdebug::a.qcow2', 'No such file or directory'), ('a.qcow2', 'Operation not supported')):
            for command, text in (('break nosuch A', 'Could not set breakpoint: '),
                                  ('resume A', 'Could not resume request: '),
                                  ('remove_break A', 'Could not remove breakpoint A: ')):
                assert d.io(image, command) == (text + why + '\n', '', 1), (image, command)
        # And what can never be is not waited for.
        out, err, status = d.io('a.qcow2', 'wait_break A', timeout=20)
        assert status == 1 and 'Operation not supported' in out, out


def test_rules_of_a_file():
    with Images() as d:
        d.create('a.qcow2', 'qcow2', '4M')
        d.write('conf', '# comment\n\n[inject-error]\nevent = "write_aio"\nerrno = "5"\nonce = "on"\nimmediately = "off"\n')
        out, err, status = d.io('blkdebug:conf:a.qcow2', 'write 0 64k', 'write 0 64k')
        assert (out, status) == ('write failed: Input/output error\n' + wrote(65536, 0, '64 KiB'), 1), out


def test_states_of_a_file():
    """The second write fails, not the first one."""
    with Images() as d:
        d.create('a.qcow2', 'qcow2', '4M')
        d.write('conf', '[inject-error]\nevent = "write_aio"\nstate = "2"\nonce = "on"\nerrno = "5"\n'
                        '[set-state]\nevent = "write_aio"\nstate = "1"\nnew_state = "2"\n')
        out, err, status = d.io('blkdebug:conf:a.qcow2', 'write 0 64k', 'write 64k 64k', 'write 128k 64k')
        assert out == wrote(65536, 0, '64 KiB') + 'write failed: Input/output error\n' + \
            wrote(65536, 131072, '64 KiB'), out


def test_what_is_wrong_with_a_file():
    with Images() as d:
        d.create('a.qcow2', 'qcow2', '4M')
        for text, why in (('nonsense', 'line 1: parse error'), ('\n[nosuch]\n', 'line 2'), ('errno = "5"\n', 'line 1'),
                          ('[inject-error]\nevent = "nosuch"\n', 'Invalid event name "nosuch"'),
                          ('[inject-error]\nerrno = "5"\n', 'Missing event name'),
                          ('[inject-error]\nevent = l1_update\n', 'line 2: parse error'),
                          ('[inject-error]\nevent = "l1_update"\nerrno = "x"\n', 'line 3'),
                          ('[inject-error]\nevent = "l1_update"\nnosuch = "1"\n', 'line 3: Invalid parameter'),
                          ('[set-state]\nevent = "l1_update"\nerrno = "5"\n', 'line 3: Invalid parameter'),
                          ('a\0b', 'no text')):
            d.write('conf', text)
            out, err, status = d.io('blkdebug:conf:a.qcow2', 'length')
            assert status == 1 and why in err, (text, err)


def test_an_event_arms_what_belongs_to_it_until_another_does():
    rules = 'file.driver=blkdebug,file.inject-error.0.event=write_aio,file.inject-error.0.iotype=write,' \
            'file.inject-error.0.errno=%d'
    with Images() as d:
        d.create('a.raw', 'raw', '1M')
        out, err, status = d.io(None, 'open -o driver=raw,' + rules % 28 + ' a.raw', 'read 0 512', 'write 0 512',
                                'write 0 512', 'read 0 512')
        failed = 'write failed: No space left on device\n'
        assert out == read(512, 0, '512 bytes') + 2 * failed + read(512, 0, '512 bytes'), out


def test_parts_of_a_write_that_is_not_aligned_have_events():
    with Images() as d:
        d.create('a.raw', 'raw', '1M')
        for event in ('pwritev_rmw_head', 'pwritev_rmw_after_head', 'pwritev_rmw_tail', 'pwritev_rmw_after_tail',
                      'pwritev', 'pwritev_done'):
            assert d.ok(None, 'open -o driver=raw,file.align=4k blkdebug::a.raw', 'break %s A' % event,
                        'aio_write 100 8k', 'wait_break A', 'resume A', 'aio_flush', timeout=20) == \
                STOPS + GOES_ON + wrote(8192, 100, '8 KiB'), event


def test_zeroing_and_discarding_in_units_of_its_own():
    options = 'driver=raw,file.driver=blkdebug,file.align=512,file.opt-write-zero=4k,file.max-write-zero=8k,' \
              'file.opt-discard=4k,file.max-discard=8k'
    with Images() as d:
        d.create('a.raw', 'raw', '1M')
        d.ok(None, 'open -o %s a.raw' % options, 'write -P 1 0 64k', 'write -z 512 30k', 'read -P 1 0 512',
             'read -P 0 512 30k', 'read -P 1 31232 1k', 'discard 32256 20k', 'read -P 1 60k 4k')
        for limit in ('align=1000', 'max-transfer=1000,file.align=512', 'max-write-zero=6k,file.opt-write-zero=4k', 'opt-discard=100,file.align=512',
                      'max-discard=6k,file.opt-discard=4k'):
            out, err, status = d.io(None, 'open -o driver=raw,file.driver=blkdebug,file.%s a.raw' % limit, 'length')
            assert status == 1 and 'Cannot meet constraints with ' in err, (limit, err)


if __name__ == '__main__':
    main(globals())
