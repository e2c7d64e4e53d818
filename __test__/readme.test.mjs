// What the README promises first: its example, the demo, and the packages that carry a provider's name.

import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before } from 'node:test'
import { promisify } from 'node:util'

import { ROOT, test } from './support.mjs'

const run = promisify(execFile)

/** A project that has the package, and the providers' packages beside it, as npm would lay them out. */
let project

before(() => {
  project = mkdtempSync(join(tmpdir(), 'readme-'))
  mkdirSync(join(project, 'node_modules', '@computesdk'), { recursive: true })
  symlinkSync(ROOT, join(project, 'node_modules', 'computesdk'))
  cpSync(join(ROOT, 'packages'), join(project, 'node_modules', '@computesdk'), { recursive: true })
})

after(() => rmSync(project, { recursive: true, force: true }))

test('the first example prints what the README says', async () => {
  const readme = readFileSync(join(ROOT, 'README.md'), 'utf8')
  const example = readme.match(/```js\n(.*?)```/s)[1]
  writeFileSync(join(project, 'example.mjs'), example)
  const { stdout, stderr } = await run(process.execPath, [join(project, 'example.mjs')])
  assert.equal(stdout, '2\n')
  assert.equal(stderr, '')
})

test('the demo shows that nothing was reached, and ends well', async () => {
  const { stdout } = await run(process.execPath, [join(ROOT, 'examples', 'demo.mjs')])
  assert.match(stdout, /per-process|cgroup/)
})

test('each provider has a package of its own name', async () => {
  const source = `
    import * as computesdk from 'computesdk'
    for (const name of ['local', 'docker', 'e2b']) {
      const provider = (await import('@computesdk/' + name))[name]
      if (provider !== computesdk[name]) throw new Error(name)
      console.log(provider({}).name)
    }`
  writeFileSync(join(project, 'packages.mjs'), source)
  const { stdout } = await run(process.execPath, [join(project, 'packages.mjs')])
  assert.equal(stdout, 'local\ndocker\ne2b\n')
})
