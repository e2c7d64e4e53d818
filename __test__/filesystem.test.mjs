// sandbox.filesystem: text and bytes, directories, names, links, and what is no ordinary file.

import assert from 'node:assert/strict'
import { before, describe } from 'node:test'

import { AlreadyExistsError, InvalidArgumentError, NotFoundError } from '../index.js'
import { failure, sandbox, test } from './support.mjs'

let box
let files

before(async () => {
  box = await sandbox()
  files = box.filesystem
})

const shell = async (line) => {
  const { stdout, stderr, exitCode } = await box.runCommand(line)
  assert.equal(exitCode, 0, stderr)
  return stdout
}

/** A directory of its own for each test. */
let number = 0
const fresh = async () => {
  const path = `/tmp/test${number++}`
  await files.mkdir(path)
  return path
}

describe('text', () => {
  test('is read as it was written', async () => {
    const dir = await fresh()
    for (const text of [
      '',
      'Hello, World!',
      'a\r\nb\0c',
      'é☕😀\u2028',
      '\uFEFFbom',
      'x'.repeat(3_000_000),
    ]) {
      await files.writeFile(`${dir}/file`, text)
      assert.equal(await files.readFile(`${dir}/file`), text)
      assert.equal(await files.readFile(`${dir}/file`, { encoding: 'utf8' }), text)
      assert.equal(await shell(`wc -c < ${dir}/file`), `${Buffer.byteLength(text)}\n`)
    }
  })

  test('that is not UTF-8 is refused with advice, and read as bytes', async () => {
    const bytes = new Uint8Array([97, 255, 0, 128])
    await files.writeFile('/tmp/bytes', bytes)
    const error = await failure(files.readFile('/tmp/bytes'), InvalidArgumentError, {
      code: 'NOT_UTF8',
      message: /\/tmp\/bytes/,
      operation: 'readFile',
      sandboxId: box.sandboxId,
      provider: 'local',
    })
    assert.match(`${error.message} ${error.hint}`, /encoding: 'bytes'/)
    assert.deepEqual(await files.readFile('/tmp/bytes', { encoding: 'bytes' }), bytes)
  })
})

describe('bytes', () => {
  test('are read as they were written, on both sides of every limit', async () => {
    for (const length of [0, 1, 49_151, 49_152, 49_153, 4 << 20, (4 << 20) + 1]) {
      const bytes = new Uint8Array(length).map((_, at) => (at * 31) ^ (at >> 8))
      await files.writeFile('/tmp/bytes', bytes)
      const back = await files.readFile('/tmp/bytes', { encoding: 'bytes' })
      assert.equal(back.constructor, Uint8Array)
      assert.ok(Buffer.from(back).equals(bytes), String(length))
    }
  })

  test('may be a Buffer or a view of a larger one', async () => {
    const whole = new Uint8Array(Buffer.from('xxinnerxx'))
    await files.writeFile('/tmp/bytes', whole.subarray(2, 7))
    assert.equal(await files.readFile('/tmp/bytes'), 'inner')
    await files.writeFile('/tmp/bytes', Buffer.from('a buffer'))
    assert.equal(await files.readFile('/tmp/bytes'), 'a buffer')
  })

  test('are taken when the call is made', async () => {
    const bytes = new Uint8Array(1_000_000).fill(1)
    const written = files.writeFile('/tmp/bytes', bytes)
    bytes.fill(2)
    await written
    assert.ok((await files.readFile('/tmp/bytes', { encoding: 'bytes' })).every((byte) => byte === 1))
  })

  test('make a round trip of 64 MiB', async () => {
    const bytes = new Uint8Array(64 << 20).map((_, at) => (at * 2654435761) >> 13)
    await files.writeFile('/tmp/large', bytes)
    const back = await files.readFile('/tmp/large', { encoding: 'bytes' })
    assert.equal(Buffer.compare(back, bytes), 0)
    await files.remove('/tmp/large')
  })

  test('are nothing else', async () => {
    for (const content of [undefined, null, 1, true, {}, [1], new Float64Array(1), new ArrayBuffer(1)]) {
      await failure(files.writeFile('/tmp/none', content), InvalidArgumentError, { message: /content/ })
    }
    assert.equal(await files.exists('/tmp/none'), false)
  })
})

describe('writeFile', () => {
  test('makes parents anywhere, which are the user’s own', async () => {
    for (const path of ['/app/a/b/c.txt', '/analysis', '/workspace/x/y', '/tmp/p//q/./r']) {
      await files.writeFile(path, 'here')
      assert.equal(await files.readFile(path), 'here')
    }
    assert.equal(await shell('echo more >> /app/a/b/c.txt; stat -c %U /app /app/a/b/c.txt | uniq'), 'user\n')
  })

  test('replaces the whole and keeps the mode', async () => {
    await files.writeFile('/tmp/script', '#!/bin/sh\necho a long script')
    assert.equal(await shell('stat -c %a /tmp/script; chmod 751 /tmp/script'), '644\n')
    await files.writeFile('/tmp/script', '#!/bin/sh\necho short')
    assert.equal(await shell('stat -c %a:%U /tmp/script; /tmp/script'), '751:user\nshort\n')
  })

  test('writes through a link', async () => {
    const dir = await fresh()
    await shell(`cd ${dir}; echo old > target; ln -s target link; ln -s later dangling`)
    await files.writeFile(`${dir}/link`, 'new')
    await files.writeFile(`${dir}/dangling`, 'made')
    assert.equal(await shell(`cd ${dir}; readlink link dangling; cat target later`), 'target\nlater\nnewmade')
  })

  test('refuses a directory, and a file as a parent', async () => {
    await files.writeFile('/tmp/plain', '')
    await failure(files.writeFile('/tmp', 'x'), InvalidArgumentError)
    await failure(files.writeFile('/tmp/plain/below', 'x'))
    assert.equal(await files.readFile('/tmp/plain'), '')
  })

  test('leaves the old content where the disk is full', async () => {
    const small = await sandbox({ resources: { disk: 2 << 20, memory: 64 << 20 } })
    const old = 'old'.repeat(1000)
    await small.filesystem.writeFile('/tmp/file', old)
    for (const size of [3 << 20, 30 << 20]) {
      await failure(small.filesystem.writeFile('/tmp/file', 'x'.repeat(size)), Error, {
        code: 'QUOTA_EXCEEDED',
      })
      assert.equal(await small.filesystem.readFile('/tmp/file'), old)
    }
    assert.deepEqual(
      (await small.filesystem.readdir('/tmp')).map((entry) => entry.name),
      ['file'],
    )
    await small.filesystem.writeFile('/tmp/file', 'x'.repeat(1 << 20))
    assert.equal((await small.runCommand('echo on')).stdout, 'on\n')
    await small.destroy()
  })

  test('lets readers see one version or the other', async () => {
    const versions = ['a'.repeat(200_000), 'b'.repeat(100_000)]
    await files.writeFile('/tmp/version', versions[0])
    await Promise.all(
      Array.from({ length: 60 }, async (_, at) => {
        if (at % 2) await files.writeFile('/tmp/version', versions[at % 4 === 1 ? 0 : 1])
        else assert.ok(versions.includes(await files.readFile('/tmp/version')))
      }),
    )
  })
})

describe('directories', () => {
  test('are made with their parents, silently twice', async () => {
    await files.mkdir('/project/data/deep')
    await files.mkdir('/project/data/deep')
    await files.mkdir('/project')
    assert.equal(await shell('stat -c %F:%U /project/data/deep'), 'directory:user\n')
  })

  test('are not made over a file', async () => {
    await files.writeFile('/tmp/taken', 'mine')
    await failure(files.mkdir('/tmp/taken'), AlreadyExistsError, {
      code: 'ALREADY_EXISTS',
      operation: 'mkdir',
    })
    assert.equal(await files.readFile('/tmp/taken'), 'mine')
  })

  test('list their direct children, sorted by name, with all they are', async () => {
    const dir = await fresh()
    await shell(
      `cd ${dir}; mkdir -p src/deep; printf 12345 > b; touch -d @1000000000 a; ln -s b link; ln -s src d; ln -s none gone; mkfifo pipe`,
    )
    const entries = await files.readdir(dir)
    assert.deepEqual(
      entries.map(({ name, type, size, symlinkTarget }) => [name, type, size, symlinkTarget]),
      [
        ['a', 'file', 0, undefined],
        ['b', 'file', 5, undefined],
        ['d', 'directory', 0, 'src'],
        ['gone', 'file', entries[3].size, 'none'],
        ['link', 'file', 5, 'b'],
        ['pipe', 'file', 0, undefined],
        ['src', 'directory', 0, undefined],
      ],
    )
    for (const entry of entries) {
      assert.equal(entry.path, `${dir}/${entry.name}`)
      assert.equal(entry.isDirectory, entry.type === 'directory')
      assert.ok(entry.modified instanceof Date)
      assert.deepEqual(entry.lastModified, entry.modified)
    }
    assert.equal(entries[0].modified.getTime(), 1_000_000_000_000)
    assert.ok(Math.abs(entries[1].modified.getTime() - Date.now()) < 60_000)
  })

  test('may be empty, or hold thousands', async () => {
    const dir = await fresh()
    assert.deepEqual(await files.readdir(dir), [])
    await shell(`cd ${dir}; seq -f 'file%05.0f' 5000 | xargs touch`)
    const names = (await files.readdir(dir)).map((entry) => entry.name)
    assert.equal(names.length, 5000)
    assert.deepEqual(names, [...names].sort())
  })

  test('that are not there are not found', async () => {
    await failure(files.readdir('/nonexistent'), NotFoundError, {
      message: 'Directory not found: /nonexistent',
      code: 'NOT_FOUND',
      operation: 'readdir',
    })
    await files.writeFile('/tmp/plain', '')
    await failure(files.readdir('/tmp/plain'))
  })
})

describe('names', () => {
  test('may be any that Linux allows', async () => {
    const dir = await fresh()
    const odd = [
      ' ',
      '-rf',
      '*',
      '"',
      "'",
      'a\nb',
      '\\',
      '$HOME',
      '..a',
      '😀',
      'é',
      'e\u0301',
      '\u{7f}',
      'x'.repeat(255),
    ]
    for (const name of odd) {
      await files.writeFile(`${dir}/${name}`, name)
      assert.equal(await files.readFile(`${dir}/${name}`), name)
      assert.equal(await files.exists(`${dir}/${name}`), true)
    }
    const listed = (await files.readdir(dir)).map((entry) => entry.name)
    assert.deepEqual(new Set(listed), new Set(odd))
    for (const name of odd) await files.remove(`${dir}/${name}`)
    assert.deepEqual(await files.readdir(dir), [])
  })

  test('that cannot be are refused, and do not exist', async () => {
    const paths = [
      'relative',
      '',
      './a',
      '~/a',
      'a\0b',
      '/a\0b',
      `/${'x'.repeat(5000)}`,
      `/tmp/${'x'.repeat(256)}`,
    ]
    for (const path of [...paths, undefined, null, 1, {}, ['/tmp']]) {
      assert.equal(await files.exists(path), false)
      for (const [method, ...more] of [['readFile'], ['writeFile', ''], ['mkdir'], ['readdir'], ['remove']]) {
        await failure(files[method](path, ...more), InvalidArgumentError)
      }
    }
  })

  test('with two dots stay in the sandbox', async () => {
    await files.writeFile('/tmp/../../../../dots', 'inside')
    assert.equal(await files.readFile('/dots'), 'inside')
  })
})

describe('readFile and remove of what is not there', () => {
  test('say so in the documents’ words', async () => {
    for (const path of ['/nonexistent.txt', '/app/none/deeper', '/tmp/a b']) {
      const properties = { message: `File not found: ${path}`, code: 'NOT_FOUND', name: 'NotFoundError' }
      await failure(files.readFile(path), NotFoundError, { ...properties, operation: 'readFile' })
      await failure(files.readFile(path, { encoding: 'bytes' }), NotFoundError, properties)
      await failure(files.remove(path), NotFoundError, { ...properties, operation: 'remove' })
    }
  })
})

describe('exists', () => {
  test('is true for files, directories and links to them', async () => {
    await shell('cd /tmp; touch here; ln -sf here to-here; ln -sf nowhere to-nowhere; ln -sf self self')
    const found = await Promise.all(
      [
        '/tmp/here',
        '/tmp',
        '/',
        '/tmp/to-here',
        '/usr/bin/env',
        '/proc/self',
        '/tmp/none',
        '/tmp/to-nowhere',
        '/tmp/self',
        '/tmp/here/below',
      ].map((path) => files.exists(path)),
    )
    assert.deepEqual(found, [true, true, true, true, true, true, false, false, false, false])
  })
})

describe('remove', () => {
  test('takes whole trees, and links without their targets', async () => {
    const dir = await fresh()
    await shell(
      `cd ${dir}; mkdir -p tree/a/b/c; echo kept > kept; mkdir keptdir; touch keptdir/file tree/a/x; ln -s ../../kept tree/a/link; ln -s ${dir}/keptdir tree/dirlink; ln -s ${dir}/keptdir dirlink; mkfifo tree/pipe`,
    )
    await files.remove(`${dir}/tree`)
    await files.remove(`${dir}/dirlink`)
    assert.equal(await shell(`cd ${dir}; ls -R`), '.:\nkept\nkeptdir\n\n./keptdir:\nfile\n')
  })

  test('refuses what cannot go', async () => {
    for (const path of ['/', '/proc', '/proc/1', '/dev/null']) await failure(files.remove(path))
    assert.equal((await box.runCommand('echo on')).stdout, 'on\n')
  })
})

describe('what is no ordinary file', () => {
  test('is refused at once and never blocks', async () => {
    await shell(
      'mkfifo /tmp/fifo; python3 -c "import socket; socket.socket(socket.AF_UNIX).bind(\'/tmp/socket\')"; ln -sf /dev/zero /tmp/zero',
    )
    for (const path of ['/tmp/fifo', '/tmp/socket', '/dev/null', '/dev/zero', '/tmp/zero', '/tmp', '/dev']) {
      const begun = performance.now()
      await failure(files.readFile(path), InvalidArgumentError)
      if (path !== '/tmp/socket') await failure(files.writeFile(path, 'x'))
      assert.ok(performance.now() - begun < 5000)
    }
  })

  test('can be read below /proc', async () => {
    assert.match(await files.readFile('/proc/self/status'), /^Name:/)
    assert.match(await files.readFile('/proc/meminfo'), /^MemTotal:/)
  })

  test('is a sparse file of any size: refused, not read', async () => {
    await shell('truncate -s 100T /tmp/sparse; truncate -s 1M /tmp/hole')
    await failure(files.readFile('/tmp/sparse'), InvalidArgumentError, { message: /\/tmp\/sparse/ })
    assert.equal(await files.readFile('/tmp/hole'), '\0'.repeat(1 << 20))
    await files.remove('/tmp/sparse')
  })
})

describe('options of readFile', () => {
  test('that are wrong are refused', async () => {
    for (const options of [{ encoding: 'latin1' }, { encoding: 1 }, { encodin: 'bytes' }, 'utf8', null]) {
      await failure(files.readFile('/tmp/a', options), InvalidArgumentError)
    }
  })
})
