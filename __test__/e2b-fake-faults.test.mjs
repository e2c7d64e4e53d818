// What goes wrong on demand, and what is counted: the other tests of E2B rest on these.

import assert from 'node:assert/strict'
import { readFile } from 'node:fs/promises'
import { connect as connect2 } from 'node:http2'
import { test as nodeTest } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'

import { RateLimitError, Sandbox, SandboxError, SandboxNotFoundError } from 'e2b'

import { e2bFake, KEY } from './fakes.mjs'

const fake = await e2bFake()
const account = { apiKey: KEY, apiUrl: fake.url, sandboxUrl: fake.url, retries: 0 }
const sandbox = await Sandbox.create(account)
const routed = { 'E2b-Sandbox-Id': sandbox.sandboxId, 'E2b-Sandbox-Port': '49983' }

function test(name, body, timeout = 60_000) {
  return nodeTest(name, { timeout }, async (t) => {
    t.after(() => fake.clearFaults())
    await body(t)
  })
}

const START = { path: 'process.Process/Start' }

/** The bytes of a `Start` as they came, and what ended them. */
async function started(command, signal) {
  const payload = Buffer.from(
    JSON.stringify({ process: { cmd: '/bin/sh', args: ['-c', command] }, stdin: false }),
  )
  const head = Buffer.alloc(5)
  head.writeUInt32BE(payload.length, 1)
  const answer = await fetch(`${fake.url}/process.Process/Start`, {
    method: 'POST',
    headers: {
      ...routed,
      'X-Access-Token': sandbox.envdAccessToken,
      'Content-Type': 'application/connect+json',
    },
    body: Buffer.concat([head, payload]),
    signal,
  })
  const chunks = []
  try {
    for await (const chunk of answer.body) chunks.push(Buffer.from(chunk))
  } catch (error) {
    return { bytes: Buffer.concat(chunks), chunks, error }
  }
  return { bytes: Buffer.concat(chunks), chunks }
}

test('something else answers, so often', async () => {
  await fake.fault({
    match: { path: '/sandboxes', method: 'GET', service: 'control' },
    skip: 1,
    count: 2,
    action: {
      answer: {
        status: 429,
        headers: { 'retry-after': '7' },
        body: '{"code":429,"message":"Rate limit exceeded"}',
      },
    },
  })
  await sandbox.getInfo()
  await assert.rejects(sandbox.getInfo(), RateLimitError)
  await assert.rejects(sandbox.getInfo(), RateLimitError)
  await sandbox.getInfo()
  const body = '<html><body>502 Bad Gateway</body></html>'
  const headers = { 'content-type': 'text/html' }
  await fake.fault({ match: START, action: { answer: { status: 502, headers, body } } })
  await assert.rejects(sandbox.commands.run('true'), SandboxNotFoundError)
})

test('a rule that says what there is not is refused', async () => {
  await assert.rejects(fake.fault({ action: { explode: {} } }), /unknown variant/)
  await assert.rejects(fake.fault({ mach: {} }), /unknown field/)
})

test('an answer is delayed', async () => {
  await fake.fault({ match: { path: '/health' }, delay: 400 })
  const begun = Date.now()
  assert.equal(await sandbox.isRunning(), true)
  assert.ok(Date.now() - begun >= 400)
})

test('a connection is closed before the answer, whether or not anything was done', async () => {
  await fake.fault({ match: START, action: { close: {} } })
  await assert.rejects(sandbox.commands.run('touch /tmp/not-done'))
  assert.equal(await sandbox.files.exists('/tmp/not-done'), false)
  await fake.fault({ match: { path: '/files', method: 'POST' }, processed: true, action: { close: {} } })
  await assert.rejects(sandbox.files.write('/tmp/done', 'x'))
  assert.equal(await sandbox.files.exists('/tmp/done'), true)
})

test('a stream breaks off after a message, and within one', async () => {
  assert.equal((await started('echo 1')).error, undefined)
  for (const bytes of [0, 3]) {
    for (const how of ['close', 'reset', 'end']) {
      await fake.fault({ match: START, action: { cut: { frames: 1, bytes, how } } })
      const cut = await started('echo 1; sleep 0.1; echo 2')
      assert.equal(cut.bytes.length, 5 + cut.bytes.readUInt32BE(1) + bytes, how)
      assert.equal(cut.error === undefined, how === 'end', how)
    }
  }
  await fake.fault({ match: START, action: { cut: { frames: 2, how: 'close' } } })
  await assert.rejects(sandbox.commands.run('echo 1; sleep 5'), SandboxError)
})

test('a stream falls silent and stays open', async () => {
  await fake.fault({ match: START, action: { cut: { frames: 1, how: 'silence' } } })
  const given = new AbortController()
  const silent = started('echo 1', given.signal)
  assert.equal(await Promise.race([silent, sleep(500, 'silent')]), 'silent')
  given.abort()
  assert.equal((await silent).error.name, 'AbortError')
})

test('an answer comes byte by byte', async () => {
  await fake.fault({ match: START, action: { slow: { size: 1, pause: 1 } } })
  const slow = await started('echo 1')
  assert.ok(slow.chunks.length > 20, `${slow.chunks.length} pieces`)
  await fake.fault({ match: START, action: { slow: {} } })
  assert.equal((await sandbox.commands.run('echo €')).stdout, '€\n')
})

test('what comes is counted', async () => {
  const before = await fake.stats()
  await sandbox.files.write('/tmp/counted', 'x'.repeat(50_000))
  await sandbox.getInfo()
  const after = await fake.stats()
  const more = (key) => after[key] - before[key]
  assert.equal(more('requests'), 2)
  assert.ok(more('bytesReceived') > 50_000)
  assert.equal(after.inFlight, 0)
  assert.equal(after.byPath['POST /files'] - (before.byPath['POST /files'] ?? 0), 1)
  assert.equal(after.byPath['GET /sandboxes/{id}'] - (before.byPath['GET /sandboxes/{id}'] ?? 0), 1)
})

nodeTest('over TLS there is HTTP/2, with its own ways to fail', { timeout: 60_000 }, async (t) => {
  const secure = await e2bFake({ tls: true, maxStreams: 7 })
  const ca = await readFile(secure.ca)
  const session = () => {
    const session = connect2(secure.url, { ca })
    session.on('error', () => {})
    t.after(() => session.destroy())
    return session
  }
  const get = (session, path = '/health', options = {}) =>
    new Promise((resolve, reject) => {
      const stream = session.request({ ':path': path }, options)
      stream.on('response', (headers) => {
        stream.resume().on('end', () => resolve(headers[':status']))
      })
      stream.on('error', reject)
      stream.end()
    })
  const first = session()
  assert.equal(await get(first), 200)
  assert.equal(first.alpnProtocol, 'h2')
  assert.equal(first.remoteSettings.maxConcurrentStreams, 7)

  await secure.fault({ action: { reset: { code: 7 } } })
  await assert.rejects(get(first), /NGHTTP2_REFUSED_STREAM/)
  assert.equal(await get(first), 200)

  const goaway = (session) => new Promise((resolve) => session.on('goaway', (...args) => resolve(args)))
  const graceful = goaway(first)
  await secure.fault({ action: { goaway: {} } })
  assert.equal(await get(first), 200)
  assert.equal((await graceful)[0], 0)

  const second = session()
  assert.equal(await get(second), 200)
  const hard = goaway(second)
  await secure.fault({ action: { goaway: { code: 11, refuse: true } } })
  await assert.rejects(get(second))
  assert.deepEqual((await hard).slice(0, 2), [11, 1])

  const third = session()
  // Until the server's settings have come, a client knows no limit.
  await get(third)
  await Promise.all(Array.from({ length: 20 }, () => get(third)))
  const { http2Connections, connections, maxInFlight } = await secure.stats()
  assert.deepEqual([http2Connections, connections], [3, 3])
  assert.ok(maxInFlight >= 1 && maxInFlight <= 7)
})
