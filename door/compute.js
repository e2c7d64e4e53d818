'use strict'
// Instances of `Compute`: settings, and the sandboxes that are made with them.

const { isRecord, synchronous } = require('./calls.js')
const native = require('./load.js')
const { SandboxManager } = require('./manager.js')
const { handleOf } = require('./plugin.js')

const configure = synchronous(native.configure)

/** The native half of an instance. */
let nativeOf

class Compute {
  static {
    nativeOf = (compute) => compute.#of
  }

  #of
  #config = null

  constructor(config, strict = false) {
    this.#of = native.sandboxesOfCompute(strict)
    const sandbox = new SandboxManager(this.#of)
    Object.defineProperty(this, 'sandbox', { value: sandbox, enumerable: true })
    if (config !== undefined) this.setConfig(config)
  }

  setConfig(config) {
    const given = isRecord(config) ? { ...config } : config
    if (isRecord(given)) {
      for (const key of ['provider', 'defaultProvider']) {
        if (given[key] !== undefined) given[key] = handleOf(given[key])
      }
      if (Array.isArray(given.providers)) given.providers = given.providers.map(handleOf)
    }
    configure(this.#of, given)
    if (config?.provider !== undefined && config?.defaultProvider !== undefined) warnOfTwoProviders()
    this.#config = config === undefined ? null : { ...config }
    return this
  }

  getConfig() {
    if (this.#config === null) return null
    const { provider, defaultProvider, ...rest } = this.#config
    const chosen = defaultProvider ?? provider
    return chosen === undefined ? { ...rest } : { ...rest, provider: chosen, defaultProvider: chosen }
  }

  clearConfig() {
    configure(this.#of, undefined)
    this.#config = null
    return this
  }
}

let warned = false

function warnOfTwoProviders() {
  if (warned) return
  warned = true
  process.emitWarning('both `provider` and `defaultProvider` are configured: `defaultProvider` is used', {
    code: 'COMPUTESDK_TWO_PROVIDERS',
  })
}

/** An instance whose sandboxes' `runCommand` raises `CommandExitError`. */
function createCompute(config) {
  return new Compute(config, true)
}

const shared = new Compute()
const compute = (config) => new Compute(config)
Object.defineProperty(compute, 'sandbox', { value: shared.sandbox, enumerable: true })
compute.setConfig = (config) => {
  shared.setConfig(config)
  return compute
}
compute.getConfig = () => shared.getConfig()
compute.clearConfig = () => {
  shared.clearConfig()
  return compute
}

module.exports = { Compute, compute, createCompute, shared: nativeOf(shared) }
