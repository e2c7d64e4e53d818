// What a stranger may cost the request handler: sizes without measure, what is the server's own, and clients that go.

import assert from 'node:assert/strict'
import { connect } from 'node:net'
import { after, before, describe } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'

import { handleComputeRequest, local } from '../index.js'
import { eventually, output, test } from './support.mjs'
import { answered, post, run, serve, told } from './web.mjs'

const provider = local()
const create = { action: 'compute.sandbox.create' }
const KIB = 1024
const MIB = KIB * KIB

/** What a body is answered with. */
const ask = async (body, options) => (await answered(post(body), { provider, ...options })).body

describe('sizes', () => {
  test('a body of 10 MB is not read to its end', async () => {
    let pulled = 0
    let cancelled = false
    const endless = new ReadableStream(
      {
        pull(controller) {
          pulled += 64 * KIB
          controller.enqueue(new Uint8Array(64 * KIB).fill(32))
          if (pulled >= 10_000_000) controller.close()
        },
        cancel() {
          cancelled = true
        },
      },
      { highWaterMark: 0 },
    )
    // It says that it is small.
    const { status, body } = await answered(post(endless, { headers: { 'content-length': '2' } }), {
      provider,
    })
    assert.deepEqual([status, body.code], [413, 'TOO_LARGE'])
    assert.ok(pulled < 5 * MIB, `${pulled} bytes were read`)
    await eventually('it was told to stop', () => cancelled)
  })

  test('over HTTP: with a length, in chunks without one, in chunks of a byte', async () => {
    const server = await serve((request) => handleComputeRequest({ request, provider }))
    try {
      const body = JSON.stringify({ ...create, content: 'a'.repeat(10_000_000) })
      const headers = { 'content-type': 'application/json' }
      const whole = await fetch(server.url, { method: 'POST', headers, body })
      assert.equal(whole.status, 413)
      const stream = new Blob([body]).stream()
      const chunked = await fetch(server.url, { method: 'POST', headers, body: stream, duplex: 'half' })
      assert.equal(chunked.status, 413)
      const bytes = [...JSON.stringify(create)].map((byte) => `1\r\n${byte}\r\n`).join('')
      const answer = await exchange(
        server.port,
        `POST / HTTP/1.1\r\nhost: a\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\nconnection: close\r\n\r\n${bytes}0\r\n\r\n`,
      )
      assert.match(answer, /^HTTP\/1.1 200 OK/)
      assert.deepEqual(server.errors, [])
    } finally {
      await server.close()
    }
  })

  test('a body that never comes to its end', async () => {
    const never = () => new ReadableStream({ start: (controller) => controller.enqueue(Buffer.from('{')) })
    const late = await answered(post(never()), { provider, limits: { action: 100 } })
    assert.deepEqual([late.status, late.body.code], [408, 'BODY_TIMEOUT'])
    const gone = new AbortController()
    const answer = answered(post(never(), { signal: gone.signal }), { provider })
    setTimeout(() => gone.abort(), 50)
    assert.equal((await answer).status, 499)
    const broken = new ReadableStream({ start: (controller) => controller.error(new Error('reset')) })
    assert.equal((await answered(post(broken), { provider })).status, 499)
    const headers = new Map([['content-type', 'application/json']])
    for (const [status, text] of [
      [408, () => new Promise(() => {})],
      [499, () => Promise.reject(new Error('reset'))],
      [413, async () => ' '.repeat(5 * MIB)],
    ]) {
      const request = { method: 'POST', url: '/', headers, json: text, text }
      assert.equal((await answered(request, { provider, limits: { action: 100 } })).status, status)
    }
  })

  test('JSON that is nested deeply, in both forms', async () => {
    const deep = (depth) =>
      `{"action":"compute.sandbox.create","args":${'['.repeat(depth)}${']'.repeat(depth)}}`
    for (const depth of [40, 5000, 1_000_000]) {
      const { status, body } = await answered(post(deep(depth)), { provider })
      assert.deepEqual([status, body.success], [400, false])
    }
    for (const depth of [40, 5000, 100_000]) {
      const answer = await handleComputeRequest({ request: JSON.parse(deep(depth)), provider })
      assert.deepEqual([answer.status, answer.success], [400, false])
    }
  })

  test('huge commands, codes, arguments and metadata', async () => {
    const { sandboxId } = await ask(create)
    const large = 'a'.repeat(256 * KIB + 1)
    const argument = 'a'.repeat(128 * KIB)
    for (const [status, body] of [
      [413, run(sandboxId, large)],
      [413, { action: 'compute.sandbox.runCode', sandboxId, code: large }],
      [400, run(sandboxId, 'echo', { args: Array(1025).fill('a') })],
      [400, run(sandboxId, 'echo', { args: [argument] })],
      [400, run(sandboxId, 'echo', { args: Array(20).fill('a'.repeat(120 * KIB)) })],
      [400, run(sandboxId, 'echo', { commandOptions: { env: { A: argument } } })],
      [400, { ...create, options: { metadata: { a: 'b'.repeat(4096) } } }],
    ]) {
      const answer = await ask(body)
      assert.deepEqual([answer.status, answer.success], [status, false])
      assert.ok(JSON.stringify(answer).length < 1000)
    }
    const { result } = await ask(run(sandboxId, 'echo', { args: Array(1024).fill('a') }))
    assert.equal(result.stdout.length, 2048)
  })

  test('output, and a file that is read', async () => {
    const { sandboxId } = await ask(create)
    const { result } = await ask(run(sandboxId, "head -c 20000000 /dev/zero | tr '\\0' a"))
    assert.deepEqual([result.stdout.length, result.truncated, result.exitCode], [MIB, true, 0])
    await ask(run(sandboxId, 'head -c 20000000 /dev/zero > /tmp/large'))
    const answer = await ask({ action: 'compute.sandbox.filesystem.readFile', sandboxId, path: '/tmp/large' })
    assert.deepEqual([answer.status, answer.code], [400, 'INVALID_ARGUMENT'])
  })
})

describe("what is the server's own", () => {
  test('all descriptors of the server, one by a port', async () => {
    const { sandboxId } = await ask(create)
    const urlOf = (port) => ask({ action: 'compute.sandbox.getUrl', sandboxId, port })
    const { url } = await urlOf(1)
    for (let port = 2; port <= 256; port++) assert.equal((await urlOf(port)).status, 200)
    const answer = await urlOf(257)
    assert.deepEqual([answer.status, answer.code], [429, 'QUOTA_EXCEEDED'])
    assert.equal((await urlOf(1)).url, url)
  })

  test('memory of the server, by commands in the background that write', async () => {
    const grown = await output(`
      const handler = c.createComputeHandler({ provider: c.local() })
      const headers = { 'content-type': 'application/json' }
      const ask = async (body) =>
        (await handler(new Request('http://a/', { method: 'POST', headers, body: JSON.stringify(body) }))).json()
      const { sandboxId } = await ask({ action: 'compute.sandbox.create' })
      const run = (command, commandOptions) =>
        ask({ action: 'compute.sandbox.runCommand', sandboxId, command, commandOptions })
      const before = process.memoryUsage().rss
      const writes = 'head -c 2000000 /dev/zero; head -c 2000000 /dev/zero >&2; exec sleep 654'
      for (let at = 0; at < 60; at++) await run(writes, { background: true })
      await run('until [ $(pgrep -cfx "sleep 654") = 60 ]; do sleep 0.1; done')
      console.log((process.memoryUsage().rss - before) / 2 ** 20)
      process.exit()`)
    assert.ok(Number(grown) < 100, `${grown} MiB`)
  })
})

describe('clients that go', () => {
  let server
  let sandboxId
  before(async () => {
    server = await serve((request) => handleComputeRequest({ request, provider }))
    sandboxId = (await ask(create)).sandboxId
  })
  after(() => server.close())

  /** How many processes there are in the sandbox whose line is this one. */
  const count = async (line) => {
    const box = await provider.sandbox.getById(sandboxId)
    return Number((await box.runCommand(`pgrep -fcx '${line}'`)).stdout)
  }

  test('one that hangs up in the middle of a command has ended it', async () => {
    for (const [line, body] of [
      ['sleep 5001', run(sandboxId, 'sleep 5001 & sleep 5001')],
      [
        'sleep 5002',
        { action: 'compute.sandbox.runCode', sandboxId, code: 'import os; os.system("sleep 5002")' },
      ],
    ]) {
      const gone = new AbortController()
      const headers = { 'content-type': 'application/json' }
      const answer = fetch(server.url, {
        method: 'POST',
        headers,
        body: JSON.stringify(body),
        signal: gone.signal,
      })
      answer.catch(() => {})
      await eventually('it runs', async () => (await count(line)) > 0)
      gone.abort()
      await eventually('it has ended', async () => (await count(line)) === 0)
    }
  })

  test('one that has gone before it was heard gets nothing done', async () => {
    const left = (await provider.sandbox.list()).length
    const { status } = await answered(post(create, { signal: AbortSignal.abort() }), { provider })
    assert.equal(status, 499)
    assert.equal((await provider.sandbox.list()).length, left)
  })

  test('one that goes while it is asked for', async () => {
    const gone = new AbortController()
    const authorize = async () => {
      gone.abort()
      await sleep(20)
      return true
    }
    const left = (await provider.sandbox.list()).length
    const { status } = await answered(post(create, { signal: gone.signal }), { provider, authorize })
    assert.equal(status, 499)
    await sleep(100)
    assert.equal((await provider.sandbox.list()).length, left)
  })

  test('the signal of a request is let go of', async () => {
    const { signal } = new AbortController()
    let listening = 0
    const { addEventListener, removeEventListener } = signal
    signal.addEventListener = (...args) => {
      listening += 1
      return addEventListener.apply(signal, args)
    }
    signal.removeEventListener = (...args) => {
      listening -= 1
      return removeEventListener.apply(signal, args)
    }
    const request = post({ action: 'compute.sandbox.getInfo', sandboxId })
    Object.defineProperty(request, 'signal', { value: signal })
    assert.equal((await told(await handleComputeRequest({ request, provider }))).status, 200)
    assert.equal(listening, 0)
  })

  test('a hundred at once are all served', async () => {
    const headers = { 'content-type': 'application/json' }
    const answers = await Promise.all(
      Array.from({ length: 100 }, async (_, number) => {
        const body = JSON.stringify(run(sandboxId, `echo ${number}`))
        return (await fetch(server.url, { method: 'POST', headers, body })).json()
      }),
    )
    assert.deepEqual(
      answers.map(({ result }) => result?.stdout),
      answers.map((_, number) => `${number}\n`),
    )
    assert.deepEqual(server.errors, [])
  })
})

/** All that comes back for what is sent over one connection. */
function exchange(port, text) {
  return new Promise((resolve, reject) => {
    let got = ''
    const socket = connect(port, '127.0.0.1', () => socket.write(text))
    socket.setEncoding('utf8').on('data', (piece) => {
      got += piece
    })
    socket.on('end', () => resolve(got)).on('error', reject)
  })
}
