'use strict'
// What comes in: Web requests and parsed bodies, as the native half takes them.

const { isRecord } = require('./calls.js')
const { InvalidArgumentError } = require('./errors.js')
const { pulled } = require('./input.js')
const { LONGEST } = require('./timers.js')

/** Whether something is a `Request`, of this realm or another's, or one of a library. */
function isWebRequest(value) {
  return (
    isRecord(value) &&
    typeof value.headers?.get === 'function' &&
    typeof value.method === 'string' &&
    typeof value.json === 'function'
  )
}

/** A parsed body, in JSON. */
function ofObject(request, where) {
  const body = inJson(request)
  if (body === undefined) {
    throw new InvalidArgumentError('`request` is neither a Request nor a parsed body', {
      ...where,
      hint: 'give the parsed body, such as `req.body`, not the request of a framework',
    })
  }
  return { body }
}

/** A value in JSON; undefined for what has no form in it. */
function inJson(value) {
  try {
    return JSON.stringify(value)
  } catch (error) {
    // Nested too deeply: that may be a client's doing. A circle is not.
    return error instanceof RangeError ? '' : undefined
  }
}

/** A Web request. `limits` are those of reading: `body` in bytes, `action` in ms. */
async function ofWeb(request, limits, where) {
  const header = (name) => request.headers.get(name) ?? undefined
  const head = {
    method: request.method,
    urlHost: URL.canParse(request.url) ? new URL(request.url).host : undefined,
    host: header('host'),
    forwardedHost: header('x-forwarded-host'),
    origin: header('origin'),
    fetchSite: header('sec-fetch-site'),
    contentType: header('content-type'),
    accept: header('accept'),
    askedMethod: header('access-control-request-method'),
    askedHeaders: header('access-control-request-headers'),
  }
  if (request.method !== 'POST') return { head }
  if (request.bodyUsed) {
    throw new InvalidArgumentError('the body of `request` has been read already', {
      ...where,
      hint: 'give what was read of it as `request`, or a clone of the request',
    })
  }
  return { head, ...(await bodyOf(request, limits, where)) }
}

/** The body as far as it may be read, or why it was not read to its end. */
async function bodyOf(request, limits, where) {
  const source = request.body === undefined ? textOf(request) : request.body
  const stream = pulled('body', source ?? new Blob(), where)
  let timer
  let left
  const unread = new Promise((resolve) => {
    timer = setTimeout(resolve, Math.min(limits.action, LONGEST), 'late')
    left = () => resolve('broken')
    request.signal?.addEventListener?.('abort', left, { once: true })
    if (request.signal?.aborted) left()
  })
  try {
    const read = await Promise.race([collected(stream, limits.body), unread])
    return typeof read === 'string' ? { unread: read } : { body: read }
  } catch {
    return { unread: 'broken' }
  } finally {
    clearTimeout(timer)
    request.signal?.removeEventListener?.('abort', left)
    void stream.close()
  }
}

/** The body of a request of a library that has no streams. */
async function* textOf(request) {
  yield await request.text()
}

/** All bytes of a stream, in one piece: many small ones would take far more memory than they hold. */
async function collected(stream, most) {
  let all = Buffer.alloc(0)
  let length = 0
  for (let piece = await stream.next(); piece !== null; piece = await stream.next()) {
    const bytes = typeof piece === 'string' ? Buffer.from(piece) : piece
    if (length + bytes.length > most) return 'too-large'
    if (length + bytes.length > all.length) {
      const larger = Buffer.alloc(Math.min(most, Math.max(2 * all.length, length + bytes.length, 4096)))
      larger.set(all.subarray(0, length))
      all = larger
    }
    all.set(bytes, length)
    length += bytes.length
  }
  return all.subarray(0, length)
}

module.exports = { inJson, isWebRequest, ofObject, ofWeb }
