#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
#
# node_sdk.py - an SDK for Node.js, only its host changed, sends events of all
# six kinds: straight to the host, over connections that are cut when the host
# has the events, and past refusals. A file and an HTTP receiver hold each
# exactly once with all its fields.
#
#   segment   @segment/analytics-node
#   legacy    analytics-node, what came before it
#   rudder    @rudderstack/rudder-sdk-node

import sdk
from harness import arguments, run
from kit import WRITE_KEY

def category_of_page(e, _):
    if e['type'] == 'page' and 'category' in e:
        e['properties'] = {**e['properties'], 'category': e['category']}


def traits_into_context(e, _):
    if e['type'] == 'identify':
        e['context']['traits'] = e['traits']


PACKAGES = {'segment': '@segment/analytics-node', 'legacy': 'analytics-node',
            'rudder': '@rudderstack/rudder-sdk-node'}
FORMS = {
    'segment': sdk.Form('@segment/analytics-node',
                        ('_metadata', 'integrations'),
                        change=category_of_page),
    'legacy': sdk.Form('analytics-node', ('_metadata',)),
    'rudder': sdk.Form('analytics-node', ('_metadata', 'channel'),
                       change=traits_into_context),
}


def test(box):
    def send(address, count, prefix):
        return sdk.run_sdk(['node', 'send.js', args.sdk, 'http://' + address,
                            WRITE_KEY, str(count), prefix], args.cache)

    sdk.test(box, PACKAGES[args.sdk], FORMS[args.sdk], send,
             bad_disk=args.sdk != 'legacy')


def options(p):
    p.add_argument('--cache', required=True)
    p.add_argument('--sdk', required=True, choices=sorted(FORMS))


if __name__ == '__main__':
    args = arguments(options)
    sdk.fetch_node(args.cache, PACKAGES[args.sdk])
    run(test, args)
