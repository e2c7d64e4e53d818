// What differs between the servers that there are: versions of the API and of envd, codecs, templates.

import assert from 'node:assert/strict'
import { test as nodeTest } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'

import { Sandbox } from 'e2b'

import { e2bFake, KEY } from './fakes.mjs'

function test(name, body, timeout = 60_000) {
  return nodeTest(name, { timeout }, body)
}

async function sandboxOf(options, template) {
  const fake = await e2bFake(options)
  const account = { apiKey: KEY, apiUrl: fake.url, sandboxUrl: fake.url }
  const body = JSON.stringify({ templateID: template ?? 'base', timeout: 60, secure: true })
  const headers = { 'X-API-Key': KEY, 'Content-Type': 'application/json' }
  const create = (path) => fetch(fake.url + path, { method: 'POST', headers, body })
  const ask = (sandbox, path, { headers, port = 49983, ...init } = {}) =>
    fetch(fake.url + path, {
      method: 'POST',
      ...init,
      headers: {
        'E2b-Sandbox-Id': sandbox.sandboxID ?? sandbox.sandboxId,
        'E2b-Sandbox-Port': String(port),
        'X-Access-Token': sandbox.envdAccessToken,
        ...headers,
      },
    })
  return { fake, account, create, ask }
}

test('there are the versions of the API that are asked for', async () => {
  for (const [api, v1, v2] of [
    ['v1', 201, 404],
    ['v2', 404, 201],
    ['both', 201, 201],
  ]) {
    const { create } = await sandboxOf({ api })
    assert.equal((await create('/sandboxes')).status, v1, api)
    assert.equal((await create('/v2/sandboxes')).status, v2, api)
  }
})

test('an older envd lacks what is newer', async () => {
  const { account, create, ask, fake } = await sandboxOf({ envdVersion: '0.5.1' })
  const sandbox = await (await create('/sandboxes')).json()
  assert.equal(sandbox.envdVersion, '0.5.1')
  const json = { 'Content-Type': 'application/json' }
  const closed = await ask(sandbox, '/process.Process/CloseStdin', { headers: json, body: '{}' })
  assert.equal(closed.status, 404)
  const octets = { 'Content-Type': 'application/octet-stream' }
  const raw = await ask(sandbox, '/files?path=/tmp/x', { headers: octets, body: 'x' })
  assert.equal(raw.status, 400)
  assert.equal((await ask(sandbox, '/files/compose', { body: '{}' })).status, 404)
  // No exit is remembered.
  const client = await Sandbox.connect(sandbox.sandboxID, account)
  const command = await client.commands.run('exit 5', { background: true })
  await assert.rejects(command.wait(), { exitCode: 5 })
  await assert.rejects(client.commands.connect(command.pid), /not found/)
  // Nothing is compressed: what comes is as long as the file.
  await client.files.write('z', 'z'.repeat(100_000))
  const before = (await fake.stats()).bytesSent
  assert.equal((await client.files.read('z')).length, 100_000)
  assert.ok((await fake.stats()).bytesSent - before > 100_000)
})

test('the exit of a process is forgotten after a while', async () => {
  const { account } = await sandboxOf({ exitRetention: 300 })
  const client = await Sandbox.create(account)
  const command = await client.commands.run('exit 5', { background: true })
  await assert.rejects(command.wait(), { exitCode: 5 })
  await assert.rejects((await client.commands.connect(command.pid)).wait(), { exitCode: 5 })
  await sleep(400)
  await assert.rejects(client.commands.connect(command.pid), /process with pid \d+ not found/)
})

/** `process.StartRequest { process: { cmd: "/bin/sh", args: ["-c", line] } }`, as protobuf, in its envelope. */
function start(line) {
  const field = (number, bytes) => Buffer.concat([Buffer.from([(number << 3) | 2, bytes.length]), bytes])
  const texts = [field(1, Buffer.from('/bin/sh')), field(2, Buffer.from('-c')), field(2, Buffer.from(line))]
  const message = field(1, Buffer.concat(texts))
  const head = Buffer.alloc(5)
  head.writeUInt32BE(message.length, 1)
  return Buffer.concat([head, message])
}

test('messages are binary too, unless only JSON is spoken', async () => {
  const headers = { 'Content-Type': 'application/connect+proto' }
  const { create, ask } = await sandboxOf({})
  const sandbox = await (await create('/sandboxes')).json()
  const answer = await ask(sandbox, '/process.Process/Start', { headers, body: start('printf ab; exit 3') })
  assert.equal(answer.headers.get('content-type'), 'application/connect+proto')
  const bytes = Buffer.from(await answer.arrayBuffer())
  const found = []
  for (let at = 0; at < bytes.length; at += 5 + bytes.readUInt32BE(at + 1)) {
    found.push(bytes.subarray(at + 5, at + 5 + bytes.readUInt32BE(at + 1)))
  }
  const [started, data, end, trailer] = found
  // event { start { pid } }, event { data { stdout } }, event { end { exit_code, exited, status, error } }
  assert.deepEqual([...started.subarray(0, 5)], [0x0a, 4, 0x0a, 2, 0x08])
  assert.deepEqual([...data], [0x0a, 6, 0x12, 4, 0x0a, 2, 0x61, 0x62])
  assert.deepEqual([...end.subarray(2, 8)], [0x1a, end[3], 0x08, 6, 0x10, 1])
  assert.ok(end.includes('exit status 3'))
  assert.equal(trailer.toString(), '{}')

  const unary = { 'Content-Type': 'application/proto', 'Accept-Encoding': 'identity' }
  const missing = await ask(sandbox, '/filesystem.Filesystem/Stat', {
    headers: unary,
    body: Buffer.from([0x0a, 2, 0x2f, 0x78]),
  })
  assert.equal(missing.status, 404)
  assert.equal((await missing.json()).code, 'not_found')

  const old = await sandboxOf({ jsonOnly: true })
  const other = await (await old.create('/sandboxes')).json()
  const refused = await old.ask(other, '/process.Process/Start', { headers, body: start('true') })
  assert.equal(refused.status, 415)
})

test('a port is open to its token only, where traffic is private', async () => {
  const { account, ask } = await sandboxOf({})
  const client = await Sandbox.create({ ...account, network: { allowPublicTraffic: false } })
  const request = (headers) =>
    ask({ ...client, envdAccessToken: 'x' }, '/', { method: 'GET', port: 8000, headers })
  assert.equal((await request({})).status, 403)
  assert.equal((await request({ 'E2B-Traffic-Access-Token': client.trafficAccessToken })).status, 502)
})

test('limits and states are told', async () => {
  const { account, ask, create } = await sandboxOf({ maxSandboxes: 1, maxConnections: 1, pausing: 500 })
  const client = await Sandbox.create(account)
  const full = await create('/sandboxes')
  assert.equal(full.status, 429)
  assert.equal(full.headers.get('retry-after'), null)
  assert.match((await full.json()).message, /maximum number of concurrent E2B sandboxes \(1\)/)
  const command = await client.commands.run('sleep 60', { background: true })
  const busy = await ask({ ...client }, '/health', { method: 'GET', headers: { 'X-Access-Token': '' } })
  assert.equal(busy.status, 429)
  assert.equal((await busy.json()).connectionLimit, 1)
  await command.disconnect()
  const pausing = client.pause()
  await sleep(100)
  const moving = await ask({ ...client }, '/health', { method: 'GET', headers: { 'X-Access-Token': '' } })
  assert.equal(moving.status, 409)
  assert.match((await moving.json()).message, /still transitioning/)
  assert.equal(await pausing, true)
})

test('what is only paused when its time is over comes back', async () => {
  const { account } = await sandboxOf({})
  const client = await Sandbox.create({
    ...account,
    timeoutMs: 1_000,
    lifecycle: { onTimeout: 'pause', autoResume: true },
  })
  await client.files.write('kept', 'x')
  for (let tries = 0; (await client.getInfo()).state !== 'paused'; tries++) {
    assert.ok(tries < 100)
    await sleep(50)
  }
  assert.equal(await client.files.read('kept'), 'x')
  assert.equal((await client.getInfo()).state, 'running')
})

test('the code interpreter keeps variables, and tells what code prints and gives', async () => {
  const { create, ask } = await sandboxOf({})
  const base = await (await create('/sandboxes')).json()
  const closed = await ask(base, '/health', { method: 'GET', port: 49999 })
  assert.deepEqual([closed.status, (await closed.json()).port], [502, 49999])

  const other = await sandboxOf({}, 'code-interpreter-v1')
  const sandbox = await (await other.create('/sandboxes')).json()
  const request = (method, path, body) =>
    other.ask(sandbox, path, {
      method,
      port: 49999,
      body: body && JSON.stringify(body),
      headers: { 'Content-Type': 'application/json' },
    })
  const run = async (code, options) => {
    const text = await (await request('POST', '/execute', { code, ...options })).text()
    const lines = text.trimEnd().split('\n')
    assert.equal(lines.at(-1), '{"type": "end_of_execution"}')
    return lines.slice(0, -1).map((line) => {
      const { timestamp, ...rest } = JSON.parse(line)
      return rest
    })
  }
  assert.equal(await (await request('GET', '/health')).json(), 'OK')
  assert.deepEqual(await run('import sys\nx = 20\nprint("hé")\nprint("oh", file=sys.stderr)\nx + 1'), [
    { type: 'number_of_executions', execution_count: 1 },
    { type: 'stdout', text: 'hé' },
    { type: 'stdout', text: '\n' },
    { type: 'stderr', text: 'oh' },
    { type: 'stderr', text: '\n' },
    { type: 'result', text: '21', extra: {}, is_main_result: true },
  ])
  assert.deepEqual((await run('x * 2; "a"')).at(-1).text, 'a')
  const failed = (await run('def f():\n    return x / 0\nf()')).at(-1)
  assert.deepEqual(
    [failed.type, failed.name, failed.value],
    ['error', 'ZeroDivisionError', 'division by zero'],
  )
  assert.match(failed.traceback, /Cell In\[3\]", line 2, in f\n {4}return x \/ 0/)
  const shown = await run(
    'class A:\n  def _repr_html_(self): return "<b>"\n  def _repr_png_(self): return b"png"\ndisplay(A())\nA()',
  )
  assert.deepEqual(
    shown.slice(1).map(({ html, png, is_main_result }) => ({ html, png, is_main_result })),
    [
      { html: '<b>', png: 'cG5n', is_main_result: false },
      { html: '<b>', png: 'cG5n', is_main_result: true },
    ],
  )
  const env = { env_vars: { OF_CELL: 'here' } }
  assert.equal((await run('import os; os.environ.get("OF_CELL")', env)).at(-1).text, 'here')
  assert.equal((await run('os.environ.get("OF_CELL", "gone")')).at(-1).text, 'gone')
  assert.equal((await run('import subprocess; subprocess.run(["echo", "sub"]);')).at(1).text, 'sub\n')

  const created = await (await request('POST', '/contexts', { language: 'python', cwd: '/tmp' })).json()
  assert.deepEqual([created.language, created.cwd], ['python', '/tmp'])
  const inside = { context_id: created.id }
  assert.equal((await run('import os; os.getcwd()', inside)).at(-1).text, '/tmp')
  assert.equal((await run('x', inside)).at(-1).name, 'NameError')
  await run('y = 1', inside)
  assert.equal((await request('POST', `/contexts/${created.id}/restart`)).status, 200)
  assert.equal((await run('y', inside)).at(-1).name, 'NameError')
  assert.equal((await (await request('GET', '/contexts')).json()).length, 3)
  assert.equal((await request('DELETE', `/contexts/${created.id}`)).status, 200)
  const unknown = await request('POST', '/execute', { code: '1', ...inside })
  assert.deepEqual([unknown.status, await unknown.text()], [404, `Context ${created.id} not found`])
  const both = await request('POST', '/execute', { code: '1', language: 'python', ...inside })
  assert.equal(both.status, 400)
  assert.equal((await request('POST', '/execute', {})).status, 422)

  const js = { language: 'js' }
  assert.deepEqual((await run('const a = [1, 2]; console.log("hi"); a', js)).slice(1), [
    { type: 'stdout', text: 'hi\n' },
    { type: 'result', text: '[ 1, 2 ]', extra: {}, is_main_result: true },
  ])
  assert.equal((await run('a.length + require("node:os").EOL.length', js)).at(-1).text, '3')
  assert.equal((await run('null.x', js)).at(-1).name, 'TypeError')
  assert.match(
    (await run('await Promise.resolve(a)', js)).map(({ type }) => type).join(),
    /number_of_executions/,
  )
  assert.equal((await request('POST', '/contexts', { language: 'cobol' })).status, 500)

  // Whoever goes away interrupts what runs.
  const given = new AbortController()
  const left = other.ask(sandbox, '/execute', {
    port: 49999,
    body: JSON.stringify({ code: 'import time; time.sleep(50)' }),
    signal: given.signal,
  })
  const reader = (await left).body.getReader()
  await reader.read()
  given.abort()
  assert.equal((await run('1 + 1')).at(-1).text, '2')
})
