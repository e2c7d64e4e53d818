// E2B's edge speaks HTTP/2: one connection, and what becomes of it when that ends or is refused.

import assert from 'node:assert/strict'
import { describe } from 'node:test'

import { e2b, UnavailableError } from '../index.js'
import { e2bFake } from './fakes.mjs'
import { eventually, failure, output, signalled, test } from './support.mjs'

const fake = await e2bFake({ tls: true })
// Read by the first call.
process.env.NODE_EXTRA_CA_CERTS = fake.ca
const { sandbox } = e2b(fake.account)
const box = await sandbox.create()
const START = { path: 'process.Process/Start' }
const many = (count, work) => Promise.all(Array.from({ length: count }, (_, at) => work(at)))

/** How many connections were opened meanwhile. */
async function opened(work) {
  const before = await fake.stats()
  await work()
  const after = await fake.stats()
  assert.equal(after.connections - before.connections, after.http2Connections - before.http2Connections)
  return after.connections - before.connections
}

/** A command that leaves a line behind each time that it runs. */
let marks = 0
const marked = (more = '') => {
  const mark = `/tmp/mark-${++marks}`
  const run = () => box.runCommand(`echo ran >> ${mark}${more}`)
  const times = async () => (await box.runCommand(`cat ${mark} 2>/dev/null | wc -l`)).stdout.trim()
  return { run, times }
}

describe('over HTTP/2', () => {
  test('64 commands at once, files and the control plane share one connection', async () => {
    const first = await fake.stats()
    assert.deepEqual([first.connections, first.http2Connections], [1, 1])
    const connections = await opened(async () => {
      await many(64, (at) => box.runCommand('echo', [String(at)]))
      await Promise.all([
        sandbox.list(),
        box.filesystem.writeFile('/tmp/x', 'x'),
        box.filesystem.readdir('/tmp'),
        box.getInfo(),
      ])
    })
    assert.equal(connections, 0)
    assert.ok((await fake.stats()).maxInFlight >= 32)
  })

  test('a process of its own opens one connection for its first 64 commands', async () => {
    const source = `
      const { sandbox } = c.e2b(${JSON.stringify(fake.account)})
      const box = await sandbox.getById(${JSON.stringify(box.sandboxId)})
      const all = await Promise.all(Array.from({ length: 64 }, (_, at) => box.runCommand('echo', [String(at)])))
      console.log(all.every(({ stdout }, at) => stdout === at + '\\n'))`
    assert.equal(await opened(async () => assert.equal(await output(source), 'true\n')), 1)
  })

  test('what goes on for long holds nothing up: 150 processes, and a command beside them', async () => {
    const connections = await opened(async () => {
      const started = await many(150, () => box.runCommand('sleep 30', { background: true }))
      const begun = Date.now()
      assert.equal((await box.runCommand('echo on')).stdout, 'on\n')
      assert.ok(Date.now() - begun < 5_000)
      await box.runCommand('pkill sleep')
      await Promise.all(started.map(async ({ pid }) => (await box.getProcess(pid)).wait()))
    })
    // Each is looked at once in a while, beside its stream.
    assert.ok(connections >= 1 && connections <= 4, `${connections}`)
  })

  test('a connection that is given up in good order is followed by another', async () => {
    const slow = box.runCommand('sleep 0.5; echo slow')
    await box.runCommand('true')
    await fake.fault({ action: { goaway: {} } })
    assert.equal((await box.runCommand('echo on')).stdout, 'on\n')
    const after = await many(20, (at) => box.runCommand('echo', [String(at)]))
    assert.deepEqual(
      after.map(({ stdout }) => Number(stdout)),
      after.map((_, at) => at),
    )
    assert.equal((await slow).stdout, 'slow\n')
  })

  test('a request that was refused with its connection is sent again, and done once', async () => {
    for (const code of [0, 11]) {
      const { run, times } = marked()
      // Begun before: the stream that is refused is to be the last of the connection.
      const begun = signalled()
      const onStdout = () => begun.resolve()
      const going = box.runCommand('echo begun; sleep 0.3; echo going; exit 3', { onStdout })
      await begun.promise
      await fake.fault({ match: START, action: { goaway: { code, refuse: true } } })
      const done = await run().catch((error) => error)
      if (done instanceof Error) assert.ok(done instanceof UnavailableError, done.stack)
      else assert.equal(await times(), '1')
      assert.equal((await going).exitCode, 3)
      await fake.clearFaults()
    }
  })

  test('a stream that is refused is sent again, create too', async () => {
    const { run, times } = marked()
    await fake.fault({ match: START, action: { reset: { code: 7 } } })
    assert.equal((await run()).exitCode, 0)
    assert.equal(await times(), '1')
    const metadata = { refused: 'once' }
    await fake.fault({ match: { path: '/sandboxes', method: 'POST' }, action: { reset: { code: 7 } } })
    const made = await sandbox.create({ metadata })
    assert.equal((await sandbox.list({ metadata })).length, 1)
    await made.destroy()
  })

  test('a stream that is reset is found again, and what it ran is not run twice', async () => {
    const { run, times } = marked('; exit 5')
    await fake.fault({ match: START, processed: true, action: { reset: {} } })
    assert.equal((await run()).exitCode, 5)
    assert.equal(await times(), '1')
    const cut = marked('; sleep 0.5; echo late; exit 6')
    await fake.fault({ match: START, action: { cut: { frames: 1, how: 'reset' } } })
    const result = await cut.run()
    assert.deepEqual([result.stdout, result.exitCode], ['late\n', 6])
    assert.equal(await cut.times(), '1')
  })

  test('create is not repeated where it may have been done', async () => {
    const metadata = { reset: 'once' }
    await fake.fault({
      match: { path: '/sandboxes', method: 'POST' },
      processed: true,
      action: { reset: {} },
    })
    await failure(sandbox.create({ metadata }), UnavailableError, { message: /^no answer from 127\.0\.0\.1/ })
    const made = await sandbox.list({ metadata })
    assert.equal(made.length, 1)
    await made[0].destroy()
  })

  test('a connection that is torn down under load costs nobody an exit code', async () => {
    const started = many(30, (at) => box.runCommand(`sleep 0.6; echo ${at}; exit ${at}`))
    await eventually(
      'all have begun',
      async () => (await box.processes().then(() => fake.stats())).inFlight >= 30,
    )
    await fake.fault({ match: { path: '/sandboxes' }, action: { close: {} } })
    const info = box.getInfo()
    const results = await started
    assert.deepEqual(
      results.map(({ exitCode }) => exitCode),
      results.map((_, at) => at),
    )
    assert.equal((await info).status, 'running')
    assert.deepEqual(
      results.filter(({ stdout }, at) => stdout !== `${at}\n` && stdout !== ''),
      [],
    )
  })

  test('a certificate of nobody is refused, with what to do about it', async () => {
    const source = `
      await c.e2b(${JSON.stringify(fake.account)}).sandbox.list().catch((error) => console.log(error.code, error.message, error.hint))`
    const text = await output(source, { env: { NODE_EXTRA_CA_CERTS: '' } })
    assert.match(text, /^UNAVAILABLE cannot agree on encryption with 127\.0\.0\.1:\d+: .*NODE_EXTRA_CA_CERTS/)
  })
})
