// Many sandboxes: one after the other, at once, and ended in the middle. What they leave on the machine is counted in a
// process of its own: descriptors, mounts, control groups, network namespaces, processes, memory.
// LIVES says how many one after the other (1000).

import assert from 'node:assert/strict'
import { describe } from 'node:test'

import { belongings, eventually, left, program, test } from './support.mjs'

const LIVES = Number(process.env.LIVES ?? 1000)

/** In the process that is watched: what it has on this machine. */
const MEASURE = `
  import { readdirSync, readFileSync, readlinkSync } from 'node:fs'
  import { setTimeout as sleep } from 'node:timers/promises'
  import { belongings } from ${JSON.stringify(new URL('./support.mjs', import.meta.url).href)}
  const lines = (path) => readFileSync(path, 'utf8').split('\\n').length
  const memory = (pid) => Number(/VmRSS:\\s+(\\d+)/.exec(readFileSync('/proc/' + pid + '/status', 'utf8'))[1]) >> 10
  const parent = (pid) => Number(readFileSync('/proc/' + pid + '/stat', 'utf8').replace(/.*\\) . /, '').split(' ')[0])
  /** What the collector still holds is not what is lost: it has several turns, and finalizers theirs after each. */
  async function measure() {
    for (let turn = 0; turn < 5; turn++) {
      gc()
      await sleep(50)
    }
    const { processes, groups } = belongings(process.pid)
    const pids = [...processes.keys()]
    const broker = pids.find((pid) => parent(pid) === process.pid)
    const namespaces = new Set(pids.map((pid) => readlinkSync('/proc/' + pid + '/ns/net')))
    const below = [...groups].flatMap((group) => readdirSync(group, { withFileTypes: true }).filter((one) => one.isDirectory()))
    return {
      descriptors: readdirSync('/proc/self/fd').length,
      descriptorsOfBroker: readdirSync('/proc/' + broker + '/fd').length,
      mounts: lines('/proc/self/mountinfo') + lines('/proc/' + broker + '/mountinfo'),
      groups: below.length,
      networks: namespaces.size,
      processes: pids.length,
      memory: memory(process.pid),
      memoryOfBroker: memory(broker),
    }
  }
  const provider = c.local({ spares: 0, resources: { memory: 256 << 20, disk: 64 << 20 } })
`

/** Runs a program that prints what it has before and after; gives both. */
async function compared(work, timeout) {
  const running = program(
    `${MEASURE}
     ${work}
     await sleep(500)
     console.log('after', JSON.stringify(await measure()))`,
    // A nursery that grows with the load is not what is looked for.
    { flags: ['--expose-gc', '--max-semi-space-size=1'], timeout },
  )
  const before = JSON.parse(await running.line('before'))
  const after = JSON.parse(await running.line('after'))
  const { code, stderr } = await running.ended
  assert.deepEqual({ code, stderr }, { code: 0, stderr: '' })
  return { before, after }
}

function assertNoMore(before, after) {
  const room = { memory: 16, memoryOfBroker: 2 }
  for (const [what, count] of Object.entries(after)) {
    assert.ok(count <= before[what] + (room[what] ?? 0), `${what}: ${before[what]}, then ${count}`)
  }
}

describe('many sandboxes', () => {
  test(
    `one after the other, ${LIVES} of them, leave everything as it was`,
    async () => {
      const { before, after } = await compared(
        `
      async function live() {
        const box = await provider.sandbox.create()
        const server = box.spawn('echo on; cat')
        const shell = await box.terminal.create({ command: 'cat', onData: () => {} })
        await Promise.all([
          box.runCommand('echo on', { onStdout: () => {} }),
          box.filesystem.writeFile('/tmp/file', 'x'.repeat(100_000)),
          box.runCommand('sleep 1000', { background: true }),
          server.stdin.write('to be read'),
          shell.write('to be shown'),
        ])
        await box.destroy()
        await server.catch(() => {})
      }
      const many = async (count) => {
        let begun = 0
        await Promise.all(Array.from({ length: 4 }, async () => {
          while (begun++ < count) await live()
        }))
      }
      await many(${LIVES / 4})
      await sleep(500)
      console.log('before', JSON.stringify(await measure()))
      await many(${LIVES})`,
        LIVES * 100 + 60_000,
      )
      assertNoMore(before, after)
    },
    LIVES * 100 + 90_000,
  )

  test('at once, 500 of them, work and leave everything as it was', async () => {
    const { before, after } = await compared(
      `
      async function all() {
        const boxes = await Promise.all(Array.from({ length: 500 }, () => provider.sandbox.create()))
        const said = await Promise.all(boxes.map((box, at) => box.runCommand('echo', [String(at)])))
        if (!said.every(({ stdout }, at) => stdout === at + '\\n')) throw new Error('one did not work')
        await Promise.all(boxes.map((box, at) => box.filesystem.writeFile('/tmp/own', String(at))))
        const own = await Promise.all(boxes.map((box) => box.filesystem.readFile('/tmp/own')))
        if (!own.every((text, at) => text === String(at))) throw new Error('one has what is another’s')
        await Promise.all(boxes.map((box) => box.destroy()))
        await sleep(500)
      }
      await all()
      console.log('before', JSON.stringify(await measure()))
      await all()`,
      110_000,
    )
    assertNoMore(before, after)
  }, 120_000)

  test('with a network, ended while connections go on, leave everything as it was', async () => {
    const { before, after } = await compared(
      `
      const { hostname } = await import('node:os')
      const { lookup } = await import('node:dns/promises')
      const { createServer } = await import('node:net')
      const name = hostname().toLowerCase()
      const server = createServer((socket) => {
        socket.on('error', () => {}).write('x')
        socket.resume()
      })
      const { address } = await lookup(name)
      await new Promise((resolve) => server.listen(0, address, resolve))
      const { port } = server.address()
      const ways = [
        \`exec 3<>/dev/tcp/\${name}/\${port}; cat <&3\`,
        \`exec 3<>/dev/tcp/127.111.0.1/3128; printf 'CONNECT \${name}:\${port} HTTP/1.1\\r\\n\\r\\n' >&3; cat <&3\`,
        \`exec 3<>/dev/tcp/127.111.0.1/3128; printf 'GET http://half' >&3; cat <&3\`,
      ]
      async function live() {
        const box = await provider.sandbox.create({ network: { allow: [name + ':' + port, 'a.example'] } })
        const running = ways.map((way) => box.spawn('bash', ['-c', way]))
        while ((await box.networkLog()).length < 2) await sleep(5)
        await box.destroy()
        await Promise.all(running.map((one) => one.catch(() => {})))
      }
      for (let turn = 0; turn < 30; turn++) await live()
      await sleep(500)
      console.log('before', JSON.stringify(await measure()))
      for (let turn = 0; turn < 100; turn++) await live()
      server.unref()`,
      110_000,
    )
    assertNoMore(before, after)
  }, 120_000)

  test('with 100 of them at work, kill -9 leaves nothing within a second', async () => {
    const running = program(
      `${MEASURE}
       const boxes = await Promise.all(Array.from({ length: 100 }, () => provider.sandbox.create()))
       await Promise.all(boxes.map((box) => box.runCommand('setsid -f sleep 98765; sleep 98765', { background: true })))
       await Promise.all(boxes.map((box) => box.terminal.create({ command: 'sleep 98765' })))
       console.log('ready'); setInterval(() => {}, 1000)`,
    )
    await running.line('ready')
    const all = belongings(running.pid)
    assert.ok(all.processes.size >= 300, String(all.processes.size))
    running.child.kill('SIGKILL')
    await running.ended
    const begun = Date.now()
    await eventually('every process has ended', () => left({ ...all, groups: new Set() }).length === 0)
    // The second is the promise; the rest is for a machine that does other things as well.
    assert.ok(Date.now() - begun < 2000, `${Date.now() - begun} ms`)
  })

  test('beside one whose memory runs out go on', async () => {
    const running = program(
      `${MEASURE}
       const boxes = await Promise.all(Array.from({ length: 5 }, () => provider.sandbox.create()))
       const hungry = boxes.pop()
       const steady = boxes.map((box) => box.runCommand('for i in $(seq 20); do echo $i; sleep 0.1; done | wc -l'))
       const results = []
       for (let turn = 0; turn < 3; turn++) {
         const { exitCode } = await hungry.runCode('data = []\\nwhile True: data.append(bytearray(1 << 20))', 'python', { timeout: 20_000 })
         results.push(exitCode !== 0, (await hungry.runCommand('echo still here')).stdout === 'still here\\n')
       }
       console.log('steady', JSON.stringify((await Promise.all(steady)).map(({ stdout }) => stdout.trim())))
       console.log('hungry', JSON.stringify(results))
       process.exit()`,
      { flags: ['--expose-gc'] },
    )
    assert.deepEqual(JSON.parse(await running.line('steady')), ['20', '20', '20', '20'])
    assert.deepEqual(JSON.parse(await running.line('hungry')), Array(6).fill(true))
    await running.ended
  })
})
