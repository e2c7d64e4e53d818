// What must work wherever the addon loads: on Linux with either C library, on macOS and on Windows. It needs the addon
// and Node.js, and nothing that is installed.

import assert from 'node:assert/strict'
import { once } from 'node:events'
import { createServer } from 'node:http'
import { test } from 'node:test'

import * as computesdk from '../index.js'

const {
  AuthenticationError,
  compute,
  defineProvider,
  docker,
  e2b,
  InvalidArgumentError,
  local,
  UnsupportedError,
} = computesdk

const LINUX = process.platform === 'linux'
const KEY = `e2b_${'0'.repeat(40)}`
const rejected = (promise) =>
  promise.then(
    () => assert.fail('it was not rejected'),
    (error) => error,
  )

// Where to ask is decided here, and not by the environment of whoever runs this.
for (const name of Object.keys(process.env)) if (name.startsWith('E2B_')) delete process.env[name]

test('the addon loads, and errors of it are those of the package', async () => {
  const error = await rejected(compute.sandbox.create({ provider: e2b({ apiKey: KEY }), tiemout: 1 }))
  assert.ok(error instanceof InvalidArgumentError)
  assert.match(error.message, /tiemout/)
  assert.match(error.stack, /everywhere\.test\.mjs/)
})

test('a server is asked over HTTP, and its answers are told apart', async () => {
  const asked = []
  const server = createServer((request, response) => {
    asked.push([request.method, request.url.split('?')[0], request.headers['x-api-key']])
    const known = request.headers['x-api-key'] === KEY
    response.writeHead(known ? 200 : 401, { 'content-type': 'application/json' })
    response.end(known ? '[]' : '{"code":401,"message":"who is that?"}')
  }).listen(0, '127.0.0.1')
  await once(server, 'listening')
  const apiUrl = `http://127.0.0.1:${server.address().port}`
  try {
    assert.deepEqual([...(await e2b({ apiKey: KEY, apiUrl }).sandbox.list())], [])
    const stranger = e2b({ apiKey: `e2b_${'1'.repeat(40)}`, apiUrl })
    const error = await rejected(stranger.sandbox.list())
    assert.ok(error instanceof AuthenticationError, String(error))
    assert.equal(error.status, 401)
    assert.deepEqual(asked[0].slice(0, 1), ['GET'])
    assert.equal(asked[0][2], KEY)
  } finally {
    server.close()
    server.closeAllConnections()
  }
})

test('a provider in JavaScript is used like those of the addon', async () => {
  const mine = defineProvider({
    name: 'mine',
    methods: {
      sandbox: {
        create: async () => ({ sandbox: {}, sandboxId: 'one' }),
        getById: async () => null,
        list: async () => [],
        runCommand: async (_, command) => ({ stdout: command, stderr: '', exitCode: 0, durationMs: 1 }),
        destroy: async () => {},
      },
    },
  })
  const box = await compute.sandbox.create({ provider: mine() })
  assert.equal((await box.runCommand('hello')).stdout, 'hello')
  await box.destroy()
})

test('a local sandbox runs a command', { skip: LINUX ? false : 'it is made of what Linux has' }, async () => {
  const box = await local().sandbox.create()
  const { stdout, exitCode } = await box.runCommand('cat; id -u; exit 3', { stdin: 'in\n' })
  assert.deepEqual({ stdout: stdout.split('\n')[0], exitCode }, { stdout: 'in', exitCode: 3 })
  await box.filesystem.writeFile('/tmp/file', 'content')
  assert.equal(await box.filesystem.readFile('/tmp/file'), 'content')
  await box.destroy()
})

test('what is not there is refused by name', { skip: LINUX ? 'everything is there' : false }, async () => {
  for (const [name, provider] of Object.entries({ local: local(), docker: docker() })) {
    const error = await rejected(provider.sandbox.create())
    assert.ok(error instanceof UnsupportedError, String(error))
    assert.match(error.message, new RegExp(`\`${name}\``))
  }
})
