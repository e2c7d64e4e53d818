// Times snapshots of local sandboxes on this machine: `node bench/snapshots.mjs [rounds]`, after `npm run build`.
//
// What is kept is 10 MB in 1,000 files. None of the sandboxes was made in advance.

import { local } from '../index.js'
import { median } from './median.mjs'

const rounds = Number(process.argv[2] ?? 50)
const FILL = 'mkdir ~/d && cd ~/d && for n in $(seq 1000); do head -c 10000 /dev/urandom > $n; done'

const provider = local({ spares: 0, timeout: 0 })
const took = { 'snapshot()': [], 'create of it': [], '… and a first command': [], 'create of nothing': [] }

async function timed(what, work) {
  const begun = performance.now()
  const value = await work()
  took[what].push(performance.now() - begun)
  return value
}

const sandbox = await provider.sandbox.create()
await sandbox.runCommand(FILL)
for (let round = 0; round < rounds; round++) {
  const { id } = await timed('snapshot()', () => sandbox.snapshot())
  const other = await timed('… and a first command', async () => {
    const other = await timed('create of it', () => provider.sandbox.create({ templateId: id }))
    await other.runCommand('test', ['-f', 'd/1000'])
    return other
  })
  const plain = await timed('create of nothing', () => provider.sandbox.create())
  await Promise.all([other.destroy(), plain.destroy()])
  await provider.snapshots.delete(id)
}
await sandbox.destroy()

process.stdout.write(`| what (ms) | median | least |\n| --- | ---: | ---: |\n`)
for (const [what, list] of Object.entries(took)) {
  process.stdout.write(`| ${what} | ${median(list).toFixed(2)} | ${Math.min(...list).toFixed(2)} |\n`)
}
