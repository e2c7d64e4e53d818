// Limits that say so, and what a sandbox uses.

import assert from 'node:assert/strict'
import { describe } from 'node:test'

import { CommandExitError, local, NotFoundError } from '../index.js'
import { eventually, failure, sandbox, test } from './support.mjs'

const MIB = 2 ** 20
/** Takes more memory than a sandbox of `small` has. */
const BOMB = 'x = b"x" * (1 << 30)'

const small = () => sandbox({ resources: { memory: 96 * MIB, disk: 16 * MIB } })

/** Whether limits hold for the sandbox as a whole. */
const isWhole = async (box) => (await box.getInfo()).limits.enforcement === 'cgroup'

describe('a command that memory runs out under', () => {
  test('says so, where that is known', async () => {
    const box = await small()
    const whole = await isWhole(box)
    const results = [
      await box.runCommand('python3', ['-c', BOMB]),
      await box.runCommand(`python3 -c '${BOMB}'; exit $?`),
      await box.runCode(BOMB, 'python'),
      await box.spawn('python3', ['-c', BOMB]),
      (await failure(box.runCommand('python3', ['-c', BOMB], { throwOnError: true }), CommandExitError))
        .result,
    ]
    for (const { oomKilled, exitCode, stderr } of results) {
      assert.equal(oomKilled, whole ? true : undefined)
      assert.equal(exitCode, whole ? 137 : 1, stderr)
    }
    const other = await box.runCommand('kill -9 $$')
    assert.deepEqual([other.signal, 'oomKilled' in other], ['SIGKILL', false])
    assert.equal((await box.runCommand('echo lives')).stdout, 'lives\n')
    await box.destroy()
  })
})

describe('getMetrics', () => {
  test('tells what is used, and of how much', async () => {
    const box = await local().sandbox.create({
      resources: { memory: 256 * MIB, disk: 64 * MIB, processes: 50 },
    })
    const before = await box.getMetrics()
    assert.ok(before.memoryUsed < 64 * MIB && before.diskUsed < MIB, JSON.stringify(before))
    assert.deepEqual([before.memoryTotal, before.diskTotal, before.processesTotal], [256 * MIB, 64 * MIB, 50])
    assert.ok(before.cpus > 0 && before.cpuPercent >= 0)
    assert.ok(Math.abs(before.measuredAt - Date.now()) < 10_000)

    await box.filesystem.writeFile('/tmp/file', new Uint8Array(8 * MIB))
    await box.runCommand('for n in 1 2 3; do sleep 1000 & done', { background: true })
    await eventually('what was begun', async () => {
      const now = await box.getMetrics()
      return now.diskUsed - before.diskUsed >= 8 * MIB && now.processes - before.processes >= 3
    })
    await box.destroy()
    await failure(box.getMetrics(), NotFoundError)
  })
})
