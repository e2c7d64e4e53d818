// The provider of docs/adding-a-provider.md, as somebody would follow it: in a folder of its own.

import assert from 'node:assert/strict'
import { mkdir, mkdtemp, readFile, rm, symlink, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, describe } from 'node:test'
import { pathToFileURL } from 'node:url'

import { compute, createCompute, InvalidArgumentError, NotFoundError } from '../index.js'
import { eventually, failure, ROOT, test } from './support.mjs'

let folder
let provider
before(async () => {
  folder = await mkdtemp(join(tmpdir(), 'adding-a-provider-'))
  const page = await readFile(join(ROOT, 'docs/adding-a-provider.md'), 'utf8')
  const [folders, use] = [...page.matchAll(/^```js\n([\s\S]*?)^```$/gm)].map(([, block]) => block)
  await mkdir(join(folder, 'node_modules'))
  await symlink(ROOT, join(folder, 'node_modules/computesdk'))
  await writeFile(join(folder, 'folders.mjs'), folders)
  const shown = '\nexport { late, stdout }\n'
  await writeFile(join(folder, 'use.mjs'), use.replace('/tmp/folders', join(folder, 'boxes')) + shown)
  const made = await import(pathToFileURL(join(folder, 'folders.mjs')).href)
  provider = made.folders({ root: join(folder, 'own') })
})
after(() => rm(folder, { recursive: true, force: true }))

describe('the provider of docs/adding-a-provider.md', () => {
  test('does what the page shows', async () => {
    const { late, stdout } = await import(pathToFileURL(join(folder, 'use.mjs')).href)
    assert.equal(stdout, 'hello\n')
    assert.deepEqual([late.exitCode, late.timedOut, late.abandoned], [124, true, undefined])
    await rm('/tmp/hello.py')
    compute.clearConfig()
  })

  test('finds, lists and ends its sandboxes', async () => {
    const all = createCompute({ provider })
    const box = await all.sandbox.create({ sandboxId: 'mine' })
    assert.equal(box.sandboxId, 'mine')
    assert.equal((await all.sandbox.getById('mine')).sandboxId, 'mine')
    const listed = await all.sandbox.list()
    assert.deepEqual(
      listed.map(({ sandboxId }) => sandboxId),
      ['mine'],
    )
    const { createdAt, status } = await box.getInfo()
    assert.ok(status === 'running' && Math.abs(createdAt - Date.now()) < 60_000)
    assert.equal((await box.runCommand('pwd')).stdout, `${join(folder, 'own/mine')}\n`)
    assert.equal(await all.sandbox.getById('../mine'), null)
    await all.sandbox.destroy('mine')
    await all.sandbox.destroy('mine')
    assert.equal(await all.sandbox.getById('mine'), null)
  })

  test('has files, code and time limits by its commands alone', async () => {
    const box = await createCompute({ provider }).sandbox.create()
    const at = (name) => join(box.getInstance().path, name)
    const bytes = new Uint8Array([0, 255, 10])
    await box.filesystem.writeFile(at('a/bytes'), bytes)
    assert.deepEqual(await box.filesystem.readFile(at('a/bytes'), { encoding: 'bytes' }), bytes)
    await box.filesystem.copy(at('a'), at('b'))
    await box.filesystem.remove(at('a'))
    assert.equal((await box.filesystem.stat(at('b/bytes'))).size, 3)
    await failure(box.filesystem.readFile(at('none')), NotFoundError)
    await failure(box.filesystem.readFile(at('b')), InvalidArgumentError)
    assert.equal((await box.runCode('print(6 * 7)')).stdout, '42\n')
    const late = box.runCommand('touch begun; (sleep 61.417; true) & sleep 60.417', { timeout: 500 })
    await failure(late, Error, { code: 'COMMAND_EXIT' })
    await eventually('all of it has ended', async () => {
      const { stdout } = await box.runCommand('pgrep -f "^sleep 6[01].417$"', { throwOnError: false })
      return stdout === ''
    })
    await box.destroy()
  })
})
