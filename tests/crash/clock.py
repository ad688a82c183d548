#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
#
# clock.py - the wall clock of a running host jumps by hours, forward and back,
# and processes end meanwhile: events are taken and delivered as before, and
# what waits for its next attempt does not wait until the clock that set its
# time comes round again.

import os
import signal
import time

from campaign import Campaign, arguments, check, run, say, until

HOUR = 3600 * 1000


def fresh_events(c, what):
    """A few events go through, promptly."""
    n = c.tally['made']
    before = c.path('well')['delivered']
    began = time.monotonic()
    c.end(c.load('--events', 20, '--connections', 4), stop=False)
    check(c.tally['made'] == n + 20, 'made %d' % (c.tally['made'] - n))
    until(lambda: c.path('well')['delivered'] >= before + 20, 10,
          what + ': they arrive')
    return time.monotonic() - began


def retries_of(host, seconds):
    until(lambda: host.destination('ill')['waiting_retries'] > 0, seconds,
          lambda: 'some wait: %s' % host.destination('ill'))
    return host.destination('ill')['waiting_retries']


def test(box):
    c = Campaign(box, ids=10000)
    box.install('webhook')
    c.config({n: c.hook(n, ttl='720h', isolate=n == 'ill')
              for n in ('well', 'ill')})
    host = c.host()
    host.start()
    fresh_events(c, 'before')
    for jump in (+5 * HOUR, -3 * HOUR, +6 * HOUR, 0):
        c.page['wall_ms'] = jump
        took = fresh_events(c, 'after a jump to %+d h' % (jump / HOUR))
        check(took < 10, 'it took %.1f s' % took)

    # Retries are set hours ahead of the clock that the next worker reads.
    c.page['wall_ms'] = 5 * HOUR
    c.path('ill').behave('status', status=503)
    fresh_events(c, 'one is ill')
    waiting = retries_of(host, 20)
    time.sleep(0.3) # the rows are in state.db 0.1 s after that
    c.page['wall_ms'] = 0
    os.kill(host.destination('ill')['worker_pid'], signal.SIGKILL)
    c.path('ill').behave('ok')
    began = time.monotonic()
    v = c.close_up(host, seconds=90)
    say('%d waited, set by a clock 5 h ahead; all %d had arrived %.1f s after '
        'it was turned back' %
        (waiting, v['acknowledged'], time.monotonic() - began))
    code, _ = host.stop()
    check(code == 0, 'exit %d' % code)


if __name__ == '__main__':
    run(test, arguments())
