// The seam: an object with sandbox.create, getById and destroy is a provider like ours.

import assert from 'node:assert/strict'
import { describe } from 'node:test'

import {
  CodeSyntaxError,
  CommandExitError,
  compute,
  createCompute,
  local,
  NotFoundError,
  Sandbox,
} from '../index.js'
import { plugin } from './plugin.mjs'
import { failure, output, test } from './support.mjs'

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
