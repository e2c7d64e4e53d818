// Times this package against its peers on this machine, in one run: `npm run bench [rounds]`.
//
// Each round runs everything once, so that whatever else the machine does falls on all alike; the table has medians.
// Peers that are not there are left out: bwrap; docker with an image that has `true` and `sleep` (BENCH_IMAGE, else
// busybox).

import { cpus } from 'node:os'
import { footprint } from './footprint.mjs'
import { median } from './median.mjs'
import { commands, transfers } from './rows.mjs'

const rounds = Number(process.argv[2] ?? 50)
const WARM_UP = 2
const SLOW = 10
const WHO = ['ours', 'node', 'bwrap', 'docker']

/** What every row of a table took, in ms, by whom. */
async function timed({ table, end }) {
  const took = new Map(table.map((row) => [row, { ours: [], node: [], bwrap: [], docker: [] }]))
  for (let round = -WARM_UP; round < rounds; round++) {
    for (const row of table) {
      if (row.slow && round % SLOW !== 0) continue
      for (const who of WHO) {
        if (!row[who]) continue
        const begun = performance.now()
        await row[who]()
        if (round >= 0) took.get(row)[who].push(performance.now() - begun)
        if (who === 'ours') await row.after?.()
      }
    }
  }
  await end()
  return took
}

const print = (...cells) => process.stdout.write(`| ${cells.join(' | ')} |\n`)
const number = (value) => (value === undefined ? '' : value >= 100 ? value.toFixed(0) : value.toFixed(2))

function line(what, { ours, node, bwrap, docker }) {
  const ratio = node === undefined ? undefined : ours / node
  print(what, ...[ours, node, ratio, bwrap, docker].map(number))
}

function lineOf(row, lists) {
  const [amount, unit] = row.bytes ? [row.bytes / 1e6, ', MB/s'] : [row.count, ', per second']
  const value = (ms) => (amount ? amount / (ms / 1000) : ms)
  const values = WHO.filter((who) => row[who]).map((who) => [who, value(median(lists[who]))])
  line(row.what + (amount ? unit : ''), Object.fromEntries(values))
}

// First, before anything else has given back memory of the machine.
const weights = await footprint()

process.stdout.write(
  `${new Date().toISOString().slice(0, 10)}, Node ${process.version}, ${cpus().length} processors (${cpus()[0]?.model}), ${rounds} rounds\n\n`,
)
print('what (ms, unless it says otherwise)', 'computesdk', 'Node alone', '× Node', 'bwrap', 'docker')
print('---', '---:', '---:', '---:', '---:', '---:')
// One after the other: Node takes the longer to start a process the more memory it has.
for (const table of [commands, transfers]) {
  for (const [row, lists] of await timed(await table())) lineOf(row, lists)
}
for (const { what, ...values } of weights) line(what, values)
