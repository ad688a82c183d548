# SPDX-License-Identifier: Apache-2.0
#
# send.py - sends events with Segment's SDK for Python, of which only the host
# is changed, and prints what was put into it: one line of JSON for each event.
#
#   send.py http://HOST:PORT WRITE_KEY COUNT PREFIX [gzip]

import datetime
import decimal
import json
import sys

from segment.analytics.client import Client

UTC = datetime.timezone.utc
WHEN = datetime.datetime(2026, 6, 1, 12, 0, 0, 250000, tzinfo=UTC)


def chosen(n, *values):
    return values[n % len(values)]


def values(n):
    """(what the SDK is given, what it makes of that)"""
    same = {
        'n': n, 'text': 'Zoë \U0001f680 日本語 "quoted" \\ / </script> \t\u2028 '
                        '\u0000 e\u0301',
        'number': chosen(n, 0, 2 ** 53 + 1, -2 ** 63, 1e21, 5e-324, 0.1 + 0.2),
        'long': chosen(n, '', 'x' * 3000, '\U0001f680' * 500),
        'yes': True, 'nothing': None, 'empty': {}, 'none': [],
        'list': [1, 'two', [3, {'four': 4}, []], None, True],
        'nested': {'a': {'b': {'c': [{'d': {'e': {'f': n}}}]}}},
        'key with spaces': 1, 'a.b': 2, '$set': {'x': 1}, '': 'empty key',
        'ключ\U0001f511': 'unicode key',
    }
    given = dict(same, date=WHEN, price=decimal.Decimal('9.99'),
                 pair=(1, 'two'))
    return given, dict(same, date=WHEN.isoformat(), price=9.99,
                       pair=[1, 'two'])


def who(n):
    return chosen(n, {'userId': 'user-%d' % n}, {'anonymousId': 'anon-%d' % n},
                  {'userId': 'Zoë %d' % n, 'anonymousId': 'anon-%d' % n})


def event(n, prefix):
    """(kind, the call's arguments, the event that it is to become)"""
    given, made = values(n)
    kind = chosen(n, 'track', 'identify', 'page', 'screen', 'group', 'alias')
    e = {'type': kind,
         'context': {'test': '%s%d' % (prefix, n), 'ip': '203.0.113.7',
                     'traits': {'plan': 'pro'}}}
    if n % 5:
        e['timestamp'] = WHEN.isoformat(timespec='milliseconds')
    if n % 4:
        e['messageId'] = 'chosen-%s%d' % (prefix, n)
    if n % 3:
        e['integrations'] = {'All': True, 'Amplitude': {'session_id': n}}
    if kind == 'alias':
        e.update(userId='user-%d' % n, previousId='old-%d' % n)
    else:
        e.update(who(n))
        e['traits' if kind in ('identify', 'group') else 'properties'] = made
    if kind == 'track':
        e['event'] = chosen(n // 6, 'Order Completed', 'Zoë \U0001f680', '"')
    elif kind in ('page', 'screen'):
        e.update(name='Home', category='Docs')
    elif kind == 'group':
        e['groupId'] = 'group-%d' % n
    return kind, call(e, given), e


NAMES = {'userId': 'user_id', 'anonymousId': 'anonymous_id',
         'previousId': 'previous_id', 'groupId': 'group_id',
         'messageId': 'message_id'}


def call(e, given):
    """The event as arguments of the SDK's function."""
    a = {NAMES.get(k, k): v for k, v in e.items() if k != 'type'}
    if 'timestamp' in a:
        a['timestamp'] = WHEN
    for k in ('properties', 'traits'):
        if k in a:
            a[k] = given
    return a


def main(host, key, count, prefix, *how):
    failed = []
    client = Client(key, host=host, gzip='gzip' in how, upload_size=20,
                    upload_interval=0.2,
                    on_error=lambda e, batch: failed.append(str(e)))
    for n in range(int(count)):
        kind, arguments, e = event(n, prefix)
        print(json.dumps(e))
        getattr(client, kind)(**arguments)
    client.flush()
    client.shutdown()
    for text in failed:
        print(text, file=sys.stderr)
    return 1 if failed else 0


if __name__ == '__main__':
    sys.exit(main(*sys.argv[1:]))
