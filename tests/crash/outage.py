#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
#
# outage.py - a destination is down for 105 minutes at 1,000 events a second
# and comes back: everything arrives, at no more than its declared rate, while
# it was down it was hardly asked, and its neighbour noticed nothing. The
# host's clocks run `speed` times as fast (manifold-faults.so), its timers with
# them; the figures are in its seconds.
#
# Answers complaints such as: what a destination missed while it was down is
# gone for good (posthog#100792), a fallback that keeps hammering a dead primary
# (redpanda connect#1210), Retry-After and limits ignored (posthog#92214), no
# jitter (vector#4724): the service that comes back is sent down again.

import time

from campaign import Campaign, arguments, check, percentile, run, say, until

RATE_OVER = 1.02       # of the declared rate and the burst of a second
ASKED_PER_MINUTE = 150 # while it is down: probes, and the first failures


def test(box):
    args = box.args
    c = Campaign(box, rate=args.speed, ids=args.ids)
    box.install('webhook')
    c.config({'down': c.hook('down', rate='%d/s' % args.drain, ttl='24h',
                             concurrency=64),
              'other': c.hook('other', ttl='24h', concurrency=64)},
             journal={'retention': '72h', 'max_bytes': '100GiB'})
    host = c.host()
    host.start()
    down, other = c.path('down'), c.path('other')
    load = c.load('--rate', args.rate * args.speed, '--batch', args.batch,
                  '--connections', 8)
    until(lambda: down['delivered'] > args.rate, 60, 'it is under way')
    down.behave('status', status=503)
    before, began = down['requests'], time.monotonic()
    lost_time = other.times()
    other_before = other['delivered']
    seconds = args.minutes * 60 / args.speed
    time.sleep(seconds / 2)
    middle = down['requests']
    time.sleep(seconds / 2)
    asked = down['requests'] - middle
    other_rate = (other['delivered'] - other_before) / \
        (time.monotonic() - began) / args.speed
    p99 = percentile(other.times(), 0.99, lost_time)
    backlog = host.destination('down')['pending']
    down.behave('ok')
    fastest = drain(c, host, down, args)
    say('down for %.1f minutes at %d a second (%dx): %d waited; asked %.0f '
        'times a minute in the second half; drained at %.0f a second at most '
        'of %d declared; the other had %.0f a second, p99 %.0f ms' %
        (args.minutes, args.rate, args.speed, backlog,
         asked / (args.minutes / 2), fastest, args.drain, other_rate, p99))
    c.end(load)
    v = c.close_up(host, seconds=3600)
    say('%d events, none lost, twice: %s' %
        (v['acknowledged'], [p['extra'] for p in v['paths'].values()]))
    check(asked / (args.minutes / 2) < ASKED_PER_MINUTE, 'it was asked more')
    check(fastest <= args.drain * (1 + 1 / args.window) * RATE_OVER, 'it was drained at %.0f' %
          fastest)
    check(other_rate > 0.95 * args.rate, 'the other had %.0f a second' %
          other_rate)
    code, _ = host.stop()
    check(code == 0, 'exit %d' % code)


def drain(c, host, down, args):
    """Until it has caught up; the highest rate over `window` seconds."""
    fastest = 0
    window = args.window / args.speed
    end = time.monotonic() + 3600

    while host.destination('down')['pending'] > args.rate:
        check(time.monotonic() < end, 'it does not catch up')
        n, at = down['requests'], time.monotonic()
        time.sleep(window)
        # What was sent late in one window counts in the next.
        fastest = max(fastest, (down['requests'] - n) /
                      (time.monotonic() - at) / args.speed)
    return fastest


def more(p):
    p.add_argument('--minutes', type=float, default=105)
    p.add_argument('--speed', type=int, default=2)
    p.add_argument('--rate', type=int, default=1000)
    p.add_argument('--drain', type=int, default=2500, help='declared rate')
    p.add_argument('--window', type=float, default=30,
                   help='seconds over which the rate is measured')
    p.add_argument('--batch', type=int, default=10)
    p.add_argument('--ids', type=int, default=20000000)


if __name__ == '__main__':
    run(test, arguments(more))
