'use strict'
// Streams that go into a sandbox: as a command's input, as the content of a file.

const { isUint8Array } = require('node:util').types

const { isRecord } = require('./calls.js')
const { InvalidArgumentError } = require('./errors.js')

/**
 * A stream as the native half takes it: `next` gives the next piece, `null` at the end, and `close` lets go of what
 * has not come to its end, as `for await` would. Undefined for a value that is no stream.
 */
function pulled(name, value, place) {
  const refuse = (what) => new InvalidArgumentError(`\`${name}\` ${what}`, place)
  // A function is what the native half gets in a stream's place.
  if (typeof value === 'function') throw refuse('must be a string, a Uint8Array or a stream, got a function')
  if (!isRecord(value) || isUint8Array(value)) return undefined
  if (typeof value.getReader === 'function' && value.locked) {
    throw refuse('is a stream that somebody else reads')
  }
  const pieces = piecesOf(value)
  if (!pieces) return undefined
  let over = false
  // Asked for at once: a failure of a stream of Node's that nobody has asked yet would end the process.
  let first = (async () => pieces.next())()
  first.catch(() => {})
  const next = async () => {
    try {
      const { done, value: piece } = await (first ?? pieces.next())
      first = undefined
      over = done === true
      if (over) pieces.release?.()
      else if (typeof piece === 'string' || isUint8Array(piece)) return piece
    } catch (error) {
      over = true
      pieces.release?.()
      throw error
    }
    if (over) return null
    throw refuse('gave something that is neither a string nor a Uint8Array')
  }
  const close = async () => {
    if (over) return
    over = true
    try {
      await pieces.close()
    } catch {
      // The call is over: what its source fails with now is nobody's business.
    }
  }
  return { next, close }
}

/** What gives the pieces of a blob, a web stream or an async iterable, if it is one. */
function piecesOf(value) {
  if (isBlob(value)) return ofStream(value.stream())
  if (typeof value.getReader === 'function') return ofStream(value)
  if (typeof value[Symbol.asyncIterator] !== 'function') return undefined
  const iterator = value[Symbol.asyncIterator]()
  return {
    next: () => iterator.next(),
    close: () => {
      // A stream of Node that is being waited for would hear of `return` after its next piece only.
      if (typeof value.destroy === 'function') value.destroy()
      return iterator.return?.()
    },
  }
}

/** Through its reader: an iterator of it would be closed after its next piece only. */
function ofStream(stream) {
  const reader = stream.getReader()
  const release = () => reader.releaseLock()
  return { next: () => reader.read(), close: () => reader.cancel().finally(release), release }
}

function isBlob(value) {
  return typeof value.stream === 'function' && typeof value.arrayBuffer === 'function'
}

/** Bytes that are worth a crossing to the native half. */
const ENOUGH = 256 * 1024

/** Gives many small pieces as one. They are copied at once, because their source may use its array again. */
function gathered(next) {
  let buffer
  let held
  return async () => {
    for (let used = 0; ; ) {
      const piece = held === undefined ? await next() : held
      held = undefined
      const bytes = typeof piece === 'string' ? Buffer.from(piece) : piece
      if (bytes !== null && bytes.length <= ENOUGH - used) {
        buffer ??= Buffer.allocUnsafeSlow(ENOUGH)
        buffer.set(bytes, used)
        used += bytes.length
      } else if (used > 0) {
        held = bytes
        return buffer.subarray(0, used)
      } else {
        return bytes
      }
    }
  }
}

/** Puts such a function in the place of a stream that is among the options as `stdin`. `where` is told by errors. */
function withPulledInput(args, where) {
  const at = args.findIndex((argument) => isRecord(argument) && argument.stdin !== undefined)
  if (at < 0) return { given: args }
  const source = pulled('stdin', args[at].stdin, where)
  if (!source) return { given: args }
  const given = [...args]
  given[at] = { ...args[at], stdin: source.next }
  return { given, close: source.close }
}

module.exports = { gathered, pulled, withPulledInput }
