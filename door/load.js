'use strict'
// Loads the native half: the one in the package's folder, as a build leaves it, or the platform's own package.

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
  const advice =
    builds.length > 0
      ? `Install @computesdk/native-${builds.join(' or -')}: npm leaves optional packages out with --omit=optional, and where a lock file was made on another platform.`
      : `There is none for it; supported: ${Object.keys(BUILDS).join(', ')}.`
  throw new Error(`computesdk: no native binary for ${here} could be loaded. ${advice}`, {
    cause: new AggregateError(causes),
  })
}

module.exports = load()
