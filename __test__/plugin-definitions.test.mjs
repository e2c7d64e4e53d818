// defineProvider makes a provider of methods, as others do it.

import assert from 'node:assert/strict'
import { describe } from 'node:test'

import { compute, defineProvider, local, UnsupportedError } from '../index.js'
import { failure, test } from './support.mjs'

describe('defineProvider', () => {
  const sandbox = { create: async () => ({}), getById: async () => null, destroy: async () => {} }

  test('gives what local() gives', async () => {
    const definition = { name: 'mine', methods: { sandbox: { ...sandbox, list: async () => [] } } }
    const provider = defineProvider(definition)()
    assert.deepEqual(Object.keys(provider).sort(), Object.keys(local()).sort())
    assert.deepEqual(await provider.sandbox.list(), [])
    assert.equal(await provider.sandbox.getById('x'), null)
    assert.equal(await compute.sandbox.getById(provider, 'x'), null)
    await failure(provider.snapshots.list(), UnsupportedError, { provider: 'mine' })
  })

  test('gives every method its configuration, and its own object', async () => {
    const calls = []
    const note =
      (name, result) =>
      async (...args) => {
        calls.push([name, ...args.filter((arg) => typeof arg !== 'function')])
        return result
      }
    const box = { of: 'mine' }
    const found = { sandbox: box, sandboxId: 'one' }
    const provider = defineProvider({
      name: 'mine',
      capabilities: { kill: false },
      methods: {
        sandbox: {
          create: note('create', found),
          getById: note('getById', found),
          list: note('list', [found]),
          destroy: note('destroy'),
          runCommand: note('runCommand', { exitCode: 0 }),
          extendTimeout: note('extendTimeout'),
          filesystem: { stat: note('stat', { name: 'a', type: 'file' }), rename: note('rename') },
        },
        snapshot: {
          create: note('snapshot.create', { id: 's' }),
          list: note('snapshot.list', [{ id: 's' }]),
          delete: note('snapshot.delete'),
        },
        template: { list: note('template.list', ['t']) },
      },
    })({ key: 1 })
    const made = await provider.sandbox.create({ providerOptions: { own: [1] }, timeout: 5 })
    assert.equal(made.getInstance(), box)
    assert.equal(made.getProvider(), provider)
    await provider.sandbox.getById('one')
    await provider.sandbox.list()
    await made.runCommand('a')
    await made.extendTimeout(5)
    await made.filesystem.stat('/a')
    await made.filesystem.rename('/a', '/b')
    await made.snapshot()
    assert.deepEqual(await provider.snapshots.list(), [{ id: 's', names: [] }])
    await provider.snapshots.delete('s')
    assert.deepEqual(await provider.template.list(), ['t'])
    await made.destroy()
    const key = { key: 1 }
    assert.deepEqual(calls, [
      ['create', key, { own: [1], timeout: 5 }],
      ['getById', key, 'one'],
      ['list', key],
      ['runCommand', box, 'a', {}],
      ['extendTimeout', box, 5],
      ['stat', box, '/a'],
      ['rename', box, '/a', '/b'],
      ['snapshot.create', key, 'one', {}],
      ['snapshot.list', key],
      ['snapshot.delete', key, 's'],
      ['template.list', key],
      ['destroy', key, 'one'],
    ])
  })

  test('refuses what is no definition, and names it', () => {
    for (const [definition, name] of [
      [undefined, /`definition`/],
      [{ methods: { sandbox } }, /`definition.name`/],
      [{ name: 'a' }, /`definition.methods`/],
      [{ name: 'a', methods: {} }, /`definition.methods.sandbox`/],
      [{ name: 'a', methods: { sandbox: { ...sandbox, destroy: 1 } } }, /sandbox.destroy`/],
      [{ name: 'a', methods: { sandbox: { ...sandbox, runCommand: 1 } } }, /sandbox.runCommand`/],
      [{ name: 'a', methods: { sandbox: { ...sandbox, filesystem: { stat: 1 } } } }, /filesystem.stat`/],
      [{ name: 'a', methods: { sandbox }, capabilities: { fly: true } }, /`fly`/],
      [{ name: 'a', methods: { sandbox }, capabilities: { kill: 1 } }, /capabilities.kill`/],
    ]) {
      assert.throws(() => defineProvider(definition), { name: 'InvalidArgumentError', message: name })
    }
  })
})
