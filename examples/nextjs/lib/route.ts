// What all routes for visitors have in common: who may ask, how much, and what becomes of failures.

import type { Sandbox } from 'computesdk'
import { Refusal, told } from './refusal'
import { sandboxOf } from './sandbox'
import { visitor } from './visitor'

/** Bytes of a request. */
const MOST = 256 * 1024

export interface Asked {
  request: Request
  /** The JSON object that was sent. What is in it is the visitor's: look before you use it. */
  body: Record<string, unknown>
  /** The visitor's own. */
  sandbox: Sandbox
}

/** A route for visitors who have a sandbox. */
export function visitorRoute<Context>(answer: (asked: Asked, context: Context) => Promise<Response>) {
  return async (request: Request, context: Context): Promise<Response> => {
    return await answered(async () => {
      checkOrigin(request)
      const name = await visitor()
      if (name === undefined) throw new Refusal(401, 'Who are you? POST /api/sandbox comes first.')
      const body = await bodyOf(request)
      return await answer({ request, body, sandbox: await sandboxOf(name) }, context)
    })
  }
}

/** The response, or what is told of a failure. */
export async function answered(answer: () => Promise<Response>): Promise<Response> {
  try {
    return await answer()
  } catch (error) {
    const failure = told(error)
    return Response.json(failure, { status: failure.status })
  }
}

/** Refuses what a page of another site has sent. Browsers say so in a header that pages cannot write. */
export function checkOrigin(request: Request): void {
  const site = request.headers.get('sec-fetch-site')
  const origin = request.headers.get('origin')
  const host = request.headers.get('x-forwarded-host') ?? request.headers.get('host')
  const isForeign =
    (site !== null && site !== 'same-origin') ||
    (origin !== null && (!URL.canParse(origin) || new URL(origin).host !== host))
  if (isForeign) throw new Refusal(403, 'Pages of other sites may not ask.')
}

async function bodyOf(request: Request): Promise<Record<string, unknown>> {
  if (request.headers.get('content-type')?.split(';')[0] !== 'application/json') {
    throw new Refusal(415, 'The body must be application/json.')
  }
  const decoder = new TextDecoder()
  let text = ''
  let length = 0
  for await (const piece of request.body ?? []) {
    length += piece.length
    if (length > MOST) throw new Refusal(413, `The body may have ${MOST} bytes.`)
    text += decoder.decode(piece, { stream: true })
  }
  const body = parsed(text + decoder.decode())
  if (typeof body !== 'object' || body === null || Array.isArray(body)) {
    throw new Refusal(400, 'The body must be a JSON object.')
  }
  return body as Record<string, unknown>
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    throw new Refusal(400, 'The body is no JSON.')
  }
}
