'use strict'
// Providers made of functions: the shape that upstream's `defineProvider` takes.

const { isRecord } = require('./calls.js')
const { InvalidArgumentError } = require('./errors.js')
const { handleOf } = require('./plugin.js')
const { provider } = require('./provider.js')

const REQUIRED = ['create', 'getById', 'destroy']
const OPTIONAL = ['list', 'runCommand', 'getInfo', 'getUrl', 'getInstance', 'extendTimeout']
const FILES = ['readFile', 'writeFile', 'mkdir', 'readdir', 'exists', 'stat', 'rename', 'copy', 'remove']
const MANAGED = ['create', 'list', 'delete']
const CAPABILITIES = ['kill', 'stream']

/** Makes a function that makes providers: each configured in its own way, with these methods. */
function defineProvider(definition) {
  const { name, methods, capabilities } = checked(definition)
  return (config) => {
    const plugin = { name, capabilities, sandbox: sandboxes(name, methods.sandbox, config) }
    if (methods.snapshot) plugin.snapshot = bound(methods.snapshot, MANAGED, config)
    const template = methods.template && Object.freeze(bound(methods.template, MANAGED, config))
    return provider(handleOf(plugin), name, template && { template })
  }
}

/** `sandbox.{ create, getById, list, destroy }` of a plug-in. */
function sandboxes(name, methods, config) {
  const wrapped = (made) => {
    if (!isRecord(made) || typeof made.sandboxId !== 'string') {
      throw new TypeError(`the provider \`${name}\` has to give \`{ sandbox, sandboxId }\``)
    }
    return instance(methods, made.sandbox, made.sandboxId, () => methods.destroy(config, made.sandboxId))
  }
  const manager = {
    create: async (options) => wrapped(await methods.create(config, options)),
    getById: async (sandboxId) => {
      const found = await methods.getById(config, sandboxId)
      return found ? wrapped(found) : null
    },
    destroy: (sandboxId) => methods.destroy(config, sandboxId),
  }
  if (methods.list) manager.list = async () => (await methods.list(config)).map(wrapped)
  return manager
}

/** A sandbox of a plug-in. What there is no method for, it does not have. */
function instance(methods, sandbox, sandboxId, destroy) {
  const made = bound(methods, ['runCommand', 'getInfo', 'getUrl', 'extendTimeout'], sandbox)
  const { filesystem = {}, getInstance = (own) => own } = methods
  // The last argument, as upstream has it.
  const files = FILES.filter((method) => filesystem[method]).map((method) => [
    method,
    (...args) => filesystem[method](sandbox, ...args, methods.runCommand),
  ])
  return Object.assign(made, {
    sandboxId,
    destroy,
    getInstance: () => getInstance(sandbox),
    filesystem: Object.fromEntries(files),
  })
}

/** Those of the methods that there are, with their first argument given. */
function bound(methods, names, first) {
  const there = names.filter((name) => methods[name])
  return Object.fromEntries(there.map((name) => [name, (...args) => methods[name](first, ...args)]))
}

function checked(definition) {
  record('definition', definition)
  const { name, methods, capabilities = {} } = definition
  if (typeof name !== 'string' || name === '') throw invalid('definition.name', 'a string that is not empty')
  record('definition.methods', methods)
  record('definition.methods.sandbox', methods.sandbox)
  functions('definition.methods.sandbox', methods.sandbox, REQUIRED, OPTIONAL)
  for (const [key, of, names] of [
    ['sandbox.filesystem', methods.sandbox.filesystem, FILES],
    ['snapshot', methods.snapshot, MANAGED],
    ['template', methods.template, MANAGED],
  ]) {
    if (of === undefined) continue
    record(`definition.methods.${key}`, of)
    functions(`definition.methods.${key}`, of, [], names)
  }
  record('definition.capabilities', capabilities)
  for (const [key, value] of Object.entries(capabilities)) {
    if (!CAPABILITIES.includes(key)) {
      throw invalid('definition.capabilities', `made of ${CAPABILITIES.join(', ')}; there is no \`${key}\``)
    }
    if (typeof value !== 'boolean') throw invalid(`definition.capabilities.${key}`, 'a boolean')
  }
  return { name, methods, capabilities }
}

function functions(path, object, required, optional) {
  for (const name of [...required, ...optional]) {
    const isMissing = object[name] === undefined && optional.includes(name)
    if (!isMissing && typeof object[name] !== 'function') throw invalid(`${path}.${name}`, 'a function')
  }
}

function record(path, value) {
  if (!isRecord(value)) throw invalid(path, 'an object')
}

function invalid(path, wanted) {
  return new InvalidArgumentError(`\`${path}\` must be ${wanted}`, { operation: 'defineProvider' })
}

module.exports = { defineProvider }
