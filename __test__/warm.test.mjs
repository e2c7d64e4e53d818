import assert from 'node:assert/strict'
import { test } from 'node:test'
import { setTimeout } from 'node:timers/promises'
import { compute, local } from '../index.js'

/** Says whether it runs in an interpreter that was up before. */
const IS_WARM = "print('posix.read' '(3' in open('/proc/self/cmdline').read())"

async function until(warm, sandbox) {
  const deadline = Date.now() + 10_000
  while ((await sandbox.runCode(IS_WARM, 'python')).stdout !== `${warm}\n`) {
    assert.ok(Date.now() < deadline, 'it takes too long')
  }
}

async function within(config, work) {
  const sandbox = await compute.sandbox.create({ provider: local(config) })
  try {
    return await work(sandbox)
  } finally {
    await sandbox.destroy()
  }
}

test('later code runs in an interpreter that is up, as the first did', async () => {
  await within({}, async (sandbox) => {
    const code = "import sys\nprint(sys.argv, 'x' in globals(), input())\nx = 1\nsys.exit(3)"
    const options = { stdin: 'in', throwOnError: false }
    const { stdout, exitCode } = await sandbox.runCode(code, 'python', options)
    await until('True', sandbox)
    const later = await sandbox.runCode(code, 'python', options)
    assert.deepEqual([later.stdout, later.exitCode], [stdout, exitCode])
    assert.deepEqual([stdout, exitCode], ["['-c'] False in\n", 3])
    assert.deepEqual(await sandbox.processes(), [])
  })
})

test('modules that are named are there before code asks for them', async () => {
  const preload = ['json', 'decimal']
  await within({ warm: { python: { preload } } }, async (sandbox) => {
    await until('True', sandbox)
    const { stdout } = await sandbox.runCode(
      "import sys; print('json' in sys.modules, 'decimal' in sys.modules, 'csv' in sys.modules)",
    )
    assert.equal(stdout, 'True True False\n')
  })
})

test('a run that takes too long is killed, and the next has an interpreter of its own', async () => {
  await within({ warm: { python: true } }, async (sandbox) => {
    await until('True', sandbox)
    const result = await sandbox.runCode('while True: pass', 'python', { timeout: 200, throwOnError: false })
    assert.deepEqual([result.timedOut, result.exitCode], [true, 124])
    assert.equal((await sandbox.runCode('print(1)')).stdout, '1\n')
  })
})

/** Likewise in Node.js, whose arguments are not what it was started with. */
const IS_WARM_NODE =
  "console.log(!require('fs').readFileSync('/proc/self/cmdline', 'latin1').includes('-e\\0'))"

async function untilNode(sandbox) {
  const deadline = Date.now() + 10_000
  while ((await sandbox.runCode(IS_WARM_NODE, 'node')).stdout !== 'true\n') {
    assert.ok(Date.now() < deadline, 'it takes too long')
    await setTimeout(150)
  }
  await setTimeout(300)
}

test('later scripts run in a Node.js that is up, as the first did', async () => {
  await within({}, async (sandbox) => {
    const code = `
      console.log(process.argv.length, typeof x, module.id, process.env.A, require('fs').readFileSync(0, 'utf8'))
      globalThis.x = 1
      process.exitCode = 3`
    const options = { stdin: 'in', env: { A: 'ä' }, throwOnError: false }
    const { stdout, exitCode } = await sandbox.runCode(code, 'node', options)
    assert.deepEqual([stdout, exitCode], ['1 undefined [eval] ä in\n', 3])
    await untilNode(sandbox)
    const later = await sandbox.runCode(code, 'node', options)
    assert.deepEqual([later.stdout, later.exitCode], [stdout, exitCode])
    assert.deepEqual(await sandbox.processes(), [])
  })
})

test('what does not parse is an error in a warm sandbox too', async () => {
  await within({ warm: { node: true } }, async (sandbox) => {
    await untilNode(sandbox)
    await assert.rejects(sandbox.runCode('let a = b c', 'node'), {
      name: 'CodeSyntaxError',
      message: /Unexpected identifier/,
    })
    assert.equal((await sandbox.runCode('export {}; console.log(await 1)', 'node')).stdout, '1\n')
  })
})

test('both languages are warm at once', async () => {
  await within({ warm: { node: true, python: true } }, async (sandbox) => {
    await until('True', sandbox)
    await untilNode(sandbox)
    await until('True', sandbox)
  })
})

test('nothing is warm where nothing is to be', async () => {
  for (const warm of [false, { python: false, node: false }]) {
    await within({ warm }, async (sandbox) => {
      for (let i = 0; i < 5; i++) {
        assert.equal((await sandbox.runCode(IS_WARM, 'python')).stdout, 'False\n')
        assert.equal((await sandbox.runCode(IS_WARM_NODE, 'node')).stdout, 'false\n')
        await setTimeout(50)
      }
    })
  }
})

test('what cannot be had is refused by name', async () => {
  const refused = (warm, error) => assert.throws(() => local({ warm }), error)
  refused('yes', { code: 'INVALID_ARGUMENT', message: /`local\.warm`/ })
  refused({ ruby: true }, { code: 'INVALID_ARGUMENT', message: /`warm` has no option `ruby`/ })
  refused({ python: { preload: 'numpy' } }, { code: 'INVALID_ARGUMENT', message: /preload/ })
  refused({ node: 'yes' }, { code: 'INVALID_ARGUMENT', message: /`warm\.node`/ })
  await assert.rejects(
    within({ warm: { python: { preload: ['os; import x'] } } }, () => {}),
    { code: 'INVALID_ARGUMENT', message: /`os; import x`/ },
  )
})
