// Events of all six kinds, with values that a careless copy would change.
// event(n) is the same for the same n: [kind, what the SDK's call is given].
'use strict'

const chosen = (n, list) => list[n % list.length]

const values = (n) => ({
  n,
  text: 'Zoë 🚀 ñandú 日本語 한국어 العربية "quoted" \\ / </script> \t\u2028 \u0000 e\u0301',
  number: chosen(n, [0, 9007199254740991, -9007199254740991, 1e21, 1.7976931348623157e308, 5e-324, 0.1 + 0.2, 1.5e-9]),
  long: chosen(n, ['', 'x'.repeat(3000), '🚀'.repeat(500)]),
  yes: true,
  no: false,
  nothing: null,
  gone: undefined,
  digits: '0012',
  empty: {},
  none: [],
  list: [1, 'two', [3, { four: 4 }, []], null, true],
  products: [{ sku: `S${n}`, price: 9.99, quantity: 2 }, { sku: 'T', price: 19, quantity: 1 }],
  nested: { a: { b: { c: [{ d: { e: { f: n } } }] } } },
  'key with spaces': 1,
  'a.b': 2,
  $set: { x: 1 },
  '': 'empty key',
  'ключ🔑': 'unicode key',
  date: new Date(Date.UTC(2026, 0, 12, 10, 0, 0, n % 1000)),
})

const who = (n) =>
  chosen(n, [
    { userId: `user-${n}` },
    { anonymousId: `anon-${n}` },
    { userId: `user-${n}`, anonymousId: `anon-${n}` },
    { userId: `Zoë ${n}@example.com` },
  ])

const contexts = (n) => ({
  n,
  ...chosen(n, [
    {},
    { ip: '203.0.113.7', locale: 'en-GB', traits: { plan: 'pro', n }, groupId: `g-${n}` },
    {
      app: { name: 'Ünicode', version: '1.2.3', build: '3.0.1.545' },
      campaign: { name: 'Spring', source: 'newsletter' },
      device: { id: 'B5372DB0', advertisingId: '7A3CBEA0', adTrackingEnabled: true },
      os: { name: 'iOS', version: '17.1' },
      page: { path: '/a', search: '?b=c&d=%20e', url: 'https://example.com/a?b=c&d=%20e#f' },
      screen: { width: 320, height: 568, density: 2 },
      userAgent: 'Mozilla/5.0 (X11; Linux)',
      timezone: 'Europe/Amsterdam',
      custom: [{ deep: [null, {}] }],
    },
  ]),
})

const common = (n) => ({
  ...(n % 5 ? { timestamp: new Date(Date.UTC(2026, 5, 1, 12, 0, 0, n % 1000)) } : {}),
  context: contexts(n),
  ...chosen(n, [
    {},
    { integrations: {} },
    { integrations: { All: true, 'Google Analytics 4': false } },
    { integrations: { All: true, Amplitude: { session_id: 1780000000000 + n } } },
  ]),
})

const kinds = [
  (n) => ['track', { ...who(n), ...common(n), event: chosen(n, ['Order Completed', 'Zoë 🚀', ' padded ', '"']), properties: values(n) }],
  (n) => ['identify', { ...who(n), ...common(n), traits: { email: `u${n}@example.com`, ...values(n) } }],
  (n) => ['page', { ...who(n), ...common(n), ...(n % 2 ? { category: 'Docs' } : {}), name: 'Home', properties: values(n) }],
  (n) => ['screen', { ...who(n), ...common(n), name: 'Main', category: 'App', properties: values(n) }],
  (n) => ['group', { ...who(n), ...common(n), groupId: `group-${n}`, traits: values(n) }],
  (n) => ['alias', { ...common(n), userId: `user-${n}`, previousId: `old-${n}` }],
]

// context.test tells the event wherever it arrives. One in four is left for the
// SDK to name.
module.exports = (n, prefix) => {
  const [type, params] = kinds[n % kinds.length](Math.floor(n / kinds.length))
  params.context.test = `${prefix}${n}`
  if (n % 4) params.messageId = `chosen-${prefix}${n}`
  return [type, params]
}
