#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
#
# plans.py - tracking plans and schema controls: events that are as planned
# pass as they are; others are told of, lose members, or are blocked, by what
# the source's controls say; blocked ones are dead letters or go to another
# source, and violations become events. A plan changes by SIGHUP, one that is
# broken changes nothing, and a crash of ingest loses none. A plan of many
# megabytes works like any other.

import copy
import json
import os
import re
import signal

from harness import (WRITE_KEY, Receiver, arguments, check, children, role,
                     run, say, until)

DRAFT = 'http://json-schema.org/draft-07/schema#'


def schema(container, properties, required=()):
    return {'$schema': DRAFT, 'type': 'object', 'labels': {},
            'properties': {'context': {}, container: {
                'type': 'object', 'properties': properties,
                'required': list(required)}}}


PAID = schema('properties', {
    'order_id': {'type': 'string', 'description': 'as in the shop'},
    'total': {'type': ['number', 'null'], 'minimum': 0},
    'products': {'type': 'array', 'items': {
        'type': 'object', 'required': ['sku'],
        'properties': {'sku': {'type': 'string'},
                       'price': {'type': 'number'}}}},
}, ['order_id'])
PAID['required'] = ['properties']

PLAN = {'data': {'trackingPlan': {'id': 'tp_1', 'name': 'Shop'}, 'rules': [
    {'key': 'Paid', 'type': 'TRACK', 'version': 1, 'jsonSchema': PAID},
    {'key': 'Paid', 'type': 'TRACK', 'version': 2,
     'jsonSchema': schema('properties', {'coupon': {'type': 'string'}},
                          ['coupon'])},
    {'key': 'Page Viewed', 'type': 'TRACK', 'version': 1,
     'jsonSchema': schema('properties', {'url': {'format': 'uri'}})},
    {'key': None, 'type': 'IDENTIFY', 'version': 1,
     'jsonSchema': schema('traits', {'email': {'format': 'email'}})},
    {'key': None, 'type': 'COMMON', 'version': 1, 'jsonSchema': {
        'properties': {'userId': {'not': {'pattern': '^test'}}}}},
]}}


class Shop:
    """A host with a plan, and what its sources delivered."""

    def __init__(self, box):
        self.box = box
        self.receiver = Receiver(box.net)
        self.serial = 0
        self.plan_path = os.path.join(box.dir, 'plan.json')
        self.write_plan(PLAN)
        box.install('webhook')
        anything = {'subscriptions': [{
            'action': 'send',
            'subscribe': 'type = "track" or type = "identify" or type = '
                         '"page" or type = "group"',
            'mapping': {'method': 'POST', 'data': {'@path': '$.'}}}]}
        destinations = {}
        for name in ('web', 'side'):
            more = copy.deepcopy(anything)
            more['subscriptions'][0]['mapping']['url'] = \
                self.receiver.url('/' + name)
            destinations[name] = box.webhook('', **more)
        self.config = box.config(destinations)
        self.config['ingest']['threads'] = 2 # that share a plan
        self.config['sources'] = {
            'web': {'write_key': WRITE_KEY, 'destinations': ['web'],
                    'tracking_plan': 'plan.json'},
            'side': {'write_key': 'key-of-side', 'destinations': ['side']},
        }
        box.write_config(self.config)
        self.host = box.host()
        self.host.start()

    def write_plan(self, plan):
        text = plan if isinstance(plan, str) else json.dumps(plan)
        with open(self.plan_path + '.new', 'w') as f:
            f.write(text)
        os.rename(self.plan_path + '.new', self.plan_path)

    def controls(self, refused=False, **schema_keys):
        """Other controls; the changes of the reload."""
        self.config['sources']['web']['schema'] = schema_keys
        self.box.write_config(self.config)
        outcome = self.host.hangup()
        check(outcome['refused'] == refused, 'the reload: %s' % outcome)
        return {(c['kind'], c['name']): c for c in outcome['changes']}

    def event(self, kind='track', event='Paid', **more):
        self.serial += 1
        e = {'type': kind, 'userId': 'u', 'messageId': 'm%d' % self.serial}
        if kind == 'track':
            e['event'] = event
        e.update(more)
        return e

    def send(self, e, single=True):
        """Accepted without a word against it."""
        if single:
            status, body = self.host.ingest('/v1/' + e['type'], e)
        else:
            status, body = self.host.ingest('/v1/batch', {'batch': [e]})
        check(status == 200 and body == {'success': True},
              '%s gives %d %s' % (e, status, body))
        return e['messageId']

    def arrived(self, where, wanted):
        """The body that the destination got, by messageId or a test."""
        by_id = isinstance(wanted, str)

        def find():
            for body in self.receiver.path('/' + where).bodies:
                d = json.loads(body)
                if d['messageId'] == wanted if by_id else wanted(d):
                    return d
            return None
        return until(find, 20, lambda: '%s gets %s' % (where, wanted))

    def never(self, where, message_id):
        """By a later event, which is there."""
        self.arrived(where, self.send(self.event(
            properties={'order_id': 'later'})))
        seen = self.receiver.path('/' + where).seen
        check(message_id not in seen, '%s got %s' % (where, message_id))

    def source(self, name='web'):
        for s in self.host.status()['ingest']['sources']:
            if s['name'] == name:
                return s
        return {}

    def letter(self, message_id):
        def find():
            for d in self.host.get('/v1/sources/web/dead')['dead']:
                if message_id in json.dumps(d):
                    return d
            return None
        return until(find, 10, lambda: 'a letter of %s: %s' % (
            message_id, self.host.get('/v1/sources/web/dead')))


def as_planned(s):
    good = s.event(properties={'order_id': '1', 'total': 2,
                               'products': [{'sku': 'a', 'price': 1}],
                               'more': {'un': 'planned'}})
    d = s.arrived('web', s.send(good))
    check(d['properties'] == good['properties'] and
          'protocols' not in d.get('context', {}), 'it is changed: %s' % d)
    second = s.event(properties={'coupon': 'x'},
                     context={'protocols': {'event_version': 2}})
    d = s.arrived('web', s.send(second, single=False))
    check(d['context'] == second['context'], 'it is changed: %s' % d)
    say('events as planned pass as they are')


def told(s):
    bad = s.event(properties={'total': '1', 'products': [{'price': 'x'}]})
    d = s.arrived('web', s.send(bad))
    check(d['properties'] == bad['properties'], 'it is changed: %s' % d)
    p = d['context']['protocols']
    fields = {v['field']: v['type'] for v in p['violations']}
    check(fields == {'properties.order_id': 'Required',
                     'properties.total': 'Invalid Type',
                     'properties.products[0].sku': 'Required',
                     'properties.products[0].price': 'Invalid Type'} and
          p['sourceId'] == 'web' and p['omitted'] == [], 'told: %s' % p)
    d = s.arrived('web', s.send(s.event(event='Unheard of', properties={})))
    check('protocols' not in d.get('context', {}), 'told: %s' % d)
    page = s.event('page', properties={'url': 'no uri'})
    d = s.arrived('web', s.send(page))
    check(d['context']['protocols']['violations'][0]['field'] ==
          'properties.url', 'a page: %s' % d)

    def counted():
        got = s.source()
        return got.get('violations') == {'allowed': 3, 'omitted': 0,
                                         'blocked': 0} and got
    got = until(counted, 10, lambda: 'the counters: %s' % s.source())
    rows = {(r['event'], r['type'], r['field']): r['count']
            for r in got['plan']['violations']}
    check(got['plan']['name'] == 'Shop' and
          rows[('Paid', 'Required', 'properties.products[].sku')] == 1 and
          rows[('Page Viewed', 'Format', 'properties.url')] == 1 and
          rows[('Unheard of', 'Unplanned Event', '(root)')] == 1,
          'the rows: %s' % rows)
    text = s.host.admin('GET', '/metrics')[1]
    check(re.search(r'manifold_plan_violations_total\{source="web",'
                    r'action="allowed"\} 3\n', text), 'no metric')
    say('others pass too by default, are told of, and are counted')


def omitted(s):
    s.controls(track={'allow_unplanned_event_properties': False,
                      'allow_properties_on_violations': False},
               identify={'allow_unplanned_traits': False,
                         'blocked_traits': ['email']})
    e = s.event(properties={'order_id': '1', 'total': -1, 'more': 1,
                            'products': [{'sku': 'a', 'price': 'x'},
                                         {'sku': 'b', 'price': 2}]})
    d = s.arrived('web', s.send(e))
    check(d['properties'] == {'order_id': '1', 'products': [
        {'sku': 'a'}, {'sku': 'b', 'price': 2}]}, 'left: %s' % d)
    check(set(d['context']['protocols']['omitted']) ==
          {'properties.more', 'properties.total',
           'properties.products[0].price'}, 'told: %s' % d['context'])
    d = s.arrived('web', s.send(s.event('identify', traits={
        'email': 'a@b.example', 'age': 4})))
    check(d['traits'] == {} and d['context']['protocols']['omitted'] ==
          ['traits.email', 'traits.age'], 'left: %s' % d)
    say('members that violate or are not planned are taken out')


def blocked(s):
    s.controls(track={'allow_unplanned_events': False,
                      'allow_event_on_violations': False,
                      'common_event_on_violations': 'block',
                      'blocked_events': ['Secret']})
    cases = [('unplanned_event', s.event(event='paid', properties={'a': 1})),
             ('plan_violation', s.event(properties={'order_id': 1})),
             ('common_schema_violation', s.event(
                 userId='test-1', properties={'order_id': '1'})),
             ('blocked_event', s.event(event='Secret'))]
    for n, (code, e) in enumerate(cases):
        s.send(e, single=n % 2 == 0)
        s.never('web', e['messageId'])
        l = s.letter(e['messageId'])
        check(l['code'] == code and l['event']['event'] == e['event'],
              '%s: %s' % (code, l))
        until(lambda: s.source()['rejected'].get(code) == 1, 10,
              lambda: 'it is counted: %s' % s.source())
    until(lambda: s.source()['violations']['blocked'] == len(cases), 10,
          lambda: 'all are counted: %s' % s.source())
    say('events are blocked, answered 200, and kept as dead letters')
    return cases[1][1]


def mended(s, e):
    """The plan learns what was sent, and the letter goes through."""
    plan = copy.deepcopy(PLAN)
    plan['data']['rules'][0]['jsonSchema']['properties']['properties'][
        'properties']['order_id']['type'] = ['string', 'integer']
    s.write_plan(plan)
    outcome = s.host.hangup()
    kinds = {(c['kind'], c['name']): c['change'] for c in outcome['changes']}
    check(kinds[('plan', 'web')] == 'replaced' and not outcome['refused'],
          'the reload: %s' % outcome)
    l = s.letter(e['messageId'])
    r = s.box.command('dead', 'replay', '--source', 'web', '--id',
                      str(l['id']))
    check(r.returncode == 0, 'replay: %s%s' % (r.stdout, r.stderr))
    d = s.arrived('web', e['messageId'])
    check(d['properties'] == e['properties'], 'it is changed: %s' % d)
    say('a plan is mended by SIGHUP, and a letter goes through it again')


def broken(s):
    s.write_plan('{"rules": [\n  {"key": "Paid", "type": "TRACK",\n'
                 '   "jsonSchema": {"type": "objekt"}}]}')
    r = s.box.command('check')
    check(r.returncode == 78 and 'plan.json:3:27: there is no such type; '
          'write "object"' in r.stderr, 'check: %s' % r.stderr)
    got = s.controls(refused=True, track={'allow_event_on_violations': False})
    l = got[('plan', 'web')]
    check(l['change'] == 'refused' and 'plan.json:3:27: ' in l['why'] and
          got[('source', 'web')]['change'] == 'replaced', 'the reload: %s' %
          got)
    bad = s.event(properties={'order_id': True})
    s.send(bad)
    s.never('web', bad['messageId'])
    say('a broken plan is told with its place, and the old one stays')


def crash(s):
    before = {p: role(p) for p in children(s.host.pid)}
    pid = next(p for p, r in before.items() if r.startswith('ingest'))
    os.kill(pid, signal.SIGKILL)
    until(lambda: s.host.status()['ingest_restarts'] == 1 and
          s.host.admin('GET', '/readyz')[0] == 200, 20, 'ingest is back')
    bad = s.event(properties={'order_id': True})
    s.send(bad)
    s.never('web', bad['messageId'])
    say('ingest has the plan again after a crash')


def forwarded(s):
    s.write_plan(PLAN)
    s.controls(track={'allow_unplanned_events': False},
               forwarding_violations_to='side',
               forwarding_blocked_events_to='side')
    e = s.event(event='Unheard of', properties={'a': 1})
    s.send(e)
    d = s.arrived('side', e['messageId'])
    check(d['properties'] == {'a': 1}, 'forwarded: %s' % d)
    s.never('web', e['messageId'])
    check(not any(e['messageId'] in json.dumps(d) for d in
                  s.host.get('/v1/sources/web/dead')['dead']),
          'it is a dead letter too')
    bad = s.event(properties={'order_id': 1},
                  context={'app': {'version': '1.2'}})
    s.send(bad, single=False)
    s.arrived('web', bad['messageId'])
    d = s.arrived('side', lambda d: d['type'] == 'track' and
                  d['event'] == 'Violation Generated')
    p = d['properties']
    check(d['userId'] == 'schema-violations' and
          d['forwardedFromProject'] == 'web' and
          p['eventMessageID'] == bad['messageId'] and
          p['eventName'] == 'Paid' and p['eventType'] == 'track' and
          p['trackingPlanID'] == 'tp_1' and p['trackingPlanName'] == 'Shop' and
          p['violationType'] == 'Invalid Type' and
          p['violationField'] == 'properties.order_id' and
          p['appVersion'] == '1.2', 'forwarded: %s' % d)
    s.send(bad) # again: once stored, once told
    s.never('web', 'nothing')
    s.send(s.event(properties={'order_id': 2}))
    until(lambda: s.source('side').get('received') == 3, 10,
          lambda: 'side has 3: %s' % s.source('side'))
    say('blocked events and violations go to another source')


def large(s):
    plan = copy.deepcopy(PLAN)
    rules = plan['data']['rules']
    text = 'x' * 22000
    for n in range(500):
        rules.append({'key': 'Event %d' % n, 'type': 'TRACK', 'version': 1,
                      'jsonSchema': dict(schema('properties', {
                          'n': {'type': 'integer'}}, ['n']),
                          description=text)})
    s.write_plan(plan)
    check(os.path.getsize(s.plan_path) > 10 << 20, 'it is not large')
    s.controls(track={'allow_event_on_violations': False})
    good = s.event(event='Event 499', properties={'n': 1})
    bad = s.event(event='Event 499', properties={'n': 1.5})
    s.send(bad)
    s.arrived('web', s.send(good))
    s.never('web', bad['messageId'])
    s.write_plan(json.dumps(plan) + ' ' * (16 << 20))
    r = s.box.command('check')
    check(r.returncode == 78 and 'a tracking plan may have 16 MiB' in r.stderr,
          'check: %s' % r.stderr[-500:])
    say('a plan of 10 MB works, one over the limit is refused')


def test(box):
    s = Shop(box)
    as_planned(s)
    told(s)
    omitted(s)
    e = blocked(s)
    mended(s, e)
    broken(s)
    crash(s)
    forwarded(s)
    large(s)
    code = s.host.stop()[0]
    check(code == 0, 'the host exits with %s' % code)


run(test, arguments())
