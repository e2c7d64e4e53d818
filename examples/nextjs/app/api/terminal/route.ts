// Opens a terminal, and tells what it shows. It lives as long as this response is read.

import { shown } from '@/lib/events'
import { refusal } from '@/lib/refusal'
import { visitorRoute } from '@/lib/route'

/** Terminals of one visitor. */
const MOST = 4
/** The directory, in green. */
const PROMPT = '\\[\\e[32m\\]\\w\\[\\e[0m\\] \\$ '

export const POST = visitorRoute(async ({ request, body, sandbox }) => {
  if ((await sandbox.terminal.list()).length >= MOST)
    throw refusal(429, `There are ${MOST} terminals already.`)
  // What is no size is refused there.
  const { cols, rows } = body as { cols?: number; rows?: number }
  const terminal = await sandbox.terminal.create({ cols, rows, env: { PS1: PROMPT } })
  const leave = () => void terminal.kill()
  request.signal.addEventListener('abort', leave, { once: true })
  if (request.signal.aborted) leave()
  return shown(terminal)
})
