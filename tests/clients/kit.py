# SPDX-License-Identifier: Apache-2.0
#
# kit.py - what the tests of clients share: a host with a file destination,
# HTTP written byte by byte, what the host has to store of an event that it
# was sent, and where a stored event differs from that.
#
# stored_form() says again, apart from the server, what its documentation
# promises: nothing of an event is lost or changed but what stands there.

import base64
import collections
import datetime
import decimal
import json
import math
import os
import re
import socket
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)),
                                '..', 'integration'))

from harness import WRITE_KEY, Failure, check, until

ANSWER_SECONDS = 5 # the least patient SDK gives up then
TYPES = ['track', 'identify', 'page', 'screen', 'group', 'alias']
LETTERS = dict(zip('tipsga', TYPES))
OBJECTS = ('properties', 'traits', 'context', 'integrations')
IDS = ('userId', 'anonymousId', 'previousId', 'groupId', 'messageId')
TIMES = ('timestamp', 'originalTimestamp', 'sentAt', 'receivedAt')
# A clock may be read in ms that are cut or rounded, in two places.
NEAR_MS = 2

LONE_SURROGATE = re.compile('[\ud800-\udfff]')
EPOCH = datetime.datetime(1970, 1, 1, tzinfo=datetime.timezone.utc)
TIME = re.compile(r'(\d{4})-(\d\d)-(\d\d)[T ](\d\d):(\d\d):(\d\d)(?:\.(\d+))?'
                  r'(?:(Z)|([+-])(\d\d):?(\d\d))')


def milliseconds(text):
    """ISO 8601 with a zone, any number of decimals; None if it is not."""
    m = isinstance(text, str) and TIME.fullmatch(text)
    if not m:
        return None
    try:
        at = datetime.datetime(*map(int, m.groups()[:6]),
                               tzinfo=datetime.timezone.utc)
    except ValueError:
        return None
    ms = (at - EPOCH) // datetime.timedelta(milliseconds=1)
    ms += int((m[7] or '0').ljust(3, '0')[:3])
    if m[9]:
        zone = (int(m[10]) * 60 + int(m[11])) * 60000
        ms -= zone if m[9] == '+' else -zone
    return ms


def number(text):
    """Exact; 0 or infinite where the exponent is beyond what can be."""
    try:
        return decimal.Decimal(text)
    except decimal.InvalidOperation:
        far = '0' if 'e-' in text.lower() else 'inf'
        return decimal.Decimal(far).copy_sign(decimal.Decimal(text[0] + '0'))


def parse(text):
    """JSON with every digit of its numbers."""
    return json.loads(text, parse_float=number)


# ---- the host ---------------------------------------------------------------

def start(box, keys=(WRITE_KEY,), name='archive', **ingest):
    """A host with a source for each key, all of them into one file. name is
    the destination's, which an event's integrations may name too."""
    box.install('file')
    ingest.setdefault('listen', ['127.0.0.1:0'])
    box.write_config(box.config(
        {name: box.file('events.ndjson')}, ingest=ingest,
        sources={'s%d' % i: {'write_key': k, 'destinations': [name]}
                 for i, k in enumerate(keys)}))
    host = box.host()
    host.start()
    return host


def stored(box):
    """Every whole line of the file."""
    path = os.path.join(box.out, 'events.ndjson')
    if not os.path.exists(path):
        return []
    with open(path, encoding='utf-8') as f:
        return [parse(line) for line in f if line.endswith('\n')]


def await_stored(box, host):
    """The lines, once all that was accepted has settled everywhere."""
    def destinations():
        return host.status()['destinations']
    until(lambda: not any(d['pending'] or d['in_flight']
                          for d in destinations()), 20,
          lambda: 'all is delivered: %s' % destinations())
    return stored(box)


# ---- HTTP, byte by byte -----------------------------------------------------

class Answer:
    def __init__(self, status, head, body):
        self.status, self.head, self.body = status, head, body

    def header(self, name):
        """None when it is not there."""
        found = re.search(rb'(?im)^' + name.encode() + rb':[ \t]*([^\r\n]*)',
                          self.head)
        return found and found[1].decode()

    def json(self):
        return json.loads(self.body)

    def label(self):
        """'200', '200 image/gif', '400 invalid_json'"""
        kind = self.header('Content-Type')
        code = None
        if self.body and kind == 'application/json':
            code = self.json().get('code')
        elif self.body:
            code = kind
        return '%d %s' % (self.status, code) if code else str(self.status)

    def __str__(self):
        return '%d %s' % (self.status, self.body[:200])


class Wire:
    """One connection. read() gives the next answer, None at its end."""

    seen = collections.Counter() # answers of all connections, by label

    def __init__(self, host, timeout=ANSWER_SECONDS):
        address, port = host.addresses['ingest'][0].rsplit(':', 1)
        self.socket = socket.create_connection((address, int(port)), timeout)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.data = b''

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.socket.close()

    def write(self, data):
        self.socket.sendall(data)

    def more(self):
        try:
            got = self.socket.recv(65536)
        except ConnectionResetError:
            got = b''
        self.data += got
        return bool(got)

    def read(self, to_head=False):
        """to_head: the answer to a HEAD, which has no body."""
        while b'\r\n\r\n' not in self.data:
            if not self.more():
                check(not self.data, 'half an answer: %r' % self.data[:200])
                return None
        head, self.data = self.data.split(b'\r\n\r\n', 1)
        answer = Answer(int(head.split(b' ', 2)[1]), head, b'')
        length = int(answer.header('Content-Length') or 0)
        if to_head or answer.status < 200:
            length = 0
        while len(self.data) < length:
            check(self.more(), 'the answer is cut off: %s' % head)
        answer.body, self.data = self.data[:length], self.data[length:]
        Wire.seen[answer.label()] += 1
        return answer


def basic(key=WRITE_KEY):
    return 'Basic ' + base64.b64encode((key + ':').encode()).decode()


def request(path, body, headers=None, method='POST', key=WRITE_KEY,
            version='1.1'):
    """The bytes of a request. Headers of None are left out; a length is
    added unless the headers say something of it."""
    h = {'Host': 'test', 'Content-Type': 'application/json'}
    if key is not None:
        h['Authorization'] = basic(key)
    h.update(headers or {})
    if isinstance(body, (dict, list)):
        body = json.dumps(body)
    if isinstance(body, str):
        body = body.encode()
    if not {'Content-Length', 'Transfer-Encoding'} & set(h):
        h['Content-Length'] = len(body)
    lines = ['%s %s HTTP/%s' % (method, path, version)]
    lines += ['%s: %s' % (k, v) for k, v in h.items() if v is not None]
    return '\r\n'.join(lines).encode() + b'\r\n\r\n' + body


def chunks(body, size):
    parts = [body[i:i + size] for i in range(0, len(body), size)]
    return b''.join(b'%x\r\n%s\r\n' % (len(p), p) for p in parts) + \
        b'0\r\n\r\n'


# ---- what has to be stored --------------------------------------------------

def type_of_path(path):
    """The type that a path gives its event, or None for a batch's."""
    name = path.split('?')[0].strip('/').split('/')[-1]
    return name if name in TYPES else LETTERS.get(name)


def stored_form(event, envelope=None, kind=None):
    """The event as it must be kept, without its times. envelope is the batch
    around it, kind the type that its path says."""
    envelope = envelope or {}
    out = {k: v for k, v in event.items()
           if k != 'writeKey' and k not in TIMES}
    out['type'] = kind or event['type']
    for k in IDS:
        if isinstance(out.get(k), (int, decimal.Decimal)):
            out[k] = str(out[k])
    for k in OBJECTS:
        outer = envelope.get(k) if k in ('context', 'integrations') else None
        if out.get(k) == []: # an empty map, as PHP writes it
            out[k] = {}
        if outer:
            out[k] = {**outer, **(out.get(k) or {})}
    return out


def is_number(v):
    return (isinstance(v, (int, decimal.Decimal)) and
            not isinstance(v, bool))


def same(wanted, got):
    """Mappings see values as JavaScript does: numbers as doubles (but whole
    ones of 64 bits), none beyond them, no half of a surrogate pair."""
    if is_number(wanted) and (is_number(got) or got is None):
        if wanted == got or isinstance(wanted, int) and abs(wanted) < 2 ** 64:
            return wanted == got
        near = float(wanted)
        return near == float(got) if got is not None else math.isinf(near)
    if isinstance(wanted, str) and isinstance(got, str):
        return LONE_SURROGATE.sub('\ufffd', wanted) == got
    return type(wanted) is type(got) and wanted == got


def differences(wanted, got, path=''):
    """Where two values differ, each as a text; none when they are equal."""
    if isinstance(wanted, dict) and isinstance(got, dict):
        wanted = {LONE_SURROGATE.sub('\ufffd', k): v
                  for k, v in wanted.items()}
        for k in sorted(set(wanted) | set(got)):
            at = '%s.%s' % (path, k)
            if k not in got:
                yield at + ' is missing'
            elif k not in wanted:
                yield at + ' was not sent'
            else:
                yield from differences(wanted[k], got[k], at)
    elif isinstance(wanted, list) and isinstance(got, list):
        if len(wanted) != len(got):
            yield '%s: %d elements, not %d' % (path, len(got), len(wanted))
        for i, (a, b) in enumerate(zip(wanted, got)):
            yield from differences(a, b, '%s[%d]' % (path, i))
    elif not same(wanted, got):
        yield '%s: sent %.80r, stored %.80r' % (path, wanted, got)


def wrong_times(event, envelope, line):
    """timestamp = receivedAt - (sentAt - originalTimestamp); the client's own
    are kept as they were sent."""
    original, sent = (
        next((v for v in values if v is not None), None) for values in
        ((event.get('timestamp'), event.get('originalTimestamp')),
         (event.get('sentAt'), (envelope or {}).get('sentAt'))))
    received = milliseconds(line.get('receivedAt'))
    at = milliseconds(line.get('timestamp'))
    if received is None or at is None:
        return ['receivedAt or timestamp is not a time']
    wrong = []
    if line['originalTimestamp'] != (original or line['receivedAt']):
        wrong.append('.originalTimestamp: sent %s, stored %s' %
                     (original, line['originalTimestamp']))
    if line.get('sentAt') != sent:
        wrong.append('.sentAt: sent %s, stored %s' %
                     (sent, line.get('sentAt')))
    due = milliseconds(original)
    if due is None:
        due = received
    elif milliseconds(sent) is not None:
        due += received - milliseconds(sent)
    if abs(at - due) > NEAR_MS:
        wrong.append('.timestamp: %d ms off' % (at - due))
    return wrong


def faults_of(event, envelope, kind, line):
    """Everything in which the stored line is not the event."""
    wanted = stored_form(event, envelope, kind)
    got = {k: v for k, v in line.items() if k not in TIMES}
    if not wanted.get('messageId'):
        if not got.get('messageId'):
            return ['.messageId was not set']
        wanted['messageId'] = got['messageId']
    return (list(differences(wanted, got)) +
            wrong_times(event, envelope, line))
