#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
#
# hubspot.py - the HubSpot plugin against a small HubSpot that keeps contacts,
# companies, properties, lists and events: tokens that end, a rate limit, a
# batch with one bad contact, a company that is made before its contact.

import re
import time
import urllib.parse

from harness import Api, arguments, check, run, say, until

SECRET, REFRESH = 'secret-of-the-app', 'refresh-token-of-the-app'


class HubSpot(Api):
    """Enough of the API, as its pages tell it."""

    def __init__(self, net):
        self.tokens, self.fetches, self.unauthorised = set(), 0, 0
        self.limited = 0   # answers with 429 still to give
        self.calls = []    # (method, path)
        self.contacts, self.companies, self.events = {}, {}, []
        self.joined, self.lists, self.members = set(), {}, {}
        self.properties = {'contact': {'email': 'string'}, 'companies': {}}
        self.definitions = {}
        super().__init__(net)

    def reply(self, method, path, headers, data):
        path = urllib.parse.unquote(path)
        self.calls.append((method, path))
        if path == '/oauth/v3/token':
            return self.token(data)
        if headers.get('authorization', '')[7:] not in self.tokens:
            self.unauthorised += 1
            return 401, {'category': 'INVALID_AUTHENTICATION'}
        if self.limited:
            self.limited -= 1
            return 429, {'policyName': 'TEN_SECONDLY_ROLLING'}
        for pattern, verb, answer in ROUTES:
            found = re.fullmatch(pattern, path)
            if found and method == verb:
                return answer(self, *found.groups(), data)
        return 404, {'message': 'no route ' + path}

    def token(self, form):
        if form != {'grant_type': 'refresh_token', 'client_id': 'app',
                    'client_secret': SECRET, 'refresh_token': REFRESH}:
            return 400, {'status': 'BAD_REFRESH_TOKEN'}
        self.fetches += 1
        self.tokens = {'access-%d' % self.fetches}
        return 200, {'access_token': 'access-%d' % self.fetches,
                     'refresh_token': REFRESH, 'expires_in': 1800}

    def put(self, properties):
        """A contact, by e-mail; '' if HubSpot would refuse it."""
        email = properties.get('email', '')
        if '@' not in email:
            return ''
        c = self.contacts.setdefault(email,
                                     {'id': str(500 + len(self.contacts))})
        c.update(properties)
        return c['id']

    def contact_update(self, email, data):
        if email not in self.contacts:
            return 404, {'message': 'resource not found'}
        self.contacts[email].update(data['properties'])
        return 200, {'id': self.contacts[email]['id'],
                     'properties': data['properties']}

    def contact_get(self, email, _):
        c = self.contacts.get(email)
        return (200, {'id': c['id']}) if c else (404, {})

    def contact_create(self, data):
        if data['properties']['email'] in self.contacts:
            return 409, {'message': 'Contact already exists'}
        return 201, {'id': self.put(data['properties'])}

    def contacts_read(self, data):
        there = [i['id'] for i in data['inputs'] if i['id'] in self.contacts]
        missing = [i['id'] for i in data['inputs'] if i['id'] not in there]
        answer = {'results': [{'id': self.contacts[e]['id'],
                               'properties': {'email': e}} for e in there]}
        if missing:
            answer['errors'] = [{'category': 'OBJECT_NOT_FOUND',
                                 'context': {'ids': missing}}]
        return 207 if missing else 200, answer

    def contacts_create(self, data):
        bad = [i for i in data['inputs']
               if i['properties'].get('city') == 'nowhere']
        if bad:
            return 400, {'message': 'Property values were not valid'}
        return 201, {'results': [{'id': self.put(i['properties'])}
                                 for i in data['inputs']]}

    def contacts_update(self, data):
        by_id = {c['id']: c for c in self.contacts.values()}
        for i in data['inputs']:
            by_id[i['id']].update(i['properties'])
        return 200, {'results': [{'id': i['id']} for i in data['inputs']]}

    def contacts_upsert(self, data):
        return 200, {'results': [{'id': self.put(i['properties']),
                                  'properties': {'email': i['id']}}
                                 for i in data['inputs']]}

    def company_key(self, data):
        if 'segment_group_id' in self.properties['companies']:
            return None
        return 400, {'message': 'Property values were not valid: [{"error":'
                     '"PROPERTY_DOESNT_EXIST","name":"segment_group_id"}]'}

    def company_update(self, group, data):
        fault = self.company_key(data)
        if fault or group not in self.companies:
            return fault or (404, {})
        self.companies[group].update(data['properties'])
        return 200, {'id': self.companies[group]['id']}

    def company_create(self, data):
        new = {'id': str(900 + len(self.companies))}
        self.companies[data['properties']['segment_group_id']] = new
        return 201, new

    def company_join(self, company, contact, _):
        self.joined.add((company, contact))
        return 200, {}

    def property_create(self, kind, data):
        self.properties[kind][data['name']] = data['type']
        return 201, {}

    def properties_get(self, kind, _):
        return 200, {'results': [{'name': n, 'type': t, 'fieldType': 'text'}
                                 for n, t in self.properties[kind].items()]}

    def properties_create(self, kind, data):
        for p in data['inputs']:
            self.properties[kind][p['name']] = p['type']
        return 201, {}

    def list_get(self, name, _):
        if name not in self.lists:
            return 404, {}
        return 200, {'list': {'listId': self.lists[name]}}

    def list_create(self, data):
        self.lists[data['name']] = str(30 + len(self.lists))
        return 200, {'list': {'listId': self.lists[data['name']]}}

    def list_change(self, number, data):
        now = self.members.setdefault(number, set())
        now |= set(data['recordIdsToAdd'])
        now -= set(data['recordIdsToRemove'])
        return 200, {}

    def definition_get(self, name, _):
        if name not in self.definitions:
            return 404, {}
        return 200, self.definitions[name]

    def definition_create(self, data):
        self.definitions[data['name']] = {
            'fullyQualifiedName': 'pe7_' + data['name'],
            'properties': data['propertyDefinitions']}
        return 201, self.definitions[data['name']]

    def event(self, data):
        self.events.append(data)
        return 204, {}


OBJECTS = '/crm/v3/objects'
ROUTES = [
    (OBJECTS + r'/contacts/batch/read', 'POST', HubSpot.contacts_read),
    (OBJECTS + r'/contacts/batch/create', 'POST', HubSpot.contacts_create),
    (OBJECTS + r'/contacts/batch/update', 'POST', HubSpot.contacts_update),
    (OBJECTS + r'/contact/batch/upsert', 'POST', HubSpot.contacts_upsert),
    (OBJECTS + r'/contacts/([^/?]+)\?idProperty=email', 'PATCH',
     HubSpot.contact_update),
    (OBJECTS + r'/contacts/([^/?]+)\?idProperty=email', 'GET',
     HubSpot.contact_get),
    (OBJECTS + r'/contacts', 'POST', HubSpot.contact_create),
    (OBJECTS + r'/companies/([^/?]+)\?idProperty=segment_group_id', 'PATCH',
     HubSpot.company_update),
    (OBJECTS + r'/companies', 'POST', HubSpot.company_create),
    (OBJECTS + r'/companies/(\d+)/associations/contacts/(\d+)/'
     r'company_to_contact', 'PUT', HubSpot.company_join),
    (r'/crm/v3/properties/(companies)', 'POST', HubSpot.property_create),
    (r'/crm/v3/properties/(contact)', 'GET', HubSpot.properties_get),
    (r'/crm/v3/properties/(contact)/batch/create', 'POST',
     HubSpot.properties_create),
    (r'/crm/v3/lists/object-type-id/contact/name/(.+)', 'GET',
     HubSpot.list_get),
    (r'/crm/v3/lists', 'POST', HubSpot.list_create),
    (r'/crm/v3/lists/(\d+)/memberships/add-and-remove', 'PUT',
     HubSpot.list_change),
    (r'/events/v3/event-definitions/([^/?]+)/\?includeProperties=true', 'GET',
     HubSpot.definition_get),
    (r'/events/v3/event-definitions', 'POST', HubSpot.definition_create),
    (r'/events/v3/send', 'POST', HubSpot.event),
]


def destination(hubspot, subscriptions, **settings):
    return {'plugin': 'hubspot', 'allow_private': True,
            'endpoint': 'http://127.0.0.1:%d' % hubspot.port,
            'settings': settings or {'clientId': 'app',
                                     'clientSecret': SECRET,
                                     'refreshToken': REFRESH},
            'batch_wait': '300ms', 'subscriptions': subscriptions}


def path(p):
    return {'@path': p}


CONTACT = {'action': 'upsertContact', 'subscribe': 'type = "identify"',
           'mapping': {'email': path('$.traits.email'),
                       'city': path('$.traits.city'),
                       'enable_batching': True, 'batch_size': 50}}
COMPANY = {'action': 'upsertCompany', 'subscribe': 'type = "group"',
           'mapping': {'groupid': path('$.groupId'), 'createNewCompany': True,
                       'associateContact': True,
                       'contactEmail': path('$.context.traits.email')}}
OBJECT = {'action': 'upsertObject', 'subscribe': 'event = "Joined"',
          'mapping': {'object_details': {
              'object_type': 'contact', 'id_field_name': 'email',
              'id_field_value': path('$.properties.email'),
              'property_group': 'contactinformation'},
              'properties': {'km': path('$.properties.km')},
              'association_sync_mode': 'upsert',
              'list_details': {'connected_to_engage_audience': False,
                               'should_create_list': True,
                               'list_name': 'vips', 'list_action': True},
              '__segment_internal_sync_mode': 'upsert'}}
EVENT = {'action': 'customEvent', 'subscribe': 'event = "Car Rented"',
         'mapping': {'event_name': path('$.event'), 'record_details': {
             'object_type': 'contact', 'email': path('$.properties.email')},
             'properties': path('$.properties'),
             'occurred_at': path('$.timestamp'),
             '__segment_internal_sync_mode': 'upsert'}}


def identify(host, n, prefix, time=1, **traits):
    status, answer = host.ingest('/v1/batch', {'batch': [
        {'type': 'identify', 'userId': 'u%d' % i,
         'messageId': '%s-%d-%d' % (prefix, time, i),
         'traits': dict({'email': '%s%d@example.com' % (prefix, i)},
                        **traits)} for i in range(n)]})
    check(status == 200 and answer == {'success': True},
          'ingest gives %d %s' % (status, answer))


def settled(host, name, delivered, dead=0):
    until(lambda: host.destination(name)['delivered'] == delivered and
          host.destination(name)['dead'] == dead, 15,
          lambda: 'delivered %d and dead %d at %s, there are %d and %d: %s' %
          (delivered, dead, name, host.destination(name)['delivered'],
           host.destination(name)['dead'],
           host.destination(name)['last_error']))


def contacts(host, hubspot):
    identify(host, 20, 'a')
    settled(host, 'crm', 20)
    check(len(hubspot.contacts) == 20 and hubspot.fetches == 1,
          '%d contacts, %d tokens' % (len(hubspot.contacts), hubspot.fetches))
    calls = sum(p.endswith('/batch/create') for _, p in hubspot.calls)
    check(calls < 20, '%d requests made 20 contacts' % calls)
    say('20 contacts made with %d requests' % calls)
    hubspot.tokens = set() # as if the token had ended
    identify(host, 20, 'a', time=2, city='Turin')
    settled(host, 'crm', 40)
    check(hubspot.fetches == 2 and hubspot.unauthorised >= 1 and
          all(c['city'] == 'Turin' for c in hubspot.contacts.values()),
          'tokens %d, refused %d' % (hubspot.fetches, hubspot.unauthorised))
    say('the token ended: another was fetched, 20 contacts updated')


def one_bad(host, hubspot):
    status, _ = host.ingest('/v1/batch', {'batch': [
        {'type': 'identify', 'userId': 'b', 'messageId': 'b-%d' % i,
         'traits': {'email': 'b%d@example.com' % i,
                    'city': 'nowhere' if i == 5 else 'Rome'}}
        for i in range(8)]})
    check(status == 200, 'ingest gives %d' % status)
    settled(host, 'crm', 47, dead=1)
    dead = until(lambda: host.get('/v1/destinations/crm/dead')['dead'], 5,
                 'a dead letter')
    check(dead[0]['message_id'] == 'b-5' and dead[0]['result'] == 400,
          'the dead letter is %s' % dead[0])
    check(len(hubspot.contacts) == 27, '%d contacts' % len(hubspot.contacts))
    say('one of eight was bad: it is dead, the others arrived')


def rate_limit(host, hubspot):
    hubspot.limited = 2
    identify(host, 3, 'c')
    settled(host, 'crm', 50, dead=1)
    check(hubspot.limited == 0, 'no 429 was given')
    say('429 twice: tried again, once each')


def company_before_contact(host, hubspot):
    host.ingest('/v1/group', {
        'groupId': 'g-1', 'userId': 'd', 'messageId': 'd-g',
        'context': {'traits': {'email': 'd@example.com'}}})
    until(lambda: ('GET', OBJECTS + '/contacts/d@example.com?idProperty=email')
          in hubspot.calls, 15, 'the contact is looked for')
    check(not hubspot.joined, 'joined to nobody')
    host.ingest('/v1/identify', {'userId': 'd', 'messageId': 'd-i',
                                 'traits': {'email': 'd@example.com'}})
    settled(host, 'crm', 52, dead=1)
    check(hubspot.joined == {('900', hubspot.contacts['d@example.com']['id'])}
          and len(hubspot.companies) == 1, 'joined: %s' % hubspot.joined)
    check(hubspot.properties['companies'] == {'segment_group_id': 'string'},
          'properties: %s' % hubspot.properties['companies'])
    say('a company waited for its contact; its property was made')


def objects_and_events(host, hubspot):
    host.ingest('/v1/track', {'event': 'Joined', 'userId': 'e',
                              'messageId': 'e-1', 'properties': {
                                  'email': 'e@example.com', 'km': 12}})
    host.ingest('/v1/track', {'event': 'Car Rented', 'userId': 'e',
                              'messageId': 'e-2', 'properties': {
                                  'email': 'e@example.com', 'km': '12'}})
    settled(host, 'crm', 54, dead=1)
    number = hubspot.contacts['e@example.com']['id']
    check(hubspot.members == {'30': {number}} and
          hubspot.contacts['e@example.com']['km'] == 12 and
          hubspot.properties['contact']['km'] == 'number',
          'members: %s' % hubspot.members)
    check([(e['eventName'], e['properties']['km']) for e in hubspot.events] ==
          [('pe7_car_rented', 12)], 'events: %s' % hubspot.events)
    say('a record with a new property and a new list; an event defined first')
    asked = [c for c in hubspot.calls if '/event-definitions/' in c[1]]
    for i in range(20):
        host.ingest('/v1/track', {'event': 'Car Rented', 'userId': 'e',
                                  'messageId': 'e-k%d' % i, 'properties': {
                                      'email': 'e@example.com', 'km': i}})
        if i == 0:
            settled(host, 'crm', 55, dead=1)
    settled(host, 'crm', 74, dead=1)
    more = sum('/event-definitions/' in p for _, p in hubspot.calls)
    check(len(asked) == 1 and more == 2,
          'the definition was asked for %d times' % more)
    say('20 more events of that name: its definition asked for once')


def private_app(box, host, hubspot):
    """Another destination, with a token that needs no fetching."""
    hubspot.tokens.add('pat-1')
    fetches = hubspot.fetches
    box.write_config(box.config({
        'crm': destination(hubspot, [CONTACT, COMPANY, OBJECT, EVENT]),
        'private': destination(hubspot, [dict(
            EVENT, subscribe='event = "Car Returned"')],
            accessToken='pat-1')}))
    outcome = host.hangup()
    check(outcome['done'] and not outcome['refused'], str(outcome))
    host.ingest('/v1/track', {'event': 'Car Returned', 'userId': 'f',
                              'messageId': 'f-1',
                              'properties': {'email': 'f@example.com'}})
    settled(host, 'private', 1)
    check(hubspot.fetches == fetches, 'a token was fetched')
    shown = '\n'.join(host.log) + str(host.status())
    for secret in (SECRET, REFRESH, 'pat-1', 'access-2'):
        check(secret not in shown, '%s is shown' % secret)
    say('the token of a private app: used as it is, nothing fetched')


def test(box):
    began = time.monotonic()
    hubspot = HubSpot(box.net)
    box.install('hubspot')
    box.write_config(box.config({
        'crm': destination(hubspot, [CONTACT, COMPANY, OBJECT, EVENT])}))
    host = box.host()
    host.start()
    contacts(host, hubspot)
    one_bad(host, hubspot)
    rate_limit(host, hubspot)
    company_before_contact(host, hubspot)
    objects_and_events(host, hubspot)
    private_app(box, host, hubspot)
    code, _ = host.stop()
    check(code == 0, 'the host ended with %d' % code)
    say('%.1f s' % (time.monotonic() - began))


if __name__ == '__main__':
    run(test, arguments())
