// The seam: an object with sandbox.create, getById and destroy is a provider like ours.

import assert from 'node:assert/strict'
import { describe } from 'node:test'

import {
  AbortError,
  CodeSyntaxError,
  CommandExitError,
  compute,
  createCompute,
  InvalidArgumentError,
  local,
  NotFoundError,
  Sandbox,
  UnsupportedError,
} from '../index.js'
import { eventually, failure, signalled, test } from './support.mjs'

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
    const mine = plugin({ getInfo: undefined, filesystem: undefined })
    mine.sandbox.list = undefined
    const box = await compute.sandbox.create({ provider: mine })
    for (const [call, name] of [
      [() => box.getInfo(), /getInfo/],
      [() => box.getUrl({ port: 80 }), /getUrl/],
      [() => box.extendTimeout(1), /extendTimeout/],
      [() => box.filesystem.readFile('/a'), /filesystem\.readFile/],
      [() => box.filesystem.writeFile('/a', ''), /filesystem\.writeFile/],
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

  test('is refused for bytes that are no text', async () => {
    const box = await compute.sandbox.create({ provider: plugin() })
    await failure(box.filesystem.writeFile('/tmp/a', new Uint8Array([255])), UnsupportedError)
    const odd = await compute.sandbox.create({
      provider: plugin({ filesystem: { readFile: async () => new Uint8Array(2) } }),
    })
    await failure(odd.filesystem.readFile('/tmp/a'), UnsupportedError, { message: /readFile/ })
    await Promise.all([box.destroy(), odd.destroy()])
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
    for (const method of ['rename', 'copy']) {
      await failure(box.filesystem[method]('/a', '/b'), UnsupportedError, {
        message: new RegExp(`filesystem\\.${method}`),
      })
    }
    await box.destroy()
  })

  test('is a time limit or a signal: refused when it would have ended the command, never ignored', async () => {
    const box = await compute.sandbox.create({ provider: plugin() })
    assert.equal((await box.runCommand('echo on', { timeout: 60_000 })).stdout, 'on\n')
    await failure(box.runCommand('sleep 5', { timeout: 100 }), UnsupportedError, { message: /timeout/ })
    const run = box.runCommand('sleep 5', { signal: AbortSignal.timeout(100) })
    await failure(run, UnsupportedError, { message: /signal/ })
    await failure(box.runCommand('true', { signal: AbortSignal.abort() }), AbortError)
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
