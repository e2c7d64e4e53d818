'use strict'
// Loads the native half: the one in the package's folder, as a build leaves it, or the platform's own package. A bundle
// has a copy of this file and neither of them: the copy has the original load it, the one in `node_modules`.

const fs = require('node:fs')
const path = require('node:path')
const { createRequire } = require('node:module')

/** The builds for each platform. npm installs the one whose libc is there; a build for another does not load. */
const BUILDS = {
  'linux-x64': ['linux-x64-gnu', 'linux-x64-musl'],
  'linux-arm64': ['linux-arm64-gnu', 'linux-arm64-musl'],
  'darwin-x64': ['darwin-x64'],
  'darwin-arm64': ['darwin-arm64'],
  'win32-x64': ['win32-x64-msvc'],
}

/** The builds that fit the C library of this machine; all of them where nobody knows which that is. */
function fitting(builds) {
  if (process.platform !== 'linux') return builds
  // It takes a while, so only who has failed asks.
  const { header } = process.report?.getReport?.() ?? {}
  if (header === undefined) return builds
  const libc = header.glibcVersionRuntime === undefined ? 'musl' : 'gnu'
  return builds.filter((build) => build.endsWith(libc))
}

function load() {
  // Bundlers must not follow these: the binary is no module of theirs.
  const requireNative = createRequire(__filename)
  const here = `${process.platform}-${process.arch}`
  const builds = BUILDS[here] ?? []
  const causes = []
  const candidates = [
    ...builds.map((build) => path.join(__dirname, '..', `computesdk.${build}.node`)),
    ...builds.map((build) => `@computesdk/native-${build}`),
  ]
  for (const candidate of candidates) {
    try {
      return requireNative(candidate)
    } catch (error) {
      causes.push(error)
    }
  }
  const fits = fitting(builds)
  const name = fits.length === 1 ? fits[0] : here
  const advice =
    builds.length > 0
      ? `Install @computesdk/native-${fits.join(' or -')}: npm leaves optional packages out with --omit=optional, and where a lock file was made on another platform. If it is there, \`cause\` says why it does not load.`
      : 'There is none for it.'
  const supported = Object.values(BUILDS).flat().join(', ')
  throw new Error(
    `computesdk: no native binary for ${name} could be loaded. ${advice} Supported: ${supported}.`,
    {
      cause: new AggregateError(causes),
    },
  )
}

/** The original of this file, where this is a copy of it: found as whatever runs the bundle finds its packages. */
function original() {
  if (globalThis[Symbol.for('computesdk.trace')]) forTracers()
  // A bundle has a `__dirname` of its own making.
  if (fs.existsSync(path.join(__dirname, 'load.js'))) return undefined
  for (const from of [__filename, path.join(process.cwd(), 'bundle.js'), process.argv[1]]) {
    try {
      const manifest = createRequire(from).resolve('computesdk/package.json')
      return path.join(path.dirname(manifest), 'door', 'load.js')
    } catch {
      // The next may find it.
    }
  }
  return undefined
}

/**
 * Never called: what copies the files that a server needs, such as `output: 'standalone'` of Next.js, reads here which
 * those are. Turbopack goes by the paths; the tracer of Vercel's, in a bundle of webpack's, by the import to the original,
 * and there by the paths. Both take the unknown name for any.
 */
function forTracers(build) {
  import(/* webpackIgnore: true */ /* turbopackIgnore: true */ 'computesdk')
  fs.existsSync(path.join(__dirname, '..', 'package.json'))
  fs.existsSync(path.join(__dirname, '..', `computesdk.${build}.node`))
  fs.existsSync(path.join(__dirname, '../../@computesdk', `native-${build}`, 'package.json'))
  fs.existsSync(path.join(__dirname, '../../@computesdk', `native-${build}`, `computesdk.${build}.node`))
}

const found = original()
module.exports = found === undefined ? load() : createRequire(found)(found)
