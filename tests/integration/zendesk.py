#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
#
# zendesk.py - the Zendesk plugin against a small Zendesk that takes its time:
# two requests for a user that is not there yet make two users. Custom fields,
# rate limits, members, events, comments, and tokens that end.

import asyncio
import base64
import re
import time
import urllib.parse

from harness import Api, arguments, check, run, say, until

TOKEN, SECRET = 'api-token-of-ada', 'secret-of-the-client'
BASIC = 'Basic ' + base64.b64encode(
    ('ada@acme.example/token:' + TOKEN).encode()).decode()
TAKEN = (422, {'error': 'RecordInvalid',
               'details': {'key': [{'error': 'DuplicateValue'}]}})
DAZED = 0.2 # seconds between looking whether a record is there and making it


class Zendesk(Api):
    """Enough of the API, as its pages tell it."""

    def __init__(self, net):
        self.users, self.organizations, self.fields = [], [], {}
        self.members, self.events, self.comments = set(), [], []
        self.calls = []                  # (method, path, time)
        self.limited = self.conflicts = 0 # answers of the kind still to give
        self.tokens, self.fetches = set(), 0
        super().__init__(net)

    def reply(self, method, path, headers, data):
        path, _, query = path.partition('?')
        query = dict(urllib.parse.parse_qsl(query))
        self.calls.append((method, path, time.monotonic()))
        if (method, path) == ('POST', '/oauth/tokens'):
            return self.token(data)
        who = headers.get('authorization', '')
        if who != BASIC and who[7:] not in self.tokens:
            return 401, {'error': "Couldn't authenticate you"}
        if self.limited:
            self.limited -= 1
            return 429, {'error': 'TooManyRequests'}, {'Retry-After': '2'}
        for verb, pattern, answer in ROUTES:
            found = re.fullmatch('/api/v2/' + pattern, path)
            if found and method == verb:
                return answer(self, *found.groups(), query, data)
        return 404, {'error': 'InvalidEndpoint', 'path': path}

    def token(self, data):
        if data != {'grant_type': 'client_credentials', 'client_id': 'harbour',
                    'client_secret': SECRET, 'scope': 'read write'}:
            return 401, {'error': 'invalid_client'}
        self.fetches += 1
        self.tokens = {'access-%d' % self.fetches}
        return 200, {'access_token': 'access-%d' % self.fetches,
                     'token_type': 'bearer', 'expires_in': 1800}

    def fields_get(self, query, _):
        return 200, {'user_fields': [{'key': k, 'type': 'text'}
                                     for k in self.fields],
                     'meta': {'has_more': False}}

    def fields_post(self, query, data):
        key = data['user_field']['key']
        if key in self.fields:
            return TAKEN
        self.fields[key] = data['user_field']
        return 201, {'user_field': data['user_field']}

    async def upsert(self, records, data, keys, first):
        """Looks, is dazed for a while, and makes what it did not see."""
        there = [r for r in records for k in keys
                 if data.get(k) and r.get(k) == data[k]]
        await asyncio.sleep(DAZED)
        if not there:
            records.append({'id': first + len(records)})
            there = records[-1:]
        there[0].update(data)
        return there[0]

    async def user_upsert(self, query, data):
        user = await self.upsert(self.users, data['user'],
                                 ('external_id', 'email'), 500)
        return 200, {'user': user}

    def user_search(self, query, _):
        return 200, {'users': [
            u for u in self.users
            if u.get('external_id') == query.get('external_id', 'none')]}

    async def organization_upsert(self, query, data):
        o = await self.upsert(self.organizations, data['organization'],
                              ('external_id',), 900)
        return 200, {'organization': o}

    def memberships(self, user, query, _):
        return 200, {'organization_memberships': [
            {'organization_id': o} for u, o in self.members
            if u == int(user)]}

    def join(self, query, data):
        m = data['organization_membership']
        key = (m['user_id'], m['organization_id'])
        if key in self.members:
            return TAKEN
        self.members.add(key)
        return 201, {}

    def organization_search(self, query, _):
        return 200, {'organizations': [
            o for o in self.organizations
            if o['external_id'] == query['external_id']]}

    def leave(self, user, organization, query, _):
        key = (int(user), int(organization))
        if key not in self.members:
            return 404, {'error': 'RecordNotFound'}
        self.members.remove(key)
        return 204, {}

    def event(self, user, query, data):
        self.events.append((int(user), data['event']['type'],
                            data['event']['properties']))
        return 202, {'status': 'received'}

    def comment(self, ticket, query, data):
        if self.conflicts:
            self.conflicts -= 1
            return 409, {'error': 'UpdateConflict'}
        self.comments.append((ticket, data['ticket']['comment']['body']))
        return 200, {}

    def asked(self, method, path):
        return [t for m, p, t in self.calls
                if (m, p) == (method, '/api/v2/' + path)]


ROUTES = [
    ('GET', 'user_fields', Zendesk.fields_get),
    ('POST', 'user_fields', Zendesk.fields_post),
    ('POST', 'users/create_or_update', Zendesk.user_upsert),
    ('GET', 'users/search', Zendesk.user_search),
    ('POST', 'organizations/create_or_update', Zendesk.organization_upsert),
    ('GET', r'users/(\d+)/organization_memberships', Zendesk.memberships),
    ('POST', 'organization_memberships', Zendesk.join),
    ('GET', 'organizations/search', Zendesk.organization_search),
    ('DELETE', r'users/(\d+)/organizations/(\d+)', Zendesk.leave),
    ('POST', r'users/(\d+)/events', Zendesk.event),
    ('PUT', r'tickets/(\d+)', Zendesk.comment),
]


def destination(zendesk, **settings):
    return {'plugin': 'zendesk', 'allow_private': True,
            'endpoint': 'http://127.0.0.1:%d' % zendesk.port,
            'settings': dict({'subdomain': 'acme'}, **settings)}


def help_desk(zendesk):
    return destination(zendesk, email='ada@acme.example/token', password=TOKEN,
                       verified=True, removeUsersFromOrganizations=True)


def comments(zendesk):
    return dict(help_desk(zendesk), subscriptions=[
        {'action': 'addTicketComment', 'subscribe': 'event = "Boat Sank"',
         'mapping': {'ticket_id': {'@path': '$.properties.ticketId'},
                     'person': {'@path': '$.userId'},
                     'body': {'@path': '$.event'}}}])


def send(host, *events):
    status, answer = host.ingest('/v1/batch', {'batch': list(events)})
    check(status == 200 and answer == {'success': True},
          'ingest gives %d %s' % (status, answer))


def identify(user, n, **traits):
    return {'type': 'identify', 'userId': user,
            'messageId': 'i-%s-%d' % (user, n),
            'traits': dict({'name': user.upper(), 'n': n}, **traits)}


def settled(host, name, delivered, dead=0):
    until(lambda: host.destination(name)['delivered'] == delivered and
          host.destination(name)['dead'] == dead, 20,
          lambda: 'delivered %d and dead %d at %s, there are %d and %d: %s' %
          (delivered, dead, name, host.destination(name)['delivered'],
           host.destination(name)['dead'],
           host.destination(name)['last_error']))


def quick_succession(host, zendesk):
    users = ['u%d' % i for i in range(8)]
    send(host, *[identify(u, n) for n in (1, 2) for u in users])
    settled(host, 'desk', 16)
    check(sorted(u['external_id'] for u in zendesk.users) == users,
          'the users are %s' % zendesk.users)
    check(all(u['user_fields'] == {'n': '2'} and u['verified'] is True
              for u in zendesk.users), 'they are %s' % zendesk.users)
    check(list(zendesk.fields) == ['n'], 'fields: %s' % zendesk.fields)
    say('two events each of 8 users: 8 users, the second event last; '
        '%d lists of fields' % len(zendesk.asked('GET', 'user_fields')))


def rate_limit(host, zendesk):
    zendesk.limited = 1
    before = len(zendesk.calls)
    send(host, identify('u0', 3))
    settled(host, 'desk', 17)
    times = [t for _, _, t in zendesk.calls[before:]]
    check(times[1] - times[0] > 1.9,
          'asked again after %.2f s' % (times[1] - times[0]))
    say('429: asked again after %.2f s' % (times[1] - times[0]))


def members(host, zendesk):
    group = {'type': 'group', 'groupId': 'g-1', 'traits': {'name': 'Fjord'}}
    send(host, *[dict(group, userId='u%d' % i, messageId='g-%d' % i)
                 for i in (0, 1, 9)])
    settled(host, 'desk', 19)
    check(len(zendesk.organizations) == 1 and len(zendesk.members) == 2,
          '%s %s' % (zendesk.organizations, zendesk.members))
    send(host, identify('u9', 1))
    settled(host, 'desk', 21)
    check(len(zendesk.members) == 3, 'members: %s' % zendesk.members)
    send(host, identify('u9', 2, company={'id': 'g-1', 'remove': True}))
    settled(host, 'desk', 22)
    check(len(zendesk.members) == 2, 'members: %s' % zendesk.members)
    say('one organisation, whose third member was waited for and left again')


def events(host, zendesk):
    track = {'type': 'track', 'event': 'Boat Rented',
             'properties': {'metres': 12}}
    send(host, identify('u10', 1), dict(track, userId='u10', messageId='t-1'),
         dict(track, userId='nobody', messageId='t-2'))
    settled(host, 'desk', 24, dead=1)
    user = [u for u in zendesk.users if u['external_id'] == 'u10'][0]
    check(zendesk.events == [(user['id'], 'Boat Rented', {'metres': 12})],
          'events: %s' % zendesk.events)
    dead = until(lambda: host.get('/v1/destinations/desk/dead')['dead'], 5,
                 'a dead letter')
    check(dead[0]['message_id'] == 't-2' and dead[0]['result'] == 404,
          'the dead letter is %s' % dead[0])
    say('an event right behind its user; one of nobody is dead')


def ticket(host, zendesk):
    zendesk.conflicts = 1
    send(host, {'type': 'track', 'event': 'Boat Sank', 'userId': 'u0',
                'messageId': 's-1', 'properties': {'ticketId': 77}})
    settled(host, 'tickets', 1)
    check(zendesk.comments == [('77', 'Boat Sank')],
          'comments: %s' % zendesk.comments)
    say('a comment on a ticket, after an agent had changed it')


def oauth(box, host, zendesk):
    box.write_config(box.config({'desk': destination(
        zendesk, clientId='harbour', clientSecret=SECRET)}))
    outcome = host.hangup()
    check(outcome['done'] and not outcome['refused'], str(outcome))
    send(host, identify('u11', 1))
    until(lambda: len(zendesk.users) == 11, 15, 'a user is made')
    zendesk.tokens = set() # as if the token had ended
    send(host, identify('u12', 1))
    until(lambda: len(zendesk.users) == 12, 15, 'another user is made')
    check(zendesk.fetches == 2, '%d tokens' % zendesk.fetches)
    shown = '\n'.join(host.log) + str(host.status())
    for secret in (TOKEN, SECRET, BASIC[6:], 'access-1', 'access-2'):
        check(secret not in shown, '%s is shown' % secret)
    say('an OAuth client: a token fetched, and another when it ended')


def test(box):
    began = time.monotonic()
    zendesk = Zendesk(box.net)
    box.install('zendesk')
    box.write_config(box.config({'desk': help_desk(zendesk),
                                 'tickets': comments(zendesk)}))
    host = box.host()
    host.start()
    quick_succession(host, zendesk)
    rate_limit(host, zendesk)
    members(host, zendesk)
    events(host, zendesk)
    ticket(host, zendesk)
    oauth(box, host, zendesk)
    code, _ = host.stop()
    check(code == 0, 'the host ended with %d' % code)
    say('%.1f s' % (time.monotonic() - began))


if __name__ == '__main__':
    run(test, arguments())
