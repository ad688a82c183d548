#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
#
# backlog.py - millions of events wait in one lane: the worker's memory does
# not grow with them, the host starts as fast as without, and what waits drains
# at the rate of fresh events.
#
# Answers complaints such as: no start when too many chunks have piled up, since
# all are read into memory (fluent-bit#5166, #2566), a backlog that makes a
# table slow until the process panics daily (rudder-server#4588), 18 GiB under
# backpressure (fluent-bit#11279).

import time

from campaign import Campaign, arguments, check, children, role, rss, run, \
    say, until

MEMORY = 64 << 20
START_S = 2.0


def workers(host):
    return [p for p in children(host.pid) if role(p).startswith('worker')]


def drained(c, path, host, seconds, peak):
    """Events a second over so many seconds; keeps the workers' peak."""
    n, began = path['delivered'], time.monotonic()
    while time.monotonic() - began < seconds:
        peak[0] = max([peak[0]] + [rss(p) for p in workers(host)])
        time.sleep(0.05)
    return (path['delivered'] - n) / (time.monotonic() - began)


def test(box):
    args = box.args
    c = Campaign(box, ids=args.events + args.fresh + 1000)
    box.install('webhook')
    c.config({'a': c.hook('a', concurrency=64, ttl='720h')},
             journal={'retention': '720h', 'max_bytes': '100GiB'})
    host = c.host()
    host.start()
    path = c.path('a')
    # What it does with what has just come.
    host.admin('POST', '/v1/destinations/a/pause')
    c.end(c.load('--batch', 100, '--events', args.fresh), stop=False)
    host.admin('POST', '/v1/destinations/a/resume')
    until(lambda: path['delivered'] > 0, 20, 'it delivers')
    began = time.monotonic()
    until(lambda: path['delivered'] >= args.fresh, 120, 'fresh ones arrive')
    fresh = args.fresh / (time.monotonic() - began)

    host.admin('POST', '/v1/destinations/a/pause')
    r = c.end(c.load('--batch', 100, '--events', args.events), stop=False)
    say('%d events laid up at %d a second' %
        (args.events, r['events_per_second']))
    code, _ = host.stop()
    check(code == 0, 'exit %d' % code)
    began = time.monotonic()
    host.start()
    ready = time.monotonic() - began
    peak = [0]
    host.admin('POST', '/v1/destinations/a/resume')
    began = time.monotonic()
    n = path['delivered']
    until(lambda: path['delivered'] > n, 30, 'it goes on', every=0.002)
    first = time.monotonic() - began
    rate = drained(c, path, host, args.seconds, peak)
    pending = host.destination('a')['pending']
    say('%d pending: ready after %.2f s, delivers after %.2f s more, drains '
        'at %.0f a second (fresh ones: %.0f), worker %.1f MiB at most' %
        (pending, ready, first, rate, fresh, peak[0] / 2**20))
    check(args.sanitized or peak[0] < MEMORY, 'a worker has %.1f MiB' %
          (peak[0] / 2**20))
    check(ready < START_S * (5 if args.sanitized else 1),
          'it was ready after %.2f s' % ready)
    check(args.sanitized or rate > 0.7 * fresh, 'it drains at %.2f of the rate of fresh events' %
          (rate / fresh))
    if args.whole:
        v = c.close_up(host, seconds=7200)
        say('%d events, none lost, %d twice' %
            (v['acknowledged'], v['paths']['a']['extra']))
    code, _ = host.stop()
    check(code == 0, 'exit %d' % code)
    c.audit()


def more(p):
    p.add_argument('--events', type=int, default=10000000)
    p.add_argument('--fresh', type=int, default=50000)
    p.add_argument('--seconds', type=float, default=20,
                   help='of draining that are measured')
    p.add_argument('--whole', action='store_true',
                   help='drain all, and look for every event')
    p.add_argument('--sanitized', action='store_true',
                   help='a build whose memory and speed say nothing')


if __name__ == '__main__':
    run(test, arguments(more))
