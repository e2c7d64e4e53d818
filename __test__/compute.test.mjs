// compute, createCompute and providers: how they are configured, and which of them is used.

import assert from 'node:assert/strict'
import { describe } from 'node:test'

import {
  AuthenticationError,
  Compute,
  compute,
  createCompute,
  docker,
  e2b,
  InvalidArgumentError,
  local,
} from '../index.js'
import { failure, output, test, works } from './support.mjs'

const provider = local()

describe('configuration', () => {
  test('of compute is set, read and cleared', async () => {
    assert.equal(compute.getConfig(), null)
    assert.equal(compute.setConfig({ provider }), compute)
    assert.deepEqual(compute.getConfig(), { provider, defaultProvider: provider })
    await works(await compute.sandbox.create({}))
    assert.equal(compute.clearConfig(), compute)
    assert.equal(compute.getConfig(), null)
    await works(await compute.sandbox.create({}))
  })

  test('makes an instance of its own with compute({ … }) and createCompute({ … })', async () => {
    for (const made of [
      compute({ provider }),
      createCompute({ defaultProvider: provider }),
      new Compute({ provider }),
    ]) {
      assert.ok(made instanceof Compute)
      assert.equal(made.getConfig().provider, provider)
      assert.equal(made.getConfig().defaultProvider, provider)
      assert.equal(made.setConfig({ providers: [provider], providerStrategy: 'round-robin' }), made)
      assert.deepEqual(made.getConfig(), { providers: [provider], providerStrategy: 'round-robin' })
      await works(await made.sandbox.create())
      assert.equal(made.clearConfig().getConfig(), null)
      await works(await made.sandbox.create())
    }
    assert.equal(createCompute().getConfig(), null)
    assert.equal(compute.getConfig(), null)
  })

  test('that is wrong is refused and changes nothing', async () => {
    const made = compute({ provider })
    for (const config of [
      null,
      'local',
      [],
      { provider: 'local' },
      { provider: {} },
      { provider: null },
      { provider: { sandbox: { create() {} } } },
      { providers: provider },
      { providers: [{}] },
      { providerStrategy: 'random' },
      { fallbackOnError: 1 },
      { apiKey: 'x' },
    ]) {
      assert.throws(() => made.setConfig(config), InvalidArgumentError, JSON.stringify(config))
      assert.throws(() => compute(config), InvalidArgumentError)
      assert.equal(made.getConfig().provider, provider)
    }
    assert.throws(
      () => compute({ provder: provider }),
      (error) => /`provder`/.test(error.message) && /defaultProvider/.test(error.hint),
    )
  })

  test('with both keys uses defaultProvider, with one warning', async () => {
    const source = `
      process.on('warning', (warning) => console.log('warned', warning.code))
      const other = { name: 'other', sandbox: { create() { throw new Error('not me') }, getById() {}, destroy() {} } }
      for (let turn = 0; turn < 2; turn++) {
        const made = c.createCompute({ provider: other, defaultProvider: c.local() })
        const box = await made.sandbox.create()
        console.log(box.provider, made.getConfig().provider.name)
        await box.destroy()
      }`
    const lines = (await output(source)).trim().split('\n')
    assert.deepEqual(lines.sort(), ['local local', 'local local', 'warned COMPUTESDK_TWO_PROVIDERS'])
  })

  test('comes from COMPUTESDK_PROVIDER where there is none', async () => {
    const source = `
      const made = await c.compute.sandbox.create().then(async (box) => (await box.destroy(), box.provider), (error) => error)
      console.log(made.code ?? made, made.message ?? '')`
    assert.match(await output(source, { env: { COMPUTESDK_PROVIDER: 'local' } }), /^local/)
    assert.match(await output(source, { env: { COMPUTESDK_PROVIDER: '' } }), /^local/)
    assert.match(await output(source, { env: { COMPUTESDK_PROVIDER: 'e2b' } }), /^UNAUTHENTICATED .*E2B/)
    assert.match(
      await output(source, { env: { COMPUTESDK_PROVIDER: 'nope' } }),
      /^INVALID_ARGUMENT .*nope.*local, docker, e2b/,
    )
  })
})

describe('docker() and e2b()', () => {
  // Wherever the tests run, no engine answers there.
  const nowhere = docker({ socketPath: '/nonexistent/docker.sock' })

  test('never throw for a missing key, or for an engine that does not answer', () => {
    assert.deepEqual([e2b().name, docker().name, nowhere.name], ['e2b', 'docker', 'docker'])
    assert.throws(() => e2b({ apikey: 'x' }), InvalidArgumentError)
  })

  test('are passed over where others are configured', async () => {
    // Without a key.
    const made = createCompute({ providers: [e2b(), nowhere, provider] })
    const box = await made.sandbox.create()
    assert.equal(box.provider, 'local')
    assert.ok((await made.sandbox.list()).length > 0)
    assert.equal((await made.sandbox.getById(box.sandboxId)).sandboxId, box.sandboxId)
    await made.sandbox.destroy(box.sandboxId)
    assert.equal(await provider.sandbox.getById(box.sandboxId), null)
    const alone = createCompute({ providers: [e2b(), provider], fallbackOnError: false })
    await failure(alone.sandbox.create(), AuthenticationError, { message: /E2B/ })
    await failure(createCompute({ providers: [e2b(), nowhere] }).sandbox.create(), AuthenticationError, {
      message: /e2b.*docker/,
    })
  })
})
