// E2B's own client, which must not notice that it does not speak to E2B: commands and terminals.

import assert from 'node:assert/strict'
import { setTimeout as sleep } from 'node:timers/promises'

import { AuthenticationError, CommandExitError, InvalidArgumentError, NotFoundError, TimeoutError } from 'e2b'

import { envd, overTls, own, shared, test } from './e2b-client.mjs'

/** A message in its envelope. */
function envelope(message) {
  const payload = Buffer.from(JSON.stringify(message))
  const head = Buffer.alloc(5)
  head.writeUInt32BE(payload.length, 1)
  return Buffer.concat([head, payload])
}

/** The messages of a stream; the last says how it ended. */
function messages(bytes) {
  const found = []
  for (let at = 0; at < bytes.length; ) {
    const length = bytes.readUInt32BE(at + 1)
    found.push(JSON.parse(bytes.subarray(at + 5, at + 5 + length)))
    at += 5 + length
  }
  return found
}

test('a command tells what it printed and how it ended', async () => {
  const { stdout, stderr, exitCode } = await shared.commands.run('echo hi; echo oh >&2')
  assert.deepEqual({ stdout, stderr, exitCode }, { stdout: 'hi\n', stderr: 'oh\n', exitCode: 0 })
  await assert.rejects(shared.commands.run('echo out; exit 3'), (error) => {
    assert.ok(error instanceof CommandExitError)
    assert.deepEqual([error.exitCode, error.stdout, error.message], [3, 'out\n', 'exit status 3'])
    return true
  })
  await assert.rejects(shared.commands.run('kill -9 $$'), { exitCode: -1, message: 'signal: killed' })
  await assert.rejects(shared.commands.run('nothing-of-this-name'), (error) => {
    assert.equal(error.exitCode, 127)
    assert.match(error.stderr, /nothing-of-this-name/)
    return true
  })
})

test('a command has its directory, its variables and its user', async (t) => {
  const sandbox = await own(t, { envs: { OF_SANDBOX: 'a', BOTH: 'a' } })
  const line = 'pwd; echo $OF_SANDBOX $BOTH $OF_COMMAND; id -un; echo ~; echo $E2B_SANDBOX_ID'
  const { stdout } = await sandbox.commands.run(line, {
    cwd: '/tmp',
    envs: { BOTH: 'b', OF_COMMAND: 'b' },
    user: 'root',
  })
  assert.equal(stdout, `/tmp\na b b\nuser\n/home/user\n${sandbox.sandboxId}\n`)
  assert.equal((await sandbox.commands.run('pwd')).stdout, '/home/user\n')
  await assert.rejects(sandbox.commands.run('pwd', { cwd: '/nope' }), (error) => {
    assert.ok(error instanceof InvalidArgumentError, error)
    assert.match(error.message, /cwd '\/nope' does not exist/)
    return true
  })
  await assert.rejects(sandbox.commands.run('pwd', { user: 'nobody' }), (error) => {
    assert.ok(error instanceof AuthenticationError, error)
    assert.match(error.message, /invalid username: 'nobody'/)
    return true
  })
})

test('output arrives whole, however much it is and wherever it is cut', async () => {
  const { stdout } = await shared.commands.run('seq 1 400000')
  assert.equal(stdout.length, 2_688_895)
  assert.ok(stdout.endsWith('\n399999\n400000\n'))
  const text = '€'.repeat(50_000)
  const printed = await shared.commands.run('yes € | head -n 50000 | tr -d "\\n"')
  assert.equal(printed.stdout, text)
})

test('a command that takes too long is killed, what came of it is not', async () => {
  const begun = Date.now()
  await assert.rejects(
    shared.commands.run('sleep 47.11 & echo $! > /tmp/left; sleep 48', { timeoutMs: 500 }),
    TimeoutError,
  )
  assert.ok(Date.now() - begun < 5_000)
  const left = await shared.commands.run('kill -0 $(cat /tmp/left) && kill -9 $(cat /tmp/left) && echo alive')
  assert.equal(left.stdout, 'alive\n')
})

test('a command is over when nothing holds its output any more', async () => {
  const begun = Date.now()
  const { stdout } = await shared.commands.run('(sleep 1; echo late) & echo soon')
  assert.equal(stdout, 'soon\nlate\n')
  assert.ok(Date.now() - begun >= 1_000)
  const detached = await shared.commands.run('sleep 5 > /dev/null 2>&1 & echo soon')
  assert.equal(detached.stdout, 'soon\n')
  assert.ok(Date.now() - begun < 5_000)
})

test('a command in the background is found, read, written to and killed', async () => {
  const chunks = []
  const command = await shared.commands.run('while read line; do echo got $line; done; echo end', {
    background: true,
    stdin: true,
    onStdout: (text) => chunks.push(text),
  })
  const running = (await shared.commands.list()).find(({ pid }) => pid === command.pid)
  assert.deepEqual(running.args, ['-l', '-c', 'while read line; do echo got $line; done; echo end'])
  await shared.commands.sendStdin(command.pid, 'one\n')
  while (chunks.length === 0) await sleep(10)
  const other = await shared.commands.connect(command.pid, {
    onStdout: (text) => chunks.push(`other: ${text}`),
  })
  await shared.commands.sendStdin(command.pid, 'zwölf\n')
  await shared.commands.closeStdin(command.pid)
  assert.equal((await command.wait()).stdout, 'got one\ngot zwölf\nend\n')
  assert.equal((await other.wait()).stdout, 'got zwölf\nend\n')
  assert.ok(chunks.some((text) => text.startsWith('other: got zwölf')))

  const sleeping = await shared.commands.run('sleep 60', { background: true })
  assert.equal(await sleeping.kill(), true)
  await assert.rejects(sleeping.wait(), { exitCode: -1, message: 'signal: killed' })
  assert.equal(await shared.commands.kill(sleeping.pid), false)
})

test('a command goes on when nobody listens, and is remembered for a while', async () => {
  const command = await shared.commands.run('sleep 0.4; exit 5', { background: true })
  await command.disconnect()
  const again = await shared.commands.connect(command.pid)
  await assert.rejects(again.wait(), { exitCode: 5 })
  const late = await shared.commands.connect(command.pid)
  await assert.rejects(late.wait(), { exitCode: 5 })
  await assert.rejects(shared.commands.connect(4_000_000), NotFoundError)
})

test('input is refused by what takes none', async () => {
  const command = await shared.commands.run('sleep 60', { background: true })
  await assert.rejects(shared.commands.sendStdin(command.pid, 'x'), /stdin not enabled or closed/)
  await command.kill()
})

test('a terminal is typed into, resized and killed', async () => {
  let shown = ''
  const terminal = await shared.pty.create({
    cols: 90,
    rows: 20,
    onData: (data) => (shown += Buffer.from(data)),
  })
  const typed = async (line, expected) => {
    await shared.pty.sendInput(terminal.pid, Buffer.from(line))
    for (let tries = 0; !expected.test(shown); tries++) {
      assert.ok(tries < 500, `never shown: ${expected}; but: ${shown}`)
      await sleep(20)
    }
  }
  await typed('stty size; echo $TERM\n', /20 90\s+xterm-256color/)
  await shared.pty.resize(terminal.pid, { cols: 100, rows: 30 })
  await typed('stty size\n', /30 100/)
  await assert.rejects(shared.commands.sendStdin(terminal.pid, 'x'), /should be written to the pty/)
  await typed('exit 7\n', /exit/)
  await assert.rejects(terminal.wait(), { exitCode: 7 })

  const other = await shared.pty.create({ cols: 80, rows: 24, onData() {} })
  assert.equal(await shared.pty.kill(other.pid), true)
})

test('input flows in one stream', async () => {
  const command = await shared.commands.run('cat', { background: true, stdin: true })
  const parts = [{ start: { process: { pid: command.pid } } }]
  for (const text of ['a', 'b', 'c\n']) {
    parts.push({ data: { input: { stdin: Buffer.from(text).toString('base64') } } })
  }
  const answer = await envd(shared, '/process.Process/StreamInput', {
    method: 'POST',
    headers: { 'Content-Type': 'application/connect+json' },
    body: Buffer.concat(parts.map(envelope)),
  })
  assert.deepEqual(messages(Buffer.from(await answer.arrayBuffer())), [{}, {}])
  await shared.commands.closeStdin(command.pid)
  assert.equal((await command.wait()).stdout, 'abc\n')
})

overTls(import.meta.url)
