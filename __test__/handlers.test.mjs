// The handlers of terminals: when they are told what, what they may do, and what an open terminal costs.

import assert from 'node:assert/strict'
import { before, describe } from 'node:test'

import { NotFoundError } from '../index.js'
import { belongings, eventually, failure, left, output, program, sandbox, test } from './support.mjs'

let box

before(async () => {
  box = await sandbox()
})

const text = (pieces) => Buffer.concat(pieces).toString()

describe('onData', () => {
  test('takes what is shown in pieces that end where a character does', async () => {
    const pieces = []
    const line = String.raw`stty -onlcr; for byte in 303 251 342 230 225 360 237 230 200; do printf \\$byte; sleep 0.01; done; printf 'a\377b\360\237'`
    const terminal = await box.terminal.create({ command: line, onData: (data) => pieces.push(data) })
    await eventually('it has ended', () => terminal.status === 'exited' && text(pieces).includes('b'))
    await eventually('all is told', () => Buffer.concat(pieces).length === 9 + 5)
    assert.ok(pieces.every((piece) => piece instanceof Uint8Array && piece.length > 0))
    const whole = pieces.map((piece) => Buffer.from(piece).toString())
    assert.deepEqual(whole.slice(0, 3), ['é', '☕', '😀'])
    // What is no UTF-8 comes as it is, and what never becomes a character at the end.
    assert.deepEqual([...Buffer.concat(pieces).subarray(9)], [0x61, 0xff, 0x62, 0xf0, 0x9f])
  })

  test('set late gets what was kept, for every handle', async () => {
    const terminal = await box.terminal.create({ command: 'echo early; touch /tmp/early; read x; echo late' })
    await eventually('it has begun', () => box.filesystem.exists('/tmp/early'))
    const found = await box.terminal.getById(terminal.id)
    const heard = { first: [], second: [] }
    terminal.onData = (data) => heard.first.push(data)
    await eventually('the kept is heard', () => text(heard.first) === 'early\r\n')
    await terminal.write('\n')
    await eventually('it has ended', () => terminal.status === 'exited')
    found.onData = (data) => heard.second.push(data)
    const listed = (await box.terminal.list()).length
    await eventually('all is heard', () => text(heard.second) === 'early\r\n\r\nlate\r\n')
    await eventually('all is heard', () => text(heard.first) === 'early\r\n\r\nlate\r\n')
    assert.equal(listed, 0)
  })

  test('is replaced by another, and removed', async () => {
    const heard = { one: [], other: [] }
    const onData = (data) => heard.one.push(data)
    const terminal = await box.terminal.create({ command: 'stty -echo; cat', onData })
    assert.equal(terminal.onData, onData)
    await terminal.write('one\n')
    await eventually('one is heard', () => text(heard.one).includes('one'))
    terminal.onData = (data) => heard.other.push(data)
    await terminal.write('other\n')
    await eventually('the other is heard', () => text(heard.other).includes('other'))
    assert.equal(text(heard.one).includes('other'), false)
    terminal.onData = undefined
    assert.equal(terminal.onData, undefined)
    const before = heard.other.length
    // Nobody hears it, and it is held up by nobody.
    for (let turn = 0; turn < 40; turn++) await terminal.write(`${'x'.repeat(100)}\n`)
    await terminal.kill()
    assert.equal(heard.other.length, before)
  })

  test('that is slow misses nothing', async () => {
    const pieces = []
    const onData = (data) => {
      const end = performance.now() + 2
      while (performance.now() < end);
      pieces.push(Buffer.from(data))
    }
    const terminal = await box.terminal.create({ command: 'seq 100000', onData })
    const expected = Array.from({ length: 100_000 }, (_, at) => `${at + 1}\r\n`).join('')
    await eventually('all is heard', () => Buffer.concat(pieces).length === expected.length, 60_000)
    assert.equal(text(pieces), expected)
    await eventually('it has ended', () => terminal.exitCode === 0)
  })

  test('that throws is an uncaught exception, once each time, and harms nothing else', async () => {
    const printed = await output(`
      const caught = []
      process.on('uncaughtException', (error) => caught.push(error.message))
      process.on('unhandledRejection', (error) => caught.push('rejected ' + error.message))
      const box = await c.local().sandbox.create()
      let calls = 0
      const terminal = await box.terminal.create({
        command: 'mkfifo /tmp/go; echo one; read x < /tmp/go; echo two',
        onData: (data) => { calls++; throw new Error('data ' + calls) },
        onExit: () => { throw new Error('exit') },
      })
      const until = async (count) => { while (caught.length < count) await box.runCommand('true') }
      await until(1)
      await box.runCommand('echo > /tmp/go')
      await until(3)
      await box.runCommand('sleep 0.2')
      // Asynchronous ones reject as any promise does.
      await box.terminal.create({ command: 'true', onExit: async () => { throw new Error('later') } })
      await until(4)
      console.log(JSON.stringify(caught))
      await box.destroy()`)
    assert.deepEqual(JSON.parse(printed), ['data 1', 'data 2', 'exit', 'rejected later'])
    const { code, stderr } = await program(`
      const box = await c.local().sandbox.create()
      await box.terminal.create({ command: 'echo on; cat', onData: () => { throw new Error('mine') } })
      await new Promise((resolve) => setTimeout(resolve, 30_000))`).ended
    assert.equal(code, 1)
    assert.match(stderr, /Error: mine/)
  })
})

describe('onExit', () => {
  test('is told the exit code once, after the last of what was shown', async () => {
    for (const [command, code] of [
      ['seq 50000; exit 3', 3],
      ['seq 50000; kill -9 $$', 137],
    ]) {
      const heard = []
      await box.terminal.create({
        command,
        onData: (data) => heard.push(Buffer.from(data)),
        onExit: (exitCode) => heard.push(exitCode),
      })
      await eventually('it has exited', () => typeof heard.at(-1) === 'number')
      assert.equal(heard.pop(), code)
      assert.ok(text(heard).endsWith('49999\r\n50000\r\n'))
    }
  })

  test('set late is told all the same, whether somebody listens to the rest or not', async () => {
    for (const onData of [undefined, () => {}]) {
      const terminal = await box.terminal.create({ command: 'exit 4', onData })
      await eventually('it has exited', () => terminal.status === 'exited')
      await box.runCommand('true')
      const codes = []
      terminal.onExit = (code) => codes.push(code)
      await eventually('it is told', () => codes.length > 0)
      // Told once: another who listens later is not.
      terminal.onExit = (code) => codes.push(code)
      await box.runCommand('true')
      assert.deepEqual(codes, [4])
      const found = { codes: [] }
      terminal.onExit = undefined
      terminal.onData = (data) => found.codes.push(data)
      await box.runCommand('true')
      assert.deepEqual(found.codes, [])
    }
  })

  test('is replaced by another, and removed', async () => {
    const codes = []
    const terminal = await box.terminal.create({
      command: 'read x; exit 6',
      onExit: () => codes.push('first'),
    })
    terminal.onExit = undefined
    terminal.onExit = (code) => codes.push(code)
    await terminal.write('\n')
    await eventually('it is told', () => codes.length > 0)
    await box.runCommand('true')
    assert.deepEqual(codes, [6])
  })

  test('is told of the end of the sandbox', async () => {
    const own = await sandbox()
    const codes = []
    const options = { command: "trap '' HUP; cat", onExit: (code) => codes.push(code) }
    const terminals = await Promise.all([1, 2, 3].map(() => own.terminal.create(options)))
    await own.destroy()
    await eventually('all are told', () => codes.length === 3)
    assert.deepEqual(codes, [137, 137, 137])
    assert.ok(terminals.every(({ status }) => status === 'exited'))
    await terminals[0].kill()
    await failure(terminals[0].write('x'), NotFoundError)
    await failure(own.terminal.list(), NotFoundError, { message: /destroyed/ })
    await failure(own.terminal.getById(terminals[0].id), NotFoundError)
    await failure(own.terminal.create(), NotFoundError)
    await failure(own.terminal.destroy(terminals[0].id), NotFoundError)
  })
})

describe('an open terminal', () => {
  test('is not collected while somebody listens to it, and is after its end', async () => {
    const printed = await output(
      `const box = await c.local().sandbox.create()
       let heard = ''
       let code
       const collected = []
       const registry = new FinalizationRegistry((name) => collected.push(name))
       async function begin() {
         const terminal = await box.terminal.create({
           command: 'read x; echo got $x; exit 3',
           onData: (data) => { heard += Buffer.from(data) },
         })
         const other = await box.terminal.create({ command: 'read x; exit 4', onExit: (exitCode) => { code = exitCode } })
         registry.register(terminal, 'one')
         registry.register(other, 'other')
         return [terminal.id, other.id]
       }
       const ids = await begin()
       for (let turn = 0; turn < 10; turn++) { gc(); await box.runCommand('true') }
       console.log('collected', collected.length)
       for (const id of ids) await (await box.terminal.getById(id)).write('it\\n')
       while (!heard.includes('got it') || code === undefined) await box.runCommand('true')
       console.log('heard', code)
       for (let turn = 0; turn < 100 && collected.length < 2; turn++) { gc(); await box.runCommand('true') }
       console.log('collected', collected.sort().join())
       await box.destroy()`,
      { flags: ['--expose-gc'] },
    )
    assert.equal(printed, 'collected 0\nheard 4\ncollected one,other\n')
  })

  test('keeps no process alive, and ends with it', async () => {
    const running = program(`
      const box = await c.local().sandbox.create({ timeout: 0 })
      await box.terminal.create({ command: 'while :; do echo on; sleep 0.01; done', onData: () => {}, onExit: () => {} })
      await box.terminal.create()
      const quiet = await box.terminal.create({ command: 'cat' })
      quiet.onExit = () => {}
      console.log('ready')
      await new Promise((resolve) => process.stdin.once('data', resolve))
      process.stdin.destroy()
      console.log('done')`)
    await running.line('ready')
    const all = belongings(running.pid)
    running.child.stdin.write('go\n')
    const { code, signal, stderr } = await running.ended
    assert.deepEqual({ code, signal, stderr }, { code: 0, signal: null, stderr: '' })
    await eventually('nothing is left', () => left(all).length === 0)
  })

  test('of a worker thread survives its end, and harms nobody', async () => {
    const work = `
      const { parentPort, workerData } = require('node:worker_threads')
      const { local } = require(workerData.index)
      async function main() {
        const box = await local().sandbox.getById(workerData.id)
        const terminal = await box.terminal.create({ command: 'yes', onData: () => parentPort.postMessage(terminal.id), onExit: () => {} })
        const child = box.spawn('yes')
        for await (const text of child) parentPort.postMessage(terminal.id)
      }
      main()`
    const printed = await output(
      `import { Worker } from 'node:worker_threads'
       import { once } from 'node:events'
       const box = await c.local().sandbox.create()
       const workerData = { id: box.sandboxId, index: process.env.INDEX }
       const ids = []
       for (let round = 0; round < 3; round++) {
         const workers = Array.from({ length: 3 }, () => new Worker(process.env.WORK, { eval: true, execArgv: [], workerData }))
         await Promise.all(workers.map(async (worker, at) => {
           let id
           for (let message = 0; message <= at * 20; message++) [id] = await once(worker, 'message')
           if (id) ids.push(id)
           await worker.terminate()
         }))
       }
       // They belong to the sandbox.
       const terminals = await box.terminal.list()
       console.log(terminals.length, (await box.processes()).length)
       await Promise.all(terminals.map((terminal) => terminal.kill()))
       await Promise.all((await box.processes()).map((process) => process.kill()))
       console.log((await box.terminal.list()).length, (await box.runCommand('pgrep -c yes')).stdout.trim())
       await box.destroy()`,
      { env: { WORK: work, INDEX: new URL('../index.js', import.meta.url).pathname } },
    )
    assert.equal(printed, '9 9\n0 0\n')
  })

  test('that shows without end costs no memory, and slows nobody down', async () => {
    const printed = await output(
      `const [box, other] = [await c.local().sandbox.create(), await c.local().sandbox.create()]
       const measure = () => { gc(); return process.memoryUsage().rss >> 20 }
       let bytes = 0
       const terminal = await box.terminal.create({ command: 'yes', onData: (data) => { bytes += data.length } })
       const unread = await box.terminal.create({ command: 'yes' })
       while (bytes < 5_000_000) await other.runCommand('true')
       const before = measure()
       const end = Date.now() + 10_000
       let commands = 0
       while (Date.now() < end || bytes < 30_000_000) {
         if ((await other.runCommand('echo on')).stdout === 'on\\n') commands++
       }
       const after = measure()
       await Promise.all([terminal.kill(), unread.kill()])
       console.log(JSON.stringify({ before, after, bytes, commands, codes: [terminal.exitCode, unread.exitCode] }))
       await Promise.all([box.destroy(), other.destroy()])`,
      { flags: ['--expose-gc'], timeout: 100_000 },
    )
    const { before, after, bytes, commands, codes } = JSON.parse(printed)
    assert.deepEqual(codes, [129, 129])
    assert.ok(after - before < 64, `RSS: ${before} MiB, then ${after} MiB, of ${bytes >> 20} MiB shown`)
    assert.ok(commands >= 20, `${commands} commands in ten seconds`)
  }, 120_000)

  test('costs nothing when it is gone: 300 one after the other', async () => {
    const printed = await output(
      `import { readdirSync } from 'node:fs'
       const box = await c.local().sandbox.create()
       const handles = []
       async function turn() {
         const terminal = await box.terminal.create({ command: 'echo on; read x', onData: () => {}, onExit: () => {} })
         await terminal.write('x\\n')
         while (terminal.status === 'running') await new Promise(setImmediate)
         const child = box.spawn('echo on; read x')
         await child.stdin.write('x\\n')
         await child
         handles.push(terminal, child)
       }
       const measure = () => { gc(); return [readdirSync('/proc/self/fd').length, process.memoryUsage().rss >> 20] }
       const turns = async (count) => { for (let at = 0; at < count; at += 10) await Promise.all(Array.from({ length: 10 }, turn)) }
       await turns(100)
       const before = measure()
       await turns(200)
       await box.runCommand('sleep 0.2')
       console.log(JSON.stringify([before, measure()]))
       await box.destroy()`,
      { flags: ['--expose-gc'], timeout: 100_000 },
    )
    const [before, after] = JSON.parse(printed)
    assert.ok(after[0] <= before[0], `descriptors: ${before[0]}, then ${after[0]}`)
    assert.ok(after[1] <= before[1] + 24, `RSS: ${before[1]} MiB, then ${after[1]} MiB`)
  }, 120_000)
})
