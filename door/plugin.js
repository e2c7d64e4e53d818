'use strict'
// Providers as handles for the native half: of our own ones, and of plug-ins, whose methods become one awaited function.

const { isRecord } = require('./calls.js')
const { toNative, UnsupportedError } = require('./errors.js')
const native = require('./load.js')

/** The native handle of everything that was ever used as a provider. */
const handles = new WeakMap()
/** The provider that each sandbox came from. */
const origins = new WeakMap()

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
    callPlugin(value, method, args).catch(raise),
  )
  handles.set(value, handle)
  return handle
}

function raise(error) {
  throw toNative(error)
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
    call: (path, args) => callSandbox(plugin, sandbox, path, args).catch(raise),
  }
}

async function callSandbox(plugin, sandbox, path, args) {
  const names = path.split('.')
  const name = names.pop()
  const holder = names.reduce((object, key) => object?.[key], sandbox)
  if (path === 'destroy' && typeof holder.destroy !== 'function') {
    await plugin.sandbox.destroy(sandbox.sandboxId ?? sandbox.id)
    return null
  }
  if (typeof holder?.[name] !== 'function') throw unsupported(plugin.name, path)
  return plain(await holder[name](...args))
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

module.exports = { handleOf, handles, origins }
