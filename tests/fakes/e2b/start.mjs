// Starts the fake of E2B, for tests and for the bench.

import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'

/** A key that the fake takes. */
export const KEY = `e2b_${'0'.repeat(40)}`

/**
 * Starts a fake that was built in a profile. Options are those of the program, in camel case:
 * `{ tls: true, envdVersion: '0.5.0', jsonOnly: true, api: 'v1', … }`.
 *
 * Gives `url` (of both planes); `account`: what `e2b()` takes to use it; with `tls`, `ca`: the file with the certificate of
 * its authority; `fault(rule)` and `clearFaults()`, with rules as in `src/faults.rs`; `stats()`; `asked(work)`: the requests
 * that came while that was done, `{ method, path, headers }`, the latest 1000 of them; and `stop()`.
 */
export async function start({ tls = false, ...options } = {}, profile = 'debug') {
  const program = fileURLToPath(new URL(`../../../target/${profile}/e2b-fake`, import.meta.url))
  const directory = tls ? await mkdtemp(join(tmpdir(), 'e2b-fake-')) : undefined
  const ca = tls ? join(directory, 'ca.pem') : undefined
  const fake = await launched(program, flags({ ...options, tls, ca }))
  const ask = async (method, path, body) => {
    const answer = await fetch(fake.ready.backdoor + path, { method, body: JSON.stringify(body) })
    if (!answer.ok) throw new Error(`${method} ${path}: ${answer.status} ${await answer.text()}`)
    return answer.status === 204 ? undefined : answer.json()
  }
  const { url } = fake.ready
  return {
    url,
    account: { apiKey: KEY, apiUrl: url, sandboxUrl: url },
    ca,
    pid: fake.pid,
    stop: async () => {
      await fake.stop()
      if (tls) await rm(directory, { recursive: true, force: true })
    },
    fault: (rule) => ask('POST', '/__faults', rule),
    clearFaults: () => ask('DELETE', '/__faults'),
    stats: () => ask('GET', '/__stats'),
    asked: async (work) => {
      const { requests } = await ask('GET', '/__stats')
      await work()
      return ask('GET', `/__requests?from=${requests}`)
    },
  }
}

function flags(options) {
  return Object.entries(options).flatMap(([name, value]) => {
    const flag = `--${name.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`)}`
    if (value === true) return [flag]
    if (value === false || value === undefined) return []
    return [value].flat().flatMap((one) => [flag, String(one)])
  })
}

/** Starts a program that prints a line of JSON when it is ready, and ends when its standard input does. */
async function launched(program, args) {
  const child = spawn(program, args, { stdio: ['pipe', 'pipe', 'inherit'] })
  const ended = once(child, 'close')
  const lines = createInterface({ input: child.stdout })
  const line = await Promise.race([once(lines, 'line'), ended.then(([code]) => fail(program, code))])
  const stop = async () => {
    child.stdin.end()
    await ended
  }
  return { ready: JSON.parse(line[0]), pid: child.pid, stop }
}

function fail(program, code) {
  throw new Error(`${program} ended with ${code} before it was ready`)
}
