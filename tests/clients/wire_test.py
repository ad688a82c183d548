#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
#
# wire_test.py - sends again, byte for byte, what real SDKs were recorded to
# send; each request is answered as every SDK takes for a success, and each
# event is stored with all its fields. MANIFOLD_VECTORS names the directory
# beside the recordings; the test is skipped without it.
#
# The recordings hold retries: the same messageIds come up to three times. An
# event is stored at least once and at most as often as it came. Some are for
# Mixpanel alone (their integrations say so), hence the destination's name.

import base64
import collections
import glob
import gzip
import os
import re
import sys

from kit import (LETTERS, TYPES, Wire, await_stored, check, chunks, faults_of,
                 parse, start, type_of_path)
from harness import SKIPPED, arguments, run, say

EVENTS = re.compile(r'/v1/(%s)/?(\?.*)?' %
                    '|'.join(TYPES + list(LETTERS) + ['batch', 'b', 'import']))


class Recording:
    """One request of a file, and the events in it."""

    def __init__(self, client, r):
        self.name = '%s/%s %s' % (client, r['scenario'], r['path'])
        self.raw = base64.b64decode(r['body_b64'])
        self.line = '%s %s HTTP/%s' % (r['method'], r['path'],
                                       r['httpVersion'])
        self.headers = r['headers']
        self.chunked = r['framing'] == 'chunked'
        self.kind = type_of_path(r['path'])
        names = {k.lower(): v for k, v in r['headers']}
        text = self.raw
        if names.get('content-encoding') == 'gzip':
            text = gzip.decompress(text)
        body = parse(text)
        self.envelope = body if 'batch' in body else {}
        self.events = body.get('batch', [body])

    def bytes(self):
        lines = [self.line] + ['%s: %s' % (k, v) for k, v in self.headers]
        body = chunks(self.raw, 1000) if self.chunked else self.raw
        return '\r\n'.join(lines).encode() + b'\r\n\r\n' + body


def recordings(directory):
    """(those that carry events, the write keys they use)"""
    found, keys = [], set()
    for path in sorted(glob.glob(os.path.join(directory, '*.json'))):
        with open(path, encoding='utf-8') as f:
            content = parse(f.read())
        client = os.path.basename(path)[:-len('.json')]
        keys.add(content.get('writeKey'))
        found += [Recording(client, r) for r in content.get('requests', [])
                  if r['method'] == 'POST' and EVENTS.fullmatch(r['path'])]
    return found, sorted(k for k in keys if k)


def replay(host, r):
    with Wire(host) as wire:
        wire.write(r.bytes())
        answer = wire.read()
    check(answer and answer.status == 200 and
          answer.json() == {'success': True},
          '%s is answered with %s' % (r.name, answer))


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
        if self.found[line['messageId']] > len(candidates):
            return line['messageId'] + ': stored more often than sent'
        return ''

    def missing(self):
        return (sorted(set(self.by_id) - set(self.found)) +
                [r.name for r, _ in self.nameless])


def test(box):
    sent, keys = recordings(box.args.wire)
    check(len(sent) > 0 and keys, 'no recordings in ' + box.args.wire)
    host = start(box, keys, 'Mixpanel')
    for r in sent:
        replay(host, r)
    expected = Expected(sent)
    lines = await_stored(box, host)
    wrong = [w for w in map(expected.take, lines) if w]
    check(not wrong, '%d events differ:\n%s' %
          (len(wrong), '\n'.join(wrong[:20])))
    check(not expected.missing(), 'never stored: %s' % expected.missing())
    say('%d requests of %d clients, %d different events, %d stored' %
        (len(sent), len({r.name.split('/')[0] for r in sent}),
         len(expected.found), len(lines)))


if __name__ == '__main__':
    args = arguments()
    vectors = os.environ.get('MANIFOLD_VECTORS')
    args.wire = vectors and os.path.join(vectors, '..', 'wire')
    if not args.wire or not os.path.isdir(args.wire):
        say('skipped: MANIFOLD_VECTORS names no directory beside wire/')
        sys.exit(SKIPPED)
    run(test, args)
