// Ends that a caller brings about: a time limit, an AbortSignal.

import assert from 'node:assert/strict'
import { before, describe } from 'node:test'

import { AbortError, InvalidArgumentError } from '../index.js'
import { eventually, failure, sandbox, signalled, test } from './support.mjs'

let box

before(async () => {
  box = await sandbox()
})

/** How many processes in the sandbox have this text among their arguments. */
async function running(text) {
  const { stdout } = await box.runCommand(['pgrep', '-fc', text])
  return Number(stdout)
}

/** A number of seconds to sleep that no other test sleeps. */
let number = 10_000
const unique = () => `${number++}`

/** A command that leaves a whole tree of sleepers, daemons included, and says so. */
const tree = (seconds) =>
  `setsid -f sleep ${seconds}; (sleep ${seconds} & sleep ${seconds}) & nohup sleep ${seconds} & echo begun; echo oops >&2; sleep ${seconds}`

describe('a time limit', () => {
  test('is a result with 124, timedOut and the output so far', async () => {
    const result = await box.runCommand('echo out; echo err >&2; sleep 1000', { timeout: 500 })
    assert.equal(result.exitCode, 124)
    assert.equal(result.timedOut, true)
    assert.equal(result.stdout, 'out\n')
    assert.equal(result.stderr, 'err\n')
    assert.ok(result.durationMs >= 500 && result.durationMs < 20_000, String(result.durationMs))
  })

  test('kills the whole tree, daemons included', async () => {
    const seconds = unique()
    const result = await box.runCommand(tree(seconds), { timeout: 1000 })
    assert.equal(result.timedOut, true)
    assert.equal(result.stdout, 'begun\n')
    assert.equal(result.stderr, 'oops\n')
    await eventually('the tree is dead', async () => (await running(`^sleep ${seconds}$`)) === 0)
  })

  test('is none for what has ended in time, however late its listener is', async () => {
    const late = () => new Promise((resolve) => setTimeout(resolve, 900))
    const result = await box.runCommand('echo hi', { timeout: 500, onStdout: late })
    assert.deepEqual([result.exitCode, result.timedOut, result.stdout], [0, undefined, 'hi\n'])
  })

  test('kills what ignores signals', async () => {
    const seconds = unique()
    const result = await box.runCommand(`trap '' TERM INT HUP; while :; do sleep ${seconds}; done`, {
      timeout: 300,
    })
    assert.equal(result.timedOut, true)
    await eventually('it is dead', async () => (await running(seconds)) === 0)
  })

  test('spares what other commands have started', async () => {
    const [mine, others] = [unique(), unique()]
    const other = box.runCommand(['sleep', others])
    await eventually('the other runs', async () => (await running(`^sleep ${others}$`)) === 1)
    const result = await box.runCommand(['sleep', mine], { timeout: 200 })
    assert.equal(result.timedOut, true)
    assert.equal(await running(`^sleep ${others}$`), 1)
    await box.runCommand(['pkill', '-f', others])
    assert.equal((await other).signal, 'SIGTERM')
  })

  test('that is not reached changes nothing', async () => {
    const result = await box.runCommand('echo done', { timeout: 60_000 })
    assert.equal(result.stdout, 'done\n')
    assert.equal('timedOut' in result, false)
  })

  test('may be as long as a number can be', async () => {
    assert.equal((await box.runCommand('echo done', { timeout: Number.MAX_SAFE_INTEGER })).stdout, 'done\n')
  })

  test('holds while a command floods its output', async () => {
    const result = await box.runCommand('yes', { timeout: 500, maxOutput: 1000 })
    assert.equal(result.timedOut, true)
    assert.equal(result.truncated, true)
    assert.equal(result.stdout.length, 1000)
  })
})

describe('an AbortSignal', () => {
  test('that is aborted already lets nothing run', async () => {
    const reason = new Error('too late')
    const running = box.runCommand('touch /tmp/ran', { signal: AbortSignal.abort(reason) })
    const error = await failure(running, AbortError, { name: 'AbortError', code: 'ABORTED' })
    assert.equal(error.cause, reason)
    assert.equal(await box.filesystem.exists('/tmp/ran'), false)
  })

  test('ends a running command: the cause is the reason, the result what came so far', async () => {
    const controller = new AbortController()
    const reason = new Error('enough')
    const seconds = unique()
    const run = box.runCommand(tree(seconds), {
      signal: controller.signal,
      onStderr: () => controller.abort(reason),
    })
    const error = await failure(run, AbortError, {
      name: 'AbortError',
      code: 'ABORTED',
      operation: 'runCommand',
    })
    assert.equal(error.cause, reason)
    assert.equal(error.result.stdout, 'begun\n')
    assert.equal(error.result.stderr, 'oops\n')
    await eventually('the tree is dead', async () => (await running(`^sleep ${seconds}$`)) === 0)
  })

  test('has any value as its reason', async () => {
    for (const reason of ['text', 42, null, undefined]) {
      const controller = new AbortController()
      const run = box.runCommand('echo on; sleep 1000', {
        signal: controller.signal,
        onStdout: () => controller.abort(reason),
      })
      const error = await failure(run, AbortError)
      if (reason === undefined) assert.equal(error.cause.name, 'AbortError')
      else assert.equal(error.cause, reason)
    }
  })

  test('of AbortSignal.timeout ends a command', async () => {
    const error = await failure(
      box.runCommand('sleep 1000', { signal: AbortSignal.timeout(200) }),
      AbortError,
    )
    assert.equal(error.cause.name, 'TimeoutError')
  })

  test('that is aborted afterwards does nothing', async () => {
    const controller = new AbortController()
    const result = await box.runCommand('echo done', { signal: controller.signal })
    controller.abort()
    assert.equal(result.stdout, 'done\n')
    assert.equal((await box.runCommand('echo on')).stdout, 'on\n')
  })

  test('is left as it was: no listener stays, and its onabort is the user’s own', async () => {
    const controller = new AbortController()
    const { signal } = controller
    const own = () => {}
    signal.onabort = own
    const counts = { added: 0, removed: 0 }
    for (const [method, count] of [
      ['addEventListener', 'added'],
      ['removeEventListener', 'removed'],
    ]) {
      signal[method] = (...args) => {
        counts[count]++
        return AbortSignal.prototype[method].apply(signal, args)
      }
    }
    await box.runCommand('true', { signal })
    await box.runCode('1', 'node', { signal })
    await failure(box.runCommand('true', { signal, cwd: '/nowhere' }))
    assert.equal(signal.onabort, own)
    assert.ok(counts.added > 0)
    assert.equal(counts.added, counts.removed)
  })

  test('may serve many commands at once, without a warning', async () => {
    const warnings = []
    const warn = (warning) => warnings.push(warning.name)
    process.on('warning', warn)
    const controller = new AbortController()
    const seconds = unique()
    const { promise: all, resolve } = signalled()
    let begun = 0
    const onStdout = () => ++begun === 20 && resolve()
    const runs = Array.from({ length: 20 }, () =>
      failure(box.runCommand(`echo; sleep ${seconds}`, { signal: controller.signal, onStdout }), AbortError),
    )
    await all
    controller.abort('all')
    assert.deepEqual(
      (await Promise.all(runs)).map((error) => error.cause),
      Array(20).fill('all'),
    )
    await new Promise(setImmediate)
    process.off('warning', warn)
    assert.deepEqual(warnings, [])
    assert.equal(await running(`^sleep ${seconds}$`), 0)
  })

  test('ends code as well', async () => {
    const controller = new AbortController()
    const run = box.runCode('import time\nprint("on", flush=True)\ntime.sleep(1000)', {
      signal: controller.signal,
      onStdout: () => controller.abort('stop'),
    })
    const error = await failure(run, AbortError, { cause: 'stop', operation: 'runCode' })
    assert.equal(error.result.stdout, 'on\n')
  })

  test('aborted at any moment leaves nothing that runs', async () => {
    const seconds = unique()
    for (let turn = 0; turn < 60; turn++) {
      const controller = new AbortController()
      const run = box.runCommand(['sleep', seconds], { signal: controller.signal })
      const ended = failure(run, AbortError)
      if (turn % 3 === 1) await Promise.resolve()
      for (let tick = 0; tick < turn % 20; tick++) await new Promise(setImmediate)
      controller.abort()
      await ended
    }
    await eventually('all are dead', async () => (await running(`^sleep ${seconds}$`)) === 0)
  })

  test('that is none is refused', async () => {
    for (const signal of [{}, 'abort', 1, null, new AbortController()]) {
      await failure(box.runCommand('true', { signal }), InvalidArgumentError, { message: /signal/ })
    }
  })
})
