// One client of E2B, in a process of its own, so that its processor time and its memory are its own: `ours` or `theirs`, at
// the server that the environment names. It reads tasks from its input, a line of JSON each, and answers with a line.

import { readFileSync, writeFileSync } from 'node:fs'
import { createInterface } from 'node:readline'

const MIB = 2 ** 20
const account = JSON.parse(process.env.E2B_BENCH_ACCOUNT)

/** The same things to do, by either client. */
const clients = {
  async ours() {
    const { e2b } = await import('../index.js')
    const box = await e2b(account).sandbox.create({ timeout: 3_600_000 })
    const { filesystem: files } = box
    return {
      command: (line) => box.runCommand(line),
      read: (path) => files.readFile(path),
      write: (path, content) => files.writeFile(path, content),
      readBytes: (path) => files.readFile(path, { encoding: 'bytes' }),
      readStream: (path) => files.readFile(path, { encoding: 'stream' }),
      end: () => box.destroy(),
    }
  },
  async theirs() {
    const { Sandbox } = await import('e2b')
    const box = await Sandbox.create({ ...account, timeoutMs: 3_600_000 })
    return {
      command: (line) => box.commands.run(line),
      read: (path) => box.files.read(path),
      write: (path, content) =>
        box.files.write(path, typeof content === 'string' ? content : new Uint8Array(content).buffer),
      readBytes: (path) => box.files.read(path, { format: 'bytes' }),
      readStream: (path) => box.files.read(path, { format: 'stream' }),
      end: () => box.kill(),
    }
  },
}

const client = await clients[process.argv[2]]()
const large = Buffer.alloc(64 * MIB, 'x')
const small = 'x'.repeat(1024)

const TASKS = {
  prepare: async () => {
    await client.write('/tmp/small', small)
    if (process.env.E2B_BENCH_LARGE) {
      await client.command(`head -c ${large.length} /dev/urandom > /tmp/large`)
    }
  },
  command: () => client.command('true'),
  read: () => client.read('/tmp/small'),
  write: () => client.write('/tmp/small', small),
  readLarge: () => client.readBytes('/tmp/large'),
  streamLarge: async () => {
    let bytes = 0
    for await (const piece of await client.readStream('/tmp/large')) bytes += piece.length
    if (bytes !== large.length) throw new Error(`not all of it: ${bytes}`)
  },
  writeLarge: () => client.write('/tmp/written', large),
  output: () => client.command("head -c 50000000 /dev/zero | tr '\\0' x"),
  end: () => client.end(),
}

/** Does something so often, so many at a time. */
async function times(work, count, atOnce) {
  let left = count
  const one = async () => {
    while (left-- > 0) await work()
  }
  await Promise.all(Array.from({ length: atOnce }, one))
}

/** The most memory since `forget`, and how much there is now, in MiB. */
const memory = (field) =>
  Number(new RegExp(`${field}:\\s+(\\d+)`).exec(readFileSync('/proc/self/status', 'utf8'))[1]) / 1024
const forget = () => writeFileSync('/proc/self/clear_refs', '5')

async function measured({ task, count = 1, atOnce = 1 }) {
  globalThis.gc?.()
  forget()
  const before = memory('VmRSS')
  const cpu = process.cpuUsage()
  const begun = performance.now()
  await times(TASKS[task], count, atOnce)
  const ms = performance.now() - begun
  const { user, system } = process.cpuUsage(cpu)
  return { ms, cpu: (user + system) / 1000, grown: memory('VmHWM') - before }
}

process.stdout.write('{}\n')
for await (const line of createInterface({ input: process.stdin })) {
  const answer = await measured(JSON.parse(line)).catch((error) => ({ error: String(error) }))
  process.stdout.write(`${JSON.stringify(answer)}\n`)
}
