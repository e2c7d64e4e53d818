// Sandboxes of E2B: made, found, listed, put aside, ended. The server is `tests/fakes/e2b`, whose sandboxes are real ones.

import assert from 'node:assert/strict'
import { describe } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'

import {
  AlreadyExistsError,
  AuthenticationError,
  compute,
  createCompute,
  e2b,
  InvalidArgumentError,
  NotFoundError,
  PermissionDeniedError,
  QuotaExceededError,
  RateLimitError,
  UnavailableError,
  UnsupportedError,
} from '../index.js'
import { accountAt, BLOCKED_KEY, e2bFake, KEY, UNKNOWN_KEY } from './fakes.mjs'
import { eventually, failure, freePort, output, test } from './support.mjs'

const fake = await e2bFake({ template: ['mine'], maxSandboxes: 200 })
const { sandbox } = e2b(fake.account)

/** The control plane, asked by somebody else. */
async function control(method, path, body) {
  const headers = { 'x-api-key': KEY, 'content-type': 'application/json' }
  const answer = await fetch(fake.url + path, { method, headers, body: body && JSON.stringify(body) })
  return answer.status === 204 ? undefined : answer.json()
}

/** What was asked for while something was done: methods and paths, without the id. */
async function calls(work) {
  const asked = await fake.asked(work)
  return asked.map(
    ({ method, path }) => `${method} ${path.split('?')[0].replace(/\/i[a-z0-9]{20}/, '/{id}')}`,
  )
}

describe('create', () => {
  test('honours what it is asked for', async () => {
    const before = Date.now()
    const one = await sandbox.create({
      templateId: 'mine',
      timeout: 90_500,
      runtime: 'python',
      envs: { A: 'of the sandbox', GONE: undefined },
      metadata: { user: 'u', 'a b': 'c&d=€' },
      network: 'full',
    })
    const info = await one.getInfo()
    assert.deepEqual(info.metadata, { user: 'u', 'a b': 'c&d=€' })
    assert.deepEqual([info.status, info.runtime, info.provider], ['running', 'python', 'e2b'])
    assert.equal(info.timeout, 91_000)
    assert.equal(info.expiresAt - info.createdAt, 91_000)
    assert.ok(Math.abs(info.createdAt - before) < 5_000)
    assert.equal((await control('GET', `/sandboxes/${one.sandboxId}`)).templateID, 'mine')
    assert.equal((await one.runCommand('echo "$A-$GONE"')).stdout, 'of the sandbox-\n')
    assert.equal((await one.runCode('x = 1; print(x)')).language, 'python')
    await one.destroy()
  })

  test('is one request, and the sandbox is ready when it is answered', async () => {
    let one
    assert.deepEqual(
      await calls(async () => {
        one = await sandbox.create()
      }),
      ['POST /sandboxes'],
    )
    assert.deepEqual(await calls(() => one.runCommand('true')), ['POST /process.Process/Start'])
    await one.destroy()
  })

  test('says whom to ask, and is asked with names of environment variables', async () => {
    const source = `
      const one = await c.compute.sandbox.create()
      console.log(one.provider, (await one.runCommand('echo on')).stdout.trim(), (await one.getUrl({ port: 80 })).split('.').slice(1).join('.'))
      await one.destroy()`
    const env = {
      COMPUTESDK_PROVIDER: 'e2b',
      ...accountAt(fake),
      E2B_DOMAIN: 'my.example',
    }
    assert.equal(await output(source, { env }), 'e2b on my.example\n')
  })

  test('takes a domain for the URLs of one sandbox', async () => {
    const one = await sandbox.create({ domain: 'other.example' })
    assert.equal(await one.getUrl({ port: 3000 }), `https://3000-${one.sandboxId}.other.example`)
    const two = await sandbox.create()
    assert.equal(await two.getUrl({ port: 3000, protocol: 'wss' }), `wss://3000-${two.sandboxId}.e2b.app`)
    await Promise.all([one.destroy(), two.destroy()])
  })

  test('names the template that is missing', async () => {
    const error = await failure(sandbox.create({ templateId: 'no-such' }), NotFoundError, {
      message: /`no-such`/,
      status: 404,
    })
    assert.match(error.hint, /template/)
  })

  test('refuses by name what E2B cannot do, and asks nobody', async () => {
    const refused = await calls(async () => {
      await failure(sandbox.create({ timeout: 0 }), UnsupportedError, { message: /`timeout: 0`/ })
      await failure(sandbox.create({ metadata: { n: 1 } }), InvalidArgumentError, { message: /`metadata.n`/ })
      await failure(sandbox.create({ resources: { cpus: 1 } }), UnsupportedError, { message: /cpus/ })
    })
    assert.deepEqual(refused, [])
  })
})

describe('create, when something is wrong', () => {
  const POST = { path: '/sandboxes', method: 'POST', service: 'control' }
  const refusal = (status, message, headers = {}) => ({
    answer: { status, headers, body: JSON.stringify({ code: status, message }) },
  })

  /** How many sandboxes came of a call, and how many requests it was. */
  async function made(rule, work) {
    const metadata = { attempt: String(Math.random()) }
    await fake.fault({ match: POST, ...rule })
    try {
      const requests = await calls(() => work(sandbox.create({ metadata })))
      const found = await sandbox.list({ metadata })
      await Promise.all(found.map((one) => one.destroy()))
      return { requests: requests.length, sandboxes: found.length }
    } finally {
      await fake.clearFaults()
    }
  }

  test('is repeated where E2B says that nothing was done', async () => {
    const busy = { count: 2, action: refusal(503, 'Failed to place sandbox') }
    assert.deepEqual(await made(busy, (create) => create), { requests: 3, sandboxes: 1 })
    const limited = { action: refusal(429, 'Rate limit exceeded', { 'retry-after': '1' }) }
    const begun = Date.now()
    assert.deepEqual(await made(limited, (create) => create), { requests: 2, sandboxes: 1 })
    assert.ok(Date.now() - begun >= 1_000)
  })

  test('is never repeated where it may have been done', async () => {
    const fails = (status) => (create) => failure(create, UnavailableError, { status })
    for (const status of [500, 502, 504]) {
      const rule = { count: 0, action: refusal(status, 'no') }
      assert.deepEqual(await made(rule, fails(status)), { requests: 1, sandboxes: 0 }, status)
    }
    const lost = (create) => failure(create, UnavailableError, { message: /^no answer from 127\.0\.0\.1/ })
    assert.deepEqual(await made({ processed: true, action: { close: {} } }, lost), {
      requests: 1,
      sandboxes: 1,
    })
  })

  test('is repeated until somebody listens', async () => {
    const port = await freePort()
    const url = `http://127.0.0.1:${port}`
    const created = e2b({ apiKey: KEY, apiUrl: url, sandboxUrl: url }).sandbox.create()
    await sleep(250)
    const late = await e2bFake({ port })
    assert.equal((await (await created).runCommand('echo on')).stdout, 'on\n')
    assert.equal((await late.stats()).byPath['POST /sandboxes'], 1)
    await late.stop()
  })

  test('tells a limit of requests from one of sandboxes', async () => {
    const few = await e2bFake({ maxSandboxes: 1 })
    const provider = e2b(few.account)
    const one = await provider.sandbox.create()
    await failure(provider.sandbox.create(), QuotaExceededError, {
      code: 'QUOTA_EXCEEDED',
      message: /quota exceeded.*maximum number of concurrent/,
      retryable: false,
      status: 429,
    })
    await one.destroy()
    await few.fault({ count: 0, action: refusal(429, 'Rate limit exceeded', { 'retry-after': '45' }) })
    await failure(provider.sandbox.create(), RateLimitError, { retryAfterMs: 45_000, retryable: true })
    await few.clearFaults()
    await failure(provider.sandbox.create({ timeout: 25 * 3_600_000 }), QuotaExceededError, {
      message: /quota exceeded.*24 hours/,
    })
    await few.stop()
  })

  test('falls back to another provider', async () => {
    const dead = `http://127.0.0.1:${await freePort()}`
    const down = e2b({ apiKey: KEY, apiUrl: dead, sandboxUrl: dead })
    const both = createCompute({ providers: [down, e2b(fake.account)] })
    const one = await both.sandbox.create()
    assert.equal((await one.getInfo()).status, 'running')
    await one.destroy()
  })
})

describe('an id of your own', () => {
  test('is the id everywhere, is found by it, and is taken', async () => {
    const one = await sandbox.create({ sandboxId: 'my-sandbox.1', metadata: { user: 'u' } })
    assert.equal(one.sandboxId, 'my-sandbox.1')
    assert.deepEqual(await one.getInfo().then(({ id, metadata }) => ({ id, metadata })), {
      id: 'my-sandbox.1',
      metadata: { user: 'u' },
    })
    assert.equal((await one.runCommand('true')).sandboxId, 'my-sandbox.1')
    await failure(sandbox.create({ sandboxId: 'my-sandbox.1' }), AlreadyExistsError, {
      message: /my-sandbox/,
    })
    await one.filesystem.writeFile('/tmp/mine', 'yes')
    const source = `
      const provider = c.e2b(${JSON.stringify(fake.account)})
      const found = await provider.sandbox.getById('my-sandbox.1')
      console.log(found.sandboxId, await found.filesystem.readFile('/tmp/mine'))
      await provider.sandbox.destroy('my-sandbox.1')`
    assert.equal(await output(source), 'my-sandbox.1 yes\n')
    assert.equal(await sandbox.getById('my-sandbox.1'), null)
    assert.equal((await one.getInfo()).status, 'stopped')
  })
})

describe('getById', () => {
  test('is null only if E2B says that there is none', async () => {
    assert.equal(await sandbox.getById('i0123456789abcdefghij'), null)
    assert.equal(await sandbox.getById('of mine'), null)
    const id = 'i0123456789abcdefghij'
    const by = (more) => e2b({ ...fake.account, ...more }).sandbox
    await failure(by({ apiKey: UNKNOWN_KEY }).getById(id), AuthenticationError, {
      message: /authentication failed/,
      status: 401,
    })
    await failure(by({ apiKey: BLOCKED_KEY }).getById(id), PermissionDeniedError, { status: 403 })
    const dead = `http://127.0.0.1:${await freePort()}`
    await failure(by({ apiUrl: dead }).getById(id), UnavailableError, { message: /Connection refused/ })
    await fake.fault({ count: 0, match: { method: 'GET' }, action: { answer: { status: 500 } } })
    await failure(sandbox.getById(id), UnavailableError, { status: 500 })
    await fake.clearFaults()
  })

  test('changes nothing about the sandbox', async () => {
    const one = await sandbox.create({ timeout: 60_000 })
    const { expiresAt } = await one.getInfo()
    assert.deepEqual(await calls(() => sandbox.getById(one.sandboxId)), ['GET /sandboxes/{id}'])
    assert.deepEqual((await one.getInfo()).expiresAt, expiresAt)
    await one.pause()
    const found = await sandbox.getById(one.sandboxId)
    assert.equal((await found.getInfo()).status, 'stopped')
    await one.destroy()
  })
})

describe('getInfo', () => {
  test('asks E2B', async () => {
    const one = await sandbox.create({ timeout: 60_000 })
    await control('POST', `/sandboxes/${one.sandboxId}/timeout`, { timeout: 600 })
    let info
    assert.deepEqual(
      await calls(async () => {
        info = await one.getInfo()
      }),
      ['GET /sandboxes/{id}'],
    )
    assert.ok(info.expiresAt - Date.now() > 590_000)
    await one.extendTimeout(60_000)
    assert.ok((await one.getInfo()).expiresAt - Date.now() > 650_000)
    await control('DELETE', `/sandboxes/${one.sandboxId}`)
    const { status, reason } = await one.getInfo()
    assert.deepEqual([status, reason], ['stopped', 'it was ended'])
  })
})

describe('destroy', () => {
  test('is one request, and never resumes', async () => {
    const [one, two] = await Promise.all([sandbox.create(), sandbox.create()])
    await two.pause()
    assert.deepEqual(await calls(() => one.destroy()), ['DELETE /sandboxes/{id}'])
    assert.deepEqual(await calls(() => sandbox.destroy(two.sandboxId)), ['DELETE /sandboxes/{id}'])
    assert.deepEqual(await calls(() => one.destroy()), [])
    assert.equal(await sandbox.getById(two.sandboxId), null)
  })

  test('fails where it is not known what came of it', async () => {
    const one = await sandbox.create()
    await failure(
      e2b({ ...fake.account, apiKey: UNKNOWN_KEY }).sandbox.destroy(one.sandboxId),
      AuthenticationError,
    )
    await fake.fault({ count: 0, match: { method: 'DELETE' }, action: { answer: { status: 500 } } })
    await failure(one.destroy(), UnavailableError, { status: 500, sandboxId: one.sandboxId })
    await fake.clearFaults()
    assert.equal((await one.getInfo()).status, 'running')
    await one.destroy()
    await sandbox.destroy('i0123456789abcdefghij')
  })
})

describe('list', () => {
  test('has all pages, and those that are asked for', async () => {
    const before = (await sandbox.list()).length
    const make = (n) => sandbox.create({ metadata: { parity: n % 2 ? 'odd' : 'even', 'n&': `=${n}` } })
    const all = []
    for (let n = 0; n < 120; n += 20) {
      all.push(...(await Promise.all(Array.from({ length: 20 }, (_, at) => make(n + at)))))
    }
    const listed = await sandbox.list()
    assert.equal(listed.length, before + 120)
    assert.equal(new Set(listed.map((one) => one.sandboxId)).size, before + 120)
    assert.equal((await sandbox.list({ metadata: { parity: 'odd' } })).length, 60)
    assert.deepEqual(
      (await sandbox.list({ metadata: { parity: 'odd', 'n&': '=7' } })).map((one) => one.sandboxId),
      [all[7].sandboxId],
    )
    await all[7].pause()
    assert.deepEqual(
      (await sandbox.list({ status: 'stopped' })).map((one) => one.sandboxId),
      [all[7].sandboxId],
    )
    assert.equal((await sandbox.list({ status: 'running' })).length, before + 119)
    assert.equal((await compute.sandbox.list(e2b(fake.account), { metadata: { parity: 'even' } })).length, 60)
    // What is listed can be used.
    const [found] = await sandbox.list({ metadata: { 'n&': '=9' } })
    assert.equal((await found.runCommand('echo on')).stdout, 'on\n')
    for (let n = 0; n < 120; n += 20) await Promise.all(all.slice(n, n + 20).map((one) => one.destroy()))
  })
})

describe('the end of a sandbox', () => {
  test('is told by what ended it', async () => {
    const [expired, killed, paused, mine] = await Promise.all([
      sandbox.create({ timeout: 1_000 }),
      sandbox.create(),
      sandbox.create(),
      sandbox.create(),
    ])
    await control('DELETE', `/sandboxes/${killed.sandboxId}`)
    await control('POST', `/sandboxes/${paused.sandboxId}/pause`, {})
    await mine.destroy()
    const run = (one) => one.runCommand('true')
    await failure(run(killed), NotFoundError, {
      message: /is gone: it was ended/,
      sandboxId: killed.sandboxId,
    })
    await failure(run(paused), UnavailableError, { message: /is paused/, hint: /resume/, retryable: false })
    await failure(run(mine), NotFoundError, { message: /is gone: it was destroyed/ })
    await eventually('it has expired', async () => !(await sandbox.getById(expired.sandboxId)))
    await failure(run(expired), NotFoundError, { message: /is gone: its time was over/ })
    assert.equal((await expired.getInfo()).reason, 'its time was over (timeout: 1000 ms)')
    // The same is said about files, terminals and code.
    for (const call of [
      () => killed.filesystem.readFile('/etc/hostname'),
      () => killed.filesystem.writeFile('/tmp/x', 'x'),
      () => killed.filesystem.readdir('/tmp'),
      () => killed.terminal.create(),
      () => killed.runCode('print(1)'),
      () => killed.extendTimeout(1_000),
      () => killed.pause(),
    ]) {
      await failure(call(), NotFoundError, { message: /is gone: it was ended/ })
    }
    await paused.destroy()
  })
})

describe('a sandbox that is put aside', () => {
  test('keeps its files, and comes back where asked for and nowhere else', async () => {
    const one = await sandbox.create({ metadata: { kept: 'yes' } })
    await one.filesystem.writeFile('/home/user/kept', 'still here')
    await one.pause()
    await one.pause()
    assert.equal((await one.getInfo()).reason, 'paused')
    for (const call of [
      () => one.runCommand('true'),
      () => one.filesystem.readFile('/home/user/kept'),
      () => one.extendTimeout(1_000),
      () => one.terminal.create(),
    ]) {
      await failure(call(), UnavailableError, { message: /paused/ })
    }
    assert.equal(await one.filesystem.exists('/home/user/kept'), false)
    assert.equal((await one.getInfo()).status, 'stopped')
    await one.resume({ timeout: 120_000 })
    assert.equal(await one.filesystem.readFile('/home/user/kept'), 'still here')
    const { status, expiresAt } = await one.getInfo()
    assert.equal(status, 'running')
    assert.ok(expiresAt - Date.now() > 110_000)
    await one.destroy()
  })

  test('is what others are made from', async () => {
    const provider = e2b(fake.account)
    const one = await sandbox.create()
    await one.filesystem.writeFile('/home/user/packages', 'installed')
    const snapshot = await one.snapshot({ name: 'with-packages' })
    assert.deepEqual(snapshot.names.length, 1)
    const two = await sandbox.create({ templateId: snapshot.id })
    assert.equal(await two.filesystem.readFile('/home/user/packages'), 'installed')
    assert.ok((await provider.snapshots.list()).some(({ id }) => id === snapshot.id))
    await two.destroy()
    await provider.snapshots.delete(snapshot.id)
    assert.ok(!(await provider.snapshots.list()).some(({ id }) => id === snapshot.id))
    await one.destroy()
  })

  test('was measured while it ran', async () => {
    const one = await sandbox.create()
    const metrics = await one.getMetrics()
    assert.ok(metrics.memoryTotal > metrics.memoryUsed && metrics.cpus >= 1, JSON.stringify(metrics))
    assert.ok(Math.abs(metrics.measuredAt - Date.now()) < 10_000)
    await one.pause()
    await failure(one.getMetrics(), UnavailableError, { message: /measured|paused/ })
    await one.destroy()
  })
})
