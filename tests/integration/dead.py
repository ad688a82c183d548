#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
#
# dead.py - dead letters: a destination refuses, the letters are found by what
# they say, the far side is mended, and each is delivered exactly once; the
# counters move with them. Over a worker that dies, a kill -9 of all, a pause,
# a mapping that was wrong; dropped ones are counted, detached connections are
# freed, a secret in an answer never shows, and events that ingest refused are
# tried again there: refused once more, or taken after a fix, each once, over a
# kill -9.

import json
import os
import signal
import urllib.parse

from harness import (Load, Mode, Receiver, arguments, check, run, say, until)

SECRET = 'sk_live_4f9a8b7c6d5e'
MANY = 600
REFUSED = 300


def counts(d):
    return {k: d[k] for k in ('accepted', 'delivered', 'filtered', 'dead',
                              'pending')}


def conserved(host, name):
    d = host.destination(name)
    check(d['accepted'] == d['delivered'] + d['filtered'] + d['dead'] +
          d['pending'], 'the law is broken: %s' % counts(d))
    return d


def letters(host, name, **params):
    query = urllib.parse.urlencode(dict(params, limit=1000, brief='true'))
    return host.get('/v1/destinations/%s/dead?%s' % (name, query))['dead']


def post(host, name, verb, body, want=200):
    status, text = host.admin('POST', '/v1/destinations/%s/dead/%s' %
                              (name, verb), json.dumps(body))
    check(status == want, '%s %s gives %d: %s' % (verb, body, status, text))
    return json.loads(text)


def job_done(host, name, job, seconds=30):
    def done():
        j = host.get('/v1/destinations/%s/dead/jobs/%d' % (name, job['id']))
        return j['done'] and j
    return until(done, seconds, lambda: 'the job is done: %s' % host.get(
        '/v1/destinations/%s/dead/jobs' % name))


def track(n, **more):
    return dict({'type': 'track', 'event': 'Paid', 'userId': 'u1',
                 'messageId': 'm-%s' % n}, **more)


# ---- the tests -------------------------------------------------------------

def refuse_many(box, host, hook):
    hook.mode = Mode(400, body='{"why":"no %s"}' % SECRET)
    load = Load(box.net, host, 2000, prefix='many', limit=MANY)
    load.end()
    until(lambda: host.destination('hook')['dead'] == MANY, 30,
          lambda: 'all are dead: %s' % counts(host.destination('hook')))
    hook.mode = Mode()


def listing(box, host):
    seen, before = [], 0
    while True:
        page = host.get('/v1/destinations/hook/dead?limit=250&before=%d' %
                        before)
        seen += page['dead']
        before = page['next']
        check(page['letters'] == MANY, 'letters: %s' % page['letters'])
        if not before:
            break
    check(len({d['message_id'] for d in seen}) == len(seen) == MANY,
          '%d letters in pages' % len(seen))
    check([d['id'] for d in seen] == sorted((d['id'] for d in seen),
                                            reverse=True), 'not newest first')
    text = json.dumps(seen)
    check(SECRET not in text, 'the secret stands in a letter')
    check('***' in seen[0]['response'], 'nothing was redacted: %s' %
          seen[0]['response'])
    d = seen[0]
    for key in ('id', 'seq', 'source', 'message_id', 'event_name', 'action',
                'reason', 'result', 'error', 'attempts', 'first_ms',
                'when_ms', 'plugin_version', 'plugin_hash', 'event',
                'request', 'response'):
        check(d.get(key) not in (None, ''), 'a letter has no %s: %s' %
              (key, d))
    one = d['message_id']
    for params, n in ((dict(reason='rejected'), MANY),
                      (dict(reason='expired'), 0), (dict(status=400), MANY),
                      (dict(status=500), 0), (dict(event='Tested'), MANY),
                      (dict(event='Other'), 0), (dict(source='web'), MANY),
                      (dict(messageId=one), 1), (dict(since='-1h'), MANY),
                      (dict(until='-1h'), 0), (dict(action='send'), MANY),
                      (dict(id=d['id']), 1)):
        got = len(letters(host, 'hook', **params))
        check(got == n, '%s finds %d, not %d' % (params, got, n))
    for query in ('reason=sad', 'since=yesterday', 'colour=red', 'status=x',
                  'limit=0', 'source=nobody'):
        status, text = host.admin('GET', '/v1/destinations/hook/dead?' +
                                  query)
        check(status == 400 and query.split('=')[0] in text,
              '%s gives %d %s' % (query, status, text))
    check(host.admin('GET', '/v1/destinations/nobody/dead')[0] == 404,
          'an unknown destination has letters')
    ls = box.command('dead', 'ls', 'hook', '--limit', '5')
    check(ls.returncode == 0 and len(ls.stdout.splitlines()) == 6 and
          'rejected' in ls.stdout, 'dead ls: %s%s' % (ls.stdout, ls.stderr))
    ls = box.command('dead', 'ls', 'hook', '--json', '--limit', '2000',
                     '--where', 'messageId = "%s"' % one)
    check([x['message_id'] for x in json.loads(ls.stdout)['dead']] == [one],
          'dead ls --where: %s%s' % (ls.stdout, ls.stderr))
    show = box.command('dead', 'show', 'hook', str(d['id']))
    check(show.returncode == 0 and one in show.stdout and
          '---- last answer' in show.stdout and SECRET not in show.stdout,
          'dead show: %s%s' % (show.stdout, show.stderr))
    check(box.command('dead', 'ls', 'hook', '--where', 'type =').returncode
          == 2, 'a filter that is none was taken')
    check(box.command('dead', 'show', 'hook', '999999').returncode == 1,
          'a letter that is not there was shown')
    say('%d letters: pages, filters, redaction' % MANY)


def no_filter(box, host):
    for verb in ('replay', 'drop'):
        answer = post(host, 'hook', verb, {}, want=400)
        check(answer['code'] == 'no_filter', 'no filter: %s' % answer)
        check(box.command('dead', verb, 'hook').returncode == 2,
              'dead %s without a filter' % verb)
    answer = post(host, 'hook', 'drop', {'all': True, 'reson': 'gone'}, 400)
    check('reson' in answer['message'], 'a filter that is none: %s' % answer)
    check(len(letters(host, 'hook')) == MANY, 'letters are gone')


def one_again(host, hook):
    one = letters(host, 'hook')[10]
    before = hook.seen[one['message_id']]
    job = post(host, 'hook', 'replay', {'messageId': one['message_id']})
    j = job_done(host, 'hook', job)
    check(j['count'] == 1, 'the job is %s' % j)
    until(lambda: hook.delivered[one['message_id']] == 1, 10,
          'it is delivered')
    until(lambda: counts(host.destination('hook')) == {
        'accepted': MANY, 'delivered': 1, 'filtered': 0, 'dead': MANY - 1,
        'pending': 0}, 10, lambda: 'its counters: %s' %
        counts(host.destination('hook')))
    check(hook.seen[one['message_id']] == before + 1, 'it was sent twice')
    say('one letter sent again: dead %d, delivered 1' % (MANY - 1))


def all_again(box, host, hook):
    """With the worker killed, then all processes, while they are going."""
    ids = {'many-%d' % n for n in range(MANY)}
    hook.mode = Mode(delay=0.02)
    job = post(host, 'hook', 'replay', {'reason': 'rejected'})
    until(lambda: len(hook.delivered) > MANY / 5, 30, 'some are delivered')
    os.kill(host.destination('hook')['worker_pid'], signal.SIGKILL)
    conserved(host, 'hook')
    until(lambda: len(hook.delivered) > MANY / 2, 30,
          lambda: 'half are delivered, of %s' %
          counts(host.destination('hook')))
    host.kill_tree()
    host.start()
    conserved(host, 'hook')
    hook.mode = Mode()
    job_done(host, 'hook', job)
    until(lambda: set(hook.delivered) >= ids, 30,
          lambda: '%d of %d arrive; %s' % (len(ids & set(hook.delivered)),
                                           MANY, counts(
                                               host.destination('hook'))))
    until(lambda: counts(host.destination('hook')) == {
        'accepted': MANY, 'delivered': MANY, 'filtered': 0, 'dead': 0,
        'pending': 0}, 20, lambda: 'all settled: %s' %
        counts(host.destination('hook')))
    check(letters(host, 'hook') == [], 'letters are left')
    extra = sum(hook.delivered[i] - 1 for i in ids)
    # What was with the far side when a process ended comes twice, and what
    # was settled since the last commit: 8 a time in 20 ms each.
    check(extra <= MANY / 3, '%d deliveries too many' % extra)
    say('all %d delivered over two kills, %d of them twice' % (MANY, extra))


def exactly_once(box, host, hook):
    hook.mode = Mode(400)
    for n in range(20):
        host.ingest('/v1/track', track('x%d' % n))
    until(lambda: host.destination('hook')['dead'] == 20, 20, '20 are dead')
    hook.mode = Mode()
    r = box.command('dead', 'replay', 'hook', '--all')
    check(r.returncode == 0 and r.stdout.startswith('20 dead letters'),
          'dead replay: %s%s' % (r.stdout, r.stderr))
    until(lambda: all(hook.delivered['m-x%d' % n] == 1 for n in range(20)),
          20, 'each is delivered')
    d = until(lambda: not conserved(host, 'hook')['pending'] and
              host.destination('hook'), 10, 'settled')
    check(d['dead'] == 0, 'dead: %s' % counts(d))
    check(all(hook.seen['m-x%d' % n] == 2 for n in range(20)),
          'something was sent more than once')


def dies_again(box, host, hook):
    """The job is about the letters there were: it does not go round."""
    hook.mode = Mode(400)
    host.ingest('/v1/track', track('stubborn'))
    until(lambda: host.destination('hook')['dead'] == 1, 20, 'it is dead')
    first = letters(host, 'hook')[0]
    r = box.command('dead', 'replay', 'hook', '--all', '--json')
    check(json.loads(r.stdout) == {'count': 1, 'skipped': 0}, r.stdout)
    again = until(lambda: [d for d in letters(host, 'hook')
                           if d['id'] > first['id']], 10, 'a letter again')
    check(len(letters(host, 'hook')) == 1 and
          again[0]['message_id'] == 'm-stubborn', 'letters: %s' % again)
    d = conserved(host, 'hook')
    check(d['dead'] == 1 and d['pending'] == 0, 'counters: %s' % counts(d))
    hook.mode = Mode()


def paused(box, host, hook):
    check(box.command('pause', 'hook').returncode == 0, 'pause')
    r = box.command('dead', 'replay', 'hook', '--all')
    check(r.returncode == 0, 'replay while paused: %s' % r.stderr)
    until(lambda: counts(host.destination('hook'))['pending'] == 1, 10,
          'it is pending')
    check(hook.delivered['m-stubborn'] == 0, 'a paused one was sent to')
    host.kill_tree() # the pause holds, and what is pending too
    host.start()
    until(lambda: host.destination('hook')['state'] == 'paused', 10,
          'still paused after a restart')
    # The job was durable when it was answered: it ends after a kill too.
    until(lambda: conserved(host, 'hook')['pending'] == 1, 10,
          lambda: 'pending: %s' % counts(host.destination('hook')))
    check(host.destination('hook')['dead'] == 0, 'it is still dead')
    check(hook.delivered['m-stubborn'] == 0, 'a paused one was sent to')
    check(box.command('resume', 'hook').returncode == 0, 'resume')
    until(lambda: hook.delivered['m-stubborn'] == 1, 10, 'then it is sent')
    until(lambda: host.destination('hook')['pending'] == 0, 10, 'settled')
    say('a letter sent again to a paused one waits, over a kill -9')


def mended_mapping(box, host, receiver, config):
    """A letter of the mapping is mapped anew, with the mapping there is."""
    mend = receiver.path('/mend')
    d = config['destinations']['mapped']
    host.ingest('/v1/track', track('unmapped', userId='mapped'))
    until(lambda: host.destination('mapped')['dead'] >= 1, 10,
          lambda: 'the mapping refuses: %s' % counts(
              host.destination('mapped')))
    found = letters(host, 'mapped', messageId='m-unmapped')
    check(found and found[0]['reason'] == 'mapping', 'a letter of the '
          'mapping: %s' % found)
    d['subscriptions'][0]['mapping']['url'] = receiver.url('/mend')
    box.write_config(config)
    host.hangup()
    r = box.command('dead', 'replay', 'mapped', '--message-id', 'm-unmapped')
    check(r.returncode == 0, 'replay: %s' % r.stderr)
    until(lambda: mend.delivered['m-unmapped'] == 1, 10,
          'it is sent as the new mapping says')
    say('a letter of the mapping was mapped anew')


def drop(box, host, hook, config):
    hook.mode = Mode(400)
    for n in range(6):
        host.ingest('/v1/track', track('d%d' % n))
    until(lambda: host.destination('hook')['dead'] == 6, 20, '6 are dead')
    r = box.command('dead', 'drop', 'hook', '--where',
                    'messageId = "m-d1" or messageId = "m-d4"')
    check(r.stdout.startswith('2 dead letters dropped'), r.stdout + r.stderr)
    r = box.command('dead', 'drop', 'hook', '--message-id', 'm-d0')
    check(r.stdout.startswith('1 dead letters dropped'), r.stdout + r.stderr)
    left = host.get('/v1/destinations/hook/dead')
    check(sorted(d['message_id'] for d in left['dead']) ==
          ['m-d2', 'm-d3', 'm-d5'] and
          left['dropped']['by_hand']['count'] == 3 and
          left['dropped']['limit']['count'] == 0,
          'after the drop: %s' % left)
    # The events stay dead in the books; only what was kept of them went.
    check(conserved(host, 'hook')['dead'] == 6, 'counters changed')

    config['sources']['web']['destinations'] = ['mapped']
    del config['destinations']['hook']
    box.write_config(config)
    host.hangup()
    lanes = [l for l in host.status()['lanes'] if l['detached']]
    check([l['destination'] for l in lanes] == ['hook'], 'lanes: %s' % lanes)
    r = box.command('dead', 'replay', 'hook', '--all')
    check(r.returncode == 0 and '3 left' in r.stderr, 'replay of a detached '
          'one: %s%s' % (r.stdout, r.stderr))
    r = box.command('dead', 'drop', 'hook', '--all')
    check(r.returncode == 0 and r.stdout.startswith('3 dead'), r.stdout +
          r.stderr)
    check(not [l for l in host.status()['lanes'] if l['detached']],
          'the detached lane is still there')
    check(host.admin('GET', '/v1/destinations/hook/dead')[0] == 404,
          'it is still known')
    host.kill_tree()
    host.start()
    check(not [l for l in host.status()['lanes'] if l['detached']],
          'the detached lane is back')
    say('dropped ones are counted; a detached connection is freed')


def refused(host, **params):
    query = urllib.parse.urlencode(dict(params, limit=1000))
    return host.get('/v1/sources/web/dead?' + query)


def refused_events(box, host):
    bad = {'type': 'track', 'userId': 'u1', 'messageId': 'r-0'}
    status, answer = host.ingest('/v1/batch', {'batch': [bad, track('ok')]})
    check(status == 200 and len(answer['rejected']) == 1, answer)
    dead = until(lambda: host.get('/v1/sources/web/dead')['dead'], 5,
                 'the refused event is kept')
    code = answer['rejected'][0]['code']
    check(len(dead) == 1 and dead[0]['event']['messageId'] == 'r-0' and
          dead[0]['message_id'] == 'r-0' and dead[0]['code'] == code, dead)
    ls = box.command('dead', 'ls', '--source', 'web')
    check('r-0' in ls.stdout and dead[0]['code'] in ls.stdout,
          ls.stdout + ls.stderr)
    show = box.command('dead', 'show', '--source', 'web', str(dead[0]['id']))
    check(show.returncode == 0 and 'r-0' in show.stdout,
          show.stdout + show.stderr)
    r = box.command('dead', 'replay', '--source', 'web', '--all')
    check(r.stdout.startswith('0 of 1 were taken'), r.stdout + r.stderr)
    again = refused(host)['dead']
    check([d['id'] for d in again] == [dead[0]['id']],
          'a letter that was refused again: %s' % again)
    for words, n in ((('--code', code), 1), (('--code', 'other'), 0),
                     (('--message-id', 'r-0'), 1), (('--since', '-1h'), 1),
                     (('--until', '-1h'), 0),
                     (('--where', 'userId = "u1"'), 1),
                     (('--where', 'userId = "u2"'), 0)):
        ls = box.command('dead', 'ls', '--json', '--source', 'web', *words)
        got = len(json.loads(ls.stdout)['dead'])
        check(got == n, '%s finds %d, not %d' % (words, got, n))
    check(box.command('dead', 'replay', '--source', 'web').returncode == 2,
          'replay without a filter')
    r = box.command('dead', 'drop', '--source', 'web', '--code', code)
    check(r.stdout.startswith('1 events dropped'), r.stdout + r.stderr)
    left = refused(host)
    check(left['dead'] == [] and left['letters'] == left['bytes'] == 0 and
          left['dropped'] == 1, 'after the drop: %s' % left)
    check(host.admin('GET', '/v1/sources/nobody/dead')[0] == 404,
          'an unknown source has letters')
    say('an event that ingest refused: listed, tried again, dropped')


def large(n):
    return track('l%d' % n, userId='large',
                 properties={'pad': 'x' * 40000})


def taken_after_all(box, host, receiver, config):
    """What was too large is taken when the limit is raised, over a kill -9 in
    the middle: each once, as it would have been written at first."""
    mend = receiver.path('/mend')
    sent = '2026-01-12T10:00:05.000Z'
    for n in range(0, REFUSED, 10):
        def taken():
            status, answer = host.ingest('/v1/batch', {
                'batch': [dict(large(i), timestamp='2026-01-12T10:00:00.000Z')
                          for i in range(n, n + 10)],
                'context': {'app': {'name': 'shop'}}, 'sentAt': sent})
            check(status in (200, 429), answer)
            return status == 200 and answer
        answer = until(taken, 20, 'there is room for letters')
        check(len(answer['rejected']) == 10, answer)
    until(lambda: refused(host, brief='true')['letters'] == REFUSED, 10,
          'they are kept')
    row = [x for x in host.status()['source_letters']
           if x['name'] == 'web'][0]
    check(row['letters'] == REFUSED and row['bytes'] > REFUSED * 40000,
          'status: %s' % row)
    check('manifold_ingest_letters{source="web"} %d' % REFUSED in
          host.admin('GET', '/metrics')[1], 'metrics')
    first = refused(host, limit=1)['dead'][0]
    check(first['envelope']['context'] == {'app': {'name': 'shop'}} and
          first['envelope']['sentAt'] == sent, first['envelope'])
    mapped = config['destinations']['mapped']['subscriptions'][0]
    mapped['subscribe'] = 'userId = "mapped" or userId = "large"'
    config['ingest']['max_event_bytes'] = 65536
    box.write_config(config)
    host.hangup()
    status, text = host.admin('POST', '/v1/sources/web/dead/replay',
                              json.dumps({'code': 'payload_too_large'}))
    job = json.loads(text)
    check(status == 200, text)
    until(lambda: refused(host, brief='true')['letters'] < REFUSED * 0.8, 20,
          'some are taken')
    host.kill_tree()
    host.start()
    until(lambda: host.get('/v1/sources/web/dead/jobs/%d' % job['id'])['done'],
          30, lambda: 'the job is done: %s' %
          host.get('/v1/sources/web/dead/jobs'))
    check(refused(host)['letters'] == 0, 'letters are left')
    ids = {'m-l%d' % n for n in range(REFUSED)}
    until(lambda: set(mend.delivered) >= ids, 30, lambda: '%d arrive' %
          len(ids & set(mend.delivered)))
    until(lambda: not conserved(host, 'mapped')['pending'], 10, 'settled')
    kept = box.command('explain', '--json', 'm-l7')
    found = json.loads(kept.stdout)['events']
    check(len(found) == 1, '%d events of one messageId: it was stored again' %
          len(found))
    event = found[0]['event']
    check(event['context']['app'] == {'name': 'shop'} and
          event['sentAt'] == sent and
          event['originalTimestamp'] == '2026-01-12T10:00:00.000Z',
          'it is not what it would have been: %s' %
          {k: event[k] for k in event if k != 'properties'})
    say('%d events that were too large: taken later, each once' % REFUSED)


def audit(box):
    r = box.command('audit')
    check(r.returncode == 0, 'audit: %s%s' % (r.stdout, r.stderr))
    say('audit: no difference')


def test(box):
    receiver = Receiver(box.net)
    hook = receiver.path('/hook')
    mapped = box.webhook('')
    mapped['subscriptions'][0]['subscribe'] = 'userId = "mapped"'
    mapped['subscriptions'][0]['mapping']['url'] = {'@path': '$.nowhere'}
    config = box.config({
        'hook': box.webhook(receiver.url('/hook'), concurrency=8,
                            settings={'sharedSecret': '${HOOK_SECRET}'}),
        'mapped': mapped})
    os.environ['HOOK_SECRET'] = SECRET
    box.install('webhook')
    box.write_config(config)
    host = box.host()
    host.start()
    refuse_many(box, host, hook)
    listing(box, host)
    no_filter(box, host)
    one_again(host, hook)
    all_again(box, host, hook)
    audit(box)
    exactly_once(box, host, hook)
    dies_again(box, host, hook)
    paused(box, host, hook)
    mended_mapping(box, host, receiver, config)
    drop(box, host, hook, config)
    refused_events(box, host)
    taken_after_all(box, host, receiver, config)
    code, took = host.stop()
    check(code == 0, 'the host ended with %d' % code)
    audit(box)


if __name__ == '__main__':
    args = arguments()
    run(test, args)
