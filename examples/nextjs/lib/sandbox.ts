// Each visitor has one sandbox. Its id is the visitor's name, so it is found again without anything being kept here, and
// no request can name another one.

import { AlreadyExistsError, local, type Sandbox } from 'computesdk'
import { refusal } from './refusal'

export const provider = local()

/** How long a sandbox lives, in ms. It ends by itself, whatever its visitor does. */
const LIFE = 10 * 60_000
/** How many sandboxes there may be at once, of all visitors. */
const MOST = 50
const MiB = 2 ** 20

/** The sandbox of a visitor: the one that there is, or else a new one. */
export async function sandboxOf(visitor: string): Promise<Sandbox> {
  return (await provider.sandbox.getById(visitor)) ?? (await newSandbox(visitor))
}

async function newSandbox(visitor: string): Promise<Sandbox> {
  const all = await provider.sandbox.list()
  if (all.length >= MOST) throw refusal(503, 'All sandboxes are taken. Please try again in a few minutes.')
  try {
    return await provider.sandbox.create({
      sandboxId: visitor,
      // By this the handler knows whose it is.
      metadata: { 'computesdk.owner': visitor },
      timeout: LIFE,
      network: 'none',
      resources: { memory: 512 * MiB, disk: 128 * MiB, processes: 64 },
    })
  } catch (error) {
    const found = error instanceof AlreadyExistsError && (await provider.sandbox.getById(visitor))
    // Another request of the same visitor was faster.
    if (found) return found
    throw error
  }
}
