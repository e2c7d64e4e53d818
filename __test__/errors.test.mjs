// The error classes: what each is, what it tells, and that `instanceof` holds wherever the class came from.

import assert from 'node:assert/strict'
import { copyFileSync, mkdtempSync, rmSync } from 'node:fs'
import { createRequire } from 'node:module'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, describe } from 'node:test'
import { fileURLToPath } from 'node:url'

import computesdk from '../index.js'
import { failure, ROOT, sandbox, test } from './support.mjs'

const require = createRequire(import.meta.url)
const HERE = fileURLToPath(import.meta.url)

const CODES = {
  AbortError: 'ABORTED',
  AlreadyExistsError: 'ALREADY_EXISTS',
  AuthenticationError: 'UNAUTHENTICATED',
  CodeSyntaxError: 'CODE_SYNTAX',
  CommandExitError: 'COMMAND_EXIT',
  ComputeError: 'INTERNAL',
  InvalidArgumentError: 'INVALID_ARGUMENT',
  NotFoundError: 'NOT_FOUND',
  PermissionDeniedError: 'PERMISSION_DENIED',
  QuotaExceededError: 'QUOTA_EXCEEDED',
  RateLimitError: 'RATE_LIMITED',
  TimeoutError: 'TIMEOUT',
  UnavailableError: 'UNAVAILABLE',
  UnsupportedError: 'UNSUPPORTED',
}

/** The classes of another copy of errors.js, as a bundler or a second install makes them. */
let folder
let copy

before(() => {
  folder = mkdtempSync(join(tmpdir(), 'computesdk-test-'))
  copyFileSync(join(ROOT, 'door/errors.js'), join(folder, 'errors.js'))
  copy = require(join(folder, 'errors.js'))
})

after(() => rmSync(folder, { recursive: true }))

function make(type) {
  return type.name === 'CommandExitError'
    ? new type({ exitCode: 1, stdout: '', stderr: '' })
    : new type('said')
}

describe('the error classes', () => {
  for (const [name, code] of Object.entries(CODES)) {
    test(`${name} has its name, its code ${code} and the properties of a ComputeError`, () => {
      const error = make(computesdk[name])
      assert.equal(error.name, name)
      assert.equal(error.code, code)
      assert.ok(error instanceof Error)
      assert.ok(error instanceof computesdk.ComputeError)
      assert.ok(error instanceof computesdk[name])
      assert.match(String(error), new RegExp(`^${name}: `))
      for (const key of ['provider', 'sandboxId', 'operation', 'hint']) assert.equal(error[key], undefined)
      assert.equal(error.retryable, false)
      assert.equal(error.cause, undefined)
      assert.match(error.stack, /errors\.test\.mjs/)
    })

    test(`${name} is an instance of the same class of another copy, and of no other`, () => {
      assert.notEqual(copy[name], computesdk[name])
      const [ours, theirs] = [make(computesdk[name]), make(copy[name])]
      assert.ok(ours instanceof copy[name] && theirs instanceof computesdk[name])
      assert.ok(ours instanceof copy.ComputeError && theirs instanceof computesdk.ComputeError)
      for (const other of Object.keys(CODES).filter((one) => one !== name && one !== 'ComputeError')) {
        assert.equal(ours instanceof computesdk[other], false, other)
        assert.equal(ours instanceof copy[other], false, other)
      }
    })
  }

  test('are not what other values are instances of', () => {
    for (const value of [
      new Error('x'),
      {},
      null,
      undefined,
      'NotFoundError',
      Object.assign(new Error('x'), { name: 'NotFoundError' }),
    ]) {
      assert.equal(value instanceof computesdk.ComputeError, false)
      assert.equal(value instanceof computesdk.NotFoundError, false)
    }
  })

  test('can be subclassed', () => {
    class Mine extends computesdk.NotFoundError {}
    const mine = new Mine('said')
    assert.ok(
      mine instanceof Mine &&
        mine instanceof computesdk.NotFoundError &&
        mine instanceof computesdk.ComputeError,
    )
    assert.equal(new computesdk.NotFoundError('said') instanceof Mine, false)
  })

  test('take details', () => {
    const cause = new Error('below')
    const details = {
      code: 'X',
      provider: 'p',
      sandboxId: 's',
      operation: 'o',
      retryable: true,
      hint: 'h',
      cause,
    }
    const error = new computesdk.UnavailableError('said', details)
    for (const [key, value] of Object.entries(details)) assert.equal(error[key], value)
    assert.equal(new computesdk.RateLimitError('said', { retryAfterMs: 5 }).retryAfterMs, 5)
  })
})

describe('CommandExitError', () => {
  test('can be made of a result, as document 1 has it', () => {
    const result = { exitCode: 3, stdout: 'out', stderr: 'err', error: 'failed' }
    const error = new computesdk.CommandExitError(result)
    assert.equal(error.message, 'Command exited with code 3')
    assert.deepEqual(error.result, result)
    assert.notEqual(error.result, result)
  })

  test('is recognised by its shape', () => {
    const { isCommandExitError } = computesdk
    const result = { exitCode: 3, stdout: '', stderr: '' }
    assert.equal(isCommandExitError(new computesdk.CommandExitError(result)), true)
    assert.equal(isCommandExitError(new copy.CommandExitError(result)), true)
    assert.equal(
      isCommandExitError(Object.assign(new Error('x'), { name: 'CommandExitError', result })),
      true,
    )
    for (const other of [
      new Error('x'),
      new computesdk.NotFoundError('x'),
      { name: 'CommandExitError', result },
      Object.assign(new Error('x'), { name: 'CommandExitError' }),
      Object.assign(new Error('x'), { name: 'CommandExitError', result: {} }),
      Object.assign(new Error('x'), { result }),
      null,
      undefined,
      'CommandExitError',
    ]) {
      assert.equal(isCommandExitError(other), false)
    }
  })
})

describe('an error of a call', () => {
  let box
  before(async () => {
    box = await sandbox()
  })

  test('has the caller’s file and line in its stack', async () => {
    const { compute, createCompute, local } = computesdk
    const strict = await createCompute({ provider: local() }).sandbox.getById(box.sandboxId)
    const calls = [
      async () => await box.filesystem.readFile('/none'),
      async () => await box.filesystem.readFile('not absolute'),
      async () => await box.runCommand('true', { cwd: '/none' }),
      async () => await box.runCommand('true', { unknown: 1 }),
      async () => await box.runCommand('exit 1', { throwOnError: true }),
      async () => await strict.runCommand('exit 1'),
      async () => await box.runCode('print('),
      async () => await box.extendTimeout(-1),
      async () => await box.spawn(''),
      async () => await box.spawn('exit 1', { throwOnError: true }),
      async () => await box.spawn('true', { cwd: '/none' }),
      async () => await box.spawn('true', { unknown: 1 }),
      async () => await box.terminal.create({ cwd: '/none' }),
      async () => await compute.sandbox.create({ unknown: 1 }),
      async () => await compute.sandbox.create({ sandboxId: box.sandboxId, provider: local() }),
      async () => await local().sandbox.create({ sandboxId: box.sandboxId }),
      async () => await compute.sandbox.getById(1),
      async () => await box.runCommand('sleep 9', { signal: AbortSignal.timeout(50) }),
      async () => createCompute({ unknown: 1 }),
    ]
    const first = Number(/errors\.test\.mjs:(\d+)/.exec(new Error('here').stack)[1]) - calls.length - 1
    for (const [at, call] of calls.entries()) {
      const { stack } = await failure(call(), computesdk.ComputeError)
      assert.ok(stack.includes(`${HERE}:${first + at}:`), `${first + at}: ${call}\n${stack}`)
    }
  })

  test('tells where it happened', async () => {
    for (const [call, operation] of [
      [() => box.filesystem.readFile('/none'), 'readFile'],
      [() => box.filesystem.readdir('/none'), 'readdir'],
      [() => box.filesystem.remove('/none'), 'remove'],
      [() => box.runCommand('true', { cwd: '/none' }), 'runCommand'],
      [() => box.runCode('1', 'node', { cwd: '/none' }), 'runCode'],
    ]) {
      await failure(call(), computesdk.NotFoundError, {
        operation,
        provider: 'local',
        sandboxId: box.sandboxId,
        retryable: false,
        name: 'NotFoundError',
        code: 'NOT_FOUND',
      })
    }
  })

  test('tells where it happened also where nothing had begun', async () => {
    const { AbortError, InvalidArgumentError, NotFoundError, local } = computesdk
    const where = { provider: 'local', sandboxId: box.sandboxId }
    for (const [call, type, operation] of [
      [() => box.runCommand('true', { unknown: 1 }), InvalidArgumentError, 'runCommand'],
      [() => box.runCommand('true', { signal: 1 }), InvalidArgumentError, 'runCommand'],
      [() => box.runCommand('true', { signal: AbortSignal.abort() }), AbortError, 'runCommand'],
      [() => box.filesystem.readFile(1), InvalidArgumentError, 'readFile'],
      [() => box.filesystem.stat('/none'), NotFoundError, 'stat'],
      [() => box.spawn('true', [], { cwd: '/none' }), NotFoundError, 'spawn'],
      [() => box.terminal.create({ cwd: '/none' }), NotFoundError, 'terminal.create'],
    ]) {
      await failure(call(), type, { ...where, operation })
    }
    await failure(local().sandbox.create({ unknown: 1 }), InvalidArgumentError, { operation: 'create' })
  })

  test('tells its cause', async () => {
    const error = await failure(box.filesystem.readFile('/none'))
    assert.ok(error.cause instanceof Error)
    assert.match(error.cause.message, /No such file/)
  })

  test('tells no secrets', async () => {
    const secret = 'hunter2-very-secret'
    const env = { TOKEN: secret, LONG: secret.repeat(10_000), 'BAD=NAME': secret }
    for (const call of [
      () => box.runCommand('true', { env }),
      () => box.runCommand('true', { env: { TOKEN: `${secret}\0` } }),
      () => box.runCommand('true', { env: { TOKEN: secret }, cwd: '/none' }),
      () => box.runCommand('exit 1', { env: { TOKEN: secret }, stdin: secret, throwOnError: true }),
      () => box.runCode('print(', { env: { TOKEN: secret } }),
      () => sandbox({ envs: { TOKEN: `${secret}\0` } }),
      () => sandbox({ envs: { TOKEN: secret }, metadata: { secret }, sandboxId: box.sandboxId }),
      () => computesdk.e2b({ apiKey: `e2b_${secret}` }).sandbox.create(),
      () => computesdk.compute({ provider: computesdk.e2b({ apiKey: secret }) }).sandbox.create(),
      () => box.filesystem.writeFile('/proc/none', secret),
    ]) {
      const error = await failure(call())
      const { inspect } = await import('node:util')
      assert.doesNotMatch(inspect(error, { depth: 10 }), /hunter2/)
      assert.doesNotMatch(JSON.stringify(error), /hunter2/)
    }
  })

  test('never comes from a wrong `this` as a crash', async () => {
    const { runCommand, getInfo } = computesdk.Sandbox.prototype
    for (const call of [
      () => runCommand.call({}, 'true'),
      () => getInfo.call({}),
      () => box.filesystem.readFile.call(box, '/a'),
    ]) {
      await failure(call())
    }
    assert.throws(() => new computesdk.Sandbox())
    assert.throws(() => new computesdk.Filesystem())
    assert.throws(() => new computesdk.Terminal())
  })
})
