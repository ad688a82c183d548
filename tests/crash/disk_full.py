#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
#
# disk_full.py - the disk fills up under load and has space again, over and
# over: no process ends, nothing acknowledged is lost, refusals are 503 with
# Retry-After, and within a second of there being space events are taken.
#
# Answers complaints such as: accepting for hours what a full volume did not
# take (jitsu#1180), throwing everything away (fluentd#1698), an input that
# never resumes (redpanda connect#919), chunks that can neither be opened nor
# deleted (fluent-bit#9669), and a process that has to exit by design.

import time

from campaign import Campaign, arguments, check, children, run, say, until


def pids(host):
    return [host.pid] + children(host.pid)


def test(box):
    args = box.args
    c = Campaign(box, ids=5000000)
    box.install('webhook')
    c.config({n: c.hook(n, concurrency=32, isolate=n == 'b') for n in 'ab'})
    host = c.host()
    host.start()
    load = c.load('--connections', 8, '--batch', 16, '--pad', 28000)
    until(lambda: c.tally['acked'] > 100, 20, 'the load is under way')
    until(lambda: all(host.destination(n)['worker_pid'] for n in 'ab'), 20,
          'there are workers')
    before = pids(host)
    backs = []
    for i in range(args.episodes):
        busy = c.tally['busy']
        c.page['full'] = 1
        until(lambda: c.tally['busy'] > busy + 20, 60, 'it refuses')
        time.sleep(0.05 * (i % 5)) # phases against its retries
        acked = c.tally['acked']
        c.page['full'] = 0
        at = time.monotonic()
        until(lambda: c.tally['acked'] > acked, 20, 'it accepts again',
              every=0.002)
        backs.append(time.monotonic() - at)
        check(pids(host) == before, 'a process ended')
    c.end(load)
    v = c.close_up(host, seconds=1200)
    backs.sort()
    say('%d episodes, %d writes found no space, %d answers 503 or 429; back '
        'after %.3f s (median), %.3f s (longest); %d events, none lost' %
        (args.episodes, c.page['done_enospc'], v['busy'],
         backs[len(backs) // 2], backs[-1], v['acknowledged']))
    check(backs[-1] < args.within, 'it took %.2f s to be back' % backs[-1])
    check(c.page['done_enospc'] >= args.episodes, 'the disk was not full')
    code, _ = host.stop()
    check(code == 0, 'exit %d' % code)


def more(p):
    p.add_argument('--episodes', type=int, default=50)
    p.add_argument('--within', type=float, default=1.0,
                   help='seconds until it accepts again')


if __name__ == '__main__':
    run(test, arguments(more))
