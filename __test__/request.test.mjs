// The request handler as its users have it: both forms, all actions, the documents' examples.
// What it asks and tells its owner is in request-callbacks.test.mjs, what is refused in request-attacks.test.mjs; every
// text and status in src/request/tests.

import assert from 'node:assert/strict'
import { describe } from 'node:test'

import { CodeSyntaxError, compute, handleComputeRequest, InvalidArgumentError, local } from '../index.js'
import { failure, program, test } from './support.mjs'
import { answered, everything, post, serve, told, URL_ } from './web.mjs'

const provider = local()
const create = { action: 'compute.sandbox.create' }

describe('both forms', () => {
  test('a parsed body is answered with an object', () =>
    everything((request) => handleComputeRequest({ request, provider })))

  test('a parsed body, as a list of arguments', () =>
    everything((request) => handleComputeRequest(request, provider, { limits: { life: 120_000 } })))

  test('a Request is answered with a Response', () =>
    everything(async (body) => {
      const { status, headers, body: answer } = await answered(post(body), { provider })
      assert.equal(status, answer.status)
      assert.equal(headers.get('content-type'), 'application/json')
      assert.equal(headers.get('cache-control'), 'no-store')
      assert.equal(headers.get('x-content-type-options'), 'nosniff')
      assert.equal(headers.get('access-control-allow-origin'), null)
      return answer
    }))

  test('a Request, as a list of arguments', () =>
    everything(async (body) => (await told(await handleComputeRequest(post(body), provider, {}))).body))

  test('a server of node:http', async () => {
    const server = await serve((request) => handleComputeRequest({ request, provider }))
    try {
      await everything(async (body) => {
        const headers = { 'content-type': 'application/json; charset=utf-8' }
        const response = await fetch(server.url, { method: 'POST', headers, body: JSON.stringify(body) })
        return (await told(response)).body
      })
      assert.deepEqual(server.errors, [])
    } finally {
      await server.close()
    }
  })

  test('without a provider it works as compute is configured', async () => {
    compute.setConfig({ provider: local({ timeout: 77_000 }) })
    try {
      for (const made of [
        await handleComputeRequest({ request: create }),
        await handleComputeRequest(create, undefined),
        await (await handleComputeRequest(post(create))).json(),
      ]) {
        const found = await compute.sandbox.getById(made.sandboxId)
        assert.equal((await found.getInfo()).timeout, 77_000)
        await found.destroy()
      }
    } finally {
      compute.clearConfig()
    }
  })

  test('a request is told by its shape, not by its class', async () => {
    const body = JSON.stringify(create)
    const headers = new Map([['content-type', 'application/json']])
    const shapes = {
      'a stream of Node': {
        body: (async function* () {
          yield Buffer.from(body)
        })(),
      },
      'no stream': { text: async () => body },
      'an empty stream': { body: null },
    }
    for (const [name, more] of Object.entries(shapes)) {
      const request = { method: 'POST', url: '/api', headers, json: async () => JSON.parse(body), ...more }
      const { status, body: answer } = await told(await handleComputeRequest({ request, provider }))
      assert.deepEqual(
        [status, answer.success],
        name === 'an empty stream' ? [400, false] : [200, true],
        name,
      )
      if (answer.success) await provider.sandbox.destroy(answer.sandboxId)
    }
  })

  test('a plug-in is a provider as well', async () => {
    const known = new Map()
    const plain = (box) => ({
      sandboxId: box.sandboxId,
      runCommand: (...args) => box.runCommand(...args),
      filesystem: box.filesystem,
      destroy: () => box.destroy(),
    })
    const mine = {
      name: 'mine',
      sandbox: {
        create: async ({ metadata, timeout }) => {
          const made = plain(await provider.sandbox.create({ metadata, timeout }))
          known.set(made.sandboxId, made)
          return made
        },
        getById: async (id) => known.get(id) ?? null,
        destroy: async (id) => known.get(id)?.destroy(),
      },
    }
    const ask = (request, options) => handleComputeRequest(request, mine, options)
    const { sandboxId, provider: name } = await ask(create)
    assert.equal(name, 'mine')
    const at = (action, more) => ask({ action: `compute.sandbox.${action}`, sandboxId, ...more })
    assert.equal((await at('runCommand', { command: 'echo on' })).result.stdout, 'on\n')
    assert.equal((await at('filesystem.writeFile', { path: '/a', content: 'b' })).success, true)
    assert.equal((await at('filesystem.readFile', { path: '/a' })).fileContent, 'b')
    const missing = await at('filesystem.readFile', { path: '/nowhere' })
    assert.deepEqual([missing.status, missing.error], [404, 'File not found: /nowhere'])
    const errors = []
    const own = await ask(create, { authorize: () => 'alice', onError: (error) => errors.push(error) })
    assert.deepEqual([own.status, own.error], [500, 'Internal error'])
    assert.match(errors[0].message, /cannot have an owner/)
    assert.equal((await at('destroy')).status, 200)
  })
})

describe("the documents' examples", () => {
  const e2b = () => provider

  test('document 1, with Express', async () => {
    let route
    const app = {
      post: (_, handler) => {
        route = handler
      },
    }
    // Example with Express
    app.post('/api/compute', async (req, res) => {
      try {
        const response = await handleComputeRequest({
          request: req.body,
          provider: e2b({ apiKey: process.env.E2B_API_KEY }),
        })
        res.json(response)
      } catch (error) {
        res.status(500).json({
          success: false,
          error: error.message,
        })
      }
    })
    const send = async (body) => {
      const sent = { status: 200 }
      const res = {
        status: (status) => Object.assign(sent, { status }) && res,
        json: (value) => {
          sent.body = JSON.parse(JSON.stringify(value))
        },
      }
      await route({ body }, res)
      return sent
    }
    // The request format.
    const { body: made } = await send({
      action: 'compute.sandbox.create', // Required: Action to perform
      sandboxId: 'optional-id', // Optional: Target sandbox ID
      command: 'python', // For runCommand action
      args: ['script.py'], // Command arguments
      code: "print('hello')", // For direct code execution
      path: '/path/to/file', // For file operations
      content: 'file content', // For file write operations
    })
    assert.equal(made.success, true)
    assert.notEqual(made.sandboxId, 'optional-id')
    await everything(async (body) => (await send(body)).body)
    const { status, body } = await send(undefined)
    assert.deepEqual([status, body], [500, { success: false, error: '`request` is missing' }])
  })

  test('document 2, a route of Next.js', async () => {
    async function POST(request) {
      return handleComputeRequest({
        request,
        provider: e2b({ apiKey: process.env.E2B_API_KEY }),
      })
    }
    await everything(async (body) => {
      const response = await POST(post(body))
      assert.ok(response instanceof Response)
      return response.json()
    })
  })
})

describe('the answer', () => {
  test('to code that does not parse is 422', async () => {
    const box = await provider.sandbox.create()
    const request = {
      action: 'compute.sandbox.runCode',
      sandboxId: box.sandboxId,
      code: 'def f(:',
      runtime: 'python',
    }
    const errors = []
    const answer = await handleComputeRequest({ request, provider, onError: (error) => errors.push(error) })
    assert.deepEqual([answer.success, answer.status, answer.code], [false, 422, 'CODE_SYNTAX'])
    assert.match(answer.error, /^Syntax error/)
    assert.ok(errors[0] instanceof CodeSyntaxError)
    assert.match(errors[0].stderr, /SyntaxError/)
  })

  test('is not strict, and a time that is over is a result', async () => {
    const box = await provider.sandbox.create()
    const request = {
      action: 'compute.sandbox.runCommand',
      sandboxId: box.sandboxId,
      command: 'echo on; sleep 99',
    }
    const { result } = await handleComputeRequest({ request, provider, limits: { action: 300 } })
    assert.deepEqual([result.timedOut, result.exitCode, result.stdout], [true, 124, 'on\n'])
  })

  test('to create has the life that is allowed', async () => {
    const life = async (options, more) => {
      const answer = await handleComputeRequest({ request: { ...create, options }, provider, ...more })
      return (await (await provider.sandbox.getById(answer.sandboxId)).getInfo()).timeout
    }
    assert.equal(await life(undefined), 300_000)
    assert.equal(await life({ timeout: 86_400_000 }), 900_000)
    assert.equal(await life(undefined, { createDefaults: { timeout: 0 }, limits: { life: 20_000 } }), 20_000)
    assert.equal(await life(undefined, { provider: local({ timeout: 0 }) }), 900_000)
    assert.equal(await life(undefined, { provider: local({ timeout: 33_000 }) }), 33_000)
  })

  test('what is opened is open, over the defaults', async () => {
    const options = {
      allowedCreateOptions: ['envs', 'sandboxId'],
      createDefaults: {
        envs: { A: 'server', B: 'server' },
        resources: { processes: 64 },
        metadata: { app: 'shop' },
      },
    }
    const request = { ...create, options: { envs: { B: 'client' }, sandboxId: 'mine' } }
    const made = await handleComputeRequest(request, provider, options)
    assert.equal(made.sandboxId, 'mine')
    const box = await provider.sandbox.getById('mine')
    assert.equal((await box.runCommand('echo $A $B')).stdout, 'server client\n')
    const { metadata, limits } = await box.getInfo()
    assert.deepEqual([metadata, limits.processes], [{ app: 'shop' }, 64])
    const taken = await handleComputeRequest(request, provider, options)
    assert.deepEqual([taken.status, taken.code], [409, 'ALREADY_EXISTS'])
  })

  test('list is off, and can be opened', async () => {
    const request = { action: 'compute.sandbox.list' }
    const off = await handleComputeRequest({ request, provider })
    assert.deepEqual([off.status, off.code], [403, 'PERMISSION_DENIED'])
    const box = await provider.sandbox.create()
    const on = await handleComputeRequest({ request, provider, allowedActions: [request.action] })
    assert.ok(on.sandboxes.some(({ sandboxId }) => sandboxId === box.sandboxId))
    assert.equal(on.sandboxId, undefined)
    const other = await handleComputeRequest({ request: create, provider, allowedActions: [request.action] })
    assert.equal(other.status, 403)
  })
})

describe('programming errors reject', () => {
  const wrong = (pattern, ...args) =>
    failure(handleComputeRequest(...args), InvalidArgumentError, {
      message: pattern,
      operation: 'handleComputeRequest',
    })

  test('no request, no provider, no such option', async () => {
    await wrong(/`request` is missing/)
    await wrong(/`request` is missing/, undefined)
    await wrong(/`request` is missing/, { provider })
    await wrong(/`request` is missing/, undefined, provider)
    await wrong(/`request` is missing/, create)
    await wrong(/neither a Request nor a parsed body/, { request: () => create, provider })
    const circle = {}
    circle.circle = circle
    await wrong(/neither a Request nor a parsed body/, { request: circle, provider })
    await wrong(/`provider` must be a provider/, { request: create, provider: {} })
    await wrong(/`provider` must be a provider/, { request: create, provider: null })
    await wrong(/`provider` must be a provider/, create, 'local')
    await wrong(/has no option `alowedActions`/, { request: create, provider, alowedActions: [] })
    await wrong(/`options` must be an object/, create, provider, 'x')
    await wrong(/`authorize` must be a function/, { request: create, provider, authorize: true })
    await wrong(/`compute.sandbox.explode`/, {
      request: create,
      provider,
      allowedActions: ['compute.sandbox.explode'],
    })
    await wrong(/`mounts`/, { request: create, provider, allowedCreateOptions: ['mounts'] })
    await wrong(/`\*`/, { request: create, provider, allowedOrigins: ['*'] })
    await wrong(/`limits.action` must be 1 or more/, { request: create, provider, limits: { action: 0 } })
    await wrong(/limits.*has no option `bodies`/, { request: create, provider, limits: { bodies: 1 } })
    await wrong(/`limits.body` must be a whole number/, {
      request: post(create),
      provider,
      limits: { body: 1.5 },
    })
    await wrong(/has no option `runtim`/, { request: create, provider, createDefaults: { runtim: 'python' } })
    await wrong(/has no option `signal`/, {
      request: create,
      provider,
      createDefaults: { signal: AbortSignal.abort() },
    })
  })

  test('a body that has been read', async () => {
    const request = post(create)
    await request.json()
    await wrong(/has been read already/, { request, provider })
    const locked = post(create)
    locked.body.getReader()
    await wrong(/somebody else reads/, { request: locked, provider })
  })
})

test('a process ends with its last request', async () => {
  const { code, stdout } = await program(`
    const request = new Request('${URL_}', {
      method: 'POST', headers: { 'content-type': 'application/json' }, body: '{"action":"compute.sandbox.create"}',
    })
    const response = await c.handleComputeRequest({ request, provider: c.local(), authorize: async () => true })
    console.log(response.status)
  `).ended
  assert.deepEqual([code, stdout], [0, '200\n'])
})
