'use strict'
// Making and finding sandboxes.

const { asynchronous, isRecord } = require('./calls.js')
const native = require('./load.js')
const { fromNative } = require('./errors.js')
const { handleOf } = require('./plugin.js')

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
  constructor(of) {
    this.#of = of
  }

  async create(options) {
    const given = withLifted(options)
    if (!isRecord(given) || given.provider === undefined) return await create(this.#of, given)
    return await create(this.#of, { ...given, provider: handleOf(given.provider) })
  }

  async getById(first, second) {
    if (second === undefined) return await getById(this.#of, first)
    return await getById(this.#of, handleOf(first), second)
  }

  async list(...args) {
    // Of one provider, of those that the options ask for, or both.
    const isProvider = (value) => typeof value === 'string' || (isRecord(value) && isRecord(value.sandbox))
    const [provider, options] = args.length > 1 || isProvider(args[0]) ? args : [undefined, args[0]]
    const { sandboxes, failures } = await list(this.#of, handleOf(provider), options)
    const errors = failures.map((failure) => fromNative(failure, { operation: 'list' }))
    // Not one of its elements: two lists of the same sandboxes are equal.
    return Object.defineProperty(sandboxes, 'errors', { value: Object.freeze(errors) })
  }

  async destroy(first, second) {
    if (second === undefined) return await destroy(this.#of, first)
    return await destroy(this.#of, handleOf(first), second)
  }
}

module.exports = { SandboxManager }
