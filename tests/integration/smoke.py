#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
#
# smoke.py - each thing once: six event types to a file and to a webhook, a
# batch with an invalid member, the counters, the metrics, pause and resume, a
# dead letter, a retry, Retry-After.

import json
import os
import re
import time

from harness import (Mode, Receiver, arguments, check, run, say, until)

TYPES = {
    'track': {'event': 'Bought', 'userId': 'u1'},
    'identify': {'userId': 'u1', 'traits': {'email': 'a@example.com'}},
    'page': {'name': 'Home', 'userId': 'u1'},
    'screen': {'name': 'Start', 'userId': 'u1'},
    'group': {'groupId': 'g1', 'userId': 'u1'},
    'alias': {'previousId': 'a1', 'userId': 'u1'},
}
EVERY_TYPE = ' or '.join('type = "%s"' % t for t in TYPES)
SAMPLE = re.compile(r'^[a-zA-Z_:][a-zA-Z0-9_:]*(\{[a-zA-Z_][a-zA-Z0-9_]*='
                    r'"(?:[^"\\]|\\.)*"(?:,[a-zA-Z_][a-zA-Z0-9_]*='
                    r'"(?:[^"\\]|\\.)*")*\})? (\S+)$')


def file_ids(path):
    if not os.path.exists(path):
        return []
    with open(path) as f:
        return [json.loads(line)['messageId'] for line in f]


def every_type(box, host, receiver):
    path = os.path.join(box.out, 'events.ndjson')
    hook = receiver.path('/all')

    for name, fields in TYPES.items():
        status, answer = host.ingest('/v1/' + name,
                                     dict(fields, messageId='one-' + name))
        check(status == 200 and answer == {'success': True},
              '/v1/%s gives %d %s' % (name, status, answer))
    ids = sorted('one-' + t for t in TYPES)
    until(lambda: sorted(hook.delivered) == ids, 10,
          lambda: 'all types at the webhook, there are %s' %
          sorted(hook.delivered))
    until(lambda: sorted(file_ids(path)) == ids, 10,
          lambda: 'all types in the file, there are %s' % file_ids(path))
    check(set(hook.delivered.values()) == {1}, 'something came twice')
    event = json.loads(hook.bodies[0])
    for key in ('type', 'messageId', 'userId', 'receivedAt', 'timestamp'):
        check(key in event, 'a delivered event has no %s' % key)
    say('six types arrived at a file and a webhook, once each')


def invalid_member(host, receiver):
    batch = {'batch': [
        dict(TYPES['track'], type='track', messageId='b-0'),
        {'type': 'track', 'userId': 'u', 'messageId': 'b-1'},
        dict(TYPES['page'], type='page', messageId='b-2')]}
    status, answer = host.ingest('/v1/batch', batch)
    check(status == 200 and answer['success'] is True and
          [r['index'] for r in answer['rejected']] == [1] and
          answer['rejected'][0]['code'], 'the batch gives %d %s' %
          (status, answer))
    hook = receiver.path('/all')
    until(lambda: {'b-0', 'b-2'} <= set(hook.delivered), 10,
          'the valid members arrive')
    check('b-1' not in hook.seen, 'the invalid member was delivered')
    say('a batch with an invalid member: %s' % answer)
    for body, key, code in (('{', 'integration-key', 'invalid_json'),
                            ('{}', 'nobody', 'invalid_write_key')):
        status, answer = host.ingest('/v1/track', body, key)
        check(status == 400 and answer['success'] is False and
              answer['code'] == code, '%s gives %d %s' %
              (body, status, answer))


def counters(host):
    def right():
        s = host.status()
        d = {x['name']: x for x in s['destinations']}
        return (all(x['accepted'] == x['delivered'] == 8 and
                    x['pending'] == 0 and x['state'] == 'active'
                    for x in (d['archive'], d['hook'])) and
                s['ingest'] and s['ingest']['sources'][0]['received'] == 8)
    until(right, 5, lambda: 'counters are right: %s' %
          json.dumps(host.status(), indent=1))
    needed = {'name', 'plugin', 'plugin_version', 'state', 'accepted',
              'delivered', 'filtered', 'dead', 'pending', 'in_flight',
              'oldest_pending_seconds', 'retries', 'last_error'}
    for d in host.status()['destinations']:
        check(needed <= set(d), '%s lacks %s' % (d['name'],
                                                 needed - set(d)))
    say('counters: 8 accepted, 8 delivered at each destination')


def metrics(host):
    # Workers tell how long things took once a second.
    until(lambda: all('end_to_end_seconds_count{destination="%s"} 8' % n in
                      host.admin('GET', '/metrics')[1]
                      for n in ('hook', 'archive')), 10,
          'the times of all deliveries are told')
    status, text = host.admin('GET', '/metrics')
    check(status == 200, '/metrics gives %d' % status)
    values, typed = {}, set()
    for line in text.splitlines():
        if line.startswith('# TYPE '):
            name = line.split()[2]
            check(name not in typed, 'two TYPE lines of %s' % name)
            typed.add(name)
            continue
        if line.startswith('#') or not line:
            continue
        m = SAMPLE.match(line)
        check(m, 'not a sample: %s' % line)
        values[line.rsplit(' ', 1)[0]] = float(m.group(2))
        base = re.sub('_(sum|count|bucket)$', '', re.split('[{ ]', line)[0])
        check(line.startswith('manifold_') and
              (base in typed or re.split('[{ ]', line)[0] in typed),
              'no TYPE before %s' % line)
    want = {'manifold_events_received_total{source="web"}': 8,
            'manifold_events_delivered_total{destination="hook"}': 8,
            'manifold_events_delivered_total{destination="archive"}': 8}
    for name in ('end_to_end_seconds', 'delivery_seconds'):
        one = 'manifold_%s_%%s{destination="hook"%%s}' % name
        want[one % ('count', '')] = 8
        want[one % ('bucket', ',le="+Inf"')] = 8
        check(0 <= values[one % ('bucket', ',le="0.001"')] <=
              values[one % ('bucket', ',le="60"')] <= 8, '%s does not grow' %
              name)
    check(values['manifold_journal_commit_seconds_bucket{le="+Inf"}'] ==
          values['manifold_journal_commits_total'], 'commits are counted twice')
    for key, value in want.items():
        check(values.get(key) == value, '%s is %s' % (key, values.get(key)))
    say('metrics: %d samples of %d names' % (len(values), len(typed)))


def pause(host, receiver):
    hook = receiver.path('/all')
    check(host.admin('POST', '/v1/destinations/hook/pause')[0] == 200,
          'pause is refused')
    until(lambda: host.destination('hook')['state'] == 'paused', 5, 'paused')
    host.ingest('/v1/track', dict(TYPES['track'], messageId='paused'))
    until(lambda: host.destination('archive')['delivered'] == 9, 10,
          'the other destination goes on')
    check(host.destination('hook')['pending'] == 1 and
          'paused' not in hook.seen, 'a paused destination was sent to')
    check(host.admin('POST', '/v1/destinations/hook/resume')[0] == 200,
          'resume is refused')
    until(lambda: 'paused' in hook.delivered, 10, 'it goes on after resume')
    until(lambda: host.destination('hook')['state'] == 'active', 5, 'active')
    check(host.admin('POST', '/v1/destinations/nobody/pause')[0] == 404,
          'an unknown destination was paused')
    say('pause and resume: the event waited, then arrived')


def dead_letter(host, receiver):
    receiver.path('/all').mode = Mode(400, times=1,
                                      body='{"why":"not wanted"}')
    host.ingest('/v1/track', dict(TYPES['track'], messageId='refused'))
    until(lambda: host.destination('hook')['dead'] == 1, 10, 'a dead letter')
    dead = until(lambda: host.get('/v1/destinations/hook/dead')['dead'], 5,
                 'the dead letter is listed')
    check(len(dead) == 1 and dead[0]['message_id'] == 'refused' and
          dead[0]['reason'] == 'rejected' and dead[0]['result'] == 400 and
          'not wanted' in dead[0]['response'] and
          dead[0]['event']['event'] == 'Bought' and dead[0]['attempts'] == 1,
          'the dead letter is %s' % dead)
    d = host.destination('hook')
    check(d['last_error'] and d['last_error'].startswith('400'),
          'the last error is %s' % d['last_error'])
    say('a 400 made one dead letter: %s' % d['last_error'])


def retries(host, receiver):
    hook = receiver.path('/all')
    hook.mode = Mode(503, times=2)
    host.ingest('/v1/track', dict(TYPES['track'], messageId='again'))
    until(lambda: 'again' in hook.delivered, 20, 'delivered after two 503')
    check(hook.seen['again'] == 3, '%d requests' % hook.seen['again'])
    until(lambda: host.destination('hook')['retries'] >= 2, 5,
          'two retries are counted')

    hook.mode = Mode(429, times=1, headers='Retry-After: 2\r\n')
    host.ingest('/v1/track', dict(TYPES['track'], messageId='later'))
    until(lambda: 'later' in hook.seen, 10, 'the one that gets 429 is sent')
    until(lambda: host.destination('hook')['waiting_retries'] == 1, 5,
          'its answer is known')
    host.ingest('/v1/track', dict(TYPES['track'], messageId='quiet'))
    until(lambda: {'later', 'quiet'} <= set(hook.delivered), 20,
          'delivered after a 429')
    first, second = hook.per_id['later']
    wait = hook.per_id['quiet'][0] - first
    check(wait > 1.9, 'another event was sent %.2f s after the 429' % wait)
    check(1.9 < second - first < 6,
          'Retry-After: 2 was honoured with %.2f s' % (second - first))
    say('two 503 then delivered; Retry-After: 2 kept with %.2f s' %
        (second - first))


def conserved(host):
    def right():
        return all(d['accepted'] == d['delivered'] + d['filtered'] +
                   d['dead'] + d['pending'] and d['pending'] == 0
                   for d in host.status()['destinations'])
    until(right, 5, 'accepted = delivered + filtered + dead + pending')


def test(box):
    receiver = Receiver(box.net, keep_times=True)
    hook = box.webhook(receiver.url('/all'))
    hook['subscriptions'][0]['subscribe'] = EVERY_TYPE
    box.install('file', 'webhook')
    box.write_config(box.config({'archive': box.file('events.ndjson'),
                                 'hook': hook}))
    host = box.host()
    began = time.monotonic()
    host.start()
    say('ready after %.2f s' % (time.monotonic() - began))
    every_type(box, host, receiver)
    invalid_member(host, receiver)
    counters(host)
    metrics(host)
    pause(host, receiver)
    dead_letter(host, receiver)
    retries(host, receiver)
    conserved(host)
    code, took = host.stop()
    check(code == 0, 'the host ended with %d' % code)
    say('stopped in %.2f s' % took)


if __name__ == '__main__':
    args = arguments()
    run(test, args)
