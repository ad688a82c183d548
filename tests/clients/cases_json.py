# SPDX-License-Identifier: Apache-2.0
#
# cases_json.py - rows of cases_test.py: JSONTestSuite, each of its texts as the
# value of a property, alone, in a batch and packed. MANIFOLD_VECTORS names
# where it is.

import collections
import gzip
import json
import os

from cases import check_refusal
from kit import check, request

MANY = 300 # files; there are 318


def directory():
    """None where there is none."""
    vectors = os.environ.get('MANIFOLD_VECTORS')
    return vectors and os.path.join(vectors, 'json')


def texts(path):
    for name in sorted(os.listdir(path)):
        if name.endswith('.json'):
            with open(os.path.join(path, name), 'rb') as f:
                yield name, f.read()


def with_value(e, value):
    """The event as bytes; value may be anything."""
    bare = json.dumps(e).encode()
    return bare[:-1] + b', "properties": {"v": ' + value + b'}}'


def three_ways(c, value):
    """The answers, and the events that they answer."""
    events = [with_value(c.event(), value) for _ in range(3)]
    answers = [c.exchange(request('/v1/track', events[0])),
               c.exchange(request('/v1/batch',
                                  b'{"batch":[' + events[1] + b']}')),
               c.exchange(request('/v1/track', gzip.compress(events[2]),
                                  {'Content-Encoding': 'gzip'}))]
    return answers, events


def judge(c, name, value, allowed):
    answers, events = three_ways(c, value)
    statuses = {a.status for a in answers}
    check(len(statuses) == 1 and statuses <= allowed,
          '%s: %s' % (name, [str(a) for a in answers]))
    for answer, event in zip(answers, events):
        if answer.status == 200:
            c.accept(event)
        else:
            check_refusal(answer, 'invalid_json')
    return statuses.pop()


ALLOWED = {'y': {200}, 'n': {400}, 'i': {200, 400}}


def json_suite(c):
    done = collections.Counter()
    for name, value in texts(directory()):
        done[name[0], judge(c, name, value, ALLOWED[name[0]])] += 1
    check(sum(done.values()) > MANY, 'only %s' % done)


def json_transforms(c):
    """Values that readers are known to understand differently."""
    for name, value in texts(os.path.join(directory(), 'test_transform')):
        judge(c, name, value, {200, 400})


ROWS = [json_suite, json_transforms]
