// E2B's own client, which must not notice that it does not speak to E2B: sandboxes, their lives and their ports.

import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import http from 'node:http'
import https from 'node:https'
import { setTimeout as sleep } from 'node:timers/promises'

import { AuthenticationError, Sandbox, SandboxError, SandboxNotFoundError, TimeoutError } from 'e2b'

import { account, envd, fake, overTls, own, shared, test } from './e2b-client.mjs'
import { BLOCKED_KEY, UNKNOWN_KEY } from './fakes.mjs'

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

overTls(import.meta.url)
