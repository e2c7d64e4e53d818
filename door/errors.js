'use strict'
// The error classes. Rust rejects with a plain error whose cause tells what it is; `fromNative` makes the
// real one of it, here, because only an error that is made in JavaScript has the caller's stack.

const BRANDS = Symbol.for('computesdk.error')

/** Whether a value is an error of ours, whichever copy of this file made it. */
function isBranded(value, name) {
  return typeof value === 'object' && value !== null && value[BRANDS]?.includes?.(name) === true
}

class ComputeError extends Error {
  static brand = 'ComputeError'
  static code = 'INTERNAL'

  constructor(message, details = {}) {
    super(message, details.cause === undefined ? undefined : { cause: details.cause })
    const brands = []
    for (let type = new.target; type?.brand; type = Object.getPrototypeOf(type)) brands.push(type.brand)
    hidden(this, BRANDS, brands)
    hidden(this, 'name', new.target.brand)
    this.code = details.code ?? new.target.code
    this.provider = details.provider ?? undefined
    this.sandboxId = details.sandboxId ?? undefined
    this.operation = details.operation ?? undefined
    this.retryable = details.retryable ?? false
    this.hint = details.hint ?? undefined
    // Only what a server has answered has these.
    for (const key of ['status', 'requestId']) {
      if (details[key] !== undefined && details[key] !== null) this[key] = details[key]
    }
    // What a command had written when it failed.
    if (details.result) this.result = details.result
  }

  // Two copies of this file in one process, as bundlers make them, have two classes of each name.
  static [Symbol.hasInstance](value) {
    if (Function.prototype[Symbol.hasInstance].call(this, value)) return true
    return Object.hasOwn(this, 'brand') && isBranded(value, this.brand)
  }
}

function hidden(object, key, value) {
  Object.defineProperty(object, key, { value, writable: true, configurable: true })
}

class AbortError extends ComputeError {
  static brand = 'AbortError'
  static code = 'ABORTED'
}

class AlreadyExistsError extends ComputeError {
  static brand = 'AlreadyExistsError'
  static code = 'ALREADY_EXISTS'
}

class AuthenticationError extends ComputeError {
  static brand = 'AuthenticationError'
  static code = 'UNAUTHENTICATED'
}

class CodeSyntaxError extends ComputeError {
  static brand = 'CodeSyntaxError'
  static code = 'CODE_SYNTAX'
  constructor(message, details = {}) {
    super(message, details)
    this.stdout = details.result?.stdout ?? ''
    this.stderr = details.result?.stderr ?? ''
    this.exitCode = details.result?.exitCode ?? 1
  }
}

class CommandExitError extends ComputeError {
  static brand = 'CommandExitError'
  static code = 'COMMAND_EXIT'
  constructor(result, details = {}) {
    super(`Command exited with code ${result?.exitCode}`, details)
    this.result = { ...result }
  }
}

class InvalidArgumentError extends ComputeError {
  static brand = 'InvalidArgumentError'
  static code = 'INVALID_ARGUMENT'
}

class NotFoundError extends ComputeError {
  static brand = 'NotFoundError'
  static code = 'NOT_FOUND'
}

class PermissionDeniedError extends ComputeError {
  static brand = 'PermissionDeniedError'
  static code = 'PERMISSION_DENIED'
}

class QuotaExceededError extends ComputeError {
  static brand = 'QuotaExceededError'
  static code = 'QUOTA_EXCEEDED'
}

class RateLimitError extends ComputeError {
  static brand = 'RateLimitError'
  static code = 'RATE_LIMITED'
  constructor(message, details = {}) {
    super(message, details)
    if (details.retryAfterMs !== undefined && details.retryAfterMs !== null) {
      this.retryAfterMs = details.retryAfterMs
    }
  }
}

class TimeoutError extends ComputeError {
  static brand = 'TimeoutError'
  static code = 'TIMEOUT'
}

class UnavailableError extends ComputeError {
  static brand = 'UnavailableError'
  static code = 'UNAVAILABLE'
}

class UnsupportedError extends ComputeError {
  static brand = 'UnsupportedError'
  static code = 'UNSUPPORTED'
}

const CLASSES = [
  AbortError,
  AlreadyExistsError,
  AuthenticationError,
  CodeSyntaxError,
  CommandExitError,
  ComputeError,
  InvalidArgumentError,
  NotFoundError,
  PermissionDeniedError,
  QuotaExceededError,
  RateLimitError,
  TimeoutError,
  UnavailableError,
  UnsupportedError,
]
const BY_CODE = new Map(CLASSES.map((type) => [type.code, type]))

const RAISED = Symbol.for('computesdk.raised')

/**
 * What to reject the native half's call of a plug-in with. It sees no more of an error than the message, so that of one
 * of ours begins with its class there; it comes out as it went in.
 */
function toNative(error) {
  if (!isBranded(error, ComputeError.brand)) return error
  const raised = new Error(`${error.name}: ${error.message}`)
  hidden(raised, RAISED, error)
  return raised
}

/**
 * The error to throw for one that Rust rejected with. Anything else, such as an exception of the user's own
 * callback, is what it was. Where it happened is told, where Rust did not get as far as to say it; `reason` is
 * that of the AbortSignal.
 */
function fromNative(error, { operation, provider, sandboxId, reason } = {}) {
  if (error instanceof Error && Object.hasOwn(error, RAISED)) return error[RAISED]
  const details = detailsOf(error)
  if (!details) return error
  const { kind, result, ...rest } = details
  rest.operation ??= operation
  rest.provider ??= provider
  rest.sandboxId ??= sandboxId
  if (rest.cause) rest.cause = new Error(rest.cause)
  else delete rest.cause
  const type = BY_CODE.get(kind) ?? ComputeError
  if (type === CommandExitError) return new CommandExitError(result, rest)
  if (type === AbortError && reason !== undefined) rest.cause = reason
  return new type(error.message, { ...rest, result })
}

/** An error of ours that names the lines of its caller, though nobody was waiting. */
function calledBy(error, { stack }) {
  const lines = stack.indexOf('\n')
  if (error instanceof ComputeError && lines > 0) error.stack = `${error}${stack.slice(lines)}`
  return error
}

function detailsOf(error) {
  if (!(error instanceof Error) || !(error.cause instanceof Error)) return undefined
  try {
    const details = JSON.parse(error.cause.message)
    return typeof details?.kind === 'string' ? details : undefined
  } catch {
    return undefined
  }
}

/** Whether a value looks like a `CommandExitError`, by its shape: also one of another package. */
function isCommandExitError(value) {
  return (
    value instanceof Error && value.name === 'CommandExitError' && typeof value.result?.exitCode === 'number'
  )
}

module.exports.calledBy = calledBy
module.exports.fromNative = fromNative
module.exports.toNative = toNative
module.exports.isCommandExitError = isCommandExitError
module.exports.AbortError = AbortError
module.exports.AlreadyExistsError = AlreadyExistsError
module.exports.AuthenticationError = AuthenticationError
module.exports.CodeSyntaxError = CodeSyntaxError
module.exports.CommandExitError = CommandExitError
module.exports.ComputeError = ComputeError
module.exports.InvalidArgumentError = InvalidArgumentError
module.exports.NotFoundError = NotFoundError
module.exports.PermissionDeniedError = PermissionDeniedError
module.exports.QuotaExceededError = QuotaExceededError
module.exports.RateLimitError = RateLimitError
module.exports.TimeoutError = TimeoutError
module.exports.UnavailableError = UnavailableError
module.exports.UnsupportedError = UnsupportedError
