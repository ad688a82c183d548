#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
#
# cases_test.py - what a client can bring about, row by row: which answer it
# gets, and what is stored. In the end the file of a destination must hold each
# event that was accepted once, with all its fields, and nothing else: whatever
# a refused request carried must not be there.
#
# A row is a function of Cases, its name says what it is. With MANIFOLD_VECTORS
# set, JSONTestSuite is run too, as values of a property.

import collections
import json
import os
import time

import cases_events
import cases_http
from cases import OTHER_KEY, Cases, check_refusal
from kit import WRITE_KEY, await_stored, check, faults_of, request, start
from harness import Failure, arguments, run, say


def json_suite(c):
    directory = os.path.join(os.environ['MANIFOLD_VECTORS'], 'json')
    done = collections.Counter()
    for name in sorted(os.listdir(directory)):
        if name[:2] not in ('y_', 'n_', 'i_'):
            continue
        with open(os.path.join(directory, name), 'rb') as f:
            value = f.read()
        e = json.dumps(c.event()).encode()
        body = e[:-1] + b', "properties": {"v": ' + value + b'}}'
        answer = c.exchange(request('/v1/track', body))
        done[name[:2], answer.status] += 1
        check(answer.status == 400 if name[0] == 'n' else
              answer.status in ((200, 400) if name[0] == 'i' else (200,)),
              '%s: %s' % (name, answer))
        if answer.status == 200:
            c.accept(body)
        else:
            check_refusal(answer)
    check(sum(done.values()) > 300, 'only %s' % done)


def compare(c, lines):
    """What is wrong with what is stored."""
    left, seen = dict(c.expected), set()
    nameless = {e['event']: (e, env, kind) for e, env, kind in c.nameless}
    for line in lines:
        known = left.pop(line['messageId'], None)
        if not known:
            known = nameless.pop(line.get('event'), None)
        if not known:
            yield ('%s twice' if line['messageId'] in seen else
                   '%s was not accepted') % line['messageId']
            continue
        seen.add(line['messageId'])
        for fault in faults_of(*known, line):
            yield '%s%s' % (line['messageId'], fault)
    for name in list(left) + list(nameless):
        yield '%s is not stored' % name


def test(box):
    host = start(box, (WRITE_KEY, OTHER_KEY))
    c = Cases(host)
    rows = cases_events.ROWS + cases_http.ROWS
    if os.environ.get('MANIFOLD_VECTORS'):
        rows = rows + [json_suite]
    else:
        say('without JSONTestSuite: MANIFOLD_VECTORS is not set')
    failed = []
    for row in rows:
        began = time.monotonic()
        try:
            row(c)
        except (Failure, OSError) as e:
            failed.append('%s: %s' % (row.__name__, e))
        if time.monotonic() - began > 1:
            say('%s took %.1f s' % (row.__name__, time.monotonic() - began))
    lines = await_stored(box, host)
    wrong = list(compare(c, lines))
    check(not failed and not wrong,
          '%d of %d rows, %d events stored wrongly\n%s' %
          (len(failed), len(rows), len(wrong),
           '\n'.join(failed + wrong[:30])))
    say('%d rows, %d events stored, each as it was accepted' %
        (len(rows), len(lines)))


if __name__ == '__main__':
    run(test, arguments())
