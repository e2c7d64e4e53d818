// Several providers at once: ours, one from npm, and one that fails when it is told to.

import assert from 'node:assert/strict'
import { before, beforeEach, describe } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'

import {
  AbortError,
  compute,
  createCompute,
  defineProvider,
  handleComputeRequest,
  InvalidArgumentError,
  local,
  NotFoundError,
  QuotaExceededError,
  UnsupportedError,
} from '../index.js'
import { installed } from './install.mjs'
import { failure, signalled, test } from './support.mjs'

const kept = new Set()
const calls = []
/** What the next call of a method fails with, by its name. */
const faults = new Map()

function called(method, ...args) {
  calls.push([method, ...args])
  const fault = faults.get(method)
  if (fault) throw fault
}

/** Sandboxes that are nothing but their names. */
const flaky = defineProvider({
  name: 'flaky',
  methods: {
    sandbox: {
      create: async (_config, { sandboxId = crypto.randomUUID() } = {}) => {
        called('create')
        kept.add(sandboxId)
        return { sandbox: {}, sandboxId }
      },
      getById: async (_config, sandboxId) => {
        called('getById', sandboxId)
        return kept.has(sandboxId) ? { sandbox: {}, sandboxId } : null
      },
      list: async () => {
        called('list')
        return [...kept].map((sandboxId) => ({ sandbox: {}, sandboxId }))
      },
      destroy: async (_config, sandboxId) => {
        called('destroy', sandboxId)
        kept.delete(sandboxId)
      },
      runCommand: async () => ({ stdout: 'flaky\n', exitCode: 0 }),
    },
  },
})()

const ours = local()
let justBash
before(() => {
  justBash = installed('plugins')('@computesdk/just-bash').justBash()
})
beforeEach(() => {
  kept.clear()
  calls.length = 0
  faults.clear()
})

const names = (sandboxes) => sandboxes.map(({ provider }) => provider)

async function several(instance, count) {
  const made = []
  for (let turn = 0; turn < count; turn++) made.push(await instance.sandbox.create())
  return made
}

const ended = (sandboxes) => Promise.all(sandboxes.map((sandbox) => sandbox.destroy()))

describe('create', () => {
  test('asks them in the order of priority, and the next where one fails', async () => {
    const all = createCompute({ providers: [flaky, justBash, ours] })
    const made = await several(all, 2)
    assert.deepEqual(names(made), ['flaky', 'flaky'])
    for (const fault of [new Error('no room'), new QuotaExceededError('none left'), new TypeError('a bug')]) {
      faults.set('create', fault)
      made.push(...(await several(all, 1)))
    }
    faults.clear()
    made.push(...(await several(all, 1)))
    assert.deepEqual(names(made).slice(2), ['just-bash', 'just-bash', 'just-bash', 'flaky'])
    // What one cannot honour, another may.
    const box = await all.sandbox.create({ network: 'none' })
    assert.equal(box.provider, 'local')
    await ended([box, ...made])
  })

  test('goes round where it is told to, and on where one fails', async () => {
    const all = compute({ providers: [ours, justBash, flaky], providerStrategy: 'round-robin' })
    const made = await several(all, 4)
    assert.deepEqual(names(made), ['local', 'just-bash', 'flaky', 'local'])
    faults.set('create', new Error('no room'))
    made.push(...(await several(all, 3)))
    assert.deepEqual(names(made).slice(4), ['just-bash', 'local', 'local'])
    await ended(made)
  })

  test('tells every failure where all fail, and the one where there is no other', async () => {
    const fault = new QuotaExceededError('none left')
    faults.set('create', fault)
    const second = { ...flaky, name: 'second' }
    const error = await failure(createCompute({ providers: [flaky, second] }).sandbox.create())
    assert.equal(error.code, 'QUOTA_EXCEEDED')
    assert.match(error.message, /flaky: none left; .*none left/)
    assert.equal(await failure(createCompute({ provider: flaky }).sandbox.create()), fault)
    const only = createCompute({ providers: [flaky, ours], fallbackOnError: false })
    assert.equal(await failure(only.sandbox.create()), fault)
    assert.deepEqual(await ours.sandbox.list(), [])
  })

  test('tries nobody else with a named provider, be it by its name or itself', async () => {
    const all = createCompute({ providers: [ours, flaky, justBash] })
    const fault = new Error('no room')
    faults.set('create', fault)
    assert.equal(await failure(all.sandbox.create({ provider: 'flaky' })), fault)
    assert.equal(await failure(all.sandbox.create({ provider: flaky })), fault)
    faults.clear()
    const made = [
      await all.sandbox.create({ provider: 'just-bash' }),
      await all.sandbox.create({ provider: 'flaky' }),
      await all.sandbox.create({ options: { provider: flaky } }),
    ]
    assert.deepEqual(names(made), ['just-bash', 'flaky', 'flaky'])
    const unknown = all.sandbox.create({ provider: 'modal' })
    await failure(unknown, InvalidArgumentError, { message: /local, flaky, just-bash/ })
    await ended(made)
  })

  test('tries nobody else after an abort, or with a request that is wrong', async () => {
    const asked = signalled()
    const slow = defineProvider({
      name: 'slow',
      methods: {
        sandbox: {
          create: async () => {
            asked.resolve()
            await sleep(200)
            throw new Error('no room')
          },
          getById: async () => null,
          destroy: async () => {},
        },
      },
    })()
    const all = createCompute({ providers: [slow, flaky] })
    const controller = new AbortController()
    const made = failure(all.sandbox.create({ signal: controller.signal }), AbortError)
    await asked.promise
    controller.abort()
    await made
    await sleep(400)
    assert.deepEqual(calls, [])
    const wrong = createCompute({ providers: [ours, flaky] })
    await failure(wrong.sandbox.create({ templateId: 'none' }), NotFoundError)
    await failure(wrong.sandbox.create({ sandboxId: '' }), InvalidArgumentError)
    assert.deepEqual(calls, [])
  })
})

describe('a sandbox of several', () => {
  test('remembers where it lives', async () => {
    const all = createCompute({ providers: [ours, justBash, flaky], providerStrategy: 'round-robin' })
    const made = await several(all, 3)
    for (const [at, provider] of [ours, justBash, flaky].entries()) {
      assert.equal(made[at].getProvider(), provider)
      const found = await all.sandbox.getById(made[at].sandboxId)
      assert.equal(found.getProvider(), provider)
      assert.equal(found.provider, provider.name)
    }
    assert.equal((await made[2].runCommand('x')).stdout, 'flaky\n')
    await ended(made)
  })

  test('is destroyed there and nowhere else', async () => {
    const all = compute({ providers: [justBash, flaky, ours] })
    const [box, other] = [
      await all.sandbox.create({ provider: 'flaky', sandboxId: 'same' }),
      await all.sandbox.create({ provider: 'local', sandboxId: 'same' }),
    ]
    // Of two with one id, the latest.
    assert.equal((await all.sandbox.getById('same')).provider, 'local')
    await all.sandbox.destroy('same')
    assert.equal((await other.getInfo()).status, 'stopped')
    assert.deepEqual([...kept], ['same'])
    assert.equal((await all.sandbox.getById('same')).provider, 'flaky')
    await all.sandbox.destroy('same')
    assert.deepEqual([...kept], [])
    await all.sandbox.destroy('same')
    await all.sandbox.destroy('nobody’s')
    assert.deepEqual(
      calls.filter(([method]) => method === 'destroy'),
      [['destroy', 'same']],
    )
    await box.destroy()
  })

  test('that others have made is found by asking', async () => {
    const box = await justBash.sandbox.create()
    const all = compute({ providers: [flaky, ours, justBash] })
    assert.equal((await all.sandbox.getById(box.sandboxId)).provider, 'just-bash')
    await all.sandbox.destroy(box.sandboxId)
    assert.equal(await justBash.sandbox.getById(box.sandboxId), null)
  })

  test('is not said to be nowhere while one does not answer', async () => {
    const all = compute({ providers: [flaky, ours] })
    const fault = new Error('no answer')
    faults.set('getById', fault)
    assert.equal(await failure(all.sandbox.getById('x')), fault)
    assert.equal(await failure(all.sandbox.destroy('x')), fault)
    const box = await ours.sandbox.create()
    assert.equal((await all.sandbox.getById(box.sandboxId)).provider, 'local')
    await all.sandbox.destroy(box.sandboxId)
    assert.equal((await box.getInfo()).status, 'stopped')
  })
})

describe('list of several', () => {
  test('has what they have, and tells who could not answer', async () => {
    const all = createCompute({ providers: [flaky, ours, justBash], providerStrategy: 'round-robin' })
    const made = await several(all, 3)
    const listed = await all.sandbox.list()
    assert.deepEqual(names(listed).sort(), ['flaky', 'just-bash', 'local'])
    assert.deepEqual(
      listed.map(({ sandboxId }) => sandboxId).sort(),
      made.map(({ sandboxId }) => sandboxId).sort(),
    )
    assert.deepEqual(listed.errors, [])
    const fault = new Error('no answer')
    faults.set('list', fault)
    const rest = await all.sandbox.list()
    assert.deepEqual(names(rest).sort(), ['just-bash', 'local'])
    assert.deepEqual(rest.errors, [fault])
    assert.ok(Array.isArray(rest))
    assert.deepEqual(Object.keys(rest), ['0', '1'])
    assert.equal(JSON.stringify(rest.map(() => 1)), '[1,1]')
    await ended(made)
  })

  test('tells of ours and of what has no list, by name', async () => {
    const mute = defineProvider({
      name: 'mute',
      methods: {
        sandbox: { create: async () => {}, getById: async () => null, destroy: async () => {} },
      },
    })()
    const { errors } = await compute({ providers: [mute, ours] }).sandbox.list()
    assert.equal(errors.length, 1)
    assert.ok(errors[0] instanceof UnsupportedError)
    assert.deepEqual([errors[0].provider, errors[0].operation], ['mute', 'list'])
    await failure(compute({ providers: [mute] }).sandbox.list(), UnsupportedError, { provider: 'mute' })
  })

  test('raises where nobody answers', async () => {
    const fault = new Error('no answer')
    faults.set('list', fault)
    assert.equal(await failure(compute({ providers: [flaky] }).sandbox.list()), fault)
    const error = await failure(compute({ providers: [flaky, { ...flaky, name: 'second' }] }).sandbox.list())
    assert.match(error.message, /no provider can list its sandboxes: flaky: no answer; .*no answer/)
  })
})

describe('the request handler with several', () => {
  test('makes and finds sandboxes as the configuration says', async () => {
    compute.setConfig({ providers: [flaky, justBash, ours] })
    faults.set('create', new Error('no room'))
    const ask = (request) => handleComputeRequest({ request, provider: undefined })
    const made = await ask({ action: 'compute.sandbox.create' })
    assert.deepEqual([made.success, made.provider], [true, 'just-bash'])
    const command = { action: 'compute.sandbox.runCommand', sandboxId: made.sandboxId, command: 'echo on' }
    assert.equal((await ask(command)).result.stdout, 'on\n')
    assert.equal((await ask({ ...command, action: 'compute.sandbox.destroy' })).success, true)
    compute.clearConfig()
  })
})
