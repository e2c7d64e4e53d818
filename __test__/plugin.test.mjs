// The seam: an object with sandbox.create, getById and destroy is a provider like ours.

import assert from 'node:assert/strict'
import { describe } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'

import {
  AbortError,
  AlreadyExistsError,
  CodeSyntaxError,
  CommandExitError,
  ComputeError,
  compute,
  createCompute,
  defineProvider,
  InvalidArgumentError,
  local,
  NotFoundError,
  Sandbox,
  UnavailableError,
  UnsupportedError,
} from '../index.js'
import { eventually, failure, output, signalled, test } from './support.mjs'

/** A provider as somebody would write it: in JavaScript, over sandboxes that are not ours. */
function plugin(extra = {}) {
  const inner = local()
  const known = new Map()
  const calls = []
  const wrap = (real) => ({
    sandboxId: real.sandboxId,
    runCommand: (command, options) =>
      calls.push(['runCommand', command, options]) && real.runCommand(command, options),
    getInfo: () => real.getInfo(),
    destroy: () => known.delete(real.sandboxId) && real.destroy(),
    filesystem: real.filesystem,
    ...extra,
  })
  const sandbox = {
    async create(options) {
      calls.push(['create', options])
      const { envs, metadata, timeout, sandboxId } = options
      const made = wrap(await inner.sandbox.create({ envs, metadata, timeout, sandboxId }))
      known.set(made.sandboxId, made)
      return made
    },
    async getById(id) {
      return known.get(id) ?? null
    },
    async list() {
      return [...known.values()]
    },
    async destroy(id) {
      await known.get(id)?.destroy()
    },
  }
  return { name: 'mine', sandbox, calls, known }
}

describe('a provider of one’s own', () => {
  test('works with setConfig, create({ provider }), createCompute and (provider, id)', async () => {
    const mine = plugin()
    for (const make of [
      () => compute({ provider: mine }).sandbox.create(),
      () => createCompute({ defaultProvider: mine }).sandbox.create(),
      () => createCompute({ providers: [mine] }).sandbox.create({ provider: 'mine' }),
      () => compute.sandbox.create({ provider: mine }),
      () => compute.sandbox.create({ options: { provider: mine } }),
      () => compute.setConfig({ provider: mine }).sandbox.create(),
    ]) {
      const box = await make()
      assert.ok(box instanceof Sandbox)
      assert.equal(box.provider, 'mine')
      assert.equal(box.getProvider(), mine)
      assert.equal(box.getInstance(), mine.known.get(box.sandboxId))
      assert.equal((await box.runCommand('echo on')).stdout, 'on\n')
      const found = await compute.sandbox.getById(mine, box.sandboxId)
      assert.equal(found.sandboxId, box.sandboxId)
      assert.equal(found.getProvider(), mine)
      const listed = await compute.sandbox.list(mine)
      assert.deepEqual(
        listed.map((one) => one.sandboxId),
        [box.sandboxId],
      )
      await compute.sandbox.destroy(mine, box.sandboxId)
      assert.equal(mine.known.size, 0)
      assert.equal(await compute.sandbox.getById(mine, box.sandboxId), null)
    }
    compute.clearConfig()
  })

  test('runs commands in every form, with its results told as ours', async () => {
    const mine = plugin()
    const box = await compute.sandbox.create({ provider: mine, envs: { A: 'b' } })
    const { durationMs, ...rest } = await box.runCommand('echo $A; echo err >&2; exit 3')
    assert.deepEqual(rest, {
      stdout: 'b\n',
      stderr: 'err\n',
      exitCode: 3,
      executionTime: durationMs,
      sandboxId: box.sandboxId,
      provider: 'mine',
    })
    const odd = ['$(id)', '; touch /tmp/x', "it's", 'a\nb', '-n', '', '*']
    const dump = 'import sys, json; print(json.dumps(sys.argv[1:]))'
    assert.deepEqual(JSON.parse((await box.runCommand('python3', ['-c', dump, ...odd])).stdout), odd)
    assert.deepEqual(JSON.parse((await box.runCommand(['python3', '-c', dump, ...odd])).stdout), odd)
    assert.equal((await box.runCommand('pwd; echo $B', { cwd: '/tmp', env: { B: 'c' } })).stdout, '/tmp\nc\n')
    const heard = []
    await box.runCommand('echo ☕; echo err >&2', {
      onStdout: (text) => heard.push(text),
      onStderr: (text) => heard.push(text),
    })
    assert.deepEqual(heard, ['☕\n', 'err\n'])
    await box.destroy()
  })

  test('has throwOnError and runCode on top', async () => {
    const mine = plugin()
    const strict = createCompute({ provider: mine })
    const box = await strict.sandbox.create()
    const error = await failure(box.runCommand('exit 3'), CommandExitError, { provider: 'mine' })
    assert.equal(error.result.exitCode, 3)
    assert.equal((await box.runCommand('exit 3', { throwOnError: false })).exitCode, 3)
    const code = await box.runCode('print(1 + 1)')
    assert.deepEqual([code.stdout, code.language, code.provider], ['2\n', 'python', 'mine'])
    await failure(box.runCode('print('), CodeSyntaxError, { message: /^Syntax error/ })
    const typed = await compute.sandbox.create({ provider: mine, runtime: 'python' })
    assert.equal((await typed.runCode('x = 1')).language, 'python')
    await Promise.all([box.destroy(), typed.destroy()])
  })

  test('has a filesystem and facts', async () => {
    const mine = plugin()
    const box = await compute.sandbox.create({ provider: mine, metadata: { a: 1 }, timeout: 100_000 })
    await box.filesystem.writeFile('/app/file', 'text ☕')
    await box.filesystem.mkdir('/app/dir')
    assert.equal(await box.filesystem.readFile('/app/file'), 'text ☕')
    assert.equal(await box.filesystem.exists('/app/file'), true)
    assert.equal(await box.filesystem.exists('/app/none'), false)
    const entries = await box.filesystem.readdir('/app')
    assert.deepEqual(
      entries.map(({ name, type }) => [name, type]),
      [
        ['dir', 'directory'],
        ['file', 'file'],
      ],
    )
    assert.ok(entries[0].modified instanceof Date)
    await box.filesystem.remove('/app/file')
    await failure(box.filesystem.readFile('/app/file'), NotFoundError, {
      message: 'File not found: /app/file',
    })
    // A stream is collected, and given at once.
    await box.filesystem.writeFile('/app/pieces', new Blob(['text ', '☕']))
    let read = ''
    for await (const piece of await box.filesystem.readFile('/app/pieces', { encoding: 'stream' })) {
      read += new TextDecoder().decode(piece)
    }
    assert.equal(read, 'text ☕')
    const { name, type, path, size } = await box.filesystem.stat('/app/dir')
    assert.deepEqual([name, type, path, size], ['dir', 'directory', '/app/dir', 0])
    assert.equal((await box.filesystem.stat('/app/pieces')).size, 8)
    assert.equal((await box.filesystem.stat('/')).type, 'directory')
    await failure(box.filesystem.stat('/app/none'), NotFoundError, { message: 'File not found: /app/none' })
    await box.filesystem.rename('/app/pieces', '/app/moved')
    await box.filesystem.copy('/app/moved', '/app/copied')
    assert.equal(await box.filesystem.readFile('/app/copied'), 'text ☕')
    const info = await box.getInfo()
    assert.deepEqual(
      [info.id, info.provider, info.status, info.timeout, info.metadata],
      [box.sandboxId, 'mine', 'running', 100_000, { a: 1 }],
    )
    const own = await mine.known.get(box.sandboxId).getInfo()
    assert.deepEqual(info.createdAt, own.createdAt)
    await box.destroy()
  })

  test('gets the options of create as its caller wrote them', async () => {
    const mine = plugin()
    const options = {
      timeout: 100_000,
      sandboxId: 'given',
      metadata: { a: [1] },
      envs: { A: 'b' },
      runtime: 'python',
    }
    const box = await compute.sandbox.create({ provider: mine, ...options })
    assert.deepEqual(mine.calls[0], ['create', options])
    await box.destroy()
  })

  test('may be one of several: strategies and fall-back treat it as ours', async () => {
    const broken = plugin()
    broken.name = 'broken'
    broken.sandbox.create = async () => {
      throw new Error('no room')
    }
    const mine = plugin()
    const box = await createCompute({ providers: [broken, mine] }).sandbox.create()
    assert.equal(box.provider, 'mine')
    await box.destroy()
    await failure(
      createCompute({ providers: [broken, mine], fallbackOnError: false }).sandbox.create(),
      Error,
      { message: 'no room' },
    )
    const turns = createCompute({ providers: [plugin(), local()], providerStrategy: 'round-robin' })
    const made = []
    for (let turn = 0; turn < 4; turn++) made.push(await turns.sandbox.create())
    assert.deepEqual(
      made.map((one) => one.provider),
      ['mine', 'local', 'mine', 'local'],
    )
    await Promise.all(made.map((one) => one.destroy()))
  })
})

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

describe('what a provider of one’s own answers', () => {
  const answering = async (extra) => compute.sandbox.create({ provider: plugin(extra) })

  test('is never made up: an odd answer is an error that shows it', async () => {
    for (const [extra, call, message] of [
      [{ runCommand: async () => ({ stdout: '' }) }, (box) => box.runCommand('a'), /`exitCode`.*null/],
      [{ runCommand: async () => ({ exitCode: '0' }) }, (box) => box.runCommand('a'), /`exitCode`.*"0"/],
      [{ runCommand: async () => undefined }, (box) => box.runCommand('a'), /`exitCode`/],
      [{ runCommand: async () => ({ exitCode: 0, stdout: 5 }) }, (box) => box.runCommand('a'), /`stdout`.*5/],
      [{ getInfo: async () => ({}) }, (box) => box.getInfo(), /`status`/],
      [{ getInfo: async () => ({ status: 'sleeping' }) }, (box) => box.getInfo(), /`status`.*"sleeping"/],
      [{ getInfo: async () => ({ status: 'running', timeout: '5' }) }, (box) => box.getInfo(), /`timeout`/],
      [
        { getInfo: async () => ({ status: 'running', createdAt: 'yesterday' }) },
        (box) => box.getInfo(),
        /`createdAt`.*"yesterday"/,
      ],
      [{ getUrl: async () => 80 }, (box) => box.getUrl({ port: 80 }), /`getUrl`.*80/],
      [
        { filesystem: { readdir: async () => 'a' } },
        (box) => box.filesystem.readdir('/'),
        /`filesystem.readdir`/,
      ],
      [
        { filesystem: { readdir: async () => [{ type: 'file' }] } },
        (box) => box.filesystem.readdir('/'),
        /`name`/,
      ],
    ]) {
      const box = await answering(extra)
      await failure(call(box), ComputeError, { message, provider: 'mine', code: 'INTERNAL' })
      await box.destroy()
    }
    const ids = [{}, { sandboxId: 5 }, { sandboxId: '' }, 'id']
    for (const made of ids) {
      const mine = plugin()
      mine.sandbox.create = async () => made
      await failure(compute.sandbox.create({ provider: mine }), TypeError, { message: /`sandboxId`/ })
    }
    const named = { ...plugin(), name: 5 }
    await failure(compute.sandbox.create({ provider: named }), InvalidArgumentError, { message: /name/ })
  })

  test('may be a Date, its number or its text; bytes or text', async () => {
    const createdAt = new Date('2026-01-02T03:04:05.006Z')
    for (const given of [createdAt, createdAt.getTime(), createdAt.toISOString()]) {
      const box = await answering({ getInfo: async () => ({ status: 'stopped', createdAt: given }) })
      const info = await box.getInfo()
      assert.deepEqual([info.createdAt, info.status], [createdAt, 'stopped'])
      await box.destroy()
    }
    const box = await answering({
      runCommand: async () => ({ stdout: Buffer.from('☕'), stderr: null, exitCode: -1 }),
      filesystem: { readFile: async () => new Uint8Array([104, 105]) },
      getInfo: async () => ({ status: 'running' }),
    })
    const { stdout, stderr, exitCode } = await box.runCommand('a')
    assert.deepEqual([stdout, stderr, exitCode], ['☕', '', -1])
    assert.equal(await box.filesystem.readFile('/a'), 'hi')
    // It was made here, so that it is known when.
    assert.ok(Math.abs((await box.getInfo()).createdAt.getTime() - Date.now()) < 60_000)
    const found = await compute.sandbox.getById(box.getProvider(), box.sandboxId)
    await failure(found.getInfo(), UnsupportedError, { message: /createdAt/ })
    await box.destroy()
  })

  test('is a URL of the protocol that was asked for, or refused', async () => {
    const box = await answering({ getUrl: async ({ port }) => `https://${port}.example` })
    assert.equal(await box.getUrl({ port: 80 }), 'https://80.example')
    assert.equal(await box.getUrl({ port: 80, protocol: 'https' }), 'https://80.example')
    await failure(box.getUrl({ port: 80, protocol: 'ws' }), UnsupportedError, { message: /protocol/ })
    await box.destroy()
  })
})

describe('providers of one’s own, and their sandboxes', () => {
  test('are told apart, whatever their names', async () => {
    const [one, other] = [plugin(), plugin()]
    const both = createCompute({ providers: [one, other], providerStrategy: 'round-robin' })
    const made = [await both.sandbox.create(), await both.sandbox.create()]
    assert.equal(made[0].getProvider(), one)
    assert.equal(made[1].getProvider(), other)
    assert.equal((await both.sandbox.getById(made[1].sandboxId)).getProvider(), other)
    await both.sandbox.destroy(made[1].sandboxId)
    assert.deepEqual([one.known.size, other.known.size], [1, 0])
    const [ours, second] = [local(), local({ timeout: 10_000 })]
    const box = await createCompute({ providers: [ours, second] }).sandbox.create({ provider: second })
    assert.equal(box.getProvider(), second)
    await Promise.all([made[0].destroy(), box.destroy()])
  })

  test('are what getInstance gives: the sandbox, or what that gives itself', async () => {
    const mine = plugin()
    const box = await compute.sandbox.create({ provider: mine })
    assert.equal(box.getInstance(), mine.known.get(box.sandboxId))
    const native = {}
    const wrapping = await compute.sandbox.create({ provider: plugin({ getInstance: () => native }) })
    assert.equal(wrapping.getInstance(), native)
    await Promise.all([box.destroy(), wrapping.destroy()])
  })

  test('are let go of with the sandboxes that stand for them', async () => {
    const source = `
      const gone = { sandboxes: 0, providers: 0 }
      const registry = new FinalizationRegistry((kind) => gone[kind]++)
      const make = () => {
        const provider = { name: 'mine', sandbox: {
          create: async () => {
            const sandbox = { sandboxId: 'a', ballast: new Uint8Array(1 << 20), destroy: async () => {},
              runCommand: async () => ({ stdout: '', stderr: '', exitCode: 0 }) }
            registry.register(sandbox, 'sandboxes')
            return sandbox
          },
          getById: async () => null, list: async () => [], destroy: async () => {},
        } }
        registry.register(provider, 'providers')
        return provider
      }
      for (let round = 0; round < 50; round++) {
        const box = await c.compute.sandbox.create({ provider: make() })
        await box.runCommand('true')
        if (box.getInstance().ballast.length !== 1 << 20) throw new Error('it is not held')
        await box.destroy()
      }
      for (let round = 0; round < 200 && gone.sandboxes + gone.providers < 96; round++) {
        gc()
        await new Promise((done) => setTimeout(done, 20))
      }
      console.log(JSON.stringify(gone))`
    const { sandboxes, providers } = JSON.parse(await output(source, { flags: ['--expose-gc'] }))
    assert.ok(sandboxes >= 48, `${sandboxes} of 50 sandboxes`)
    assert.ok(providers >= 48, `${providers} of 50 providers`)
  })

  test('are held as long as they are used, whoever else lets go of them', async () => {
    const source = `
      const make = () => {
        let made
        return { name: 'mine', sandbox: {
          create: async () => { await new Promise((done) => setTimeout(done, 50)); return made = {
            sandboxId: 'a', runCommand: async () => ({ stdout: 'on', stderr: '', exitCode: 0 }) } },
          getById: async () => made, destroy: async () => { made = undefined },
        } }
      }
      const timer = setInterval(gc, 5)
      const configured = c.createCompute({ provider: make() })
      const box = await c.compute.sandbox.create({ provider: make() })
      const other = await configured.sandbox.create()
      await new Promise((done) => setTimeout(done, 100))
      const found = await configured.sandbox.getById('a')
      console.log((await box.runCommand('a')).stdout, (await found.runCommand('a')).stdout, box.getProvider().name)
      await Promise.all([box.destroy(), other.destroy()])
      clearInterval(timer)`
    assert.equal(await output(source, { flags: ['--expose-gc'] }), 'on on mine\n')
  })
})

describe('defineProvider', () => {
  const sandbox = { create: async () => ({}), getById: async () => null, destroy: async () => {} }

  test('gives what local() gives', async () => {
    const definition = { name: 'mine', methods: { sandbox: { ...sandbox, list: async () => [] } } }
    const provider = defineProvider(definition)()
    assert.deepEqual(Object.keys(provider).sort(), Object.keys(local()).sort())
    assert.deepEqual(await provider.sandbox.list(), [])
    assert.equal(await provider.sandbox.getById('x'), null)
    assert.equal(await compute.sandbox.getById(provider, 'x'), null)
    await failure(provider.snapshots.list(), UnsupportedError, { provider: 'mine' })
  })

  test('gives every method its configuration, and its own object', async () => {
    const calls = []
    const note =
      (name, result) =>
      async (...args) => {
        calls.push([name, ...args.filter((arg) => typeof arg !== 'function')])
        return result
      }
    const box = { of: 'mine' }
    const found = { sandbox: box, sandboxId: 'one' }
    const provider = defineProvider({
      name: 'mine',
      capabilities: { kill: false },
      methods: {
        sandbox: {
          create: note('create', found),
          getById: note('getById', found),
          list: note('list', [found]),
          destroy: note('destroy'),
          runCommand: note('runCommand', { exitCode: 0 }),
          extendTimeout: note('extendTimeout'),
          filesystem: { stat: note('stat', { name: 'a', type: 'file' }), rename: note('rename') },
        },
        snapshot: {
          create: note('snapshot.create', { id: 's' }),
          list: note('snapshot.list', [{ id: 's' }]),
          delete: note('snapshot.delete'),
        },
        template: { list: note('template.list', ['t']) },
      },
    })({ key: 1 })
    const made = await provider.sandbox.create({ providerOptions: { own: [1] }, timeout: 5 })
    assert.equal(made.getInstance(), box)
    assert.equal(made.getProvider(), provider)
    await provider.sandbox.getById('one')
    await provider.sandbox.list()
    await made.runCommand('a')
    await made.extendTimeout(5)
    await made.filesystem.stat('/a')
    await made.filesystem.rename('/a', '/b')
    await made.snapshot()
    assert.deepEqual(await provider.snapshots.list(), [{ id: 's', names: [] }])
    await provider.snapshots.delete('s')
    assert.deepEqual(await provider.template.list(), ['t'])
    await made.destroy()
    const key = { key: 1 }
    assert.deepEqual(calls, [
      ['create', key, { own: [1], timeout: 5 }],
      ['getById', key, 'one'],
      ['list', key],
      ['runCommand', box, 'a', {}],
      ['extendTimeout', box, 5],
      ['stat', box, '/a'],
      ['rename', box, '/a', '/b'],
      ['snapshot.create', key, 'one', {}],
      ['snapshot.list', key],
      ['snapshot.delete', key, 's'],
      ['template.list', key],
      ['destroy', key, 'one'],
    ])
  })

  test('refuses what is no definition, and names it', () => {
    for (const [definition, name] of [
      [undefined, /`definition`/],
      [{ methods: { sandbox } }, /`definition.name`/],
      [{ name: 'a' }, /`definition.methods`/],
      [{ name: 'a', methods: {} }, /`definition.methods.sandbox`/],
      [{ name: 'a', methods: { sandbox: { ...sandbox, destroy: 1 } } }, /sandbox.destroy`/],
      [{ name: 'a', methods: { sandbox: { ...sandbox, runCommand: 1 } } }, /sandbox.runCommand`/],
      [{ name: 'a', methods: { sandbox: { ...sandbox, filesystem: { stat: 1 } } } }, /filesystem.stat`/],
      [{ name: 'a', methods: { sandbox }, capabilities: { fly: true } }, /`fly`/],
      [{ name: 'a', methods: { sandbox }, capabilities: { kill: 1 } }, /capabilities.kill`/],
    ]) {
      assert.throws(() => defineProvider(definition), { name: 'InvalidArgumentError', message: name })
    }
  })
})

describe('errors of a provider of one’s own', () => {
  for (const mine of [new RangeError('mine'), new NotFoundError('ours')]) {
    test(`come out as they were thrown: ${mine}`, async () => {
      const fail = async () => {
        throw mine
      }
      const broken = { name: 'broken', sandbox: { create: fail, getById: fail, list: fail, destroy: fail } }
      for (const call of [
        () => compute.sandbox.create({ provider: broken }),
        () => compute.sandbox.getById(broken, 'x'),
        () => compute.sandbox.list(broken),
        () => compute.sandbox.destroy(broken, 'x'),
      ]) {
        assert.equal(await failure(call()), mine)
      }
      const box = await compute.sandbox.create({
        provider: plugin({
          runCommand: fail,
          getInfo: fail,
          destroy: fail,
          filesystem: { readFile: fail, readdir: fail },
        }),
      })
      for (const call of [
        () => box.runCommand('true'),
        () => box.runCommand('true', { timeout: 10_000 }),
        () => box.runCode('1'),
        () => box.getInfo(),
        () => box.filesystem.readFile('/a'),
        () => box.filesystem.readdir('/a'),
        () => box.destroy(),
      ]) {
        assert.equal(await failure(call()), mine)
      }
    })
  }

  test('come out as they were when they are ours', async () => {
    const mine = plugin()
    const box = await compute.sandbox.create({ provider: mine })
    await local().sandbox.destroy(box.sandboxId)
    const error = await failure(box.runCommand('true'), NotFoundError, { message: /destroyed/ })
    assert.equal(error.provider, 'local')
  })

  test('may be anything, thrown at once too', async () => {
    const box = await compute.sandbox.create({
      provider: plugin({
        runCommand() {
          throw new TypeError('at once')
        },
      }),
    })
    await failure(box.runCommand('true'), TypeError, { message: 'at once' })
    await box.destroy()
  })
})
