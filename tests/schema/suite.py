#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
#
# suite.py - the validator of tracking plans against the official test suite of
# JSON Schema, draft-07. The suite comes with the sources of a validator in the
# package registry of Python, once, into the build directory; skipped where
# that cannot be reached.

import argparse
import glob
import os
import subprocess
import sys
import tarfile

PACKAGE = 'jsonschema==4.17.3' # the sources hold the suite as json/tests
FETCH_SECONDS = 120
SKIPPED = 77

# What a validator need not do, and this one does not: schemas of other
# documents are never fetched, content is not decoded, and these formats say
# nothing.
LEFT_OUT = {'refRemote.json', 'cross-draft.json', 'content.json',
            'idn-hostname.json', 'iri.json', 'iri-reference.json',
            'uri-template.json'}
OTHER_DOCUMENTS = 4 # cases in the rest that refer to the schema of schemas
AT_LEAST = 1000     # cases; fewer, and the suite is not what it was


def skip(why):
    print('skipped: ' + why)
    sys.exit(SKIPPED)


def fetch(cache):
    """The directory of draft7, there already or fetched."""
    os.makedirs(cache, exist_ok=True)
    there = os.path.join(cache, 'draft7')
    if os.path.isdir(there):
        return there
    try:
        r = subprocess.run(
            [sys.executable, '-m', 'pip', 'download', '--quiet', '--no-deps',
             '--no-binary', 'jsonschema', '--retries', '1', '--timeout', '20',
             '--dest', cache, PACKAGE], capture_output=True, text=True,
            timeout=FETCH_SECONDS)
    except subprocess.TimeoutExpired:
        skip('the registry does not answer')
    found = glob.glob(os.path.join(cache, 'jsonschema-*.tar.gz'))
    if r.returncode or not found:
        skip('the suite cannot be had: ' + r.stderr[-300:])
    with tarfile.open(found[0]) as tar:
        for member in tar.getmembers():
            parts = member.name.split('/')[1:]
            if not member.isfile() or parts[:3] != ['json', 'tests', 'draft7']:
                continue
            to = os.path.join(there + '.new', *parts[3:])
            os.makedirs(os.path.dirname(to), exist_ok=True)
            with open(to, 'wb') as f:
                f.write(tar.extractfile(member).read())
    os.rename(there + '.new', there)
    return there


def main():
    a = argparse.ArgumentParser()
    a.add_argument('--cases', required=True)
    a.add_argument('--cache', required=True)
    a = a.parse_args()
    there = fetch(a.cache)
    files = [f for f in sorted(glob.glob(there + '/**/*.json', recursive=True))
             if os.path.basename(f) not in LEFT_OUT]
    r = subprocess.run([a.cases] + files, capture_output=True, text=True)
    print(r.stdout, r.stderr)
    last = r.stdout.strip().splitlines()[-1].split()
    if r.returncode or int(last[0]) < AT_LEAST or \
            int(last[4]) != OTHER_DOCUMENTS:
        sys.exit(1)


main()
