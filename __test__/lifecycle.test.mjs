// What is left of sandboxes when their process ends, however it ends: nothing. Each test looks at processes of
// its own, by their ids, so that others on this machine do not matter.

import assert from 'node:assert/strict'
import { describe } from 'node:test'

import { belongings, eventually, left, program, test } from './support.mjs'

/** Waits until a program has said `ready`, looks at what it has on this machine, and gives that. */
async function seen(running) {
  await running.line('ready')
  const all = belongings(running.pid)
  assert.ok(all.processes.size > 0, 'it has no processes')
  return all
}

/** Checks that nothing of a program that has ended is left. */
async function gone(all, within = 15_000) {
  await eventually(`nothing is left of ${left(all)}`, () => left(all).length === 0, within)
}

const enforced = `(await boxes[0].getInfo()).limits.enforcement`
const create = (count) =>
  `const boxes = await Promise.all(Array.from({ length: ${count} }, () => c.local().sandbox.create()))`
const ready = `console.log('enforcement', ${enforced}); console.log('ready')`

/** The end of the line of a program that may end by itself once its parent has looked. */
const onceSeen = `await new Promise((resolve) => process.stdin.once('data', resolve)); process.stdin.destroy()`

describe('the end of a process', () => {
  test('comes by itself with sandboxes alive, and nothing is left', async () => {
    const running = program(
      `${create(3)}; await boxes[0].runCommand('setsid -f sleep 98765'); ${ready}; ${onceSeen}`,
    )
    const all = await seen(running)
    if ((await running.line('enforcement')) === 'cgroup') assert.ok(all.groups.size > 0)
    running.child.stdin.write('go\n')
    const { code, signal, stderr } = await running.ended
    assert.deepEqual({ code, signal, stderr }, { code: 0, signal: null, stderr: '' })
    await gone(all)
  })

  test('by process.exit in the middle of everything leaves nothing', async () => {
    const running = program(`${create(3)}
      for (const box of boxes) {
        box.runCommand('echo on; sleep 98765', { onStdout: () => {} }).catch(() => {})
        box.filesystem.writeFile('/tmp/large', 'x'.repeat(50_000_000)).catch(() => {})
        c.local().sandbox.create().catch(() => {})
      }
      await boxes[0].runCommand('true')
      ${ready}; ${onceSeen}; process.exit(7)`)
    const all = await seen(running)
    running.child.stdin.write('go\n')
    const { code, signal } = await running.ended
    assert.deepEqual({ code, signal }, { code: 7, signal: null })
    await gone(all)
  })

  test('by kill -9 with 10 sandboxes at work leaves nothing, within a second', async () => {
    const running = program(`${create(10)}
      for (const box of boxes) box.runCommand('setsid -f sleep 98765; nohup sleep 98765 & sleep 98765').catch(() => {})
      await Promise.all(boxes.map((box) => box.runCommand('until [ $(pgrep -c sleep) -ge 3 ]; do sleep 0.05; done')))
      ${ready}; await new Promise(() => setInterval(() => {}, 1000))`)
    const all = await seen(running)
    assert.ok(all.processes.size >= 40, String(all.processes.size))
    running.child.kill('SIGKILL')
    await running.ended
    const begun = Date.now()
    await gone({ processes: all.processes, groups: new Set() }, 5000)
    assert.ok(Date.now() - begun < 1500, `${Date.now() - begun} ms`)
    await gone(all)
  })

  test('by an exception that nobody catches leaves nothing, and is told as ever', async () => {
    const running = program(
      `${create(2)}; boxes[0].runCommand('sleep 98765').catch(() => {}); ${ready}; ${onceSeen}; setImmediate(() => { throw new Error('mine') })`,
    )
    const all = await seen(running)
    running.child.stdin.write('go\n')
    const { code, stderr } = await running.ended
    assert.equal(code, 1)
    assert.match(stderr, /Error: mine/)
    await gone(all)
  })

  for (const signal of ['SIGTERM', 'SIGINT', 'SIGHUP', 'SIGSEGV']) {
    test(`by ${signal} leaves nothing`, async () => {
      const running = program(
        `${create(2)}; boxes[0].runCommand('sleep 98765').catch(() => {}); ${ready}; setInterval(() => {}, 1000)`,
      )
      const all = await seen(running)
      running.child.kill(signal)
      assert.equal((await running.ended).signal, signal)
      await gone(all)
    })
  }

  test('does not wait for a sandbox that will live long', async () => {
    const running = program(`const box = await c.local().sandbox.create({ timeout: 0 }); console.log('done')`)
    const { code, signal } = await running.ended
    assert.deepEqual({ code, signal }, { code: 0, signal: null })
  })

  test('waits for a command that is waited for', async () => {
    const running = program(
      `const box = await c.local().sandbox.create(); box.runCommand('sleep 0.5; echo on').then((result) => console.log('got', result.stdout))`,
    )
    const { code, stdout } = await running.ended
    assert.equal(code, 0)
    assert.match(stdout, /got on/)
  })
})

describe('worker threads', () => {
  const work = `
    const { parentPort } = require('node:worker_threads')
    const { local } = require(process.env.INDEX)
    async function main() {
      const box = await local().sandbox.create()
      for (;;) {
        parentPort.postMessage((await box.runCommand('echo on', { onStdout: () => {} })).stdout)
        box.filesystem.writeFile('/tmp/file', 'x'.repeat(200_000))
      }
    }
    main()`
  const env = { WORK: work, INDEX: new URL('../index.js', import.meta.url).pathname }

  test('can be terminated in the middle: the process goes on, and ends cleanly', async () => {
    const running = program(
      `import { Worker } from 'node:worker_threads'
       import { once } from 'node:events'
       for (let round = 0; round < 4; round++) {
         const workers = Array.from({ length: 4 }, () => new Worker(process.env.WORK, { eval: true, execArgv: [] }))
         await Promise.all(workers.map(async (worker, at) => {
           for (let message = 0; message <= at * 3; message++) await once(worker, 'message')
           await worker.terminate()
         }))
       }
       const box = await c.local().sandbox.create()
       console.log('after', (await box.runCommand('echo on')).stdout)
       ${create(1)}; ${ready}; ${onceSeen}`,
      { env },
    )
    const all = await seen(running)
    running.child.stdin.write('go\n')
    const { code, signal, stdout, stderr } = await running.ended
    assert.deepEqual({ code, signal, stderr }, { code: 0, signal: null, stderr: '' })
    assert.match(stdout, /after on/)
    await gone(all)
  })

  test('can call process.exit themselves', async () => {
    const running = program(
      `import { Worker } from 'node:worker_threads'
       import { once } from 'node:events'
       const text = process.env.WORK.replace('for (;;) {', 'for (let turn = 0; ; turn++) { if (turn === 5) process.exit(3);')
       const workers = Array.from({ length: 4 }, () => new Worker(text, { eval: true, execArgv: [] }))
       console.log((await Promise.all(workers.map((worker) => once(worker, 'exit')))).join())`,
      { env },
    )
    const { code, stdout, stderr } = await running.ended
    assert.deepEqual([code, stdout, stderr], [0, '3,3,3,3\n', ''])
  })
})

describe('the death of the broker', () => {
  test('is a typed error for all who wait, and the next create works', async () => {
    const running = program(`
      ${create(3)}
      const waiting = boxes.map((box) => box.runCommand('sleep 98765').then(() => 'a result', (error) => [error.name, error.code, error.sandboxId === box.sandboxId].join()))
      await boxes[0].runCommand('true')
      ${ready}; ${onceSeen}
      console.log('waited', JSON.stringify(await Promise.all(waiting)))
      console.log('later', await boxes[0].runCommand('true').catch((error) => [error.name, error.code].join()))
      console.log('status', (await boxes[0].getInfo()).status)
      console.log('listed', (await c.local().sandbox.list()).length)
      await boxes[0].destroy()
      const next = await c.local().sandbox.create()
      console.log('next', (await next.runCommand('echo works')).stdout)`)
    const all = await seen(running)
    const broker = await running.child.pid
    const { readFileSync } = await import('node:fs')
    const children = [...all.processes.keys()].filter((pid) => {
      const stat = readFileSync(`/proc/${pid}/stat`, 'utf8')
      return Number(stat.slice(stat.lastIndexOf(')') + 2).split(' ')[1]) === broker
    })
    assert.equal(children.length, 1)
    process.kill(children[0], 'SIGKILL')
    await gone({ processes: all.processes, groups: new Set() })
    running.child.stdin.write('go\n')
    assert.deepEqual(JSON.parse(await running.line('waited')), Array(3).fill('NotFoundError,NOT_FOUND,true'))
    assert.equal(await running.line('later'), 'NotFoundError,NOT_FOUND')
    assert.equal(await running.line('status'), 'error')
    assert.equal(await running.line('listed'), '0')
    assert.equal(await running.line('next'), 'works')
    assert.equal((await running.ended).code, 0)
    await gone(all)
  })
})

describe('a long life', () => {
  test('of 100 sandboxes, one after the other, costs neither descriptors nor memory', async () => {
    const running = program(
      `import { readdirSync } from 'node:fs'
       const provider = c.local()
       async function turn() {
         const box = await provider.sandbox.create()
         await box.runCommand('echo on', { onStdout: () => {} })
         await box.filesystem.writeFile('/tmp/file', 'x'.repeat(100_000))
         await box.filesystem.readFile('/tmp/file')
         await box.destroy()
       }
       // At rest: as many sandboxes are made in advance as there are to be.
       async function measure() {
         await new Promise((resolve) => setTimeout(resolve, 500))
         gc()
         return [readdirSync('/proc/self/fd').length, process.memoryUsage().rss >> 20]
       }
       for (let warm = 0; warm < 30; warm++) await turn()
       const before = await measure()
       for (let count = 0; count < 100; count++) await turn()
       console.log('measured', JSON.stringify([before, await measure(), (await provider.sandbox.list()).length]))`,
      { flags: ['--expose-gc'], timeout: 100_000 },
    )
    const [before, after, listed] = JSON.parse(await running.line('measured'))
    assert.equal(listed, 0)
    assert.ok(after[0] <= before[0], `descriptors: ${before[0]}, then ${after[0]}`)
    assert.ok(after[1] <= before[1] + 24, `RSS: ${before[1]} MiB, then ${after[1]} MiB`)
    assert.equal((await running.ended).code, 0)
  }, 120_000)

  test('of 3000 commands in one sandbox costs neither', async () => {
    const running = program(
      `import { readdirSync } from 'node:fs'
       const box = await c.local().sandbox.create()
       const some = async (count) => {
         for (let done = 0; done < count; done += 20) {
           await Promise.all(Array.from({ length: 20 }, () => box.runCommand(['echo', 'on'], { onStdout: () => {}, signal: new AbortController().signal })))
         }
       }
       const measure = () => { gc(); return [readdirSync('/proc/self/fd').length, process.memoryUsage().rss >> 20] }
       await some(1000)
       const before = measure()
       await some(3000)
       console.log('measured', JSON.stringify([before, measure()]))`,
      { flags: ['--expose-gc'], timeout: 100_000 },
    )
    const [before, after] = JSON.parse(await running.line('measured'))
    assert.ok(after[0] <= before[0], `descriptors: ${before[0]}, then ${after[0]}`)
    assert.ok(after[1] <= before[1] + 24, `RSS: ${before[1]} MiB, then ${after[1]} MiB`)
  }, 120_000)

  test('keeps the event loop free while 64 commands run', async () => {
    const running = program(`
      const box = await c.local().sandbox.create()
      let ticks = 0
      const interval = setInterval(() => ticks++, 5)
      const runs = Array.from({ length: 64 }, () => box.runCommand('sleep 1; seq 2000', { onStdout: () => {} }))
      await Promise.all(runs)
      clearInterval(interval)
      console.log('ticks', ticks)`)
    const ticks = Number(await running.line('ticks'))
    assert.ok(ticks >= 20, `${ticks} ticks in more than a second`)
    await running.ended
  })
})
