// What a provider of one’s own cannot do, and what it says that it can.

import assert from 'node:assert/strict'
import { describe } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'

import {
  AbortError,
  AlreadyExistsError,
  compute,
  InvalidArgumentError,
  local,
  NotFoundError,
  UnavailableError,
  UnsupportedError,
} from '../index.js'
import { plugin } from './plugin.mjs'
import { eventually, failure, signalled, test } from './support.mjs'

describe('what a provider of one’s own cannot do', () => {
  test('is refused by name', async () => {
    const mine = plugin({ getInfo: undefined, filesystem: undefined, runCommand: undefined })
    mine.sandbox.list = undefined
    const box = await compute.sandbox.create({ provider: mine })
    for (const [call, name] of [
      [() => box.getInfo(), /getInfo/],
      [() => box.getUrl({ port: 80 }), /getUrl/],
      [() => box.extendTimeout(1), /extendTimeout/],
      [() => box.filesystem.readFile('/a'), /filesystem\.readFile/],
      [() => box.filesystem.writeFile('/a', ''), /filesystem\.writeFile/],
      [() => box.filesystem.readdir('/'), /filesystem\.readdir/],
      [() => box.filesystem.stat('/a'), /filesystem\.exists/],
      [() => box.filesystem.rename('/a', '/b'), /filesystem\.rename/],
      [() => box.filesystem.copy('/a', '/b'), /filesystem\.copy/],
      [() => box.runCommand('true'), /runCommand/],
      [() => box.runCode('1'), /runCommand/],
      [() => box.runCommand('true', { stdin: 'x' }), /stdin/],
      [() => box.runCommand('true', { user: 'x' }), /user/],
      [() => compute.sandbox.list(mine), /list/],
      [() => compute.sandbox.create({ provider: mine, network: 'none' }), /network/],
      [() => compute.sandbox.create({ provider: mine, resources: { memory: 1 << 30 } }), /resources/],
      [() => box.spawn('true'), /spawn/],
      [() => box.waitForPort(80), /waitForPort/],
    ]) {
      await failure(call(), UnsupportedError, { message: name, provider: 'mine' })
    }
    await box.destroy()
  })

  test('is refused for bytes that are no text, where there are no commands to carry them', async () => {
    const filesystem = { readFile: async () => 'a\uFFFDb', writeFile: async () => {} }
    const box = await compute.sandbox.create({ provider: plugin({ filesystem, runCommand: undefined }) })
    assert.equal(await box.filesystem.readFile('/a'), 'a\uFFFDb')
    const read = box.filesystem.readFile('/a', { encoding: 'bytes' })
    await failure(read, UnsupportedError, { message: /bytes that are no text/ })
    const write = box.filesystem.writeFile('/a', new Uint8Array([255]))
    await failure(write, UnsupportedError, { message: /bytes that are no text/ })
    await box.destroy()
  })

  test('is refused where commands carry bytes wrongly, before anything is overwritten', async () => {
    const mine = plugin({
      runCommand: undefined,
      filesystem: { readFile: async () => '\uFFFD', writeFile: async () => {} },
    })
    const inner = local()
    const { create } = mine.sandbox
    mine.sandbox.create = async (options) => {
      const made = await create(options)
      const real = await inner.sandbox.getById(made.sandboxId)
      // A program that loses every byte that is no text, as some do.
      made.runCommand = (line) => real.runCommand(line.replaceAll('base64 -d', 'base64 -d | tr -d "\\377"'))
      return made
    }
    const box = await compute.sandbox.create({ provider: mine })
    const real = await inner.sandbox.getById(box.sandboxId)
    await real.filesystem.writeFile('/tmp/kept', 'kept')
    const write = box.filesystem.writeFile('/tmp/kept', new Uint8Array([65, 255]))
    await failure(write, UnsupportedError, { message: /not what it was given/ })
    assert.deepEqual(
      (await real.filesystem.readdir('/tmp')).map(({ name }) => name),
      ['kept'],
    )
    assert.equal(await real.filesystem.readFile('/tmp/kept'), 'kept')
    await box.destroy()
  })

  test('is built of commands: files without a method for them', async () => {
    const box = await compute.sandbox.create({ provider: plugin({ filesystem: undefined }) })
    const { filesystem } = box
    await filesystem.writeFile('/app/text', 'text ☕')
    assert.equal(await filesystem.readFile('/app/text'), 'text ☕')
    await filesystem.mkdir('/app/dir/below')
    await filesystem.mkdir('/app/dir')
    await failure(filesystem.mkdir('/app/text'), AlreadyExistsError)
    assert.equal(await filesystem.exists('/app/dir/below'), true)
    assert.deepEqual((await filesystem.stat('/app/dir')).type, 'directory')
    await filesystem.remove('/app/dir')
    assert.equal(await filesystem.exists('/app/dir'), false)
    await failure(filesystem.remove('/app/dir'), NotFoundError, { message: 'File not found: /app/dir' })
    await failure(filesystem.readFile('/app'), InvalidArgumentError)
    await box.destroy()
  })

  test('is not made up: what it does not tell of a path is not there', async () => {
    const filesystem = {
      exists: async (path) => path !== '/none',
      readdir: async () => [{ name: 'known', type: 'file' }],
    }
    const box = await compute.sandbox.create({ provider: plugin({ filesystem }) })
    const known = { name: 'known', type: 'file', path: '/tmp/known', isDirectory: false }
    assert.deepEqual(await box.filesystem.stat('/tmp/known'), known)
    await failure(box.filesystem.stat('/none'), NotFoundError)
    await failure(box.filesystem.stat('/tmp/unknown'), UnsupportedError, { message: /`stat`/ })
    await box.destroy()
  })

  test('is ending a command: it is no longer waited for, and that is told', async () => {
    const box = await compute.sandbox.create({ provider: plugin() })
    assert.equal((await box.runCommand('echo on', { timeout: 60_000 })).abandoned, undefined)
    const late = await box.runCommand('sleep 5', { timeout: 100 })
    assert.deepEqual([late.exitCode, late.timedOut, late.abandoned], [124, true, true])
    const run = box.runCommand('sleep 5', { signal: AbortSignal.timeout(100) })
    const { result } = await failure(run, AbortError)
    assert.deepEqual([result.exitCode, result.signal, result.abandoned], [-1, undefined, true])
    await failure(box.runCommand('true', { signal: AbortSignal.abort() }), AbortError)
    const mine = new Error('mine')
    const thrown = box.runCommand('echo on', {
      onStdout() {
        throw mine
      },
    })
    assert.equal(await failure(thrown), mine)
    await box.destroy()
  })

  test('is a limit of its own: it is given ours, and ours is what is told', async () => {
    const given = []
    const box = await compute.sandbox.create({
      provider: plugin({
        runCommand: async (_line, { timeout }) => {
          given.push(timeout)
          await sleep(timeout)
          return { stdout: '', stderr: 'my own limit', exitCode: 127 }
        },
      }),
    })
    for (let round = 0; round < 5; round++) {
      const late = await box.runCommand('true', { timeout: 100 })
      assert.deepEqual([late.exitCode, late.timedOut, late.stderr], [124, true, ''])
    }
    assert.deepEqual(given, [100, 100, 100, 100, 100])
    await box.destroy()
  })

  test('is undone when create was aborted meanwhile', async () => {
    const mine = plugin()
    const { create } = mine.sandbox
    const [asked, gate] = [signalled(), signalled()]
    mine.sandbox.create = async (options) => {
      asked.resolve()
      await gate.promise
      return create(options)
    }
    const controller = new AbortController()
    const made = failure(compute.sandbox.create({ provider: mine, signal: controller.signal }), AbortError)
    await asked.promise
    controller.abort()
    await made
    gate.resolve()
    await eventually('it was made', () => mine.calls.some(([name]) => name === 'create'))
    await eventually('it is unmade', () => mine.known.size === 0)
  })

  test('is no provider at all without create, getById and destroy', async () => {
    const { sandbox } = plugin()
    for (const name of ['create', 'getById', 'destroy']) {
      const lacking = { name: 'lacking', sandbox: { ...sandbox, [name]: undefined } }
      await failure(compute.sandbox.create({ provider: lacking }), InvalidArgumentError)
      assert.throws(() => compute({ provider: lacking }), InvalidArgumentError)
    }
  })
})

describe('what a provider of one’s own says that it can', () => {
  const able = (capabilities, runCommand) => ({ ...plugin({ runCommand }), capabilities })

  test('ends a command: a time limit and a signal reach it', async () => {
    const inner = await local().sandbox.create()
    const provider = able({ kill: true }, (line, { signal }) => inner.runCommand(line, { signal }))
    const box = await compute.sandbox.create({ provider })
    const late = await box.runCommand('touch /tmp/begun; sleep 60', { timeout: 300 })
    assert.deepEqual([late.exitCode, late.timedOut, late.abandoned], [124, true, undefined])
    const run = box.runCommand('sleep 60', { signal: AbortSignal.timeout(300) })
    const { result } = await failure(run, AbortError)
    assert.deepEqual([result.exitCode, result.abandoned], [137, undefined])
    assert.equal((await inner.runCommand('pgrep sleep')).exitCode, 1)
    assert.equal((await box.runCommand('echo on')).stdout, 'on\n')
    await failure(box.spawn('true'), UnsupportedError)
    await Promise.all([box.destroy(), inner.destroy()])
  })

  test('is told output as it comes', async () => {
    const gate = signalled()
    const provider = able({ stream: true }, async (_line, { onStdout, onStderr }) => {
      onStdout('first ')
      onStdout(new Uint8Array([0xe2, 0x98]))
      onStderr('err')
      await gate.promise
      onStdout(new Uint8Array([0x95]))
      return { stdout: 'first ☕, and the rest', stderr: 'err', exitCode: 0 }
    })
    const box = await compute.sandbox.create({ provider })
    const heard = []
    const run = box.runCommand('true', {
      onStdout: (text) => heard.push(text),
      onStderr: (text) => heard.push(text),
    })
    await eventually('it was heard', () => heard.length === 2)
    assert.deepEqual(heard, ['first ', 'err'])
    gate.resolve()
    const { stdout, stderr } = await run
    assert.deepEqual([stdout, stderr], ['first ☕, and the rest', 'err'])
    assert.deepEqual(heard, ['first ', 'err', '☕', ', and the rest'])
    await box.destroy()
  })

  test('may leave out of the result what it has told', async () => {
    const provider = able({ stream: true }, async (_line, { onStdout }) => {
      onStdout('all of it')
      return { exitCode: 0 }
    })
    const box = await compute.sandbox.create({ provider })
    assert.equal((await box.runCommand('true')).stdout, 'all of it')
    await box.destroy()
  })

  test('keeps snapshots', async () => {
    const kept = new Map()
    const provider = {
      ...plugin(),
      snapshot: {
        create: async (sandboxId, options) => {
          kept.set('snap', sandboxId)
          return { id: 'snap', provider: 'mine', createdAt: new Date(), metadata: options }
        },
        list: async () => [...kept.keys()].map((id) => ({ id })),
        delete: async (id) => kept.delete(id),
      },
    }
    const box = await compute.sandbox.create({ provider })
    assert.deepEqual(await box.snapshot({ name: 'a' }), { id: 'snap', names: ['a'] })
    assert.equal(kept.get('snap'), box.sandboxId)
    await box.destroy()
  })

  test('goes on in the background, under the number that it tells', async () => {
    const asked = []
    const provider = plugin({
      runCommand: async (line, options) => {
        asked.push([line, options])
        return { exitCode: line.includes('fail') ? 1 : 0, pid: 42, stderr: 'no room' }
      },
    })
    const box = await compute.sandbox.create({ provider })
    const started = await box.runCommand('sleep 1 && true', { background: true })
    assert.deepEqual([started.pid, started.isBackground, started.exitCode], [42, true, 0])
    assert.deepEqual(asked, [[`"\${BASH:-sh}" -c 'sleep 1 && true'`, { background: true }]])
    await failure(box.runCommand('fail', { background: true }), UnavailableError, { message: /no room/ })
    await box.destroy()
  })
})
