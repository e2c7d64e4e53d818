// What this package weighs: its start, its memory, and that of a sandbox that does nothing. Only to be seen in
// processes of their own.

import { execFileSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { setTimeout as sleep } from 'node:timers/promises'
import { local } from '../index.js'
import { median } from './median.mjs'

const INDEX = new URL('../index.js', import.meta.url).pathname
const IMPORT = `require(${JSON.stringify(INDEX)});`
const bare = { env: { PATH: '/usr/bin:/bin' } }
const ROUNDS = 15
const SANDBOXES = 1000

/** Both medians of `measure`, of bare Node and of Node that has imported the package. */
function compared(measure) {
  const [without, loaded] = [[], []]
  for (let round = 0; round < ROUNDS; round++) {
    without.push(measure(''))
    loaded.push(measure(IMPORT))
  }
  return { ours: median(loaded), node: median(without) }
}

function startUp(source) {
  const begun = performance.now()
  execFileSync(process.execPath, ['-e', source], bare)
  return performance.now() - begun
}

function memory(source) {
  const code = `${source} console.log(process.memoryUsage().rss)`
  return Number(execFileSync(process.execPath, ['-e', code], bare)) / 2 ** 20
}

function available() {
  return Number(/MemAvailable:\s+(\d+)/.exec(readFileSync('/proc/meminfo', 'utf8'))[1]) / 1024
}

/** MiB that each of many idle sandboxes takes from what the machine has. */
async function idle() {
  const { sandbox } = local({ spares: 0, timeout: 0 })
  await (await sandbox.create()).destroy()
  await sleep(500)
  const before = available()
  const all = []
  while (all.length < SANDBOXES)
    all.push(...(await Promise.all(Array.from({ length: 50 }, () => sandbox.create()))))
  await sleep(500)
  const each = (before - available()) / SANDBOXES
  await Promise.all(all.map((one) => one.destroy()))
  return each
}

export async function footprint() {
  return [
    { what: "require('computesdk'), whole process, ms", ...compared(startUp) },
    { what: "memory after require('computesdk'), MiB", ...compared(memory) },
    { what: `memory of an idle sandbox (of ${SANDBOXES}), MiB`, ours: await idle() },
  ]
}
