#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
#
# wire_test.py - sends again, byte for byte, what real SDKs were recorded to
# send: events in every form, what browsers ask before them, the settings that
# SDKs fetch, pixels and beacons. Each is answered as its SDK takes for a
# success, and each event is stored with all its fields. Then the answers that
# the server gives are held against what was recorded of the SDKs' reactions.
# MANIFOLD_VECTORS names the directory beside the recordings; the test is
# skipped without it.
#
# The recordings hold retries: the same messageIds come up to three times, and
# are stored once. Some are for Mixpanel alone (their integrations say so),
# hence the destination's name. Jitsu's own paths are not the Tracking API and
# get 404.

import base64
import collections
import glob
import gzip
import json
import os
import re
import sys
import urllib.parse

from kit import (LETTERS, TYPES, WRITE_KEY, Wire, await_stored, check, chunks,
                 faults_of, parse, request, start, type_of_path)
from harness import SKIPPED, arguments, run, say

EVENTS = re.compile(r'(/beacon)?/v1/(%s)/?' %
                    '|'.join(TYPES + list(LETTERS) + ['batch', 'b', 'import']))
PIXEL = re.compile(r'/v1/pixel/(\w+)')
SETTINGS = re.compile(r'/v1/projects/(\w+)/settings')


def decoded(raw, names):
    text = raw
    if names.get('content-encoding') == 'gzip':
        text = gzip.decompress(text)
    return parse(text)


def pixel_body(query):
    data = urllib.parse.parse_qs(query)['data'][0]
    return parse(base64.urlsafe_b64decode(data + '=' * (-len(data) % 4)))


class Recording:
    """One request of a file, and the events in it."""

    def __init__(self, client, r):
        self.name = '%s/%s %s %s' % (client, r['scenario'], r['method'],
                                     r['path'])
        self.raw = base64.b64decode(r['body_b64'])
        self.method, self.headers = r['method'], r['headers']
        self.path, _, query = r['path'].partition('?')
        self.line = '%s %s HTTP/%s' % (r['method'], r['path'],
                                       r['httpVersion'])
        self.chunked = r['framing'] == 'chunked'
        self.names = {k.lower(): v for k, v in r['headers']}
        self.kind, self.envelope, self.events = None, {}, []
        if self.method == 'POST' and EVENTS.fullmatch(self.path):
            self.kind = type_of_path(self.path)
            body = decoded(self.raw, self.names)
            self.envelope = body if 'batch' in body else {}
            self.events = body.get('batch', [body])
        elif self.method == 'GET' and PIXEL.fullmatch(self.path):
            self.kind = PIXEL.fullmatch(self.path)[1]
            self.events = [pixel_body(query)]

    def bytes(self):
        lines = [self.line] + ['%s: %s' % (k, v) for k, v in self.headers]
        body = chunks(self.raw, 1000) if self.chunked else self.raw
        return '\r\n'.join(lines).encode() + b'\r\n\r\n' + body

    def judge(self, answer):
        rights = [right for method, pattern, right in SORTS
                  if method == self.method and pattern.fullmatch(self.path)]
        check(len(rights) == 1, 'nothing is decided for ' + self.name)
        check(rights[0](self, answer), '%s is answered with %s %s' %
              (self.name, answer.head, answer))


# ---- what is right ----------------------------------------------------------

def succeeds(r, answer):
    return answer.status == 200 and answer.json() == {'success': True}


def is_listed(r, answer):
    """Every header that the browser asks for, by its name."""
    allowed = (answer.header('Access-Control-Allow-Headers') or '').lower()
    asked = r.names['access-control-request-headers'].lower()
    return (answer.status == 200 and
            answer.header('Access-Control-Allow-Origin') ==
            r.names['origin'] and
            set(re.split(r',\s*', asked)) <= set(re.split(r',\s*', allowed)))


def is_image(r, answer):
    return answer.status == 200 and answer.header('Content-Type') == \
        'image/gif' and answer.body[:6] == b'GIF89a'


def is_readable(r, answer):
    return answer.status == 200 and \
        answer.header('Access-Control-Allow-Origin') == r.names.get('origin')


def is_settings(r, answer):
    key = SETTINGS.fullmatch(r.path)[1]
    told = answer.json()['integrations']['Segment.io']
    return is_readable(r, answer) and told['apiKey'] == key and \
        told['apiHost'] == r.names['host'] + '/v1'


def is_source(r, answer):
    return is_readable(r, answer) and \
        answer.json()['source']['destinations'] == []


def is_unknown(r, answer):
    return answer.status == 404 and answer.json()['code'] == 'not_found'


SORTS = [
    ('POST', EVENTS, succeeds),
    ('POST', re.compile('/v1/m'), succeeds),
    ('GET', PIXEL, is_image),
    ('GET', SETTINGS, is_settings),
    ('GET', re.compile('/sourceConfig/'), is_source),
    ('OPTIONS', re.compile('/.*'), is_listed),
    ('POST', re.compile('/api/s/s2s/\\w+'), is_unknown),
]


def recordings(directory):
    """(all requests, the write keys they use)"""
    found, keys = [], set()
    for path in sorted(glob.glob(os.path.join(directory, '*.json'))):
        with open(path, encoding='utf-8') as f:
            content = parse(f.read())
        client = os.path.basename(path)[:-len('.json')]
        keys.add(content.get('writeKey'))
        found += [Recording(client, r) for r in content.get('requests', [])]
    return found, sorted(k for k in keys if k)


def replay(host, r):
    with Wire(host) as wire:
        wire.write(r.bytes())
        answer = wire.read()
    check(answer, '%s is not answered' % r.name)
    r.judge(answer)


# ---- what SDKs make of our answers ------------------------------------------

def reactions(host, directory):
    """retry-matrix.json says of each client whether it sends again after a
    first answer. What we accept no client may repeat, what we refuse for good
    none but Go's, which repeats whatever is not a success."""
    with open(os.path.join(directory, 'retry-matrix.json')) as f:
        matrix = json.load(f)
    with Wire(host) as wire:
        wire.write(request('/v1/track', {'userId': 'u', 'event': 'E'}) +
                   request('/v1/track', {'event': 'E'}))
        good, bad = wire.read(), wire.read()
    check(good.body == b'{"success":true}', 'accepted with %s' % good)
    check(bad.status == 400 and {'code', 'message'} <= set(bad.json()),
          'refused with %s' % bad)
    again = {c: {k: v['retried'] for k, v in m.items()}
             for c, m in matrix.items()}
    for client, of in again.items():
        check(not of['200 {"success":true}'], client + ' repeats a success')
        check(not of['400 code+message'] or client == 'go',
              client + ' repeats a refusal')
        check(of['429 Retry-After:2'] and of['503 Retry-After:2'],
              client + ' does not repeat what is to be repeated')
    return len(again)


class Expected:
    """Each event with the requests that carried it, until it is found."""

    def __init__(self, sent):
        self.by_id = collections.defaultdict(list)
        self.found = collections.Counter()
        self.nameless = [] # without a messageId: to be told by its fields
        for r in sent:
            for e in r.events:
                if e.get('messageId'):
                    self.by_id[e['messageId']].append((r, e))
                else:
                    self.nameless.append((r, e))

    def take(self, line):
        """What is wrong with a stored line, '' if nothing."""
        candidates = self.by_id.get(line['messageId'], self.nameless)
        wrong = ['an event that was not sent']
        for c in candidates:
            r, e = c
            wrong = faults_of(e, r.envelope, r.kind, line)
            if not wrong:
                break
        if wrong:
            return '%s: %s' % (line['messageId'], '; '.join(wrong[:5]))
        if candidates is self.nameless:
            candidates.remove(c)
            return ''
        self.found[line['messageId']] += 1
        if self.found[line['messageId']] > 1:
            return line['messageId'] + ': stored more than once'
        return ''

    def missing(self):
        return (sorted(set(self.by_id) - set(self.found)) +
                [r.name for r, _ in self.nameless])


def test(box):
    sent, keys = recordings(box.args.wire)
    check(len(sent) > 0 and keys, 'no recordings in ' + box.args.wire)
    host = start(box, keys + [WRITE_KEY], 'Mixpanel')
    for r in sent:
        replay(host, r)
    expected = Expected(sent)
    lines = await_stored(box, host)
    wrong = [w for w in map(expected.take, lines) if w]
    check(not wrong, '%d events differ:\n%s' %
          (len(wrong), '\n'.join(wrong[:20])))
    check(not expected.missing(), 'never stored: %s' % expected.missing())
    clients = reactions(host, box.args.wire)
    say('%d requests of %d clients, %d different events, %d stored; the '
        'reactions of %d SDKs fit' %
        (len(sent), len({r.name.split('/')[0] for r in sent}),
         len(expected.found), len(lines), clients))
    say(', '.join('%s %d' % (k, n) for k, n in sorted(
        collections.Counter(r.method for r in sent).items())))


if __name__ == '__main__':
    args = arguments()
    vectors = os.environ.get('MANIFOLD_VECTORS')
    args.wire = vectors and os.path.join(vectors, '..', 'wire')
    if not args.wire or not os.path.isdir(args.wire):
        say('skipped: MANIFOLD_VECTORS names no directory beside wire/')
        sys.exit(SKIPPED)
    run(test, args)
