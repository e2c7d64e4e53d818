// Times this package's client of E2B against E2B's own, at the fake of `tests/fakes/e2b`: `npm run bench:e2b [rounds]`.
//
// Each client is a process of its own, so that what it costs is its own and not the server's; each round asks both for
// everything, one after the other, so that whatever else the machine does falls on both alike. The table has medians.
// Where commands are timed, the server answers a start without starting anything (`--echo`).

import { execFileSync, spawn } from 'node:child_process'
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { cpus } from 'node:os'
import { createInterface } from 'node:readline'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'

import { start } from '../tests/fakes/e2b/start.mjs'
import { median } from './median.mjs'

const rounds = Number(process.argv[2] ?? 9)
const SLOW = 3
/** What takes longer is not waited for, and not tried again. */
const LIMIT = 20_000
const WHO = ['ours', 'theirs']
const CLIENT = fileURLToPath(new URL('e2b-client.mjs', import.meta.url))
const theirs = JSON.parse(readFileSync(new URL('../node_modules/e2b/package.json', import.meta.url)))

/** A client at a server. */
class Client {
  constructor(who, fake, large) {
    Object.assign(this, { who, fake, large, connections: 0 })
  }

  async begin() {
    const env = {
      ...process.env,
      NODE_EXTRA_CA_CERTS: this.fake.ca ?? '',
      E2B_BENCH_ACCOUNT: JSON.stringify(this.fake.account),
      E2B_BENCH_LARGE: this.large ? '1' : '',
    }
    const before = await this.fake.stats()
    const args = ['--expose-gc', '--no-warnings', CLIENT, this.who]
    this.child = spawn(process.execPath, args, { env, stdio: ['pipe', 'pipe', 'inherit'] })
    this.lines = createInterface({ input: this.child.stdout })[Symbol.asyncIterator]()
    await this.lines.next()
    this.connections += (await this.fake.stats()).connections - before.connections
    await this.ask({ task: 'prepare' })
    return this
  }

  /** What a task cost; nothing if it failed or was not waited for. */
  async ask(task) {
    const { connections } = await this.fake.stats()
    this.child.stdin.write(`${JSON.stringify(task)}\n`)
    const late = new AbortController()
    const limit = sleep(LIMIT, { late: true }, { signal: late.signal }).catch(() => {})
    const { late: isLate, value } = await Promise.race([this.lines.next(), limit])
    late.abort()
    if (isLate) {
      this.child.kill('SIGKILL')
      await this.begin()
      return { failed: `> ${LIMIT / 1000} s` }
    }
    const answer = JSON.parse(value)
    this.connections += (await this.fake.stats()).connections - connections
    return answer.error ? { failed: 'fails' } : answer
  }

  async renew() {
    await this.end()
    await this.begin()
  }

  async end() {
    await this.ask({ task: 'end' })
    this.child.stdin.end()
    await once(this.child, 'close')
  }
}

/** Everything that is asked for, so many times in a round. */
const COMMANDS = [
  { what: 'runCommand, one after the other', task: 'command', count: 500 },
  { what: 'runCommand, 64 at once', task: 'command', count: 640, atOnce: 64 },
]
const FILES = [
  { what: 'readFile, 1 KiB', task: 'read', count: 200 },
  { what: 'writeFile, 1 KiB', task: 'write', count: 200 },
]
const LARGE = [
  { what: 'readFile, 64 MiB as bytes', task: 'readLarge', slow: true },
  { what: 'readFile, 64 MiB as a stream', task: 'streamLarge', slow: true },
  { what: 'writeFile, 64 MiB', task: 'writeLarge', slow: true },
  { what: '50 MB of output', task: 'output', slow: true },
]

/** What every row cost whom, in the rounds. */
async function timed(options, rows) {
  const fake = await start(options, 'release')
  const clients = []
  for (const who of WHO) clients.push(await new Client(who, fake, rows === LARGE).begin())
  const found = new Map(rows.map((row) => [row, { ours: [], theirs: [] }]))
  for (let round = -1; round < rounds; round++) {
    for (const row of rows) {
      if (row.slow && (round < 0 || round % SLOW !== 0)) continue
      for (const client of clients) {
        const list = found.get(row)[client.who]
        if (list.some(({ failed }) => failed)) continue
        const { what, slow, ...task } = row
        // What one task leaves behind in memory is not to hide what the next one takes.
        if (slow) await client.renew()
        const cost = await client.ask(task)
        // The first round warms up.
        if (round >= 0 || cost.failed) list.push(cost)
      }
    }
  }
  for (const client of clients) await client.end()
  await fake.stop()
  return { found, connections: clients.map(({ connections }) => connections) }
}

const print = (...cells) => process.stdout.write(`| ${cells.join(' | ')} |\n`)
const number = (value) => {
  if (value === undefined || Number.isNaN(value)) return ''
  if (typeof value === 'string') return value
  return value >= 100 ? value.toFixed(0) : value >= 1 ? value.toFixed(2) : value.toFixed(3)
}

/** A row; `isRate` where more is better. */
function line(what, [ours, theirs], isRate = false) {
  const ratio = isRate ? ours / theirs : theirs / ours
  print(what, number(ours), number(theirs), Number.isFinite(ratio) ? `${number(ratio)} ×` : '')
}

/** The median of something about a row, by whom; what failed is said instead. */
function both(lists, of) {
  return WHO.map((who) => {
    const failed = lists[who].find(({ failed }) => failed)?.failed
    return failed ?? median(lists[who].map(of))
  })
}

async function small(where, options, rows) {
  const { found, connections } = await timed(options, rows)
  for (const [row, lists] of found) {
    line(
      `${row.what}${where}: CPU, ms each`,
      both(lists, ({ cpu }) => cpu / row.count),
    )
    line(
      `${row.what}${where}: each second`,
      both(lists, ({ ms }) => (row.count / ms) * 1000),
      true,
    )
  }
  line(`connections for all of these${where}`, connections.map(String))
}

async function large(options) {
  for (const [row, lists] of (await timed(options, LARGE)).found) {
    for (const [what, of] of [
      ['ms', ({ ms }) => ms],
      ['CPU, ms', ({ cpu }) => cpu],
      ['memory that it takes, MiB', ({ grown }) => Math.max(grown, 0.1)],
    ]) {
      line(`${row.what}: ${what}`, both(lists, of))
    }
  }
}

/** What loading a client costs a process, beyond Node itself. */
function loading() {
  const sources = {
    bare: '',
    ours: `require(${JSON.stringify(fileURLToPath(new URL('../index.js', import.meta.url)))});`,
    theirs: "require('e2b');",
  }
  const measure = (source) => {
    const code = `${source} const { user, system } = process.cpuUsage(); console.log((user + system) / 1000, process.memoryUsage().rss / 2 ** 20)`
    const begun = performance.now()
    const [cpu, memory] = execFileSync(process.execPath, ['-e', code]).toString().split(' ').map(Number)
    return { ms: performance.now() - begun, cpu, memory }
  }
  const found = { bare: [], ours: [], theirs: [] }
  for (let round = 0; round < Math.max(rounds, 9); round++) {
    for (const [who, source] of Object.entries(sources)) found[who].push(measure(source))
  }
  for (const [what, of] of [
    ['loading it, beyond Node itself: ms', ({ ms }) => ms],
    ['loading it: CPU, ms', ({ cpu }) => cpu],
    ['loading it: memory, MiB', ({ memory }) => memory],
  ]) {
    const bare = median(found.bare.map(of))
    line(
      what,
      WHO.map((who) => Math.max(median(found[who].map(of)) - bare, 0.1)),
    )
  }
}

process.stdout.write(
  `${new Date().toISOString().slice(0, 10)}, Node ${process.version}, ${cpus().length} processors (${cpus()[0]?.model}), ${rounds} rounds\n\n`,
)
print('what', 'computesdk', `e2b ${theirs.version}`, 'ratio')
print('---', '---:', '---:', '---:')
await small(', HTTP', { echo: true }, COMMANDS)
await small(', TLS', { echo: true, tls: true }, COMMANDS)
await small('', {}, FILES)
await large({})
loading()
