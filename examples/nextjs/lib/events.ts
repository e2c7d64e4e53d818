// Responses that come as something happens: server-sent events, as `handleComputeRequest` sends them.

import { told } from './refusal'

/** Sends an event. It is over when the client has taken it, and fails when there is no client any more. */
export type Tell = (name: string, data: unknown) => Promise<void>

/** How often a line goes out that says nothing, in ms: what lies on the way closes connections that are silent. */
const SILENCE = 15_000

/**
 * The events that `work` tells. `gone` is aborted when the client goes. What `work` fails with is the last event, `error`.
 */
export function eventStream(
  request: Request,
  work: (tell: Tell, gone: AbortSignal) => Promise<void>,
): Response {
  const { readable, writable } = new TransformStream<Uint8Array, Uint8Array>()
  const writer = writable.getWriter()
  const encoder = new TextEncoder()
  const gone = new AbortController()
  const leave = () => gone.abort()
  request.signal.addEventListener('abort', leave, { once: true })
  writer.closed.catch(leave)

  const send = (text: string) => writer.write(encoder.encode(text))
  const tell: Tell = (name, data) => send(`event: ${name}\ndata: ${JSON.stringify(data)}\n\n`)
  const alive = setInterval(() => {
    if ((writer.desiredSize ?? 0) > 0) send(': still here\n\n').catch(leave)
  }, SILENCE)

  // The head of the response goes out with the first of its body.
  send(': begun\n\n').catch(leave)
  void work(tell, gone.signal)
    .catch(async (error) => {
      if (!gone.signal.aborted) await tell('error', told(error))
    })
    .then(() => writer.close())
    // Whoever would be told has gone.
    .catch(leave)
    .finally(() => clearInterval(alive))

  return new Response(readable, {
    headers: {
      'content-type': 'text/event-stream',
      // What compresses or buffers would keep it until it has enough.
      'cache-control': 'no-store, no-transform',
      'x-accel-buffering': 'no',
    },
  })
}
