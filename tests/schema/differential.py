#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
#
# differential.py - the validator of tracking plans against another one,
# python3-jsonschema, on schemas and values made by chance, the same each time
# unless --seed is given; --groups N for a longer run. Skipped where that package
# is not installed.

import argparse
import json
import os
import random
import subprocess
import sys
import tempfile

SKIPPED = 77
SYSTEM = '/usr/bin/python3' # whose packages are the distribution's
VALUES = 12                 # for each schema

try:
    import jsonschema
except ImportError:
    if os.path.exists(SYSTEM) and not os.environ.get('DIFFERENTIAL_AGAIN'):
        os.environ['DIFFERENTIAL_AGAIN'] = '1'
        os.execv(SYSTEM, [SYSTEM, '-B'] + sys.argv)
    print('skipped: python3-jsonschema is not installed')
    sys.exit(SKIPPED)

KEYS = ['a', 'b', 'c', 'ab', 'x y', 'é']
PATTERNS = ['^a', 'b$', '^[ab]+$', '[0-9]', '^.?$', 'a|b', '^(?!a)', '(a)\\1']
TYPES = ['null', 'boolean', 'number', 'integer', 'string', 'array', 'object']


class Maker:
    def __init__(self, seed):
        self.r = random.Random(seed)

    def number(self):
        r = self.r
        return r.choice([0, 1, -1, 2, 3, 10, r.randint(-20, 20),
                         r.randint(-40, 40) / 4, 1e10, 2.5])

    def text(self):
        return ''.join(self.r.choice('ab0é😀 ') for _ in
                       range(self.r.randint(0, 4)))

    def value(self, depth=3):
        r = self.r
        kind = r.choice(TYPES if depth else TYPES[:5])
        if kind == 'null':
            return None
        if kind == 'boolean':
            return r.random() < 0.5
        if kind in ('number', 'integer'):
            return self.number()
        if kind == 'string':
            return self.text()
        if kind == 'array':
            return [self.value(depth - 1) for _ in range(r.randint(0, 4))]
        return {k: self.value(depth - 1) for k in
                r.sample(KEYS, r.randint(0, 4))}

    def count(self):
        return self.r.randint(0, 4)

    def schemas(self, depth, least=1):
        return [self.schema(depth - 1) for _ in
                range(self.r.randint(least, 3))]

    def by_key(self, depth):
        return {k: self.schema(depth - 1) for k in
                self.r.sample(KEYS, self.r.randint(0, 3))}

    def schema(self, depth=3):
        r = self.r
        if r.random() < 0.08:
            return r.random() < 0.7
        if r.random() < 0.06:
            return {'$ref': r.choice(['#/definitions/d0', '#/definitions/d1'])}
        rules = {
            'type': lambda: r.choice([r.choice(TYPES), r.sample(TYPES, 2)]),
            'enum': lambda: [self.value(2) for _ in range(3)],
            'const': lambda: self.value(1),
            'minimum': self.number, 'maximum': self.number,
            'exclusiveMinimum': self.number, 'exclusiveMaximum': self.number,
            'multipleOf': lambda: r.choice([1, 2, 0.5, 0.25, 5]),
            'minLength': self.count, 'maxLength': self.count,
            'pattern': lambda: r.choice(PATTERNS),
            'minItems': self.count, 'maxItems': self.count,
            'uniqueItems': lambda: r.random() < 0.8,
            'minProperties': self.count, 'maxProperties': self.count,
            'required': lambda: r.sample(KEYS, r.randint(0, 2)),
        }
        deep = {
            'items': lambda: r.choice([self.dict(depth - 1),
                                       self.schemas(depth, 0)]),
            'additionalItems': lambda: self.schema(depth - 1),
            'contains': lambda: self.schema(depth - 1),
            'properties': lambda: self.by_key(depth),
            'patternProperties': lambda: {
                p: self.schema(depth - 1) for p in r.sample(PATTERNS, 2)},
            'additionalProperties': lambda: self.schema(depth - 1),
            'propertyNames': lambda: self.schema(depth - 1),
            'dependencies': lambda: {
                k: r.choice([r.sample(KEYS, 1), self.schema(depth - 1)])
                for k in r.sample(KEYS, 2)},
            'allOf': lambda: self.schemas(depth),
            'anyOf': lambda: self.schemas(depth),
            'oneOf': lambda: self.schemas(depth),
            'not': lambda: self.schema(depth - 1),
            'if': lambda: self.schema(depth - 1),
            'then': lambda: self.schema(depth - 1),
            'else': lambda: self.schema(depth - 1),
        }
        s = {k: rules[k]() for k in r.sample(sorted(rules), r.randint(0, 2))}
        if depth:
            s.update({k: deep[k]() for k in
                      r.sample(sorted(deep), r.randint(0, 3))})
        return s

    def dict(self, depth=3):
        """No boolean: as items it makes the other one fall over."""
        while True:
            s = self.schema(depth)
            if isinstance(s, dict) and '$ref' not in s:
                return s

    def group(self, n):
        s = self.dict()
        # References lead down only: loops are told apart by unit tests.
        s['definitions'] = {'d0': self.plain(), 'd1': self.plain()}
        return {'description': str(n), 'schema': s, 'tests': [
            {'description': str(i), 'data': self.value(), 'valid': True}
            for i in range(VALUES)]}

    def plain(self):
        while True:
            s = self.schema(1)
            if '$ref' not in json.dumps(s):
                return s


def main():
    a = argparse.ArgumentParser()
    a.add_argument('--cases', required=True)
    a.add_argument('--groups', type=int, default=300)
    a.add_argument('--seed', type=int, default=1)
    a = a.parse_args()
    maker = Maker(a.seed)
    groups = [maker.group(n) for n in range(a.groups)]
    for g in groups:
        other = jsonschema.Draft7Validator(g['schema'])
        try:
            for t in g['tests']:
                t['valid'] = other.is_valid(t['data'])
        except TypeError: # it falls over some errors of its own
            g['tests'] = []
    valid = sum(t['valid'] for g in groups for t in g['tests'])
    with tempfile.NamedTemporaryFile('w', suffix='.json') as f:
        json.dump(groups, f)
        f.flush()
        r = subprocess.run([a.cases, f.name], capture_output=True, text=True)
    print('%d of %d are valid' % (valid, sum(len(g['tests']) for g in groups)))
    print(r.stdout[-4000:], r.stderr)
    if r.returncode:
        for line in r.stdout.splitlines():
            parts = line.split(': ')
            if len(parts) == 3 and parts[1].isdigit():
                g = groups[int(parts[1])]
                print(json.dumps(g['schema'], ensure_ascii=False))
                print(json.dumps(g['tests'][int(parts[2])],
                                 ensure_ascii=False))
                break
    sys.exit(r.returncode)


main()
