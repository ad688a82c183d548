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
#
# Then a flood of invalid events while state.db cannot be written: memory that
# stays within what the pages say, 429, and each that was answered with 200 is
# kept; and these are tried again while syncs fail, and all taken.

import base64
import http.client
import json
import time

from campaign import KEY, Campaign, arguments, check, children, run, say, \
    until

EACH = 12 # events of a batch that are too large, some 40 KB each
STUCK_S = 2 # of nothing but refusals: then no more is taken
# What waits for state.db (host/state/state.h: STATE_STRAINED), what waits for
# the supervisor (host/ingest/loop.h: LETTERS_BACKLOG), and a batch each.
HELD = (32 << 20, 48 << 20)


def pids(host):
    return [host.pid] + children(host.pid)


def letters(host):
    return host.get('/v1/sources/web/dead?brief=true&limit=1')['letters']


def flood(c, host, batches):
    """Batches of invalid events until they are told to wait; how many were
    taken."""
    auth = base64.b64encode((KEY + ':').encode()).decode()
    conn = http.client.HTTPConnection('127.0.0.1', c.ingest, timeout=30)
    taken, since = 0, time.monotonic()
    while taken < batches:
        events = [{'type': 'track', 'event': 'E', 'userId': 'u',
                   'messageId': 'flood-%d-%d' % (taken, i), 'pad': 'x' * 40000}
                  for i in range(EACH)]
        conn.request('POST', '/v1/batch', json.dumps({'batch': events}),
                     {'Authorization': 'Basic ' + auth})
        r = conn.getresponse()
        text = r.read()
        if r.status == 429:
            check(r.getheader('Retry-After') == '1', r.getheaders())
            if time.monotonic() - since > STUCK_S:
                return taken
            continue
        check(r.status == 200, text)
        taken, since = taken + 1, time.monotonic()
    check(False, '%d batches were taken, though nothing was kept' % taken)


def refused_events(box, c, host, before):
    c.page['full'] = 1
    taken = flood(c, host, 400)
    held = taken * EACH * 40000
    check(HELD[0] < held < HELD[1], '%.1f MiB are held' % (held / 2**20))
    c.page['full'] = 0
    until(lambda: letters(host) == EACH * taken, 60,
          lambda: '%d of %d are kept' % (letters(host), EACH * taken))
    say('%.1f MiB of invalid events were taken with the disk full, then 429; '
        'all %d are kept' % (held / 2**20, EACH * taken))
    with open(box.config_path) as f:
        config = json.load(f)
    config['ingest']['max_event_bytes'] = 65536
    box.write_config(config)
    host.hangup()
    durable = host.status()['journal']['durable']
    status, text = host.admin('POST', '/v1/sources/web/dead/replay',
                              json.dumps({'all': True}))
    check(status == 200, text)
    c.page['sync_fails'] = 500000
    failed = c.page['done_eio']
    until(lambda: c.page['done_eio'] > failed + 20, 60, 'syncs fail')
    check(letters(host), 'it was over before')
    c.page['sync_fails'] = 0
    until(lambda: letters(host) == 0, 120, lambda: '%d letters are left' %
          letters(host))
    more = host.status()['journal']['durable'] - durable
    check(more == EACH * taken, '%d events were taken of %d' %
          (more, EACH * taken))
    check(pids(host) == before, 'a process ended')
    c.settled(host)
    c.audit()
    say('tried again while syncs failed: each is taken once')


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
    refused_events(box, c, host, before)
    code, _ = host.stop()
    check(code == 0, 'exit %d' % code)


def more(p):
    p.add_argument('--episodes', type=int, default=50)
    p.add_argument('--within', type=float, default=1.0,
                   help='seconds until it accepts again')


if __name__ == '__main__':
    run(test, arguments(more))
