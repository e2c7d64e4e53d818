// The handler of computesdk, for whatever needs no stream: the page reads directories and files with it.

import { handleComputeRequest } from 'computesdk'
import { provider } from '@/lib/sandbox'
import { visitor } from '@/lib/visitor'

export async function POST(request: Request) {
  const owner = await visitor()
  return handleComputeRequest({
    request,
    provider,
    authorize: () => owner ?? false,
    // Sandboxes are made by /api/sandbox, which counts them.
    allowedActions: [
      'compute.sandbox.getInfo',
      'compute.sandbox.runCode',
      'compute.sandbox.runCommand',
      'compute.sandbox.filesystem.readdir',
      'compute.sandbox.filesystem.readFile',
      'compute.sandbox.filesystem.writeFile',
    ],
  })
}
