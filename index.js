'use strict'
// The door: what only JavaScript can do around the native classes. It makes real errors with the caller's
// stack, listens to AbortSignals, makes one awaited function of a plug-in's methods, and names the exports.
// Everything else, all checking of arguments included, is in Rust.

const errors = require('./errors.js')
const native = require('./load.js')

const { AbortError, InvalidArgumentError, UnsupportedError, fromNative } = errors
const { Sandbox, Filesystem } = native

/**
 * Wraps an asynchronous native function: rejections are real errors, and an AbortSignal among the options
 * becomes a token, with its listener gone when the call is over.
 */
function asynchronous(method, operation) {
  return async function (...args) {
    const { given, signal, release } = withToken(args, () => place(this, operation))
    try {
      return await method.apply(this, given)
    } catch (error) {
      throw fromNative(error, { ...place(this, operation), reason: signal?.reason })
    } finally {
      release?.()
    }
  }
}

/** The sandbox of each filesystem. */
const owners = new WeakMap()

/** Where a call happens, for its errors. */
function place(object, operation) {
  const sandbox = owners.get(object) ?? object
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

const { notYet } = Sandbox.prototype
methods(Sandbox.prototype, ['getInfo', 'extendTimeout', 'getUrl', 'destroy', 'kill'], asynchronous)
methods(Filesystem.prototype, ['readFile', 'writeFile', 'mkdir', 'readdir', 'exists', 'remove'], asynchronous)
const { get: filesystemOf } = Object.getOwnPropertyDescriptor(Sandbox.prototype, 'filesystem')
once(Sandbox.prototype, 'filesystem', function () {
  const filesystem = filesystemOf.call(this)
  owners.set(filesystem, this)
  return filesystem
})
once(Sandbox.prototype, 'terminal', function () {
  return new TerminalManager(this)
})

for (const name of ['runCommand', 'runCode']) {
  const method = asynchronous(Sandbox.prototype[name], name)
  hidden(Sandbox.prototype, name, async function (...args) {
    const { given, close } = withPulledInput(args)
    try {
      return await method.apply(this, given)
    } finally {
      close?.()
    }
  })
}
hidden(Sandbox.prototype, 'getProvider', function () {
  if (!origins.has(this)) origins.set(this, provider(this.providerHandle(), this.provider))
  return origins.get(this)
})
if (Symbol.asyncDispose) {
  hidden(Sandbox.prototype, Symbol.asyncDispose, function () {
    return this.destroy()
  })
}
for (const name of [
  'spawn',
  'getProcess',
  'processes',
  'waitForPort',
  'getMetrics',
  'snapshot',
  'networkLog',
]) {
  hidden(Sandbox.prototype, name, later(notYet, name))
}
for (const name of ['stat', 'rename', 'copy']) {
  hidden(Filesystem.prototype, name, later(Filesystem.prototype.notYet, name))
}

/** A method of a later version: it refuses, by name. */
function later(notYet, name) {
  return asynchronous(function () {
    return notYet.call(this, name)
  }, name)
}

/**
 * Gives a stream that is a command's input as a function that is asked for the next piece. It is closed when
 * the call is over, as `for await` would close it.
 */
function withPulledInput(args) {
  if (args.some((argument) => isRecord(argument) && typeof argument.stdin === 'function')) {
    throw new InvalidArgumentError('`stdin` must be a string, a Uint8Array or a stream, got a function')
  }
  const at = args.findIndex((argument) => isRecord(argument) && isPulled(argument.stdin))
  if (at < 0) return { given: args }
  const pieces = args[at].stdin[Symbol.asyncIterator]()
  const next = async () => {
    const { done, value } = await pieces.next()
    if (done) return null
    if (typeof value === 'string') return new TextEncoder().encode(value)
    if (value instanceof Uint8Array) return value
    throw new InvalidArgumentError('`stdin` gave something that is neither a string nor a Uint8Array')
  }
  const close = async () => {
    try {
      await pieces.return?.()
    } catch {
      // The command is over: what its input fails with now is nobody's business.
    }
  }
  const given = [...args]
  given[at] = { ...args[at], stdin: next }
  return { given, close }
}

function isPulled(stdin) {
  return (
    isRecord(stdin) && !(stdin instanceof Uint8Array) && typeof stdin[Symbol.asyncIterator] === 'function'
  )
}

class Terminal {
  constructor() {
    throw new TypeError('terminals are made by sandbox.terminal.create()')
  }
}

class TerminalManager {
  #sandbox
  constructor(sandbox) {
    this.#sandbox = sandbox
  }
  #refuse(name) {
    return later(notYet, `terminal.${name}`).call(this.#sandbox)
  }
  create() {
    return this.#refuse('create')
  }
  list() {
    return this.#refuse('list')
  }
  getById() {
    return this.#refuse('getById')
  }
  destroy() {
    return this.#refuse('destroy')
  }
}

/** The native handle of everything that was ever used as a provider. */
const handles = new WeakMap()
/** The provider that each sandbox came from. */
const origins = new WeakMap()

function provider(handle, name) {
  const sandbox = new SandboxManager(native.sandboxesOfProvider(handle), () => [made])
  const made = Object.freeze({ name, sandbox, getSupportedRuntimes: () => ['python', 'node'] })
  handles.set(made, handle)
  return made
}

/** The handle of a provider: of ours, or of a plug-in's object, made when it is first used. */
function handleOf(value) {
  if (!isRecord(value)) return value
  const known = handles.get(value)
  if (known) return known
  const sandbox = value.sandbox
  if (
    !isRecord(sandbox) ||
    !['create', 'getById', 'destroy'].every((name) => typeof sandbox[name] === 'function')
  ) {
    return value
  }
  const handle = native.plugin(String(value.name ?? 'plugin'), (method, args) =>
    callPlugin(value, method, args),
  )
  handles.set(value, handle)
  return handle
}

/** Calls a method of a plug-in's provider. Its sandboxes come back as a list. */
async function callPlugin(plugin, method, args) {
  const call = plugin.sandbox[method]
  if (typeof call !== 'function') throw unsupported(plugin.name, method)
  const result = await call.apply(plugin.sandbox, args)
  if (method === 'destroy' || result === null || result === undefined) return []
  return [result].flat().map((sandbox) => handOver(plugin, sandbox))
}

function handOver(plugin, sandbox) {
  return {
    id: String(sandbox.sandboxId ?? sandbox.id),
    native: sandbox,
    call: async (path, args) => {
      const names = path.split('.')
      const name = names.pop()
      const holder = names.reduce((object, key) => object?.[key], sandbox)
      if (path === 'destroy' && typeof holder.destroy !== 'function') {
        await plugin.sandbox.destroy(sandbox.sandboxId ?? sandbox.id)
        return null
      }
      if (typeof holder?.[name] !== 'function') throw unsupported(plugin.name, path)
      return plain(await holder[name](...args))
    },
  }
}

function unsupported(name, method) {
  return new UnsupportedError(`the provider \`${name}\` has no \`${method}\``, {
    provider: name,
    operation: method,
  })
}

/** A plug-in's result as JSON, with dates as numbers. */
function plain(value) {
  if (value instanceof Date) return value.getTime()
  if (Array.isArray(value)) return value.map(plain)
  if (!isRecord(value)) return value ?? null
  const entries = Object.entries(value).filter(([, item]) => item !== undefined && typeof item !== 'function')
  return Object.fromEntries(entries.map(([key, item]) => [key, plain(item)]))
}

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

  async list(provider) {
    const sandboxes = await list(this.#of, handleOf(provider))
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

const create = asynchronous(native.create, 'create')
const getById = asynchronous(native.getById, 'getById')
const list = asynchronous(native.list, 'list')
const destroy = asynchronous(native.destroy, 'destroy')
const configure = synchronous(native.configure)

class Compute {
  #of
  #config = null

  constructor(config, strict = false) {
    this.#of = native.sandboxesOfCompute(strict)
    const sandbox = new SandboxManager(this.#of, () => this.#providers())
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

  #providers() {
    const { provider, defaultProvider, providers = [] } = this.#config ?? {}
    return [defaultProvider, provider, ...providers].filter(isRecord)
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

const local = (config) => provider(synchronous(native.local)(config), 'local')
const docker = (config) => provider(synchronous(native.docker)(config), 'docker')
const e2b = (config) => provider(synchronous(native.e2b)(config), 'e2b')

/** Refused by name until a later version. */
async function handleComputeRequest() {
  throw new UnsupportedError('`handleComputeRequest` is not part of this version yet', {
    hint: 'call the sandbox from a route of your own; see the README',
  })
}

module.exports.compute = compute
module.exports.createCompute = createCompute
module.exports.handleComputeRequest = handleComputeRequest
module.exports.handleHttpComputeRequest = handleComputeRequest
module.exports.local = local
module.exports.docker = docker
module.exports.e2b = e2b
module.exports.Compute = Compute
module.exports.Sandbox = Sandbox
module.exports.Filesystem = Filesystem
module.exports.Terminal = Terminal
module.exports.AbortError = errors.AbortError
module.exports.AlreadyExistsError = errors.AlreadyExistsError
module.exports.AuthenticationError = errors.AuthenticationError
module.exports.CodeSyntaxError = errors.CodeSyntaxError
module.exports.CommandExitError = errors.CommandExitError
module.exports.ComputeError = errors.ComputeError
module.exports.InvalidArgumentError = errors.InvalidArgumentError
module.exports.NotFoundError = errors.NotFoundError
module.exports.PermissionDeniedError = errors.PermissionDeniedError
module.exports.QuotaExceededError = errors.QuotaExceededError
module.exports.RateLimitError = errors.RateLimitError
module.exports.TimeoutError = errors.TimeoutError
module.exports.UnavailableError = errors.UnavailableError
module.exports.UnsupportedError = errors.UnsupportedError
module.exports.isCommandExitError = errors.isCommandExitError
