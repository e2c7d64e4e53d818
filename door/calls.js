'use strict'
// Calls into the native half: rejections become real errors with the caller's stack, AbortSignals become tokens.

const { AbortError, InvalidArgumentError, fromNative } = require('./errors.js')
const native = require('./load.js')

/**
 * Wraps an asynchronous native function: rejections are real errors, and an AbortSignal among the options
 * becomes a token, with its listener gone when the call is over.
 */
function asynchronous(method, operation) {
  return async function (...args) {
    const { given, signal, release } = withToken(args, () => place(this, operation))
    try {
      return await real(() => method.apply(this, given), place(this, operation), signal)
    } finally {
      release?.()
    }
  }
}

/** What `work` comes to; what it fails with is a real error that tells where. */
async function real(work, where, signal) {
  try {
    return await work()
  } catch (error) {
    throw fromNative(error, { ...where, reason: signal?.reason })
  }
}

/**
 * Where a filesystem has its sandbox. No WeakMap: what is in one is only found dead when the whole heap is looked
 * through, and that is seldom.
 */
const owner = Symbol('sandbox')

/** Where a call happens, for its errors. */
function place(object, operation) {
  const sandbox = object?.[owner] ?? object
  return { operation, provider: sandbox?.provider, sandboxId: sandbox?.sandboxId }
}

function withToken(args, where) {
  const at = args.findIndex((argument) => isRecord(argument) && argument.signal !== undefined)
  if (at < 0) return { given: args }
  const signal = args[at].signal
  if (!isRecord(signal) || typeof signal.addEventListener !== 'function') {
    throw new InvalidArgumentError('`signal` must be an AbortSignal', where())
  }
  if (signal.aborted) throw new AbortError('The operation was aborted', { ...where(), cause: signal.reason })
  const token = native.cancellation()
  const given = [...args]
  given[at] = { ...args[at], signal: token }
  return { given, signal, release: listen(signal, token) }
}

/** The tokens of each signal. It has one listener for all of them: Node warns of more than ten. */
const listeners = new WeakMap()

/** Cancels a token when its signal is aborted, until the returned function is called. */
function listen(signal, token) {
  if (!listeners.has(signal)) {
    const tokens = new Set()
    const abort = () => {
      for (const one of tokens) native.cancel(one)
    }
    listeners.set(signal, { tokens, abort })
  }
  const { tokens, abort } = listeners.get(signal)
  if (tokens.size === 0) signal.addEventListener('abort', abort, { once: true })
  tokens.add(token)
  return () => {
    tokens.delete(token)
    if (tokens.size === 0) signal.removeEventListener('abort', abort)
  }
}

function isRecord(value) {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

/** Wraps a synchronous native function. */
function synchronous(method) {
  return function (...args) {
    try {
      return method.apply(this, args)
    } catch (error) {
      throw fromNative(error)
    }
  }
}

/** Makes a getter that builds an object give the same object every time. */
function once(prototype, name, make) {
  Object.defineProperty(prototype, name, {
    configurable: true,
    enumerable: true,
    get() {
      const value = make.call(this)
      Object.defineProperty(this, name, { value, enumerable: true })
      return value
    },
  })
}

function methods(prototype, names, wrap) {
  for (const name of names) hidden(prototype, name, wrap(prototype[name], name))
}

function hidden(object, name, value) {
  Object.defineProperty(object, name, { value, writable: true, configurable: true })
}

module.exports = {
  asynchronous,
  synchronous,
  real,
  place,
  withToken,
  listen,
  once,
  methods,
  hidden,
  isRecord,
  owner,
}
