# SPDX-License-Identifier: Apache-2.0
#
# redshift.py - the warehouse by way of S3. A small bucket checks every
# signature as S3 would; a PostgreSQL server stands behind a proxy that takes
# from the SQL what is Redshift's alone, fetches what COPY names from the
# bucket, and remembers what Redshift would not have understood. As there, no
# key keeps a second row of an id out.

import collections
import hashlib
import hmac
import re
import socket
import struct
import sys
import threading
import urllib.parse

from harness import (SKIPPED, Load, Receiver, ReceiverProtocol, arguments,
                     check, run, say, until)
import pgserver
from postgres import batch, settled, track

KEY, SECRET, REGION, BUCKET = 'k-id', 'k-secret', 'eu-central-1', 'k-events'
HOST = '%s.s3.%s.amazonaws.com' % (BUCKET, REGION)


def sign(key, text):
    return hmac.new(key, text.encode(), hashlib.sha256).digest()


def signature(method, path, headers, names, scope, stamp, body):
    """Signature version 4, as S3 computes it."""
    canonical = '\n'.join(
        [method, urllib.parse.quote(urllib.parse.unquote(path)), ''] +
        ['%s:%s' % (n, headers[n]) for n in names] +
        ['', ';'.join(names), hashlib.sha256(body).hexdigest()])
    text = '\n'.join(['AWS4-HMAC-SHA256', stamp, scope,
                      hashlib.sha256(canonical.encode()).hexdigest()])
    key = ('AWS4' + SECRET).encode()
    for part in scope.split('/'):
        key = sign(key, part)
    return sign(key, text).hex()


class Bucket(Receiver):
    """Objects by key. `refuse` answers are told before it works again."""

    def __init__(self, net):
        super().__init__(net)
        self.objects, self.wrong, self.refuse = {}, [], 0
        self.seen = collections.Counter()

    async def start(self, net):
        return await net.loop.create_server(lambda: Exchange(self),
                                            '127.0.0.1', 0)

    def fault(self, method, path, headers, body):
        m = re.fullmatch(r'AWS4-HMAC-SHA256 Credential=([^/]+)/(\S+), '
                         r'SignedHeaders=(\S+), Signature=([0-9a-f]{64})',
                         headers.get('authorization', ''))
        if not m or m[1] != KEY or headers.get('host') != HOST:
            return 'not signed by us'
        names = m[3].split(';')
        if not {'host', 'x-amz-date', 'x-amz-content-sha256'} <= set(names):
            return 'signed is only %s' % names
        if headers['x-amz-content-sha256'] != hashlib.sha256(body).hexdigest():
            return 'the body is another'
        stamp = headers['x-amz-date']
        scope = '%s/%s/s3/aws4_request' % (stamp[:8], REGION)
        if m[2] != scope:
            return 'scope %s' % m[2]
        if signature(method, path, headers, names, scope, stamp,
                     body) != m[4]:
            return 'the signature does not match'
        return None

    def answer(self, method, path, headers, body):
        self.seen[method] += 1
        fault = self.fault(method, path, headers, body)
        if fault:
            self.wrong.append(fault)
            return 403, '<Code>SignatureDoesNotMatch</Code>'
        if method == 'PUT' and self.refuse:
            self.refuse -= 1
            return 503, '<Code>SlowDown</Code>'
        if method == 'PUT':
            self.objects[path[1:]] = body
            return 200, ''
        self.objects.pop(path[1:], None)
        return 204, ''


class Exchange(ReceiverProtocol):
    def request(self, head, body):
        first, *lines = head.decode().split('\r\n')
        method, path, _ = first.split(' ')
        headers = {k.lower(): v.strip() for k, v in
                   (line.split(':', 1) for line in lines)}
        status, text = self.receiver.answer(method, path, headers, body)
        self.transport.write(('HTTP/1.1 %d X\r\nContent-Length: %d\r\n\r\n%s' %
                              (status, len(text), text)).encode())


class Proxy:
    """Redshift in front of PostgreSQL: its protocol, message by message."""

    def __init__(self, port, bucket):
        self.to, self.bucket, self.wrong = port, bucket, []
        self.copies = 0
        self.server = socket.create_server(('127.0.0.1', 0))
        self.port = self.server.getsockname()[1]
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            s, _ = self.server.accept()
            threading.Thread(target=self.serve, args=[s], daemon=True).start()

    @staticmethod
    def exactly(s, n):
        data = b''
        while len(data) < n:
            more = s.recv(n - len(data))
            if not more:
                raise ConnectionError
            data += more
        return data

    def message(self, s):
        head = self.exactly(s, 5)
        length = struct.unpack('!I', head[1:])[0]
        return head[:1], self.exactly(s, length - 4)

    @staticmethod
    def put(s, kind, body):
        s.sendall(kind + struct.pack('!I', len(body) + 4) + body)

    def serve(self, client):
        server = socket.create_connection(('127.0.0.1', self.to))
        try:
            head = self.exactly(client, 4)
            server.sendall(head + self.exactly(
                client, struct.unpack('!I', head)[0] - 4))
            data = self.until_ready(server, client, None)
            while True:
                kind, body = self.message(client)
                data = None
                if kind == b'Q':
                    sql, data = self.plain(body[:-1].decode())
                    body = sql.encode() + b'\0'
                self.put(server, kind, body)
                if kind == b'X':
                    return
                if kind == b'Q':
                    self.until_ready(server, client, data)
        except OSError:
            pass
        finally:
            client.close()
            server.close()

    def until_ready(self, server, client, data):
        while True:
            kind, body = self.message(server)
            if kind == b'G' and data is not None:
                self.put(server, b'd', data)
                self.put(server, b'c', b'')
                continue
            if kind == b'E' and data is not None:
                body = (b"SERROR\0CXX000\0MLoad into table failed.  Check "
                        b"'stl_load_errors' system table for details.\0\0")
            self.put(client, kind, body)
            if kind == b'Z':
                return
            if kind == b'R' and struct.unpack('!I', body[:4])[0] in (10, 11):
                self.put(server, *self.message(client))

    def plain(self, sql):
        """What PostgreSQL understands of it, and what it is to copy."""
        for word in ('ON CONFLICT', 'ON COMMIT', 'EXCLUSIVE', 'STDIN',
                     'COLUMN IF NOT EXISTS', 'SAVEPOINT'):
            if word in sql:
                self.wrong.append(sql)
        for one in sql.split(';'):
            if one.count('ADD COLUMN') > 1:
                self.wrong.append(one)
        sql = sql.replace(', PRIMARY KEY ("id")', '')
        sql = sql.replace(' DISTKEY ("id") SORTKEY ("received_at")', '')
        m = re.fullmatch(
            r"(COPY manifold_stage_\d+ \(.*\)) FROM 's3://([^/]+)/([^']+)' "
            r"IAM_ROLE 'arn:aws:iam::123456789012:role/reads' REGION '(.*)' "
            r"DELIMITER '\\t' ESCAPE NULL AS '\\\\N' TIMEFORMAT 'auto' "
            r"COMPUPDATE OFF STATUPDATE OFF", sql)
        if not m:
            if sql.startswith('COPY'):
                self.wrong.append(sql)
            return sql, None
        if (m[2], m[4]) != (BUCKET, REGION):
            self.wrong.append(sql)
        self.copies += 1
        return m[1] + ' FROM STDIN', self.bucket.objects[m[3]]


def shapes(host, pg):
    batch(host,
          track('Lesson Booked', 's-1', hours=3, day='2026-06-01T10:00+02:00',
                odd='tab\there \\ and\nthere', snapshot='x', text='é' * 300,
                price=9.5),
          {'type': 'identify', 'messageId': 's-2', 'userId': 'u-1',
           'traits': {'email': 'ada@k.example', 'plan': 'gold'}})
    settled(host, 2)
    batch(host, track('Lesson Booked', 's-3', hours='many', wind=4, sea=2),
          {'type': 'identify', 'messageId': 's-4', 'userId': 'u-1',
           'traits': {'plan': 'silver'}})
    settled(host, 4)
    row = pg.psql("SELECT hours, day AT TIME ZONE 'UTC', _snapshot, "
                  "replace(odd, E'\\n', '|'), length(text), price "
                  "FROM shop.lesson_booked WHERE id = 's-1'")
    check(row == [['3', '2026-06-01 08:00:00', 'x', 'tab', 'here \\ and|there',
                   '256', '9.5']], 'the row is %s' % row)
    check(pg.psql("SELECT hours, wind, sea FROM shop.lesson_booked WHERE "
                  "id = 's-3'") == [['', '4', '2']], 'the second row')
    check(pg.psql('SELECT id, email, plan FROM shop.users') ==
          [['u-1', 'ada@k.example', 'silver']], 'users: newest state')
    check(pg.psql('SELECT column_value FROM shop.manifold_discards') ==
          [['many']], 'kept aside')


def refusal(host, pg):
    """A row that COPY does not take is dead alone."""
    pg.psql('ALTER TABLE shop.lesson_booked ADD address inet')
    batch(host, *[track('Lesson Booked', 'r-%d' % i, hours=i,
                        address='here' if i == 3 else '192.0.2.%d' % i)
                  for i in range(8)])
    settled(host, 4 + 7, dead=1)
    letters = host.get('/v1/destinations/one/dead')['dead']
    check([(d['message_id'], d['result']) for d in letters] == [('r-3', 400)],
          'the dead letters are %s' % letters)


def test(box):
    pg = pgserver.Server(box, ['fsync=off', 'shared_buffers=32MB'])
    bucket = Bucket(box.net)
    try:
        pg.start()
        proxy = Proxy(pg.port, bucket)
        box.install('redshift')
        one = {'plugin': 'redshift', 'batch_wait': '50ms',
               'endpoint': 'http://127.0.0.1:%d' % bucket.port,
               'allow_private': True,
               'settings': pg.connection(
                   port=proxy.port, schema='Shop', bucket=BUCKET,
                   region=REGION, prefix='in/coming', accessKeyId=KEY,
                   secretAccessKey=SECRET, stringLength=512,
                   iamRole='arn:aws:iam::123456789012:role/reads')}
        box.write_config(box.config({'one': one, 'two': one}))
        host = box.host()
        host.start()
        shapes(host, pg)
        refusal(host, pg)
        bucket.refuse = 2
        load = Load(box.net, host, 4000, connections=2, batch=50, limit=2000)
        load.end()
        settled(host, 11 + 2000, dead=1)
        check(bucket.refuse == 0, 'the bucket was not asked')
        for table in ('tracks', 'tested'):
            got = pg.psql("SELECT count(*), count(DISTINCT id) FROM shop.%s "
                          "WHERE id LIKE 'e-%%'" % table)
            check(got == [['2000', '2000']], '%s has %s' % (table, got))
        check(not bucket.wrong, 'S3 would refuse: %s' % bucket.wrong[:1])
        check(not proxy.wrong, 'Redshift would refuse: %s' % proxy.wrong[:1])
        check('deadlock' not in pg.log(), 'two loaders waited for each other')
        check(not bucket.objects and bucket.seen['DELETE'] == proxy.copies,
              'left in the bucket: %s' % list(bucket.objects))
        say('%d objects signed, copied and deleted; %d events of two loaders '
            'are there once, without a key' % (proxy.copies, 2011))
        code, _ = host.stop()
        check(code == 0, 'the host ended with %d' % code)
        box.audit()
    finally:
        pgserver.stop_all(box)


if __name__ == '__main__':
    args = arguments()
    if not pgserver.binaries():
        say('no PostgreSQL server is installed: skipped')
        sys.exit(SKIPPED)
    run(test, args)
