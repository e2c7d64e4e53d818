// Files as streams: readFile(…, { encoding: 'stream' }), and writeFile of streams, blobs and async iterables.

import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { createReadStream, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Readable } from 'node:stream'
import { before, describe } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { runInNewContext } from 'node:vm'

import { InvalidArgumentError, NotFoundError, QuotaExceededError } from '../index.js'
import { eventually, failure, sandbox, signalled, test } from './support.mjs'

const MiB = 2 ** 20
const GiB = 2 ** 30

let box
let files

before(async () => {
  box = await sandbox()
  files = box.filesystem
})

const bytesOf = (length) => new Uint8Array(length).map((_, at) => (at * 2654435761) >> 13)
const open = (path) => files.readFile(path, { encoding: 'stream' })

async function collect(stream) {
  const pieces = []
  for await (const piece of stream) {
    assert.equal(piece.constructor, Uint8Array)
    assert.ok(piece.length > 0 && piece.length <= MiB, `a piece of ${piece.length} bytes`)
    pieces.push(piece)
  }
  return Buffer.concat(pieces)
}

/** How many descriptors this process has. */
const held = () => readdirSync('/proc/self/fd').length

describe('readFile as a stream', () => {
  test('gives a ReadableStream of the bytes, in pieces', async () => {
    for (const length of [0, 1, 49_152, 49_153, MiB, MiB + 1, 5 * MiB + 3]) {
      const bytes = bytesOf(length)
      await files.writeFile('/tmp/file', bytes)
      const stream = await open('/tmp/file')
      assert.ok(stream instanceof ReadableStream)
      assert.ok((await collect(stream)).equals(bytes), String(length))
    }
    assert.match(String(await collect(await open('/proc/self/status'))), /^Name:/)
  })

  test('is what the web’s and Node’s streams take', async () => {
    await files.writeFile('/tmp/text', 'é☕😀\n'.repeat(200_000))
    const text = await files.readFile('/tmp/text')
    assert.equal(await new Response(await open('/tmp/text')).text(), text)
    assert.equal(
      (await (await open('/tmp/text')).pipeThrough(new TextDecoderStream()).getReader().read()).value.length >
        0,
      true,
    )
    let size = 0
    for await (const piece of Readable.fromWeb(await open('/tmp/text'))) size += piece.length
    assert.equal(size, Buffer.byteLength(text))
    const [one, other] = (await open('/tmp/text')).tee()
    assert.ok((await collect(one)).equals(await collect(other)))
    await files.writeFile('/tmp/copy', await open('/tmp/text'))
    assert.equal(await files.readFile('/tmp/copy'), text)
  })

  test('fails before there is a stream, as it would otherwise', async () => {
    await box.runCommand('mkfifo /tmp/fifo')
    const properties = { operation: 'readFile', sandboxId: box.sandboxId, provider: 'local' }
    await failure(open('/nowhere'), NotFoundError, { message: 'File not found: /nowhere', ...properties })
    for (const path of ['/tmp', '/tmp/fifo', '/dev/zero', 'relative']) {
      await failure(open(path), InvalidArgumentError, properties)
    }
  })

  test('reads when it is asked to', async () => {
    await files.writeFile('/tmp/file', new Uint8Array(4 * MiB).fill(97))
    const reader = (await open('/tmp/file')).getReader()
    await sleep(50)
    await box.runCommand("head -c 4M /dev/zero | tr '\\0' b | dd of=/tmp/file conv=notrunc")
    const { value } = await reader.read()
    assert.equal(value[0], 98)
    await sleep(50)
    await box.runCommand("head -c 4M /dev/zero | tr '\\0' c | dd of=/tmp/file conv=notrunc")
    assert.equal((await reader.read()).value[0], 99)
    await reader.cancel()
  })

  test('lets go of the file when it is cancelled, and at its end', async () => {
    await files.writeFile('/tmp/file', new Uint8Array(3 * MiB))
    const readers = await Promise.all(
      Array.from({ length: 20 }, async () => (await open('/tmp/file')).getReader()),
    )
    await Promise.all(readers.map((reader) => reader.read()))
    await files.remove('/tmp/file')
    const used = async () => Number((await box.runCommand('df --output=used -k /tmp | tail -n 1')).stdout)
    const before = held()
    const full = await used()
    // Half of them while a piece is being read.
    const reading = readers.slice(10).map((reader) => reader.read())
    await Promise.all(readers.map((reader) => reader.cancel('enough')))
    await Promise.allSettled(reading)
    await eventually('descriptors are closed', () => held() <= before - 20)
    await eventually('space is free', async () => (await used()) <= full - 3000)
    for (const reader of readers) assert.deepEqual(await reader.read(), { done: true, value: undefined })
    await files.writeFile('/tmp/file', new Uint8Array(3 * MiB))
    const stream = await open('/tmp/file')
    const opened = held()
    await collect(stream)
    await eventually('it is closed at the end', () => held() === opened - 1)
    for await (const _ of await open('/tmp/file')) break
    await eventually('and by break', () => held() === opened - 1)
  })

  test('fails with the real error when the sandbox ends', async () => {
    const other = await sandbox()
    await other.filesystem.writeFile('/tmp/file', new Uint8Array(8 * MiB))
    const reader = (await other.filesystem.readFile('/tmp/file', { encoding: 'stream' })).getReader()
    await reader.read()
    await other.destroy()
    const error = await failure(reader.read(), NotFoundError, {
      message: /it was destroyed/,
      operation: 'readFile',
      sandboxId: other.sandboxId,
      provider: 'local',
    })
    assert.equal(await failure(reader.closed), error)
  })
})

describe('writeFile of a stream', () => {
  async function* pieces(...given) {
    yield* given
  }

  test('takes everything that gives strings and bytes', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'computesdk-test-'))
    writeFileSync(join(folder, 'file'), 'of a file')
    const web = (...given) =>
      new ReadableStream({
        start(controller) {
          for (const piece of given) controller.enqueue(piece)
          controller.close()
        },
      })
    for (const [content, expected] of [
      [new Blob(['of a ', new TextEncoder().encode('blob')]), 'of a blob'],
      [new File(['of a file'], 'name'), 'of a file'],
      [new Blob([]), ''],
      [web('text ☕ ', new Uint8Array([97, 98]), '', new Uint8Array(0), Buffer.from('c')), 'text ☕ abc'],
      [web(), ''],
      [new Response('of an answer').body, 'of an answer'],
      [pieces('one ', Buffer.from('two'), ' ☕'), 'one two ☕'],
      [Readable.from(['of ', 'Node']), 'of Node'],
      [createReadStream(join(folder, 'file')), 'of a file'],
      [createReadStream(join(folder, 'file'), 'utf8'), 'of a file'],
      [{ [Symbol.asyncIterator]: () => pieces('by hand') }, 'by hand'],
      // Of another realm, as test runners make them.
      [pieces(runInNewContext('new Uint8Array([120, 121])')), 'xy'],
    ]) {
      assert.equal(await files.writeFile('/tmp/into/file', content), undefined)
      assert.equal(await files.readFile('/tmp/into/file'), expected)
    }
    rmSync(folder, { recursive: true })
  })

  test('keeps the order and the bytes of pieces of any size', async () => {
    const all = bytesOf(5 * MiB)
    for (const size of [1000, 65_536, 262_144, 262_145, 3 * MiB]) {
      async function* cut() {
        // One array for all pieces: it may be used again once the next is asked for.
        const array = new Uint8Array(size)
        for (let at = 0; at < all.length; at += size) {
          const piece = all.subarray(at, at + size)
          array.set(piece)
          yield array.subarray(0, piece.length)
        }
      }
      await files.writeFile('/tmp/file', cut())
      assert.ok(
        Buffer.from(await files.readFile('/tmp/file', { encoding: 'bytes' })).equals(all),
        String(size),
      )
    }
  })

  test('replaces the file when all has come, and not before', async () => {
    await files.writeFile('/tmp/file', 'old')
    const [begun, go] = [signalled(), signalled()]
    async function* slow() {
      yield 'x'.repeat(MiB)
      begun.resolve()
      await go.promise
      yield 'end'
    }
    const written = files.writeFile('/tmp/file', slow())
    await begun.promise
    assert.equal(await files.readFile('/tmp/file'), 'old')
    go.resolve()
    await written
    assert.equal((await files.stat('/tmp/file')).size, MiB + 3)
  })

  test('that fails leaves the old content, and rejects with that very error', async () => {
    await files.mkdir('/tmp/alone')
    await files.writeFile('/tmp/alone/file', 'old')
    const mine = new RangeError('the source broke')
    async function* broken(before) {
      yield 'x'.repeat(before)
      throw mine
    }
    const stream = (before) =>
      new ReadableStream({
        pull(controller) {
          if (before-- > 0) controller.enqueue(new Uint8Array(65_536))
          else controller.error(mine)
        },
      })
    for (const content of [broken(0), broken(5 * MiB), stream(0), stream(80), Readable.from(broken(10))]) {
      assert.equal(await failure(files.writeFile('/tmp/alone/file', content)), mine)
      assert.equal(await files.readFile('/tmp/alone/file'), 'old')
      assert.equal((await files.readdir('/tmp/alone')).length, 1)
    }
    // Of these nobody has heard yet.
    for (const source of [Readable.from([]), new Readable({ read() {} })]) {
      source.destroy(mine)
      assert.equal(await failure(files.writeFile('/tmp/alone/file', source)), mine)
      await sleep(20)
    }
    const missing = createReadStream('/nowhere')
    await failure(files.writeFile('/tmp/alone/file', missing), Error, { code: 'ENOENT' })
    await failure(files.writeFile('relative', createReadStream('/nowhere')), InvalidArgumentError)
    await sleep(20)
    const odd = { thrown: 'as it is' }
    async function* strange() {
      yield* []
      throw odd
    }
    assert.equal(await files.writeFile('/tmp/alone/file', strange()).catch((error) => error), odd)
  })

  test('is closed when the write fails', async () => {
    const small = await sandbox({ resources: { disk: 4 * MiB, memory: 64 * MiB } })
    let closed = 0
    async function* endless() {
      try {
        for (;;) yield new Uint8Array(500_000)
      } finally {
        closed++
      }
    }
    await failure(small.filesystem.writeFile('/tmp/file', endless()), QuotaExceededError, {
      operation: 'writeFile',
    })
    await eventually('the generator is closed', () => closed === 1)
    const node = Readable.from(endless())
    await failure(small.filesystem.writeFile('/tmp/file', node), QuotaExceededError)
    await eventually('the stream of Node is destroyed', () => closed === 2 && node.destroyed)
    const web = signalled()
    const stream = new ReadableStream({
      pull: (controller) => controller.enqueue(new Uint8Array(500_000)),
      cancel: () => web.resolve(),
    })
    await failure(small.filesystem.writeFile('/tmp/file', stream), QuotaExceededError)
    await web.promise
    await failure(small.filesystem.writeFile('/tmp', endless()), InvalidArgumentError)
    await eventually('and where there was no file', () => closed === 3)
    assert.equal(await small.filesystem.exists('/tmp/file'), false)
    await small.destroy()
  })

  test('is not closed when it has come to its end', async () => {
    const calls = []
    const source = {
      [Symbol.asyncIterator]: () => ({
        next: async () => {
          calls.push('next')
          return calls.length < 3 ? { value: 'x', done: false } : { value: undefined, done: true }
        },
        return: async () => {
          calls.push('return')
          return { value: undefined, done: true }
        },
      }),
    }
    await files.writeFile('/tmp/file', source)
    assert.deepEqual(calls, ['next', 'next', 'next'])
    const stream = new Blob(['x']).stream()
    await files.writeFile('/tmp/file', stream)
    assert.equal(stream.locked, false)
  })

  test('is not asked for more than is written', async () => {
    let given = 0
    const slow = new ReadableStream(
      {
        async pull(controller) {
          if (given >= 40 * MiB) return controller.close()
          const { size = 0 } = (await files.readdir('/tmp/slow')).find(({ name }) => name !== 'old') ?? {}
          assert.ok(given - size <= 2 * MiB, `${given} bytes were asked for, ${size} written`)
          given += MiB
          controller.enqueue(new Uint8Array(MiB))
        },
      },
      { highWaterMark: 0 },
    )
    await files.writeFile('/tmp/slow/old', '')
    await files.writeFile('/tmp/slow/new', slow)
  })

  test('ends with the sandbox, and the source is closed', async () => {
    const other = await sandbox()
    const asked = Array.from({ length: 4 }, signalled)
    const cancelled = signalled()
    let closed = false
    async function* endless() {
      try {
        for (;;) {
          yield new Uint8Array(300_000)
          asked[0].resolve()
          await new Promise(setImmediate)
        }
      } finally {
        closed = true
      }
    }
    // Of these two nothing ever comes.
    const stuck = new ReadableStream({
      pull: () => {
        asked[1].resolve()
        return new Promise(() => {})
      },
      cancel: () => cancelled.resolve(),
    })
    const node = new Readable({ read: () => asked[2].resolve() })
    async function* silent() {
      asked[3].resolve()
      yield* []
      await new Promise(() => {})
    }
    const writes = [endless(), stuck, node, silent()].map((content, at) =>
      failure(other.filesystem.writeFile(`/tmp/file${at}`, content), NotFoundError, {
        message: /it was destroyed/,
        operation: 'writeFile',
        sandboxId: other.sandboxId,
      }),
    )
    await Promise.all(asked.map(({ promise }) => promise))
    await other.destroy()
    await Promise.all(writes)
    await cancelled.promise
    await eventually('the rest is closed', () => closed && node.destroyed)
  })

  test('that gives something else is refused by name', async () => {
    await files.writeFile('/tmp/file', 'old')
    for (const piece of [1, null, undefined, {}, [1], new ArrayBuffer(1), new Uint16Array(1)]) {
      let closed = false
      async function* wrong() {
        try {
          yield 'fine'
          yield piece
        } finally {
          closed = true
        }
      }
      const error = await failure(files.writeFile('/tmp/file', wrong()), InvalidArgumentError, {
        message: /`content`/,
      })
      assert.equal(error.operation, 'writeFile')
      await eventually('it is closed', () => closed)
    }
    assert.equal(await files.readFile('/tmp/file'), 'old')
  })

  test('is nothing that only looks like one', async () => {
    const locked = new ReadableStream()
    locked.getReader()
    for (const [content, message] of [
      [new ArrayBuffer(1), /`content`.*ArrayBuffer/],
      [new DataView(new ArrayBuffer(1)), /`content`.*DataView/],
      [new SharedArrayBuffer(1), /`content`/],
      [new Float64Array(1), /`content`/],
      [['a', 'b'], /`content`.*array/],
      [new Set(['a']), /`content`/],
      [(function* () {})(), /`content`/],
      [new Map(), /`content`/],
      [{}, /`content`/],
      [() => 'x', /`content`.*function/],
      [Promise.resolve('x'), /`content`/],
      [new Response('x'), /`content`/],
      [locked, /`content`.*reads/],
      [null, /`content`/],
      [undefined, /`content`/],
    ]) {
      await failure(files.writeFile('/tmp/none', content), InvalidArgumentError, { message })
    }
    assert.equal(await files.exists('/tmp/none'), false)
  })
})

describe('stdin', () => {
  test('may be a blob too', async () => {
    assert.equal((await box.runCommand('cat', { stdin: new Blob(['of a ', 'blob']) })).stdout, 'of a blob')
  })
})

describe('1 GiB', () => {
  test('goes in and comes out in little memory', async () => {
    const large = await sandbox({ resources: { memory: 4 * GiB, disk: 1.5 * GiB } })
    const size = GiB + 12_345
    const piece = bytesOf(MiB)
    const piecesOf = function* () {
      for (let at = 0; at < size; at += MiB) yield piece.subarray(0, Math.min(MiB, size - at))
    }
    const expected = createHash('sha256')
    for (const one of piecesOf()) expected.update(one)
    const digest = expected.digest('hex')
    let most = 0
    const watched = async function* (source) {
      for await (const one of source) {
        most = Math.max(most, process.memoryUsage.rss())
        yield one
      }
    }
    globalThis.gc?.()
    const before = process.memoryUsage.rss()
    await large.filesystem.writeFile('/tmp/large', watched(piecesOf()))
    assert.equal((await large.filesystem.stat('/tmp/large')).size, size)
    const actual = createHash('sha256')
    for await (const one of watched(await large.filesystem.readFile('/tmp/large', { encoding: 'stream' }))) {
      actual.update(one)
    }
    assert.equal(actual.digest('hex'), digest)
    assert.ok(most - before < 256 * MiB, `${Math.round((most - before) / MiB)} MiB more than before`)
    await large.destroy()
  }, 60_000)
})
