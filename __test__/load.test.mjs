// How the package is loaded: as ESM and as CommonJS, in workers, and where there is no binary.

import assert from 'node:assert/strict'
import { cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe } from 'node:test'
import { Worker } from 'node:worker_threads'

import * as namespace from '../index.js'
import { platforms } from './packed.mjs'
import { INDEX, ROOT, start, test } from './support.mjs'

/** All that a named import can name. */
const imported = { ...namespace }

const VALUES = [
  'AbortError',
  'AlreadyExistsError',
  'AuthenticationError',
  'CodeSyntaxError',
  'CommandExitError',
  'Compute',
  'ComputeError',
  'Filesystem',
  'InvalidArgumentError',
  'NotFoundError',
  'PermissionDeniedError',
  'QuotaExceededError',
  'RateLimitError',
  'Sandbox',
  'Terminal',
  'TimeoutError',
  'UnavailableError',
  'UnsupportedError',
  'compute',
  'createCompute',
  'createComputeHandler',
  'defineProvider',
  'docker',
  'e2b',
  'handleComputeRequest',
  'handleHttpComputeRequest',
  'isCommandExitError',
  'local',
  'toNodeHandler',
]

describe('the package', () => {
  test('exports exactly what is documented', () => {
    const names = Object.keys(imported).filter((name) => name !== 'default' && name !== 'module.exports')
    assert.deepEqual(names.sort(), VALUES)
    for (const name of VALUES) assert.equal(typeof imported[name], 'function', name)
    assert.equal(imported.handleComputeRequest, imported.handleHttpComputeRequest)
  })

  test('is the same for import and require', () => {
    const required = createRequire(import.meta.url)('../index.js')
    assert.deepEqual(Object.keys(required).sort(), VALUES)
    for (const name of VALUES) assert.equal(required[name], imported[name], name)
    assert.equal(imported.default, required)
  })

  test('starts nothing when it is loaded, and lets the process end', async () => {
    const { code, stdout } = await start(process.execPath, [
      '-e',
      `require(${JSON.stringify(join(ROOT, 'index.js'))}); console.log(process.getActiveResourcesInfo().filter((name) => name !== 'PipeWrap').length)`,
    ]).ended
    assert.deepEqual([code, stdout], [0, '0\n'])
  })

  test('writes nothing of its own to stdout and stderr', async () => {
    const { stdout, stderr, code } = await start(process.execPath, [
      '--input-type=module',
      '-e',
      `import { local } from ${JSON.stringify(INDEX)}
       const box = await local().sandbox.create()
       await box.runCommand('echo quiet')
       await box.filesystem.readFile('/none').catch(() => {})
       await box.destroy()`,
    ]).ended
    assert.deepEqual({ stdout, stderr, code }, { stdout: '', stderr: '', code: 0 })
  })

  test('works in several workers at once, also where the main thread has not loaded it', async () => {
    const work = `
      const { parentPort } = require('node:worker_threads')
      const { local, NotFoundError } = require(${JSON.stringify(join(ROOT, 'index.js'))})
      async function main() {
        const box = await local().sandbox.create()
        let heard = ''
        const { stdout } = await box.runCommand('echo on', { onStdout: (text) => { heard += text } })
        const error = await box.filesystem.readFile('/none').catch((error) => error)
        const mine = new Error('mine')
        const thrown = await box.runCommand('echo on', { onStdout: () => { throw mine } }).catch((error) => error)
        await box.destroy()
        parentPort.postMessage([stdout, heard, error instanceof NotFoundError, thrown === mine].join())
      }
      main()`
    const source = `
      import { Worker } from 'node:worker_threads'
      const answers = await Promise.all(Array.from({ length: 4 }, () => new Promise((resolve, reject) => {
        new Worker(process.env.WORK, { eval: true, execArgv: [] }).on('message', resolve).on('error', reject)
      })))
      console.log(JSON.stringify(answers))`
    const { code, stdout, stderr } = await start(process.execPath, ['--input-type=module', '-e', source], {
      env: { WORK: work },
    }).ended
    assert.equal(code, 0, stderr)
    assert.deepEqual(JSON.parse(stdout), Array(4).fill('on\n,on\n,true,true'))
  })

  test('shows the sandboxes of one process to all its threads', async () => {
    const box = await imported.local().sandbox.create()
    await box.filesystem.writeFile('/tmp/mark', 'same')
    const worker = new Worker(
      `import { workerData, parentPort } from 'node:worker_threads'
       const { local } = await import(workerData.index)
       const found = await local().sandbox.getById(workerData.id)
       parentPort.postMessage(await found.filesystem.readFile('/tmp/mark'))`,
      { eval: true, workerData: { index: INDEX, id: box.sandboxId } },
    )
    const answer = await new Promise((resolve, reject) => worker.on('message', resolve).on('error', reject))
    assert.equal(answer, 'same')
    await box.destroy()
  })
})

describe('in a bundle', () => {
  /** What becomes of a copy of the loader, as bundlers make one, in an app that has the package, or has it not. */
  async function loaded({ modules = 'node_modules', path }) {
    const app = mkdtempSync(join(tmpdir(), 'computesdk-bundle-'))
    mkdirSync(join(app, modules), { recursive: true })
    symlinkSync(ROOT, join(app, modules, 'computesdk'))
    const original = join(ROOT, 'door/load.js')
    const copy = `const native = (function (module) {
      ${readFileSync(original, 'utf8')}
      return module.exports
    })({})
    console.log(native === require(${JSON.stringify(original)}))`
    const paths = `const __filename = '${path}/load.js', __dirname = '${path}'\n`
    const args = path === undefined ? [join(app, 'bundle.js')] : ['-e', `${paths}{${copy}}`]
    writeFileSync(join(app, 'bundle.js'), copy)
    const told = await start(process.execPath, args, { cwd: path === undefined ? '/' : app }).ended
    rmSync(app, { recursive: true })
    return told
  }

  test('the native half is that of the original in node_modules', async () => {
    const { stdout, stderr } = await loaded({})
    assert.equal(stdout, 'true\n', stderr)
  })

  test('the original is found from where the program runs, if the bundle has made up its own place', async () => {
    const { stdout, stderr } = await loaded({ path: '/ROOT/door' })
    assert.equal(stdout, 'true\n', stderr)
  })

  test('without the original the error names what to install', async () => {
    const { code, stderr } = await loaded({ modules: 'elsewhere' })
    assert.equal(code, 1)
    assert.match(stderr, /no native binary .* Install @computesdk\/native-/)
  })
})

describe('where there is no binary', () => {
  /** What loading a copy of the package without its binary says, where the process is made to look like another's. */
  async function refusal({ platform, arch, report } = {}) {
    const folder = mkdtempSync(join(tmpdir(), 'computesdk-test-'))
    for (const name of ['index.js', 'door']) cpSync(join(ROOT, name), join(folder, name), { recursive: true })
    const pretend = Object.entries({ platform, arch, report })
      .filter(([, value]) => value !== undefined)
      .map(([key, value]) => `Object.defineProperty(process, '${key}', { value: ${value} })`)
    const source = `${pretend.join('\n')}
      try { require(${JSON.stringify(join(folder, 'index.js'))}) } catch (error) {
        console.log(JSON.stringify([error.message, error.cause.errors.length]))
      }`
    const { stdout, stderr } = await start(process.execPath, ['-e', source]).ended
    rmSync(folder, { recursive: true })
    assert.notEqual(stdout, '', stderr)
    return JSON.parse(stdout)
  }

  /** What the process of a machine with this C library tells of itself. */
  const glibc = (version) => `{ getReport: () => ({ header: { glibcVersionRuntime: ${version} } }) }`
  const linux = { platform: "'linux'", arch: "'arm64'" }

  test('the error names the platform, the package to install and the usual reason', async () => {
    const [message, causes] = await refusal()
    assert.match(message, new RegExp(`${process.platform}-${process.arch}`))
    assert.match(message, /@computesdk\/native-linux-/)
    assert.match(message, /--omit=optional/)
    assert.ok(causes > 0)
  })

  test('the error names the one package for the C library of the machine', async () => {
    const [gnu] = await refusal({ ...linux, report: glibc("'2.36'") })
    assert.match(
      gnu,
      /no native binary for linux-arm64-gnu could .* Install @computesdk\/native-linux-arm64-gnu:/,
    )
    const [musl] = await refusal({ ...linux, report: glibc('undefined') })
    assert.match(
      musl,
      /no native binary for linux-arm64-musl could .* Install @computesdk\/native-linux-arm64-musl:/,
    )
  })

  test('the error names both where nobody knows which that is', async () => {
    const [message] = await refusal({ ...linux, report: 'undefined' })
    assert.match(
      message,
      /for linux-arm64 could .* Install @computesdk\/native-linux-arm64-gnu or -linux-arm64-musl:/,
    )
  })

  test('an unsupported platform is told which are supported', async () => {
    for (const [platform, arch] of [
      ['sunos', 'sparc'],
      ['linux', 'riscv64'],
      ['win32', 'arm64'],
    ]) {
      const [message] = await refusal({ platform: `'${platform}'`, arch: `'${arch}'` })
      assert.match(
        message,
        new RegExp(`for ${platform}-${arch} could be loaded\\. There is none for it\\. Supported: `),
      )
      for (const { name } of platforms())
        assert.ok(message.includes(name.replace('@computesdk/native-', '')), `${name}: ${message}`)
    }
  })
})
