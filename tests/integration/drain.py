#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
#
# drain.py - TERM under load: the host ends with 0 within shutdown_seconds,
# whoever was answered 200 finds the events delivered after the next start,
# and nothing is delivered twice. Also with a destination that never answers,
# which may cost shutdown_seconds but no more.

import os

from crash import all_arrived, conserved
from harness import (Load, Mode, Receiver, arguments, check, run, say, until)

SHUTDOWN = 3


def duplicates(path):
    return {i: n for i, n in path.delivered.items() if n > 1}


def once(box, receiver, args):
    """Several stops and starts under one load."""
    host = box.host()
    host.start()
    load = Load(box.net, host, args.rate)
    longest = 0.0
    for _ in range(args.times):
        before = len(load.acknowledged)
        until(lambda: len(load.acknowledged) > before + args.rate / 2, 20,
              'the load is under way')
        code, took = host.stop()
        longest = max(longest, took)
        check(code == 0, 'TERM: exit %d' % code)
        check(took < SHUTDOWN, 'TERM: stopped after %.2f s' % took)
        host.start() # what was accepted meanwhile is this start's
    load.stop()
    names = ('/fast', '/slow', '/flaky')
    all_arrived(load, receiver, names)
    for name in names:
        twice = duplicates(receiver.path(name))
        again = {i: n for i, n in receiver.path(name).seen.items() if n > 1}
        say('%s: %d events once, %d twice (%d requests repeated)' %
            (name, len(receiver.path(name).delivered) - len(twice),
             len(twice), len(again)))
        check(not twice, '%s got twice: %s' % (name, sorted(twice)[:5]))
    conserved(host)
    code, took = host.stop()
    check(code == 0, 'TERM at rest: exit %d' % code)
    check(not load.refused, 'refused: %s' % load.refused)
    lines = [line for line in host.log if 'not drained' in line]
    check(not lines, 'the log says %s' % lines)
    say('drain: %d stops under %g events/s, %d events, longest %.2f s' %
        (args.times, args.rate, len(load.acknowledged), longest))


def never(box, receiver, args):
    """One destination hangs: the stop waits for it, but no longer."""
    receiver.path('/slow').mode = Mode(never=True)
    receiver.path('/flaky').mode = Mode()
    host = box.host()
    host.start()
    load = Load(box.net, host, args.rate, prefix='n')
    until(lambda: len(load.acknowledged) > args.rate / 2, 20,
          'the load is under way')
    code, took = host.stop()
    check(code == 0, 'TERM with a hanging destination: exit %d' % code)
    check(took < SHUTDOWN + 1.5, 'TERM: stopped after %.2f s' % took)
    receiver.path('/slow').mode = Mode()
    host.start()
    load.stop()
    all_arrived(load, receiver, ('/fast', '/slow', '/flaky'))
    check(not duplicates(receiver.path('/fast')), 'the fast one got twice: %s'
          % duplicates(receiver.path('/fast')))
    say('drain: a hanging destination, stopped after %.2f s' % took)
    code, took = host.stop()
    check(code == 0, 'exit %d' % code)


def test(box):
    args = box.args
    receiver = Receiver(box.net)
    box.install('webhook')
    box.write_config(box.config({
        'fast': box.webhook(receiver.url('/fast')),
        'slow': box.webhook(receiver.url('/slow'), isolate=True),
        'flaky': box.webhook(receiver.url('/flaky'))},
        shutdown_seconds=SHUTDOWN))
    receiver.path('/slow').mode = Mode(delay=0.3)
    receiver.path('/flaky').mode = Mode(503, chance=0.1)
    once(box, receiver, args)
    never(box, receiver, args)


def more(p):
    p.add_argument('--times', type=int,
                   default=int(os.environ.get('DRAIN_TIMES', 4)))
    p.add_argument('--rate', type=float, default=300)


if __name__ == '__main__':
    args = arguments(more)
    run(test, args)
