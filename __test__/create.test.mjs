// create: its forms, its options, what it refuses.

import assert from 'node:assert/strict'
import { describe } from 'node:test'

import {
  AbortError,
  AlreadyExistsError,
  compute,
  createCompute,
  InvalidArgumentError,
  local,
} from '../index.js'
import { failure, sandbox, test, works } from './support.mjs'

const provider = local()

describe('create', () => {
  test('takes no options, flat ones, nested ones, and flat wins', async () => {
    for (const [options, expected] of [
      [undefined, 300_000],
      [{}, 300_000],
      [{ timeout: 600_000 }, 600_000],
      [{ options: { timeout: 600_000 } }, 600_000],
      [{ timeout: 200_000, options: { timeout: 600_000 } }, 200_000],
      [{ timeout: undefined, options: { timeout: 600_000 } }, 600_000],
      [{ options: undefined }, 300_000],
    ]) {
      const box = await compute.sandbox.create(options)
      assert.equal((await box.getInfo()).timeout, expected)
      await works(box)
    }
  })

  test('takes a provider, or the name of a configured one, flat or nested', async () => {
    const made = createCompute({ providers: [provider] })
    for (const options of [
      { provider },
      { provider: 'local' },
      { options: { provider } },
      { options: { provider: 'local' } },
    ]) {
      for (const place of [made, compute]) await works(await place.sandbox.create(options))
    }
    await failure(made.sandbox.create({ provider: 'nope' }), InvalidArgumentError, { message: /nope.*local/ })
    for (const wrong of [1, null, {}, []]) {
      await failure(made.sandbox.create({ provider: wrong }), InvalidArgumentError, { message: /provider/ })
    }
  })

  test('works directly on a provider', async () => {
    assert.equal(provider.name, 'local')
    assert.deepEqual(provider.getSupportedRuntimes(), ['python', 'node'])
    const box = await provider.sandbox.create({ timeout: 100_000 })
    assert.equal(box.provider, 'local')
    assert.equal(box.getProvider(), provider)
    assert.equal(box.getInstance(), box)
    await works(box)
  })

  test('gives each sandbox an id that cannot be guessed, or the given one', async () => {
    const boxes = await Promise.all(Array.from({ length: 5 }, () => sandbox()))
    assert.equal(new Set(boxes.map((box) => box.sandboxId)).size, 5)
    for (const box of boxes) assert.match(box.sandboxId, /[0-9a-f]{32}/)
    const mine = await sandbox({ sandboxId: 'mine-1.2_3' })
    assert.equal(mine.sandboxId, 'mine-1.2_3')
    await failure(sandbox({ sandboxId: 'mine-1.2_3' }), AlreadyExistsError, {
      code: 'ALREADY_EXISTS',
      operation: 'create',
    })
    await mine.destroy()
    await works(await sandbox({ sandboxId: 'mine-1.2_3' }))
    for (const sandboxId of ['', 'a/b', 'a b', 'é', 'x'.repeat(200), 1, null]) {
      await failure(sandbox({ sandboxId }), InvalidArgumentError, { message: /sandboxId/ })
    }
    await Promise.all(boxes.map((box) => box.destroy()))
  })

  test('of one id by many at once gives one sandbox', async () => {
    const made = await Promise.allSettled(
      Array.from({ length: 8 }, () => sandbox({ sandboxId: 'contested' })),
    )
    const boxes = made.filter((one) => one.status === 'fulfilled')
    assert.equal(boxes.length, 1)
    for (const { reason } of made.filter((one) => one.reason)) assert.ok(reason instanceof AlreadyExistsError)
    await works(boxes[0].value)
  })

  test('keeps metadata exactly', async () => {
    const metadata = {
      text: 'é☕',
      number: 1.5,
      big: 2 ** 53 - 1,
      negative: -3,
      yes: true,
      nothing: null,
      list: [1, [2], {}],
      deep: { a: { b: 'c' } },
      '': 'empty',
    }
    const box = await sandbox({ metadata: { ...metadata, gone: undefined } })
    assert.deepEqual((await box.getInfo()).metadata, metadata)
    assert.deepEqual((await (await provider.sandbox.getById(box.sandboxId)).getInfo()).metadata, metadata)
    await box.destroy()
    const circle = {}
    circle.self = circle
    for (const wrong of [
      { a: new Date() },
      { a: () => {} },
      { a: Number.NaN },
      { a: 1n },
      { a: new Map() },
      circle,
      [],
      'a',
      null,
    ]) {
      await failure(sandbox({ metadata: wrong }), InvalidArgumentError, { message: /metadata/ })
    }
  })

  test('sets the environment of every command', async () => {
    const box = await sandbox({ envs: { A: 'one', B: undefined, EMPTY: '' } })
    assert.equal(
      (await box.runCommand('echo "$A $(printenv B || echo unset) $(printenv EMPTY || echo unset)"')).stdout,
      'one unset \n',
    )
    assert.equal((await box.runCode('import os\nprint(os.environ["A"])')).stdout, 'one\n')
    await box.destroy()
    for (const envs of [{ A: 1 }, { 'A=': 'x' }, { A: 'x\0' }, 'A=1']) {
      await failure(sandbox({ envs }), InvalidArgumentError, { message: /env/ })
    }
  })

  test('refuses an unknown option and lists the right ones', async () => {
    for (const options of [{ timout: 1 }, { options: { timout: 1 } }]) {
      const error = await failure(compute.sandbox.create(options), InvalidArgumentError, {
        message: /`timout`/,
      })
      for (const known of [
        'runtime',
        'timeout',
        'sandboxId',
        'templateId',
        'metadata',
        'envs',
        'signal',
        'resources',
      ]) {
        assert.match(error.hint, new RegExp(known))
      }
    }
    await failure(sandbox({ resources: { ram: 1 } }), InvalidArgumentError, { message: /`ram`/ })
    assert.throws(() => local({ timout: 1 }), InvalidArgumentError)
    await failure(sandbox('python'), InvalidArgumentError)
    await failure(sandbox(null), InvalidArgumentError)
  })

  test('checks numbers and never coerces them', async () => {
    for (const value of [-1, 1.5, Number.NaN, Number.POSITIVE_INFINITY, 2 ** 60, '1000', null, true, 1n]) {
      await failure(sandbox({ timeout: value }), InvalidArgumentError, { message: /timeout/ })
      for (const name of ['memory', 'disk', 'processes']) {
        await failure(sandbox({ resources: { [name]: value } }), InvalidArgumentError, {
          message: new RegExp(name),
        })
      }
      assert.throws(() => local({ timeout: value }), InvalidArgumentError)
    }
  })

  test('honours limits and tells them', async () => {
    const resources = { memory: 128 << 20, disk: 8 << 20, processes: 20, cpus: 0.5 }
    const box = await sandbox({ resources })
    const { limits } = await box.getInfo()
    assert.deepEqual({ ...resources, enforcement: limits.enforcement }, limits)
    const { stderr } = await box.runCommand('head -c 9000000 /dev/zero > /tmp/file')
    assert.match(stderr, /No space left/)
    await box.destroy()
  })

  test('can be aborted, before and at any moment', async () => {
    const reason = new Error('changed my mind')
    for (const options of [
      { signal: AbortSignal.abort(reason) },
      { options: { signal: AbortSignal.abort(reason) } },
    ]) {
      assert.equal((await failure(compute.sandbox.create(options), AbortError)).cause, reason)
    }
    const before = (await provider.sandbox.list()).length
    let aborted = 0
    for (let turn = 0; turn < 15; turn++) {
      const controller = new AbortController()
      const made = provider.sandbox.create({ signal: controller.signal })
      const ended = made.then(
        (box) => box.destroy(),
        (error) => {
          assert.ok(error instanceof AbortError, error.stack)
          assert.equal(error.cause, reason)
          aborted++
        },
      )
      for (let tick = 0; tick < turn; tick++) await new Promise(setImmediate)
      controller.abort(reason)
      await ended
    }
    assert.ok(aborted > 0)
    assert.equal((await provider.sandbox.list()).length, before)
  })
})
