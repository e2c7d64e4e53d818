// Times the provider `docker` against the command line and dockerode, at one engine: `npm run bench:docker [rounds]`.
//
// The engine is that of DOCKER_HOST, or of this machine; the image is BENCH_IMAGE, else busybox, and has to be there. All
// have a container of their own that runs already. Each round asks all of them for everything.

import { execFileSync, spawn } from 'node:child_process'
import { finished } from 'node:stream/promises'

import Docker from 'dockerode'

import { docker } from '../../index.js'
import { median } from '../median.mjs'
import { ended } from '../peers.mjs'

const rounds = Number(process.argv[2] ?? 30)
const WARM_UP = 2
const SLOW = 10
const MANY = 64
const image = process.env.BENCH_IMAGE ?? 'busybox'
const LINES = 'head -c 10000000 /dev/zero'

const times = (work) => Promise.all(Array.from({ length: MANY }, work))

const sandbox = await docker({ image, timeout: 0 }).sandbox.create()
const engine = new Docker()
const keep = ['sleep', '86400']
const theirs = await engine.createContainer({ Image: image, Cmd: keep, HostConfig: { NetworkMode: 'none' } })
await theirs.start()

/** A command to its end, its output and its exit code, as dockerode's own documentation has it. */
async function inTheirs(...command) {
  const exec = await theirs.exec({ Cmd: command, AttachStdout: true, AttachStderr: true })
  const stream = await exec.start({})
  stream.resume()
  await finished(stream)
  const { ExitCode } = await exec.inspect()
  if (ExitCode !== 0) throw new Error(`${command[0]} ended with ${ExitCode}`)
}

const byHand = (...command) => ended('docker', ['exec', theirs.id, ...command])

/** `docker run` and the like, until a command has run in it. */
const whole = {
  ours: async () => {
    const one = await docker({ image }).sandbox.create()
    await one.runCommand('true', [])
    await one.destroy()
  },
  dockerode: async () => {
    const one = await engine.createContainer({
      Image: image,
      Cmd: ['true'],
      HostConfig: { NetworkMode: 'none' },
    })
    await one.start()
    await one.wait()
    await one.remove({ force: true })
  },
  cli: () => ended('docker', ['run', '--rm', '--network', 'none', image, 'true']),
}

const table = [
  { what: 'create, run `true`, destroy', slow: true, ...whole },
  {
    what: "runCommand('true', [])",
    ours: () => sandbox.runCommand('true', []),
    dockerode: () => inTheirs('true'),
    cli: () => byHand('true'),
  },
  {
    what: `${MANY} of them at once`,
    slow: true,
    ours: () => times(() => sandbox.runCommand('true', [])),
    dockerode: () => times(() => inTheirs('true')),
    cli: () => times(() => byHand('true')),
  },
  {
    what: '10 MB of output',
    ours: () => sandbox.runCommand(LINES, { maxOutput: 0 }),
    dockerode: () => inTheirs('sh', '-c', LINES),
    cli: () => byHand('sh', '-c', LINES),
  },
  {
    what: 'a file of 1 KiB written',
    ours: () => sandbox.filesystem.writeFile('/tmp/small', 'x'.repeat(1024)),
    dockerode: () => theirs.putArchive(archive, { path: '/tmp' }),
    cli: () => copied(archive, 'cp', '-', `${theirs.id}:/tmp`),
  },
]

/** A file of 1 KiB, as an archive. */
const archive = execFileSync('sh', [
  '-c',
  'd=$(mktemp -d); head -c 1024 /dev/zero > $d/small; tar -C $d -c small',
])

function copied(bytes, ...args) {
  return new Promise((resolve, reject) => {
    const child = spawn('docker', args, { stdio: ['pipe', 'ignore', 'ignore'] })
    child.once('close', (code) =>
      code === 0 ? resolve() : reject(new Error(`docker cp ended with ${code}`)),
    )
    child.stdin.end(bytes)
  })
}

const WHO = ['ours', 'dockerode', 'cli']
const took = new Map(table.map((row) => [row, { ours: [], dockerode: [], cli: [] }]))
try {
  for (let round = -WARM_UP; round < rounds; round++) {
    for (const row of table) {
      if (row.slow && round % SLOW !== 0) continue
      for (const who of WHO) {
        const begun = performance.now()
        await row[who]()
        if (round >= 0) took.get(row)[who].push(performance.now() - begun)
      }
    }
  }
} finally {
  await Promise.all([sandbox.destroy(), theirs.remove({ force: true })])
}

process.stdout.write(
  '| what (ms) | computesdk | dockerode | docker, the program |\n| --- | ---: | ---: | ---: |\n',
)
for (const [{ what }, lists] of took) {
  const cells = WHO.map((who) => median(lists[who]).toFixed(2))
  process.stdout.write(`| ${[what, ...cells].join(' | ')} |\n`)
}
