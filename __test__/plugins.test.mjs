// Real providers of other packages, from npm: what their users have written goes on working, and what those lack is
// refused or built. None of them needs an account.

import assert from 'node:assert/strict'
import { after, before, describe } from 'node:test'
import { fileURLToPath } from 'node:url'
import {
  AbortError,
  AlreadyExistsError,
  CommandExitError,
  compute,
  createCompute,
  defineProvider,
  handleComputeRequest,
  InvalidArgumentError,
  local,
  NotFoundError,
  Sandbox,
  UnsupportedError,
} from '../index.js'
import { complaints } from './compiled.mjs'
import { e2bFake, KEY } from './fakes.mjs'
import { installed } from './install.mjs'
import { failure, test } from './support.mjs'

const fake = await e2bFake()

const BYTES = new Uint8Array([0, 255, 128, 10, 13, 0, 195, 40])

/** @type {ReturnType<typeof others>} */
let from
before(() => {
  from = installed('plugins')
})

/** What is so at every provider that runs a shell. */
function contract(make) {
  const at = {}
  before(async () => {
    at.provider = await make()
    at.box = await compute.sandbox.create({ provider: at.provider })
  })
  after(() => at.box?.destroy())

  test('it is accepted wherever ours is', async () => {
    const { provider } = at
    for (const create of [
      () => compute({ provider }).sandbox.create(),
      () => createCompute({ defaultProvider: provider }).sandbox.create(),
      () => createCompute({ providers: [provider] }).sandbox.create({ provider: provider.name }),
      () => compute.sandbox.create({ provider }),
      () => compute.setConfig({ provider }).sandbox.create(),
    ]) {
      const box = await create()
      assert.ok(box instanceof Sandbox)
      assert.equal(box.provider, provider.name)
      assert.equal(box.getProvider(), provider)
      const found = await compute.sandbox.getById(provider, box.sandboxId)
      assert.equal((await found.runCommand('echo on')).stdout, 'on\n')
      const listed = await compute.sandbox.list(provider)
      assert.ok(listed.some(({ sandboxId }) => sandboxId === box.sandboxId))
      assert.deepEqual(listed.errors, [])
      await compute.sandbox.destroy(provider, box.sandboxId)
      assert.equal(await compute.sandbox.getById(provider, box.sandboxId), null)
    }
    compute.clearConfig()
  })

  test('its own object is there', async () => {
    const theirs = await at.provider.sandbox.create()
    assert.equal(at.box.getInstance().constructor, theirs.getInstance().constructor)
    assert.notEqual(at.box.getInstance(), at.box)
    await theirs.destroy()
  })

  test('commands run in every form', async () => {
    const { durationMs, ...rest } = await at.box.runCommand('echo out; echo err >&2; exit 3')
    const { sandboxId, provider } = at.box
    const told = { stdout: 'out\n', stderr: 'err\n', exitCode: 3, executionTime: durationMs }
    assert.deepEqual(rest, { ...told, sandboxId, provider })
    const odd = ['$(id)', '; touch /tmp/x', "it's", 'a\nb', '', '*', '☕']
    const printed = await at.box.runCommand('printf', ['%s|', ...odd])
    assert.equal(printed.stdout, odd.map((word) => `${word}|`).join(''))
    assert.equal((await at.box.runCommand(['echo', '$HOME'])).stdout, '$HOME\n')
  })

  test('directory and environment are those of the whole line', async () => {
    await at.box.filesystem.mkdir('/tmp/place')
    const options = { cwd: '/tmp/place', env: { A: "it's $HOME", B: '☕' } }
    const { stdout } = await at.box.runCommand('echo "$A"; cd / && pwd; echo $B | cat', options)
    assert.equal(stdout, "it's $HOME\n/\n☕\n")
    assert.equal((await at.box.runCommand('pwd', [], options)).stdout, '/tmp/place\n')
    const error = await failure(at.box.runCommand('true', { cwd: '/nowhere' }), NotFoundError)
    assert.match(error.message, /Directory not found: \/nowhere/)
    const name = at.box.runCommand('true', { env: { 'A-B': 'c' } })
    await failure(name, InvalidArgumentError, { message: /A-B/ })
  })

  test('callbacks are told', async () => {
    const heard = []
    const options = { onStdout: (text) => heard.push(text), onStderr: (text) => heard.push(text) }
    await at.box.runCommand('echo ☕; echo err >&2', options)
    assert.deepEqual(heard, ['☕\n', 'err\n'])
  })

  test('throwOnError is on top of its results', async () => {
    const strict = await createCompute({ provider: at.provider }).sandbox.create()
    const error = await failure(strict.runCommand('exit 3'), CommandExitError)
    assert.equal(error.result.exitCode, 3)
    assert.equal((await strict.runCommand('exit 3', { throwOnError: false })).exitCode, 3)
    await strict.destroy()
    await failure(at.box.runCommand('exit 4', { throwOnError: true }), CommandExitError)
  })

  test('a time limit or a signal ends the waiting, and the result says that it was only that', async () => {
    const late = await at.box.runCommand('sleep 2', { timeout: 200 })
    assert.deepEqual([late.exitCode, late.timedOut, late.abandoned], [124, true, true])
    assert.ok(late.durationMs < 1500)
    const reason = new Error('enough')
    const aborted = at.box.runCommand('sleep 2', { signal: AbortSignal.timeout(200) })
    const error = await failure(aborted, AbortError)
    assert.equal(error.result.abandoned, true)
    const never = at.box.runCommand('true', { signal: AbortSignal.abort(reason) })
    await failure(never, AbortError, { cause: reason })
  })

  test('files are text and bytes, exactly', async () => {
    const { filesystem } = at.box
    await filesystem.mkdir('/tmp/files')
    await filesystem.writeFile('/tmp/files/text', 'text ☕\n')
    assert.equal(await filesystem.readFile('/tmp/files/text'), 'text ☕\n')
    const large = Uint8Array.from({ length: 150_000 }, (_, at) => (at * 7) ^ (at >> 8))
    for (const [path, bytes] of [
      ['/tmp/files/few', BYTES],
      ['/tmp/new/parents/large', large],
    ]) {
      await filesystem.writeFile(path, bytes)
      const read = await filesystem.readFile(path, { encoding: 'bytes' })
      assert.deepEqual(Buffer.compare(read, bytes), 0)
      assert.equal((await filesystem.stat(path)).size, bytes.length)
    }
    await failure(filesystem.readFile('/tmp/files/few'), InvalidArgumentError, { code: 'NOT_UTF8' })
    // Nothing else is left of it.
    const names = (await filesystem.readdir('/tmp/files')).map(({ name, type }) => `${type} ${name}`)
    assert.deepEqual(names, ['file few', 'file text'])
    await filesystem.writeFile('/tmp/files/few', BYTES.subarray(0, 3))
    assert.equal((await filesystem.readFile('/tmp/files/few', { encoding: 'bytes' })).length, 3)
  })

  test('what its files cannot do, its commands do', async () => {
    const { filesystem } = at.box
    await filesystem.writeFile('/tmp/a/b/file', BYTES)
    await filesystem.writeFile("/tmp/it's", 'quoted')
    assert.equal((await filesystem.stat('/tmp/a')).type, 'directory')
    await filesystem.rename("/tmp/it's", '/tmp/a/c/$(renamed)')
    assert.equal(await filesystem.exists("/tmp/it's"), false)
    await filesystem.copy('/tmp/a', '/tmp/copy')
    assert.equal(await filesystem.readFile('/tmp/copy/c/$(renamed)'), 'quoted')
    const copied = await filesystem.readFile('/tmp/copy/b/file', { encoding: 'bytes' })
    assert.equal(Buffer.compare(copied, BYTES), 0)
    await filesystem.rename('/tmp/copy/b/file', '/tmp/copy/c/$(renamed)')
    assert.equal((await filesystem.stat('/tmp/copy/c/$(renamed)')).size, BYTES.length)
    await failure(filesystem.rename('/tmp/a/b/file', '/tmp/copy'), AlreadyExistsError)
    await failure(filesystem.rename('/tmp/a', '/tmp/a/b/inside'), InvalidArgumentError)
    await failure(filesystem.copy('/tmp/a', '/tmp/copy'), AlreadyExistsError)
  })

  test('what is not there is not found', async () => {
    const { filesystem } = at.box
    for (const [call, message] of [
      [() => filesystem.readFile('/tmp/none'), 'File not found: /tmp/none'],
      [() => filesystem.readFile('/tmp/none', { encoding: 'bytes' }), 'File not found: /tmp/none'],
      [() => filesystem.readdir('/tmp/none'), 'Directory not found: /tmp/none'],
      [() => filesystem.remove('/tmp/none'), 'File not found: /tmp/none'],
      [() => filesystem.stat('/tmp/none'), 'File not found: /tmp/none'],
      [() => filesystem.rename('/tmp/none', '/tmp/x'), 'File not found: /tmp/none'],
      [() => filesystem.copy('/tmp/none', '/tmp/x'), 'File not found: /tmp/none'],
    ]) {
      await failure(call(), NotFoundError, { message, provider: at.provider.name })
    }
  })

  test('what nothing can be built of is refused by name', async () => {
    for (const [call, name] of [
      [() => at.box.spawn('true'), /spawn/],
      [() => at.box.getProcess(1), /getProcess/],
      [() => at.box.processes(), /processes/],
      [() => at.box.terminal.create(), /terminals/],
      [() => at.box.terminal.list(), /terminals/],
      [() => at.box.waitForPort(80), /waitForPort/],
      [() => at.box.getMetrics(), /getMetrics/],
      [() => at.box.extendTimeout(1), /extendTimeout/],
      [() => at.box.pause(), /pause/],
      [() => at.box.networkLog(), /networkLog/],
      [() => at.box.runCommand('cat', { stdin: 'x' }), /stdin/],
      [() => at.box.runCommand('id', { user: 'root' }), /user/],
      [() => at.box.runCommand('true', { background: true, timeout: 1 }), /timeout.*background/],
      [() => at.box.runCommand('true', { background: true, signal: new AbortController().signal }), /signal/],
      [() => compute.sandbox.create({ provider: at.provider, network: 'none' }), /network/],
      [() => compute.sandbox.create({ provider: at.provider, sandboxId: 'mine' }), /sandboxId/],
    ]) {
      await failure(call(), UnsupportedError, { message: name, provider: at.provider.name })
    }
  })

  test('the request handler serves it', async () => {
    const ask = (request) => handleComputeRequest({ request, provider: at.provider })
    const { sandboxId } = await ask({ action: 'compute.sandbox.create' })
    const about = { sandboxId, action: 'compute.sandbox.runCommand' }
    const ran = await ask({ ...about, command: 'echo on; exit 3' })
    assert.deepEqual([ran.success, ran.result.stdout, ran.result.exitCode], [true, 'on\n', 3])
    const late = await ask({ ...about, command: 'sleep 2', commandOptions: { timeout: 200 } })
    assert.deepEqual([late.result.timedOut, late.result.abandoned], [true, true])
    const background = await ask({ ...about, command: 'sleep 2', commandOptions: { background: true } })
    assert.deepEqual([background.success, background.code], [false, 'UNSUPPORTED'])
    assert.equal((await ask({ sandboxId, action: 'compute.sandbox.destroy' })).success, true)
    assert.equal((await ask({ ...about, command: 'true' })).status, 404)
  })
  return at
}

test('what they are typed as is what ours are typed to take', () => {
  const file = fileURLToPath(new URL('plugins/use.mts', import.meta.url))
  const source = `
    import { e2b } from '@computesdk/e2b'
    import { justBash } from '@computesdk/just-bash'
    import { defineProvider, type ProviderConfig } from '@computesdk/provider'
    import { compute, createCompute, defineProvider as ours, type ProviderPlugin } from '../../index.js'
    declare const definition: ProviderConfig<{ of: string }, { key: string }>
    const theirs: ProviderPlugin[] = [e2b({ apiKey: 'a' }), justBash(), defineProvider(definition)({ key: 'a' })]
    compute.setConfig({ provider: justBash(), providers: theirs })
    export const made = createCompute({ defaultProvider: e2b({}) }).sandbox.create({ provider: justBash() })
    export const same = ours(definition)({ key: 'a' }).sandbox.list()`
  assert.equal(complaints(file, source), '')
})

describe('@computesdk/just-bash', () => {
  const at = contract(() => from('@computesdk/just-bash').justBash())

  test('what it says of itself is told, and its errors are its own', async () => {
    const info = await at.box.getInfo()
    assert.deepEqual(
      [info.id, info.provider, info.status, info.timeout],
      [at.box.sandboxId, 'just-bash', 'running', 0],
    )
    assert.ok(info.createdAt instanceof Date)
    await failure(at.box.getUrl({ port: 80 }), Error, { message: /Cannot expose port 80/ })
  })

  test('its language has no interpreter, and its shell says so', async () => {
    const { exitCode, language } = await at.box.runCode('console.log(1)')
    assert.deepEqual([exitCode, language], [127, 'node'])
  })
})

describe('@computesdk/e2b, at a server that speaks as E2B does', () => {
  const at = contract(async () => {
    // It takes no address: its own client looks here.
    process.env.E2B_API_URL = fake.url
    process.env.E2B_SANDBOX_URL = fake.url
    return from('@computesdk/e2b').e2b({ apiKey: KEY })
  })
  after(() => {
    delete process.env.E2B_API_URL
    delete process.env.E2B_SANDBOX_URL
  })

  test('code runs, with what is on top of its results', async () => {
    const { stdout, language } = await at.box.runCode('print(6 * 7)')
    assert.deepEqual([stdout, language], ['42\n', 'python'])
    assert.equal((await at.box.runCode('console.log(6 * 7)')).stdout, '42\n')
    await failure(at.box.runCode('print('), Error, { code: 'CODE_SYNTAX' })
    const typed = await compute.sandbox.create({ provider: at.provider, runtime: 'python' })
    assert.equal((await typed.runCode('x = 1')).language, 'python')
    await typed.destroy()
  })

  test('a command goes on in the background, with its directory and environment', async () => {
    const started = await at.box.runCommand('sleep 0.3; echo "$A" > done && pwd >> done', {
      background: true,
      cwd: '/tmp',
      env: { A: 'b c' },
    })
    assert.deepEqual([started.isBackground, started.exitCode, 'pid' in started], [true, 0, false])
    assert.equal(await at.box.filesystem.exists('/tmp/done'), false)
    await at.box.runCommand('while [ ! -s /tmp/done ]; do sleep 0.05; done; sleep 0.1', { timeout: 10_000 })
    assert.equal(await at.box.filesystem.readFile('/tmp/done'), 'b c\n/tmp\n')
    const code = await at.box.runCode('print(1)', { background: true })
    assert.deepEqual([code.isBackground, code.language, code.output], [true, 'python', ''])
  })

  test('its options, and those that only it knows, are given to it', async () => {
    const options = { envs: { A: 'b' }, metadata: { of: 'mine' } }
    const box = await compute.sandbox.create({ provider: at.provider, ...options })
    assert.equal((await box.runCommand('echo $A')).stdout, 'b\n')
    const info = await box.getInstance().getInfo()
    assert.deepEqual(info.metadata, { of: 'mine' })
    const own = await compute.sandbox.create({
      provider: at.provider,
      providerOptions: { metadata: { of: 'its own' } },
    })
    assert.deepEqual((await own.getInstance().getInfo()).metadata, { of: 'its own' })
    await Promise.all([box.destroy(), own.destroy()])
  })

  test('links, pipes and directories are told from files', async () => {
    const { filesystem } = at.box
    await at.box.runCommand('mkdir -p /tmp/k && cd /tmp/k && echo x > file && ln -s file link && mkfifo pipe')
    const link = await filesystem.stat('/tmp/k/link')
    assert.deepEqual([link.type, link.size, link.symlinkTarget], ['file', 2, 'file'])
    const read = (name) => filesystem.readFile(`/tmp/k/${name}`, { encoding: 'bytes' })
    await failure(read('pipe'), InvalidArgumentError)
    await failure(read('.'), InvalidArgumentError)
    await failure(filesystem.copy('/tmp/k', '/tmp/k2'), InvalidArgumentError)
    await filesystem.writeFile('/tmp/k/link', BYTES)
    assert.equal((await filesystem.stat('/tmp/k/file')).size, BYTES.length)
    await filesystem.remove('/tmp/k/link')
    assert.equal(await filesystem.exists('/tmp/k/file'), true)
    await at.box.runCommand('ln -s nowhere /tmp/k/dangling')
    await filesystem.remove('/tmp/k/dangling')
  })

  test('a snapshot of its own is one of ours', async () => {
    const origin = await compute.sandbox.create({ provider: at.provider })
    await origin.filesystem.writeFile('/home/user/kept', 'kept')
    const { id, names } = await origin.snapshot({ name: 'kept' })
    assert.deepEqual(names, ['kept'])
    const box = await compute.sandbox.create({ provider: at.provider, templateId: id })
    assert.equal(await box.filesystem.readFile('/home/user/kept'), 'kept')
    await Promise.all([origin.destroy(), box.destroy()])
  })

  test('a URL has the protocol that was asked for', async () => {
    assert.match(await at.box.getUrl({ port: 3000 }), /^https:\/\/3000-/)
    assert.match(await at.box.getUrl({ port: 3000, protocol: 'wss' }), /^wss:\/\/3000-/)
  })
})

/** A provider over local sandboxes, as `defineProvider` takes it, ours and theirs. */
const definition = {
  name: 'defined',
  methods: {
    sandbox: {
      create: async (config, options) => {
        const sandbox = await local().sandbox.create({ envs: { ...config.envs, ...options?.envs } })
        return { sandbox, sandboxId: sandbox.sandboxId }
      },
      getById: async (_config, sandboxId) => {
        const sandbox = await local().sandbox.getById(sandboxId)
        return sandbox && { sandbox, sandboxId }
      },
      list: async () =>
        (await local().sandbox.list()).map((sandbox) => ({ sandbox, sandboxId: sandbox.sandboxId })),
      destroy: (_config, sandboxId) => local().sandbox.destroy(sandboxId),
      runCommand: (sandbox, command) => sandbox.runCommand(command),
      getInfo: (sandbox) => sandbox.getInfo(),
      getUrl: (sandbox, options) => sandbox.getUrl(options),
      getInstance: (sandbox) => sandbox,
      filesystem: {
        readFile: (sandbox, path) => sandbox.filesystem.readFile(path),
        writeFile: (sandbox, path, content) => sandbox.filesystem.writeFile(path, content),
        mkdir: (sandbox, path, runCommand) => runCommand(sandbox, `mkdir -p '${path}'`),
        readdir: (sandbox, path) => sandbox.filesystem.readdir(path),
        exists: (sandbox, path) => sandbox.filesystem.exists(path),
        remove: (sandbox, path) => sandbox.filesystem.remove(path),
      },
    },
  },
}

describe('defineProvider of @computesdk/provider', () => {
  const at = contract(() => from('@computesdk/provider').defineProvider(definition)({ envs: { A: 'b' } }))

  test('what it was configured with counts', async () => {
    assert.equal((await at.box.runCommand('echo $A')).stdout, 'b\n')
    assert.equal((await at.box.runCode('print(1)')).stdout, '1\n')
  })
})

test('what contains itself is refused, whatever it is in', async () => {
  const metadata = { list: [] }
  metadata.list.push(metadata.list)
  const getInfo = async () => ({ status: 'running', createdAt: new Date(), timeout: 0, metadata })
  const sandbox = { ...definition.methods.sandbox, getInfo }
  const box = await defineProvider({ ...definition, methods: { sandbox } })({}).sandbox.create()
  await failure(box.getInfo(), TypeError, { message: /nested too deeply, or contains itself/ })
  await box.destroy()
})

describe('defineProvider of ours, with the same definition', () => {
  const at = contract(() => defineProvider(definition)({ envs: { A: 'b' } }))

  test('what it was configured with counts', async () => {
    assert.equal((await at.box.runCommand('echo $A')).stdout, 'b\n')
    assert.equal((await at.box.runCode('print(1)')).stdout, '1\n')
  })
})
