// The API reference: it is made of the declarations' comments, names everything, and none of its links leads nowhere.

import assert from 'node:assert/strict'
import {
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { createRequire } from 'node:module'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before } from 'node:test'

import { installed } from './install.mjs'
import { ROOT, start, test } from './support.mjs'

/** A copy of what it is made of. */
let folder
before(() => {
  installed('../scripts/api')
  folder = mkdtempSync(join(tmpdir(), 'api-reference-'))
  for (const path of ['index.d.ts', 'adapters.d.ts', 'package.json'])
    cpSync(join(ROOT, path), join(folder, path))
  mkdirSync(join(folder, 'scripts'))
  cpSync(join(ROOT, 'scripts/api'), join(folder, 'scripts/api'), {
    recursive: true,
    filter: (path) => !path.endsWith('node_modules'),
  })
  symlinkSync(join(ROOT, 'node_modules'), join(folder, 'node_modules'))
  symlinkSync(join(ROOT, 'scripts/api/node_modules'), join(folder, 'scripts/api/node_modules'))
})
after(() => rmSync(folder, { recursive: true, force: true }))

const made = () =>
  start(process.execPath, ['node_modules/typedoc/bin/typedoc', '--options', 'typedoc.json'], {
    cwd: join(folder, 'scripts/api'),
    timeout: 180_000,
  }).ended

test('it is made without a warning, and has all that is exported', async () => {
  const { code, stdout, stderr } = await made()
  assert.equal(code, 0, stdout + stderr)
  const out = join(folder, 'target/api')
  for (const name of Object.keys(createRequire(import.meta.url)('../index.js'))) {
    const pages = ['classes', 'functions', 'variables'].map((kind) =>
      join(out, kind, `computesdk.${name}.html`),
    )
    assert.ok(pages.some(existsSync), name)
  }
  for (const name of Object.keys(createRequire(import.meta.url)('../adapters.js'))) {
    assert.ok(existsSync(join(out, 'functions', `computesdk_adapters.${name}.html`)), name)
  }
}, 200_000)

test('a link that leads nowhere is an error', async () => {
  const path = join(folder, 'adapters.d.ts')
  writeFileSync(
    path,
    readFileSync(path, 'utf8').replace('Options of {@link tools}', 'Options of {@link toolz}'),
  )
  const { code, stdout, stderr } = await made()
  assert.notEqual(code, 0)
  assert.match(stdout + stderr, /toolz/)
}, 200_000)
