// Sends events with a real SDK, of which only the host is changed, and prints
// what was put into it: one line of JSON for each event.
//
//   node send.js segment|legacy|rudder http://HOST:PORT WRITE_KEY COUNT PREFIX
'use strict'
const event = require('./events.js')

const [sdk, host, writeKey, count, prefix] = process.argv.slice(2)
const flushInterval = 200
let failed = 0

function fail(e) {
  failed++
  console.error(e)
}

// Each gives call(type, params) and end(), which waits until all is answered.
const sdks = {
  segment() {
    const { Analytics } = require('@segment/analytics-node')
    const analytics = new Analytics({ host, writeKey, flushAt: 15, flushInterval })
    analytics.on('error', fail)
    return {
      call: (type, params) => analytics[type](params),
      end: () => analytics.closeAndFlush(),
    }
  },
  legacy() {
    const Analytics = require('analytics-node')
    return withCallbacks(new Analytics(writeKey, { host, flushAt: 20, flushInterval, errorHandler: fail }))
  },
  rudder() {
    const Analytics = require('@rudderstack/rudder-sdk-node')
    return withCallbacks(new Analytics(writeKey, { dataPlaneUrl: host, flushAt: 20, flushInterval, errorHandler: fail }))
  },
}

// An SDK whose calls take a function for when the event is answered.
function withCallbacks(analytics) {
  const answers = []
  return {
    call(type, params) {
      answers.push(new Promise((resolve) =>
        analytics[type](params, (e) => {
          if (e) fail(e)
          resolve()
        })
      ))
    },
    end: () => Promise.all(answers),
  }
}

async function main() {
  const { call, end } = sdks[sdk]()
  for (let n = 0; n < Number(count); n++) {
    const [type, params] = event(n, prefix)
    console.log(JSON.stringify({ type, ...params })) // the SDK adds to it
    call(type, params)
  }
  await end()
  process.exitCode = failed ? 1 : 0
}

main()
