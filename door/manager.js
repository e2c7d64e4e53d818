'use strict'
// Making and finding sandboxes.

const { asynchronous, isRecord } = require('./calls.js')
const native = require('./load.js')
const { handleOf, origins } = require('./plugin.js')

const create = asynchronous(native.create, 'create')
const getById = asynchronous(native.getById, 'getById')
const list = asynchronous(native.list, 'list')
const destroy = asynchronous(native.destroy, 'destroy')

/** Puts the two options that are this side's business out of `options.options`, where they may stand too. */
function withLifted(options) {
  if (!isRecord(options) || !isRecord(options.options)) return options
  const { provider, signal, ...nested } = options.options
  const { provider: ownProvider = provider, signal: ownSignal = signal } = options
  return { ...options, provider: ownProvider, signal: ownSignal, options: nested }
}

/** `sandbox.{ create, getById, list, destroy }` of a provider, or of whatever a `Compute` is configured with. */
class SandboxManager {
  #of
  #providers
  constructor(of, providers) {
    this.#of = of
    this.#providers = providers
  }

  async create(options) {
    const given = withLifted(options)
    if (!isRecord(given) || given.provider === undefined) return this.#from(await create(this.#of, given))
    const { provider } = given
    return this.#from(await create(this.#of, { ...given, provider: handleOf(provider) }), provider)
  }

  async getById(first, second) {
    if (second === undefined) return this.#from(await getById(this.#of, first))
    return this.#from(await getById(this.#of, handleOf(first), second), first)
  }

  async list(...args) {
    // Of one provider, of those that the options ask for, or both.
    const isProvider = (value) => typeof value === 'string' || (isRecord(value) && isRecord(value.sandbox))
    const [provider, options] = args.length > 1 || isProvider(args[0]) ? args : [undefined, args[0]]
    const sandboxes = await list(this.#of, handleOf(provider), options)
    return sandboxes.map((sandbox) => this.#from(sandbox, provider))
  }

  async destroy(first, second) {
    if (second === undefined) return destroy(this.#of, first)
    return destroy(this.#of, handleOf(first), second)
  }

  /** Notes where a sandbox came from. */
  #from(sandbox, provider) {
    const known = isRecord(provider)
      ? provider
      : this.#providers().find(({ name }) => name === sandbox?.provider)
    if (sandbox && known) origins.set(sandbox, known)
    return sandbox
  }
}

module.exports = { SandboxManager }
