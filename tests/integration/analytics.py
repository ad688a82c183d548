#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
#
# analytics.py - the plugins google-analytics-4, mixpanel and slack by the real
# host, against servers that answer as the vendors document it: the Measurement
# Protocol says 204 to everything, /import takes a batch, names the records it
# will not have, and asks for a pause when it is too much, a Slack webhook that
# was removed is 404. Each event arrives once where it is meant to.

import collections
import json
import urllib.parse

from harness import Api, arguments, check, run, say, until

SECRET, TOKEN = 'ga-secret', 'mixpanel-token'
HOOK = '/services/T0/B0/x'
EVENTS = 120


class Google(Api):
    def __init__(self, net):
        self.taken = collections.Counter() # of each client
        self.faults = 2                    # answers that are 500 at first
        self.wrong = []
        super().__init__(net)

    def reply(self, method, path, headers, data):
        url = urllib.parse.urlsplit(path)
        query = dict(urllib.parse.parse_qsl(url.query))
        if method != 'POST' or url.path != '/mp/collect' or query != {
                'api_secret': SECRET, 'measurement_id': 'G-T'}:
            self.wrong.append((method, path))
            return 404, {}
        if self.faults:
            self.faults -= 1
            return 500, {}
        (event,) = data['events']
        self.taken[event['name'], data['client_id']] += 1
        return 204, {}


class Mixpanel(Api):
    def __init__(self, net):
        self.taken = collections.Counter() # of each $insert_id
        self.profiles = collections.Counter()
        self.sizes = []
        self.limits = 1                    # answers that are 429 at first
        self.wrong = []
        super().__init__(net)

    def reply(self, method, path, headers, data):
        if path.startswith('/engage'):
            for one in self.objects(data):
                self.profiles[one['$distinct_id']] += 1
            return 200, {'status': 1, 'error': None}
        if method != 'POST' or path != '/import?strict=1' or \
                not headers.get('authorization', '').startswith('Basic '):
            self.wrong.append((method, path, headers.get('authorization')))
            return 404, {}
        if self.limits:
            self.limits -= 1
            return 429, {'code': 429, 'error': 'slow down'}, {
                'Retry-After': 1}
        self.sizes.append(len(data))
        failed = []
        for i, record in enumerate(data):
            if record['event'] == 'Odd':
                failed.append({'index': i, 'field': 'event',
                               'message': 'an odd name'})
            else:
                self.taken[record['properties']['$insert_id']] += 1
        if failed:
            return 400, {'code': 400, 'failed_records': failed,
                         'num_records_imported': len(data) - len(failed)}
        return 200, {'code': 200, 'num_records_imported': len(data)}


    @staticmethod
    def objects(data):
        if isinstance(data, dict) and 'data' in data: # a form
            data = json.loads(data['data'])
        return data if isinstance(data, list) else [data]


class Slack(Api):
    def __init__(self, net):
        self.said = collections.Counter()
        super().__init__(net)

    def reply(self, method, path, headers, data):
        if method != 'POST' or path != HOOK:
            return 404, 'no_service'
        self.said[data['text']] += 1
        return 200, 'ok'


def track(n, name='Seen'):
    return {'type': 'track', 'event': name, 'anonymousId': 'a%d' % n,
            'messageId': '%s-%d' % (name, n), 'properties': {'n': n}}


def destinations(google, mixpanel, slack):
    def one(server, plugin, **more):
        return dict({'plugin': plugin, 'allow_private': True,
                     'batch_wait': '50ms', 'settings': {},
                     'endpoint': 'http://127.0.0.1:%d' % server.port}, **more)

    def post(path):
        return {'action': 'postToChannel', 'subscribe': 'event = "Said"',
                'name': path, 'mapping': {
                    'url': 'https://hooks.slack.com' + path,
                    'text': {'@template': 'n is {{properties.n}}'}}}
    return {
        'ga': one(google, 'google-analytics-4',
                  settings={'measurementId': 'G-T', 'apiSecret': SECRET},
                  subscriptions=[{
                      'action': 'customEvent', 'subscribe': 'event = "Seen"',
                      'mapping': {'clientId': {'@path': '$.anonymousId'},
                                  'name': {'@path': '$.event'}}}]),
        'mixpanel': one(mixpanel, 'mixpanel',
                        settings={'projectToken': TOKEN}), # its presets
        'slack': one(slack, 'slack',
                     subscriptions=[post(HOOK), post('/services/T0/B0/gone')]),
    }


def settled(host, **counts):
    def right():
        d = {n: host.destination(n) for n in counts}
        return all(d[n]['pending'] == 0 and
                   (d[n]['delivered'], d[n]['filtered'], d[n]['dead']) == c
                   for n, c in counts.items())
    until(right, 40, lambda: 'they end as %s: %s' % (counts, [
        {k: host.destination(n)[k] for k in
         ('name', 'pending', 'delivered', 'filtered', 'dead', 'last_error')}
        for n in counts]))


def test(box):
    google, mixpanel, slack = Google(box.net), Mixpanel(box.net), \
        Slack(box.net)
    for slug in ('google-analytics-4', 'mixpanel', 'slack'):
        box.install(slug)
    box.write_config(box.config(destinations(google, mixpanel, slack)))
    host = box.host()
    host.start()
    events = [track(n) for n in range(EVENTS)]
    events += [track(0, 'Odd'), track(7, 'Said'),
               {'type': 'identify', 'userId': 'u1', 'messageId': 'i-1',
                'traits': {'email': 'ada@example.com'}}]
    status, answer = host.ingest('/v1/batch', {'batch': events})
    check(status == 200 and answer == {'success': True},
          'the batch gives %d %s' % (status, answer))
    settled(host, ga=(EVENTS, 3, 0), mixpanel=(EVENTS + 2, 0, 1),
            slack=(0, EVENTS + 2, 1))
    check(google.taken == {('Seen', 'a%d' % n): 1 for n in range(EVENTS)},
          'Google has %s' % google.taken.most_common(3))
    check(mixpanel.taken == dict({'Seen-%d' % n: 1 for n in range(EVENTS)},
                                 **{'Said-7': 1}),
          'Mixpanel has %s' % mixpanel.taken.most_common(3))
    check(mixpanel.profiles['u1'] >= 1, 'no profile of u1')
    check(max(mixpanel.sizes) > 1, 'nothing went in a batch')
    check(slack.said == {'n is 7': 1}, 'Slack has %s' % slack.said)
    check(not google.wrong and not mixpanel.wrong,
          'wrong: %s %s' % (google.wrong, mixpanel.wrong))
    letters = {n: host.get('/v1/destinations/%s/dead' % n)['dead']
               for n in ('mixpanel', 'slack')}
    check('an odd name' in letters['mixpanel'][0]['error'],
          'the reason is %s' % letters['mixpanel'][0]['error'])
    check('404' in str(letters['slack'][0]), 'the letter is %s' %
          letters['slack'][0])
    check(SECRET not in str(letters) and TOKEN not in str(letters),
          'a dead letter shows a secret')
    say('%d events at Google, %d at Mixpanel in %d requests, one in Slack; '
        'one refused by Mixpanel, one by a hook that is gone' %
        (sum(google.taken.values()), sum(mixpanel.taken.values()),
         len(mixpanel.sizes)))


if __name__ == '__main__':
    run(test, arguments())
