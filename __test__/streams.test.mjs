// What goes into a command and what comes out of it while it runs: stdin, onStdout, onStderr, maxOutput.

import assert from 'node:assert/strict'
import { createReadStream, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { before, describe } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'

import { InvalidArgumentError } from '../index.js'
import { eventually, failure, sandbox, test } from './support.mjs'

let box

before(async () => {
  box = await sandbox()
})

describe('onStdout and onStderr', () => {
  test('get what is written while the command runs', async () => {
    const heard = []
    await box.runCommand(['mkfifo', '/tmp/go'])
    const run = box.runCommand('echo one; cat /tmp/go', { onStdout: (text) => heard.push(text) })
    await eventually('the first line is heard', () => heard.join('') === 'one\n')
    await box.runCommand('echo two > /tmp/go')
    assert.equal((await run).stdout, 'one\ntwo\n')
    assert.equal(heard.join(''), 'one\ntwo\n')
  })

  test('are told apart', async () => {
    const heard = { out: '', err: '' }
    const result = await box.runCommand('for i in 1 2 3; do echo o$i; echo e$i >&2; done', {
      onStdout: (text) => {
        heard.out += text
      },
      onStderr: (text) => {
        heard.err += text
      },
    })
    assert.deepEqual(heard, { out: 'o1\no2\no3\n', err: 'e1\ne2\ne3\n' })
    assert.deepEqual(heard, { out: result.stdout, err: result.stderr })
  })

  test('have got everything when the promise settles, and nothing after', async () => {
    const late = []
    for (let turn = 0; turn < 30; turn++) {
      let heard = ''
      let settled = false
      const onStdout = (text) => {
        assert.equal(typeof text, 'string')
        if (settled) late.push(text)
        heard += text
      }
      const line = 'for i in $(seq 300); do echo "$i ☕"; done'
      const { stdout } = await box.runCommand(line, { onStdout })
      settled = true
      assert.equal(heard, stdout, `turn ${turn}`)
      assert.equal(stdout.length, 1692)
    }
    await sleep(50)
    assert.deepEqual(late, [])
  })

  test('are waited for when they are slow', async () => {
    let heard = 0
    const { stdout } = await box.runCommand('for i in $(seq 20); do echo $i; sleep 0.005; done', {
      onStdout: (text) => {
        const end = performance.now() + 10
        while (performance.now() < end);
        heard += text.length
      },
    })
    assert.equal(heard, stdout.length)
  })

  test('never get a part of a character', async () => {
    const text = 'é☕😀z'.repeat(10)
    const code = `
import sys, time
for byte in ${JSON.stringify(text)}.encode():
    for stream in sys.stdout, sys.stderr:
        stream.buffer.write(bytes([byte]))
        stream.buffer.flush()
    time.sleep(0.002)
`
    const heard = { out: [], err: [] }
    await box.runCode(code, 'python', {
      onStdout: (piece) => heard.out.push(piece),
      onStderr: (piece) => heard.err.push(piece),
    })
    for (const pieces of Object.values(heard)) {
      assert.equal(pieces.join(''), text)
      assert.ok(pieces.length > 3, `only ${pieces.length} pieces`)
      for (const piece of pieces) assert.ok(piece.isWellFormed?.() ?? !piece.includes('\uFFFD'), piece)
    }
  })

  test('get a character that never ends at the end', async () => {
    let heard = ''
    await box.runCommand(String.raw`printf 'a\xf0\x9f\x98'`, {
      onStdout: (text) => {
        heard += text
      },
    })
    assert.equal(heard, 'a\uFFFD')
  })

  test('that throw end the command, and the call is rejected with that very error', async () => {
    for (const name of ['onStdout', 'onStderr']) {
      const mine = new RangeError('not like this')
      let calls = 0
      const run = box.runCommand('echo on; echo on >&2; exec sleep 54321', {
        [name]: () => {
          calls++
          throw mine
        },
      })
      assert.equal(await failure(run), mine)
      assert.equal(calls, 1)
      assert.equal((await box.runCommand(['pgrep', '-fc', '^sleep 54321$'])).stdout, '0\n')
    }
  })

  test('that throw at the last moment reject as well', async () => {
    for (let turn = 0; turn < 20; turn++) {
      const mine = new Error(`turn ${turn}`)
      const throwing = () => {
        throw mine
      }
      assert.equal(await failure(box.runCommand('echo on', { onStdout: throwing })), mine)
    }
  })

  test('may be asynchronous: they are awaited, and reject the call', async () => {
    const heard = []
    const onStdout = async (text) => {
      await sleep(5)
      heard.push(text)
    }
    const result = await box.runCommand('for i in 1 2 3 4 5; do echo $i; sleep 0.01; done', { onStdout })
    assert.equal(heard.join(''), result.stdout)
    const boom = new Error('boom')
    const rejecting = box.runCommand('echo on; sleep 1000', { onStdout: () => Promise.reject(boom) })
    await assert.rejects(rejecting, (error) => error === boom)
  })

  test('may throw what is no error', async () => {
    const thrown = { not: 'an error' }
    const run = box.runCommand('echo on', {
      onStdout: () => {
        throw thrown
      },
    })
    const caught = await run.then(assert.fail, (error) => error)
    assert.equal(caught, thrown)
  })

  test('may call the sandbox themselves', async () => {
    const inner = []
    await box.runCommand('echo one; echo two >&2', {
      onStdout: (text) => inner.push(box.runCommand(['echo', 'inner', text.trim()])),
    })
    assert.equal((await Promise.all(inner)).map((result) => result.stdout).join(''), 'inner one\n')
  })

  test('that are no functions are refused', async () => {
    for (const onStdout of ['print', {}, 1, null]) {
      await failure(box.runCommand('true', { onStdout }), InvalidArgumentError, { message: /onStdout/ })
    }
  })
})

describe('maxOutput', () => {
  test('limits what the result keeps, while callbacks get everything', async () => {
    let heard = 0
    const result = await box.runCommand('yes 123456789 | head -c 3000000; echo err >&2', {
      maxOutput: 1000,
      onStdout: (text) => {
        heard += text.length
      },
    })
    assert.equal(result.truncated, true)
    assert.equal(result.stdout, '123456789\n'.repeat(100))
    assert.equal(result.stderr, 'err\n')
    assert.equal(result.exitCode, 0)
    assert.equal(heard, 3_000_000)
  })

  test('is for each stream, and exactly as many bytes are not too many', async () => {
    const fits = await box.runCommand('printf 12345; printf 12345 >&2', { maxOutput: 5 })
    assert.deepEqual([fits.stdout, fits.stderr, 'truncated' in fits], ['12345', '12345', false])
    const not = await box.runCommand('printf 12345; printf 123456 >&2', { maxOutput: 5 })
    assert.deepEqual([not.stdout, not.stderr, not.truncated], ['12345', '12345', true])
    const none = await box.runCommand('printf 12345', { maxOutput: 0 })
    assert.deepEqual([none.stdout, none.truncated], ['', true])
  })

  test('does not cut through a character', async () => {
    const { stdout } = await box.runCommand('printf a☕☕', { maxOutput: 6 })
    assert.equal(stdout, 'a☕')
  })

  test('is 64 MiB unless told otherwise', async () => {
    const result = await box.runCommand('head -c 70000000 /dev/zero')
    assert.equal(result.stdout.length, 64 * 1024 * 1024)
    assert.equal(result.truncated, true)
  })
})

describe('stdin', () => {
  const echoed = async (stdin) => (await box.runCommand('cat', { stdin })).stdout

  test('is at its end unless given', async () => {
    assert.equal((await box.runCommand('cat; echo end')).stdout, 'end\n')
  })

  test('takes text', async () => {
    assert.equal(await echoed('one\ntwo ☕'), 'one\ntwo ☕')
    assert.equal(await echoed(''), '')
  })

  test('takes bytes, a view of a larger buffer too', async () => {
    assert.equal(await echoed(new TextEncoder().encode('bytes')), 'bytes')
    assert.equal(await echoed(Buffer.from('a buffer')), 'a buffer')
    assert.equal(await echoed(new Uint8Array(Buffer.from('xxinnerxx')).subarray(2, 7)), 'inner')
    const all = Uint8Array.from({ length: 256 }, (_, byte) => byte)
    const { stdout } = await box.runCommand('od -An -v -tu1 | tr -s " \\n" " "', { stdin: all })
    assert.deepEqual(stdout.trim().split(' ').map(Number), [...all])
  })

  test('takes a ReadableStream of bytes or text', async () => {
    assert.equal(await echoed(new Blob(['of a ', 'blob']).stream()), 'of a blob')
    const pieces = new ReadableStream({
      start(controller) {
        for (const piece of ['text ', new TextEncoder().encode('and '), 'bytes']) controller.enqueue(piece)
        controller.close()
      },
    })
    assert.equal(await echoed(pieces), 'text and bytes')
  })

  test('takes an async iterable', async () => {
    async function* numbers() {
      for (let number = 0; number < 1000; number++) yield `${number}\n`
    }
    const { stdout } = await box.runCommand('wc -l', { stdin: numbers() })
    assert.equal(stdout, '1000\n')
  })

  test('takes a stream of Node', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'computesdk-test-'))
    writeFileSync(join(folder, 'file'), 'y'.repeat(1_000_000))
    const { stdout } = await box.runCommand('wc -c', { stdin: createReadStream(join(folder, 'file')) })
    rmSync(folder, { recursive: true })
    assert.equal(stdout, '1000000\n')
  })

  test('carries 16 MiB unharmed', async () => {
    const bytes = new Uint8Array(16 * 1024 * 1024).map((_, at) => (at * 31) % 251)
    const { createHash } = await import('node:crypto')
    const { stdout } = await box.runCommand('sha256sum', { stdin: bytes })
    assert.equal(stdout.split(' ')[0], createHash('sha256').update(bytes).digest('hex'))
  })

  test('may be more than the command reads', async () => {
    const result = await box.runCommand('head -c 5', { stdin: 'x'.repeat(10_000_000) })
    assert.deepEqual([result.stdout, result.exitCode], ['xxxxx', 0])
  })

  test('that never ends does not keep a command from ending, and is closed', async () => {
    let closed = false
    async function* endless() {
      try {
        for (;;) {
          yield 'more\n'
          await new Promise(setImmediate)
        }
      } finally {
        closed = true
      }
    }
    const result = await box.runCommand('head -n 3', { stdin: endless() })
    assert.equal(result.stdout, 'more\nmore\nmore\n')
    await eventually('the source is closed', () => closed)
  })

  test('is written while the command answers', async () => {
    const answers = []
    let wake
    async function* questions() {
      for (let number = 0; number < 5; number++) {
        yield `${number}\n`
        while (answers.join('').split('\n').length - 1 <= number) {
          await new Promise((resolve) => {
            wake = resolve
          })
        }
      }
    }
    const result = await box.runCommand('while read -r line; do echo "got $line"; done', {
      stdin: questions(),
      onStdout: (text) => {
        answers.push(text)
        wake?.()
      },
    })
    assert.equal(result.stdout, 'got 0\ngot 1\ngot 2\ngot 3\ngot 4\n')
  })

  test('whose source fails rejects the call with that very error', async () => {
    const mine = new Error('the source broke')
    async function* broken() {
      yield 'begin'
      throw mine
    }
    assert.equal(await failure(box.runCommand('cat; sleep 1000', { stdin: broken() })), mine)
  })

  test('that gives something else is refused', async () => {
    async function* numbers() {
      yield 1
    }
    await failure(box.runCommand('cat', { stdin: numbers() }), InvalidArgumentError, { message: /stdin/ })
    for (const stdin of [1, true, null, {}, [], new Float64Array(2), new ArrayBuffer(2), () => null]) {
      await failure(box.runCommand('cat', { stdin }), InvalidArgumentError, { message: /stdin/ })
    }
  })
})
