// The first thing that the page asks for: a sandbox for its visitor, who gets a cookie if they have none.

import { answered } from '@/lib/refusal'
import { checkOrigin } from '@/lib/route'
import { sandboxOf } from '@/lib/sandbox'
import { newVisitor, visitor } from '@/lib/visitor'

export async function POST(request: Request) {
  return await answered(async () => {
    checkOrigin(request)
    const sandbox = await sandboxOf((await visitor()) ?? (await newVisitor()))
    const { expiresAt } = await sandbox.getInfo()
    return Response.json({ success: true, sandboxId: sandbox.sandboxId, expiresAt })
  })
}
