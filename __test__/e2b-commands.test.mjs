// Commands, processes, terminals and code in sandboxes of E2B. What all providers do alike is in `tests/conformance`; here
// is what is E2B's own, and what other clients of it get wrong.

import assert from 'node:assert/strict'
import { describe } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'

import { AbortError, e2b, NotFoundError, UnsupportedError } from '../index.js'
import { science } from './documents/science.mjs'
import { e2bFake } from './fakes.mjs'
import { eventually, failure, output, program, test } from './support.mjs'

const { python, missing } = await science()
const fake = await e2bFake({ python })
const { sandbox } = e2b(fake.account)
const shared = await sandbox.create({ envs: { OF: 'sandbox', BOTH: 'sandbox' } })
const terminated = (text) => text.replaceAll('\r', '')

/** A program that finds the shared sandbox, in a process of its own. */
function elsewhere(source) {
  return `const { sandbox } = c.e2b(${JSON.stringify(fake.account)})
    const box = await sandbox.getById(${JSON.stringify(shared.sandboxId)})
    ${source}`
}

/** How many processes of this line run in a sandbox. */
async function running(box, line) {
  const { stdout } = await box.runCommand('cat /proc/[0-9]*/cmdline | tr "\\0" " "')
  return stdout.split(line).length - 1
}

describe('a command', () => {
  test('has no time limit but the one it is given', async () => {
    const asked = await fake.asked(async () => {
      await shared.runCommand('true')
      await shared.runCommand('true', { timeout: 5_000 })
      await shared.runCommand('true', { background: true })
      await shared.runCode('print(1)')
      const terminal = await shared.terminal.create({ command: 'cat' })
      await terminal.kill()
    })
    const starts = asked.filter(({ path }) => path === '/process.Process/Start')
    assert.ok(starts.length >= 5)
    for (const { headers, path } of asked) assert.equal(headers['connect-timeout-ms'], undefined, path)
    for (const { headers } of starts) assert.equal(headers['keepalive-ping-interval'], '5')
  })

  test('is one request', async () => {
    const asked = await fake.asked(() => shared.runCommand('echo "$HOME"; exit 3'))
    assert.deepEqual(
      asked.map(({ method, path }) => [method, path]),
      [['POST', '/process.Process/Start']],
    )
  })

  test('has its environment and directory in every part of its line', async () => {
    const line = 'echo "$A" && echo "$BOTH"; cd /; echo "$OF" | cat; (echo "$A"); echo "$OLDPWD"'
    const { stdout } = await shared.runCommand(line, {
      env: { A: 'it\'s "a" $B; `c`', BOTH: 'command', NONE: undefined },
      cwd: '/tmp',
    })
    const quoted = 'it\'s "a" $B; `c`'
    assert.equal(stdout, `${quoted}\ncommand\nsandbox\n${quoted}\n/tmp\n`)
    const { stdout: words } = await shared.runCommand('printf', ['%s|', '$A', 'a b', '*', ''], {
      env: { A: '1' },
    })
    assert.equal(words, '$A|a b|*||')
    await failure(shared.runCommand('true', { cwd: '/no/such' }), NotFoundError, {
      message: 'Directory not found: /no/such',
    })
  })

  test('that fails is a result, with all that it said', async () => {
    const failed = await shared.runCommand('echo out; echo err >&2; exit 7')
    assert.deepEqual([failed.stdout, failed.stderr, failed.exitCode], ['out\n', 'err\n', 7])
    const killed = await shared.runCommand('echo out; kill -9 $$')
    assert.deepEqual([killed.stdout, killed.exitCode, killed.signal], ['out\n', 137, 'SIGKILL'])
    assert.equal((await shared.runCommand('no-such-program')).exitCode, 127)
    assert.equal((await shared.runCommand('no-such-program', [])).exitCode, 127)
  })

  test('that takes too long is killed with all that came of it, and its output is kept', async () => {
    const line = 'echo out; echo err >&2; (setsid sleep 4711 &) ; sleep 4711 & sleep 4711'
    const begun = Date.now()
    const late = await shared.runCommand(line, { timeout: 700 })
    assert.ok(Date.now() - begun < 5_000)
    assert.deepEqual([late.exitCode, late.timedOut, late.stdout, late.stderr], [124, true, 'out\n', 'err\n'])
    assert.equal(await running(shared, 'sleep 4711'), 0)
  })

  test('that is aborted fails with AbortError, and with nothing else', async () => {
    const reason = new Error('enough')
    const controller = new AbortController()
    const onStdout = () => controller.abort(reason)
    const aborted = shared.runCommand('echo out; sleep 4712 & sleep 4712', {
      signal: controller.signal,
      onStdout,
    })
    const error = await failure(aborted, AbortError, { code: 'ABORTED', retryable: false })
    assert.equal(error.cause, reason)
    assert.equal(error.result.stdout, 'out\n')
    assert.doesNotMatch(error.message, /time/i)
    await eventually('it is gone', async () => (await running(shared, 'sleep 4712')) === 0)
    const before = await fake.asked(() =>
      failure(shared.runCommand('true', { signal: AbortSignal.abort() }), AbortError),
    )
    assert.deepEqual(before, [])
    // Whenever it is aborted: before it has begun, while it begins, or after that.
    for (const after of [0, 1, 2, 5, 10, 20]) {
      const signal = AbortSignal.timeout(after)
      await failure(shared.runCommand('sleep 4713', { signal }), AbortError)
    }
    await eventually('all are gone', async () => (await running(shared, 'sleep 4713')) === 0)
  })

  test('is one of 200 at once, each with its own output', async () => {
    const numbers = Array.from({ length: 200 }, (_, number) => number)
    const results = await Promise.all(
      numbers.map((number) => shared.runCommand('printf', ['%s', String(number)])),
    )
    assert.deepEqual(
      results.map(({ stdout, exitCode }) => [Number(stdout), exitCode]),
      numbers.map((number) => [number, 0]),
    )
  })

  test('gives its output as it comes, and characters as a whole', async () => {
    const pieces = []
    const line = 'for i in 1 2 3; do printf "a\\342\\202"; sleep 0.1; printf "\\254"; done'
    const { stdout } = await shared.runCommand(line, { onStdout: (text) => pieces.push(text) })
    assert.equal(stdout, 'a€a€a€')
    assert.equal(pieces.join(''), stdout)
    assert.ok(pieces.length >= 3 && !pieces.join('').includes('\uFFFD'), JSON.stringify(pieces))
  })

  test('reads what it is given', async () => {
    const { stdout } = await shared.runCommand('tr a-z A-Z', { stdin: 'hello' })
    assert.equal(stdout, 'HELLO')
    // A line that is too long for an argument.
    const long = 'x'.repeat(300_000)
    assert.equal((await shared.runCommand(`echo ${long} | wc -c`)).stdout.trim(), '300001')
  })

  test('may write 20 MB', async () => {
    const { stdout } = await shared.runCommand("head -c 20000000 /dev/zero | tr '\\0' x")
    assert.equal(stdout.length, 20_000_000)
  })
})

describe('a process that goes on', () => {
  test('outlives whoever began it, and is found again by its number', async () => {
    const source = elsewhere(`
      const { pid } = await box.runCommand('sleep 2; echo late; exit 5', { background: true })
      console.log(pid)`)
    const pid = Number(await output(source))
    const found = await shared.getProcess(pid)
    assert.ok(found, 'it runs')
    assert.ok((await shared.processes()).some((process) => process.pid === pid))
    const { stdout, exitCode } = await found.wait()
    assert.deepEqual([stdout, exitCode], ['late\n', 5])
    assert.equal(await shared.getProcess(999_999), null)
  })

  test('is found by a second provider, and ended by it with all that came of it', async () => {
    const begun = Date.now()
    const { pid } = await shared.runCommand('sleep 4714 & sleep 4714; echo never', { background: true })
    assert.ok(Date.now() - begun < 5_000)
    const source = elsewhere(`
      const found = await box.getProcess(${pid})
      await found.kill()
      const { signal } = await found.wait()
      console.log(signal)`)
    assert.equal(await output(source), 'SIGKILL\n')
    assert.equal(await running(shared, 'sleep 4714'), 0)
    const own = await shared.getProcess(pid)
    assert.equal((await own.wait()).signal, 'SIGKILL')
  })

  test('is written to and read from', async () => {
    const child = shared.spawn('sort')
    await child.stdin.write('b\n')
    await child.stdin.write('a\n')
    await child.stdin.end()
    let text = ''
    for await (const piece of child) text += piece
    assert.equal(text, 'a\nb\n')
    assert.equal((await child).exitCode, 0)
  })
})

describe('a terminal', () => {
  test('runs a command, is resized, typed into, listed and ended', async () => {
    let shown = ''
    const exited = []
    const terminal = await shared.terminal.create({
      command: 'bash --norc --noprofile',
      cols: 90,
      rows: 20,
      env: { PS1: '> ' },
      cwd: '/tmp',
      onData: (data) => {
        shown += new TextDecoder().decode(data)
      },
      onExit: (code) => exited.push(code),
    })
    const shows = (text) => eventually(text, () => terminated(shown).includes(text))
    await terminal.write('stty size; pwd\n')
    await shows('20 90\n/tmp\n')
    await terminal.resize(100, 30)
    await terminal.write('stty size\n')
    await shows('30 100\n')
    assert.deepEqual(
      (await shared.terminal.list()).map(({ id }) => id),
      [terminal.id],
    )
    await terminal.write('exit 3\n')
    await eventually('it has exited', () => exited.length)
    assert.deepEqual(exited, [3])
    assert.deepEqual([terminal.status, terminal.exitCode], ['exited', 3])
    assert.deepEqual(await shared.terminal.list(), [])
    await terminal.kill()
    await failure(terminal.write('x'), NotFoundError)
  })

  test('is found from another process', async () => {
    const terminal = await shared.terminal.create({ command: 'cat' })
    const source = elsewhere(`
      const all = await box.terminal.list()
      const byId = await box.terminal.getById(${JSON.stringify(terminal.id)})
      const byPid = await box.terminal.getById('${terminal.pid}')
      let shown = ''
      byId.onData = (data) => { shown += new TextDecoder().decode(data) }
      await byId.write('from elsewhere\\n')
      while (!shown.includes('from elsewhere')) await new Promise((done) => setTimeout(done, 20))
      console.log(all.length, byId.id === byPid.id, await box.terminal.getById('none'))
      await box.terminal.destroy(byId.id)`)
    assert.equal(await output(source), '1 true null\n')
    await eventually('it has ended here too', () => terminal.status === 'exited')
  })
})

describe('code', () => {
  test('runs in its language, and fails as it does anywhere', async () => {
    assert.equal((await shared.runCode('print("Auto")')).language, 'python')
    assert.equal((await shared.runCode('console.log(await Promise.resolve(6 * 7))')).stdout, '42\n')
    const raised = await shared.runCode('print("before")\nraise ValueError("no")')
    assert.deepEqual([raised.exitCode, raised.stdout], [1, 'before\n'])
    assert.match(raised.stderr, /ValueError: no/)
    await failure(shared.runCode('def f(:', 'python'), Error, { message: /^Syntax error/ })
  })

  test('keeps its variables in a context, and in no other', async () => {
    await shared.runCode('x = 41\nimport os', { runtime: 'python', context: 'a' })
    const { results, stdout, exitCode } = await shared.runCode('print(os.getcwd()); x + 1', {
      runtime: 'python',
      context: 'a',
    })
    assert.deepEqual([stdout, exitCode], ['/home/user\n', 0])
    assert.deepEqual(results, [{ text: '42', isMain: true }])
    const other = await shared.runCode('x', { runtime: 'python', context: 'b' })
    assert.equal(other.exitCode, 1)
    assert.match(other.stderr, /NameError/)
    await shared.runCode('const y = 2', { runtime: 'node', context: 'a' })
    const node = await shared.runCode('y + 1', { runtime: 'node', context: 'a' })
    assert.equal(node.results.at(-1).text, '3')
  })

  test('in a context is interrupted by its time limit, and its context lives on', async () => {
    await shared.runCode('z = 1', { runtime: 'python', context: 'late' })
    const late = await shared.runCode('print("begun", flush=True)\nimport time\ntime.sleep(60)', {
      runtime: 'python',
      context: 'late',
      timeout: 700,
    })
    assert.deepEqual([late.timedOut, late.exitCode, late.stdout], [true, 124, 'begun\n'])
    const next = await shared.runCode('z + 1', { runtime: 'python', context: 'late' })
    assert.equal(next.results[0].text, '2')
  })

  test('in a context gives tables and charts', async (t) => {
    if (missing) return t.skip(missing)
    const code = `import pandas as pd
df = pd.DataFrame({'a': [1, 2]})
df`
    const { results } = await shared.runCode(code, { runtime: 'python', context: 'science' })
    assert.match(results[0].html, /<table/)
    assert.match(results[0].text, /a\n0 +1/)
    const chart = await shared.runCode('import matplotlib.pyplot as plt\nplt.plot([1, 2])\nplt.show()', {
      runtime: 'python',
      context: 'science',
    })
    const png = chart.results.find(({ png }) => png)?.png
    assert.equal(Buffer.from(png, 'base64').subarray(1, 4).toString(), 'PNG')
  })

  test('in a context is refused by name where there are no interpreters', async () => {
    const plain = await sandbox.create({ templateId: 'base' })
    const error = await failure(plain.runCode('1', { runtime: 'python', context: 'a' }), UnsupportedError, {
      message: /`context`/,
    })
    assert.match(error.hint, /code-interpreter-v1/)
    assert.equal((await plain.runCode('print(1)')).stdout, '1\n')
    await plain.destroy()
  })
})

describe('a process of Node', () => {
  test('ends when nothing is to be waited for, whatever goes on at E2B', async () => {
    const { ended } = program(
      elsewhere(`
      await box.runCommand('sleep 30', { background: true })
      box.spawn('sleep 30')
      await box.terminal.create({ command: 'cat' })
      console.log('end of the program')`),
      { timeout: 20_000 },
    )
    const { code, stdout } = await ended
    assert.deepEqual([code, stdout], [0, 'end of the program\n'])
    await sleep(50)
    await shared.runCommand('pkill -f "sleep 30"; pkill cat; true')
  })
})
