'use strict'
// The request handler: a request becomes what the native half takes, and its answer a response. What is done and what
// is refused is decided there.

const { isRecord, listen, real } = require('./calls.js')
const { gate, tell } = require('./callbacks.js')
const { shared } = require('./compute.js')
const { InvalidArgumentError, fromNative } = require('./errors.js')
const { isWebRequest, ofObject, ofWeb } = require('./incoming.js')
const native = require('./load.js')
const { handleOf } = require('./plugin.js')

const where = { operation: 'handleComputeRequest' }

/** `({ request, provider, …options })` and `(request, provider, options)`. */
async function handleComputeRequest(...args) {
  const { request, provider, options } = asked(args)
  return handle(request, handlerOf(provider, options, where))
}

/** A handler of many requests. What is wrong with its options is said now, and not with the first of them. */
function createComputeHandler(options = {}) {
  const place = { operation: 'createComputeHandler' }
  if (!isRecord(options)) throw new InvalidArgumentError('`options` must be an object', place)
  const { provider, ...rest } = options
  const handler = handlerOf(provider, rest, place)
  // What calls it may give more: a route of Next.js has its parameters.
  const answer = async (request) => {
    if (isWebRequest(request)) return handle(request, handler)
    throw new InvalidArgumentError('`request` must be a Web Request', {
      ...place,
      hint: 'wrap the handler for node:http, Express and Fastify: toNodeHandler(handler)',
    })
  }
  return Object.assign(answer, { POST: answer, OPTIONS: answer })
}

function asked(args) {
  // One object alone is never a body: a client would give the options, too.
  const isList = args.length > 1 || isWebRequest(args[0])
  const [request, provider, options = {}] = isList ? args : listOf(args[0])
  if (request === undefined) {
    throw new InvalidArgumentError('`request` is missing', {
      ...where,
      hint: 'give a Request, or a parsed body: handleComputeRequest({ request: req.body }). Is there a parser of JSON, such as express.json()?',
    })
  }
  if (!isRecord(options)) throw new InvalidArgumentError('`options` must be an object', where)
  return { request, provider, options }
}

function listOf(params) {
  const { request, provider, ...options } = isRecord(params) ? params : {}
  return [request, provider, options]
}

/** The options that are JavaScript's, and what the native half makes of the others. */
function handlerOf(provider, { authorize, onAction, onAnswer, onError, ...policy }, place) {
  const callbacks = { authorize, onAction, onAnswer, onError }
  for (const [name, callback] of Object.entries(callbacks)) {
    if (callback !== undefined && typeof callback !== 'function') {
      throw new InvalidArgumentError(`\`${name}\` must be a function`, place)
    }
  }
  try {
    return { core: native.requestHandler(shared, handleOf(provider), policy), callbacks }
  } catch (error) {
    throw fromNative(error, place)
  }
}

async function handle(request, { core, callbacks }) {
  if (callbacks.authorize === undefined) warnOfOpenDoor()
  const begun = performance.now()
  const isWeb = isWebRequest(request)
  const token = native.cancellation()
  const release = isWeb && request.signal ? follow(request.signal, token) : () => {}
  let goesOn = false
  try {
    const read = isWeb ? await ofWeb(request, core, where) : ofObject(request, where)
    const { admit, heard } = gate(request, callbacks, where)
    const answer = await real(() => core.answer({ ...read, signal: token }, admit), where)
    const toldOf = (one) => tell(one, callbacks, { begun, thrown: heard.thrown, where })
    if (answer.events) {
      goesOn = true
      return responseOf(streamed(answer.events, toldOf, { token, release, signal: request.signal }), answer)
    }
    const refused = heard.response
    const final = (await toldOf(refused ? { ...answer, status: refused.status } : answer))
      ? answer
      : { ...native.failedAnswer(), headers: answer.headers }
    if (refused && final === answer) return refusal(refused, answer, isWeb)
    return isWeb ? responseOf(final.body ?? null, final) : JSON.parse(final.body)
  } finally {
    if (!goesOn) release()
  }
}

function responseOf(body, { status, headers }) {
  return new Response(body, { status, headers })
}

/** The response that `authorize` gave in place of ours; an object has its status. */
function refusal(response, answer, isWeb) {
  if (!isWeb) return { ...JSON.parse(answer.body), status: response.status }
  // Whether a page of another site may read it is not its affair.
  const headers = answer.headers.filter(([name]) => name === 'vary' || name.startsWith('access-control-'))
  return responseOf(response.body, { status: response.status, headers: [...response.headers, ...headers] })
}

/** The body of an answer that comes as it happens. Cancelled, what is done for it ends. */
function streamed(events, toldOf, { token, release, signal }) {
  const encoder = new TextEncoder()
  const over = () => {
    signal?.removeEventListener?.('abort', left)
    release()
  }
  // Where nobody reads any more, what has come of it is told all the same.
  const left = async () => {
    native.cancel(token)
    over()
    for (let event = await events.next(); event !== null; event = await events.next()) {
      if (event.last !== undefined) await toldOf(event.last)
    }
  }
  signal?.addEventListener?.('abort', left, { once: true })
  return new ReadableStream(
    {
      async pull(controller) {
        const event = await events.next()
        if (event === null) return controller.close()
        const wasTold = event.last === undefined || (await toldOf(event.last))
        const text = wasTold ? event.text : `event: error\ndata: ${native.failedAnswer().body}\n\n`
        controller.enqueue(encoder.encode(text))
        if (event.last === undefined) return
        over()
        controller.close()
      },
      cancel: () => void left(),
    },
    // Nothing is asked for before it is read: so what writes waits for who reads.
    { highWaterMark: 0 },
  )
}

function follow(signal, token) {
  if (signal.aborted) native.cancel(token)
  return listen(signal, token)
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

module.exports = { createComputeHandler, handleComputeRequest }
