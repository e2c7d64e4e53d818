// What a terminal shows, as server-sent events: the handler of computesdk has none of terminals.

import type { Terminal } from 'computesdk'

export type TerminalEvent =
  | { event: 'open'; data: { id: string } }
  | { event: 'data'; data: { text: string } }
  | { event: 'exit'; data: { exitCode: number } }

/** Characters that wait for a client, since a terminal does not; of more than that, the latest. */
const MOST = 2 ** 20
/** How long nothing is sent before a line is that says nothing, in ms: what lies on the way closes silent connections. */
const SILENCE = 15_000

/** All that a terminal shows, to its end. It ends with whoever reads this. */
export function shown(terminal: Terminal): Response {
  const events = eventsOf(terminal)
  const encoder = new TextEncoder()
  const body = new ReadableStream<Uint8Array>(
    {
      async pull(controller) {
        const { value, done } = await events.next()
        if (done) controller.close()
        else controller.enqueue(encoder.encode(value))
      },
      cancel: () => terminal.kill(),
    },
    // What comes while nobody reads goes together.
    { highWaterMark: 0 },
  )
  // What compresses or buffers would keep it until it has enough.
  const headers = { 'cache-control': 'no-store, no-transform', 'x-accel-buffering': 'no' }
  return new Response(body, { headers: { 'content-type': 'text/event-stream', ...headers } })
}

async function* eventsOf(terminal: Terminal): AsyncGenerator<string> {
  const told = ({ event, data }: TerminalEvent) => `event: ${event}\ndata: ${JSON.stringify(data)}\n\n`
  const decoder = new TextDecoder()
  let text = ''
  let exitCode: number | undefined
  let wake = () => {}
  terminal.onData = (data) => {
    text += decoder.decode(data)
    if (text.length > 2 * MOST) text = text.slice(-MOST)
    wake()
  }
  terminal.onExit = (code) => {
    exitCode = code
    wake()
  }
  yield told({ event: 'open', data: { id: terminal.id } })
  while (text !== '' || exitCode === undefined) {
    if (text === '') {
      const woken = new Promise<void>((resolve) => {
        wake = resolve
      })
      const timer = setTimeout(wake, SILENCE)
      await woken
      clearTimeout(timer)
    }
    const data = { text }
    text = ''
    yield data.text === '' ? ': still here\n\n' : told({ event: 'data', data })
  }
  yield told({ event: 'exit', data: { exitCode } })
}
