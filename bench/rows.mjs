// What is timed: for each row a function of ours, and those of the peers that can do the same. A row with `bytes` is a
// rate, and so is one with a `count` of things. A row that is `slow` has a tenth of the rounds.

import { spawn } from 'node:child_process'
import { existsSync } from 'node:fs'
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { Agent, get } from 'node:http'
import path from 'node:path'
import { setTimeout } from 'node:timers/promises'
import { compute, local } from '../index.js'
import { container, ended, inBwrap } from './peers.mjs'

const MIB = 2 ** 20
/** How long, in ms, until a Node.js is up again that waits for code. */
const AGAIN = 150
/** The same Python on both sides. */
const PYTHON = '/usr/bin/python3'
/** As little of an environment as a sandbox has: some of Node's variables cost it time at every start. */
const bare = { env: { PATH: '/usr/bin:/bin' } }

const python = existsSync(PYTHON) ? PYTHON : undefined
compute.setConfig({ provider: local({ python }) })
const cold = local({ python, spares: 0, warm: false })

const times = (count, work) => Promise.all(Array.from({ length: count }, work))
const [MANY, AT_ONCE] = [400, 8]
/** Does something `count` times, a few at once. */
const inTurns = (count, work) =>
  times(AT_ONCE, async (_, turn) => {
    for (let done = turn; done < count; done += AT_ONCE) await work()
  })
const OUTPUT = 'head -c 100000000 /dev/zero'
const PAGE = 256 * MIB
const SERVER = `
const chunk = Buffer.alloc(1 << 20)
require('node:http').createServer((request, response) => {
  if (request.url === '/') return response.end('hello')
  let left = ${PAGE / MIB}
  const more = () => {
    while (left > 0) {
      left--
      if (!response.write(chunk)) return response.once('drain', more)
    }
    response.end()
  }
  more()
}).listen(8000, '127.0.0.1')`

async function used() {
  const one = await compute.sandbox.create()
  await one.runCommand('true', [])
  await one.destroy()
}

/** Sandboxes, commands and code. */
export async function commands() {
  const sandbox = await compute.sandbox.create({ timeout: 0 })
  const unwarmed = await cold.sandbox.create({ timeout: 0 })
  const docker = container()
  let last

  const table = [
    {
      what: 'create, until it takes commands',
      ours: async () => {
        last = await compute.sandbox.create()
      },
      bwrap: inBwrap && (() => inBwrap('true')),
      docker: docker && (() => docker.run('true')),
    },
    { what: 'destroy', ours: () => last.destroy() },
    {
      what: 'create, with none made in advance',
      ours: async () => {
        last = await cold.sandbox.create()
      },
      after: () => last.destroy(),
    },
    {
      what: 'create, run `true`, destroy',
      ours: used,
      bwrap: inBwrap && (() => inBwrap('true')),
      docker: docker && (() => docker.run('true')),
    },
    {
      what: `the same, ${MANY} times, ${AT_ONCE} at once`,
      slow: true,
      count: MANY,
      ours: () => inTurns(MANY, used),
      bwrap: inBwrap && (() => inTurns(MANY, () => inBwrap('true'))),
    },
    {
      what: "runCommand('true', [])",
      ours: () => sandbox.runCommand('true', []),
      node: () => ended('/bin/true'),
      docker: docker && (() => docker.exec('true')),
    },
    {
      what: "runCommand('true'), by the shell",
      ours: () => sandbox.runCommand('true'),
      // Node's pipes are sockets, and a bash that finds one may take itself for a remote login and read ~/.bashrc.
      node: () => ended('/bin/bash', ['--norc', '-c', 'true']),
    },
    {
      what: '64 of them at once',
      ours: () => times(64, () => sandbox.runCommand('true', [])),
      node: () => times(64, () => ended('/bin/true')),
    },
    {
      what: "runCode('print(1)'), the first",
      ours: () => unwarmed.runCode('print(1)'),
      node: () => ended(PYTHON, ['-c', 'print(1)'], bare),
    },
    {
      what: "runCode('print(1)'), later",
      ours: () => sandbox.runCode('print(1)'),
      node: () => ended(PYTHON, ['-c', 'print(1)'], bare),
    },
    {
      what: "runCode('console.log(1)'), the first",
      ours: () => unwarmed.runCode('console.log(1)'),
      node: () => ended(process.execPath, ['-e', 'console.log(1)'], bare),
    },
    {
      what: "runCode('console.log(1)'), later",
      ours: () => sandbox.runCode('console.log(1)'),
      // The next starts when this one has ended, and takes nothing from the rows below.
      after: () => setTimeout(AGAIN),
      node: () => ended(process.execPath, ['-e', 'console.log(1)'], bare),
    },
    {
      what: '100 MB of output, read as it comes',
      slow: true,
      bytes: 100e6,
      ours: () => sandbox.runCommand(OUTPUT, { maxOutput: 0 }),
      node: () => ended('sh', ['-c', OUTPUT]),
    },
  ]
  const end = async () => {
    await Promise.all([sandbox, unwarmed].map((one) => one.destroy()))
    docker?.stop()
  }
  return { table, end }
}

/** Files and ports. */
export async function transfers() {
  const sandbox = await compute.sandbox.create({ timeout: 0 })
  const files = await mkdtemp('/dev/shm/computesdk-bench-')
  const served = await serve(sandbox)
  const file = (name) => path.join(files, name)
  const small = Buffer.alloc(1024, 'x')
  const large = Buffer.alloc(64 * MIB, 'x')

  await sandbox.filesystem.writeFile('/tmp/small', small)
  await sandbox.filesystem.writeFile('/tmp/large', large)
  await writeFile(file('small'), small)
  await writeFile(file('large'), large)

  const table = [
    {
      what: 'readFile, 1 KiB',
      ours: () => sandbox.filesystem.readFile('/tmp/small'),
      node: () => readFile(file('small'), 'utf8'),
    },
    {
      what: 'writeFile, 1 KiB',
      ours: () => sandbox.filesystem.writeFile('/tmp/small', small),
      node: () => writeFile(file('small'), small),
    },
    {
      what: 'readFile, 64 MiB as bytes',
      slow: true,
      bytes: large.length,
      ours: () => sandbox.filesystem.readFile('/tmp/large', { encoding: 'bytes' }),
      node: () => readFile(file('large')),
    },
    {
      what: 'writeFile, 64 MiB',
      slow: true,
      bytes: large.length,
      ours: () => sandbox.filesystem.writeFile('/tmp/large', large),
      node: () => writeFile(file('large'), large),
    },
    {
      what: 'getUrl: 256 MiB over HTTP',
      slow: true,
      bytes: PAGE,
      ours: () => download(`${served.inside}/large`),
      node: () => download(`${served.outside}/large`),
    },
    {
      what: 'getUrl: a request, kept alive',
      ours: () => download(served.inside, served.keptAlive),
      node: () => download(served.outside, served.keptAlive),
    },
    {
      what: 'getUrl: a request, new connection',
      ours: () => download(served.inside),
      node: () => download(served.outside),
    },
  ]
  const end = async () => {
    await sandbox.destroy()
    await served.stop()
    await rm(files, { recursive: true })
  }
  return { table, end }
}

/** The same server inside and outside. */
async function serve(sandbox) {
  await sandbox.runCommand('node', ['-e', SERVER], { background: true })
  await sandbox.waitForPort(8000)
  const source = SERVER.replace(
    "listen(8000, '127.0.0.1')",
    "listen(0, '127.0.0.1', function () { console.log(this.address().port) })",
  )
  const outside = spawn(process.execPath, ['-e', source], { stdio: ['ignore', 'pipe', 'inherit'] })
  const port = await new Promise((resolve) => outside.stdout.once('data', (text) => resolve(Number(text))))
  const keptAlive = new Agent({ keepAlive: true })
  return {
    inside: await sandbox.getUrl({ port: 8000 }),
    outside: `http://127.0.0.1:${port}`,
    keptAlive,
    stop: () => {
      keptAlive.destroy()
      outside.kill()
    },
  }
}

function download(url, agent) {
  return new Promise((resolve, reject) => {
    get(url, { agent: agent ?? new Agent() }, (response) => {
      let bytes = 0
      response.on('data', (piece) => {
        bytes += piece.length
      })
      response.once('end', () => resolve(bytes)).once('error', reject)
    }).once('error', reject)
  })
}
