// What the request handler sends as it happens: the events, their order and their bounds, and what ends with a client.

import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { request as ask, createServer } from 'node:http'
import { after, before, describe } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'

import ts from 'typescript'

import { createComputeHandler, handleComputeRequest, local, toNodeHandler } from '../index.js'
import { eventually, sandbox, test } from './support.mjs'
import { eventsOf, post, told } from './web.mjs'

const provider = local()
const accept = { accept: 'text/event-stream' }
const MIB = 2 ** 20

let box
before(async () => {
  box = await sandbox()
})

const command = (command, more) => ({
  action: 'compute.sandbox.runCommand',
  sandboxId: box.sandboxId,
  command,
  ...more,
})

const code = (code, more) => ({ action: 'compute.sandbox.runCode', sandboxId: box.sandboxId, code, ...more })

/** The response to a body whose sender takes events. */
const streamed = (body, options, init) =>
  createComputeHandler({ provider, ...options })(post(body, { headers: accept, ...init }))

const all = async (response) => {
  const events = []
  for await (const event of eventsOf(response)) events.push(event)
  return events
}

const textOf = (events, name) =>
  events
    .filter(({ event }) => event === name)
    .map(({ data }) => data.text)
    .join('')

/** How many processes of the sandbox have this line. */
const count = async (line) => Number((await box.runCommand(`pgrep -fcx '${line}'`)).stdout)

describe('events', () => {
  test('tell output as it comes, and then the whole answer', async () => {
    const response = await streamed(
      command('echo first; until [ -e /tmp/on ]; do sleep 0.02; done; echo second >&2'),
    )
    assert.deepEqual([response.status, response.headers.get('content-type')], [200, 'text/event-stream'])
    assert.equal(response.headers.get('cache-control'), 'no-store, no-transform')
    const events = eventsOf(response)
    assert.deepEqual((await events.next()).value, { event: 'stdout', data: { text: 'first\n' } })
    // It waits for this: so the event has come before the command was over.
    await box.filesystem.writeFile('/tmp/on', '')
    assert.deepEqual((await events.next()).value, { event: 'stderr', data: { text: 'second\n' } })
    const { event, data } = (await events.next()).value
    const { result, ...about } = data
    assert.deepEqual(
      [event, about],
      ['result', { success: true, sandboxId: box.sandboxId, provider: 'local', status: 200 }],
    )
    assert.deepEqual([result.stdout, result.stderr, result.exitCode], ['first\n', 'second\n', 0])
    assert.equal((await events.next()).done, true)
  })

  test('tell of code as of commands, and a non-zero exit is a result', async () => {
    const events = await all(
      await streamed(code('import sys; print("on"); sys.exit(3)', { runtime: 'python' })),
    )
    assert.equal(textOf(events, 'stdout'), 'on\n')
    const { event, data } = events.at(-1)
    assert.deepEqual([event, data.result.exitCode, data.result.language], ['result', 3, 'python'])
  })

  test('a command that says nothing is answered before it is over', async () => {
    const events = eventsOf(await streamed(command('until [ -e /tmp/silent ]; do sleep 0.02; done')))
    assert.ok((await events.next()).value.comment)
    await box.filesystem.writeFile('/tmp/silent', '')
    assert.equal((await events.next()).value.event, 'result')
  })

  test('never split a character, and lose none', async () => {
    const line = 'aé€😀\r\n: "data"\u2028'
    const source = `import sys, time
data = ${JSON.stringify(line)}.encode() * 50
for at in range(0, len(data), 3):
    sys.stdout.buffer.write(data[at:at+3]); sys.stdout.buffer.flush(); time.sleep(0.002)`
    const events = await all(await streamed(code(source, { runtime: 'python' })))
    assert.equal(textOf(events, 'stdout'), line.repeat(50))
    assert.ok(events.length > 10, 'it came in pieces')
  })

  test('output ends at its limit, between characters, and the result tells it', async () => {
    const events = await all(
      await streamed(command("printf 'é%.0s' $(seq 100); printf 'b%.0s' $(seq 100) >&2"), {
        limits: { output: 99 },
      }),
    )
    assert.equal(textOf(events, 'stdout'), 'é'.repeat(49))
    assert.equal(textOf(events, 'stderr'), 'b'.repeat(99))
    const { result } = events.at(-1).data
    assert.deepEqual([result.truncated, result.stdout, result.exitCode], [true, 'é'.repeat(49), 0])
  })

  test('a time that is over is a result', async () => {
    const events = await all(await streamed(command('echo on; sleep 99'), { limits: { action: 1000 } }))
    const { result } = events.at(-1).data
    assert.deepEqual([events.at(-1).event, result.timedOut, result.exitCode], ['result', true, 124])
  })

  test('what fails after it has begun is an error event, with what would have been the answer', async () => {
    const errors = []
    const other = await sandbox()
    const body = { ...command('echo on; sleep 99'), sandboxId: other.sandboxId }
    const events = eventsOf(await streamed(body, { onError: (error) => errors.push(error) }))
    assert.equal((await events.next()).value.data.text, 'on\n')
    await other.destroy()
    const { event, data } = (await events.next()).value
    assert.deepEqual([event, data.success, data.sandboxId], ['error', false, other.sandboxId])
    assert.ok(data.status >= 400 && typeof data.code === 'string', JSON.stringify(data))
    assert.equal((await events.next()).done, true)
    assert.equal(errors.length, 1)
  })
})

describe('what is answered at once', () => {
  test('failures before the start, and all other actions, are JSON with their status', async () => {
    for (const [status, body] of [
      [400, command('')],
      [400, { action: 'compute.sandbox.explode' }],
      [400, '{'],
      [404, { ...command('true'), sandboxId: 'sbx_0' }],
      [404, command('true', { commandOptions: { cwd: '/nowhere' } })],
      [422, code('def f(:', { runtime: 'python' })],
      [200, command('sleep 1', { commandOptions: { background: true } })],
      [200, { action: 'compute.sandbox.getInfo', sandboxId: box.sandboxId }],
    ]) {
      const answer = await told(await streamed(body))
      assert.deepEqual([answer.status, answer.body.status], [status, status], JSON.stringify(body))
      assert.equal(answer.headers.get('content-type'), 'application/json')
    }
    const refused = await told(await streamed(command('true'), { authorize: () => false }))
    assert.equal(refused.status, 403)
    // Somebody else's sandbox is no sandbox, streamed or not.
    const foreign = await told(await streamed(command('true'), { authorize: () => 'bob' }))
    assert.deepEqual([foreign.status, foreign.body.code], [404, 'NOT_FOUND'])
    const site = { ...accept, origin: 'https://evil.example' }
    const handler = createComputeHandler({ provider })
    assert.equal((await told(await handler(post(command('true'), { headers: site })))).status, 403)
  })

  test('a parsed body is answered with an object, whatever it asks for', async () => {
    const answer = await handleComputeRequest({ request: command('echo on'), provider })
    assert.equal(answer.result.stdout, 'on\n')
  })
})

describe('clients that go', () => {
  let server
  let url
  before(async () => {
    server = createServer(toNodeHandler(createComputeHandler({ provider, limits: { output: 400 * MIB } })))
    await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve))
    url = `http://127.0.0.1:${server.address().port}/`
  })
  after(() => {
    server.closeAllConnections()
    server.close()
  })

  /** A response as it comes, with its socket. */
  const open = (body) =>
    new Promise((resolve, reject) => {
      const headers = { ...accept, 'content-type': 'application/json' }
      const request = ask(url, { method: 'POST', headers, agent: false }, resolve)
      request.on('error', reject).end(JSON.stringify(body))
    })

  test('a reader that cancels ends the command and all that came of it', async () => {
    for (let round = 0; round < 20; round += 1) {
      const response = await streamed(command('sleep 6001 & echo on; sleep 6001'))
      const reader = response.body.getReader()
      await reader.read()
      // In every other round while a piece is waited for.
      const waited = round % 2 === 0 ? reader.read() : undefined
      await reader.cancel()
      await waited
      await eventually('it has ended', async () => (await count('sleep 6001')) === 0)
    }
  })

  test('a client that hangs up in the middle of a stream ends the command', async () => {
    for (const body of [
      command('sleep 6002 & echo on; sleep 6002'),
      code('import os; print("on", flush=True); os.system("sleep 6002")', { runtime: 'python' }),
    ]) {
      const response = await open(body)
      await new Promise((resolve) => response.once('data', resolve))
      await eventually('it runs', async () => (await count('sleep 6002')) > 0)
      response.destroy()
      await eventually('it has ended', async () => (await count('sleep 6002')) === 0)
    }
  })

  test('the signal of the request ends it, too', async () => {
    const gone = new AbortController()
    const response = await streamed(command('echo on; sleep 6003'), {}, { signal: gone.signal })
    const reader = response.body.getReader()
    await reader.read()
    gone.abort()
    await eventually('it has ended', async () => (await count('sleep 6003')) === 0)
    await reader.read()
  })

  test('who goes is on record, whether it has read or not', async () => {
    for (const leave of [
      async (response) => response.body.cancel(),
      async (response) => {
        const reader = response.body.getReader()
        await reader.read()
        await reader.cancel()
      },
      async (_response, gone) => gone.abort(),
    ]) {
      const [traces, errors, gone] = [[], [], new AbortController()]
      const options = {
        onAnswer: (trace) => void traces.push(trace),
        onError: (error) => void errors.push(error),
      }
      // It writes more than anybody reads.
      const body = command('yes', { args: ['6005'] })
      await leave(await streamed(body, options, { signal: gone.signal }), gone)
      await eventually('it is told', () => traces.length > 0)
      const { durationMs, ...trace } = traces[0]
      assert.deepEqual(
        [traces.length, JSON.parse(JSON.stringify(trace))],
        [1, { action: body.action, sandboxId: box.sandboxId, status: 499 }],
      )
      assert.deepEqual([errors.length, errors[0].code], [1, 'ABORTED'])
      await eventually('it has ended', async () => (await count('yes 6005')) === 0)
    }
  })

  test('a client that reads drop by drop holds the command up, and not the memory', async () => {
    const before = process.memoryUsage().rss
    const response = await open(command(`head -c ${300 * MIB} /dev/zero | tr '\\0' a`))
    response.pause()
    /** Bytes that it has written so far. */
    const written = async () => {
      response.read(1000)
      const { stdout } = await box.runCommand("cat /proc/$(pgrep -fx 'tr .*0 a')/io")
      return Number(/wchar: (\d+)/.exec(stdout)?.[1])
    }
    let last = 0
    await eventually('it waits', async () => {
      await sleep(1000)
      const now = await written()
      const [waits, from] = [now === last, last]
      last = now
      return waits && from > 0
    })
    const more = process.memoryUsage().rss - before
    // What lies in the buffers of sockets and pipes, and as much again as JSON.
    assert.ok(last < 24 * MIB, `${last} bytes were written`)
    assert.ok(more < 64 * MIB, `${more} bytes more`)
    response.destroy()
    await eventually('it has ended', async () => (await count('tr .*0 a')) === 0)
  })

  test('a client that reads nothing keeps no command for longer than an action may take', async () => {
    const response = await streamed(command('yes', { args: ['6006'] }), { limits: { action: 1000 } })
    await eventually('it has ended', async () => (await count('yes 6006')) === 0)
    const { event, data } = (await all(response)).at(-1)
    assert.deepEqual([event, data.result.timedOut], ['result', true])
  })

  test('the recipe of docs/handler.md tells them, and ends the command of a loop that is left', async () => {
    const text = readFileSync(new URL('../docs/handler.md', import.meta.url), 'utf8')
    const [source] = /async function\* run\([\s\S]*?\n}\n/.exec(text)
    const options = { target: ts.ScriptTarget.ES2022 }
    const fetchHere = (_path, init) => fetch(url, init)
    const run = new Function('fetch', `${ts.transpile(source, options)}; return run`)(fetchHere)
    const seen = []
    for await (const { event, data } of run(command('echo é; sleep 0.2; echo on >&2; exit 3'))) {
      seen.push([event, data.text ?? data.result.exitCode])
    }
    assert.deepEqual(seen, [
      ['stdout', 'é\n'],
      ['stderr', 'on\n'],
      ['result', 3],
    ])
    for await (const { event, data } of run({ ...command('true'), sandboxId: 'sbx_0' })) {
      assert.deepEqual([event, data.status], ['error', 404])
    }
    for await (const { event } of run(command('echo on; sleep 6004'))) {
      assert.equal(event, 'stdout')
      await eventually('it runs', async () => (await count('sleep 6004')) > 0)
      break
    }
    await eventually('it has ended', async () => (await count('sleep 6004')) === 0)
  })

  test('a slow client gets all of it in the end', async () => {
    const response = await open(command("head -c 3000000 /dev/zero | tr '\\0' a"))
    let length = 0
    for await (const piece of response) {
      length += piece.length
      await sleep(1)
    }
    assert.ok(length > 6_000_000, `${length} bytes`)
  })
})
