'use strict'
// The request handler: a request becomes what the native half takes, and its answer a response. What is done and what
// is refused is decided there.

const { isRecord, listen, real } = require('./calls.js')
const { shared } = require('./compute.js')
const { InvalidArgumentError, fromNative } = require('./errors.js')
const { pulled } = require('./input.js')
const native = require('./load.js')
const { handleOf } = require('./plugin.js')

const where = { operation: 'handleComputeRequest' }
const defaults = native.requestDefaults()

/** `({ request, provider, …options })` and `(request, provider, options)`. */
async function handleComputeRequest(...args) {
  const { request, provider, options } = asked(args)
  const { authorize, onAction, onError, ...policy } = options
  for (const [name, callback] of Object.entries({ authorize, onAction, onError })) {
    if (callback !== undefined && typeof callback !== 'function')
      throw refusal(`\`${name}\` must be a function`)
  }
  if (authorize === undefined) warnOfOpenDoor()
  const isWeb = isWebRequest(request)
  const { signal } = isWeb ? request : {}
  const token = native.cancellation()
  const release = signal && follow(signal, token)
  try {
    const read = isWeb ? await ofWeb(request, limitsOf(policy)) : ofObject(request)
    const { admit, thrown } = gate(request, authorize, onAction)
    const given = { ...read, signal: token }
    const answer = await real(
      () => native.handleRequest(shared, handleOf(provider), given, policy, admit),
      where,
    )
    const told = await tell(answer, onError, thrown)
    return isWeb ? new Response(told.body ?? null, told) : JSON.parse(told.body)
  } finally {
    release?.()
  }
}

function asked(args) {
  // One object alone is never a body: a client would give the options, too.
  const isList = args.length > 1 || isWebRequest(args[0])
  const [request, provider, options = {}] = isList ? args : listOf(args[0])
  if (request === undefined) {
    throw refusal('`request` is missing', {
      hint: 'give a Request, or a parsed body: handleComputeRequest({ request: req.body }). Is there a parser of JSON, such as express.json()?',
    })
  }
  if (!isRecord(options)) throw refusal('`options` must be an object')
  return { request, provider, options }
}

function listOf(params) {
  const { request, provider, ...options } = isRecord(params) ? params : {}
  return [request, provider, options]
}

function refusal(message, details) {
  return new InvalidArgumentError(message, { ...where, ...details })
}

/** Whether something is a `Request`, of this realm or another's, or one of a library. */
function isWebRequest(value) {
  return (
    isRecord(value) &&
    typeof value.headers?.get === 'function' &&
    typeof value.method === 'string' &&
    typeof value.json === 'function'
  )
}

function follow(signal, token) {
  if (signal.aborted) native.cancel(token)
  return listen(signal, token)
}

/** The limits of reading. What is wrong with them is said when they are taken. */
function limitsOf({ limits }) {
  const { body = defaults.body, action = defaults.action } = limits ?? {}
  return { most: body, within: action }
}

/** A parsed body, in JSON. */
function ofObject(request) {
  let body
  try {
    body = JSON.stringify(request)
  } catch (error) {
    // Nested too deeply: that may be a client's doing. A circle is not.
    if (error instanceof RangeError) return { body: '' }
  }
  if (body === undefined) {
    throw refusal('`request` is neither a Request nor a parsed body', {
      hint: 'give the parsed body, such as `req.body`, not the request of a framework',
    })
  }
  return { body }
}

async function ofWeb(request, limits) {
  const header = (name) => request.headers.get(name) ?? undefined
  const head = {
    method: request.method,
    urlHost: URL.canParse(request.url) ? new URL(request.url).host : undefined,
    host: header('host'),
    forwardedHost: header('x-forwarded-host'),
    origin: header('origin'),
    fetchSite: header('sec-fetch-site'),
    contentType: header('content-type'),
    askedMethod: header('access-control-request-method'),
    askedHeaders: header('access-control-request-headers'),
  }
  if (request.method !== 'POST') return { head }
  if (request.bodyUsed) {
    throw refusal('the body of `request` has been read already', {
      hint: 'give what was read of it as `request`, or a clone of the request',
    })
  }
  return { head, ...(await bodyOf(request, limits)) }
}

/** The body as far as it may be read, or why it was not read to its end. */
async function bodyOf(request, { most, within }) {
  // Requests of some libraries have no stream.
  const source = request.body === undefined ? new Blob([await request.text()]) : request.body
  const stream = pulled('body', source ?? new Blob(), where)
  let timer
  let left
  const unread = new Promise((resolve) => {
    timer = setTimeout(resolve, Math.min(within, 2 ** 31 - 1), 'late')
    left = () => resolve('broken')
    request.signal?.addEventListener?.('abort', left, { once: true })
    if (request.signal?.aborted) left()
  })
  try {
    const read = await Promise.race([collected(stream, most), unread])
    return typeof read === 'string' ? { unread: read } : { body: read }
  } catch {
    return { unread: 'broken' }
  } finally {
    clearTimeout(timer)
    request.signal?.removeEventListener?.('abort', left)
    void stream.close()
  }
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

/** What the native half asks whether something may be done. What a callback threw is kept as it was. */
function gate(request, authorize, onAction) {
  const thrown = []
  if (authorize === undefined && onAction === undefined) return { thrown }
  const admit = async (action, sandboxId) => {
    try {
      const admitted = authorize === undefined || admission(await authorize(request, action))
      if (admitted !== false) await onAction?.(action, sandboxId ?? undefined)
      return admitted
    } catch (error) {
      thrown.push(error)
      throw new Error('a callback failed')
    }
  }
  return { admit, thrown }
}

/** What `authorize` has said: yes, no, or the name of an owner. Nothing is no. */
function admission(said) {
  if (typeof said === 'boolean' || typeof said === 'string') return said === '' ? false : said
  if (said === undefined || said === null) return false
  throw refusal(`\`authorize\` must give a boolean, or the name of an owner, got ${typeof said}`)
}

/** Tells `onError` what the answer leaves out. If that fails, the answer is that something has. */
async function tell(answer, onError, thrown) {
  if (answer.failure === undefined || onError === undefined) return answer
  try {
    await onError(thrown.length > 0 ? thrown[0] : fromNative(answer.failure, where))
    return answer
  } catch (error) {
    process.emitWarning(`\`onError\` of handleComputeRequest failed: ${error?.stack ?? error}`, {
      code: 'COMPUTESDK_ON_ERROR',
    })
    return { ...answer, status: defaults.status, body: defaults.failed }
  }
}

let warned = false

function warnOfOpenDoor() {
  if (warned || process.env.NODE_ENV !== 'production') return
  warned = true
  process.emitWarning(
    'handleComputeRequest runs code for whoever can reach it: there is no `authorize`. ' +
      'Add one: handleComputeRequest({ request, authorize: (request) => isSignedIn(request) })',
    { code: 'COMPUTESDK_NO_AUTHORIZE' },
  )
}

module.exports = { handleComputeRequest }
