// Opens a terminal, and tells what it shows: the events `open` with its id, `data`, and `exit`. It lives as long as this
// response is read.

import { eventStream } from '@/lib/events'
import { Latest } from '@/lib/latest'
import { Refusal } from '@/lib/refusal'
import { visitorRoute } from '@/lib/route'

/** Terminals of one visitor. */
const MOST = 4
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
      // A terminal does not wait for whoever looks at it.
      const shown = new Latest((text) => tell('data', { text }))
      const exitCode = await new Promise<number | undefined>((resolve) => {
        gone.addEventListener('abort', () => resolve(undefined), { once: true })
        if (gone.aborted) resolve(undefined)
        const decoder = new TextDecoder()
        terminal.onData = (data) => {
          shown.add(decoder.decode(data, { stream: true })).catch(() => resolve(undefined))
        }
        terminal.onExit = resolve
      })
      await shown.add('')
      if (exitCode !== undefined) await tell('exit', { exitCode })
    } finally {
      await terminal.kill()
    }
  })
})
