// What the routes beside the handler of computesdk have in common with it: who may ask, and how much.

import type { Sandbox } from 'computesdk'
import { answered, refusal } from './refusal'
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
      if (name === undefined) throw refusal(401, 'Who are you? POST /api/sandbox comes first.')
      const body = await bodyOf(request)
      return await answer({ request, body, sandbox: await sandboxOf(name) }, context)
    })
  }
}

/** Refuses what a page of another site has sent. Browsers say so in a header that pages cannot write. */
export function checkOrigin({ headers }: Request): void {
  const site = headers.get('sec-fetch-site')
  const origin = headers.get('origin')
  const host = headers.get('x-forwarded-host') ?? headers.get('host')
  const isForeign =
    (site !== null && site !== 'same-origin') ||
    (origin !== null && (!URL.canParse(origin) || new URL(origin).host !== host))
  if (isForeign) throw refusal(403, 'Pages of other sites may not ask.')
}

async function bodyOf(request: Request): Promise<Record<string, unknown>> {
  if (request.headers.get('content-type')?.split(';')[0] !== 'application/json') {
    throw refusal(415, 'The body must be application/json.')
  }
  // Browsers say it, and Node.js reads no more than was said.
  const length = request.headers.get('content-length')
  if (length === null || Number(length) > MOST)
    throw refusal(413, `The body must say that it has at most ${MOST} bytes.`)
  const body: unknown = await request.json().catch(() => undefined)
  if (typeof body !== 'object' || body === null || Array.isArray(body)) {
    throw refusal(400, 'The body must be a JSON object.')
  }
  return body as Record<string, unknown>
}
