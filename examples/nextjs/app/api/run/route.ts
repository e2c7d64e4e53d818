// Runs code, and tells its output as it comes: the events `stdout` and `stderr`, and at the end `result` or `error`.

import { eventStream } from '@/lib/events'
import { Refusal } from '@/lib/refusal'
import { visitorRoute } from '@/lib/route'

/** Of one run: how long it may take, in ms, and how many characters it may print. */
const LONGEST = 30_000
const MOST = 4 * 2 ** 20

export const POST = visitorRoute(async ({ request, body, sandbox }) => {
  const { code, runtime } = body
  if (typeof code !== 'string') throw new Refusal(400, '`code` must be a text.')
  if (runtime !== 'python' && runtime !== 'node')
    throw new Refusal(400, "`runtime` must be 'python' or 'node'.")
  return eventStream(request, async (tell, gone) => {
    let printed = 0
    const print = (stream: string) => async (text: string) => {
      printed += text.length
      if (printed > MOST) throw new Refusal(413, 'Stopped: that is more output than a page can show.')
      await tell(stream, { text })
    }
    const { exitCode, durationMs, timedOut, oomKilled } = await sandbox.runCode(code, runtime, {
      timeout: LONGEST,
      signal: gone,
      onStdout: print('stdout'),
      onStderr: print('stderr'),
      // The page has it already.
      maxOutput: 0,
    })
    await tell('result', { success: true, result: { exitCode, durationMs, timedOut, oomKilled } })
  })
})
