// Times this package against its peers on this machine, in one run: `npm run bench [rounds]`.
//
// Each round runs everything once, so that whatever else the machine does falls on all alike; the table has medians.
// Peers that are not there are left out: bwrap; docker with an image that has `true` and `sleep` (BENCH_IMAGE, else
// busybox).

import { cpus } from 'node:os'
import { footprint, median } from './footprint.mjs'
import { rows } from './rows.mjs'

const rounds = Number(process.argv[2] ?? 50)
const WARM_UP = 2
const SLOW = 10
const WHO = ['ours', 'node', 'bwrap', 'docker']

const { table, end } = await rows()
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

const print = (...cells) => process.stdout.write(`| ${cells.join(' | ')} |\n`)
const number = (value) => (value === undefined ? '' : value >= 100 ? value.toFixed(0) : value.toFixed(2))

function line(what, values) {
  const ratio = values.node === undefined ? undefined : values.ours / values.node
  print(
    what,
    ...WHO.slice(0, 2).map((who) => number(values[who])),
    number(ratio),
    number(values.bwrap),
    number(values.docker),
  )
}

process.stdout.write(
  `${new Date().toISOString().slice(0, 10)}, Node ${process.version}, ${cpus().length} processors (${cpus()[0]?.model}), ${rounds} rounds\n\n`,
)
print('what (ms, unless it says otherwise)', 'computesdk', 'Node alone', '× Node', 'bwrap', 'docker')
print('---', '---:', '---:', '---:', '---:', '---:')
for (const [row, lists] of took) {
  const rate = (ms) => row.bytes / 1e6 / (ms / 1000)
  const value = (list) => (list.length === 0 ? undefined : row.bytes ? rate(median(list)) : median(list))
  line(
    row.bytes ? `${row.what}, MB/s` : row.what,
    Object.fromEntries(WHO.map((who) => [who, value(lists[who])])),
  )
}
for (const { what, ...values } of await footprint()) line(what, values)
