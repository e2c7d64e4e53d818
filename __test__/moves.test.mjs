// sandbox.filesystem: stat, rename, copy.

import assert from 'node:assert/strict'
import { before, describe } from 'node:test'

import {
  AlreadyExistsError,
  InvalidArgumentError,
  NotFoundError,
  PermissionDeniedError,
  QuotaExceededError,
} from '../index.js'
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

/** A directory of its own for each test, and all there is in it. */
let number = 0
const fresh = async () => {
  const path = `/tmp/test${number++}`
  await files.mkdir(path)
  return path
}
const tree = (path) => shell(`cd ${path} && find . -mindepth 1 -printf '%P %y %m %l\n' | sort`)

describe('stat', () => {
  test('tells what is at a path', async () => {
    const dir = await fresh()
    await shell(`cd ${dir}; printf 12345 > file; touch -d @1000000000.5 file; ln -s file link; ln -s . here`)
    const modified = new Date(1_000_000_000_500)
    const file = {
      name: 'file',
      type: 'file',
      path: `${dir}/file`,
      isDirectory: false,
      size: 5,
      modified,
      lastModified: modified,
    }
    assert.deepEqual(await files.stat(`${dir}/file`), file)
    assert.deepEqual(await files.stat(`${dir}/link`), {
      ...file,
      name: 'link',
      path: `${dir}/link`,
      symlinkTarget: 'file',
    })
    const { type, size, name, path, symlinkTarget } = await files.stat(`${dir}/here/`)
    assert.deepEqual([type, size, name, path, symlinkTarget], ['directory', 0, 'here', `${dir}/here`, '.'])
    const [entry] = (await files.readdir(dir)).filter((one) => one.name === 'file')
    assert.deepEqual(await files.stat(`${dir}/file`), entry)
  })

  test('tells of the root', async () => {
    const { name, path, type, isDirectory } = await files.stat('/')
    assert.deepEqual([name, path, type, isDirectory], ['/', '/', 'directory', true])
  })

  test('finds nothing where nothing is', async () => {
    const dir = await fresh()
    await shell(`ln -s nowhere ${dir}/dangling; touch ${dir}/file`)
    for (const path of ['/nowhere', `${dir}/dangling`, `${dir}/file/below`]) {
      await failure(files.stat(path), NotFoundError, {
        message: `File not found: ${path}`,
        code: 'NOT_FOUND',
        operation: 'stat',
        sandboxId: box.sandboxId,
      })
    }
  })
})

describe('rename', () => {
  test('gives files, directories and links another path', async () => {
    const dir = await fresh()
    await shell(`cd ${dir}; echo x > file; chmod 751 file; mkdir -p d/e; touch d/e/f; ln -s file link`)
    assert.equal(await files.rename(`${dir}/file`, `${dir}/new/path/file`), undefined)
    await files.rename(`${dir}/d`, `${dir}/moved`)
    await files.rename(`${dir}/link`, `${dir}/new/link`)
    assert.equal(
      await tree(dir),
      'moved d 755 \nmoved/e d 755 \nmoved/e/f f 644 \nnew d 755 \nnew/link l 777 file\nnew/path d 755 \nnew/path/file f 751 \n',
    )
  })

  test('takes a file’s place, and no directory’s', async () => {
    const dir = await fresh()
    await shell(`cd ${dir}; echo new > new; echo old > old; mkdir empty full; touch full/file`)
    await files.rename(`${dir}/new`, `${dir}/old`)
    assert.equal(await files.readFile(`${dir}/old`), 'new\n')
    const before = await tree(dir)
    for (const [from, to] of [
      ['old', 'empty'],
      ['old', 'full'],
      ['empty', 'full'],
      ['full', 'empty'],
      ['full', 'old'],
      ['old', 'full/file/below'],
    ]) {
      const error = await failure(files.rename(`${dir}/${from}`, `${dir}/${to}`), AlreadyExistsError, {
        code: 'ALREADY_EXISTS',
        operation: 'rename',
      })
      assert.ok(error.message.includes(`${dir}/${to}`), error.message)
    }
    await files.rename(`${dir}/old`, `${dir}/old`)
    await files.rename(`${dir}/full`, `${dir}/full/`)
    assert.equal(await tree(dir), before)
  })

  test('refuses what cannot be', async () => {
    const dir = await fresh()
    await files.writeFile(`${dir}/file`, '')
    await failure(files.rename('/nowhere', `${dir}/x`), NotFoundError, {
      message: 'File not found: /nowhere',
    })
    await failure(files.rename(dir, `${dir}/below/it`), InvalidArgumentError, { message: /into itself/ })
    await failure(files.rename('/usr/bin/env', `${dir}/env`), PermissionDeniedError, {
      message: /\/usr\/bin\/env/,
    })
    await failure(files.rename(`${dir}/file`, '/usr/bin/file'), PermissionDeniedError, {
      message: /\/usr\/bin\/file/,
    })
    assert.equal(await tree(dir), 'file f 644 \n')
  })

  test('crosses file systems', async () => {
    const dir = await fresh()
    await shell(`cd ${dir}; mkdir -p d/e; echo x > d/e/f; chmod 700 d/e; ln -s e d/link`)
    const before = await tree(dir)
    await files.rename(`${dir}/d`, '/usr/local/share/d')
    assert.equal(await tree(dir), '')
    await files.rename('/usr/local/share/d', `${dir}/d`)
    assert.equal(await tree(dir), before)
  })
})

describe('copy', () => {
  test('copies files and whole trees', async () => {
    const dir = await fresh()
    await shell(
      `mkdir -p ${dir}/from/a/b ${dir}/from/.c; cd ${dir}/from; echo x > a/b/run; chmod 750 a/b/run; ln -s a/b link; ln -s none dangling; chmod 500 a/b`,
    )
    assert.equal(await files.copy(`${dir}/from`, `${dir}/made/to`), undefined)
    assert.equal(await tree(`${dir}/made/to`), await tree(`${dir}/from`))
    await files.copy(`${dir}/from/link`, `${dir}/b`)
    assert.equal(await tree(`${dir}/b`), 'run f 750 \n')
    const large = new Uint8Array(10_000_000).map((_, at) => at >> 7)
    await files.writeFile(`${dir}/large`, large)
    await files.copy(`${dir}/large`, `${dir}/b.txt`)
    assert.equal(Buffer.compare(await files.readFile(`${dir}/b.txt`, { encoding: 'bytes' }), large), 0)
  })

  test('takes a file’s place, and no directory’s', async () => {
    const dir = await fresh()
    await shell(`cd ${dir}; echo new > new; echo old > old; ln -s old link; mkdir empty`)
    await files.copy(`${dir}/new`, `${dir}/link`)
    assert.equal(await shell(`cat ${dir}/link ${dir}/old`), 'new\nold\n')
    for (const [from, to] of [
      ['new', 'empty'],
      ['empty', 'new'],
      ['empty', 'empty'],
    ]) {
      const error = await failure(files.copy(`${dir}/${from}`, `${dir}/${to}`), AlreadyExistsError, {
        operation: 'copy',
      })
      assert.ok(error.message.includes(`${dir}/${to}`), error.message)
    }
  })

  test('refuses what cannot be, and leaves nothing', async () => {
    const dir = await fresh()
    await shell(`cd ${dir}; mkdir -p tree/a; mkfifo tree/a/pipe; touch tree/file`)
    await failure(files.copy('/nowhere', `${dir}/x`), NotFoundError, { message: 'File not found: /nowhere' })
    await failure(files.copy(`${dir}/tree`, `${dir}/tree/a/b`), InvalidArgumentError, {
      message: /into itself/,
    })
    await failure(files.copy(`${dir}/tree`, `${dir}/x`), InvalidArgumentError, { message: /tree\/a\/pipe$/ })
    await failure(files.copy('/dev/null', `${dir}/x`), InvalidArgumentError)
    await failure(files.copy('/etc/passwd', '/usr/bin/x'), PermissionDeniedError)
    assert.equal(await tree(dir), 'tree d 755 \ntree/a d 755 \ntree/a/pipe p 644 \ntree/file f 644 \n')
  })

  test('leaves nothing where the disk is full', async () => {
    const small = await sandbox({ resources: { disk: 8 << 20, memory: 64 << 20 } })
    await small.filesystem.writeFile('/tmp/tree/a/file', 'x'.repeat(5 << 20))
    await failure(small.filesystem.copy('/tmp/tree', '/tmp/copy'), QuotaExceededError, { operation: 'copy' })
    assert.deepEqual(
      (await small.filesystem.readdir('/tmp')).map((entry) => entry.name),
      ['tree'],
    )
    await small.destroy()
  })
})

describe('two paths', () => {
  test('are both checked, by name', async () => {
    for (const method of ['rename', 'copy']) {
      for (const path of ['relative', '', 'a\0b', '/a\0b', `/${'x'.repeat(5000)}`, undefined, null, 1, {}]) {
        await failure(files[method](path, '/tmp/x'), InvalidArgumentError, { message: /`from`/ })
        await failure(files[method]('/etc/passwd', path), InvalidArgumentError, { message: /`to`/ })
      }
      await failure(files[method]('/etc/passwd', `/tmp/${'x'.repeat(256)}`), InvalidArgumentError)
    }
  })
})
