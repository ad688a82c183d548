#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
#
# cases_test.py - what a client can bring about, case by case: which answer it
# gets, and what is stored. In the end the file of a destination must hold each
# event that was accepted once, with all its fields, and nothing else: whatever
# a refused request carried must not be there. A table tells what was seen.
#
# A row is a function of Cases, its name says what it is; cases_table.py says
# which case it belongs to. With MANIFOLD_VECTORS set, JSONTestSuite is run too.

import time

import cases_json
import cases_table
from cases import OTHER_KEY, Cases
from kit import WRITE_KEY, Wire, await_stored, check, faults_of, start
from harness import Failure, arguments, run, say


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


def run_row(c, row, failed):
    began = time.monotonic()
    try:
        row(c)
    except (Failure, OSError) as e:
        failed.append('%s: %s' % (row.__name__, e))
    if time.monotonic() - began > 1:
        say('%s took %.1f s' % (row.__name__, time.monotonic() - began))


def run_case(c, case, decided, rows, failed):
    """Its line of the table."""
    before = c.accepted()
    Wire.seen.clear()
    for row in rows:
        run_row(c, row, failed)
    return case, decided, dict(Wire.seen), c.accepted() - before


def test(box):
    check(not cases_table.forgotten(),
          'rows of no case: %s' % cases_table.forgotten())
    cases = cases_table.CASES
    if not cases_json.directory():
        say('without JSONTestSuite: MANIFOLD_VECTORS is not set')
        cases = cases_table.without_suite()
    host = start(box, (WRITE_KEY, OTHER_KEY))
    c = Cases(host)
    failed = []
    done = [run_case(c, *case, failed) for case in cases]
    lines = await_stored(box, host)
    wrong = list(compare(c, lines))
    say('\n'.join(cases_table.lines(done)))
    check(not failed and not wrong,
          '%d rows failed, %d events stored wrongly\n%s' %
          (len(failed), len(wrong), '\n'.join(failed + wrong[:30])))
    say('%d cases, %d events stored, each as it was accepted' %
        (len(cases), len(lines)))


if __name__ == '__main__':
    run(test, arguments())
