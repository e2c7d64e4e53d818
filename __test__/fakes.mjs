// Servers of other people, for tests: on this machine, and gone when the test is.

import { after } from 'node:test'

import { KEY, start } from '../tests/fakes/e2b/start.mjs'

export { KEY }

/** Keys that the fakes do not take: nobody's, and that of somebody who may do nothing. */
export const UNKNOWN_KEY = `e2b_${'0'.repeat(37)}401`
export const BLOCKED_KEY = `e2b_${'0'.repeat(37)}403`

// Where to ask is the tests' to decide, and not the environment's of whoever runs them.
for (const name of Object.keys(process.env)) if (name.startsWith('E2B_')) delete process.env[name]

/** The environment in which E2B is this server, for programs and for the command line. */
export const accountAt = ({ url }) => ({ E2B_API_KEY: KEY, E2B_API_URL: url, E2B_SANDBOX_URL: url })

/** Starts a server that speaks E2B's wire, as `npm run test:fake` has built it; ends it after the tests of this file. */
export async function e2bFake(options) {
  const fake = await start(options)
  after(fake.stop)
  return fake
}
