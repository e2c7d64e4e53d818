// Snapshots of local sandboxes, as JavaScript sees them.

import assert from 'node:assert/strict'
import { release } from 'node:os'
import { describe } from 'node:test'

import {
  compute,
  InvalidArgumentError,
  local,
  NotFoundError,
  QuotaExceededError,
  UnavailableError,
} from '../index.js'
import { eventually, failure, program, sandbox, test } from './support.mjs'

const provider = local()

/** What a line prints there. */
async function printed(box, line) {
  const { stdout, stderr, exitCode } = await box.runCommand(line)
  assert.equal(exitCode, 0, stderr)
  return stdout
}

const [major, minor] = release().split('.').map(Number)
const tooOld = major < 6 || (major === 6 && minor < 6)

describe('a snapshot', { skip: tooOld && 'the kernel is older than Linux 6.6' }, () => {
  test('is what other sandboxes are made from', async () => {
    const one = await sandbox()
    await one.filesystem.writeFile('/app/state', 'kept')
    const snapshot = await one.snapshot()
    assert.match(snapshot.id, /^snap_[0-9a-f]{32}$/)
    assert.deepEqual(snapshot.names, [])
    await one.filesystem.writeFile('/app/state', 'changed')
    const others = await Promise.all(
      Array.from({ length: 20 }, () => compute.sandbox.create({ provider, templateId: snapshot.id })),
    )
    await Promise.all(others.map((other, n) => other.filesystem.writeFile(`/app/${n}`, `${n}`)))
    for (const [n, other] of others.entries()) {
      assert.equal(await printed(other, 'cat /app/state; ls /app | wc -l'), 'kept2\n')
      assert.equal(await other.filesystem.readFile(`/app/${n}`), `${n}`)
    }
    assert.equal(await one.filesystem.readFile('/app/state'), 'changed')
    await Promise.all(others.map((other) => other.destroy()))
    await provider.snapshots.delete(snapshot.id)
  })

  test('has a name, is listed, and is deleted when nobody uses it', async () => {
    const one = await sandbox()
    const snapshot = await one.snapshot({ name: 'js-named' })
    assert.deepEqual(snapshot.names, ['js-named'])
    // Whichever `local()` is asked.
    assert.ok((await local({ timeout: 1000 }).snapshots.list()).some(({ id }) => id === snapshot.id))
    const two = await provider.sandbox.create({ templateId: 'js-named' })
    const error = await failure(provider.snapshots.delete(snapshot.id), UnavailableError, {
      operation: 'snapshots.delete',
      provider: 'local',
    })
    assert.match(error.hint, /destroy/)
    await two.destroy()
    await provider.snapshots.delete('js-named')
    await provider.snapshots.delete(snapshot.id)
    assert.ok(!(await provider.snapshots.list()).some(({ id }) => id === snapshot.id))
  })

  test('has code, packages and the language of its sandbox', async () => {
    const one = await provider.sandbox.create({ runtime: 'python', envs: { SECRET: 'x' } })
    await one.filesystem.writeFile('/home/user/module.py', 'answer = 42\n')
    await one.runCode('import module')
    const snapshot = await one.snapshot()
    const two = await provider.sandbox.create({ templateId: snapshot.id })
    assert.match((await two.getInfo()).runtime, /^python/)
    const { stdout } = await two.runCode('import module, os; print(module.answer, os.environ.get("SECRET"))')
    assert.equal(stdout, '42 None\n')
    const node = await provider.sandbox.create({ templateId: snapshot.id, runtime: 'node' })
    assert.equal(
      (await node.runCode('console.log(require("fs").readdirSync(".").includes("module.py"))')).stdout,
      'true\n',
    )
    await Promise.all([one, two, node].map((one) => one.destroy()))
    await provider.snapshots.delete(snapshot.id)
  })

  test('of something that is not there, is wrong or is too large says so', async () => {
    const one = await sandbox()
    await failure(one.snapshot({ name: 'no/name' }), InvalidArgumentError, { message: /`name`.*no\/name/ })
    await failure(one.snapshot({ name: 1 }), InvalidArgumentError)
    await failure(one.snapshot({ tag: 'x' }), InvalidArgumentError)
    await failure(provider.snapshots.delete(1), InvalidArgumentError)
    await failure((async () => local({ snapshotMemory: -1 }))(), InvalidArgumentError, {
      message: /snapshotMemory/,
    })
    const small = await local({ snapshotMemory: 2 ** 20, spares: 0 }).sandbox.create()
    await printed(small, 'head -c 3000000 /dev/urandom > ~/large')
    const error = await failure(small.snapshot(), QuotaExceededError, {
      operation: 'snapshot',
      message: /1048576/,
    })
    assert.match(error.hint, /snapshotMemory/)
    const named = await one.snapshot({ name: 'js-known' })
    const missing = await failure(provider.sandbox.create({ templateId: 'js-unknown' }), NotFoundError, {
      message: /`js-unknown`/,
    })
    assert.match(missing.hint, /js-known/)
    await provider.snapshots.delete(named.id)
    await one.destroy()
    await failure(one.snapshot(), NotFoundError, { operation: 'snapshot' })
  })

  test('ends with its process', async () => {
    const child = program(`
      const box = await c.local().sandbox.create()
      await box.filesystem.writeFile('/app/file', Buffer.alloc(5_000_000))
      const { id } = await box.snapshot({ name: 'of-a-child' })
      const other = await c.local().sandbox.create({ templateId: id })
      console.log('read ' + (await other.filesystem.readFile('/app/file', { encoding: 'bytes' })).length)
      process.kill(process.pid, 'SIGKILL')
    `)
    assert.equal(await child.line('read '), '5000000')
    await child.ended
    await eventually('this process sees none of it', async () => {
      const names = (await provider.snapshots.list()).flatMap(({ names }) => names)
      return !names.includes('of-a-child')
    })
  })
})
