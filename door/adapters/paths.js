'use strict'
// Paths of a sandbox, as frameworks give them: relative ones too.

const { posix } = require('node:path')

const { InvalidArgumentError, NotFoundError } = require('../errors.js')

/** Where commands start and relative paths begin, unless something else is said. */
const HOME = '/home/user'

/** A path, from `place` on if it is relative. */
function resolved(path, place = HOME) {
  if (typeof path !== 'string') throw new InvalidArgumentError(`a path must be a string, got ${typeof path}`)
  return posix.resolve(place, path)
}

/** Whether an error says that nothing is at a path. That the sandbox has ended is another matter. */
function isMissing(error) {
  return error instanceof NotFoundError && /^(File|Directory) not found: /.test(error.message)
}

module.exports = { HOME, isMissing, resolved }
