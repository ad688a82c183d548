# SPDX-License-Identifier: Apache-2.0
#
# bigquery.py - two loaders of one dataset that stream, and one with load jobs,
# against a small BigQuery: tokens for signed assertions that are revoked,
# tables that inserts learn of late, schemas that two change at a time, rows
# that are refused one by one, quotas, jobs that take their time and fail.

import base64
import collections
import hashlib
import json
import re
import subprocess
import time
import urllib.parse

from harness import (Api, ApiProtocol, Load, arguments, check, run, say,
                     until)

PROJECT, ACCOUNT = 'kayak-club', 'loader@kayak-club.iam.gserviceaccount.com'
SCOPE = 'https://www.googleapis.com/auth/bigquery'
TOKEN_URL = 'https://oauth2.googleapis.com/token'
SHAPES = {'STRING': r'.*', 'INTEGER': r'-?\d+', 'FLOAT': r'-?\d+(\.\d+)?',
          'BOOLEAN': r'true|false',
          'TIMESTAMP': r'\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,6})?'
                       r'(Z|[+-]\d\d:\d\d)'}


class Key:
    """Of a service account; made by openssl, checked by hand."""

    def __init__(self):
        def openssl(*words, text=None):
            return subprocess.run(['openssl', *words], input=text, text=True,
                                  check=True, capture_output=True).stdout
        self.pem = openssl('genpkey', '-algorithm', 'RSA', '-pkeyopt',
                           'rsa_keygen_bits:2048')
        self.n = int(openssl('rsa', '-noout', '-modulus', text=self.pem)
                     .strip().split('=')[1], 16)

    def file(self):
        return json.dumps({'type': 'service_account', 'project_id': PROJECT,
                           'private_key_id': 'key-1', 'private_key': self.pem,
                           'client_email': ACCOUNT, 'token_uri': TOKEN_URL})

    def verified(self, text, signature):
        size = (self.n.bit_length() + 7) // 8
        got = pow(int.from_bytes(signature, 'big'), 65537, self.n)
        digest = bytes.fromhex('3031300d060960864801650304020105000420') + \
            hashlib.sha256(text).digest()
        return got.to_bytes(size, 'big') == \
            b'\0\1' + b'\xff' * (size - len(digest) - 3) + b'\0' + digest


def unpacked(part):
    return base64.urlsafe_b64decode(part + '=' * (-len(part) % 4))


def error(code, reason, message):
    return code, {'error': {'code': code, 'message': message,
                            'errors': [{'reason': reason,
                                        'message': message}]}}


def not_found(what):
    return error(404, 'notFound', 'Not found: %s' % what)


def exists(what):
    return error(409, 'duplicate', 'Already Exists: %s' % what)


class Table:
    def __init__(self, body):
        self.fields = body.get('schema', {}).get('fields', [])
        self.view = body.get('view')
        self.labels = body.get('labels', {})
        self.partitioned = body.get('timePartitioning')
        self.version, self.rows, self.ids = 1, [], set()
        self.late, self.unknown = 0, set() # streaming learns of them late

    def resource(self):
        return {'etag': 'v%d' % self.version, 'labels': self.labels,
                'type': 'VIEW' if self.view else 'TABLE',
                'schema': {'fields': self.fields}}

    def fault(self, row, streamed):
        types = {f['name']: f['type'] for f in self.fields}
        for k, v in row.items():
            if k not in types or (streamed and k in self.unknown):
                return k, 'no such field: %s.' % k
            text = json.dumps(v) if isinstance(v, bool) else v
            if not re.fullmatch(SHAPES[types[k]], text, re.DOTALL) or \
                    v == 'poison':
                return k, 'Cannot convert value to %s: %s' % (types[k], v)
        return None


class BigQuery(Api):
    """Enough of it, as its pages tell."""

    def __init__(self, net, key):
        self.key, self.tokens, self.fetches = key, set(), 0
        self.datasets, self.jobs = {}, {}
        self.seen, self.wrong = collections.Counter(), []
        self.quota = self.failing = self.broken = 0 # answers still to give
        super().__init__(net)

    async def start(self, net):
        return await net.loop.create_server(lambda: Exchange(self),
                                            '127.0.0.1', 0, backlog=4096)

    def table(self, dataset, name):
        return self.datasets.get(dataset, {}).get(name)

    def token(self, body):
        form = dict(urllib.parse.parse_qsl(body.decode()))
        head, claims, signature = form.get('assertion', '..').split('.')
        good = self.key.verified(('%s.%s' % (head, claims)).encode(),
                                 unpacked(signature))
        head, claims = (json.loads(unpacked(p)) for p in (head, claims))
        if form.get('grant_type') != \
                'urn:ietf:params:oauth:grant-type:jwt-bearer' or not good or \
                head != {'alg': 'RS256', 'typ': 'JWT', 'kid': 'key-1'} or \
                claims.get('iss') != ACCOUNT or \
                claims.get('aud') != TOKEN_URL or \
                claims.get('scope') != SCOPE or \
                not 0 < claims['exp'] - claims['iat'] <= 3600 or \
                abs(claims['iat'] - time.time()) > 60:
            self.wrong.append('assertion %s %s %s' % (good, head, claims))
            return 400, {'error': 'invalid_grant'}
        self.fetches += 1
        self.tokens.add('access-%d' % self.fetches)
        return 200, {'access_token': 'access-%d' % self.fetches,
                     'token_type': 'Bearer', 'expires_in': 3599}

    def answer(self, method, path, headers, body):
        path, _, query = path.partition('?')
        if path == '/token':
            return self.token(body)
        if headers.get('authorization', '')[7:] not in self.tokens:
            self.seen['401'] += 1
            return error(401, 'authError', 'Invalid Credentials')
        if self.broken:
            self.broken -= 1
            return error(503, 'backendError', 'try again')
        for verb, pattern, call in ROUTES:
            m = re.fullmatch(pattern.replace('P:', '/bigquery/v2/projects/' +
                                             PROJECT), path)
            if m and verb == method:
                self.seen[call.__name__] += 1
                return call(self, *m.groups(), headers, body)
        self.wrong.append('%s %s?%s' % (method, path, query))
        return not_found(path)

    def make_dataset(self, headers, body):
        data = json.loads(body)
        name = data['datasetReference']['datasetId']
        if data['location'] != 'EU' or name in self.datasets:
            return exists('Dataset ' + name)
        self.datasets[name] = {}
        return 200, data

    def make_table(self, dataset, headers, body):
        data = json.loads(body)
        name = data['tableReference']['tableId']
        if dataset not in self.datasets:
            return not_found('Dataset ' + dataset)
        if name in self.datasets[dataset]:
            return exists('Table ' + name)
        self.datasets[dataset][name] = Table(data)
        self.datasets[dataset][name].late = name == 'lesson_booked'
        return 200, data

    def get_table(self, dataset, name, headers, body):
        table = self.table(dataset, name)
        return (200, table.resource()) if table else not_found(name)

    def change_table(self, dataset, name, headers, body):
        table, data = self.table(dataset, name), json.loads(body)
        if table.view:
            table.view = data['view']
            return 200, {}
        if headers.get('if-match') != 'v%d' % table.version:
            self.seen['412'] += 1
            return error(412, 'conditionNotMet', 'Precondition Failed')
        fields = data['schema']['fields']
        if fields[:len(table.fields)] != table.fields:
            self.wrong.append('fields of %s lost' % name)
        if name == 'lesson_booked':
            table.unknown = {f['name'] for f in fields[len(table.fields):]}
        table.fields, table.version = fields, table.version + 1
        return 200, {}

    def insert(self, dataset, name, headers, body):
        table, data = self.table(dataset, name), json.loads(body)
        if len(body) > 10e6 or len(data['rows']) > 500 or \
                not data['skipInvalidRows']:
            self.wrong.append('%d rows at once' % len(data['rows']))
        if not table or table.late:
            if table:
                table.late -= 1
            return not_found('Table ' + name)
        if self.quota:
            self.quota -= 1
            return error(403, 'quotaExceeded', 'Quota exceeded: streaming')
        errors = []
        for i, row in enumerate(data['rows']):
            fault = table.fault(row['json'], True)
            if fault:
                errors.append({'index': i, 'errors': [
                    {'reason': 'invalid', 'location': fault[0],
                     'message': fault[1]}]})
            elif row['insertId'] not in table.ids:
                table.ids.add(row['insertId'])
                table.rows.append(row['json'])
        table.unknown = set()
        return 200, {'insertErrors': errors} if errors else {}

    def make_job(self, headers, body):
        boundary = headers['content-type'].split('boundary=')[1].encode()
        parts = body.split(b'--' + boundary)
        job, rows = (p.split(b'\r\n\r\n', 1)[1] for p in parts[1:3])
        job = json.loads(job)
        name = job['jobReference']['jobId']
        if name in self.jobs:
            return exists('Job ' + name)
        to = job['configuration']['load']
        table = self.table(to['destinationTable']['datasetId'],
                           to['destinationTable']['tableId'])
        rows = [json.loads(r) for r in rows.splitlines() if r]
        faults = [f for f in (table.fault(r, False) for r in rows) if f]
        result = {}
        if self.failing:
            self.failing -= 1
            result = {'reason': 'backendError', 'message': 'not now'}
        elif faults:
            result = {'reason': 'invalid', 'message': faults[0][1]}
        else:
            table.rows += rows
            table.late = 0 # those it was streamed to by would know it now
        self.jobs[name] = [len(self.jobs) % 4 == 0, result]
        return 200, {'status': {'state': 'PENDING'}}

    def get_job(self, name, headers, body):
        job = self.jobs[name]
        if job[0]:
            job[0] = False
            return 200, {'status': {'state': 'RUNNING'}}
        status = {'state': 'DONE'}
        if job[1]:
            status['errorResult'] = job[1]
        return 200, {'status': status}


ROUTES = [
    ('POST', 'P:/datasets', BigQuery.make_dataset),
    ('POST', r'P:/datasets/(\w+)/tables', BigQuery.make_table),
    ('GET', r'P:/datasets/(\w+)/tables/(\w+)', BigQuery.get_table),
    ('PATCH', r'P:/datasets/(\w+)/tables/(\w+)', BigQuery.change_table),
    ('POST', r'P:/datasets/(\w+)/tables/(\w+)/insertAll', BigQuery.insert),
    ('POST', '/uploadP:/jobs', BigQuery.make_job),
    ('GET', r'P:/jobs/(\w+)', BigQuery.get_job),
]


class Exchange(ApiProtocol):
    def request(self, head, body):
        first, *lines = head.decode().split('\r\n')
        method, path, _ = first.split(' ', 2)
        headers = {k.lower(): v.strip() for k, v in
                   (line.split(':', 1) for line in lines)}
        self.send(*self.receiver.answer(method, path, headers, body))


def batch(host, *events):
    status, answer = host.ingest('/v1/batch', {'batch': list(events)})
    check(status == 200 and 'rejected' not in answer,
          'the batch was refused: %s %s' % (status, answer))


def settled(host, n, dead=0):
    names = ('jobs', 'one', 'two')
    until(lambda: all(d['delivered'] == n and d['dead'] == dead and
                      d['pending'] == 0 for d in map(host.destination, names)),
          60, lambda: '%d delivered: %s' % (n, [
              {k: d[k] for k in ('delivered', 'dead', 'pending', 'retries',
                                 'last_error')}
              for d in map(host.destination, names)]))


def track(message, **properties):
    return {'type': 'track', 'event': 'Lesson Booked', 'messageId': message,
            'userId': 'u-1', 'properties': properties}


def by_id(table):
    return {r['id']: r for r in table.rows}


def shapes(host, service):
    batch(host,
          track('s-1', hours=3, price=4.5, paid=True, order='o-1',
                day='2026-06-01 10:00', odd='tab\there "and"\nthere'),
          {'type': 'identify', 'messageId': 's-2', 'userId': 'u-1',
           'traits': {'plan': 'gold'}},
          {'type': 'identify', 'messageId': 's-3', 'userId': 'u-1',
           'traits': {'town': 'Kiel'}})
    settled(host, 3)
    for dataset in ('club', 'web'):
        check(sorted(service.datasets[dataset]) == [
            t + v for t in ('identifies', 'lesson_booked', 'tracks', 'users')
            for v in ('', '_view')], 'tables: %s' % service.datasets[dataset])
        table = service.table(dataset, 'lesson_booked')
        row = by_id(table)['s-1']
        check((row['hours'], row['price'], row['paid'], row['_order'],
               row['day'], row['odd']) ==
              ('3', '4.5', True, 'o-1', '2026-06-01T10:00:00Z',
               'tab\there "and"\nthere'), 'the row is %s' % row)
        check(table.partitioned == {'type': 'DAY', 'field': 'loaded_at'},
              'partitions: %s' % table.partitioned)
        query = service.table(dataset, 'users_view').view['query']
        check(re.search('`plan`.*`town`', query), 'the view: %s' % query)


def growth(host, service):
    batch(host, track('g-1', hours='many', wind=4), track('g-2', sea='calm'),
          {'type': 'identify', 'messageId': 'g-3', 'userId': 'u-1',
           'traits': {'age': 36}})
    settled(host, 6)
    for dataset in ('club', 'web'):
        rows = by_id(service.table(dataset, 'lesson_booked'))
        check(rows['g-1']['wind'] == '4' and 'hours' not in rows['g-1'] and
              rows['g-2']['sea'] == 'calm', 'grown: %s' % rows)
        check(by_id(service.table(dataset, 'manifold_discards'))[
            'g-1.lesson_booked.hours']['column_value'] == 'many', 'kept aside')
        check('`age`' in service.table(dataset, 'users_view').view['query'],
              'the view has not the new column')


def refusals(host, service):
    batch(host, *[track('r-%d' % i, odd='poison' if i == 7 else 'fine')
                  for i in range(20)])
    settled(host, 6 + 19, dead=1)
    for name in ('one', 'jobs'):
        letter = host.get('/v1/destinations/%s/dead' % name)['dead'][0]
        check(letter['message_id'] == 'r-7' and letter['result'] == 400 and
              'Cannot convert' in letter['error'], 'dead: %s' % letter)


def many(host, service):
    """More tables at once than a call may queue requests."""
    batch(host, *[dict(track('m-%d' % i), event='Wave %d' % i)
                  for i in range(350)])
    settled(host, 25 + 350, dead=1)
    for dataset in ('club', 'web'):
        got = [n for n, t in service.datasets[dataset].items()
               if n.startswith('wave_') and (t.view or len(t.rows) == 1)]
        check(len(got) == 700, '%d tables and views' % len(got))


def pressure(box, host, service):
    service.quota, service.failing, service.broken = 2, 1, 1
    load = Load(box.net, host, 4000, connections=2, batch=50, limit=1000)
    until(lambda: service.quota == 0 and service.failing == 0, 30,
          'quotas and jobs have failed')
    service.tokens.clear()
    load.end()
    settled(host, 375 + 1000, dead=1)
    check(len(load.acknowledged) == 1000, 'accepted')
    for dataset in ('club', 'web'):
        for name in ('tracks', 'tested'):
            rows = [r['id'] for r in service.table(dataset, name).rows
                    if r['id'].startswith('e-')]
            check(set(rows) == load.acknowledged,
                  '%s.%s has %d' % (dataset, name, len(set(rows))))
            check(dataset == 'web' or len(rows) == 1000,
                  '%d rows in %s.%s' % (len(rows), dataset, name))
    before = service.fetches
    service.tokens.clear()
    batch(host, track('t-1', hours=1))
    settled(host, 375 + 1000 + 1, dead=1)
    check(service.fetches == before + 3, '%d tokens were fetched' %
          (service.fetches - before))


def test(box):
    began = time.monotonic()
    service = BigQuery(box.net, Key())
    box.install('bigquery')

    def one(**settings):
        return {'plugin': 'bigquery', 'batch_wait': '50ms',
                'allow_private': True,
                'endpoint': 'http://127.0.0.1:%d' % service.port,
                'settings': dict(settings, project=PROJECT, location='EU',
                                 credentials=service.key.file())}
    box.write_config(box.config({'one': one(dataset='Club'),
                                 'two': one(dataset='Club'),
                                 'jobs': one(method='load')}))
    host = box.host()
    host.start()
    shapes(host, service)
    growth(host, service)
    refusals(host, service)
    say('shapes, growing schemas, values that do not fit and refused rows '
        'are right')
    many(host, service)
    pressure(box, host, service)
    say('quotas, failed jobs and revoked tokens: all events are there; %.1f s; '
        '%s' % (time.monotonic() - began, dict(service.seen)))
    check(not service.wrong, 'BigQuery would refuse: %s' % service.wrong[:1])
    shown = json.dumps(host.status()) + '\n'.join(host.log)
    check('PRIVATE KEY' not in shown and 'access-' not in shown,
          'a secret is shown')
    code, _ = host.stop()
    check(code == 0, 'the host ended with %d' % code)
    box.audit()


if __name__ == '__main__':
    run(test, arguments())
