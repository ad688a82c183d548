#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
#
# replay.py - what the journal holds is sent to a destination again: a dry run
# that sends nothing, a filter, a rate, a pause, an end; 5,000 events over
# kill -9 of a worker and of all, none lost; live events beside a replay, whose
# p99 is compared with theirs alone.

import json
import os
import re
import signal
import sqlite3
import time

from harness import (Load, Mode, Receiver, arguments, check, run, say, until)

EVENTS = 5000
KEY = 'app-key'
SECRET = 'sk_live_4f9a8b7c6d5e'


def counts(d):
    return {k: d[k] for k in ('accepted', 'delivered', 'filtered', 'dead',
                              'pending')}


def post(host, body, name='hook', want=200):
    status, text = host.admin('POST', '/v1/destinations/%s/replay' % name,
                              json.dumps(body))
    check(status == want, '%s gives %d: %s' % (body, status, text))
    return json.loads(text)


def replay(host, n):
    return [r for r in host.get('/v1/destinations/hook/replay')['replays']
            if r['id'] == n][0]


def ended(host, n, seconds=60):
    def is_ended():
        r = replay(host, n)
        return r['state'] in ('done', 'cancelled') and r
    return until(is_ended, seconds, lambda: 'replay %d ends: %s' %
                 (n, replay(host, n)))


def settled(host, seconds=30):
    return until(lambda: host.destination('hook')['pending'] == 0 and
                 host.destination('hook'), seconds,
                 lambda: 'settled: %s' % counts(host.destination('hook')))


def fresh(receiver):
    """The receiver's counts from here on."""
    hook = receiver.path('/hook')
    hook.delivered.clear()
    hook.seen.clear()
    hook.requests = 0
    hook.bodies.clear()
    return hook


def fill(box, host, receiver):
    web = Load(box.net, host, 6000, batch=20, prefix='e', limit=EVENTS)
    web.end(60)
    app = Load(box.net, host, 6000, batch=20, prefix='a', limit=100, key=KEY)
    app.end(60)
    until(lambda: len(receiver.path('/hook').delivered) == EVENTS + 100, 60,
          'all arrive')
    settled(host)


# ---- what is refused -------------------------------------------------------

def faults(box, host):
    for body, word in (({}, 'from'), ({'from': 'soon'}, 'from'),
                       ({'from': '-1h', 'until': 'x'}, 'until'),
                       ({'from': '-1h', 'rate': 'fast'}, 'rate'),
                       ({'from': '-1h', 'rate': 0}, 'rate'),
                       ({'from': '-1h', 'source': 'nobody'}, 'nobody'),
                       ({'from': '-1h', 'until': '-2h'}, 'range'),
                       ({'from': '-1h', 'dry_run': True}, 'dry_run'),
                       ({'from': '-3d', 'until': '-2d'}, 'holds those from'),
                       ({'from': '-1h', 'where': 'type = '}, 'byte')):
        answer = post(host, body, want=400)
        check(word in answer['message'], '%s: %s' % (body, answer))
    post(host, {'from': '-1h'}, name='nobody', want=404)
    for words in (['hook'], ['--from', '-1h'], ['--from', '-1h', '--list',
                                                'hook'],
                  ['--cancel', 'x', 'hook'],
                  ['--from', '-1h', '--colour', 'hook'],
                  ['--from', 'soon', '--dry-run', 'hook']):
        r = box.command('replay', *words)
        check(r.returncode == 2, '%s: %d %s' % (words, r.returncode,
                                                r.stderr))
    r = box.command('replay', 'hook', '--from', '-1h', '--where', 'type = ')
    check(r.returncode == 1 and re.search('byte [0-9]+', r.stderr), r.stderr)
    check(host.get('/v1/destinations/hook/replay')['replays'] == [],
          'one of these began')
    for verb in ('cancel', 'pause', 'resume'):
        check(host.admin('POST', '/v1/destinations/hook/replay/7/' + verb)[0]
              == 404, 'a replay that is none')


# ---- the dry run -----------------------------------------------------------

def dry_run(box, host, receiver):
    hook = fresh(receiver)
    before = counts(host.destination('hook'))
    r = box.command('replay', 'hook', '--from', '-1h', '--dry-run', '--show',
                    '2', '--json')
    check(r.returncode == 0, r.stderr)
    a = json.loads(r.stdout)
    got = {s['name']: (s['send'], s['filtered'], s['fault'])
           for s in a['sources']}
    check(got == {'web': (EVENTS, 0, 0), 'app': (100, 0, 0)}, got)
    check(len(a['shown']) == 2, a['shown'])
    q = a['shown'][0]['parts'][0]['requests'][0]
    check(q['method'] == 'POST' and q['url'].endswith('/hook') and
          '"messageId":"e-' in q['body'], 'a request: %s' % q)
    check(SECRET not in r.stdout, 'the secret stands in a dry run')
    r = box.command('replay', 'hook', '--from', '-1h', '--dry-run',
                    '--source', 'app', '--where', 'properties.n >= 90')
    check(r.returncode == 0 and
          re.search(r'^app +10 +0 +0$', r.stdout, re.M), r.stdout + r.stderr)
    r = box.command('replay', 'hook', '--from', '-3d', '--until', '-2d',
                    '--dry-run')
    check(r.returncode == 1 and 'holds those from' in r.stderr, r.stderr)
    check(hook.requests == 0, 'a dry run sent %d requests' % hook.requests)
    check(counts(host.destination('hook')) == before and
          host.get('/v1/destinations/hook/replay')['replays'] == [],
          'a dry run left something')
    say('dry run: %s, nothing sent' % got)


# ---- a part of it ----------------------------------------------------------

def a_part(box, host, receiver):
    hook = fresh(receiver)
    before = counts(host.destination('hook'))
    r = box.command('replay', 'hook', '--from', '-1h', '--source', 'app',
                    '--where', 'properties.n < 10', '--wait', '--json')
    check(r.returncode == 0, r.stderr)
    a = json.loads(r.stdout)
    check(counts(a) == {'accepted': 100, 'delivered': 10, 'filtered': 90,
                        'dead': 0, 'pending': 0} and a['sources'] == ['app']
          and a['progress'] == 1, a)
    check(dict(hook.delivered) == {'a-%d' % n: 1 for n in range(10)},
          dict(hook.delivered))
    check(counts(host.destination('hook')) == before,
          'the live counters moved: %s' % counts(host.destination('hook')))
    lanes = [l for l in host.status()['lanes'] if l.get('replay') == a['id']]
    check(len(lanes) == 1 and lanes[0]['pending'] == 0, lanes)
    say('a filter: 10 of 100 sent, once each')


def a_rate(box, host, receiver):
    hook = fresh(receiver)
    began = time.monotonic()
    a = post(host, {'from': '-1h', 'where': 'properties.n < 60',
                    'rate': '40/s'})['replay']
    r = ended(host, a['id'])
    took = time.monotonic() - began
    check(r['delivered'] == 120 and len(hook.delivered) == 120, r)
    # 120 events, 40 of them at once, over both sources together.
    check(took > 1.8, '120 events at 40/s took %.2f s' % took)
    say('a rate of 40/s: 120 events in %.2f s' % took)


def stops(box, host, receiver):
    hook = fresh(receiver)
    hook.mode = Mode(delay=0.02)
    a = post(host, {'from': '-1h', 'rate': '400/s'})['replay']
    until(lambda: len(hook.delivered) > 50, 20, 'it is under way')
    check(box.command('replay', 'hook', '--pause',
                      str(a['id'])).returncode == 0, 'pause')
    until(lambda: replay(host, a['id'])['pending'] == 0, 10,
          'what was under way ends')
    n = hook.requests
    host.ingest('/v1/track', {'event': 'Live', 'userId': 'u',
                              'messageId': 'live-1'})
    until(lambda: hook.delivered['live-1'] == 1, 10, 'a live event')
    check(hook.requests == n + 1, 'a paused replay sent %d' %
          (hook.requests - n - 1))
    host.kill_tree()
    host.start()
    r = replay(host, a['id'])
    check(r['state'] == 'paused', 'after a restart it is %s' % r['state'])
    host.hangup()
    n = replay(host, a['id'])['delivered']
    check(box.command('replay', 'hook', '--resume',
                      str(a['id'])).returncode == 0, 'resume')
    until(lambda: replay(host, a['id'])['delivered'] > n + 50, 20,
          'it goes on')
    hook.mode = Mode(503)
    until(lambda: host.destination('hook')['waiting_retries'] > 0, 20,
          'some wait for a retry')
    r = box.command('replay', 'hook', '--cancel', str(a['id']))
    check(r.returncode == 0, r.stderr)
    r = ended(host, a['id'])
    check(r['state'] == 'cancelled' and r['pending'] == 0 and
          r['accepted'] == r['delivered'] + r['filtered'] + r['dead'] <
          EVENTS, r)
    hook.mode = Mode()
    check(box.command('replay', 'hook', '--cancel',
                      str(a['id'])).returncode == 1, 'cancelled twice')
    say('paused over a kill -9 and a reload, resumed, cancelled: %s' %
        counts(r))


# ---- kill -9 in the middle -------------------------------------------------

def kills(box, host, receiver):
    hook = fresh(receiver)
    hook.mode = Mode(delay=0.01)
    ids = {'e-%d' % n for n in range(EVENTS)}
    before = counts(settled(host))
    a = post(host, {'from': '-1h', 'source': 'web',
                    'where': 'event = "Tested"'})['replay']
    until(lambda: len(hook.delivered) > EVENTS / 5, 30, 'it is under way')
    os.kill(host.destination('hook')['worker_pid'], signal.SIGKILL)
    until(lambda: len(hook.delivered) > EVENTS * 2 / 5, 30, 'it goes on')
    host.kill_tree()
    host.start()
    until(lambda: len(hook.delivered) > EVENTS * 3 / 5, 30, 'it goes on')
    host.hangup()
    host.kill_tree()
    host.start()
    hook.mode = Mode()
    r = ended(host, a['id'])
    missing = ids - set(hook.delivered)
    check(not missing, '%d are lost, such as %s' % (len(missing),
                                                    sorted(missing)[:5]))
    check(r['delivered'] == EVENTS and r['dead'] == 0 and
          r['accepted'] == r['delivered'] + r['filtered'], r)
    extra = sum(hook.delivered[i] - 1 for i in ids)
    # What was with the far side, and settled since the last commit.
    check(extra <= EVENTS / 5, '%d came twice' % extra)
    check(counts(host.destination('hook')) == before,
          'the live counters moved')
    say('%d events over three kill -9: none lost, %d twice' % (EVENTS, extra))


# ---- beside live events ----------------------------------------------------

def p99(box, host, receiver, prefix):
    """Seconds from a request's begin to its arrival, of 200 live events."""
    hook = receiver.path('/hook')
    sent = {}
    began = time.monotonic()
    for n in range(200):
        name = '%s-%d' % (prefix, n)
        due = began + n / 200
        time.sleep(max(0, due - time.monotonic()))
        sent[name] = time.monotonic()
        host.ingest('/v1/track', {'event': 'Live', 'userId': 'u',
                                  'messageId': name})
    until(lambda: all(hook.per_id[i] for i in sent), 20, 'live events arrive')
    took = sorted(hook.per_id[i][0] - at for i, at in sent.items())
    return took[len(took) * 99 // 100]


def beside_live(box, host, receiver):
    hook = fresh(receiver)
    hook.mode = Mode(delay=0.05)
    pairs = []
    for turn in range(3):
        alone = p99(box, host, receiver, 'l%d' % turn)
        a = post(host, {'from': '-1h', 'where': 'event = "Tested"'})['replay']
        until(lambda: replay(host, a['id'])['delivered'] > 0, 10,
              'the replay is under way')
        beside = p99(box, host, receiver, 'b%d' % turn)
        check(replay(host, a['id'])['state'] == 'running' or
              replay(host, a['id'])['delivered'] >= EVENTS,
              'the replay did not go on')
        box.command('replay', 'hook', '--cancel', str(a['id']))
        ended(host, a['id'])
        pairs.append((alone, beside))
    ratio = sorted(b / a for a, b in pairs)[1]
    say('live p99 alone and beside a replay: %s ms, ratio %.2f' %
        (', '.join('%.1f/%.1f' % (a * 1000, b * 1000) for a, b in pairs),
         ratio))
    hook.mode = Mode()
    # Behind it, or sharing with it, a live event would wait for hundreds.
    check(ratio < 4, 'live events wait for the replay: %s' % pairs)


# ---- what a replay gives up ------------------------------------------------

def committed_letters(box):
    path = os.path.join(box.data, 'state.db')
    db = sqlite3.connect('file:%s?mode=ro' % path, uri=True)
    try:
        return db.execute('SELECT count(*) FROM dead').fetchone()[0]
    finally:
        db.close()


def dead_of_a_replay(box, host, receiver):
    hook = fresh(receiver)
    before = counts(settled(host))
    hook.mode = Mode(400)
    a = post(host, {'from': '-1h', 'source': 'app',
                    'where': 'properties.n < 5'})['replay']
    r = ended(host, a['id'])
    check(r['dead'] == 5 and r['filtered'] == 95, r)
    dead = host.get('/v1/destinations/hook/dead')['dead']
    check(len(dead) == 5 and {d['replay'] for d in dead} == {a['id']}, dead)
    hook.mode = Mode()
    until(lambda: committed_letters(box) == 5, 10, 'the letters are durable')
    host.kill_tree() # the lane is with no worker, and is wanted again
    host.start()
    c = box.command('dead', 'replay', 'hook', '--all')
    check(c.stdout.startswith('5 dead letters'), c.stdout + c.stderr)
    until(lambda: replay(host, a['id'])['delivered'] == 5, 20,
          lambda: 'they are delivered: %s' % replay(host, a['id']))
    r = replay(host, a['id'])
    check(r['dead'] == 0 and r['pending'] == 0, r)
    check(counts(host.destination('hook')) == before,
          'the live counters moved')
    say('letters of a replay, sent again in its lane')


def audit(box):
    r = box.command('audit')
    check(r.returncode == 0, 'audit: %s%s' % (r.stdout, r.stderr))
    say('audit: no difference')


def test(box):
    receiver = Receiver(box.net, keep_times=True)
    config = box.config({'hook': box.webhook(
        receiver.url('/hook'), settings={'sharedSecret': SECRET})})
    config['sources']['app'] = {'write_key': KEY, 'destinations': ['hook']}
    box.install('webhook')
    box.write_config(config)
    host = box.host()
    host.start()
    fill(box, host, receiver)
    faults(box, host)
    dry_run(box, host, receiver)
    a_part(box, host, receiver)
    a_rate(box, host, receiver)
    stops(box, host, receiver)
    kills(box, host, receiver)
    dead_of_a_replay(box, host, receiver)
    beside_live(box, host, receiver)
    code, took = host.stop()
    check(code == 0, 'the host ended with %d' % code)
    audit(box)


if __name__ == '__main__':
    args = arguments()
    run(test, args)
