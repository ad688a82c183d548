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

// As the snippet does that stands in pages: calls wait in an array until the
// script is there, which comes from the page's own site.
function snippet(cdn, writeKey, count) {
  const queue = (window.analytics = [])
  Object.assign(queue, { _cdn: cdn, _writeKey: writeKey, _loadOptions: {}, SNIPPET_VERSION: '5.2.0' })
  sdk = { track: (...given) => queue.push(['track', ...given]) }
  send(count, 'segment-snippet', [0])
  const script = document.createElement('script')
  script.src = '/analytics-next/bundles/standalone.js'
  document.head.append(script)
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
  ['track', (n) => ['Zoë 🚀', values(n)], (n) => ({ event: 'Zoë 🚀', properties: values(n) })],
  ['identify', (n) => [`user-${n}`, values(n)], (n) => ({ userId: `user-${n}`, traits: values(n) })],
  ['page', (n) => ['Docs', 'Home', values(n)], (n) => ({ category: 'Docs', name: 'Home', properties: values(n) })],
  ['screen', (n) => ['App', 'Main', values(n)], (n) => ({ category: 'App', name: 'Main', properties: values(n) })],
  ['group', (n) => [`group-${n}`, values(n)], (n) => ({ groupId: `group-${n}`, traits: values(n) })],
  ['alias', (n) => [`user-${n}`, `old-${n}`], (n) => ({ previousId: `old-${n}` })],
]

// So many events of the kinds that the SDK has; `handled` is kept when it has
// sent or put aside each of them, where it says so.
let handled
function send(count, prefix, kinds) {
  const able = calls.filter((_, i) => !kinds || kinds.includes(i))
  const answers = []
  for (let n = 0; n < count; n++) {
    const [type, given, event] = able[n % able.length]
    const context = { test: `${prefix}-${n}`, custom: [n, { two: 2 }] }
    const integrations = { All: true, Amplitude: { session_id: n } }
    answers.push(sdk[type](...given(n), { context: { ...context }, integrations: { ...integrations } }))
    sent.push({ type, ...event(n), context, integrations })
  }
  handled = Promise.all(answers).then(() => answers.length)
}

// Kept when so many more requests are under way, or were.
let requests = 0
const watching = []
const plainFetch = window.fetch
window.fetch = (...given) => {
  const answer = plainFetch.apply(window, given)
  requests++
  watching.forEach((look) => look())
  return answer
}
function issued(more) {
  const wanted = requests + more
  return new Promise((resolve) => watching.push(() => requests >= wanted && resolve(more)))
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
