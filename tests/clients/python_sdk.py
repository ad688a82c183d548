#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
#
# python_sdk.py - Segment's SDK for Python, only its host changed, as sdk.py
# says. 2.3.4 takes nothing but exactly 200 for a success and has its write key
# in the body alone; 2.4.0 sends it in the header too and counts its retries.
# The last of its phases is packed.

import os
import sys

import sdk
from harness import arguments, run
from kit import WRITE_KEY

PACKED = ('packed', 60, [])
FORM = sdk.Form('analytics-python', ('channel', 'integrations', 'anonymousId',
                                     'userId'))


def fetch(cache, version):
    if sys.version_info < (3, 9):
        sdk.skip('this Python is older than the SDK wants')
    lock = 'requirements-%s.txt' % version
    sdk.fetch(cache, 'python', [lock],
              [sys.executable, '-m', 'pip', 'install', '--quiet', '--no-deps',
               '--no-input', '--disable-pip-version-check', '--retries', '1',
               '--only-binary', ':all:', '--require-hashes', '--upgrade',
               '--target', 'packages', '-r', lock])


def test(box):
    env = dict(os.environ,
               PYTHONPATH=os.path.join(args.cache, 'packages'))

    def send(address, count, prefix):
        command = [sys.executable, '-B', 'send.py', 'http://' + address,
                   WRITE_KEY, str(count), prefix]
        if prefix == PACKED[0] + '-':
            command.append('gzip')
        return sdk.run_sdk(command, args.cache, env)

    sdk.test(box, 'python ' + args.version, FORM, send,
             (sdk.PLAIN, sdk.CUT, sdk.BUSY, PACKED), bad_disk=True)


def options(p):
    p.add_argument('--cache', required=True)
    p.add_argument('--version', required=True)


if __name__ == '__main__':
    args = arguments(options)
    args.cache = os.path.abspath(args.cache)
    fetch(args.cache, args.version)
    run(test, args)
