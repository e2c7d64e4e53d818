// E2B's own client at our fake, for the tests of what its users see: over HTTP, and then all of it again over TLS.

import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { test as nodeTest } from 'node:test'
import { fileURLToPath } from 'node:url'

import { Sandbox } from 'e2b'

import { e2bFake, KEY } from './fakes.mjs'

// Given by the last test of a file, which runs all others again.
const given = process.env.FAKE_OF_E2B
export const fake = given ? { url: given } : await e2bFake()
export const account = { apiKey: KEY, apiUrl: fake.url, sandboxUrl: fake.url }
/** One for all tests of a file. */
export const shared = await Sandbox.create(account)

export function test(name, body, timeout = 60_000) {
  return nodeTest(name, { timeout }, body)
}

/** A sandbox of its own. */
export async function own(t, options = {}) {
  const sandbox = await Sandbox.create({ ...account, ...options })
  t.after(() => sandbox.kill())
  return sandbox
}

/** A request for envd, as it is: for what the client does not do. */
export function envd(sandbox, path, { headers = {}, port = 49983, ...init } = {}) {
  return fetch(fake.url + path, {
    ...init,
    headers: {
      'E2b-Sandbox-Id': sandbox.sandboxId,
      'E2b-Sandbox-Port': String(port),
      'X-Access-Token': sandbox.envdAccessToken,
      ...headers,
    },
  })
}

/** The last test of a file: all others hold over TLS, with HTTP/2. */
export function overTls(file) {
  if (given !== undefined) return
  test('all of this holds over TLS, with HTTP/2', async () => {
    const secure = await e2bFake({ tls: true })
    const env = { ...process.env, FAKE_OF_E2B: secure.url, NODE_EXTRA_CA_CERTS: secure.ca }
    // Otherwise it would speak to the runner of these tests.
    delete env.NODE_TEST_CONTEXT
    const child = spawn(process.execPath, [fileURLToPath(file)], { env })
    let printed = ''
    for (const stream of [child.stdout, child.stderr]) stream.on('data', (data) => (printed += data))
    const [code] = await once(child, 'close')
    assert.equal(code, 0, printed)
    assert.ok((await secure.stats()).http2Connections > 0)
  }, 120_000)
}
