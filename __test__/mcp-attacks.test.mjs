// `computesdk mcp` and a client that means harm, or knows no better: what is no message, comes at the wrong time, or too
// much of it.

import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { PassThrough } from 'node:stream'
import { setTimeout as sleep } from 'node:timers/promises'

import { connect } from '../door/mcp/lines.js'
import { Slots } from '../door/mcp/slots.js'
import { eventually, ROOT, start, test } from './support.mjs'

const BIN = join(ROOT, 'bin/computesdk.js')
const HELLO = { protocolVersion: '2025-11-25', capabilities: {}, clientInfo: { name: 'x', version: '1' } }

/** A server, spoken to in lines. */
function server() {
  const { child, ended, pid } = start(process.execPath, [BIN, 'mcp'], { timeout: 110_000 })
  const got = []
  let rest = ''
  child.stdout.on('data', (text) => {
    const lines = (rest + text).split('\n')
    rest = lines.pop()
    // Standard output has nothing but the protocol.
    for (const line of lines) got.push(JSON.parse(line))
  })
  const raw = (line) => child.stdin.write(line)
  const send = (message) => raw(`${JSON.stringify(message)}\n`)
  const answer = (id) =>
    eventually(`an answer to ${JSON.stringify(id)}`, () => got.find((message) => message.id === id), 60_000)
  const ask = (id, method, params) => {
    send({ jsonrpc: '2.0', id, method, params })
    return answer(id)
  }
  const call = (id, name, input) => ask(id, 'tools/call', { name, arguments: input })
  const end = async () => {
    child.stdin.end()
    const { code, stderr } = await ended
    assert.deepEqual([code, stderr], [0, ''])
  }
  return { child, pid, got, raw, send, ask, answer, call, end, gone: ended }
}

/** One that has been greeted. */
async function greeted(version = HELLO.protocolVersion) {
  const on = server()
  const { result } = await on.ask('hello', 'initialize', { ...HELLO, protocolVersion: version })
  on.send({ jsonrpc: '2.0', method: 'notifications/initialized' })
  return { ...on, version: result.protocolVersion }
}

test('the version is the one that was asked for, or the newest', async () => {
  for (const [asked, given] of [
    ['2025-11-25', '2025-11-25'],
    ['2025-06-18', '2025-06-18'],
    ['2025-03-26', '2025-03-26'],
    ['2024-11-05', '2024-11-05'],
    ['2099-01-01', '2025-11-25'],
    ['', '2025-11-25'],
  ]) {
    const on = await greeted(asked)
    assert.equal(on.version, given)
    await on.end()
  }
})

test('before it was greeted it answers pings alone, and it is greeted once', async () => {
  const on = server()
  assert.deepEqual((await on.ask(1, 'ping')).result, {})
  for (const [id, method] of [
    [2, 'tools/list'],
    [3, 'tools/call'],
    [4, 'nonsense'],
  ]) {
    assert.deepEqual((await on.ask(id, method)).error, {
      code: -32600,
      message: '`initialize` must come first',
    })
  }
  assert.equal((await on.ask(5, 'initialize', { protocolVersion: 7 })).error.code, -32602)
  assert.equal((await on.ask(6, 'initialize', HELLO)).result.protocolVersion, HELLO.protocolVersion)
  assert.equal((await on.ask(7, 'initialize', HELLO)).error.code, -32600)
  await on.end()
})

test('what is no message is refused, and the next one is taken', async () => {
  const on = await greeted()
  const lines = [
    ['{"jsonrpc":"2.0","id":1,"method":"ping"', -32700],
    ['not json', -32700],
    [Buffer.from([0x22, 0xff, 0xfe, 0x22]), -32700],
    ['[]', -32600],
    ['[{"jsonrpc":"2.0","id":1,"method":"ping"}]', -32600],
    ['null', -32600],
    ['"ping"', -32600],
    ['7', -32600],
    ['{"id":9,"method":"ping"}', -32600],
    ['{"jsonrpc":"1.0","id":9,"method":"ping"}', -32600],
    ['{"jsonrpc":"2.0","id":9,"method":7}', -32600],
    ['{"jsonrpc":"2.0","id":9,"method":"ping","params":7}', -32600],
    ['{"jsonrpc":"2.0","id":9}', -32600],
    ['{"jsonrpc":"2.0","id":null,"method":"ping"}', -32600],
    ['{"jsonrpc":"2.0","id":{},"method":"ping"}', -32600],
    ['{"jsonrpc":"2.0","id":1.5,"method":"ping"}', -32600],
  ]
  for (const [line, code] of lines) {
    const before = on.got.length
    on.raw(line)
    on.raw('\r\n')
    const message = await eventually(`${line}`, () => on.got[before])
    assert.equal(message.error?.code, code, `${line}: ${JSON.stringify(message)}`)
    assert.ok(message.id === null || message.id === 9)
  }
  const before = on.got.length
  // An answer, a notice and an empty line ask for nothing.
  on.raw('{"jsonrpc":"2.0","id":9,"result":{}}\n\n{"jsonrpc":"2.0","method":"notifications/odd"}\n')
  on.raw('{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":"nobody"}}\n')
  assert.deepEqual((await on.ask('last', 'ping')).result, {})
  assert.equal(on.got.length, before + 1)
  await on.end()
})

test('methods, tools and pages that there are not are refused', async () => {
  const on = await greeted()
  for (const [id, method, params, code] of [
    [1, 'resources/list', undefined, -32601],
    [2, '__proto__', undefined, -32601],
    [3, 'x'.repeat(1_000_000), undefined, -32601],
    [4, 'tools/list', { cursor: 'x' }, -32602],
    [5, 'tools/call', undefined, -32602],
    [6, 'tools/call', { name: 'constructor' }, -32602],
    [7, 'tools/call', { name: { toString: 1 } }, -32602],
    [8, 'tools/call', [], -32602],
  ]) {
    const { error } = await on.ask(id, method, params)
    assert.equal(error?.code, code, method.slice(0, 50))
    assert.ok(error.message.length < 200)
  }
  for (const [id, input] of [
    [9, 7],
    [10, []],
    [11, { command: 7 }],
    [12, { command: 'true', cwd: null }],
    [13, JSON.parse('{"command":"true","__proto__":{"polluted":1}}')],
    [14, { command: 'true', timeout: -1 }],
  ]) {
    const { result } = await on.call(id, 'runCommand', input)
    assert.equal(result?.isError, true, JSON.stringify(input))
  }
  assert.equal({}.polluted, undefined)
  const missing = await on.ask(15, 'tools/call', { name: 'runCommand' })
  assert.equal(missing.result.content[0].text, '`command` is missing')
  await on.end()
})

test('messages may come in pieces, and many in one piece', async () => {
  const on = await greeted()
  const line = `${JSON.stringify({ jsonrpc: '2.0', id: '☕', method: 'ping' })}\n`
  for (const byte of Buffer.from(line)) {
    on.raw(Buffer.from([byte]))
    await sleep(1)
  }
  assert.deepEqual((await on.answer('☕')).result, {})
  on.raw(
    Array.from(
      { length: 5_000 },
      (_, id) => `${JSON.stringify({ jsonrpc: '2.0', id, method: 'ping' })}\n`,
    ).join(''),
  )
  await on.answer(4_999)
  assert.equal(on.got.filter(({ id }) => Number.isInteger(id)).length, 5_000)
  await on.end()
})

test('a line that is too long is refused, and costs no memory', async () => {
  const on = await greeted()
  const rss = () => Number(readFileSync(`/proc/${on.pid}/status`, 'utf8').match(/VmRSS:\s+(\d+)/)[1]) / 1024
  const before = rss()
  const piece = Buffer.alloc(1 << 20, 'x')
  for (let sent = 0; sent < 300; sent++) {
    if (!on.raw(piece)) await new Promise((resolve) => on.child.stdin.once('drain', resolve))
  }
  assert.ok(rss() - before < 150, `${before} MiB became ${rss()} MiB`)
  on.raw('\n')
  assert.equal((await on.answer(null)).error.code, -32700)
  assert.deepEqual((await on.ask(1, 'ping')).result, {})
  const large = await on.call(2, 'writeFile', { path: 'large', content: 'x'.repeat(15 << 20) })
  assert.equal(large.result.content[0].text, `${15 << 20} bytes were written to /home/user/large`)
  await on.end()
})

test('deep nesting is only a wrong message', async () => {
  const on = await greeted()
  const deep = '['.repeat(1_000_000)
  on.raw(`{"jsonrpc":"2.0","id":1,"method":"tools/call","params":${deep}${deep.replaceAll('[', ']')}}\n`)
  const message = await eventually('an answer', () => on.got[1])
  assert.ok([-32700, -32600, -32602].includes(message.error.code))
  assert.deepEqual((await on.ask(2, 'ping')).result, {})
  await on.end()
})

test('batches are taken where the version has them, as far as they are sane', async () => {
  const on = await greeted('2025-03-26')
  const ping = (id) => ({ jsonrpc: '2.0', id, method: 'ping' })
  on.send([ping(1), { jsonrpc: '2.0', method: 'notifications/odd' }, { no: 'message' }, ping(2)])
  const answers = await eventually('an answer', () => on.got.find(Array.isArray))
  assert.deepEqual(
    answers.map(({ id, error }) => [id, error?.code]),
    [
      [1, undefined],
      [null, -32600],
      [2, undefined],
    ],
  )
  on.send(Array.from({ length: 101 }, (_, id) => ping(id)))
  assert.equal((await on.answer(null)).error.code, -32600)
  const before = on.got.length
  on.send([{ jsonrpc: '2.0', method: 'notifications/odd' }])
  await on.ask('last', 'ping')
  assert.equal(on.got.length, before + 1)
  await on.end()
})

test('an id that is in use is refused, and the call goes on', async () => {
  const on = await greeted()
  on.send({
    jsonrpc: '2.0',
    id: 1,
    method: 'tools/call',
    params: { name: 'runCommand', arguments: { command: 'sleep 1; echo on' } },
  })
  on.send({
    jsonrpc: '2.0',
    id: 1,
    method: 'tools/call',
    params: { name: 'runCommand', arguments: { command: 'true' } },
  })
  await eventually('both answers', () => on.got.filter(({ id }) => id === 1).length === 2)
  const [refused, done] = on.got.filter(({ id }) => id === 1)
  assert.equal(refused.error.code, -32600)
  assert.equal(done.result.content[0].text, 'on\n')
  const before = on.got.length
  on.send({
    jsonrpc: '2.0',
    id: 1,
    method: 'tools/call',
    params: { name: 'readFile', arguments: { path: 'x' } },
  })
  const { result } = await eventually('a call of an id that is free again', () => on.got[before])
  assert.match(result.content[0].text, /^File not found/)
  await on.end()
})

test('nothing is told of the progress of a call that was answered', async () => {
  const on = await greeted()
  const params = {
    name: 'runCommand',
    arguments: { command: 'echo on' },
    _meta: { progressToken: 'quick' },
  }
  for (let id = 0; id < 5; id++) await on.ask(id, 'tools/call', params)
  await sleep(300)
  let isOver = false
  for (const { id, method } of on.got) {
    isOver = isOver || id === 4
    assert.ok(!(isOver && method === 'notifications/progress'))
  }
  await on.end()
})

test('who had waited for a place and is cancelled later takes it from nobody', async () => {
  const slots = new Slots()
  const ends = []
  const work = () => new Promise((resolve) => ends.push(resolve))
  const begin = (signal = new AbortController().signal) => slots.within(work, signal)
  const first = Array.from({ length: 16 }, () => begin())
  const cancelled = new AbortController()
  const waited = begin(cancelled.signal)
  const last = begin()
  ends[0]()
  await first[0]
  await eventually('the next is at work', () => ends.length === 17)
  cancelled.abort()
  ends[16]()
  await waited
  await eventually('so is the last', () => ends.length === 18)
  for (const end of ends) end()
  await Promise.all([...first, last])
})

test('too many calls at once are refused, those that wait can be cancelled, and the rest is done', async () => {
  const on = await greeted()
  const call = (id, command) =>
    on.send({
      jsonrpc: '2.0',
      id,
      method: 'tools/call',
      params: { name: 'runCommand', arguments: { command } },
    })
  for (let id = 0; id < 300; id++) call(id, 'sleep 0.3')
  for (let id = 20; id < 250; id++) {
    on.send({ jsonrpc: '2.0', method: 'notifications/cancelled', params: { requestId: id } })
  }
  // 16 run, 256 wait: the last 28 are too many, and 230 are cancelled.
  await eventually('all answers', () => on.got.filter(({ id }) => Number.isInteger(id)).length === 70, 30_000)
  const byId = new Map(on.got.map((message) => [message.id, message]))
  for (let id = 0; id < 300; id++) {
    const result = byId.get(id)?.result
    if (id >= 20 && id < 250) assert.equal(result, undefined, `${id}`)
    else if (id < 272) assert.equal(result.isError, false, `${id}`)
    else assert.match(result.content[0].text, /16 calls are running and 256 are waiting: call again later/)
  }
  await sleep(300)
  assert.equal(on.got.filter(({ id }) => Number.isInteger(id)).length, 70)
  assert.equal((await on.call('last', 'runCommand', { command: 'echo on' })).result.content[0].text, 'on\n')
  await on.end()
})

test('a client that asks and does not listen fills no memory', async () => {
  const on = await greeted()
  on.child.stdout.pause()
  const rss = () => Number(readFileSync(`/proc/${on.pid}/status`, 'utf8').match(/VmRSS:\s+(\d+)/)[1]) / 1024
  const before = rss()
  const list = Buffer.from(
    Array.from(
      { length: 1_000 },
      (_, id) => `${JSON.stringify({ jsonrpc: '2.0', id, method: 'tools/list' })}\n`,
    ).join(''),
  )
  // Whatever this pipe takes: 2.5 KB are answered to each of these, up to a GB in all.
  const until = Date.now() + 5_000
  for (let sent = 0; sent < 400 && Date.now() < until; sent++) {
    if (on.raw(list)) continue
    const taken = new Promise((resolve) => on.child.stdin.once('drain', () => resolve(true)))
    if (!(await Promise.race([taken, sleep(1_000)]))) break
  }
  assert.ok(rss() - before < 100, `${before} MiB became ${rss()} MiB`)
  on.child.stdout.destroy()
  on.child.stdin.destroy()
  await on.gone
})

test('what need not be known is not kept for a client that does not listen', async () => {
  const [input, output] = [new PassThrough(), new PassThrough({ highWaterMark: 10 })]
  const { send, mention } = connect(input, output, () => {})
  mention('one')
  send('a long answer')
  mention('two')
  assert.ok(input.isPaused())
  assert.equal(String(output.read()), '"one"\n"a long answer"\n')
  await eventually('it reads on', () => !input.isPaused())
  mention('three')
  assert.equal(String(output.read()), '"three"\n')
})
