// Files in sandboxes of E2B: what is in them, what is told of them, and what they cost.

import assert from 'node:assert/strict'
import { createHash, randomBytes } from 'node:crypto'
import { describe } from 'node:test'

import { e2b, InvalidArgumentError, NotFoundError } from '../index.js'
import { e2bFake } from './fakes.mjs'
import { failure, output, test } from './support.mjs'

const MIB = 2 ** 20
const fake = await e2bFake()
const { sandbox } = e2b(fake.account)
const box = await sandbox.create()
const files = box.filesystem
const digest = (bytes) => createHash('sha256').update(bytes).digest('hex')

async function collected(stream) {
  const pieces = []
  for await (const piece of stream) pieces.push(piece)
  return Buffer.concat(pieces)
}

/** MiB that a process of its own has grown by at the most, while it did something with a sandbox. */
async function growth(source) {
  const text = await output(
    `import { readFileSync } from 'node:fs'
    const peak = () => Number(/VmHWM:\\s+(\\d+)/.exec(readFileSync('/proc/self/status', 'utf8'))[1]) / 1024
    const { sandbox } = c.e2b(${JSON.stringify(fake.account)})
    const { filesystem: files } = await sandbox.getById(${JSON.stringify(box.sandboxId)})
    await files.writeFile('/tmp/first', 'x')
    await files.readFile('/tmp/first')
    const before = peak()
    ${source}
    console.log('MiB', peak() - before)`,
  )
  return Number(/MiB (\S+)/.exec(text)[1])
}

describe('the content of a file', () => {
  test('is what it is, whatever its bytes', async () => {
    for (const bytes of [Buffer.alloc(0), Buffer.from([0, 255, 13, 10, 0x80]), randomBytes(700_000)]) {
      await files.writeFile('/tmp/binary', bytes)
      assert.equal(digest(await files.readFile('/tmp/binary', { encoding: 'bytes' })), digest(bytes))
    }
    const error = await failure(files.readFile('/tmp/binary'), InvalidArgumentError, { code: 'NOT_UTF8' })
    assert.match(error.hint ?? error.message, /bytes/)
    await files.writeFile('/tmp/text', '\uFEFFä€😀\r\n')
    assert.equal(await files.readFile('/tmp/text'), '\uFEFFä€😀\r\n')
    await failure(files.readFile('/tmp/none'), NotFoundError, { message: 'File not found: /tmp/none' })
  })

  test('is replaced as a whole, in parents that are made, with the mode that it has', async () => {
    await files.writeFile('/srv/a b/ü #?&+%.txt', 'long content')
    await box.runCommand('chmod 700 "/srv/a b/ü #?&+%.txt" && ln -s "ü #?&+%.txt" "/srv/a b/link"')
    await files.writeFile('/srv/a b/link', 'new')
    assert.equal(await files.readFile('/srv/a b/ü #?&+%.txt'), 'new')
    const { stdout } = await box.runCommand('stat -c %a "/srv/a b/ü #?&+%.txt"; cat "/srv/a b/ü #?&+%.txt"')
    assert.equal(stdout, '700\nnew')
  })

  test('comes and goes piece by piece', async () => {
    async function* pieces() {
      for (let at = 0; at < 64; at++) yield Buffer.alloc(100_000, at)
    }
    await files.writeFile('/tmp/pieces', pieces())
    const whole = Buffer.concat(Array.from({ length: 64 }, (_, at) => Buffer.alloc(100_000, at)))
    assert.equal(
      digest(await collected(await files.readFile('/tmp/pieces', { encoding: 'stream' }))),
      digest(whole),
    )
    await files.writeFile('/tmp/blob', new Blob(['text and ', new Uint8Array([255])]))
    assert.equal((await files.readFile('/tmp/blob', { encoding: 'bytes' })).length, 10)
    // A source that fails leaves what was there.
    async function* failing() {
      yield Buffer.alloc(MIB)
      throw new RangeError('no more')
    }
    await failure(files.writeFile('/tmp/pieces', failing()), RangeError, { message: 'no more' })
    assert.equal((await files.stat('/tmp/pieces')).size, whole.length)
    // One that is not read to its end costs no more than what was read.
    const reader = (await files.readFile('/tmp/pieces', { encoding: 'stream' })).getReader()
    await reader.read()
    await reader.cancel()
  })

  test('is never asked for in compressed form, and one that compresses well is not', async () => {
    const large = Buffer.alloc(4 * MIB, 'x')
    const before = await fake.stats()
    const asked = await fake.asked(async () => {
      await files.writeFile('/tmp/large', large)
      assert.equal((await files.readFile('/tmp/large', { encoding: 'bytes' })).length, large.length)
      await files.readdir('/tmp')
      await box.runCommand('true')
      await sandbox.list()
    })
    for (const { headers, path } of asked) {
      assert.doesNotMatch(headers['accept-encoding'] ?? '', /gzip|deflate/, path)
      assert.equal(headers['connect-accept-encoding'], undefined, path)
    }
    assert.ok((await fake.stats()).bytesSent - before.bytesSent >= large.length)
  })
})

describe('memory', () => {
  const SIZE = 256

  test('stays the same while a large file is written from a stream', async () => {
    const grown = await growth(`
      async function* pieces() { for (let at = 0; at < ${SIZE}; at++) yield Buffer.alloc(${MIB}, at) }
      await files.writeFile('/tmp/huge', pieces())`)
    assert.equal((await files.stat('/tmp/huge')).size, SIZE * MIB)
    assert.ok(grown < SIZE / 2, `${grown} MiB more for ${SIZE} MiB`)
  })

  test('stays the same while it is read as a stream', async () => {
    const grown = await growth(`
      let bytes = 0
      for await (const piece of await files.readFile('/tmp/huge', { encoding: 'stream' })) bytes += piece.length
      if (bytes !== ${SIZE * MIB}) throw new Error('not all: ' + bytes)`)
    assert.ok(grown < SIZE / 2, `${grown} MiB more for ${SIZE} MiB`)
    await files.remove('/tmp/huge')
  })

  test('stays the same while a command writes much that nobody keeps', async () => {
    const grown = await growth(`
      let bytes = 0
      const one = await sandbox.getById(${JSON.stringify(box.sandboxId)})
      await one.runCommand('head -c 50000000 /dev/zero', { maxOutput: 0, onStdout: (text) => { bytes += text.length } })
      if (bytes !== 50_000_000) throw new Error('not all: ' + bytes)`)
    assert.ok(grown < 64, `${grown} MiB more for 50 MB`)
  })
})

describe('a directory', () => {
  test('tells kind, size, time and target of what is in it', async () => {
    const before = Date.now()
    await files.mkdir('/data/sub')
    await files.mkdir('/data/sub')
    await files.writeFile('/data/file', 'seven b')
    await files.writeFile('/data/.hidden', '')
    await files.writeFile('/data/new\nline', '1')
    await box.runCommand(
      'cd /data && ln -s sub to-sub && ln -s nowhere dangling && mkfifo fifo && touch -d 2001-02-03T04:05:06Z old',
    )
    const entries = await files.readdir('/data')
    assert.deepEqual(
      entries.map(({ name, type, size, symlinkTarget }) => [name, type, size, symlinkTarget]),
      [
        ['.hidden', 'file', 0, undefined],
        ['dangling', 'file', 7, 'nowhere'],
        ['fifo', 'file', 0, undefined],
        ['file', 'file', 7, undefined],
        ['new\nline', 'file', 1, undefined],
        ['old', 'file', 0, undefined],
        ['sub', 'directory', 0, undefined],
        ['to-sub', 'directory', 0, 'sub'],
      ],
    )
    const of = (name) => entries.find((entry) => entry.name === name)
    assert.equal(of('old').modified.toISOString(), '2001-02-03T04:05:06.000Z')
    assert.ok(of('file').modified >= before - 2_000 && of('file').modified <= Date.now() + 2_000)
    assert.equal((await files.stat('/data/to-sub')).type, 'directory')
    await failure(files.readdir('/data/none'), NotFoundError, { message: 'Directory not found: /data/none' })
    await failure(files.stat('/data/dangling'), NotFoundError, { message: 'File not found: /data/dangling' })
  })

  test('is copied, renamed and removed as a whole', async () => {
    await failure(files.copy('/data', '/backup/of/data'), InvalidArgumentError, { message: /fifo/ })
    assert.equal(await files.exists('/backup/of/data'), false)
    await box.runCommand('mv /data/fifo /')
    await files.copy('/data', '/backup/of/data')
    assert.equal(await files.readFile('/backup/of/data/file'), 'seven b')
    await files.rename('/backup/of/data', '/moved')
    assert.equal(await files.readFile('/moved/file'), 'seven b')
    assert.equal(await files.exists('/backup/of/data'), false)
    await files.remove('/moved')
    assert.equal(await files.exists('/moved'), false)
    await failure(files.remove('/moved'), NotFoundError, { message: 'File not found: /moved' })
  })

  test('and pipes and devices are refused as files, at once', async () => {
    for (const path of ['/data/sub', '/fifo', '/dev/zero']) {
      const begun = Date.now()
      await failure(files.readFile(path), InvalidArgumentError, { message: new RegExp(path) })
      if (path !== '/dev/zero') await failure(files.writeFile(path, 'x'), InvalidArgumentError)
      assert.ok(Date.now() - begun < 5_000)
    }
    assert.match(await files.readFile('/proc/self/status'), /^Name:/)
  })
})

describe('what a file costs', () => {
  test('is one request each', async () => {
    for (const [work, expected] of [
      [() => files.writeFile('/tmp/one', 'x'), ['POST /files']],
      [() => files.readFile('/tmp/one'), ['GET /files']],
      [() => files.mkdir('/tmp/many/of/them'), ['POST /filesystem.Filesystem/MakeDir']],
      [() => files.readdir('/tmp/many'), ['POST /filesystem.Filesystem/ListDir']],
      [() => files.exists('/tmp/one'), ['POST /filesystem.Filesystem/Stat']],
      [() => files.stat('/tmp/one'), ['POST /filesystem.Filesystem/Stat']],
    ]) {
      const asked = await fake.asked(work)
      assert.deepEqual(
        asked.map(({ method, path }) => `${method} ${path.split('?')[0]}`),
        expected,
      )
    }
  })
})
