// Processes that are given at once: spawn, what is read of them and written to them, their ends.

import assert from 'node:assert/strict'
import { before, describe } from 'node:test'

import {
  AbortError,
  CommandExitError,
  createCompute,
  InvalidArgumentError,
  local,
  NotFoundError,
  UnavailableError,
} from '../index.js'
import { eventually, failure, output, sandbox, test } from './support.mjs'

let box

before(async () => {
  box = await sandbox()
})

/** What `seq` writes. */
const sequence = (last) => Array.from({ length: last }, (_, at) => `${at + 1}\n`).join('')

/** All that an iterable gives, as one text. */
async function all(pieces) {
  let text = ''
  for await (const piece of pieces) text += typeof piece === 'string' ? piece : Buffer.from(piece).toString()
  return text
}

describe('spawn', () => {
  test('gives a process at once, and awaiting it gives its result', async () => {
    const child = box.spawn('echo out; echo err >&2; exit 3')
    assert.equal(child.pid, undefined)
    assert.equal(Object.prototype.toString.call(child), '[object Process]')
    const result = await child
    assert.ok(child.pid > 1)
    assert.deepEqual([result.stdout, result.stderr, result.exitCode], ['out\n', 'err\n', 3])
    assert.ok(Number.isInteger(result.durationMs) && result.durationMs >= 1)
    assert.deepEqual([result.sandboxId, result.provider], [box.sandboxId, 'local'])
    assert.equal('isBackground' in result || 'truncated' in result, false)
    assert.deepEqual(await child.wait(), result)
  })

  test('takes a command in each of its forms', async () => {
    const env = { A: 'a b' }
    assert.equal((await box.spawn('echo "$A" $0', { env, cwd: '/tmp' })).stdout, 'a b bash\n')
    assert.equal((await box.spawn('printf', ['%s|', '$A', 'b c'], { env })).stdout, '$A|b c|')
    assert.equal((await box.spawn(['printf', '%s|', '$A'])).stdout, '$A|')
  })

  test('throws at once what is wrong with the call, and begins nothing', async () => {
    const wrong = [
      [],
      [1],
      [''],
      [[]],
      ['a\0b'],
      ['true', 'args'],
      ['true', [1]],
      ['true', { cwd: 'relative' }],
      ['true', { nonsense: 1 }],
      ['true', { timeout: -1 }],
      ['true', { env: { 'a=b': '' } }],
      ['true', { background: true }],
      ['true', { stdin: 1 }],
      ['true', { stdin: () => {} }],
      ['true', { signal: {} }],
      ['true', { maxOutput: 1.5 }],
    ]
    for (const args of wrong) {
      const details = { name: 'InvalidArgumentError', operation: 'spawn', sandboxId: box.sandboxId }
      assert.throws(() => box.spawn(...args), details, JSON.stringify(args))
    }
    assert.deepEqual(await box.processes(), [])
  })

  test('leaves a source alone that it could not take', async () => {
    const stream = new Blob(['text']).stream()
    assert.throws(() => box.spawn('cat', { stdin: stream, signal: 1 }), InvalidArgumentError)
    await eventually('it is closed', () => stream.locked === false)
  })

  test('is a promise: then, catch, finally', async () => {
    const order = []
    const exitCode = await box.spawn('exit 4').then((result) => result.exitCode)
    const result = await box.spawn('true').finally(() => order.push('finally'))
    const caught = await box.spawn('true', { cwd: '/nowhere' }).catch((error) => error)
    assert.deepEqual([exitCode, result.exitCode, order], [4, 0, ['finally']])
    assert.ok(caught instanceof NotFoundError && caught.message.includes('/nowhere'), caught)
    const both = await Promise.all([box.spawn('echo 1'), box.spawn('echo 2')])
    assert.deepEqual(
      both.map(({ stdout }) => stdout),
      ['1\n', '2\n'],
    )
  })

  test('that could not start says so to whoever looks', async () => {
    const child = box.spawn('true', { cwd: '/nowhere' })
    const looks = [
      child.wait(),
      child.then(),
      all(child),
      all(child.stdout),
      child.stderr.getReader().read(),
      child.stdin.write('x'),
      child.stdin.end(),
      child.kill(),
    ]
    for (const look of looks) await failure(look, NotFoundError, { message: /nowhere/ })
    assert.equal(child.pid, undefined)
  })

  test('that could not start, or failed, harms nobody when nobody looks', async () => {
    const printed = await output(`
      const box = await c.local().sandbox.create()
      box.spawn('true', { cwd: '/nowhere' })
      const { stdout, stderr, stdin } = box.spawn('true', { cwd: '/nowhere' })
      box.spawn('true', { signal: AbortSignal.abort() })
      box.spawn('exit 3', { throwOnError: true })
      box.spawn('echo; sleep 1000', { onStdout: () => { throw new Error('mine') } })
      await box.runCommand('sleep 0.3')
      await box.destroy()
      console.log('unharmed')`)
    assert.equal(printed, 'unharmed\n')
  })

  test('raises a non-zero exit if it is asked to', async () => {
    const child = box.spawn('echo out; exit 5', { throwOnError: true })
    const error = await failure(child, CommandExitError, { operation: 'wait', sandboxId: box.sandboxId })
    assert.deepEqual([error.result.exitCode, error.result.stdout], [5, 'out\n'])
    assert.equal(await failure(child.wait()), error)
    // A strict instance is strict with `runCommand` alone.
    const strict = await createCompute({ provider: local() }).sandbox.create()
    assert.equal((await strict.spawn('exit 5')).exitCode, 5)
    await strict.destroy()
  })

  test('ends with its time limit, and with its signal', async () => {
    const late = await box.spawn('echo out; sleep 1000', { timeout: 300 })
    assert.deepEqual([late.exitCode, late.timedOut, late.stdout], [124, true, 'out\n'])
    for (let turn = 0; turn < 20; turn++)
      assert.equal((await box.spawn('sleep 1000', { timeout: 1 })).timedOut, true)
    const controller = new AbortController()
    const child = box.spawn('echo out; sleep 1000', { signal: controller.signal })
    for await (const text of child) if (text.includes('out')) controller.abort('enough')
    const error = await failure(child, AbortError, { cause: 'enough', operation: 'wait' })
    assert.equal(error.result.stdout, 'out\n')
    const never = box.spawn('touch /tmp/never', { signal: AbortSignal.abort('before') })
    await failure(never, AbortError, { cause: 'before' })
    assert.equal(await box.filesystem.exists('/tmp/never'), false)
  })

  test('leaves its signal as it was', async () => {
    const { signal } = new AbortController()
    let listening = 0
    for (const [method, by] of [
      ['addEventListener', 1],
      ['removeEventListener', -1],
    ]) {
      signal[method] = (...args) => {
        listening += by
        return AbortSignal.prototype[method].apply(signal, args)
      }
    }
    const child = box.spawn('read x', { signal })
    await child.stdin.write('')
    assert.equal(listening, 1)
    await child.stdin.end()
    await child
    await box.spawn('true', { signal, cwd: '/nowhere' }).catch(() => {})
    await eventually('nobody listens', () => listening === 0)
  })
})

describe('what a process writes', () => {
  test('is text, of both streams, as it comes', async () => {
    const child = box.spawn('echo one; read x; echo two >&2; read x; printf three')
    const heard = []
    for await (const text of child) {
      heard.push(text)
      await child.stdin.write('\n').catch(() => {})
    }
    assert.deepEqual(heard, ['one\n', 'two\n', 'three'])
  })

  test('is never a part of a character', async () => {
    const line = String.raw`for byte in 303 251 342 230 225 360 237 230 200; do printf \\$byte; sleep 0.01; done; printf '\360'`
    const heard = []
    for await (const text of box.spawn(line)) heard.push(text)
    assert.deepEqual(heard, ['é', '☕', '😀', '\uFFFD'])
  })

  test('is all there for every reader, however it reads', async () => {
    const child = box.spawn('seq 300000; echo err >&2')
    const expected = sequence(300_000)
    const written = []
    const [iterated, again, answered, errors] = await Promise.all([
      all(child),
      all(child),
      new Response(child.stdout).text(),
      all(child.stderr),
    ])
    assert.equal(iterated.replace('err\n', ''), expected)
    assert.equal(again.replace('err\n', ''), expected)
    assert.equal(answered, expected)
    assert.equal(errors, 'err\n')
    const piped = box.spawn('seq 300000')
    await piped.stdout.pipeTo(new WritableStream({ write: (bytes) => void written.push(bytes) }))
    assert.ok(written.every((bytes) => bytes instanceof Uint8Array))
    assert.equal(Buffer.concat(written).toString(), expected)
    assert.equal((await piped).truncated, true)
  })

  test('is a stream that is one, and the same every time', async () => {
    const child = box.spawn('printf abc; exec sleep 1000')
    assert.ok(child.stdout instanceof ReadableStream)
    assert.equal(child.stdout, child.stdout)
    assert.notEqual(child.stdout, child.stderr)
    const reader = child.stdout.getReader()
    const { value, done } = await reader.read()
    assert.deepEqual([Buffer.from(value).toString(), done], ['abc', false])
    // Given up in the middle of a read: the process goes on.
    const reading = reader.read()
    await reader.cancel()
    assert.deepEqual(await reading, { value: undefined, done: true })
    assert.equal(
      (await box.processes()).some(({ pid }) => pid === child.pid),
      true,
    )
    await child.kill()
    assert.equal((await child).signal, 'SIGKILL')
  })

  test('holds up the process while somebody is slow, and nobody after that', async () => {
    const child = box.spawn('seq 1000000; touch /tmp/written')
    let first
    for await (const text of child) {
      first = text
      // Far longer than it would take to write it all.
      await box.runCommand('seq 4000000 > /dev/null')
      assert.equal(await box.filesystem.exists('/tmp/written'), false)
      break
    }
    assert.ok(sequence(200_000).startsWith(first))
    const result = await child
    assert.equal(result.stdout.length, 1 << 20)
    assert.ok(result.truncated && result.stdout.endsWith('999999\n1000000\n'))
  })

  test('costs no memory that nobody reads, or reads slowly', async () => {
    const printed = await output(
      `const box = await c.local().sandbox.create()
       const measure = () => { gc(); return process.memoryUsage().rss >> 20 }
       await box.runCommand('head -c 10000000 /dev/zero')
       const before = measure()
       const children = Array.from({ length: 8 }, () => box.spawn('head -c 100000000 /dev/zero; exec sleep 1000'))
       const slow = children.slice(4).map(async (child) => {
         for await (const text of child) await new Promise((resolve) => setTimeout(resolve, 50))
       })
       await box.runCommand('until [ $(pgrep -xc sleep) -ge 4 ]; do sleep 0.05; done')
       console.log(before, measure())
       await box.destroy()
       await Promise.all(slow)`,
      { flags: ['--expose-gc'] },
    )
    const [before, after] = printed.trim().split(' ').map(Number)
    // 1 MiB of each is kept, and as much again may be on its way.
    assert.ok(after - before < 96, `RSS: ${before} MiB, then ${after} MiB`)
  })

  test('is kept as far as maxOutput says', async () => {
    const result = await box.spawn('printf 12345; printf 123 >&2', { maxOutput: 4 })
    assert.deepEqual([result.stdout, result.stderr, result.truncated], ['2345', '123', true])
  })
})

describe('what a process reads', () => {
  test('is open until it is ended, and arrives in the order of the calls', async () => {
    const child = box.spawn('sort -c && echo sorted; echo end')
    const waits = []
    for (let turn = 0; turn < 50; turn++)
      waits.push(child.stdin.write(`${String(turn).padStart(9, '0')}\n`.repeat(10_000)))
    waits.push(child.stdin.end(), child.stdin.end())
    await Promise.all(waits)
    assert.equal((await child).stdout, 'sorted\nend\n')
    const bytes = box.spawn('cat')
    await bytes.stdin.write(new TextEncoder().encode('bytes ☕'))
    await bytes.stdin.end()
    assert.equal((await bytes).stdout, 'bytes ☕')
  })

  test('is refused once it no longer reads', async () => {
    const child = box.spawn('exit 0')
    await child
    await failure(child.stdin.write('x'), UnavailableError, { operation: 'stdin.write', code: 'UNAVAILABLE' })
    await child.stdin.end()
    for (const data of [1, null, undefined, {}, [1]]) {
      await failure(child.stdin.write(data), InvalidArgumentError, { message: /data/ })
    }
  })

  test('may be given as an option instead', async () => {
    assert.equal((await box.spawn('cat', { stdin: 'text' })).stdout, 'text')
    let closed = false
    async function* source() {
      try {
        for (;;) yield 'more\n'
      } finally {
        closed = true
      }
    }
    assert.equal((await box.spawn('head -n 2', { stdin: source() })).stdout, 'more\nmore\n')
    await eventually('the source is closed', () => closed)
    const broken = new Error('broken')
    const failing = box.spawn('cat', {
      stdin: new ReadableStream({ pull: () => Promise.reject(broken) }),
    })
    assert.equal(await failure(failing), broken)
  })

  test('is taken when it is written, whatever becomes of the array', async () => {
    const child = box.spawn('cat', [])
    const data = new TextEncoder().encode('hello')
    const written = child.stdin.write(data)
    data.fill(0)
    await written
    await child.stdin.end()
    assert.equal((await child).stdout, 'hello')
  })

  test('is waited for no longer than the process lives, whoever holds the pipe', async () => {
    const child = box.spawn('sleep 30 <&0 & exit 0')
    const written = failure(child.stdin.write('x'.repeat(1 << 20)), UnavailableError)
    const ended = child.stdin.end()
    assert.equal((await child).exitCode, 0)
    await Promise.all([written, ended])
  })
})

describe('kill', () => {
  test('ends everything that came of a process, or sends it a signal', async () => {
    const tree = box.spawn('setsid -f sleep 61616; nohup sleep 61616 & echo on; sleep 61616')
    for await (const text of tree) if (text.includes('on')) break
    await tree.kill()
    assert.deepEqual([(await tree).signal, (await tree).exitCode], ['SIGKILL', 137])
    await eventually(
      'all are dead',
      async () => (await box.runCommand('pgrep -fx "sleep 61616"')).exitCode === 1,
    )
    await tree.kill()
    await tree.kill('SIGTERM')
    const trap = box.spawn("trap 'echo caught; exit 6' USR1; echo on; while :; do read -t 0.05 x; done")
    for await (const text of trap) if (text.includes('on')) break
    await trap.kill('SIGUSR1')
    assert.deepEqual([(await trap).stdout, (await trap).exitCode], ['on\ncaught\n', 6])
    const sleeper = box.spawn('exec sleep 1000')
    await sleeper.kill('SIGTERM')
    assert.deepEqual([(await sleeper).signal, (await sleeper).exitCode], ['SIGTERM', 143])
  })

  test('refuses what is no signal', async () => {
    const child = box.spawn('read x')
    for (const signal of ['TERM', 'SIGFOO', '', 15, null]) {
      await failure(child.kill(signal), InvalidArgumentError, { message: /signal/ })
    }
    await child.stdin.end()
    assert.equal((await child).exitCode, 1)
  })

  test('is not needed at the end of a sandbox: everybody is told', async () => {
    const own = await sandbox()
    const child = own.spawn('echo on; sleep 1000')
    const reading = all(child)
    const waiting = failure(child, NotFoundError, { message: /destroyed/, operation: 'wait' })
    for await (const text of child) if (text.includes('on')) break
    await own.destroy()
    await waiting
    assert.equal(await reading, 'on\n')
    await child.kill()
    await failure(own.spawn('true'), NotFoundError, { message: /destroyed/ })
    await failure(own.getProcess(child.pid), NotFoundError)
    await failure(own.processes(), NotFoundError)
  })
})
