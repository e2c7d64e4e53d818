// Images that come from a registry: a real engine pulls them from one of this process.

import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { after, describe, test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'

import { docker, InvalidArgumentError, NotFoundError } from '../index.js'
import { start, stop } from './engine.mjs'
import { registryOf } from './registry.mjs'
import { failure } from './support.mjs'

const { socketPath, missing } = start()
after(stop)

const content = randomBytes(4 * 2 ** 20)

/** A name that the engine has never heard of, and what its registry is. */
async function published() {
  const registry = await registryOf({ content, version: `${Math.random()}` })
  after(() => {
    registry.stop()
    execFileSync('docker', ['-H', `unix://${socketPath}`, 'image', 'rm', '--force', registry.name], {
      stdio: 'ignore',
    })
  })
  return registry
}

describe('an image that the engine has not', { skip: missing ?? false }, () => {
  test('comes from its registry, and who waits is told how far it is', async () => {
    const { name, size } = await published()
    const told = []
    const provider = docker({ socketPath, image: name, onPull: (progress) => void told.push(progress) })
    const sandbox = await provider.sandbox.create()
    try {
      assert.deepEqual(
        Buffer.from(await sandbox.filesystem.readFile('/content', { encoding: 'bytes' })),
        content,
      )
    } finally {
      await sandbox.destroy()
    }
    assert.ok(told.every(({ image, status }) => image === name && typeof status === 'string'))
    const coming = told.filter(({ status }) => status === 'Downloading')
    assert.ok(coming.length > 1, JSON.stringify(told))
    for (const { layer, current, total } of coming) {
      assert.match(layer, /^[0-9a-f]{12}$/)
      assert.ok(current <= size && total === size, `${current} of ${total}, which are ${size}`)
    }
    assert.ok(coming[0].current < coming.at(-1).current)
    assert.match(told.at(-1).status, /Downloaded newer image/)

    // It is there now: nobody is asked, and nothing is told.
    told.length = 0
    await (await provider.sandbox.create()).destroy()
    assert.deepEqual(told, [])
    const again = docker({
      socketPath,
      image: name,
      pull: 'always',
      onPull: (progress) => void told.push(progress),
    })
    await (await again.sandbox.create()).destroy()
    assert.match(told.at(-1).status, /up to date/)
  })

  test('is not made from when the one who is told throws', async () => {
    const { name } = await published()
    const enough = new Error('enough')
    for (const onPull of [
      () => {
        throw enough
      },
      () => Promise.reject(enough),
    ]) {
      const provider = docker({ socketPath, image: name, onPull })
      // Others have sandboxes of this engine as well.
      const sandboxId = `told-${randomBytes(8).toString('hex')}`
      const asked = provider.sandbox.create({ sandboxId })
      await assert.rejects(asked, (error) => error === enough || error.cause === enough)
      const made = await provider.sandbox.list()
      assert.ok(!made.some((one) => one.sandboxId === sandboxId))
    }
  })

  test('comes at the pace of the one who is told', async () => {
    const { name } = await published()
    let at = 0
    let most = 0
    const onPull = async () => {
      most = Math.max(most, ++at)
      await sleep(20)
      at--
    }
    await (await docker({ socketPath, image: name, onPull }).sandbox.create()).destroy()
    assert.equal(most, 1)
  })

  test('and that no registry has is an error that says how to get it', async () => {
    const { name } = await published()
    const none = docker({ socketPath, image: `${name}/none` })
    await failure(none.sandbox.create(), NotFoundError, { message: /cannot be pulled/ })
  })
})

test('who is to be told is a function', () => {
  assert.throws(() => docker({ onPull: 'loudly' }), InvalidArgumentError)
})
