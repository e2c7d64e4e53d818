// mounts and templates: what a sandbox sees of this machine, and what it is made from.

import assert from 'node:assert/strict'
import {
  chmodSync,
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, describe, skip } from 'node:test'

import {
  compute,
  handleComputeRequest,
  InvalidArgumentError,
  local,
  NotFoundError,
  PermissionDeniedError,
  UnsupportedError,
} from '../index.js'
import { failure, test, works } from './support.mjs'

const folder = mkdtempSync(join(tmpdir(), 'computesdk-mounts-'))
after(() => rmSync(folder, { recursive: true, force: true }))

/** A new directory of this machine with these files. */
function project(name, files = { 'README.md': 'of the host' }) {
  const path = join(folder, name)
  for (const [file, content] of Object.entries(files)) {
    mkdirSync(join(path, file, '..'), { recursive: true })
    writeFileSync(join(path, file), content)
  }
  return path
}

describe('mounts', () => {
  test('read, change, or copy a directory of this machine', async () => {
    const source = project('modes')
    const provider = local({
      mounts: [
        { source, target: '/workspace/rw', mode: 'rw' },
        { source, target: '/workspace/ro', mode: 'ro', force: false },
      ],
    })
    const box = await provider.sandbox.create({ mounts: [{ source, target: '/copy', mode: 'copy' }] })
    const { stdout } = await box.runCommand(
      'cat */README.md /copy/README.md; echo mine > /copy/README.md; echo new > rw/new; cat ro/new; ls /copy',
      { cwd: '/workspace' },
    )
    assert.equal(stdout, `${'of the host'.repeat(3)}new\nREADME.md\nnew\n`)
    assert.equal(readFileSync(join(source, 'README.md'), 'utf8'), 'of the host')
    assert.equal(readFileSync(join(source, 'new'), 'utf8'), 'new\n')
    assert.equal(statSync(join(source, 'new')).uid, process.getuid())
    assert.match((await box.runCommand('touch ro/x', { cwd: '/workspace' })).stderr, /Read-only/)

    await box.filesystem.writeFile('/workspace/rw/src/index.js', 'console.log(6 * 7)')
    await box.filesystem.writeFile('/workspace/rw/large', new Uint8Array(2 << 20))
    assert.equal(statSync(join(source, 'large')).size, 2 << 20)
    assert.equal(
      (await box.filesystem.readFile('/workspace/rw/large', { encoding: 'bytes' })).length,
      2 << 20,
    )
    assert.equal((await box.runCommand('node', ['/workspace/ro/src/index.js'])).stdout, '42\n')
    await failure(box.filesystem.writeFile('/workspace/ro/x', ''), PermissionDeniedError)
    await box.filesystem.remove('/workspace/rw/src')
    assert.deepEqual(readdirSync(source).sort(), ['README.md', 'large', 'new'])
    await box.destroy()
    assert.ok(existsSync(source))
  })

  test('are a file by itself too', async () => {
    const source = join(project('single'), 'README.md')
    const box = await local({ mounts: [{ source, target: '/data/in.txt', mode: 'ro' }] }).sandbox.create()
    assert.equal(await box.filesystem.readFile('/data/in.txt'), 'of the host')
    assert.deepEqual(
      (await box.filesystem.readdir('/data')).map(({ name }) => name),
      ['in.txt'],
    )
    await box.destroy()
    const copy = local({ mounts: [{ source, target: '/data/in.txt', mode: 'copy' }] })
    await failure(copy.sandbox.create(), InvalidArgumentError, { message: /only a directory/ })
  })

  test('are checked when they are written', async () => {
    const source = project('checked')
    const whole = { source, target: '/app', mode: 'ro' }
    for (const [mounts, message] of [
      ['x', /`local.mounts` must be an array of objects/],
      [[source], /`local.mounts\[0\]` must be a plain object/],
      [[whole, undefined], /`local.mounts\[1\]`/],
      [[{ ...whole, source: undefined }], /`local.mounts\[0\].source` is missing/],
      [[{ ...whole, target: 1 }], /`local.mounts\[0\].target` must be a string/],
      [[{ ...whole, mode: 'rx' }], /'ro', 'rw' or 'copy', got 'rx'/],
      [[{ ...whole, force: 'yes' }], /`local.mounts\[0\].force` must be a boolean/],
      [[{ ...whole, readonly: true }], /no option `readonly`/],
    ]) {
      assert.throws(() => local({ mounts }), { name: 'InvalidArgumentError', message }, String(message))
    }
    const create = (mount) => local().sandbox.create({ mounts: [{ ...whole, ...mount }] })
    for (const target of ['/', 'app', '/../app', '/proc/x', '/dev', '/etc']) {
      await failure(create({ target }), InvalidArgumentError, { message: /mounts.target/ })
    }
    await failure(create({ source: join(folder, 'nope') }), NotFoundError, { message: /nope/ })
    await failure(create({ source: 'relative' }), InvalidArgumentError, { message: /mounts.source/ })
    await failure(local().sandbox.create({ mounts: [whole, whole] }), InvalidArgumentError, {
      message: /`\/app`/,
    })
    await works(await local().sandbox.create({ mounts: [] }))
  })

  test('of what holds secrets are refused unless they are meant', async () => {
    const source = project('somebody', { '.ssh/id': 'secret', 'work/file': 'x' })
    const create = (mount) => local().sandbox.create({ mounts: [{ target: '/app', mode: 'ro', ...mount }] })
    symlinkSync(join(source, '.ssh'), join(folder, 'keys'))
    for (const path of ['/', '/etc', '/home', source, join(source, '.ssh'), join(folder, 'keys')]) {
      await failure(create({ source: path }), PermissionDeniedError, {
        message: new RegExp(`\`${path}\``),
        hint: /force: true/,
        operation: 'create',
      })
    }
    await works(await create({ source: join(source, 'work') }))
    const box = await create({ source: join(source, '.ssh'), force: true })
    assert.equal(await box.filesystem.readFile('/app/id'), 'secret')
    await box.destroy()
  })

  test('are never what a request asks for', async () => {
    const source = project('asked')
    const mounts = [{ source, target: '/app', mode: 'rw' }]
    const request = { action: 'compute.sandbox.create', options: { mounts } }
    const answer = await handleComputeRequest({ request, provider: local() })
    assert.deepEqual([answer.status, answer.error], [400, '`options.mounts` is not allowed'])
    for (const options of [{ allowedCreateOptions: ['mounts'] }, { createDefaults: { mounts } }]) {
      await failure(
        handleComputeRequest({
          request: { action: 'compute.sandbox.create' },
          provider: local(),
          ...options,
        }),
        InvalidArgumentError,
        { message: /mounts/ },
      )
    }
    // Those of the provider itself are its owner's word.
    const provider = local({ mounts })
    const made = await handleComputeRequest({ request: { action: 'compute.sandbox.create' }, provider })
    const read = await handleComputeRequest({
      request: {
        action: 'compute.sandbox.filesystem.readFile',
        sandboxId: made.sandboxId,
        path: '/app/README.md',
      },
      provider,
    })
    assert.equal(read.fileContent, 'of the host')
    await provider.sandbox.destroy(made.sandboxId)
  })

  test('are not what others than local have', async () => {
    const plugin = {
      sandbox: { create: () => assert.fail('it was asked'), getById: () => null, destroy: () => {} },
    }
    const mounts = [{ source: project('others'), target: '/app', mode: 'ro' }]
    await failure(compute({ provider: plugin }).sandbox.create({ mounts }), UnsupportedError, {
      message: /`mounts`/,
    })
  })
})

describe('templates', () => {
  /** A root with a shell and nothing else, if this machine has a busybox that needs nothing else. */
  const busybox = ['/bin/busybox', '/usr/bin/busybox'].find(existsSync)
  const tested = busybox ? test : (name) => skip(`${name}: there is no busybox`)

  tested('are a folder that is the root', async () => {
    const rootfs = project('tiny', { 'etc/motd': 'tiny\n' })
    mkdirSync(join(rootfs, 'bin'))
    cpSync(busybox, join(rootfs, 'bin/busybox'), { dereference: true })
    chmodSync(join(rootfs, 'bin/busybox'), 0o755)
    for (const name of ['sh', 'cat', 'ls', 'id']) symlinkSync('busybox', join(rootfs, 'bin', name))
    const provider = local({ templates: { tiny: { rootfs } } })
    const box = await provider.sandbox.create({ templateId: 'tiny' })
    const { stdout } = await box.runCommand('id; cat /etc/motd; ls /bin; echo x > /etc/motd.d; echo $?')
    assert.match(stdout, /^uid=1000\(user\).*\ntiny\nbusybox\ncat\nid\nls\nsh\n0\n$/s)
    await box.filesystem.writeFile('/app/file', 'x')
    assert.deepEqual(readdirSync(rootfs).sort(), ['bin', 'etc'])
    await failure(box.runCode('print(1)'), UnsupportedError, { message: /no interpreter for python/ })
    await box.destroy()
    const plain = await provider.sandbox.create()
    assert.equal((await plain.runCode('print(6 * 7)')).stdout, '42\n')
    await plain.destroy()
  })

  test('are told by name', async () => {
    const provider = local({ templates: { b: { rootfs: folder }, a: { python: '/nope' } } })
    await failure(provider.sandbox.create({ templateId: 'c' }), NotFoundError, {
      code: 'NOT_FOUND',
      message: /`c`/,
      hint: /a, b/,
    })
    await failure(provider.sandbox.create({ templateId: 'a' }), InvalidArgumentError, { message: /`\/nope`/ })
    await failure(local().sandbox.create({ templateId: 'x' }), NotFoundError, { message: /`x`/ })
  })

  test('are checked when they are written', () => {
    for (const [templates, message] of [
      [[], /`local.templates` must be a plain object/],
      [{ a: '/srv' }, /`local.templates.a` must be a plain object/],
      [{ a: {} }, /`local.templates.a.rootfs` is missing/],
      [{ a: { rootfs: 1 } }, /`local.templates.a.rootfs` must be a string/],
      [{ a: { rootfs: '/a', python: '/b' } }, /no `python`/],
      [{ a: { image: 'x' } }, /no option `image`/],
    ]) {
      assert.throws(() => local({ templates }), { name: 'InvalidArgumentError', message }, String(message))
    }
  })
})
