// Processes that go on after their call: background, and how they are found again.

import assert from 'node:assert/strict'
import { before, describe } from 'node:test'

import {
  AbortError,
  createCompute,
  InvalidArgumentError,
  local,
  NotFoundError,
  UnsupportedError,
} from '../index.js'
import { eventually, failure, output, program, sandbox, test } from './support.mjs'

let box

before(async () => {
  box = await sandbox()
})

const background = true

/** All that a process writes until it ends. */
async function all(process) {
  let text = ''
  for await (const piece of process) text += piece
  return text
}

describe('background', () => {
  test('resolves when the command has begun', async () => {
    const result = await box.runCommand('echo out; exec sleep 1000', { background })
    assert.ok(result.pid > 1)
    assert.deepEqual([result.isBackground, result.exitCode], [true, 0])
    assert.deepEqual([result.stdout, result.stderr], ['', ''])
    assert.ok(Number.isInteger(result.durationMs) && result.durationMs >= 1)
    assert.equal(result.executionTime, result.durationMs)
    assert.deepEqual([result.sandboxId, result.provider], [box.sandboxId, 'local'])
    const found = await box.getProcess(result.pid)
    await found.kill()
    assert.equal((await found.wait()).stdout, 'out\n')
  })

  test('takes a command in each of its forms', async () => {
    const printf = await box.runCommand('printf', ['%s|', '$A'], { background })
    const list = await box.runCommand(['printf', '%s|', '$B'], { background })
    const texts = [printf, list].map(async ({ pid }) => (await (await box.getProcess(pid)).wait()).stdout)
    assert.deepEqual(await Promise.all(texts), ['$A|', '$B|'])
  })

  test('of document 3 runs as written', async () => {
    const sandbox = box
    await sandbox.filesystem.writeFile('/home/user/bin/npm', '#!/bin/sh\necho "$@"; sleep 1000\n')
    await sandbox.runCommand('chmod +x bin/npm')
    // As it is, whatever `npm` does, and as it is where there is one.
    const result = await sandbox.runCommand('npm run dev', {
      background: true,
    })
    assert.equal(result.exitCode, 0)
    const serving = await sandbox.runCommand('npm run dev', {
      background: true,
      env: { PATH: '/home/user/bin:/usr/bin:/bin' },
    })
    const found = await sandbox.getProcess(serving.pid)
    for await (const text of found) if (text === 'run dev\n') break
    await found.kill()
  })

  test('never raises, however the command ends', async () => {
    const strict = await createCompute({ provider: local() }).sandbox.create()
    for (const [line, options, exitCode] of [
      ['exit 3', {}, 3],
      ['exit 4', { throwOnError: true }, 4],
      ['sleep 1000', { timeout: 1 }, 124],
      ['no-such-program', {}, 127],
    ]) {
      const { pid } = await strict.runCommand(line, { background, ...options })
      const found = await strict.getProcess(pid)
      assert.equal((await found.wait()).exitCode, exitCode, line)
    }
    await failure(strict.runCommand('true', { background, cwd: '/nowhere' }), NotFoundError)
    await failure(strict.runCommand('true', { background: 'yes' }), InvalidArgumentError)
    await strict.destroy()
  })

  test('tells its callbacks until the command ends, and then no more', async () => {
    let heard = ''
    let errors = ''
    await box.runCommand('mkfifo /tmp/go')
    const { pid } = await box.runCommand('read go < /tmp/go; seq 100000; echo err >&2', {
      background,
      onStdout: (text) => {
        heard += text
      },
      onStderr: (text) => {
        errors += text
      },
    })
    assert.equal(heard, '')
    await box.runCommand('echo > /tmp/go')
    const result = await (await box.getProcess(pid)).wait()
    assert.equal(heard.length, 588_895)
    assert.equal(heard, result.stdout)
    assert.equal(errors, 'err\n')
  })

  test('ends with a callback that throws: the first who waits is told what', async () => {
    const mine = new RangeError('not like this')
    const onStdout = () => {
      throw mine
    }
    const { pid } = await box.runCommand('echo on; exec sleep 62626', { background, onStdout })
    const found = await box.getProcess(pid)
    assert.equal(await failure(found.wait()), mine)
    const again = await box.getProcess(pid)
    await failure(again.wait(), Error, { message: /not like this/ })
    assert.equal((await box.runCommand('pgrep -fx "sleep 62626"')).exitCode, 1)
  })

  test('ends with its signal, whenever it is aborted', async () => {
    const controller = new AbortController()
    const { signal } = controller
    const { pid } = await box.runCommand('echo out; exec sleep 1000', { background, signal })
    const found = await box.getProcess(pid)
    for await (const text of found) if (text === 'out\n') break
    controller.abort()
    const error = await failure(found.wait(), AbortError, { code: 'ABORTED' })
    assert.equal(error.result.stdout, 'out\n')
    await failure(box.runCommand('true', { background, signal }), AbortError)
  })

  test('reads its stream until it ends, and closes it', async () => {
    let closed = false
    async function* lines() {
      try {
        for (let number = 0; ; number++) {
          yield `${number}\n`
          await new Promise(setImmediate)
        }
      } finally {
        closed = true
      }
    }
    const { pid } = await box.runCommand('head -n 100', { background, stdin: lines() })
    await eventually('it is closed', () => closed)
    const { stdout } = await (await box.getProcess(pid)).wait()
    assert.ok(stdout.startsWith('0\n1\n') && stdout.endsWith('98\n99\n'))
    const stream = new Blob(['of a blob']).stream()
    const reading = await box.runCommand('cat', { background, stdin: stream })
    assert.equal((await (await box.getProcess(reading.pid)).wait()).stdout, 'of a blob')
    await eventually('it is let go of', () => !stream.locked)
    // Without one its input is at its end.
    const none = await box.runCommand('cat; echo end', { background })
    assert.equal((await (await box.getProcess(none.pid)).wait()).stdout, 'end\n')
  })

  test('is for code as well', async () => {
    const begun = await box.runCode('print("on", flush=True)\nimport time\ntime.sleep(1000)', { background })
    assert.deepEqual(
      [begun.isBackground, begun.language, begun.output, begun.exitCode],
      [true, 'python', '', 0],
    )
    const found = await box.getProcess(begun.pid)
    for await (const text of found) if (text === 'on\n') break
    await found.kill()
    const node = await box.runCode('console.log(6 * 7)', 'node', { background })
    assert.equal((await (await box.getProcess(node.pid)).wait()).stdout, '42\n')
    // It has begun before it can be known to be wrong.
    const broken = await box.runCode('def broken(', 'python', { background })
    assert.equal((await (await box.getProcess(broken.pid)).wait()).exitCode, 1)
  })

  test('keeps no process alive, and ends with it', async () => {
    const { code, signal, stdout, stderr } = await program(`
      const box = await c.local().sandbox.create({ timeout: 0 })
      const line = 'while :; do echo on; sleep 0.01; done'
      let heard = 0
      await box.runCommand(line, { background: true, onStdout: () => { if (++heard === 3) console.log('heard') } })
      await box.runCommand(line, { background: true, signal: new AbortController().signal })
      await box.runCommand('cat', { background: true, stdin: (async function* () { await new Promise(() => {}) })() })
      box.spawn(line)
      const read = box.spawn(line)
      await read.stdout.getReader().read()
      while (heard < 3) await box.runCommand('true')
      console.log('done', (await box.processes()).length)`).ended
    assert.deepEqual({ code, signal, stderr }, { code: 0, signal: null, stderr: '' })
    assert.equal(stdout, 'heard\ndone 5\n')
  })
})

describe('getProcess and processes', () => {
  test('tell programs apart that are not there', async () => {
    const begun = await Promise.all(['one', 'two'].map((name) => box.runCommand([name], { background })))
    assert.notEqual(begun[0].pid, begun[1].pid)
    for (const [at, name] of ['one', 'two'].entries()) {
      const found = await box.getProcess(begun[at].pid)
      const { stderr, exitCode } = await found.wait()
      assert.equal(exitCode, 127)
      assert.match(stderr, new RegExp(name))
    }
  })

  test('hold little of what many have written', async () => {
    const own = await sandbox()
    const before = process.memoryUsage().rss
    for (let count = 0; count < 100; count++) {
      const { pid } = await own.runCommand('head -c 1100000 /dev/zero | tee /dev/stderr | tr "\\0" "\\377"', {
        background,
      })
      await (await own.getProcess(pid)).wait()
    }
    const grown = (process.memoryUsage().rss - before) >> 20
    await own.destroy()
    assert.ok(grown < 150, `${grown} MiB`)
  })

  test('find what goes on, as what can be returned', async () => {
    const { pid } = await box.runCommand('echo out; echo err >&2; exec sleep 1000', { background })
    const found = await box.getProcess(pid)
    assert.equal('then' in found || 'catch' in found, false)
    assert.equal(await found, found)
    assert.equal(found.pid, pid)
    const listed = await box.processes()
    assert.deepEqual(
      listed.map((process) => process.pid),
      [pid],
    )
    assert.equal('then' in listed[0], false)
    // Another handle of the sandbox finds it as well.
    const other = await local().sandbox.getById(box.sandboxId)
    const handle = await other.getProcess(pid)
    const texts = [new Response(handle.stdout).text(), new Response(listed[0].stderr).text(), all(found)]
    await handle.kill('SIGTERM')
    assert.deepEqual(await Promise.all(texts), ['out\n', 'err\n', 'out\nerr\n'])
    const result = await found.wait()
    assert.deepEqual([result.stdout, result.stderr, result.signal], ['out\n', 'err\n', 'SIGTERM'])
    assert.deepEqual(await handle.wait(), result)
    assert.deepEqual(await box.processes(), [])
  })

  test('find the latest that have ended, with their output', async () => {
    const own = await sandbox()
    const pids = []
    for (let number = 0; number < 70; number++) {
      const { pid } = await own.runCommand(`echo ${number}`, { background })
      await (await own.getProcess(pid)).wait()
      pids.push(pid)
    }
    const found = await Promise.all(pids.map((pid) => own.getProcess(pid)))
    assert.ok(found.slice(-64).every(Boolean))
    assert.equal(found[0], null)
    for (const number of [20, 69]) assert.equal(await all(found[number]), `${number}\n`)
    await own.destroy()
  })

  test('find no more than what was started here', async () => {
    const waited = box.runCommand('echo $$; read x < /tmp/never', { onStdout: () => {} })
    waited.catch(() => {})
    const child = box.spawn('read x')
    await child.stdin.write('')
    assert.equal(await box.getProcess(1), null)
    assert.equal(await box.getProcess(child.pid + 100), null)
    assert.equal((await box.getProcess(child.pid)).pid, child.pid)
    for (const pid of [-1, 1.5, '2', null, undefined, Number.NaN, 2 ** 32]) {
      await failure(box.getProcess(pid), InvalidArgumentError, { message: /pid/, operation: 'getProcess' })
    }
    await child.stdin.end()
    await child
  })

  test('watch a process without holding it up', async () => {
    await box.runCommand('mkfifo /tmp/start')
    const { pid } = await box.runCommand('read go < /tmp/start; seq 1000000', { background })
    const found = await box.getProcess(pid)
    const reader = found.stdout.getReader()
    await box.runCommand('echo > /tmp/start')
    // It ends, though nobody has read it.
    assert.equal((await found.wait()).exitCode, 0)
    let text = ''
    for (let piece = await reader.read(); !piece.done; piece = await reader.read())
      text += Buffer.from(piece.value)
    assert.ok(text.length <= 1 << 20 && text.endsWith('\n999999\n1000000\n'), String(text.length))
  })

  test('are shared by all threads, whoever has started what', async () => {
    const printed = await output(`
      import { Worker } from 'node:worker_threads'
      import { once } from 'node:events'
      const box = await c.local().sandbox.create()
      const line = 'echo on; read x; exit 5'
      const child = box.spawn(line)
      await child.stdin.write('')
      const failing = box.spawn('echo; exec sleep 1000', { onStdout: () => { throw new Error('mine') } })
      await failing.wait().catch(() => {})
      const failed = box.spawn('echo; exec sleep 1000', { onStdout: () => { throw new Error('of another thread') } })
      await failed.stdin.write('').catch(() => {})
      while ((await box.processes()).some(({ pid }) => pid === failed.pid));
      const worker = new Worker(\`
        const { parentPort, workerData } = require('node:worker_threads')
        const { local } = require(workerData.index)
        async function main() {
          const box = await local().sandbox.getById(workerData.id)
          const child = await box.getProcess(workerData.pid)
          const failed = await box.getProcess(workerData.failed)
          parentPort.postMessage(await failed.wait().catch((error) => error.message))
          await child.stdin.write('x')
          await child.stdin.end()
          parentPort.postMessage((await child.wait()).exitCode)
        }
        main()\`, { eval: true, execArgv: [], workerData: { index: ${JSON.stringify(new URL('../index.js', import.meta.url).pathname)}, id: box.sandboxId, pid: child.pid, failed: failed.pid } })
      console.log((await once(worker, 'message'))[0])
      console.log((await once(worker, 'message'))[0], (await child).exitCode)
      await box.destroy()`)
    assert.match(printed, /of another thread\n5 5\n$/)
  })

  test('are refused where a command can only be run to its end', async () => {
    const provider = {
      sandbox: {
        create: async () => ({
          sandboxId: '1',
          runCommand: async () => ({ stdout: '', stderr: '', exitCode: 0 }),
        }),
        getById: async () => null,
        destroy: async () => {},
      },
    }
    const plugged = await createCompute({ provider }).sandbox.create()
    await failure(plugged.spawn('true'), UnsupportedError, { message: /spawn/ })
    await failure(plugged.getProcess(1), UnsupportedError, { message: /getProcess/ })
    await failure(plugged.processes(), UnsupportedError, { message: /processes/ })
    await failure(plugged.terminal.create(), UnsupportedError, { message: /terminal/ })
    await failure(plugged.terminal.list(), UnsupportedError, { message: /terminal/ })
  })
})
