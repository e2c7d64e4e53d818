'use strict'
// Our providers, as objects for users.

const { asynchronous, synchronous } = require('./calls.js')
const native = require('./load.js')
const { SandboxManager } = require('./manager.js')
const { handles } = require('./plugin.js')

const list = asynchronous(native.listSnapshots, 'snapshots.list')
const remove = asynchronous(native.deleteSnapshot, 'snapshots.delete')

function provider(handle, name) {
  const sandbox = new SandboxManager(native.sandboxesOfProvider(handle), () => [made])
  // Calls know the provider that their errors are about by this.
  const asked = { provider: name }
  const snapshots = Object.freeze({
    list: () => list.call(asked, handle),
    delete: (id) => remove.call(asked, handle, id),
  })
  const made = Object.freeze({ name, sandbox, snapshots, getSupportedRuntimes: () => ['python', 'node'] })
  handles.set(made, handle)
  return made
}

const local = (config) => provider(synchronous(native.local)(config), 'local')
const docker = (config) => provider(synchronous(native.docker)(config), 'docker')
const e2b = (config) => provider(synchronous(native.e2b)(config), 'e2b')

module.exports = { local, docker, e2b, provider }
