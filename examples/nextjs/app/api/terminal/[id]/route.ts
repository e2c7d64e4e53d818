// Types into a terminal of the visitor's, or changes its size.

import { refusal } from '@/lib/refusal'
import { visitorRoute } from '@/lib/route'

interface Context {
  params: Promise<{ id: string }>
}

export const POST = visitorRoute<Context>(async ({ body, sandbox }, { params }) => {
  const terminal = await sandbox.terminal.getById((await params).id)
  if (terminal === null) throw refusal(404, 'There is no such terminal.')
  const { input, cols, rows } = body
  if (typeof input === 'string') await terminal.write(input)
  else if (typeof cols === 'number' && typeof rows === 'number') await terminal.resize(cols, rows)
  else throw refusal(400, 'Give `input`, or `cols` and `rows`.')
  return Response.json({ success: true })
})
