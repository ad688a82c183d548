// Sends events of all six kinds with the real SDK, of which only the host is
// changed, and prints what it sent: one line of JSON for each event.
//
//   node send.js http://HOST:PORT WRITE_KEY COUNT
'use strict'
const { Analytics } = require('@segment/analytics-node')

const [host, writeKey, count] = process.argv.slice(2)
const analytics = new Analytics({ host, writeKey, flushAt: 15, flushInterval: 200 })

// Each event carries values that a careless copy would change.
const values = (n) => ({
  n,
  text: 'Zoë 🚀 ñandú 日本語 "quoted" \\ / </script> \t\u2028 e\u0301',
  big: 9007199254740991,
  negative: -0.1,
  tiny: 1.5e-9,
  yes: true,
  no: false,
  nothing: null,
  empty: {},
  list: [1, 'two', [3, { four: 4 }], null],
  nested: { a: { b: { c: [{ d: n }] } } },
  'key with spaces': 1,
  date: new Date(Date.UTC(2026, 0, 12, 10, 0, 0, n % 1000)),
})

const who = (n) =>
  n % 3 === 0
    ? { userId: `user-${n}` }
    : n % 3 === 1
      ? { anonymousId: `anon-${n}` }
      : { userId: `user-${n}`, anonymousId: `anon-${n}` }

const common = (n) => ({
  ...who(n),
  messageId: `sdk-${n}`,
  timestamp: new Date(Date.UTC(2026, 5, 1, 12, 0, 0, n % 1000)),
  context: { ip: '203.0.113.7', locale: 'en-GB', traits: { plan: 'pro', n }, groupId: `g-${n}` },
  integrations: n % 2 ? { All: true } : { Nothing: { option: n } },
})

const kinds = [
  (n) => ['track', { ...common(n), event: `Event ${n % 7}`, properties: values(n) }],
  (n) => ['identify', { ...common(n), traits: { email: `u${n}@example.com`, ...values(n) } }],
  (n) => ['page', { ...common(n), name: 'Home', category: 'Docs', properties: values(n) }],
  (n) => ['screen', { ...common(n), name: 'Main', category: 'App', properties: values(n) }],
  (n) => ['group', { ...common(n), groupId: `group-${n}`, traits: values(n) }],
  (n) => {
    const { messageId, timestamp, context, integrations } = common(n)
    return ['alias', { userId: `user-${n}`, previousId: `old-${n}`, messageId, timestamp, context, integrations }]
  },
]

async function main() {
  let failed = 0
  analytics.on('error', (e) => {
    failed++
    console.error(e)
  })
  for (let n = 0; n < Number(count); n++) {
    const [type, params] = kinds[n % kinds.length](n)
    analytics[type](params)
    console.log(JSON.stringify({ type, ...params }))
  }
  await analytics.closeAndFlush()
  process.exit(failed ? 1 : 0)
}

main()
