'use strict'
// Our providers, as objects for users.

const { synchronous } = require('./calls.js')
const native = require('./load.js')
const { SandboxManager } = require('./manager.js')
const { handles } = require('./plugin.js')

function provider(handle, name) {
  const sandbox = new SandboxManager(native.sandboxesOfProvider(handle), () => [made])
  const made = Object.freeze({ name, sandbox, getSupportedRuntimes: () => ['python', 'node'] })
  handles.set(made, handle)
  return made
}

const local = (config) => provider(synchronous(native.local)(config), 'local')
const docker = (config) => provider(synchronous(native.docker)(config), 'docker')
const e2b = (config) => provider(synchronous(native.e2b)(config), 'e2b')

module.exports = { local, docker, e2b, provider }
