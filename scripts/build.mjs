// Builds the addon, optimised, and its declarations. Arguments go to `napi build`.
//
//   npm run build
//   COMPUTESDK_PORTABLE=1 npm run build     as it is published: for every Linux from glibc 2.17 on
//
// A portable build is linked by zig, which knows the symbols of every glibc; it is installed from PyPI, into target/.
// Without it, the addon needs the glibc of the machine that it is built on.

import { execFileSync } from 'node:child_process'
import { existsSync } from 'node:fs'
import { delimiter, dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'

const root = join(dirname(fileURLToPath(import.meta.url)), '..')
const TOOLS = ['ziglang==0.17.1', 'cargo-zigbuild==0.24.0']
const GLIBC = '2.17'

/** Installs zig and what makes cargo use it, unless they are there; gives the folders that their programs are in. */
function zig() {
  const folder = join(root, 'target/tools', TOOLS.join('-').replaceAll('==', '-'))
  const places = [join(folder, 'ziglang'), join(folder, 'bin')]
  if (!existsSync(join(folder, 'bin/cargo-zigbuild'))) {
    try {
      const pip = [
        '-m',
        'pip',
        'install',
        '--quiet',
        '--disable-pip-version-check',
        '--target',
        folder,
        ...TOOLS,
      ]
      execFileSync('python3', pip, { stdio: ['ignore', 'inherit', 'inherit'] })
    } catch (error) {
      throw new Error(`a portable build needs ${TOOLS.join(' and ')} of PyPI, and pip: ${error.message}`)
    }
  }
  return places
}

/** The architecture of this machine, as Rust calls it. */
const ARCHITECTURES = { x64: 'x86_64', arm64: 'aarch64' }

const options = ['--platform', '--release', '--js', 'binding.js', '--dts', 'binding.d.ts']
const env = { ...process.env }
if (process.env.COMPUTESDK_PORTABLE === '1' && process.platform === 'linux') {
  env.PATH = [...zig(), env.PATH].join(delimiter)
  const target = `${ARCHITECTURES[process.arch]}-unknown-linux-gnu.${GLIBC}`
  options.push('--cross-compile', ...(process.argv.includes('--target') ? [] : ['--target', target]))
}
const napi = join(dirname(fileURLToPath(import.meta.resolve('@napi-rs/cli'))), 'cli.js')
const run = (...args) => execFileSync(process.execPath, args, { cwd: root, env, stdio: 'inherit' })
run(napi, 'build', ...options, ...process.argv.slice(2))
run(join(root, 'scripts/types.mjs'))
