// What a provider of one’s own answers, and what it throws.

import assert from 'node:assert/strict'
import { describe } from 'node:test'

import {
  ComputeError,
  compute,
  InvalidArgumentError,
  local,
  NotFoundError,
  UnsupportedError,
} from '../index.js'
import { plugin } from './plugin.mjs'
import { failure, test } from './support.mjs'

describe('what a provider of one’s own answers', () => {
  const answering = async (extra) => compute.sandbox.create({ provider: plugin(extra) })

  test('is never made up: an odd answer is an error that shows it', async () => {
    for (const [extra, call, message] of [
      [{ runCommand: async () => ({ stdout: '' }) }, (box) => box.runCommand('a'), /`exitCode`.*null/],
      [{ runCommand: async () => ({ exitCode: '0' }) }, (box) => box.runCommand('a'), /`exitCode`.*"0"/],
      [{ runCommand: async () => undefined }, (box) => box.runCommand('a'), /`exitCode`/],
      [{ runCommand: async () => ({ exitCode: 0, stdout: 5 }) }, (box) => box.runCommand('a'), /`stdout`.*5/],
      [{ getInfo: async () => ({}) }, (box) => box.getInfo(), /`status`/],
      [{ getInfo: async () => ({ status: 'sleeping' }) }, (box) => box.getInfo(), /`status`.*"sleeping"/],
      [{ getInfo: async () => ({ status: 'running', timeout: '5' }) }, (box) => box.getInfo(), /`timeout`/],
      [
        { getInfo: async () => ({ status: 'running', createdAt: 'yesterday' }) },
        (box) => box.getInfo(),
        /`createdAt`.*"yesterday"/,
      ],
      [{ getUrl: async () => 80 }, (box) => box.getUrl({ port: 80 }), /`getUrl`.*80/],
      [
        { filesystem: { readdir: async () => 'a' } },
        (box) => box.filesystem.readdir('/'),
        /`filesystem.readdir`/,
      ],
      [
        { filesystem: { readdir: async () => [{ type: 'file' }] } },
        (box) => box.filesystem.readdir('/'),
        /`name`/,
      ],
    ]) {
      const box = await answering(extra)
      await failure(call(box), ComputeError, { message, provider: 'mine', code: 'INTERNAL' })
      await box.destroy()
    }
    const ids = [{}, { sandboxId: 5 }, { sandboxId: '' }, 'id']
    for (const made of ids) {
      const mine = plugin()
      mine.sandbox.create = async () => made
      await failure(compute.sandbox.create({ provider: mine }), TypeError, { message: /`sandboxId`/ })
    }
    const named = { ...plugin(), name: 5 }
    await failure(compute.sandbox.create({ provider: named }), InvalidArgumentError, { message: /name/ })
  })

  test('may be a Date, its number or its text; bytes or text', async () => {
    const createdAt = new Date('2026-01-02T03:04:05.006Z')
    for (const given of [createdAt, createdAt.getTime(), createdAt.toISOString()]) {
      const box = await answering({ getInfo: async () => ({ status: 'stopped', createdAt: given }) })
      const info = await box.getInfo()
      assert.deepEqual([info.createdAt, info.status], [createdAt, 'stopped'])
      await box.destroy()
    }
    const box = await answering({
      runCommand: async () => ({ stdout: Buffer.from('☕'), stderr: null, exitCode: -1 }),
      filesystem: { readFile: async () => new Uint8Array([104, 105]) },
      getInfo: async () => ({ status: 'running' }),
    })
    const { stdout, stderr, exitCode } = await box.runCommand('a')
    assert.deepEqual([stdout, stderr, exitCode], ['☕', '', -1])
    assert.equal(await box.filesystem.readFile('/a'), 'hi')
    // It was made here, so that it is known when.
    assert.ok(Math.abs((await box.getInfo()).createdAt.getTime() - Date.now()) < 60_000)
    const found = await compute.sandbox.getById(box.getProvider(), box.sandboxId)
    await failure(found.getInfo(), UnsupportedError, { message: /createdAt/ })
    await box.destroy()
  })

  test('is a URL of the protocol that was asked for, or refused', async () => {
    const box = await answering({ getUrl: async ({ port }) => `https://${port}.example` })
    assert.equal(await box.getUrl({ port: 80 }), 'https://80.example')
    assert.equal(await box.getUrl({ port: 80, protocol: 'https' }), 'https://80.example')
    await failure(box.getUrl({ port: 80, protocol: 'ws' }), UnsupportedError, { message: /protocol/ })
    await box.destroy()
  })
})

describe('errors of a provider of one’s own', () => {
  for (const mine of [new RangeError('mine'), new NotFoundError('ours')]) {
    test(`come out as they were thrown: ${mine}`, async () => {
      const fail = async () => {
        throw mine
      }
      const broken = { name: 'broken', sandbox: { create: fail, getById: fail, list: fail, destroy: fail } }
      for (const call of [
        () => compute.sandbox.create({ provider: broken }),
        () => compute.sandbox.getById(broken, 'x'),
        () => compute.sandbox.list(broken),
        () => compute.sandbox.destroy(broken, 'x'),
      ]) {
        assert.equal(await failure(call()), mine)
      }
      const box = await compute.sandbox.create({
        provider: plugin({
          runCommand: fail,
          getInfo: fail,
          destroy: fail,
          filesystem: { readFile: fail, readdir: fail },
        }),
      })
      for (const call of [
        () => box.runCommand('true'),
        () => box.runCommand('true', { timeout: 10_000 }),
        () => box.runCode('1'),
        () => box.getInfo(),
        () => box.filesystem.readFile('/a'),
        () => box.filesystem.readdir('/a'),
        () => box.destroy(),
      ]) {
        assert.equal(await failure(call()), mine)
      }
    })
  }

  test('come out as they were when they are ours', async () => {
    const mine = plugin()
    const box = await compute.sandbox.create({ provider: mine })
    await local().sandbox.destroy(box.sandboxId)
    const error = await failure(box.runCommand('true'), NotFoundError, { message: /destroyed/ })
    assert.equal(error.provider, 'local')
  })

  test('may be anything, thrown at once too', async () => {
    const box = await compute.sandbox.create({
      provider: plugin({
        runCommand() {
          throw new TypeError('at once')
        },
      }),
    })
    await failure(box.runCommand('true'), TypeError, { message: 'at once' })
    await box.destroy()
  })
})
