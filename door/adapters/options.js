'use strict'
// The options of the adapters: what is given is right, or refused by name.

const { isRecord } = require('../calls.js')
const { InvalidArgumentError } = require('../errors.js')

/** The options of `name`, which are among `known`. */
function optionsOf(name, options, known) {
  if (!isRecord(options)) throw new InvalidArgumentError(`\`${name}\` takes an object of options`)
  for (const key of Object.keys(options)) {
    if (!known.includes(key)) {
      throw new InvalidArgumentError(`\`${name}\` has no option \`${key}\``, {
        hint: `it has ${known.join(', ')}`,
      })
    }
  }
  return options
}

/** A number of milliseconds or characters. */
function whole(name, value, otherwise) {
  if (value === undefined) return otherwise
  if (Number.isSafeInteger(value) && value > 0) return value
  throw new InvalidArgumentError(`\`${name}\` must be a whole number above 0, got ${String(value)}`)
}

/** An absolute path. */
function directory(name, value, otherwise) {
  if (value === undefined) return otherwise
  if (typeof value === 'string' && value.startsWith('/')) return value
  throw new InvalidArgumentError(`\`${name}\` must be an absolute path, got ${String(value)}`)
}

/**
 * Gives the sandbox: the one that is there, or what the function makes when it is first asked for, once unless that
 * fails.
 */
function held(sandbox) {
  if (typeof sandbox === 'function') {
    let making
    return () => {
      making ??= Promise.resolve()
        .then(sandbox)
        .then(checked)
        .catch((error) => {
          making = undefined
          throw error
        })
      return making
    }
  }
  checked(sandbox)
  return async () => sandbox
}

function checked(sandbox) {
  if (isRecord(sandbox) && typeof sandbox.runCommand === 'function' && isRecord(sandbox.filesystem)) {
    return sandbox
  }
  throw new InvalidArgumentError('`sandbox` must be a sandbox, or a function that gives one', {
    hint: 'compute.sandbox.create() gives a promise: await it, or pass () => compute.sandbox.create()',
  })
}

module.exports = { directory, held, optionsOf, whole }
