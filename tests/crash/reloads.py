#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
#
# reloads.py - reload after reload under load, each with a new content of the
# plugin, awaited one by one: no event is lost, no request refused, no
# connection ended, and the answers of ingest are as quick as without.
#
# Answers complaints such as: a reload swallowed though the API said success
# (fluent-bit#8457), one in progress for ever (fluent-bit#9354), one that hangs
# while a request is failing (vector#24125), panics and segfaults
# (vector#13814, #15602, fluent-bit#11183), the first message after it lost
# (redpanda connect#1733).

import signal
import statistics
import time

from campaign import Campaign, arguments, check, children, percentile, role, \
    run, say, until

SLOWER, SLOWER_MS = 1.5, 5.0 # what counts as noise of p99


def reload_once(box, c, host, number):
    box.put_plugin('webhook', box.plugin_bytes('webhook') +
                   b'version %d' % number)
    before = host.reload_count()[0]
    host.signal(signal.SIGHUP)

    def done():
        n, under_way = host.reload_count()
        return n > before and not under_way and n
    n = until(done, 40, 'reload %d is over' % number, every=0.005)
    outcome = host.get('/v1/reloads/%d' % n)
    changes = {(x['kind'], x['name']): x['change']
               for x in outcome['changes']}
    check(not outcome['refused'] and
          changes[('plugin', 'webhook')] == 'replaced',
          'reload %d: %s' % (number, outcome))


def test(box):
    args = box.args
    c = Campaign(box)
    box.install('webhook')
    c.config({n: c.hook(n, concurrency=32, isolate=n == 'b') for n in 'abc'})
    host = c.host()
    host.start()
    load = c.load('--rate', args.rate, '--connections', 8)
    until(lambda: c.tally['acked'] > args.rate / 2, 20, 'it is under way')
    p99 = {True: [], False: []}
    number = 0
    began = time.monotonic()
    for block in range(args.blocks):
        for with_them in ((True, False) if block % 2 else (False, True)):
            before = c.tally.answers()
            at = time.monotonic()
            for _ in range(args.reloads // args.blocks if with_them else 0):
                number += 1
                reload_once(box, c, host, number)
                time.sleep(args.every) # starting workers takes processors
            if not with_them:
                time.sleep(args.quiet)
            p99[with_them].append(percentile(c.tally.answers(), 0.99, before))
    took = time.monotonic() - began
    c.end(load)
    v = c.close_up(host)
    with_them = statistics.median(p99[True])
    without = statistics.median(p99[False])
    alive = [p for p in children(host.pid) if role(p).startswith('worker')]
    say('%d reloads in %.0f s, %d events acknowledged, none lost, twice %s; '
        'p99 of ingest %.2f ms with reloads, %.2f ms without (%s | %s)' %
        (number, took, v['acknowledged'],
         [p['extra'] for p in v['paths'].values()], with_them, without,
         ' '.join('%.2f' % x for x in p99[True]),
         ' '.join('%.2f' % x for x in p99[False])))
    check(v['busy'] == 0 and v['broken_connections'] == 0,
          'requests were refused or connections ended: %s' % v)
    check(len(alive) <= 2, 'there are %d workers' % len(alive))
    check(args.sanitized or with_them <= max(SLOWER * without,
                                             without + SLOWER_MS),
          'ingest answers more slowly')
    code, _ = host.stop()
    check(code == 0, 'exit %d' % code)


def more(p):
    p.add_argument('--reloads', type=int, default=1000)
    p.add_argument('--blocks', type=int, default=10,
                   help='between which it rests')
    p.add_argument('--quiet', type=float, default=5, help='seconds of that')
    p.add_argument('--every', type=float, default=0.2,
                   help='seconds of rest after each')
    p.add_argument('--rate', type=int, default=500)
    p.add_argument('--sanitized', action='store_true')


if __name__ == '__main__':
    run(test, arguments(more))
