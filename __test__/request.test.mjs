// The request handler as its users have it: both forms, all actions, the documents' examples, owners, callbacks.
// What is refused is in request-attacks.test.mjs; every text and status in src/request/tests.

import assert from 'node:assert/strict'
import { describe } from 'node:test'

import {
  CodeSyntaxError,
  ComputeError,
  compute,
  handleComputeRequest,
  InvalidArgumentError,
  local,
  NotFoundError,
} from '../index.js'
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

describe('callbacks', () => {
  test('authorize is asked with the request as it was given', async () => {
    const calls = []
    const request = post(create, { headers: { authorization: 'Bearer a' } })
    const authorize = async (given, action) => {
      calls.push([given === request, given.headers.get('authorization'), action])
      return true
    }
    const { body } = await answered(request, { provider, authorize })
    assert.deepEqual([body.success, calls], [true, [[true, 'Bearer a', 'compute.sandbox.create']]])
    await handleComputeRequest({
      request: create,
      provider,
      authorize: (given) => assert.equal(given, create),
    })
  })

  test('what authorize does not allow is 403', async () => {
    for (const said of [false, undefined, null, '']) {
      const actions = []
      const answer = await handleComputeRequest({
        request: create,
        provider,
        authorize: () => said,
        onAction: (action) => actions.push(action),
      })
      assert.deepEqual(answer, {
        success: false,
        error: 'Not authorized',
        code: 'PERMISSION_DENIED',
        status: 403,
      })
      assert.deepEqual(actions, [])
    }
  })

  test('a sandbox exists for its owner alone', async () => {
    const as = (owner, request) =>
      handleComputeRequest({
        request,
        provider,
        authorize: () => owner,
        allowedActions: ['create', 'list', 'destroy', 'getInfo', 'runCommand'].map(
          (name) => `compute.sandbox.${name}`,
        ),
      })
    const { sandboxId } = await as('alice', { ...create, options: { metadata: { tag: 'x' } } })
    const info = { action: 'compute.sandbox.getInfo', sandboxId }
    assert.deepEqual((await as('alice', info)).info.metadata, { tag: 'x' })
    for (const other of ['bob', true]) {
      for (const request of [info, { ...info, action: 'compute.sandbox.runCommand', command: 'id' }]) {
        const answer = await as(other, request)
        const unknown = await as(other, { ...request, sandboxId: 'sbx_0' })
        assert.deepEqual(
          [answer.status, { ...answer, error: '' }],
          [404, { ...unknown, sandboxId, error: '' }],
        )
      }
      assert.equal((await as(other, { action: 'compute.sandbox.destroy', sandboxId })).status, 200)
      const { sandboxes } = await as(other, { action: 'compute.sandbox.list' })
      assert.ok(!sandboxes.some((one) => one.sandboxId === sandboxId))
    }
    const open = await handleComputeRequest({ request: info, provider })
    assert.equal(open.status, 404, 'nor for a handler without owners')
    const { sandboxes } = await as('alice', { action: 'compute.sandbox.list' })
    assert.deepEqual(sandboxes, [{ sandboxId, provider: 'local' }])
    const box = await provider.sandbox.getById(sandboxId)
    assert.equal((await box.getInfo()).metadata['computesdk.owner'], 'alice')
    await as('alice', { action: 'compute.sandbox.destroy', sandboxId })
    assert.equal(await provider.sandbox.getById(sandboxId), null)
  })

  test('onAction is told of every action before it is done', async () => {
    const calls = []
    const onAction = async (...args) => calls.push(args)
    const { sandboxId } = await handleComputeRequest({ request: create, provider, onAction })
    await handleComputeRequest({
      request: { action: 'compute.sandbox.destroy', sandboxId },
      provider,
      onAction,
    })
    assert.deepEqual(calls, [
      ['compute.sandbox.create', undefined],
      ['compute.sandbox.destroy', sandboxId],
    ])
  })

  test('what a callback throws is a 500 without internals, and goes to onError as it is', async () => {
    const before = (await provider.sandbox.list()).length
    for (const thrown of [new Error('postgres://10.0.0.1 is down'), 'a text', undefined, { code: 1 }]) {
      for (const name of ['authorize', 'onAction']) {
        const errors = []
        const answer = await handleComputeRequest({
          request: create,
          provider,
          [name]: async () => {
            throw thrown
          },
          onError: (error) => errors.push(error),
        })
        assert.deepEqual(answer, { success: false, error: 'Internal error', code: 'INTERNAL', status: 500 })
        assert.deepEqual([errors.length, errors[0] === thrown], [1, true])
      }
    }
    const errors = []
    const odd = { request: create, provider, authorize: () => ({ owner: 'alice' }) }
    assert.equal((await handleComputeRequest({ ...odd, onError: (error) => errors.push(error) })).status, 500)
    assert.ok(errors[0] instanceof InvalidArgumentError)
    assert.equal((await provider.sandbox.list()).length, before, 'nothing was made')
  })

  test('onError is told in full, and awaited', async () => {
    const errors = []
    const onError = async (error) => {
      await null
      errors.push(error)
    }
    const answer = await handleComputeRequest({
      request: create,
      provider: local({ python: '/opt/secret/python' }),
      onError,
    })
    assert.deepEqual([answer.status, answer.error, answer.code], [500, 'Internal error', 'INTERNAL'])
    assert.ok(errors[0] instanceof InvalidArgumentError)
    assert.match(errors[0].message, /\/opt\/secret\/python/)
    const request = { action: 'compute.sandbox.getInfo', sandboxId: 'sbx_0' }
    await handleComputeRequest({ request, provider, onError })
    assert.ok(errors[1] instanceof NotFoundError && errors[1] instanceof ComputeError)
    assert.equal(errors[1].operation, 'handleComputeRequest')
  })

  test('a Response of authorize is the answer; a body has its status', async () => {
    const authorize = (_request, _action, sandboxId) =>
      new Response(`who are you, ${sandboxId}?`, { status: 401, headers: { 'www-authenticate': 'Bearer' } })
    const body = { action: 'compute.sandbox.getInfo', sandboxId: 'sbx_0' }
    const options = { provider, authorize, allowedOrigins: ['https://front.example'] }
    const request = post(body, { headers: { origin: 'https://front.example' } })
    const response = await handleComputeRequest({ request, ...options })
    assert.deepEqual([response.status, await response.text()], [401, 'who are you, sbx_0?'])
    assert.equal(response.headers.get('www-authenticate'), 'Bearer')
    assert.equal(response.headers.get('access-control-allow-origin'), 'https://front.example')
    const answer = await handleComputeRequest({ request: body, ...options })
    assert.deepEqual([answer.status, answer.success, answer.error], [401, false, 'Not authorized'])
    // One that nobody can write to, as a redirection is.
    const moved = () => Response.redirect('https://app.example/login', 303)
    assert.equal(
      (await handleComputeRequest({ request: post(body), provider, authorize: moved })).status,
      303,
    )
  })

  test('onAnswer is told what has come of every request, whose it was, and how long it took', async () => {
    const traces = []
    const options = { provider, authorize: () => 'alice', onAnswer: async (trace) => void traces.push(trace) }
    const { sandboxId } = await handleComputeRequest({ request: create, ...options })
    const command = { action: 'compute.sandbox.runCommand', sandboxId, command: 'sleep 0.2' }
    await handleComputeRequest({ request: command, ...options })
    const streamed = post(command, { headers: { accept: 'text/event-stream' } })
    const response = await handleComputeRequest({ request: streamed, ...options })
    assert.equal(traces.length, 2, 'not before its end')
    await response.text()
    await handleComputeRequest({ request: { action: 'explode' }, ...options })
    await handleComputeRequest({
      request: command,
      ...options,
      authorize: () => new Response('', { status: 401 }),
    })
    const about = { action: command.action, sandboxId, owner: 'alice', status: 200 }
    assert.ok(traces.every(({ durationMs }) => Number.isInteger(durationMs) && durationMs >= 1))
    assert.ok(traces[1].durationMs >= 200 && traces[2].durationMs >= 200)
    assert.deepEqual(
      traces.map(({ durationMs, ...rest }) => JSON.parse(JSON.stringify(rest))),
      [
        { ...about, action: create.action },
        about,
        about,
        { status: 400 },
        { action: command.action, sandboxId, status: 401 },
      ],
    )
  })

  test('what onAnswer throws is a 500, and a warning; of a stream the last event is an error', async () => {
    const { stdout, stderr } = await program(`
      const onAnswer = () => { throw new Error('no log') }
      const provider = c.local()
      const { sandboxId } = await provider.sandbox.create()
      const request = { action: 'compute.sandbox.runCommand', sandboxId, command: 'echo on' }
      console.log((await c.handleComputeRequest({ request, provider, onAnswer })).status)
      const headers = { 'content-type': 'application/json', accept: 'text/event-stream' }
      const web = new Request('${URL_}', { method: 'POST', headers, body: JSON.stringify(request) })
      const text = await (await c.handleComputeRequest({ request: web, provider, onAnswer })).text()
      console.log(text.includes('event: result'), text.split('event: ').at(-1))
    `).ended
    assert.match(stdout, /^500\nfalse error\ndata: .*"Internal error"/)
    assert.match(stderr, /COMPUTESDK_ON_ANSWER.*no log/)
  })

  test('what onError throws is a 500 too, and a warning', async () => {
    const { stdout, stderr } = await program(`
      const onError = () => { throw new Error('no log') }
      const answer = await c.handleComputeRequest({ request: {}, provider: c.local(), onError })
      console.log(JSON.stringify(answer))
    `).ended
    assert.deepEqual(JSON.parse(stdout), {
      success: false,
      error: 'Internal error',
      code: 'INTERNAL',
      status: 500,
    })
    assert.match(stderr, /COMPUTESDK_ON_ERROR.*no log/)
  })

  test('without authorize there is one warning in production', async () => {
    const source = `
      const request = { action: 'compute.sandbox.getInfo', sandboxId: 'a' }
      const more = process.env.SAFE ? { authorize: () => true } : {}
      for (let i = 0; i < 3; i += 1) await c.handleComputeRequest({ request, provider: c.local(), ...more })
    `
    const warnings = async (env) => (await program(source, { env }).ended).stderr
    const loud = await warnings({ NODE_ENV: 'production' })
    assert.equal(loud.match(/COMPUTESDK_NO_AUTHORIZE/g)?.length, 1, loud)
    assert.match(loud, /authorize: \(request\) =>/)
    assert.equal(await warnings({ NODE_ENV: 'production', SAFE: '1' }), '')
    assert.equal(await warnings({ NODE_ENV: 'test' }), '')
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
