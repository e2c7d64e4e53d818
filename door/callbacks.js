'use strict'
// What the request handler asks its owner, and tells.

const { isRecord } = require('./calls.js')
const { InvalidArgumentError, fromNative } = require('./errors.js')

/**
 * What the native half asks whether something may be done. What a callback threw is kept as it was, and so is the
 * response of a refusal.
 */
function gate(request, { authorize, onAction }, where) {
  const heard = { thrown: [], response: undefined }
  if (authorize === undefined && onAction === undefined) return { heard }
  const admit = async (action, sandboxId) => {
    try {
      const said = authorize === undefined || (await authorize(request, action, sandboxId ?? undefined))
      if (isResponse(said)) {
        heard.response = said
        return false
      }
      const admitted = admission(said, where)
      if (admitted !== false) await onAction?.(action, sandboxId ?? undefined)
      return admitted
    } catch (error) {
      heard.thrown.push(error)
      throw new Error('a callback failed')
    }
  }
  return { admit, heard }
}

/** What `authorize` has said: yes, no, or the name of an owner. Nothing is no. */
function admission(said, where) {
  // Names that differ in halves of characters only would become one.
  if (typeof said === 'string' && !said.isWellFormed()) {
    throw new InvalidArgumentError('`authorize` gave the name of an owner that is no Unicode', where)
  }
  if (typeof said === 'boolean' || typeof said === 'string') return said === '' ? false : said
  if (said === undefined || said === null) return false
  throw new InvalidArgumentError(
    `\`authorize\` must give a boolean, the name of an owner, or a Response, got ${typeof said}`,
    where,
  )
}

/** Whether something is a `Response`, of this realm or another's. */
function isResponse(value) {
  return isRecord(value) && typeof value.status === 'number' && typeof value.headers?.get === 'function'
}

/** Tells what has come of a request, and what the answer leaves out. Whether that went well. */
async function tell(answer, { onAnswer, onError }, { begun, thrown, where }) {
  const { action, sandboxId, owner, status, failure } = answer
  const durationMs = Math.max(1, Math.round(performance.now() - begun))
  const told = [
    await works('onError', async () => {
      if (failure !== undefined) await onError?.(thrown.length > 0 ? thrown[0] : fromNative(failure, where))
    }),
    await works('onAnswer', () => onAnswer?.({ action, sandboxId, owner, status, durationMs })),
  ]
  return told.every((well) => well)
}

async function works(name, callback) {
  try {
    await callback()
    return true
  } catch (error) {
    process.emitWarning(`\`${name}\` of handleComputeRequest failed: ${error?.stack ?? error}`, {
      code: name === 'onError' ? 'COMPUTESDK_ON_ERROR' : 'COMPUTESDK_ON_ANSWER',
    })
    return false
  }
}

module.exports = { gate, tell }
