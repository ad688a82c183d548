#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
#
# explain.py - what became of one event, at each destination: delivered,
# filtered by the destination's filter, by the event's own integrations object
# and by a trigger, dead, and waiting for a retry. By the command, beside the
# running host and after its death, and by the admin API; and a secret that the
# far side sends back never shows.

import http.client
import json
import os
import subprocess
import threading

from harness import Mode, Receiver, arguments, check, run, say, until

SECRET = 'sesame-opens-1234'
EVENT = {'type': 'track', 'event': 'Bought', 'userId': 'u1',
         'messageId': 'one', 'integrations': {'All': True, 'Webhook': True},
         'properties': {'price': 7}}


def configuration(box, receiver):
    d = {n: box.webhook(receiver.url('/' + n), **more) for n, more in (
        ('good', {}), ('bad', {}), ('ill', {}), ('gone', {}),
        ('strict', {'filter': 'event = "Other"'}), ('other', {}))}
    d['other']['subscriptions'][0]['subscribe'] = 'type = "identify"'
    for x in d.values():
        x['subscriptions'][0]['name'] = 'all of them'
        x['subscriptions'][0]['mapping']['headers'] = {
            'X-Key': '${HOOK_SECRET}', 'X-Plain': 'shown'}
    return box.config(d)


class Explainer:
    def __init__(self, box, host):
        self.box, self.host = box, host

    def command(self, *words, wanted=0):
        p = subprocess.run([self.box.manifold, 'explain', '-c',
                            self.box.config_path] + list(words),
                           capture_output=True, text=True,
                           env=self.box.environment())
        check(p.returncode == wanted, 'explain ends with %d: %s%s' %
              (p.returncode, p.stdout[:3000], p.stderr))
        check(SECRET not in p.stdout + p.stderr, 'a secret shows')
        return p.stdout or p.stderr

    def json(self, *words):
        return json.loads(self.command('--json', *words))

    def http(self, path):
        status, text = self.host.admin('GET', '/v1/events/' + path)
        check(SECRET not in text, 'a secret shows')
        return status, json.loads(text)


def destinations(answer):
    check(len(answer['events']) == 1, 'not one event: %s' % answer)
    return {d['destination']: d for d in answer['events'][0]['destinations']}


def recomputed(d):
    r = d['recomputed']
    check('error' not in r, 'it cannot be recomputed: %s' % r)
    check(r['plugin'] == 'webhook' and r['plugin_hash'], 'no plugin: %s' % r)
    return r, r['subscriptions'][0]


def check_answer(answer, receiver):
    e = answer['events'][0]
    by = destinations(answer)
    check(e['event']['messageId'] == 'one' and e['source'] == 'web' and
          e['segment'].endswith('.seg') and e['received_at'].endswith('Z'),
          'not the event: %s' % e)

    r, sub = recomputed(by['good'])
    check(by['good']['standing'] == 'delivered' and
          by['good']['parts'][0]['outcome'] == 'delivered' and
          by['good']['parts'][0]['subscription'] == sub['subscription'] and
          sub['name'] == 'all of them' and sub['matches'] and
          r['select'] == 'matched', 'good: %s' % by['good'])
    request = sub['requests'][0]
    sent = json.loads(receiver.path('/good').bodies[0])
    check(request['url'].endswith('/good') and request['method'] == 'POST' and
          json.loads(request['body'])['messageId'] == sent['messageId'] and
          request['headers']['x-plain'] == 'shown' and
          request['headers']['x-key'] == '***', 'request: %s' % request)

    bad = by['bad']
    letter = bad['letters'][0]
    check(bad['standing'] == 'dead' and letter['reason'] == 'rejected' and
          bad['parts'][0]['reason'] == 'rejected' and
          letter['request'].startswith('POST ') and
          letter['plugin_version'] and letter['plugin_hash'] and
          'no such key: ***' in letter['response'], 'bad: %s' % bad)

    ill = by['ill']
    retry = ill['retries'][0]
    check(ill['standing'] == 'pending' and retry['attempts'] >= 2 and
          retry['status'] == 503 and retry['next_attempt'] and
          len(retry['attempts_kept']) >= 2, 'ill: %s' % ill)
    kept = retry['attempts_kept'][0]
    check(kept['request'].startswith('POST ') and
          '503' in kept['response'] and 'key ***' in kept['response'],
          'attempt: %s' % kept)

    for name, reason in (
            ('strict', "the destination's filter"),
            ('other', "no subscription's trigger matches")):
        d = by[name]
        r, sub = recomputed(d)
        check(d['standing'] == 'filtered' and
              d['parts'][0]['reason'] == reason and
              r['select'] == reason and not sub['matches'],
              '%s: %s' % (name, d))
    check(by['strict']['recomputed']['filter'] == 'event = "Other"',
          'the filter is not named')


def beside_others(box, host):
    """Many at once: admin answers others meanwhile, and says so where it is
    too much."""
    seen = []

    def one():
        c = http.client.HTTPConnection(host.addresses['admin'], timeout=60)
        c.request('GET', '/v1/events/one')
        seen.append(c.getresponse().status)
        c.close()
    threads = [threading.Thread(target=one) for _ in range(8)]
    for t in threads:
        t.start()
    n = 0
    while any(t.is_alive() for t in threads):
        check(host.admin('GET', '/healthz')[0] == 200, 'not healthy')
        n += 1
    for t in threads:
        t.join()
    check(set(seen) <= {200, 503} and seen.count(200) >= 1,
          'answers: %s' % seen)
    say('eight at once: %s; %d other answers meanwhile' % (sorted(seen), n))


def test(box):
    os.environ['HOOK_SECRET'] = SECRET
    receiver = Receiver(box.net)
    receiver.path('/bad').mode = Mode(400, body='no such key: ' + SECRET)
    receiver.path('/ill').mode = Mode(503, body='key ' + SECRET)
    box.install('webhook')
    box.write_config(configuration(box, receiver))
    host = box.host()
    host.start()
    ask = Explainer(box, host)
    for i in range(20): # ones that no sick destination wants
        host.ingest('/v1/identify', dict(EVENT, type='identify',
                                         messageId='before-%d' % i))
    host.ingest('/v1/track', EVENT)
    until(lambda: receiver.path('/ill').seen['one'] >= 2, 30,
          'it was tried twice')
    until(lambda: destinations(ask.json('one'))['ill']['retries'] and
          len(destinations(ask.json('one'))['ill']['retries'][0]
              ['attempts_kept']) >= 2, 20, 'state.db knows of both')
    check_answer(ask.json('one'), receiver)
    status, answer = ask.http('one?source=web')
    check(status == 200, 'HTTP %d: %s' % (status, answer))
    check_answer(answer, receiver)
    check(ask.http('nobody')[0] == 404, 'an unknown one is known')
    check(ask.http('one?source=none')[0] == 404, 'a source has it all')
    text = ask.command('one')
    for words in ('received 20', 'good: delivered', 'ill: pending',
                  'strict: filtered', 'bad: dead', 'event = "Other"',
                  '      attempt ', 'next one at', '> POST http',
                  'recomputed with plugin webhook'):
        check(words in text, '%s is not in\n%s' % (words, text))
    check('neither the journal' in ask.command('nobody', wanted=1),
          'no reason is given')
    beside_others(box, host)
    check(not any(SECRET in line for line in host.log), 'it is in the log')
    c = configuration(box, receiver)
    del c['destinations']['gone']
    c['sources']['web']['destinations'].remove('gone')
    box.write_config(c)
    host.hangup()
    host.kill_tree()
    answer = ask.json('--source', 'web', 'one')
    check_answer(answer, receiver)
    gone = destinations(answer)['gone']
    check(gone['standing'] == 'delivered' and not gone['configured'] and
          'recomputed' not in gone, 'gone: %s' % gone)
    say(text[:1500])


if __name__ == '__main__':
    run(test, arguments())
