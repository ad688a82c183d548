// What the page of browser_sdk.py does with an SDK. Each event that an SDK is
// given is put into `sent`, as it is to arrive but for what the SDK adds.
'use strict'

const sent = []
let sdk

async function segment(cdnURL, writeKey, deliveryStrategy) {
  const options = deliveryStrategy ? { integrations: { 'Segment.io': { deliveryStrategy } } } : {}
  const [analytics] = await AnalyticsNext.AnalyticsBrowser.load({ writeKey, cdnURL }, options)
  sdk = analytics
}

function rudder(dataPlane, writeKey, options) {
  values = simple
  return new Promise((resolve) => {
    sdk = new rudderanalytics.RudderAnalytics()
    sdk.load(writeKey, dataPlane, {
      configUrl: dataPlane, plugins: [], sendAdblockPage: false, ...options,
      onLoaded: () => resolve(),
    })
  })
}

const simple = (n) => ({
  n,
  text: 'Zoë 🚀 日本語 "quoted" \\ / </script> \t\u2028 e\u0301',
  number: [0, 9007199254740991, 1e21, 5e-324, 0.1 + 0.2][n % 5],
  long: ['', 'x'.repeat(2000)][n % 2],
  yes: true,
  list: [1, 'two', { four: 4 }],
  nested: { a: { b: [{ c: n }] } },
  'key with spaces': 1,
  $set: { x: 1 },
  'ключ🔑': 'unicode key',
})

// RudderStack's SDK drops nulls, and makes objects of lists in lists.
let values = (n) => ({ ...simple(n), nothing: null, none: [], lists: [[1, [{}]], []] })

const calls = [
  (n, o) => (sdk.track('Zoë 🚀', values(n), o), { type: 'track', event: 'Zoë 🚀', properties: values(n) }),
  (n, o) => (sdk.identify(`user-${n}`, values(n), o), { type: 'identify', userId: `user-${n}`, traits: values(n) }),
  (n, o) => (sdk.page('Docs', 'Home', values(n), o), { type: 'page', category: 'Docs', name: 'Home', properties: values(n) }),
  (n, o) => (sdk.screen('App', 'Main', values(n), o), { type: 'screen', category: 'App', name: 'Main', properties: values(n) }),
  (n, o) => (sdk.group(`group-${n}`, values(n), o), { type: 'group', groupId: `group-${n}`, traits: values(n) }),
  (n, o) => (sdk.alias(`user-${n}`, `old-${n}`, o), { type: 'alias', previousId: `old-${n}` }),
]

// n events of the kinds that the SDK has.
function send(count, prefix, kinds) {
  const able = calls.filter((_, i) => !kinds || kinds.includes(i))
  for (let n = 0; n < count; n++) {
    const context = { test: `${prefix}-${n}`, custom: [n, { two: 2 }] }
    const options = { context, integrations: { All: true, Amplitude: { session_id: n } } }
    const event = able[n % able.length](n, options)
    sent.push({ ...event, context, integrations: { All: true, Amplitude: { session_id: n } } })
  }
}

// ---- without an SDK ----

function plain(n, writeKey) {
  const event = {
    type: 'track', event: 'Zoë 🚀', userId: 'u', messageId: `page-${n}`, properties: { n, text: 'ü' },
    context: { test: `page-${n}`, library: { name: 'page' } },
  }
  sent.push(event)
  return JSON.stringify({ ...event, writeKey })
}

// In every way that needs no preflight; gives what the browser made of it.
async function transports(host, writeKey) {
  const json = (n) => plain(n, writeKey)
  const pixel = btoa(unescape(encodeURIComponent(json(0)))).replace(/\+/g, '-').replace(/\//g, '_')
  const image = new Image()
  image.src = `${host}/v1/pixel/track?data=${pixel}`
  await image.decode()
  const beacon = navigator.sendBeacon(`${host}/v1/t`, json(1))
  const blob = navigator.sendBeacon(`${host}/v1/track`, new Blob([json(2)], { type: 'text/plain' }))
  const opaque = await fetch(`${host}/v1/t`, { method: 'POST', mode: 'no-cors', body: json(3) })
  const cors = await fetch(`${host}/v1/t`, { method: 'POST', body: json(4), credentials: 'include' })
  const refused = await fetch(`${host}/v1/t`, { method: 'POST', body: '{"event":' })
  addEventListener('pagehide', () => navigator.sendBeacon(`${host}/v1/t`, last))
  const last = json(5)
  return {
    width: image.naturalWidth, beacon, blob, opaque: opaque.type,
    cors: await cors.json(), refused: [refused.status, (await refused.json()).code],
  }
}
