// The packages of the platforms: that all are of one version, that they are what their script makes of `napi.targets`,
// that the loader knows them, and on which machines the addon that is here loads.

import assert from 'node:assert/strict'
import { copyFileSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe } from 'node:test'

import { addon, newestGlibc } from '../scripts/elf.mjs'
import { HERE, platforms } from './packed.mjs'
import { ROOT, start, test } from './support.mjs'

const read = (path) => readFileSync(join(ROOT, path), 'utf8')
const { version, napi } = JSON.parse(read('package.json'))
const providers = readdirSync(join(ROOT, 'packages')).map((name) => `packages/${name}/package.json`)

/** The paths of the files in a folder, with their texts; without the addons, which are built. */
function texts(folder) {
  const all = readdirSync(folder, { recursive: true, withFileTypes: true }).filter((entry) => entry.isFile())
  const paths = all
    .map((entry) => join(entry.parentPath, entry.name))
    .filter((path) => !path.endsWith('.node'))
  return Object.fromEntries(
    paths.map((path) => [path.slice(folder.length), readFileSync(path, 'utf8')]).sort(),
  )
}

describe('the packages', () => {
  test('are all of one version', () => {
    for (const one of platforms()) assert.equal(one.version, version, one.name)
    for (const path of providers) {
      const one = JSON.parse(read(path))
      assert.equal(one.version, version, path)
      assert.deepEqual(one.peerDependencies, { computesdk: version }, path)
    }
    for (const path of ['Cargo.toml', 'agent/Cargo.toml'])
      assert.equal(/^version = "(.*)"$/m.exec(read(path))[1], version, path)
    assert.match(read('CHANGELOG.md'), new RegExp(`^## \\[${version.replaceAll('.', '\\.')}\\]`, 'm'))
  })

  test('of the platforms are those that `npm run platforms` makes', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'computesdk-test-'))
    copyFileSync(join(ROOT, 'package.json'), join(folder, 'package.json'))
    const made = await start(process.execPath, [join(ROOT, 'scripts/platforms.mjs'), folder]).ended
    assert.equal(made.code, 0, made.stderr)
    assert.deepEqual(texts(join(ROOT, 'npm')), texts(join(folder, 'npm')))
    rmSync(folder, { recursive: true })
    assert.equal(platforms().length, napi.targets.length)
  })

  test('of the platforms fit one system, one processor and, on Linux, one libc', () => {
    for (const { name, os, cpu, libc, main, files } of platforms()) {
      const platform = name.replace('@computesdk/native-', '')
      assert.deepEqual(files, [`computesdk.${platform}.node`])
      assert.equal(main, files[0])
      const [system, processor, abi] = platform.split('-')
      assert.deepEqual([os, cpu], [[system], [processor]])
      assert.deepEqual(libc, { gnu: ['glibc'], musl: ['musl'] }[abi])
    }
  })

  test('of the platforms are those that the documents name', () => {
    const named = [...read('docs/platforms.md').matchAll(/@computesdk\/native-[\w-]+\w/g)].map(
      ([name]) => name,
    )
    assert.deepEqual(
      [...new Set(named)].sort(),
      platforms()
        .map(({ name }) => name)
        .sort(),
    )
  })

  test('of the platforms are those that the loader looks for', () => {
    const names = [...read('door/load.js').matchAll(/'((?:linux|darwin|win32)-\w+(?:-\w+)?)'/g)].map(
      ([, name]) => name,
    )
    for (const { name } of platforms())
      assert.ok(names.includes(name.replace('@computesdk/native-', '')), `door/load.js does not name ${name}`)
  })
})

describe('the addon that is here', { skip: process.platform !== 'linux' && 'it is no ELF file' }, () => {
  const found = addon(join(ROOT, `computesdk.${HERE}.node`))

  test('loads with glibc 2.17 and newer', (t) => {
    const needed = newestGlibc(found.versions)?.join('.')
    t.diagnostic(`it needs glibc ${needed}`)
    if (process.env.COMPUTESDK_PORTABLE !== '1')
      return t.skip(`it was not built with COMPUTESDK_PORTABLE=1, and needs glibc ${needed}`)
    assert.equal(needed, '2.17')
  })

  test('is for this machine, and linked to nothing but the C library', () => {
    assert.equal(found.machine, process.arch)
    const odd = found.needed.filter(
      (library) => !/^(lib(c|m|pthread|dl|rt|gcc_s)|ld-linux.*)\.(so|musl.*)\b/.test(library),
    )
    assert.deepEqual(odd, [])
  })

  test('has a program in it that needs no library at all', () => {
    assert.ok(found.embedded.length > 0)
    for (const program of found.embedded) {
      assert.deepEqual(program.needed, [])
      assert.deepEqual(program.versions, [])
      assert.equal(program.interpreter, undefined)
      assert.equal(program.machine, process.arch)
    }
  })
})
