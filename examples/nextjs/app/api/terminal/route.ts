// Opens a terminal, and tells what it shows: the events `open` with its id, `data`, and `exit`. It lives as long as this
// response is read.

import { eventStream } from '@/lib/events'
import { Refusal } from '@/lib/refusal'
import { visitorRoute } from '@/lib/route'

/** Terminals of one visitor. */
const MOST = 4
/** Characters that may wait for a slow client. What comes beyond them is left out. */
const WAITING = 2 ** 20
/** The directory, in green. */
const PROMPT = '\\[\\e[32m\\]\\w\\[\\e[0m\\] \\$ '

export const POST = visitorRoute(async ({ request, body, sandbox }) => {
  if ((await sandbox.terminal.list()).length >= MOST)
    throw new Refusal(429, `There are ${MOST} terminals already.`)
  // What is no size is refused there.
  const { cols, rows } = body as { cols?: number; rows?: number }
  const terminal = await sandbox.terminal.create({ cols, rows, env: { PS1: PROMPT } })
  return eventStream(request, async (tell, gone) => {
    try {
      await tell('open', { id: terminal.id })
      const exitCode = await new Promise<number | undefined>((resolve) => {
        gone.addEventListener('abort', () => resolve(undefined), { once: true })
        if (gone.aborted) resolve(undefined)
        const decoder = new TextDecoder()
        let waiting = 0
        terminal.onData = (data) => {
          const text = decoder.decode(data, { stream: true })
          if (waiting > WAITING) return
          waiting += text.length
          tell('data', { text }).then(
            () => {
              waiting -= text.length
            },
            () => resolve(undefined),
          )
        }
        terminal.onExit = resolve
      })
      if (exitCode !== undefined) await tell('exit', { exitCode })
    } finally {
      await terminal.kill()
    }
  })
})
