// Times this package against its peers on this machine, in one run: `npm run bench [rounds]`.
//
// Each round runs every row once, so that whatever else the machine does falls on all of them alike; the
// table gives medians, and ratios to Node's own child_process. Peers that are not installed are left out.

import { execFile, execFileSync, spawn } from 'node:child_process'
import { existsSync } from 'node:fs'
import { cpus } from 'node:os'
import { promisify } from 'node:util'
import { compute, local } from '../index.js'

const rounds = Number(process.argv[2] ?? 50)
const run = promisify(execFile)
const index = new URL('../index.js', import.meta.url).pathname
const bwrap = ['/usr/bin/bwrap', '/usr/local/bin/bwrap'].find((path) => existsSync(path))
const BWRAP = '--unshare-all --ro-bind / / --proc /proc --dev /dev --tmpfs /tmp'.split(' ')

// The same Python on both sides.
const PYTHON = '/usr/bin/python3'
compute.setConfig({ provider: local(existsSync(PYTHON) ? { python: PYTHON } : {}) })

// As little of an environment as a sandbox has: some of Node's variables cost it time at every start.
const bare = { env: { PATH: '/usr/bin:/bin' } }

const ended = (child) => new Promise((resolve, reject) => child.once('close', resolve).once('error', reject))

const sandbox = await compute.sandbox.create()
let last

const rows = [
  ['create, until it takes commands', async () => (last = await compute.sandbox.create())],
  ['destroy', () => last.destroy()],
  ["runCommand('true', [])", () => sandbox.runCommand('true', [])],
  ["runCommand('true'), by the shell", () => sandbox.runCommand('true')],
  ["runCode('print(1)')", () => sandbox.runCode('print(1)')],
  ["runCode('console.log(1)')", () => sandbox.runCode('console.log(1)')],
  ['create, run true, destroy', oneShot],
  [
    '64 commands at once',
    () => Promise.all(Array.from({ length: 64 }, () => sandbox.runCommand('true', []))),
  ],
  ["Node: spawn('true') with pipes", () => ended(spawn('/bin/true'))],
  ['Node: 64 spawns at once', () => Promise.all(Array.from({ length: 64 }, () => ended(spawn('/bin/true'))))],
  ["Node: execFile('python3', ['-c', 'print(1)'])", () => run(PYTHON, ['-c', 'print(1)'], bare)],
  [
    "Node: execFile('node', ['-e', 'console.log(1)'])",
    () => run(process.execPath, ['-e', 'console.log(1)'], bare),
  ],
  bwrap && ['bwrap: a whole run of true', () => ended(spawn(bwrap, [...BWRAP, 'true']))],
].filter(Boolean)

async function oneShot() {
  const one = await compute.sandbox.create()
  await one.runCommand('true', [])
  await one.destroy()
}

const times = new Map(rows.map(([name]) => [name, []]))
for (let round = -2; round < rounds; round++) {
  for (const [name, work] of rows) {
    const begun = performance.now()
    await work()
    if (round >= 0) times.get(name).push(performance.now() - begun)
  }
}
await sandbox.destroy()

const median = (list) => [...list].sort((a, b) => a - b)[Math.floor(list.length / 2)]
const base = median(times.get("Node: spawn('true') with pipes"))
const print = (...cells) => process.stdout.write(`| ${cells.join(' | ')} |\n`)

process.stdout.write(
  `${new Date().toISOString().slice(0, 10)}, Node ${process.version}, ${cpus().length} processors (${cpus()[0]?.model}), ${rounds} rounds\n\n`,
)
print('what', 'median, ms', '× spawn')
print('---', '---:', '---:')
for (const [name, list] of times) print(name, median(list).toFixed(2), (median(list) / base).toFixed(2))

// What loading costs is only to be seen in processes of its own.
const startUp = (code) => {
  const begun = performance.now()
  execFileSync(process.execPath, ['-e', code], bare)
  return performance.now() - begun
}
const without = []
const loaded = []
for (let round = 0; round < 15; round++) {
  without.push(startUp(''))
  loaded.push(startUp(`require(${JSON.stringify(index)})`))
}
print("require('computesdk'), over bare Node", (median(loaded) - median(without)).toFixed(2), '')
