// `computesdk mcp`, as the official client of the Model Context Protocol sees it.

import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { after, before, describe } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'

import { e2b } from '../index.js'
import { accountAt, e2bFake, KEY } from './fakes.mjs'
import { installed } from './install.mjs'
import { belongings, eventually, failure, left, ROOT, start, test } from './support.mjs'

const BIN = join(ROOT, 'bin/computesdk.js')
const { version } = JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8'))

let Client
let StdioClientTransport
before(() => {
  const require = installed('frameworks')
  Client = require('@modelcontextprotocol/sdk/client/index.js').Client
  StdioClientTransport = require('@modelcontextprotocol/sdk/client/stdio.js').StdioClientTransport
})

const open = new Set()
after(() => Promise.all([...open].map((client) => client.close())))

/** A client of a server that was started with these words. */
async function connected(words = [], env = {}) {
  const transport = new StdioClientTransport({
    command: process.execPath,
    args: [BIN, 'mcp', ...words],
    env: { ...process.env, ...env },
    stderr: 'pipe',
  })
  const client = new Client({ name: 'test', version: '1.0.0' })
  const errors = []
  client.onerror = (error) => errors.push(error)
  await client.connect(transport)
  open.add(client)
  return {
    client,
    errors,
    pid: transport.pid,
    call: (name, input, ...rest) => client.callTool({ name, arguments: input }, undefined, ...rest),
    close: async () => {
      open.delete(client)
      await client.close()
    },
  }
}

const text = ({ content }) => content.map((part) => part.text).join('')

describe('a connection', () => {
  /** @type {Awaited<ReturnType<typeof connected>>} */
  let on
  before(async () => {
    on = await connected(['--timeout', '20000', '--env', 'GREETING=hello'])
  })
  after(() => {
    assert.deepEqual(on.errors, [])
    return on.close()
  })

  test('is negotiated with the newest version, and has tools alone', () => {
    assert.deepEqual(on.client.getServerVersion(), {
      name: 'computesdk',
      title: 'computesdk sandbox',
      version,
    })
    assert.deepEqual(on.client.getServerCapabilities(), { tools: {} })
    assert.match(on.client.getInstructions(), /one isolated Linux sandbox/)
  })

  test('answers pings', async () => assert.deepEqual(await on.client.ping(), {}))

  test('lists the tools, with what they take', async () => {
    const { tools } = await on.client.listTools()
    assert.deepEqual(
      tools.map(({ name, inputSchema, annotations }) => [
        name,
        inputSchema.required,
        annotations.readOnlyHint,
      ]),
      [
        ['runCommand', ['command'], false],
        ['runCode', ['code', 'language'], false],
        ['readFile', ['path'], true],
        ['writeFile', ['path', 'content'], false],
      ],
    )
  })

  test('calls them, all in one sandbox', async () => {
    const written = await on.call('writeFile', { path: 'a/b.txt', content: 'one\ntwo\n' })
    assert.deepEqual(written, {
      content: [{ type: 'text', text: '8 bytes were written to /home/user/a/b.txt' }],
      isError: false,
    })
    assert.equal(text(await on.call('readFile', { path: 'a/b.txt', startLine: 2 })), 'two\n')
    assert.equal(
      text(await on.call('runCommand', { command: 'cat a/b.txt; echo $GREETING' })),
      'one\ntwo\nhello\n',
    )
    const code = { code: 'print(open("a/b.txt").read().upper())', language: 'python' }
    assert.equal(text(await on.call('runCode', code)), 'ONE\nTWO\n\n')
    const node = { code: 'console.log(process.env.GREETING)', language: 'node' }
    assert.equal(text(await on.call('runCode', node)), 'hello\n')
  })

  test('an exit code other than 0 is a result, what could not be done is an error', async () => {
    const exit = await on.call('runCommand', { command: 'echo why >&2; exit 3' })
    assert.deepEqual([exit.isError, text(exit)], [false, 'exit code: 3\nstderr:\nwhy\n'])
    const missing = await on.call('readFile', { path: '/nowhere' })
    assert.deepEqual([missing.isError, text(missing)], [true, 'File not found: /nowhere'])
    const wrong = await on.call('runCommand', { comand: 'true' })
    assert.deepEqual([wrong.isError, text(wrong)], [true, 'there is no `comand`, only command, cwd, timeout'])
    await failure(on.call('format', {}), Error, { code: -32602, message: /there is no tool `format`/ })
    await failure(on.client.listResources(), Error, { message: /resources|-32601/ })
  })

  test('it reaches nothing of the network, and nothing of this machine', async () => {
    const tried = await on.call('runCommand', {
      command:
        'cat /proc/1/environ | tr "\\0" "\\n" | grep -c SECRET; ls /work /root; echo > /dev/tcp/192.0.2.1/53',
    })
    assert.match(text(tried), /^exit code: [^0]/)
    assert.match(text(tried), /Network is unreachable/)
  })

  test('output comes as progress for whoever asks', async () => {
    const heard = []
    const command = 'for i in 1 2 3; do echo line $i; sleep 0.4; done'
    const result = await on.call(
      'runCommand',
      { command },
      { onprogress: (progress) => heard.push(progress) },
    )
    assert.equal(text(result), 'line 1\nline 2\nline 3\n')
    assert.ok(heard.length >= 2, `${heard.length} notices`)
    assert.equal(heard[0].message, 'line 1\n')
    for (const [at, { progress }] of heard.entries()) assert.ok(at === 0 || progress > heard[at - 1].progress)
    assert.ok(heard.at(-1).progress <= 'line 1\nline 2\nline 3\n'.length)
  })

  test('a flood of output is neither told in full nor in too many notices', async () => {
    const heard = []
    const command = 'for i in 1 2 3 4; do head -c 5000000 /dev/zero | tr "\\0" x; sleep 0.2; done'
    const result = await on.call(
      'runCommand',
      { command },
      { onprogress: (progress) => heard.push(progress) },
    )
    assert.ok(text(result).length < 21_000)
    assert.match(text(result), /\[… 199\d+ characters left out …\]/)
    assert.ok(heard.length > 0 && heard.length < 30, `${heard.length} notices`)
    for (const { message } of heard) assert.ok(message.length < 4_100)
  })

  test('a call that is cancelled ends its command, and is not answered', async () => {
    const abort = new AbortController()
    const call = on.call('runCommand', { command: 'sleep 321 & sleep 321' }, { signal: abort.signal })
    const sleeping = async () =>
      Number(text(await on.call('runCommand', { command: 'pgrep -cfx "sleep 321"; true' })))
    await eventually('it sleeps', async () => (await sleeping()) === 2)
    abort.abort('enough')
    await failure(call)
    await eventually('it is gone', async () => (await sleeping()) === 0)
  })

  test('a hundred calls at once are all answered', async () => {
    const numbers = Array.from({ length: 100 }, (_, at) => at)
    const results = await Promise.all(
      numbers.map((number) => on.call('runCommand', { command: `echo ${number}` })),
    )
    assert.deepEqual(
      results.map(text),
      numbers.map((number) => `${number}\n`),
    )
  })
})

test('the sandbox is made with the first call, and a call does not take longer than it may', async () => {
  const on = await connected(['--timeout=1500', '--processes', '64', '--memory', '256m', '--cwd', '/tmp'])
  const before = belongings(on.pid).processes.size
  await on.client.listTools()
  assert.equal(belongings(on.pid).processes.size, before)
  const late = await on.call('runCommand', { command: 'pwd; sleep 60', timeout: 60_000 })
  assert.equal(text(late), 'exit code: 124 (its time was over)\nstdout:\n/tmp\n')
  assert.ok(belongings(on.pid).processes.size > before)
  await on.close()
})

test('a sandbox that has ended is told of, and the next call has another', async () => {
  const on = await connected(['--life', '3000'])
  await on.call('writeFile', { path: 'kept', content: '' })
  await sleep(3_300)
  const over = await Promise.all([1, 2].map(() => on.call('runCommand', { command: 'ls' })))
  for (const result of over) {
    assert.equal(result.isError, true)
    assert.match(text(result), /is gone.*the next call gets a new sandbox, without the files of this one/s)
  }
  assert.equal(text(await on.call('runCommand', { command: 'ls' })), '(no output)')
  await on.close()
})

for (const [how, end] of Object.entries({
  'closes its input': ({ child }) => child.stdin.end(),
  'is killed, and with it both ends of its pipes': ({ child }) => {
    child.stdin.destroy()
    child.stdout.destroy()
  },
  'sends SIGTERM': ({ child }) => child.kill('SIGTERM'),
  'sends SIGKILL': ({ child }) => child.kill('SIGKILL'),
})) {
  test(`nothing is left when the client ${how}, whatever runs`, async () => {
    const server = start(process.execPath, [BIN, 'mcp'])
    const send = (message) => server.child.stdin.write(`${JSON.stringify({ jsonrpc: '2.0', ...message })}\n`)
    const params = {
      protocolVersion: '2025-11-25',
      capabilities: {},
      clientInfo: { name: 'x', version: '1' },
    }
    send({ id: 1, method: 'initialize', params })
    const call = (id, command) =>
      send({ id, method: 'tools/call', params: { name: 'runCommand', arguments: { command } } })
    call(2, 'setsid sleep 321 & echo begun')
    await server.line('{"jsonrpc":"2.0","id":2')
    call(3, 'while :; do echo flood; done')
    await sleep(200)
    const had = belongings(server.pid)
    assert.ok(had.processes.size >= 3, `only ${had.processes.size} processes`)
    end(server)
    const { code, signal } = await server.ended
    if (!how.includes('SIG')) assert.deepEqual([code, signal], [0, null])
    await eventually('nothing is left', () => left(had).length === 0)
  })
}

test('what is typed wrongly is told on standard error, and what is asked for on standard output', async () => {
  const { code, stdout, stderr } = await start(process.execPath, [BIN, 'mcp', '--netwrok', 'full']).ended
  assert.deepEqual([code, stdout], [125, ''])
  assert.equal(
    stderr,
    'computesdk: `mcp` knows no `--netwrok`\n  hint: `computesdk mcp --help` has what it knows\n',
  )
  const help = await start(process.execPath, [BIN, 'mcp', '--help']).ended
  assert.deepEqual([help.code, help.stderr], [0, ''])
  const documented = readFileSync(join(ROOT, 'docs', 'mcp.md'), 'utf8')
  const options = help.stdout.match(/--[a-z]+/g)
  assert.ok(options.length > 10)
  for (const option of options) assert.ok(documented.includes(`\`${option}`), option)
})

test('a provider that cannot be had is told by the first call', async () => {
  const on = await connected(['--provider', 'e2b'], { E2B_API_KEY: '' })
  const result = await on.call('runCommand', { command: 'true' })
  assert.equal(result.isError, true)
  assert.match(text(result), /Missing E2B API key/)
  await on.close()
})

test('at another provider the sandbox is made there, and is gone with the connection', async () => {
  const fake = await e2bFake()
  const env = {
    COMPUTESDK_PROVIDER: 'e2b',
    ...accountAt(fake),
  }
  const on = await connected(['--life', '60000'], env)
  assert.equal(text(await on.call('runCommand', { command: 'echo there' })), 'there\n')
  const there = () => e2b({ apiKey: KEY, apiUrl: fake.url, sandboxUrl: fake.url }).sandbox.list()
  const [box] = await there()
  const known = await fetch(`${fake.url}/sandboxes/${box.sandboxId}`, { headers: { 'x-api-key': KEY } })
  assert.equal((await known.json()).allowInternetAccess, false)
  const { createdAt, expiresAt } = await box.getInfo()
  assert.ok(Math.abs(expiresAt - createdAt - 60_000) < 5_000)
  await on.close()
  await eventually('it is gone', async () => (await there()).length === 0)
})
