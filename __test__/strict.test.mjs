// Whether a non-zero exit is a result or a CommandExitError: the table of API.md, row by row.

import assert from 'node:assert/strict'
import { describe } from 'node:test'

import {
  CommandExitError,
  Compute,
  compute,
  createCompute,
  InvalidArgumentError,
  isCommandExitError,
  local,
} from '../index.js'
import { failure, test } from './support.mjs'

/** Whether a failing command of a sandbox raises, asked in all three forms. */
async function raises(box, options) {
  const answers = await Promise.all(
    [
      box.runCommand('exit 3', options),
      box.runCommand('sh', ['-c', 'exit 3'], options),
      box.runCommand(['sh', '-c', 'exit 3'], options),
    ].map((run) =>
      run.then(
        (result) => assert.equal(result.exitCode, 3) ?? false,
        (error) => assert.equal(error.result.exitCode, 3) ?? true,
      ),
    ),
  )
  assert.equal(new Set(answers).size, 1)
  return answers[0]
}

const PLACES = [
  ['compute', compute, false],
  ['compute({})', compute({}), false],
  ['compute({ provider })', compute({ provider: local() }), false],
  ['new Compute()', new Compute(), false],
  ['a provider', local(), false],
  ['createCompute()', createCompute(), true],
  ['createCompute({})', createCompute({}), true],
  ['createCompute({ defaultProvider })', createCompute({ defaultProvider: local() }), true],
  ['compute({ throwOnError: true })', compute({ throwOnError: true }), true],
  ['compute({ throwOnError: false })', compute({ throwOnError: false }), false],
  ['createCompute({ throwOnError: false })', createCompute({ throwOnError: false }), false],
  ['createCompute({ throwOnError: undefined })', createCompute({ throwOnError: undefined }), true],
]

describe('a non-zero exit', () => {
  for (const [name, place, strict] of PLACES) {
    test(`of a sandbox of ${name} ${strict ? 'raises' : 'is a result'}, unless the call says otherwise`, async () => {
      const box = await place.sandbox.create()
      assert.equal(await raises(box), strict)
      assert.equal(await raises(box, {}), strict)
      assert.equal(await raises(box, { throwOnError: undefined }), strict)
      assert.equal(await raises(box, { throwOnError: true }), true)
      assert.equal(await raises(box, { throwOnError: false }), false)
      await box.destroy()
    })
  }

  test('is what the instance says that the sandbox came from', async () => {
    const provider = local()
    const [strict, loose] = [createCompute({ provider }), compute({ provider })]
    const box = await loose.sandbox.create()
    const id = box.sandboxId
    assert.equal(await raises(box), false)
    assert.equal(await raises(await strict.sandbox.getById(id)), true)
    assert.equal(await raises(await strict.sandbox.getById(provider, id)), true)
    assert.equal(await raises(await loose.sandbox.getById(id)), false)
    assert.equal(await raises(await provider.sandbox.getById(id)), false)
    const listed = (await strict.sandbox.list()).find((one) => one.sandboxId === id)
    assert.equal(await raises(listed), true)
    assert.equal(await raises(await strict.sandbox.create({ provider })), true)
    assert.equal(await raises(await strict.sandbox.create({ provider: 'local' })), true)
    await box.destroy()
  })

  test('follows setConfig and clearConfig for sandboxes made from then on', async () => {
    const place = createCompute()
    place.setConfig({ throwOnError: false })
    assert.equal(await raises(await place.sandbox.create()), false)
    place.setConfig({})
    assert.equal(await raises(await place.sandbox.create()), true)
    place.setConfig({ throwOnError: false })
    place.clearConfig()
    assert.equal(await raises(await place.sandbox.create()), true)
    compute.setConfig({ throwOnError: true })
    assert.equal(await raises(await compute.sandbox.create()), true)
    compute.clearConfig()
    assert.equal(await raises(await compute.sandbox.create()), false)
  })

  test('of code raises only when the call itself says so', async () => {
    for (const place of [createCompute(), compute({ throwOnError: true }), compute]) {
      const box = await place.sandbox.create()
      assert.equal((await box.runCode('process.exit(3)')).exitCode, 3)
      assert.equal((await box.runCode('process.exit(3)', 'node', { throwOnError: false })).exitCode, 3)
      const run = box.runCode('console.log("out"); process.exit(3)', { throwOnError: true })
      const error = await failure(run, CommandExitError, { operation: 'runCode' })
      assert.equal(error.result.exitCode, 3)
      assert.equal(error.result.stdout, 'out\n')
      await box.destroy()
    }
  })
})

describe('the CommandExitError of a command', () => {
  test('tells everything about it', async () => {
    const box = await createCompute().sandbox.create()
    const error = await failure(box.runCommand('echo out; echo err >&2; exit 42'), CommandExitError, {
      name: 'CommandExitError',
      code: 'COMMAND_EXIT',
      message: 'Command exited with code 42',
      provider: 'local',
      sandboxId: box.sandboxId,
      operation: 'runCommand',
      retryable: false,
    })
    const { durationMs, ...rest } = error.result
    assert.deepEqual(rest, {
      exitCode: 42,
      stdout: 'out\n',
      stderr: 'err\n',
      executionTime: durationMs,
      sandboxId: box.sandboxId,
      provider: 'local',
    })
    assert.ok(Number.isInteger(durationMs) && durationMs >= 1)
    assert.ok(isCommandExitError(error))
  })

  test('comes after a timeout too, and says so', async () => {
    const box = await createCompute().sandbox.create()
    const run = box.runCommand('echo on; sleep 1000', { timeout: 300 })
    const error = await failure(run, CommandExitError, { message: 'Command exited with code 124' })
    assert.equal(error.result.timedOut, true)
    assert.equal(error.result.stdout, 'on\n')
  })

  test('names the signal, and what was cut off', async () => {
    const box = await createCompute().sandbox.create()
    const error = await failure(
      box.runCommand('echo 123456789; kill -9 $$', { maxOutput: 4 }),
      CommandExitError,
    )
    assert.equal(error.result.signal, 'SIGKILL')
    assert.equal(error.result.exitCode, 137)
    assert.equal(error.result.truncated, true)
    assert.equal(error.result.stdout, '1234')
  })

  test('does not come for success', async () => {
    const box = await createCompute().sandbox.create()
    assert.equal((await box.runCommand('echo fine >&2')).exitCode, 0)
  })

  test('has a `throwOnError` that is a boolean, nothing else', async () => {
    const box = await local().sandbox.create()
    for (const throwOnError of [1, 'true', null, {}]) {
      await failure(box.runCommand('true', { throwOnError }), InvalidArgumentError, {
        message: /throwOnError/,
      })
      assert.throws(() => compute({ throwOnError }), InvalidArgumentError)
    }
  })
})
