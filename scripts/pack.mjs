// Packs everything as it is published, and says what it has made: `computesdk`, `@computesdk/*`, and the package of each
// platform whose addon is in the repository's folder.
//
//   npm run pack [folder]             into dist/, unless a folder is named
//   npm run pack [folder] -- --all    fails unless the addon of every platform is there
//
// Only the packed `computesdk` names the packages of the platforms, as optional dependencies: in the repository they
// would break `npm ci` before they are published.

import { execFileSync } from 'node:child_process'
import {
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join, resolve } from 'node:path'
import { fileURLToPath } from 'node:url'

const root = join(dirname(fileURLToPath(import.meta.url)), '..')
const { all, folder } = read(process.argv.slice(2))
const stage = mkdtempSync(join(tmpdir(), 'computesdk-pack-'))

function read(words) {
  const unknown = words.filter((word) => word.startsWith('-') && word !== '--all')
  if (unknown.length > 0) throw new Error(`pack: there is no option ${unknown[0]}; there is --all`)
  const [folder = 'dist'] = words.filter((word) => !word.startsWith('-'))
  return { all: words.includes('--all'), folder: resolve(folder) }
}

const manifest = (place) => JSON.parse(readFileSync(join(place, 'package.json'), 'utf8'))

function npm(...words) {
  // What a lifecycle script prints would stand before the answer.
  const said = execFileSync('npm', ['pack', '--json', '--ignore-scripts', ...words], {
    cwd: root,
    encoding: 'utf8',
    stdio: ['ignore', 'pipe', 'inherit'],
    shell: process.platform === 'win32',
  })
  return JSON.parse(said)
}

/** The packages of platforms, with their addons: those that are here. */
function platforms() {
  const here = []
  for (const platform of readdirSync(join(root, 'npm'))) {
    const place = join(stage, platform)
    cpSync(join(root, 'npm', platform), place, { recursive: true })
    const [addon] = manifest(place).files
    if (existsSync(join(root, addon))) {
      cpSync(join(root, addon), join(place, addon))
      here.push(place)
    } else if (all) {
      throw new Error(`pack: there is no ${addon}: build it for ${platform}, or leave out --all`)
    }
  }
  if (here.length === 0) throw new Error('pack: there is no addon: npm run build')
  return here
}

/** `computesdk` without what only its developers need, and with the packages of all platforms. */
function main() {
  const place = join(stage, 'computesdk')
  for (const { path } of npm('--dry-run')[0].files) cpSync(join(root, path), join(place, path))
  const { scripts, devDependencies, napi, ...rest } = manifest(root)
  const optional = readdirSync(join(root, 'npm')).map((platform) => manifest(join(root, 'npm', platform)))
  rest.optionalDependencies = Object.fromEntries(optional.map(({ name, version }) => [name, version]))
  writeFileSync(join(place, 'package.json'), `${JSON.stringify(rest, null, 2)}\n`)
  return place
}

try {
  const providers = readdirSync(join(root, 'packages')).map((name) => join(root, 'packages', name))
  mkdirSync(folder, { recursive: true })
  const packed = npm('--pack-destination', folder, main(), ...platforms(), ...providers)
  for (const { filename, size, unpackedSize } of packed) {
    const megabytes = (bytes) => `${(bytes / 1e6).toFixed(2)} MB`
    console.log(`${join(folder, filename)}  ${megabytes(size)}, ${megabytes(unpackedSize)} installed`)
  }
} finally {
  rmSync(stage, { recursive: true, force: true })
}
