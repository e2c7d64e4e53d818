// What it costs to have this package: the packages and the bytes that `npm install computesdk` brings, and what an import
// adds to the start of Node.js, beside E2B's own client. Installed from a registry on this machine, in an empty folder.
//
//   npm run bench:package [rounds]

import { execFile, execFileSync } from 'node:child_process'
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'

import { pack, platforms, registry } from '../__test__/packed.mjs'
import { median } from './median.mjs'

const rounds = Number(process.argv[2] ?? 31)
const folder = mkdtempSync(join(tmpdir(), 'computesdk-bench-'))
const e2b = createRequire(import.meta.url).resolve('e2b')

/** Installs `computesdk` as a stranger does, and gives the folder. */
async function install() {
  const tarballs = await pack(join(folder, 'tarballs'))
  const source = await registry(tarballs, platforms())
  const user = join(folder, 'user')
  mkdirSync(user)
  writeFileSync(join(user, 'package.json'), '{ "private": true }')
  const flags = ['--no-audit', '--no-fund', `--registry=${source.url}`, `--cache=${join(folder, 'cache')}`]
  await promisify(execFile)('npm', ['install', ...flags, 'computesdk'], {
    cwd: user,
    env: { ...process.env, NO_PROXY: '127.0.0.1' },
  })
  source.close()
  return user
}

/** What is in a folder's node_modules. */
function weight(user) {
  const place = join(user, 'node_modules')
  const { packages } = JSON.parse(readFileSync(join(place, '.package-lock.json'), 'utf8'))
  const files = readdirSync(place, { recursive: true }).map((name) => statSync(join(place, name)))
  const bytes = files.filter((file) => file.isFile()).reduce((sum, { size }) => sum + size, 0)
  const names = Object.keys(packages).map((name) => name.replace('node_modules/', ''))
  const dependencies = Object.values(packages).flatMap((one) => Object.keys(one.dependencies ?? {}))
  return { names, dependencies, bytes }
}

/** Milliseconds that a Node.js takes from its start to its end, and those of a processor that its import takes. */
function startUp(path) {
  const source = `
    const before = process.cpuUsage()
    ${path && `require(${JSON.stringify(path)})`}
    const { user, system } = process.cpuUsage(before)
    console.log((user + system) / 1000)`
  const begun = performance.now()
  const cpu = execFileSync(process.execPath, ['-e', source], { env: { PATH: '/usr/bin:/bin' } })
  return { wall: performance.now() - begun, cpu: Number(cpu) }
}

/**
 * What each import takes above a Node.js that imports nothing, turn by turn. On a machine that has other things to do, the
 * least and the processor's time say more than the median.
 */
function imports(modules) {
  const all = Object.fromEntries(Object.keys(modules).map((name) => [name, []]))
  for (let round = 0; round <= rounds; round++) {
    for (const [name, path] of Object.entries(modules)) {
      const took = startUp(path)
      // The first fills the machine's caches.
      if (round > 0) all[name].push(took)
    }
  }
  const above = (of) =>
    Object.fromEntries(Object.entries(all).map(([name, took]) => [name, of(took) - of(all.nothing)]))
  return {
    median: above((took) => median(took.map(({ wall }) => wall))),
    least: above((took) => Math.min(...took.map(({ wall }) => wall))),
    'CPU, median': above((took) => median(took.map(({ cpu }) => cpu))),
  }
}

try {
  const user = await install()
  const { names, dependencies, bytes } = weight(user)
  console.log(
    `packages: ${names.length} (${names.join(', ')}); dependencies of theirs: ${dependencies.length}`,
  )
  console.log(`installed: ${(bytes / 1e6).toFixed(2)} MB`)
  const ours = createRequire(join(user, 'package.json')).resolve('computesdk')
  console.log(`an import above bare Node.js, of ${rounds} rounds:`)
  for (const [what, added] of Object.entries(imports({ nothing: '', computesdk: ours, e2b }))) {
    const [mine, theirs] = [added.computesdk, added.e2b].map((ms) => `${ms.toFixed(1)} ms`)
    console.log(
      `  ${what}: computesdk ${mine}, e2b ${theirs}: ${(added.e2b / added.computesdk).toFixed(1)} times as much`,
    )
  }
} finally {
  rmSync(folder, { recursive: true, force: true })
}
