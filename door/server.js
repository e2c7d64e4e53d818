'use strict'
// Handlers of Web requests for servers that have Node's own: node:http, Express, Fastify and what is made of them.

const { Readable } = require('node:stream')
const { finished, pipeline } = require('node:stream/promises')

const { InvalidArgumentError } = require('./errors.js')
const { inJson } = require('./incoming.js')

const where = { operation: 'toNodeHandler' }

/** What no Web request can have as its method. */
const FORBIDDEN = ['CONNECT', 'TRACE', 'TRACK']

/** How long what is left of a body is read after the answer, in ms. */
const LINGER = 2000

/**
 * Makes of `(request: Request) => Promise<Response>` what a server of Node's calls with its own request and response. A
 * client that hangs up before it has all of that aborts the request's `signal`, and so does an answer of somebody else's.
 */
function toNodeHandler(handler) {
  if (typeof handler !== 'function') {
    throw new InvalidArgumentError('`handler` must be a function', {
      ...where,
      hint: 'give what createComputeHandler makes',
    })
  }
  return async (request, reply, next) => {
    // Fastify has its own around Node's.
    const [incoming, outgoing] = [request.raw ?? request, reply.raw ?? reply]
    const gone = new AbortController()
    let isOurs = false
    const closed = () => (isOurs && outgoing.writableFinished) || gone.abort()
    if (outgoing.destroyed) closed()
    else outgoing.once('close', closed)
    try {
      const asked = webRequest(incoming, request, gone.signal)
      const response = asked === undefined ? undecipherable(incoming) : await handler(asked)
      // Somebody else may have answered meanwhile: a limit of time that the server has for its handlers.
      if (outgoing.headersSent || outgoing.destroyed) return void (await response.body?.cancel())
      isOurs = true
      if (typeof reply.hijack === 'function') take(reply, outgoing)
      await send(response, incoming, outgoing)
    } catch (error) {
      if (gone.signal.aborted || outgoing.destroyed) return
      if (typeof next === 'function') return next(error)
      if (typeof reply.hijack === 'function' && !reply.sent) throw error
      fail(error, outgoing)
    }
  }
}

/**
 * Takes an answer out of Fastify's hands, with the headers of its hooks: its limit of time would cut a stream off. Until
 * then Fastify answers for errors.
 */
function take(reply, outgoing) {
  reply.hijack()
  for (const [name, value] of Object.entries(reply.getHeaders())) outgoing.setHeader(name, value)
}

/** A Web request like the one that came in; undefined if none can be. */
function webRequest(incoming, { body, originalUrl }, signal) {
  const { method, headers } = incoming
  const scheme = incoming.socket?.encrypted ? 'https' : 'http'
  const host = headers[':authority'] ?? headers.host ?? 'localhost'
  const init = { method, headers: new Headers(), signal, duplex: 'half' }
  const hasBody = method !== 'GET' && method !== 'HEAD'
  if (hasBody && incoming.readableDidRead) init.body = given(body)
  else if (hasBody) init.body = streamOf(incoming)
  try {
    for (const [name, value] of Object.entries(headers)) {
      if (!name.startsWith(':')) init.headers.append(name, String(value))
    }
    return new Request(`${scheme}://${host}${originalUrl ?? incoming.url}`, init)
  } catch {
    return undefined
  }
}

/** What a parser has made of the body: then there is nothing left to read. */
function given(body) {
  if (typeof body === 'string' || ArrayBuffer.isView(body)) return body
  const json = body === undefined ? undefined : inJson(body)
  if (json !== undefined) return json
  throw new InvalidArgumentError('the body of the request has been read, and is not in `body`', {
    ...where,
    hint: 'let nothing read it before, or a parser that leaves it in `request.body`, such as express.json()',
  })
}

/** What is read of a request as it comes. Cancelled, it is let be: to destroy it would take the answer's way. */
function streamOf(incoming) {
  let over = false
  return new ReadableStream(
    {
      start(controller) {
        const end = (how) => {
          if (!over) how()
          over = true
        }
        incoming.on('data', (piece) => {
          if (over) return
          controller.enqueue(new Uint8Array(piece))
          incoming.pause()
        })
        incoming.on('end', () => end(() => controller.close()))
        const broken = () => end(() => controller.error(new Error('the request broke off')))
        incoming.on('error', (error) => end(() => controller.error(error)))
        incoming.on('close', broken)
        // While something else came first, such as a look at who asks.
        if (incoming.destroyed) broken()
        incoming.pause()
      },
      pull: () => void incoming.resume(),
      cancel() {
        over = true
        incoming.pause()
      },
    },
    { highWaterMark: 0 },
  )
}

function undecipherable({ method }) {
  return new Response(null, { status: FORBIDDEN.includes(method) ? 501 : 400 })
}

async function send(response, incoming, outgoing) {
  outgoing.statusCode = response.status
  for (const [name, value] of response.headers) {
    outgoing.setHeader(name, name === 'set-cookie' ? response.headers.getSetCookie() : value)
  }
  const isLeft = !incoming.complete && incoming.httpVersionMajor === 1
  // What is left of a body that nobody wants would be taken for the next request.
  if (isLeft) outgoing.setHeader('connection', 'close')
  // What comes as it happens may not come for a while.
  outgoing.flushHeaders()
  if (response.body !== null) await pipeline(Readable.fromWeb(response.body), outgoing, { end: false })
  if (isLeft) await dropped(incoming)
  else incoming.resume()
  outgoing.end()
}

/** Lets the rest of a body go by for a while: whoever sends to a connection that is closed does not read the answer. */
async function dropped(incoming) {
  const over = finished(incoming, { writable: false, signal: AbortSignal.timeout(LINGER) })
  incoming.resume()
  await over.catch(() => {})
}

function fail(error, outgoing) {
  process.emitWarning(`a handler of requests failed: ${error?.stack ?? error}`, {
    code: 'COMPUTESDK_HANDLER',
  })
  if (outgoing.headersSent) return outgoing.destroy()
  outgoing.statusCode = 500
  outgoing.end()
}

module.exports = { toNodeHandler }
