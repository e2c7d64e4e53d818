// The handler of computesdk: it runs code, and tells its output as it comes, and reads directories and files.

import { createComputeHandler } from 'computesdk'
import { provider } from '@/lib/sandbox'
import { visitor } from '@/lib/visitor'

export const { POST } = createComputeHandler({
  provider,
  // The name of its owner; nobody else sees a sandbox.
  authorize: () => visitor(),
  // What the page asks for. Sandboxes are made by /api/sandbox, which counts them.
  allowedActions: [
    'compute.sandbox.runCode',
    'compute.sandbox.filesystem.readdir',
    'compute.sandbox.filesystem.readFile',
  ],
  // Of a run: how long it may take, in ms, and how many bytes of each stream a page shows.
  limits: { action: 30_000, output: 200_000 },
})
