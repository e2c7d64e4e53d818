// What is wrong with a key, a configuration or an answer of E2B, as JavaScript sees it. The server is one of this test:
// what it was sent, and whether it was sent anything, is known.

import assert from 'node:assert/strict'
import { once } from 'node:events'
import { createServer } from 'node:http'
import { after, describe } from 'node:test'
import { inspect } from 'node:util'

import {
  AbortError,
  AlreadyExistsError,
  AuthenticationError,
  compute,
  createCompute,
  docker,
  e2b,
  InvalidArgumentError,
  NotFoundError,
  PermissionDeniedError,
  QuotaExceededError,
  RateLimitError,
  UnavailableError,
  UnsupportedError,
} from '../index.js'
import './fakes.mjs'
import { failure, output, signalled, test } from './support.mjs'

const KEY = 'e2b_hunter2'
const ID = 'ihk3v9yyx2rx0n8zjl8wq'
const MISSING = "Missing E2B API key. Provide 'apiKey' in config or set E2B_API_KEY environment variable."
const WRONG = "Invalid E2B API key format. E2B API keys should start with 'e2b_'."

const servers = []
after(() => {
  for (const server of servers) {
    server.closeAllConnections()
    server.close()
  }
})

/** A server that answers with what `answer` gives for a request, and what it was asked. */
async function serve(answer) {
  const requests = []
  const server = createServer(async (request, response) => {
    let text = ''
    for await (const piece of request) text += piece
    const { method, url, headers } = request
    const asked = { method, url, headers, body: text === '' ? undefined : JSON.parse(text) }
    requests.push(asked)
    const { status = 200, headers: more = {}, body } = (await answer(asked)) ?? {}
    response.writeHead(status, { 'x-request-id': 'request-1', ...more })
    response.end(typeof body === 'string' || body === undefined ? body : JSON.stringify(body))
  })
  servers.push(server)
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  return { url: `http://127.0.0.1:${server.address().port}`, requests }
}

function detail(more) {
  const moment = (ms) => new Date(Date.now() + ms).toISOString()
  return {
    sandboxID: ID,
    templateID: 't',
    envdVersion: '0.6.13',
    envdAccessToken: 'hunter2',
    state: 'running',
    startedAt: moment(-1_000),
    endAt: moment(299_000),
    cpuCount: 2,
    memoryMB: 512,
    diskSizeMB: 1024,
    metadata: {},
    ...more,
  }
}

/** Everything that asks E2B. */
function calls(provider) {
  return [
    () => provider.sandbox.create(),
    () => provider.sandbox.getById(ID),
    () => provider.sandbox.list(),
    () => provider.sandbox.destroy(ID),
    () => provider.snapshots.list(),
    () => provider.snapshots.delete('s'),
    () => compute({ provider }).sandbox.create(),
    () => compute.sandbox.create({ provider }),
  ]
}

describe('the key of E2B', () => {
  test('is not needed before the first call', () => {
    assert.equal(e2b().name, 'e2b')
    assert.equal(e2b({ apiKey: undefined }).name, 'e2b')
    assert.deepEqual(e2b({ apiKey: 'nonsense' }).getSupportedRuntimes(), ['python', 'node'])
  })

  test('is missed by the first call', async () => {
    for (const provider of [e2b(), e2b({ apiKey: '' }), e2b({ apiKey: undefined })]) {
      for (const call of calls(provider)) {
        const error = await failure(call(), AuthenticationError, {
          message: MISSING,
          code: 'UNAUTHENTICATED',
          provider: 'e2b',
          retryable: false,
        })
        assert.match(error.hint, /e2b\.dev/)
      }
    }
  })

  test('is refused in another form, also of the environment', async () => {
    for (const call of calls(e2b({ apiKey: 'sk_hunter2' }))) {
      const error = await failure(call(), AuthenticationError, { message: WRONG })
      assert.doesNotMatch(inspect(error, { depth: 10, showHidden: true }), /hunter2/)
    }
    const source = `
      const error = await c.e2b().sandbox.list().catch((error) => error)
      console.log(error.name, error.message)`
    assert.equal(await output(source, { env: { E2B_API_KEY: 'hunter2' } }), `AuthenticationError ${WRONG}\n`)
    assert.equal(await output(source, { env: { E2B_API_KEY: '' } }), `AuthenticationError ${MISSING}\n`)
  })

  test('is checked before anything is sent', async () => {
    const { url, requests } = await serve(() => ({ body: [] }))
    for (const call of calls(e2b({ apiUrl: url })))
      await failure(call(), AuthenticationError, { message: MISSING })
    for (const call of calls(e2b({ apiUrl: url, apiKey: 'with\nline' }))) {
      await failure(call(), AuthenticationError, { message: WRONG, hint: /end of a line/ })
    }
    assert.deepEqual(requests, [])
  })

  test('may have any form at another server, where the environment leads too', async () => {
    const { url, requests } = await serve(() => ({ body: [] }))
    assert.deepEqual(await e2b({ apiKey: 'whatever', apiUrl: url }).sandbox.list(), [])
    const env = { E2B_API_KEY: 'from-the-environment', E2B_API_URL: url }
    assert.equal(await output('console.log(await c.e2b().sandbox.list())', { env }), '[]\n')
    const keys = requests.map(({ headers }) => headers['x-api-key'])
    assert.deepEqual(keys, ['whatever', 'from-the-environment'])
  })

  test('is never shown', async () => {
    const { url } = await serve(({ method }) =>
      method === 'GET' ? { body: detail() } : { status: 401, body: { code: 401, message: `bad key ${KEY}` } },
    )
    const provider = e2b({ apiKey: KEY, apiUrl: url })
    const box = await provider.sandbox.getById(ID)
    const error = await failure(box.destroy(), AuthenticationError)
    const instance = createCompute({ provider })
    for (const value of [provider, box, error, box.getProvider(), provider.sandbox, instance]) {
      for (const text of [inspect(value, { depth: 10, showHidden: true }), `${value}`]) {
        assert.doesNotMatch(text, /hunter2/)
      }
    }
    assert.doesNotMatch(JSON.stringify([provider, error]), /hunter2/)
  })
})

describe('the configuration of E2B', () => {
  test('is checked', async () => {
    for (const [config, message] of [
      [{ apikey: 'x' }, /`apikey`/],
      [{ apiKey: 1 }, /`e2b.apiKey` must be a string/],
      [{ timeout: '1' }, /`e2b.timeout` must be a number/],
      [{ timeout: -1 }, /`e2b.timeout` must be a whole number/],
      [{ templateId: null }, /`e2b.templateId` must be a string/],
      [{ apiUrl: {} }, /`e2b.apiUrl` must be a string/],
      [new Map(), /a plain object/],
    ]) {
      assert.throws(
        () => e2b(config),
        (error) => error instanceof InvalidArgumentError && message.test(error.message),
      )
    }
    for (const [config, message] of [
      [{ apiUrl: 'nonsense' }, /`apiUrl`/],
      [{ sandboxUrl: 'ws://a.example' }, /`sandboxUrl`/],
      [{ domain: 'a.example/b' }, /`domain`/],
    ]) {
      await failure(e2b({ apiKey: KEY, ...config }).sandbox.list(), InvalidArgumentError, { message })
    }
    const ruby = e2b({ apiKey: KEY, runtime: 'ruby' })
    await failure(ruby.sandbox.create(), InvalidArgumentError, { message: /`runtime`.*`ruby`/ })
  })

  test('is honoured, or refused by name', async () => {
    const { url, requests } = await serve(() => ({
      status: 201,
      body: { sandboxID: ID, envdVersion: '0.6.13' },
    }))
    const config = {
      apiKey: KEY,
      apiUrl: url,
      timeout: 1_001,
      templateId: 'mine',
      runtime: 'node',
      domain: 'a.example',
    }
    const box = await e2b(config).sandbox.create({
      network: 'none',
      envs: { A: 'b' },
      metadata: { user: 'u' },
    })
    assert.equal(box.sandboxId, ID)
    assert.equal(await box.getUrl({ port: 3000 }), `https://3000-${ID}.a.example`)
    assert.equal(await box.getUrl({ port: 80, protocol: 'ws' }), `ws://80-${ID}.a.example`)
    const [{ method, url: path, body, headers }] = requests
    assert.deepEqual([method, path, headers['x-api-key']], ['POST', '/sandboxes', KEY])
    assert.deepEqual(body, {
      templateID: 'mine',
      timeout: 2,
      secure: true,
      metadata: { user: 'u', 'computesdk.runtime': 'node' },
      envVars: { A: 'b' },
      allow_internet_access: false,
    })
    const { sandbox } = e2b(config)
    for (const [options, type, message] of [
      [{ resources: { cpus: 2 } }, UnsupportedError, /`resources.cpus`/],
      [{ resources: { memory: 2 ** 30 } }, UnsupportedError, /`resources.memory`/],
      [{ timeout: 0 }, UnsupportedError, /`timeout: 0`/],
      [{ metadata: { user: 1 } }, InvalidArgumentError, /`metadata.user` must be a string/],
      [{ metadata: { 'computesdk.id': 'x' } }, InvalidArgumentError, /reserved/],
      [{ sandboxId: 'a b' }, InvalidArgumentError, /`sandboxId`/],
      [{ runtime: 'ruby' }, InvalidArgumentError, /`runtime`/],
      [{ domain: 'http://x' }, InvalidArgumentError, /`domain`/],
    ]) {
      await failure(sandbox.create(options), type, { message, operation: 'create', provider: 'e2b' })
    }
    assert.equal(requests.length, 1)
  })
})

describe('what E2B answers', () => {
  test('is an error of its kind, with status and request', async () => {
    let now
    const { url } = await serve(() => now)
    const { sandbox } = e2b({ apiKey: KEY, apiUrl: url })
    const concurrent = 'you have reached the maximum number of concurrent E2B sandboxes (20)'
    for (const [status, message, type, words] of [
      [400, 'Timeout must be greater than 0', InvalidArgumentError, /Timeout must be greater/],
      [
        401,
        'Invalid API key',
        AuthenticationError,
        /^E2B authentication failed\. Please check your E2B_API_KEY/,
      ],
      [403, 'blocked', PermissionDeniedError, /blocked/],
      [404, "template 'base' not found", NotFoundError, /`code-interpreter-v1`/],
      [429, concurrent, QuotaExceededError, /quota exceeded.*\(20\)/],
      [429, 'Rate limit exceeded', RateLimitError, /Rate limit exceeded/],
      [500, 'no', UnavailableError, /no$/],
    ]) {
      now = { status, body: { code: status, message } }
      await failure(sandbox.create(), type, {
        message: words,
        status,
        requestId: 'request-1',
        provider: 'e2b',
        operation: 'create',
      })
    }
    now = { status: 429, headers: { 'retry-after': '120' }, body: '' }
    await failure(sandbox.create(), RateLimitError, { retryAfterMs: 120_000, retryable: true })
    now = { status: 502, body: '<!DOCTYPE html><html>Bad gateway</html>' }
    const error = await failure(sandbox.create(), UnavailableError, { message: /502 Bad Gateway/ })
    assert.doesNotMatch(inspect(error), /html/i)
    now = { status: 200, body: 'nonsense' }
    await failure(sandbox.create(), Error, { code: 'INTERNAL', status: 200 })
  })

  test('may be nothing at all', async () => {
    const { url } = await serve(() => {})
    const port = Number(new URL(url).port)
    const server = servers.pop()
    server.closeAllConnections()
    server.close()
    const error = await failure(e2b({ apiKey: KEY, apiUrl: url }).sandbox.list(), UnavailableError, {
      message: new RegExp(`cannot connect to 127\\.0\\.0\\.1:${port}: Connection refused`),
      retryable: true,
    })
    assert.equal(error.status, undefined)
    assert.ok(!('status' in error))
  })

  test('is not waited for after an abort, and what comes of it is ended', async () => {
    const [asked, ended] = [signalled(), signalled()]
    const { url } = await serve(async ({ method, url }) => {
      if (method === 'DELETE') {
        ended.resolve(url)
        return { status: 204 }
      }
      asked.resolve()
      await new Promise((done) => setTimeout(done, 200))
      return { status: 201, body: { sandboxID: ID, envdVersion: '0.6.13' } }
    })
    const controller = new AbortController()
    const made = e2b({ apiKey: KEY, apiUrl: url }).sandbox.create({ signal: controller.signal })
    await asked.promise
    controller.abort(new Error('enough'))
    const error = await failure(made, AbortError, { code: 'ABORTED' })
    assert.equal(error.cause.message, 'enough')
    assert.equal(await ended.promise, `/sandboxes/${ID}`)
  })
})

describe('a sandbox of E2B', () => {
  test('has the facts that E2B tells, and is put aside, kept and measured', async () => {
    let state = 'running'
    const { url, requests } = await serve(({ method, url }) => {
      if (url.endsWith('/pause')) state = 'paused'
      if (url.endsWith('/connect')) state = 'running'
      if (url.endsWith('/snapshots'))
        return { status: 201, body: { snapshotID: 'team/s:v1', names: ['team/s'] } }
      if (url.endsWith('/metrics')) {
        return {
          body: [
            {
              timestamp: new Date(0).toISOString(),
              cpuCount: 2,
              cpuUsedPct: 12.5,
              memUsed: 7,
              memTotal: 8,
              diskUsed: 1,
              diskTotal: 2,
            },
          ],
        }
      }
      if (method === 'POST') return { status: 200, body: { sandboxID: ID, envdAccessToken: 'hunter2' } }
      return {
        body: detail({
          state,
          metadata: { user: 'u', 'computesdk.id': 'mine', 'computesdk.runtime': 'python' },
        }),
      }
    })
    const box = await e2b({ apiKey: KEY, apiUrl: url, timeout: 7_000 }).sandbox.getById(ID)
    assert.equal(box.sandboxId, 'mine')
    const info = await box.getInfo()
    assert.deepEqual(
      { ...info, createdAt: undefined, expiresAt: undefined },
      {
        id: 'mine',
        provider: 'e2b',
        status: 'running',
        createdAt: undefined,
        timeout: info.timeout,
        expiresAt: undefined,
        metadata: { user: 'u' },
        runtime: 'python',
        limits: { enforcement: 'machine', memory: 512 * 1024 ** 2, disk: 1024 ** 3, cpus: 2 },
      },
    )
    assert.ok(Math.abs(info.timeout - 300_000) < 1_000)
    assert.ok(info.createdAt instanceof Date && info.expiresAt > new Date())

    await box.pause()
    const { status, reason } = await box.getInfo()
    assert.deepEqual([status, reason], ['stopped', 'paused'])
    await failure(box.extendTimeout(1_000), UnavailableError, { message: /paused/, hint: /resume/ })
    await box.resume()
    await box.resume({ timeout: 60_500 })
    assert.equal((await box.getInfo()).status, 'running')
    assert.deepEqual(await box.snapshot({ name: 's' }), { id: 'team/s:v1', names: ['team/s'] })
    assert.deepEqual(await box.getMetrics(), {
      measuredAt: new Date(0),
      cpus: 2,
      cpuPercent: 12.5,
      memoryUsed: 7,
      memoryTotal: 8,
      diskUsed: 1,
      diskTotal: 2,
    })
    const bodies = requests.filter(({ body }) => body).map(({ url, body }) => [url.split('/').pop(), body])
    assert.deepEqual(bodies, [
      ['pause', {}],
      ['connect', { timeout: 7 }],
      ['connect', { timeout: 61 }],
      ['snapshots', { name: 's' }],
    ])
    for (const call of [
      () => box.resume({ timeout: 0 }),
      () => box.resume({ tiemout: 1 }),
      () => box.snapshot({ name: 1 }),
    ]) {
      await failure(call(), InvalidArgumentError)
    }
  })

  test('is found by an id of yours, which nobody else can take', async () => {
    const { url, requests } = await serve(({ url }) =>
      url.startsWith('/v2/')
        ? { body: [detail({ metadata: { 'computesdk.id': 'mine' } })] }
        : { status: 204 },
    )
    const { sandbox } = e2b({ apiKey: KEY, apiUrl: url })
    await failure(sandbox.create({ sandboxId: 'mine' }), AlreadyExistsError, { message: /`mine`/ })
    await sandbox.destroy('mine')
    assert.deepEqual(
      requests.map(({ method, url }) => `${method} ${url.split('?')[0]}`),
      ['GET /v2/sandboxes', 'GET /v2/sandboxes', `DELETE /sandboxes/${ID}`],
    )
  })

  test('is null if there is none, and an error if nobody knows', async () => {
    let status = 404
    const { url } = await serve(({ url }) =>
      url.startsWith('/v2/')
        ? { body: [] }
        : { status, body: { code: status, message: 'Sandbox "x" doesn\'t exist' } },
    )
    const { sandbox } = e2b({ apiKey: KEY, apiUrl: url })
    assert.equal(await sandbox.getById(ID), null)
    assert.equal(await sandbox.getById('impossible id'), null)
    await sandbox.destroy(ID)
    await sandbox.destroy('never-was')
    status = 401
    await failure(sandbox.getById(ID), AuthenticationError, { message: /authentication failed/ })
    await failure(sandbox.destroy(ID), AuthenticationError, { sandboxId: ID })
  })
})

describe('snapshots', () => {
  test('are listed, all of them, and deleted', async () => {
    const { url, requests } = await serve(({ method, url }) => {
      if (method === 'DELETE') return { status: url.includes('none') ? 404 : 204 }
      if (url.includes('nextToken=two')) return { body: [{ snapshotID: 'b', names: [] }] }
      return { headers: { 'x-next-token': 'two' }, body: [{ snapshotID: 'a', names: ['n'] }] }
    })
    const { snapshots } = e2b({ apiKey: KEY, apiUrl: url })
    assert.deepEqual(await snapshots.list(), [
      { id: 'a', names: ['n'] },
      { id: 'b', names: [] },
    ])
    await snapshots.delete('team/s:v1')
    await snapshots.delete('none')
    assert.equal(requests.at(-2).url, '/templates/team%2Fs:v1')
    await failure(snapshots.delete(1), InvalidArgumentError)
    await failure(snapshots.delete('..'), InvalidArgumentError)
  })

  test('are refused by name where there are none', async () => {
    const { snapshots } = docker()
    await failure(snapshots.list(), UnsupportedError, {
      message: /`snapshots`.*`docker`/,
      provider: 'docker',
      operation: 'snapshots.list',
    })
    await failure(snapshots.delete('x'), UnsupportedError, { message: /`snapshots`.*`docker`/ })
  })
})
