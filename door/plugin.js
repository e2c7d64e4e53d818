'use strict'
// Plug-ins as handles for the native half: methods become awaited functions, results plain data.
//
// The native half holds a plug-in, or a sandbox of it, as long as it uses it. Here nothing is held: what a handle
// stands for is found again by its number.

const { isRecord } = require('./calls.js')
const { InvalidArgumentError, toNative, UnsupportedError } = require('./errors.js')
const { Known } = require('./known.js')
const native = require('./load.js')

/** The handles of our own providers. */
const handles = new WeakMap()
/** The number of every object that was ever used as a plug-in. */
const identities = new WeakMap()
let lastIdentity = 0

/** Providers by their keys. */
const providers = new Known()
/** `{ plugin, sandbox }` of each sandbox that was handed over, by its number. */
const handedOver = new Known()
let lastHandOver = 0

/** Notes a provider of ours. */
function know(provider, handle) {
  handles.set(provider, handle)
  providers.set(native.keyOfProvider(handle), provider)
}

/** The handle of a provider: of ours, or of a plug-in's object. */
function handleOf(value) {
  if (!isRecord(value)) return value
  const known = handles.get(value)
  if (known) return known
  const sandbox = value.sandbox
  const needed = ['create', 'getById', 'destroy']
  if (!isRecord(sandbox) || !needed.every((name) => typeof sandbox[name] === 'function')) return value
  if (!identities.has(value)) {
    identities.set(value, ++lastIdentity)
    providers.set(-lastIdentity, value)
  }
  return native.plugin(
    nameOf(value),
    identities.get(value),
    featuresOf(value),
    (method, args) => callPlugin(value, method, args).catch(raise),
    (path, args) => call(value, value, path, args).catch(raise),
  )
}

function nameOf(plugin) {
  const { name = 'plugin' } = plugin
  if (typeof name === 'string' && name !== '') return name
  throw new InvalidArgumentError('`provider.name` must be a string that is not empty')
}

/** What it says of itself, and whether it has snapshots. */
function featuresOf({ capabilities = {}, snapshot }) {
  const snapshots = ['list', 'delete'].every((name) => typeof snapshot?.[name] === 'function')
  return { kill: capabilities?.kill === true, stream: capabilities?.stream === true, snapshots }
}

function raise(error) {
  throw toNative(error)
}

/** Calls a method of a plug-in's provider. Its sandboxes come back as a list. */
async function callPlugin(plugin, method, args) {
  const called = plugin.sandbox[method]
  if (typeof called !== 'function') throw unsupported(plugin, method)
  const result = await called.apply(plugin.sandbox, args)
  if (method === 'destroy' || result === null || result === undefined) return []
  return [result].flat().map((sandbox) => handOver(plugin, sandbox))
}

const METHODS = ['runCommand', 'getInfo', 'getUrl', 'extendTimeout', 'destroy']
const FILES = ['readFile', 'writeFile', 'mkdir', 'readdir', 'exists', 'stat', 'rename', 'copy', 'remove']

function handOver(plugin, sandbox) {
  const id = sandbox?.sandboxId ?? sandbox?.id
  if (typeof id !== 'string' || id === '') {
    throw new TypeError(`the provider \`${nameOf(plugin)}\` gave a sandbox without a \`sandboxId\``)
  }
  const has = (object, name) => typeof object?.[name] === 'function'
  const methods = [
    ...METHODS.filter((name) => has(sandbox, name)),
    ...FILES.filter((name) => has(sandbox.filesystem, name)).map((name) => `filesystem.${name}`),
  ]
  if (has(plugin.snapshot, 'create')) methods.push('snapshot')
  const held = { plugin, sandbox }
  const key = ++lastHandOver
  handedOver.set(key, held)
  return { id, key, methods, call: (path, args) => callSandbox(held, path, args).catch(raise) }
}

/** What can be ended of the commands that run, by their numbers. */
const running = new Map()

async function callSandbox({ plugin, sandbox }, path, args) {
  const id = sandbox.sandboxId ?? sandbox.id
  if (path === 'runCommand') return runCommand(plugin, sandbox, ...args)
  if (path === 'snapshot') return plain(await plugin.snapshot.create(id, ...args))
  if (path === 'kill') {
    running.get(args[0])?.abort()
    return null
  }
  if (path === 'destroy' && typeof sandbox.destroy !== 'function') {
    await plugin.sandbox.destroy(id)
    return null
  }
  return call(plugin, sandbox, path, args)
}

async function runCommand(plugin, sandbox, line, options, { job, kill, stream }) {
  if (kill) {
    const controller = new AbortController()
    running.set(job, controller)
    options.signal = controller.signal
  }
  if (stream) {
    options.onStdout = (content) => native.pluginPrinted(job, 0, content)
    options.onStderr = (content) => native.pluginPrinted(job, 1, content)
  }
  try {
    return await call(plugin, sandbox, 'runCommand', [line, options])
  } catch (error) {
    // It was asked to end, and this is how some say that it has.
    if (!options.signal?.aborted) throw error
    return { exitCode: 137 }
  } finally {
    running.delete(job)
  }
}

/** Calls a method of an object by its path. */
async function call(plugin, object, path, args) {
  const names = path.split('.')
  const name = names.pop()
  const holder = names.reduce((found, key) => found?.[key], object)
  if (typeof holder?.[name] !== 'function') throw unsupported(plugin, path)
  return plain(await holder[name](...args))
}

function unsupported(plugin, method) {
  const provider = nameOf(plugin)
  return new UnsupportedError(`the provider \`${provider}\` has no \`${method}\``, {
    provider,
    operation: method,
  })
}

/** A plug-in's result as JSON, with dates as numbers and bytes as `{ base64 }`. */
function plain(value, depth = 64) {
  if (value instanceof Date) return value.getTime()
  if (value instanceof Uint8Array) return { base64: Buffer.from(value).toString('base64') }
  if (typeof value !== 'object' || value === null) return value ?? null
  if (depth === 0) throw new TypeError('what the provider gave is nested too deeply, or contains itself')
  if (Array.isArray(value)) return value.map((item) => plain(item, depth - 1))
  const entries = Object.entries(value).filter(([, item]) => item !== undefined && typeof item !== 'function')
  return Object.fromEntries(entries.map(([key, item]) => [key, plain(item, depth - 1)]))
}

module.exports = { handleOf, handedOver, know, providers }
