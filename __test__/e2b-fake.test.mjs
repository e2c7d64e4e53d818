// E2B's own client, which must not notice that it does not speak to E2B: what it sees here is what users of it see.

import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { createHash, randomBytes } from 'node:crypto'
import { once } from 'node:events'
import http from 'node:http'
import https from 'node:https'
import { test as nodeTest } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'

import {
  AuthenticationError,
  CommandExitError,
  FileNotFoundError,
  InvalidArgumentError,
  NotFoundError,
  Sandbox,
  SandboxError,
  SandboxNotFoundError,
  TimeoutError,
} from 'e2b'

import { BLOCKED_KEY, e2bFake, KEY, UNKNOWN_KEY } from './fakes.mjs'

// Given by the last test, which runs all others again.
const given = process.env.FAKE_OF_E2B
const fake = given ? { url: given } : await e2bFake()
const account = { apiKey: KEY, apiUrl: fake.url, sandboxUrl: fake.url }
const shared = await Sandbox.create(account)

function test(name, body, timeout = 60_000) {
  return nodeTest(name, { timeout }, body)
}

/** A sandbox of its own. */
async function own(t, options = {}) {
  const sandbox = await Sandbox.create({ ...account, ...options })
  t.after(() => sandbox.kill())
  return sandbox
}

/** A request for envd, as it is: for what the client does not do. */
function envd(sandbox, path, { headers = {}, port = 49983, ...init } = {}) {
  return fetch(fake.url + path, {
    ...init,
    headers: {
      'E2b-Sandbox-Id': sandbox.sandboxId,
      'E2b-Sandbox-Port': String(port),
      'X-Access-Token': sandbox.envdAccessToken,
      ...headers,
    },
  })
}

/** A message in its envelope. */
function envelope(message) {
  const payload = Buffer.from(JSON.stringify(message))
  const head = Buffer.alloc(5)
  head.writeUInt32BE(payload.length, 1)
  return Buffer.concat([head, payload])
}

/** The messages of a stream; the last says how it ended. */
function messages(bytes) {
  const found = []
  for (let at = 0; at < bytes.length; ) {
    const length = bytes.readUInt32BE(at + 1)
    found.push(JSON.parse(bytes.subarray(at + 5, at + 5 + length)))
    at += 5 + length
  }
  return found
}

test('a command tells what it printed and how it ended', async () => {
  const { stdout, stderr, exitCode } = await shared.commands.run('echo hi; echo oh >&2')
  assert.deepEqual({ stdout, stderr, exitCode }, { stdout: 'hi\n', stderr: 'oh\n', exitCode: 0 })
  await assert.rejects(shared.commands.run('echo out; exit 3'), (error) => {
    assert.ok(error instanceof CommandExitError)
    assert.deepEqual([error.exitCode, error.stdout, error.message], [3, 'out\n', 'exit status 3'])
    return true
  })
  await assert.rejects(shared.commands.run('kill -9 $$'), { exitCode: -1, message: 'signal: killed' })
  await assert.rejects(shared.commands.run('nothing-of-this-name'), (error) => {
    assert.equal(error.exitCode, 127)
    assert.match(error.stderr, /nothing-of-this-name/)
    return true
  })
})

test('a command has its directory, its variables and its user', async (t) => {
  const sandbox = await own(t, { envs: { OF_SANDBOX: 'a', BOTH: 'a' } })
  const line = 'pwd; echo $OF_SANDBOX $BOTH $OF_COMMAND; id -un; echo ~; echo $E2B_SANDBOX_ID'
  const { stdout } = await sandbox.commands.run(line, {
    cwd: '/tmp',
    envs: { BOTH: 'b', OF_COMMAND: 'b' },
    user: 'root',
  })
  assert.equal(stdout, `/tmp\na b b\nuser\n/home/user\n${sandbox.sandboxId}\n`)
  assert.equal((await sandbox.commands.run('pwd')).stdout, '/home/user\n')
  await assert.rejects(sandbox.commands.run('pwd', { cwd: '/nope' }), (error) => {
    assert.ok(error instanceof InvalidArgumentError, error)
    assert.match(error.message, /cwd '\/nope' does not exist/)
    return true
  })
  await assert.rejects(sandbox.commands.run('pwd', { user: 'nobody' }), (error) => {
    assert.ok(error instanceof AuthenticationError, error)
    assert.match(error.message, /invalid username: 'nobody'/)
    return true
  })
})

test('output arrives whole, however much it is and wherever it is cut', async () => {
  const { stdout } = await shared.commands.run('seq 1 400000')
  assert.equal(stdout.length, 2_688_895)
  assert.ok(stdout.endsWith('\n399999\n400000\n'))
  const text = '€'.repeat(50_000)
  const printed = await shared.commands.run('yes € | head -n 50000 | tr -d "\\n"')
  assert.equal(printed.stdout, text)
})

test('a command that takes too long is killed, what came of it is not', async () => {
  const begun = Date.now()
  await assert.rejects(
    shared.commands.run('sleep 47.11 & echo $! > /tmp/left; sleep 48', { timeoutMs: 500 }),
    TimeoutError,
  )
  assert.ok(Date.now() - begun < 5_000)
  const left = await shared.commands.run('kill -0 $(cat /tmp/left) && kill -9 $(cat /tmp/left) && echo alive')
  assert.equal(left.stdout, 'alive\n')
})

test('a command is over when nothing holds its output any more', async () => {
  const begun = Date.now()
  const { stdout } = await shared.commands.run('(sleep 1; echo late) & echo soon')
  assert.equal(stdout, 'soon\nlate\n')
  assert.ok(Date.now() - begun >= 1_000)
  const detached = await shared.commands.run('sleep 5 > /dev/null 2>&1 & echo soon')
  assert.equal(detached.stdout, 'soon\n')
  assert.ok(Date.now() - begun < 5_000)
})

test('a command in the background is found, read, written to and killed', async () => {
  const chunks = []
  const command = await shared.commands.run('while read line; do echo got $line; done; echo end', {
    background: true,
    stdin: true,
    onStdout: (text) => chunks.push(text),
  })
  const running = (await shared.commands.list()).find(({ pid }) => pid === command.pid)
  assert.deepEqual(running.args, ['-l', '-c', 'while read line; do echo got $line; done; echo end'])
  await shared.commands.sendStdin(command.pid, 'one\n')
  while (chunks.length === 0) await sleep(10)
  const other = await shared.commands.connect(command.pid, {
    onStdout: (text) => chunks.push(`other: ${text}`),
  })
  await shared.commands.sendStdin(command.pid, 'zwölf\n')
  await shared.commands.closeStdin(command.pid)
  assert.equal((await command.wait()).stdout, 'got one\ngot zwölf\nend\n')
  assert.equal((await other.wait()).stdout, 'got zwölf\nend\n')
  assert.ok(chunks.some((text) => text.startsWith('other: got zwölf')))

  const sleeping = await shared.commands.run('sleep 60', { background: true })
  assert.equal(await sleeping.kill(), true)
  await assert.rejects(sleeping.wait(), { exitCode: -1, message: 'signal: killed' })
  assert.equal(await shared.commands.kill(sleeping.pid), false)
})

test('a command goes on when nobody listens, and is remembered for a while', async () => {
  const command = await shared.commands.run('sleep 0.4; exit 5', { background: true })
  await command.disconnect()
  const again = await shared.commands.connect(command.pid)
  await assert.rejects(again.wait(), { exitCode: 5 })
  const late = await shared.commands.connect(command.pid)
  await assert.rejects(late.wait(), { exitCode: 5 })
  await assert.rejects(shared.commands.connect(4_000_000), NotFoundError)
})

test('input is refused by what takes none', async () => {
  const command = await shared.commands.run('sleep 60', { background: true })
  await assert.rejects(shared.commands.sendStdin(command.pid, 'x'), /stdin not enabled or closed/)
  await command.kill()
})

test('a terminal is typed into, resized and killed', async () => {
  let shown = ''
  const terminal = await shared.pty.create({
    cols: 90,
    rows: 20,
    onData: (data) => (shown += Buffer.from(data)),
  })
  const typed = async (line, expected) => {
    await shared.pty.sendInput(terminal.pid, Buffer.from(line))
    for (let tries = 0; !expected.test(shown); tries++) {
      assert.ok(tries < 500, `never shown: ${expected}; but: ${shown}`)
      await sleep(20)
    }
  }
  await typed('stty size; echo $TERM\n', /20 90\s+xterm-256color/)
  await shared.pty.resize(terminal.pid, { cols: 100, rows: 30 })
  await typed('stty size\n', /30 100/)
  await assert.rejects(shared.commands.sendStdin(terminal.pid, 'x'), /should be written to the pty/)
  await typed('exit 7\n', /exit/)
  await assert.rejects(terminal.wait(), { exitCode: 7 })

  const other = await shared.pty.create({ cols: 80, rows: 24, onData() {} })
  assert.equal(await shared.pty.kill(other.pid), true)
})

test('input flows in one stream', async () => {
  const command = await shared.commands.run('cat', { background: true, stdin: true })
  const parts = [{ start: { process: { pid: command.pid } } }]
  for (const text of ['a', 'b', 'c\n']) {
    parts.push({ data: { input: { stdin: Buffer.from(text).toString('base64') } } })
  }
  const answer = await envd(shared, '/process.Process/StreamInput', {
    method: 'POST',
    headers: { 'Content-Type': 'application/connect+json' },
    body: Buffer.concat(parts.map(envelope)),
  })
  assert.deepEqual(messages(Buffer.from(await answer.arrayBuffer())), [{}, {}])
  await shared.commands.closeStdin(command.pid)
  assert.equal((await command.wait()).stdout, 'abc\n')
})

test('files are written and read as text, as bytes and as streams', async () => {
  const { path, name, type } = await shared.files.write('of/text.txt', 'hällo')
  assert.deepEqual({ path, name, type }, { path: '/home/user/of/text.txt', name: 'text.txt', type: 'file' })
  assert.equal(await shared.files.read('of/text.txt'), 'hällo')
  const bytes = randomBytes(3_000_000)
  await shared.files.write(
    '/analysis/bytes',
    bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.length),
  )
  const read = Buffer.from(await shared.files.read('/analysis/bytes', { format: 'bytes' }))
  const sum = (data) => createHash('sha256').update(data).digest('hex')
  assert.equal(sum(read), sum(bytes))
  const chunks = []
  for await (const chunk of await shared.files.read('/analysis/bytes', { format: 'stream' }))
    chunks.push(chunk)
  assert.equal(sum(Buffer.concat(chunks)), sum(bytes))
  await shared.files.write('zipped', 'z'.repeat(100_000), { gzip: true, useOctetStream: true })
  assert.equal((await shared.files.read('zipped', { gzip: true })).length, 100_000)
  const many = await shared.files.write([
    { path: 'many/a', data: 'A' },
    { path: '/tmp/b', data: new Blob(['B']) },
  ])
  assert.deepEqual(
    many.map((one) => one.path),
    ['/home/user/many/a', '/tmp/b'],
  )
  assert.equal(await shared.files.read('/tmp/b'), 'B')
  await shared.files.write('empty', '')
  assert.equal(await shared.files.read('empty'), '')
})

test('files are listed, found, moved and removed', async (t) => {
  const { files, commands } = await own(t)
  assert.equal(await files.makeDir('d/e'), true)
  assert.equal(await files.makeDir('d/e'), false)
  await files.write('d/f', 'four')
  await commands.run('cd d && ln -s f link && ln -s nowhere dangling && chmod 640 f')
  const entries = await files.list('d')
  const facts = entries.map(({ name, type, path, size }) => ({ name, type, path, size }))
  assert.deepEqual(facts, [
    { name: 'e', type: 'dir', path: '/home/user/d/e', size: 40 },
    { name: 'f', type: 'file', path: '/home/user/d/f', size: 4 },
    { name: 'link', type: 'file', path: '/home/user/d/link', size: 1 },
  ])
  const info = await files.getInfo('d/f')
  assert.deepEqual(
    [info.mode, info.permissions, info.owner, info.group],
    [0o640, '-rw-r-----', 'user', 'user'],
  )
  assert.ok(Math.abs(info.modifiedTime - Date.now()) < 60_000)
  const link = await files.getInfo('d/link')
  assert.deepEqual(
    [link.type, link.symlinkTarget, link.permissions],
    ['file', '/home/user/d/f', 'Lrwxrwxrwx'],
  )
  assert.deepEqual(
    (await files.list('/home/user', { depth: 2 }))
      .map(({ path }) => path)
      .filter((path) => path.includes('/d/')),
    ['/home/user/d/e', '/home/user/d/f', '/home/user/d/link'],
  )
  assert.equal((await files.rename('d/f', 'g/h')).path, '/home/user/g/h')
  assert.equal(await files.read('g/h'), 'four')
  assert.deepEqual([await files.exists('d/f'), await files.exists('g/h')], [false, true])
  await files.remove('d')
  await files.remove('d')
  assert.equal(await files.exists('d'), false)
})

test('what is not there, or is something else, is refused in the words of the server', async () => {
  await assert.rejects(shared.files.read('nope'), (error) => {
    assert.ok(error instanceof FileNotFoundError, error)
    assert.match(error.message, /path '\/home\/user\/nope' does not exist/)
    return true
  })
  await assert.rejects(shared.files.read('/tmp'), /path '\/tmp' is a directory/)
  await assert.rejects(shared.files.list('/nope'), FileNotFoundError)
  await assert.rejects(shared.files.list('/etc/passwd'), /path is not a directory: \/etc\/passwd/)
  await assert.rejects(shared.files.rename('nope', 'other'), FileNotFoundError)
  await assert.rejects(shared.files.getInfo('~root/x'), InvalidArgumentError)
  await assert.rejects(shared.files.read('/tmp/x', { user: 'nobody' }), AuthenticationError)
})

test('a part of a file is read, and a file is put together', async () => {
  await shared.files.write('/tmp/part', '0123456789')
  const read = (range) => envd(shared, '/files?path=/tmp/part', { headers: { Range: range } })
  const middle = await read('bytes=2-4')
  assert.deepEqual(
    [middle.status, middle.headers.get('content-range'), await middle.text()],
    [206, 'bytes 2-4/10', '234'],
  )
  assert.equal(await (await read('bytes=-3')).text(), '789')
  assert.equal(await (await read('bytes=7-')).text(), '789')
  assert.equal((await read('bytes=10-')).status, 416)
  await shared.files.write('/tmp/rest', 'abc')
  const composed = await envd(shared, '/files/compose', {
    method: 'POST',
    body: JSON.stringify({ source_paths: ['/tmp/part', '/tmp/rest'], destination: '/tmp/all' }),
  })
  assert.deepEqual(await composed.json(), { name: 'all', path: '/tmp/all', type: 'file' })
  assert.equal(await shared.files.read('/tmp/all'), '0123456789abc')
  assert.equal(await shared.files.exists('/tmp/part'), false)
})

test('a signed address is enough for the file that it names', async () => {
  const relayed = (url) => {
    const { pathname, search } = new URL(url)
    return `${pathname}${search}`
  }
  const headers = { 'X-Access-Token': '' }
  const upload = relayed(await shared.uploadUrl('/tmp/signed', { useSignatureExpiration: 60 }))
  const body = new FormData()
  body.append('file', new Blob(['signed']), '/tmp/signed')
  assert.equal((await envd(shared, upload, { method: 'POST', body, headers })).status, 200)
  const download = relayed(await shared.downloadUrl('/tmp/signed'))
  assert.equal(await (await envd(shared, download, { headers })).text(), 'signed')
  const forged = await envd(shared, download.replace('signed', 'other'), { headers })
  assert.deepEqual([forged.status, await forged.json()], [401, { code: 401, message: 'invalid signature' }])
  const bare = await envd(shared, '/files?path=/tmp/signed', { headers })
  assert.deepEqual(await bare.json(), { code: 401, message: 'missing signature query parameter' })
})

test('envd asks for the token of its sandbox', async () => {
  const answer = await envd(shared, '/process.Process/List', {
    method: 'POST',
    headers: { 'Content-Type': 'application/json', 'X-Access-Token': 'wrong' },
    body: '{}',
  })
  assert.equal(answer.status, 401)
  assert.match((await answer.json()).message, /unauthorized access, please provide a valid access token/)
  assert.equal((await envd(shared, '/health', { headers: { 'X-Access-Token': 'wrong' } })).status, 204)
})

test('what happens in a directory is told', async () => {
  await shared.files.makeDir('/tmp/watched/below')
  const seen = []
  const watch = await shared.files.watchDir(
    '/tmp/watched',
    ({ name, type }) => seen.push(`${type} ${name}`),
    {
      recursive: true,
    },
  )
  await shared.commands.run(
    'cd /tmp/watched && echo 1 > a && chmod 600 a && mv a b && rm b && echo 2 > below/c',
  )
  const expected = ['create a', 'write a', 'chmod a', 'rename a', 'create b', 'remove b', 'create below/c']
  for (let tries = 0; !expected.every((event) => seen.includes(event)); tries++) {
    assert.ok(tries < 200, seen.join())
    await sleep(20)
  }
  await watch.stop()
  await assert.rejects(
    shared.files.watchDir('/nope', () => {}),
    FileNotFoundError,
  )
})

test('sandboxes are listed page by page, by metadata and by state', async (t) => {
  const metadata = { 'of &': 'a=b c', test: randomBytes(8).toString('hex') }
  const made = []
  for (let n = 0; n < 3; n++) made.push((await own(t, { metadata })).sandboxId)
  const list = (query, options) => Sandbox.list({ ...account, query: { metadata, ...query }, ...options })
  const pages = list({}, { limit: 2 })
  const found = []
  while (pages.hasNext) found.push((await pages.nextItems()).map(({ sandboxId }) => sandboxId))
  assert.deepEqual(found, [[made[2], made[1]], [made[0]]])
  assert.deepEqual(await Sandbox.list({ ...account, query: { metadata: { test: 'x' } } }).nextItems(), [])
  await Sandbox.pause(made[0], account)
  const ids = async (state) => (await list({ state: [state] }).nextItems()).map(({ sandboxId }) => sandboxId)
  assert.deepEqual(await ids('paused'), [made[0]])
  assert.deepEqual(await ids('running'), [made[2], made[1]])
})

test('a sandbox tells about itself, and lives as long as it is told', async (t) => {
  const sandbox = await own(t, { metadata: { a: 'b' }, timeoutMs: 100_000 })
  const info = await sandbox.getInfo()
  assert.deepEqual([info.templateId, info.metadata, info.state], ['base', { a: 'b' }, 'running'])
  assert.equal(Math.round((info.endAt - info.startedAt) / 1000), 100)
  await sandbox.setTimeout(10_000)
  const { endAt } = await sandbox.getInfo()
  assert.ok(Math.abs(endAt - Date.now() - 10_000) < 2_000)
  await Sandbox.connect(sandbox.sandboxId, { ...account, timeoutMs: 5_000 })
  assert.deepEqual((await sandbox.getInfo()).endAt, endAt)
  const [metrics] = await sandbox.getMetrics()
  assert.ok(metrics.memUsed > 0 && metrics.memTotal === 2 ** 31 && metrics.diskTotal > 0)
})

test('a sandbox whose time is over is gone', async () => {
  const sandbox = await Sandbox.create({ ...account, timeoutMs: 1_000 })
  const command = await sandbox.commands.run('sleep 60', { background: true })
  await assert.rejects(command.wait(), TimeoutError)
  assert.equal(await sandbox.isRunning(), false)
  await assert.rejects(sandbox.commands.run('true'), SandboxNotFoundError)
  await assert.rejects(sandbox.files.read('x'), TimeoutError)
  await assert.rejects(sandbox.getInfo(), SandboxNotFoundError)
  assert.equal(await sandbox.kill(), false)
  const answer = await envd(sandbox, '/health')
  const body = { sandboxId: sandbox.sandboxId, message: 'The sandbox was not found', code: 502 }
  assert.deepEqual([answer.status, await answer.json()], [502, body])
})

test('a paused sandbox stands still, and goes on as it was', async (t) => {
  const sandbox = await own(t)
  const line = 'n=0; while sleep 0.1; do n=$((n + 1)); echo $n > count; done'
  const command = await sandbox.commands.run(line, { background: true })
  await sleep(500)
  assert.equal(await sandbox.pause(), true)
  assert.equal(await sandbox.pause(), false)
  await assert.rejects(command.wait(), SandboxError)
  assert.equal((await sandbox.getInfo()).state, 'paused')
  assert.equal(await sandbox.isRunning(), false)
  await sleep(1_000)
  await sandbox.connect()
  const before = Number(await sandbox.files.read('count'))
  assert.ok(before <= 7, `it went on to ${before}`)
  await sleep(1_000)
  assert.ok(Number(await sandbox.files.read('count')) > before)
  const again = await sandbox.commands.connect(command.pid)
  assert.equal(await again.kill(), true)
})

test('a sandbox from a snapshot has the files of the other', async (t) => {
  const sandbox = await own(t)
  await sandbox.files.write('kept', 'here')
  await sandbox.files.write('/analysis/data', 'there')
  await sandbox.commands.run('chmod 700 kept && ln -s kept link')
  const { snapshotId } = await sandbox.createSnapshot()
  await sandbox.files.write('kept', 'changed')
  const other = await own(t, { template: undefined })
  await other.kill()
  const copy = await Sandbox.create(snapshotId, account)
  t.after(() => copy.kill())
  assert.equal(await copy.files.read('link'), 'here')
  assert.equal(await copy.files.read('/analysis/data'), 'there')
  assert.equal((await copy.files.getInfo('kept')).mode, 0o700)
  const pages = Sandbox.listSnapshots({ ...account, sandboxId: sandbox.sandboxId })
  assert.deepEqual(
    (await pages.nextItems()).map((one) => one.snapshotId),
    [snapshotId],
  )
  await assert.rejects(Sandbox.deleteSnapshot(snapshotId, account), /running sandboxes using it/)
  await copy.kill()
  assert.equal(await Sandbox.deleteSnapshot(snapshotId, account), true)
  assert.equal(await Sandbox.deleteSnapshot(snapshotId, account), false)
})

test('keys, templates and times that are wrong are refused', async () => {
  await assert.rejects(Sandbox.create({ ...account, apiKey: UNKNOWN_KEY }), AuthenticationError)
  await assert.rejects(Sandbox.create({ ...account, apiKey: 'e2b_xyz' }), /Invalid API key format/)
  await assert.rejects(Sandbox.create({ ...account, apiKey: 'other' }), AuthenticationError)
  await assert.rejects(Sandbox.create({ ...account, apiKey: BLOCKED_KEY }), /403/)
  await assert.rejects(Sandbox.create('nope', account), /404: template 'nope' not found/)
  await assert.rejects(
    Sandbox.create({ ...account, timeoutMs: 90_000_000 }),
    /Timeout cannot be greater than 24 hours/,
  )
  await assert.rejects(Sandbox.connect('inothere', account), SandboxNotFoundError)
  assert.equal(await Sandbox.kill('inothere', account), false)
  await assert.rejects(Sandbox.getInfo('NOT_AN_ID', account), /Invalid sandbox ID/)
})

test('other ports of a sandbox are reached, if something listens', async (t) => {
  const sandbox = await own(t)
  const closed = await envd(sandbox, '/', { port: 8000 })
  const body = {
    sandboxId: sandbox.sandboxId,
    message: 'The sandbox is running but port is not open',
    port: 8000,
    code: 502,
  }
  assert.deepEqual([closed.status, await closed.json()], [502, body])
  await sandbox.files.write('/tmp/www/index.html', 'hello from inside')
  await sandbox.commands.run('python3 -m http.server 8000 --directory /tmp/www', { background: true })
  for (let tries = 0; (await envd(sandbox, '/', { port: 8000 })).status === 502; tries++) {
    assert.ok(tries < 200)
    await sleep(50)
  }
  assert.equal(await (await envd(sandbox, '/index.html', { port: 8000 })).text(), 'hello from inside')
})

test('a port is found by its name, and what comes over it need not be HTTP', async (t) => {
  const sandbox = await own(t)
  const server = `require('node:http').createServer((_, answer) => answer.end('plain')).on('upgrade', (_, socket) => {
    socket.write('HTTP/1.1 101 Switching Protocols\\r\\nUpgrade: echo\\r\\nConnection: Upgrade\\r\\n\\r\\n')
    socket.pipe(socket)
  }).listen(9000)`
  await sandbox.files.write('/tmp/server.js', server)
  await sandbox.commands.run('node /tmp/server.js', { background: true })
  const { protocol, hostname, port } = new URL(fake.url)
  const { request } = protocol === 'https:' ? https : http
  const ask = (headers) =>
    new Promise((resolve, reject) => {
      const host = `9000-${sandbox.sandboxId}.e2b.app`
      const asked = request({ hostname, port, servername: 'localhost', headers: { host, ...headers } })
      asked.on('response', (answer) => resolve({ status: answer.resume().statusCode }))
      asked.on('upgrade', (_, socket) => resolve({ socket }))
      asked.on('error', reject)
      asked.end()
    })
  for (let tries = 0; (await ask({})).status !== 200; tries++) {
    assert.ok(tries < 200)
    await sleep(50)
  }
  const { socket } = await ask({ connection: 'Upgrade', upgrade: 'echo' })
  socket.write('there and back')
  assert.equal(String((await once(socket, 'data'))[0]), 'there and back')
  socket.destroy()
})

if (given === undefined) {
  test('all of this holds over TLS, with HTTP/2', async () => {
    const secure = await e2bFake({ tls: true })
    const env = { ...process.env, FAKE_OF_E2B: secure.url, NODE_EXTRA_CA_CERTS: secure.ca }
    // Otherwise it would speak to the runner of these tests.
    delete env.NODE_TEST_CONTEXT
    const child = spawn(process.execPath, [fileURLToPath(import.meta.url)], { env })
    let printed = ''
    for (const stream of [child.stdout, child.stderr]) stream.on('data', (data) => (printed += data))
    const [code] = await once(child, 'close')
    assert.equal(code, 0, printed)
    assert.ok((await secure.stats()).http2Connections > 0)
  }, 120_000)
}
