'use strict'
// Streams that go into a sandbox.

const { isRecord } = require('./calls.js')
const { InvalidArgumentError } = require('./errors.js')

/**
 * Gives a stream that is a command's input as a function that is asked for the next piece. It is closed when
 * the call is over, as `for await` would close it. `where` is told by errors.
 */
function withPulledInput(args, where) {
  if (args.some((argument) => isRecord(argument) && typeof argument.stdin === 'function')) {
    throw new InvalidArgumentError(
      '`stdin` must be a string, a Uint8Array or a stream, got a function',
      where,
    )
  }
  const at = args.findIndex((argument) => isRecord(argument) && isPulled(argument.stdin))
  if (at < 0) return { given: args }
  const pieces = args[at].stdin[Symbol.asyncIterator]()
  const next = async () => {
    const { done, value } = await pieces.next()
    if (done) return null
    if (typeof value === 'string') return new TextEncoder().encode(value)
    if (value instanceof Uint8Array) return value
    throw new InvalidArgumentError('`stdin` gave something that is neither a string nor a Uint8Array', where)
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

module.exports = { withPulledInput }
