'use strict'
// Our providers, as objects for users.

const { asynchronous, synchronous } = require('./calls.js')
const native = require('./load.js')
const { SandboxManager } = require('./manager.js')
const { know } = require('./plugin.js')

const list = asynchronous(native.listSnapshots, 'snapshots.list')
const remove = asynchronous(native.deleteSnapshot, 'snapshots.delete')

/** A provider over a handle; `more` is what only this one has. */
function provider(handle, name, more) {
  const sandbox = new SandboxManager(native.sandboxesOfProvider(handle))
  // Calls know the provider that their errors are about by this.
  const asked = { provider: name }
  const snapshots = Object.freeze({
    list: () => list.call(asked, handle),
    delete: (id) => remove.call(asked, handle, id),
  })
  const made = Object.freeze({
    name,
    sandbox,
    snapshots,
    getSupportedRuntimes: () => ['python', 'node'],
    ...more,
  })
  know(made, handle)
  return made
}

const local = (config) => provider(synchronous(native.local)(config), 'local')
const docker = (config) => provider(synchronous(native.docker)(config), 'docker')
const e2b = (config) => provider(synchronous(native.e2b)(config), 'e2b')

module.exports = { local, docker, e2b, provider }
