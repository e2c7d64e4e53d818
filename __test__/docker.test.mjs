// What is about containers alone; what all providers have in common is in `tests/conformance`.

import assert from 'node:assert/strict'
import { execFile, spawn } from 'node:child_process'
import { once } from 'node:events'
import { after, describe, test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import {
  AlreadyExistsError,
  createCompute,
  docker,
  InvalidArgumentError,
  NotFoundError,
  UnavailableError,
  UnsupportedError,
} from '../index.js'
import { IMAGE, start, stop } from './engine.mjs'
import { failure } from './support.mjs'

const { socketPath, missing } = start()
after(stop)
const here = { socketPath, image: IMAGE, pull: 'never' }
const index = fileURLToPath(new URL('../index.js', import.meta.url))
const run = promisify(execFile)

/** What the command line of Docker says. */
const told = async (...words) => (await run('docker', ['-H', `unix://${socketPath}`, ...words])).stdout.trim()

/** Runs a script in another process, with `docker` and `here` at hand; it goes on until it ends itself or is killed. */
function elsewhere(script) {
  const source = `const { docker } = require(${JSON.stringify(index)}); const here = ${JSON.stringify(here)}
    ;(async () => { ${script} })().catch((error) => { console.error(error); process.exit(1) })`
  const child = spawn(process.execPath, ['-e', source], { stdio: ['ignore', 'pipe', 'inherit'] })
  child.stdout.setEncoding('utf8')
  return child
}

describe('a container', { skip: missing ?? false }, () => {
  const provider = docker(here)
  const made = []
  const create = async (options) => {
    const box = await provider.sandbox.create(options)
    made.push(box)
    return box
  }
  after(() => Promise.all(made.map((box) => box.destroy())))

  test('has no rights that could be taken away, and limits that the engine tells', async () => {
    const box = await create({ resources: { memory: 256 * 1024 ** 2, processes: 40, cpus: 0.5 } })
    const status = (await box.runCommand('cat /proc/self/status')).stdout
    for (const line of [/^CapEff:\t0{16}$/m, /^CapBnd:\t0{16}$/m, /^NoNewPrivs:\t1$/m, /^Seccomp:\t2$/m])
      assert.match(status, line)
    const { HostConfig, Mounts } = JSON.parse(await told('inspect', `computesdk-${box.sandboxId}`))[0]
    assert.deepEqual(
      [HostConfig.Memory, HostConfig.PidsLimit, HostConfig.NanoCpus, HostConfig.Privileged],
      [256 * 1024 ** 2, 40, 5e8, false],
    )
    assert.deepEqual(
      [HostConfig.NetworkMode, HostConfig.IpcMode, HostConfig.AutoRemove],
      ['none', 'private', true],
    )
    // The second is the image's own.
    const mounts = Mounts.map(({ Type, Destination, RW }) => `${Type} ${Destination} ${RW}`)
    assert.deepEqual(mounts.sort(), ['volume /.computesdk false', 'volume /usr/local true'])
    assert.equal((await box.runCommand('ls /sys/class/net')).stdout, 'lo\n')
    assert.equal((await box.runCommand('ls /var/run/docker.sock /run/docker.sock')).stdout, '')
  })

  test('cannot change or read the program that serves it, nor stop what serves it', async () => {
    const box = await create()
    const hostile = await box.runCommand(`
      cat /.computesdk/agent > /tmp/copy; rm -f /.computesdk/agent; mv /.computesdk /tmp/x; chmod 777 /.computesdk/agent
      kill -STOP -1; kill -KILL -1; kill -KILL 1
      for pid in /proc/[0-9]*; do [ $pid = /proc/$$ ] || kill -STOP \${pid#/proc/}; done
      cat /proc/1/environ /proc/1/mem; readlink /proc/1/fd/* /proc/1/exe`)
    assert.equal(hostile.stdout, '')
    const after = await box.runCommand('ls /.computesdk; wc -c < /tmp/copy; echo lives')
    assert.equal(after.stdout, 'agent\n0\nlives\n')
  })

  test('is asked for nothing by whoever was not sent by the engine', async () => {
    const box = await create()
    const source = `
import socket
link = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
link.connect('\\0computesdk')
link.settimeout(5)
print(link.recv(100))`
    assert.equal((await box.runCode(source, 'python')).stdout, "b''\n")
    const relay = await box.runCommand('/.computesdk/agent connect < /dev/null | wc -c')
    assert.equal(relay.stdout, '0\n')
  })

  test('is found by another process, which can use what runs in it', async () => {
    const box = await create({ metadata: { who: 'me', deep: [1, { two: null }] }, envs: { MINE: 'yes' } })
    await box.filesystem.writeFile('/home/user/file', 'content')
    await box.runCommand('while sleep 0.1; do echo loud; done', { background: true })
    const other = elsewhere(`
      const box = await docker(here).sandbox.getById(${JSON.stringify(box.sandboxId)})
      const [info, file, told] = [await box.getInfo(), await box.filesystem.readFile('/home/user/file'),
        await box.runCommand('echo $MINE; pgrep -c sleep')]
      await box.extendTimeout(60000)
      const all = await docker(here).sandbox.list()
      console.log(JSON.stringify({ info, file, told: told.stdout, ids: all.map((one) => one.sandboxId) }))
      process.exit()`)
    const { info, file, told: said, ids } = JSON.parse((await other.stdout.toArray()).join(''))
    const own = await box.getInfo()
    assert.deepEqual([info.metadata, file, said], [own.metadata, 'content', 'yes\n1\n'])
    assert.equal(info.createdAt, own.createdAt.toISOString())
    assert.equal(own.timeout, 360_000, 'what another has granted')
    assert.ok(ids.includes(box.sandboxId))
    await failure(create({ sandboxId: box.sandboxId }), AlreadyExistsError)
  })

  test('ends when its time is over, though the process that made it was killed', async () => {
    const child = elsewhere(`
      const box = await docker({ ...here, timeout: 4000 }).sandbox.create()
      await box.runCommand('sleep 1000', { background: true })
      console.log(box.sandboxId)
      setInterval(() => {}, 1000)`)
    const [text] = await once(child.stdout, 'data')
    child.kill('SIGKILL')
    const id = text.trim()
    const found = await provider.sandbox.getById(id)
    assert.equal((await found.runCommand('pgrep -c sleep')).stdout, '1\n', 'what it started goes on')
    const begun = Date.now()
    while ((await told('ps', '-aq', '--filter', `name=${id}`)) !== '') {
      assert.ok(Date.now() - begun < 30_000, 'it is removed')
      await sleep(100)
    }
    const info = await found.getInfo()
    assert.equal(info.status, 'stopped')
    assert.match(info.reason, /its time was over \(timeout: 4000 ms\)/)
    await failure(found.runCommand('true'), NotFoundError, { message: /its time was over/ })
    assert.equal(await provider.sandbox.getById(id), null)
  })

  test('that others remove is told as removed', async () => {
    const box = await create()
    const waiting = failure(box.runCommand('sleep 1000'), NotFoundError, { message: /removed/ })
    await told('rm', '-f', `computesdk-${box.sandboxId}`)
    await waiting
    assert.equal((await box.getInfo()).status, 'stopped')
    await box.destroy()
  })

  test('reaches the network only if it was asked for', async () => {
    const box = await create({ network: 'full' })
    assert.equal((await box.runCommand('ls /sys/class/net | wc -l')).stdout, '2\n')
    await failure(create({ network: { allow: ['example.org'] } }), UnsupportedError, { message: /`network`/ })
  })

  test('is told something much faster than the engine could start it', async () => {
    const box = await create()
    const median = async (rounds, work) => {
      const took = []
      for (let round = 0; round < rounds; round++) {
        const begun = performance.now()
        await work()
        took.push(performance.now() - begun)
      }
      return took.sort((a, b) => a - b)[rounds >> 1]
    }
    const ours = await median(15, () => box.runCommand('true'))
    const engines = await median(5, () => told('exec', `computesdk-${box.sandboxId}`, 'true'))
    assert.ok(ours < engines / 2, `${ours} ms, and by the engine ${engines} ms`)
  })
})

describe('docker()', () => {
  test('names an image that is not there, and how to get it', { skip: missing ?? false }, async () => {
    const asked = docker({ ...here, image: 'no-such-image:7' }).sandbox.create()
    const error = await failure(asked, NotFoundError, { message: /`no-such-image:7`/ })
    assert.match(error.hint, /docker pull no-such-image:7/)
    await failure(docker(here).sandbox.create({ resources: { disk: 1024 ** 3 } }), UnsupportedError, {
      message: /`resources.disk`/,
    })
    const mounts = [{ source: '/', target: '/host', mode: 'ro' }]
    await failure(docker(here).sandbox.create({ mounts }), UnsupportedError, { message: /`mounts`/ })
  })

  test('says that no engine answers, and where', async () => {
    const nowhere = docker({ socketPath: '/nonexistent/docker.sock' })
    for (const call of [
      () => nowhere.sandbox.create(),
      () => nowhere.sandbox.list(),
      () => nowhere.sandbox.getById('x'),
      () => nowhere.sandbox.destroy('x'),
      () => createCompute({ provider: nowhere }).sandbox.create(),
    ])
      await failure(call(), UnavailableError, { message: /\/nonexistent\/docker\.sock/, provider: 'docker' })
  })

  test('refuses what it cannot be, by name', async () => {
    assert.throws(() => docker({ imge: 'x' }), InvalidArgumentError)
    assert.throws(() => docker({ pull: 'sometimes' }), /`pull`/)
    assert.throws(() => docker({ tls: { pem: '' } }), InvalidArgumentError)
    await failure(docker({ host: 'ssh://me@there' }).sandbox.create(), UnsupportedError, {
      message: /`host`/,
    })
    await failure(docker({ host: 'tcp://a:1', socketPath: '/a' }).sandbox.create(), InvalidArgumentError, {
      message: /`socketPath`/,
    })
  })
})
