// Gives everything the version of package.json: `npm version 0.2.0` runs this. The tests compare.

import { execFileSync } from 'node:child_process'
import { readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'

const root = join(dirname(fileURLToPath(import.meta.url)), '..')
const { version } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'))

/** Changes a file of the repository. */
function edit(path, change) {
  const text = readFileSync(join(root, path), 'utf8')
  writeFileSync(join(root, path), change(text))
}

const run = (program, ...args) => execFileSync(program, args, { cwd: root, stdio: 'inherit' })

run(process.execPath, 'scripts/platforms.mjs')
for (const name of readdirSync(join(root, 'packages'))) {
  edit(`packages/${name}/package.json`, (text) => {
    const manifest = { ...JSON.parse(text), version, peerDependencies: { computesdk: version } }
    return `${JSON.stringify(manifest, null, 2)}\n`
  })
}
for (const path of ['Cargo.toml', 'agent/Cargo.toml']) {
  edit(path, (text) => text.replace(/^version = ".*"$/m, `version = "${version}"`))
}
for (const workspace of ['.', 'fuzz']) {
  const manifest = `${workspace}/Cargo.toml`
  run('cargo', 'update', '--workspace', '--offline', '--manifest-path', manifest)
}
run('git', 'add', 'npm', 'packages', 'Cargo.toml', 'Cargo.lock', 'agent/Cargo.toml', 'fuzz/Cargo.lock')
