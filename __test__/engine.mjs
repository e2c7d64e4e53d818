// A real engine for the tests, which `scripts/engine.sh` starts: its socket, or why there is none.

import { execFileSync } from 'node:child_process'
import { fileURLToPath } from 'node:url'

const script = fileURLToPath(new URL('../scripts/engine.sh', import.meta.url))
const { COMPUTESDK_TEST_ENGINE: given, COMPUTESDK_TEST_ENGINE_MISSING: missing } = process.env

/** Made of this machine's own programs. */
export const IMAGE = 'computesdk-test:latest'

/** The engine that the environment names, or one that is started: `{ socketPath }` or `{ missing }`. */
export function start() {
  if (given) return { socketPath: given }
  if (missing) return { missing }
  const [, name, value] = /^export (\w+)=(.*)$/m.exec(execFileSync(script, ['start'], { encoding: 'utf8' }))
  return name === 'COMPUTESDK_TEST_ENGINE' ? { socketPath: value } : { missing: value.replaceAll('\\', '') }
}

/** Stops the one that was started. */
export function stop() {
  if (!given && !missing) execFileSync(script, ['stop'])
}
