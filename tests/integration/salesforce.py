#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
#
# salesforce.py - the salesforce plugin against a small Salesforce: records
# found by a query and then written, sessions that end, errors that pass and
# errors that do not, and a bulk job whose records are refused one by one. A
# job that never ends does not keep the host from ending.

import collections
import csv
import io
import json
import re
import time
import urllib.parse

from harness import (Receiver, ReceiverProtocol, arguments, check, run, say,
                     until)

DATA = '/services/data/v53.0'
QUERY = re.compile(r"SELECT Id FROM (\w+) WHERE (\w+) = '([^']*)'$")


class Job:
    def __init__(self, spec):
        self.spec = spec
        self.state = 'Open'
        self.rows = []
        self.failed = []
        self.closed = None # when, monotonic
        self.asked = []


class Salesforce(Receiver):
    """Keeps records by object and id; refuses what its names ask for."""

    def __init__(self, net):
        self.records = collections.defaultdict(dict)
        self.jobs = {}
        self.tokens = 0
        self.session = None
        self.refused = collections.Counter() # sessions, locks
        self.locked = set() # names whose row is held once
        self.queries = 0
        self.wrong = []
        super().__init__(net)

    async def start(self, net):
        return await net.loop.create_server(lambda: Exchange(self),
                                            '127.0.0.1', 0)

    def answer(self, method, path, session, body):
        path, _, query = path.partition('?')
        if path == '/services/oauth2/token':
            return self.token(dict(urllib.parse.parse_qsl(body)))
        if session != self.session:
            self.refused['session'] += 1
            return 401, [{'errorCode': 'INVALID_SESSION_ID',
                          'message': 'Session expired or invalid'}]
        parts = path[len(DATA) + 1:].strip('/').split('/')
        if parts[0] == 'query':
            return self.query(urllib.parse.parse_qs(query)['q'][0])
        if parts[0] == 'sobjects':
            return self.record(method, parts[1], parts[2:], body)
        return self.job(method, parts[2:], body)

    def token(self, form):
        if form != {'grant_type': 'refresh_token', 'client_id': 'app',
                    'client_secret': 'app-secret', 'refresh_token': 'first'}:
            self.wrong.append(form)
            return 400, {'error': 'invalid_grant'}
        self.tokens += 1
        self.session = 'session-%d' % self.tokens
        return 200, {'access_token': self.session, 'token_type': 'Bearer',
                     'issued_at': '1787313600000'}

    def query(self, text):
        m = QUERY.match(text)
        if not m:
            self.wrong.append(text)
            return 400, [{'errorCode': 'MALFORMED_QUERY', 'message': text}]
        self.queries += 1
        ids = [i for i, r in self.records[m[1]].items() if r.get(m[2]) == m[3]]
        return 200, {'totalSize': len(ids), 'done': True,
                     'records': [{'Id': i} for i in ids]}

    def fault(self, record):
        """What Salesforce has against a record, if anything."""
        name = record.get('LastName') or record.get('Name') or ''
        if name in self.locked:
            self.locked.discard(name)
            self.refused['lock'] += 1
            return ('UNABLE_TO_LOCK_ROW',
                    'unable to obtain exclusive access to this record')
        if name.startswith('Bad'):
            return ('FIELD_CUSTOM_VALIDATION_EXCEPTION',
                    'the name "%s" is bad' % name)
        return None

    def record(self, method, kind, rest, body):
        record = json.loads(body) if body else {}
        fault = self.fault(record)
        if fault:
            return 400, [{'errorCode': fault[0], 'message': fault[1]}]
        if method == 'POST':
            key = '00%d' % len(self.records[kind])
            self.records[kind][key] = record
            return 201, {'id': key, 'success': True, 'errors': []}
        if rest[0] not in self.records[kind]:
            return 404, [{'errorCode': 'NOT_FOUND', 'message': rest[0]}]
        if method == 'DELETE':
            del self.records[kind][rest[0]]
        else:
            self.records[kind][rest[0]].update(record)
        return 204, None

    def job(self, method, rest, body):
        if not rest:
            key = '750%d' % len(self.jobs)
            self.jobs[key] = Job(json.loads(body))
            return 200, {'id': key, 'state': 'Open'}
        job = self.jobs[rest[0]]
        if method == 'PUT':
            job.rows = list(csv.DictReader(io.StringIO(body, newline='')))
            return 201, None
        if method == 'PATCH':
            job.state = json.loads(body)['state']
            job.closed = time.monotonic()
        elif len(rest) > 1:
            return 200, self.failures(job)
        else:
            job.asked.append(time.monotonic())
            self.work(job)
        return 200, {'id': rest[0], 'state': job.state,
                     'numberRecordsFailed': len(job.failed)}

    def work(self, job):
        if job.spec['object'] == 'Slow__c':
            return
        job.state = 'JobComplete'
        key = job.spec['externalIdFieldName']
        seen = collections.Counter(row[key] for row in job.rows)
        for row in job.rows:
            fault = self.fault(row)
            if seen[row[key]] > 1:
                fault = 'DUPLICATE_VALUE', 'Duplicate external id specified'
            if fault:
                job.failed.append((':'.join(fault) + ':--', row))
                continue
            at = self.records[job.spec['object']].setdefault(row[key], {})
            at.update((k, v) for k, v in row.items() if v)

    def failures(self, job):
        out = io.StringIO()
        w = csv.writer(out, quoting=csv.QUOTE_ALL, lineterminator='\n')
        w.writerow(['sf__Id', 'sf__Error', *job.rows[0]])
        for error, row in reversed(job.failed):
            w.writerow(['', error, *row.values()])
        return out.getvalue()


class Exchange(ReceiverProtocol):
    def request(self, head, body):
        method, path = head.decode().split(' ', 2)[:2]
        at = head.lower().find(b'\r\nauthorization: bearer ')
        session = head[at + 24:].split(b'\r\n', 1)[0].decode()
        status, answer = self.receiver.answer(
            method, path, session if at >= 0 else None, body.decode())
        kind = 'application/json'
        if isinstance(answer, str):
            kind, text = 'text/csv', answer
        else:
            text = '' if answer is None else json.dumps(answer)
        self.transport.write(
            ('HTTP/1.1 %d X\r\nContent-Type: %s\r\nContent-Length: %d\r\n\r\n'
             '%s' % (status, kind, len(text.encode()), text)).encode())


def delivered(host, n):
    until(lambda: host.destination('crm')['delivered'] >= n, 30,
          lambda: '%d delivered: %s' % (n, host.destination('crm')))


def dead(host, n):
    until(lambda: host.destination('crm')['dead'] >= n, 30,
          lambda: '%d dead: %s' % (n, host.destination('crm')))
    return host.get('/v1/destinations/crm/dead')['dead']


def person(host, **traits):
    status, _ = host.ingest('/v1/identify', {'userId': 'u', 'traits': traits})
    check(status == 200, 'the identify was refused with %d' % status)


def single(host, server):
    leads = server.records['Lead']
    person(host, email='mira@j.example', last_name='Okafor', company='J')
    delivered(host, 1)
    person(host, email='mira@j.example', last_name='Osei', company='J')
    delivered(host, 2)
    check(list(leads.values()) == [{'Email': 'mira@j.example', 'Company': 'J',
                                    'LastName': 'Osei'}],
          'the leads are %s' % leads)
    check(server.queries == 2, '%d look-ups' % server.queries)
    server.session = 'another'
    server.locked.add('Sato')
    person(host, email='sato@j.example', last_name='Sato')
    delivered(host, 3)
    check(server.tokens == 2 and server.refused['session'] == 1,
          '%d tokens, %s' % (server.tokens, server.refused))
    check(server.refused['lock'] == 1 and len(leads) == 2,
          'locks: %s' % server.refused)
    person(host, email='bad@j.example', last_name='Bad')
    host.ingest('/v1/track', {'userId': 'u', 'event': 'Left',
                              'properties': {'email': 'no@j.example'}})
    letters = dead(host, 2)
    check(sorted(d['result'] for d in letters) == [400, 404],
          'the dead letters are %s' % letters)
    host.ingest('/v1/track', {'userId': 'u', 'event': 'Left',
                              'properties': {'email': 'mira@j.example'}})
    delivered(host, 4)
    check([r['LastName'] for r in leads.values()] == ['Sato'],
          'left are %s' % leads)
    say('created, found and updated, deleted; a session that ended and a '
        'locked row passed, a bad record and one that is not there are dead')


def bulk(host, server):
    server.locked.add('Held')
    names = {i: 'Bad "%d", Ltd' % i if i % 20 == 7 else 'Firm %d' % i
             for i in range(200)}
    names[50] = 'Held'
    events = [('g-%d' % i, 'm-%d' % i, n) for i, n in names.items()]
    events.append(('g-60', 'm-200', 'Firm 60 Ltd'))
    status, _ = host.ingest('/v1/batch', {'batch': [
        {'type': 'group', 'userId': 'u', 'groupId': group, 'messageId': m,
         'traits': {'name': name}} for group, m, name in events]})
    check(status == 200, 'the batch was refused with %d' % status)
    letters = dead(host, 12)
    delivered(host, 195)
    accounts = server.records['Account']
    good = {g: name for g, m, name in events if not name.startswith('Bad')}
    check({k: r['Name'] for k, r in accounts.items()} == good,
          '%d accounts' % len(accounts))
    ids = {d['message_id']: d['error'] for d in letters}
    for i in names:
        if i % 20 == 7:
            check('the name "Bad "%d", Ltd" is bad' % i in
                  ids.get('m-%d' % i, ''), 'm-%d is %s' %
                  (i, ids.get('m-%d' % i)))
    jobs = list(server.jobs.values())
    check(all(j.asked[0] - j.closed > 0.99 for j in jobs),
          'asked after %s s' % [j.asked[0] - j.closed for j in jobs])
    check(sum(len(j.rows) for j in jobs) == 201 and
          sum('Held' in r.values() for j in jobs for r in j.rows) == 2,
          'rows: %s' % [len(j.rows) for j in jobs])
    say('%d jobs of %s records: 10 refused are dead, one held came again' %
        (len(jobs), [len(j.rows) for j in jobs]))


def ending(host, server):
    host.ingest('/v1/track', {'userId': 'u', 'event': 'Slow'})
    slow = until(lambda: [j for j in server.jobs.values() if j.asked and
                          j.spec['object'] == 'Slow__c'], 20, 'a slow job')
    code, took = host.stop()
    check(code == 0, 'the host ended with %d' % code)
    check(len(slow[0].asked) == 8, 'asked %d times' % len(slow[0].asked))
    host.start()
    delivered(host, 196)
    check(len([j for j in server.jobs.values()
               if j.spec['object'] == 'Slow__c']) == 1, 'the job came twice')
    say('stopped in %.1f s while a job was waited for, which was not sent '
        'again' % took)


def test(box):
    server = Salesforce(box.net)
    box.install('salesforce')
    box.write_config(box.config({'crm': {
        'plugin': 'salesforce', 'allow_private': True, 'batch_wait': '100ms',
        'endpoint': 'http://127.0.0.1:%d' % server.port,
        'settings': {'instanceUrl': 'https://j.my.salesforce.com',
                     'clientId': 'app', 'clientSecret': 'app-secret',
                     'refreshToken': 'first'},
        'subscriptions': [
            {'action': 'lead2', 'subscribe': 'type = "identify"',
             'mapping': {'__segment_internal_sync_mode': 'upsert',
                         'traits': {'Email': {'@path': '$.traits.email'}},
                         'email': {'@path': '$.traits.email'},
                         'last_name': {'@path': '$.traits.last_name'},
                         'company': {'@path': '$.traits.company'}}},
            {'action': 'lead', 'subscribe': 'event = "Left"',
             'mapping': {'operation': 'delete',
                         'traits': {'Email': {'@path':
                                              '$.properties.email'}}}},
            {'action': 'account2', 'subscribe': 'type = "group"',
             'mapping': {'__segment_internal_sync_mode': 'upsert',
                         'enable_batching': True,
                         'name': {'@path': '$.traits.name'},
                         'bulkUpsertExternalId': {
                             'externalIdName': 'Code__c',
                             'externalIdValue': {'@path': '$.groupId'}}}},
            {'action': 'customObject', 'subscribe': 'event = "Slow"',
             'mapping': {'operation': 'create', 'enable_batching': True,
                         'customObjectName': 'Slow__c',
                         'customFields': {'N__c': 1}}}]}}))
    host = box.host()
    host.start()
    single(host, server)
    bulk(host, server)
    ending(host, server)
    check(not server.wrong, 'asked with %s' % server.wrong[:1])
    code, _ = host.stop()
    check(code == 0, 'the host ended with %d' % code)


if __name__ == '__main__':
    args = arguments()
    run(test, args)
