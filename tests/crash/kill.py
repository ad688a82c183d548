#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
#
# kill.py - kill -9 of the whole tree at random moments, under as many events
# as the machine takes: no acknowledged event is lost, and no more arrive
# twice than were in flight: each receiver sees so many calls at once.
#
# Answers complaints such as: a buffer on disk that did not survive a pod's
# kill (fluent-bit#8432), failed events kept in a directory that died with the
# container (jitsu#1023), messages read that never reach the output
# (redpanda connect#3700).

import random
import time

from campaign import Campaign, arguments, check, run, say, until

AT_ONCE = 32 # calls to each destination


def test(box):
    args = box.args
    c = Campaign(box, ids=args.ids)
    box.install('webhook')
    names = ['a', 'b']
    c.config({n: c.hook(n, concurrency=AT_ONCE, isolate=n == 'b')
              for n in names})
    host = c.host()
    host.start()
    load = c.load('--connections', 16, '--batch', args.batch)
    chance = random.Random(args.seed)
    began = time.monotonic()
    longest = 0
    for i in range(args.kills):
        n = c.tally['acked']
        at = time.monotonic()
        if i % 4 == 3: # also while it starts
            time.sleep(chance.uniform(0, 0.3))
        else:
            until(lambda: c.tally['acked'] > n, 30, 'it accepts again')
            longest = max(longest, time.monotonic() - at)
            time.sleep(chance.uniform(0, 0.6))
        host.kill_tree()
        host.start(wait=False)
        if args.kills > 50 and i % 50 == 49:
            say('%d kills, %d acknowledged' % (i + 1, c.tally['acked']))
    host.await_ready(host.addresses_path())
    took = time.monotonic() - began
    c.end(load)
    v = c.close_up(host, seconds=3600)
    say('%d kills in %.0f s (seed %d), %d events acknowledged, %.0f a second;'
        ' longest pause %.2f s' %
        (args.kills, took, args.seed, v['acknowledged'],
         v['acknowledged'] / took, longest))
    for n in names:
        p = v['paths'][n]
        say('  %s: %d missing, %d twice, %.1f a kill' %
            (n, p['missing'], p['extra'], p['extra'] / args.kills))
        check(p['extra'] <= args.kills * AT_ONCE,
              '%d arrived twice, of at most %d that were in flight' %
              (p['extra'], args.kills * AT_ONCE))
    code, _ = host.stop()
    check(code == 0, 'exit %d' % code)


def more(p):
    p.add_argument('--kills', type=int, default=500)
    p.add_argument('--batch', type=int, default=1)
    p.add_argument('--ids', type=int, default=20000000)
    p.add_argument('--seed', type=int,
                   default=random.SystemRandom().randrange(1 << 30))


if __name__ == '__main__':
    run(test, arguments(more))
