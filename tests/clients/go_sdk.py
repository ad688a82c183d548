#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
#
# go_sdk.py - Segment's SDK for Go, only its host changed, as sdk.py says. It
# names its library around the batch alone, and repeats whatever is not a
# success.

import os

import sdk
from harness import arguments, run
from kit import WRITE_KEY

FORM = sdk.Form('analytics-go')


def fetch(cache):
    os.environ.update(GOTOOLCHAIN='local', GOFLAGS='-mod=readonly')
    sdk.fetch(cache, 'go', ['go.sum', 'send.go'],
              ['go', 'build', '-o', 'send', '.'])


def test(box):
    def send(address, count, prefix):
        return sdk.run_sdk(['./send', 'http://' + address, WRITE_KEY,
                            str(count), prefix], args.cache)

    sdk.test(box, 'go', FORM, send, bad_disk=True)


if __name__ == '__main__':
    args = arguments(lambda p: p.add_argument('--cache', required=True))
    args.cache = os.path.abspath(args.cache)
    fetch(args.cache)
    run(test, args)
