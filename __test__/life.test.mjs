// The life of a sandbox: how it is found, what it tells of itself, how it ends.

import assert from 'node:assert/strict'
import { before, describe } from 'node:test'

import {
  compute,
  createCompute,
  InvalidArgumentError,
  local,
  NotFoundError,
  Sandbox,
  UnsupportedError,
} from '../index.js'
import { eventually, failure, sandbox, test, works } from './support.mjs'

const provider = local()

describe('getById, list and destroy', () => {
  let box
  before(async () => {
    box = await sandbox({ metadata: { mark: 1 } })
  })

  test('find a sandbox in every form, from every instance', async () => {
    await box.filesystem.writeFile('/tmp/mark', 'same')
    const id = box.sandboxId
    const made = createCompute({ provider })
    for (const found of await Promise.all([
      compute.sandbox.getById(id),
      compute.sandbox.getById(provider, id),
      made.sandbox.getById(id),
      made.sandbox.getById(local(), id),
      provider.sandbox.getById(id),
      local({ timeout: 1000 }).sandbox.getById(id),
    ])) {
      assert.ok(found instanceof Sandbox)
      assert.equal(found.sandboxId, id)
      assert.equal(await found.filesystem.readFile('/tmp/mark'), 'same')
    }
    for (const listed of [
      await compute.sandbox.list(),
      await compute.sandbox.list(provider),
      await provider.sandbox.list(),
    ]) {
      assert.ok(listed.some((one) => one.sandboxId === id && one instanceof Sandbox))
    }
  })

  test('answer null for what is not there, an id of impossible form included', async () => {
    for (const id of ['sbx_none', '', '../../etc', 'a\0b', 'x'.repeat(10_000), 'é']) {
      assert.equal(await compute.sandbox.getById(id), null)
      assert.equal(await compute.sandbox.getById(provider, id), null)
      assert.equal(await provider.sandbox.getById(id), null)
      await compute.sandbox.destroy(id)
      await compute.sandbox.destroy(provider, id)
      await provider.sandbox.destroy(id)
    }
  })

  test('refuse what is no id and no provider', async () => {
    for (const args of [[], [1], [null], [{}], ['local', 'id'], [provider, 1], [{}, 'id'], [null, 'id']]) {
      await failure(compute.sandbox.getById(...args), InvalidArgumentError)
      await failure(compute.sandbox.destroy(...args), InvalidArgumentError)
    }
    await failure(compute.sandbox.list({ stauts: 'running' }), InvalidArgumentError)
  })

  test('end a sandbox in every form, twice without harm', async () => {
    for (const end of [
      (one) => compute.sandbox.destroy(one.sandboxId),
      (one) => compute.sandbox.destroy(provider, one.sandboxId),
      (one) => provider.sandbox.destroy(one.sandboxId),
      (one) => one.destroy(),
      (one) => one.kill(),
      (one) => one[Symbol.asyncDispose](),
    ]) {
      const one = await sandbox()
      await end(one)
      await end(one)
      assert.equal(await provider.sandbox.getById(one.sandboxId), null)
      assert.ok((await provider.sandbox.list()).every((other) => other.sandboxId !== one.sandboxId))
      const { status, reason } = await one.getInfo()
      assert.equal(status, 'stopped')
      assert.match(reason, /destroyed/)
      for (const call of [
        () => one.runCommand('true'),
        () => one.runCode('1'),
        () => one.extendTimeout(1),
        () => one.getUrl({ port: 80 }),
        () => one.waitForPort(80),
        () => one.filesystem.readFile('/etc/passwd'),
        () => one.filesystem.writeFile('/tmp/a', ''),
        () => one.filesystem.readdir('/'),
        () => one.filesystem.mkdir('/a'),
        () => one.filesystem.remove('/a'),
      ]) {
        await failure(call(), NotFoundError, {
          code: 'NOT_FOUND',
          message: /destroyed/,
          sandboxId: one.sandboxId,
        })
      }
      assert.equal(await one.filesystem.exists('/'), false)
    }
  })

  test('end what runs: everybody who waits is told', async () => {
    const one = await sandbox()
    const runs = Array.from({ length: 5 }, () =>
      failure(one.runCommand('sleep 1000'), NotFoundError, { message: /destroyed/ }),
    )
    await one.runCommand('echo on')
    await one.destroy()
    await Promise.all(runs)
  })
})

describe('the life of a sandbox', () => {
  test('is told by getInfo, as facts', async () => {
    const begun = Date.now()
    const box = await local({ timeout: 120_000 }).sandbox.create()
    const info = await box.getInfo()
    assert.equal(info.id, box.sandboxId)
    assert.equal(info.provider, 'local')
    assert.equal(info.status, 'running')
    assert.equal(info.timeout, 120_000)
    assert.ok(info.createdAt instanceof Date && info.expiresAt instanceof Date)
    assert.ok(info.createdAt.getTime() >= begun - 1 && info.createdAt.getTime() <= Date.now() + 1)
    assert.equal(info.expiresAt.getTime() - info.createdAt.getTime(), 120_000)
    for (const name of ['metadata', 'runtime', 'reason']) assert.equal(name in info, false, name)
    assert.ok(info.isolation.length > 0)
    await box.destroy()
  })

  test('ends when its time is over, with the reason', async () => {
    const box = await sandbox({ timeout: 500 })
    const waiting = failure(box.runCommand('sleep 1000'), NotFoundError, { message: /time was over|timeout/ })
    await eventually('it has ended', async () => (await box.getInfo()).status !== 'running')
    await waiting
    const info = await box.getInfo()
    assert.equal(info.status, 'stopped')
    assert.match(info.reason, /500/)
    assert.ok(Date.now() >= info.createdAt.getTime() + 500)
    await failure(box.runCommand('true'), NotFoundError, { message: /500/ })
    assert.equal(await provider.sandbox.getById(box.sandboxId), null)
    await box.destroy()
  })

  test('is longer after extendTimeout', async () => {
    const box = await sandbox({ timeout: 700 })
    await box.extendTimeout(60_000)
    const info = await box.getInfo()
    assert.equal(info.timeout, 60_700)
    assert.equal(info.expiresAt.getTime() - info.createdAt.getTime(), 60_700)
    assert.equal((await box.runCommand('sleep 1; echo on')).stdout, 'on\n')
    for (const wrong of [-1, 0.5, '1', undefined, null, Number.NaN])
      await failure(box.extendTimeout(wrong), InvalidArgumentError)
    await box.destroy()
  })

  test('has no end with a timeout of 0', async () => {
    const box = await sandbox({ timeout: 0 })
    await box.extendTimeout(1000)
    const info = await box.getInfo()
    assert.equal(info.timeout, 0)
    assert.equal('expiresAt' in info, false)
    await works(box)
  })

  test('has one filesystem and one terminal object', async () => {
    const box = await sandbox()
    assert.equal(box.filesystem, box.filesystem)
    assert.equal(box.terminal, box.terminal)
    await box.destroy()
  })

  test('refuses by name what its provider cannot', async () => {
    const box = await sandbox()
    for (const name of ['pause', 'resume']) {
      await failure(box[name](), UnsupportedError, { message: new RegExp(name) })
    }
    await box.destroy()
  })
})
