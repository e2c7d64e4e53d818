// Terminals with real programs in them, and what their objects do.

import assert from 'node:assert/strict'
import { before, describe } from 'node:test'

import { InvalidArgumentError, NotFoundError, QuotaExceededError, Terminal } from '../index.js'
import { eventually, failure, sandbox, test } from './support.mjs'

let box

before(async () => {
  box = await sandbox()
})

/** A terminal, and what it shows: `until` waits for a text, and forgets what was shown up to it. */
async function open(options, where = box) {
  const decoder = new TextDecoder('utf-8', { fatal: true })
  let shown = ''
  const codes = []
  const terminal = await where.terminal.create({
    env: { TERM: 'dumb' },
    ...options,
    // Decoded without `stream: true`: each piece is whole characters.
    onData: (data) => {
      shown += decoder.decode(data)
    },
    onExit: (exitCode) => codes.push(exitCode),
  })
  const until = async (text) => {
    await eventually(`${JSON.stringify(text)} is shown`, () => {
      if (terminal.status === 'exited' && codes.length > 0 && !shown.includes(text)) {
        assert.fail(`ended without ${JSON.stringify(text)}: ${JSON.stringify(shown)}`)
      }
      return shown.includes(text)
    }).catch((error) => assert.fail(`${error.message}: ${JSON.stringify(shown.slice(-2000))}`))
    const at = shown.indexOf(text) + text.length
    const before = shown.slice(0, at)
    shown = shown.slice(at)
    return before
  }
  const exited = () =>
    eventually('it exits', () => codes.length > 0).then(() => {
      assert.equal(codes.length, 1)
      return codes[0]
    })
  return { terminal, until, exited, rest: () => shown }
}

/** An interactive shell. */
async function shell(options) {
  const one = await open({ command: "PS1='ready> ' exec bash --norc --noprofile -i", ...options })
  await one.until('ready> ')
  return one
}

describe('the documents', () => {
  test('document 2, terminal operations', async () => {
    const sandbox = box
    let lines = ''
    const console = {
      log: (...values) => {
        lines += values.join(' ')
      },
    }
    const terminal = await sandbox.terminal.create({
      command: 'bash',
      cols: 80,
      rows: 24,
      onData: (data) => {
        const output = new TextDecoder().decode(data)
        console.log('Terminal output:', output)
      },
    })
    await terminal.write('echo "Hello Terminal!"\n')
    await terminal.resize(120, 30)
    await eventually('it says hello', () => /(?<!")Hello Terminal!(?!")/.test(lines))
    await terminal.kill()
    const terminals = await sandbox.terminal.list()
    const existingTerminal = await sandbox.terminal.getById('terminal-id')
    assert.deepEqual(terminals, [])
    assert.equal(existingTerminal, null)
    assert.match(lines, /^Terminal output: /)
  })

  test('document 2, an interactive session', async () => {
    // As it is written, but for the libraries, which are not here.
    const sandbox = box
    let forwarded = ''
    const process = {
      stdout: {
        write: (text) => {
          forwarded += text
        },
      },
    }
    const terminal = await sandbox.terminal.create({
      command: 'python3',
      cols: 80,
      rows: 24,
      onData: (data) => {
        const output = new TextDecoder().decode(data)
        process.stdout.write(output)
      },
    })
    await terminal.write('import statistics as st\n')
    await terminal.write('print("Libraries loaded!")\n')
    await terminal.write('data = [1, 2, 3, 4, 5]\n')
    await terminal.write('print(f"Mean: {st.mean(data)}")\n')
    await terminal.write('exit()\n')
    await eventually('it has exited', () => terminal.status === 'exited')
    await terminal.kill()
    assert.equal(terminal.exitCode, 0)
    assert.match(forwarded, /\nLibraries loaded!\r\n/)
    assert.match(forwarded, /\nMean: 3\r\n/)
  })
})

describe('real programs', () => {
  test('Python: a session, with its answers, an interrupt and its end', async () => {
    const { terminal, until, exited } = await open({ command: 'python3 -q' })
    await until('>>> ')
    await terminal.write('6 * 7\n')
    await until('42\r\n>>> ')
    await terminal.write('name = input("who? ")\n')
    await until('\r\nwho? ')
    await terminal.write('é ☕\n')
    await until('>>> ')
    await terminal.write('name\n')
    await until("'é ☕'\r\n>>> ")
    await terminal.write('import time; print("sleep" + "ing"); time.sleep(1000)\n')
    await until('sleeping\r\n')
    await terminal.write('\x03')
    await until('KeyboardInterrupt')
    await until('>>> ')
    await terminal.write('exit(3)\n')
    assert.equal(await exited(), 3)
  })

  test('bash: jobs in the foreground and in the background', async () => {
    const { terminal, until, exited } = await shell()
    await terminal.write("sh -c 'echo be''gun; exec cat'\n")
    await until('begun\r\n')
    await terminal.write('\x1a')
    await until('Stopped')
    await until('ready> ')
    await terminal.write('bg\n')
    await until('ready> ')
    await terminal.write('jobs\n')
    await until('Stopped')
    await until('ready> ')
    await terminal.write('fg\n')
    await until("exec cat'\r\n")
    await terminal.write('typed\n')
    await until('typed\r\ntyped\r\n')
    await terminal.write('\x03')
    await until('ready> ')
    await terminal.write('false; echo "$?"; exit 9\n')
    await until('\n1\r\n')
    assert.equal(await exited(), 9)
  })

  test('vi: a full screen, its new size, and a file that is written', async (t) => {
    if ((await box.runCommand('command -v vi')).exitCode !== 0) return t.skip('this machine has no vi')
    const { terminal, until, exited } = await open({
      command: 'vi -u NONE /tmp/file.txt',
      env: { TERM: 'xterm-256color' },
    })
    await until('~')
    await terminal.write('ihello ☕\x1b')
    await until('☕')
    await terminal.resize(100, 40)
    // It is drawn anew, down to where it did not reach before.
    await until('\x1b[39;1H~')
    await terminal.write(':set lines? columns?\r')
    await until('lines=40')
    await until('columns=100')
    await terminal.write('\r:wq\r')
    assert.equal(await exited(), 0)
    assert.equal(await box.filesystem.readFile('/tmp/file.txt'), 'hello ☕\n')
  })

  test('less: pages of the size that the terminal has', async (t) => {
    if ((await box.runCommand('command -v less')).exitCode !== 0) return t.skip('this machine has no less')
    await box.runCommand('seq 1000 > /tmp/lines')
    const { terminal, until, exited } = await open({
      command: 'less /tmp/lines',
      rows: 10,
      env: { TERM: 'xterm-256color', LESS: '' },
    })
    await until('9\r\n')
    await terminal.write(' ')
    await until('18\r\n')
    await terminal.resize(80, 30)
    await terminal.write('G')
    await until('1000\r\n')
    await terminal.write('q')
    assert.equal(await exited(), 0)
  })

  test('a password prompt: what is typed is not shown', async () => {
    const { terminal, until, exited, rest } = await open({
      command: 'read -rsp "Password: " p; echo; printf %s "$p" | wc -c',
    })
    await until('Password: ')
    await terminal.write('secret\n')
    assert.equal(await exited(), 0)
    assert.equal(rest(), '\r\n6\r\n')
  })
})

describe('a terminal', () => {
  test('tells what it is', async () => {
    const terminal = await box.terminal.create({ command: 'cat', cols: 132, rows: 43 })
    assert.ok(terminal instanceof Terminal)
    assert.match(terminal.id, /^\S+$/)
    assert.ok(terminal.pid > 1)
    assert.deepEqual([terminal.command, terminal.cols, terminal.rows], ['cat', 132, 43])
    assert.deepEqual([terminal.status, terminal.exitCode], ['running', undefined])
    await terminal.resize(100, 30)
    assert.deepEqual([terminal.cols, terminal.rows], [100, 30])
    await terminal.write(new TextEncoder().encode('bytes\n'))
    await terminal.kill()
    assert.deepEqual([terminal.status, terminal.exitCode], ['exited', 129])
    for (const name of ['id', 'pid', 'status', 'cols']) {
      assert.throws(() => {
        terminal[name] = 1
      }, TypeError)
    }
    assert.throws(() => new Terminal(), TypeError)
  })

  test('runs the login shell by default, at 80 by 24, in /home/user', async () => {
    const { terminal, until, exited } = await open({ env: undefined })
    assert.deepEqual([terminal.cols, terminal.rows], [80, 24])
    await terminal.write('shopt -q login_shell && echo $TERM $(stty size) $PWD; exit\n')
    await until('xterm-256color 24 80 /home/user\r\n')
    assert.equal(await exited(), 0)
  })

  test('refuses what it cannot honour', async () => {
    for (const options of [
      null,
      'bash',
      [],
      { nonsense: 1 },
      { command: 1 },
      { command: '' },
      { command: 'a\0b' },
      { cols: 0 },
      { rows: 0 },
      { cols: 65_536 },
      { cols: 1.5 },
      { rows: -1 },
      { cols: '80' },
      { cwd: 'relative' },
      { cwd: 1 },
      { env: { 'a=b': '' } },
      { env: [] },
      { onData: 1 },
      { onExit: null },
    ]) {
      const error = await failure(box.terminal.create(options), InvalidArgumentError, {
        operation: 'terminal.create',
        sandboxId: box.sandboxId,
      })
      assert.ok(error.message.length > 0)
    }
    await failure(box.terminal.create({ cwd: '/nowhere' }), NotFoundError, { message: /nowhere/ })
    assert.deepEqual(await box.terminal.list(), [])
    const terminal = await box.terminal.create({ command: 'cat' })
    for (const size of [[0, 1], [1, 0], [80], [], ['80', '24'], [1.5, 1], [65_536, 1]]) {
      await failure(terminal.resize(...size), InvalidArgumentError)
    }
    for (const data of [undefined, null, 1, {}, [1]]) {
      await failure(terminal.write(data), InvalidArgumentError, { message: /data/ })
    }
    for (const name of ['onData', 'onExit']) {
      assert.throws(() => {
        terminal[name] = 'print'
      }, InvalidArgumentError)
    }
    await terminal.kill()
  })

  test('is listed, found and destroyed by its id and by its number', async () => {
    const [one, other] = [
      await box.terminal.create({ command: 'cat' }),
      await box.terminal.create({ command: 'cat' }),
    ]
    const listed = await box.terminal.list()
    assert.deepEqual(
      listed.map(({ id }) => id),
      [one.id, other.id],
    )
    for (const key of [one.id, String(one.pid)]) {
      const found = await box.terminal.getById(key)
      assert.ok(found instanceof Terminal)
      assert.deepEqual([found.id, found.pid, found.command], [one.id, one.pid, 'cat'])
    }
    for (const key of ['', 'terminal-id', '0', '../x']) assert.equal(await box.terminal.getById(key), null)
    for (const key of [undefined, null, 1, {}]) await failure(box.terminal.getById(key), InvalidArgumentError)
    await box.terminal.destroy(one.id)
    assert.equal(one.status, 'exited')
    await box.terminal.destroy(one.id)
    await box.terminal.destroy('terminal-id')
    await box.terminal.destroy(String(other.pid))
    assert.deepEqual(await box.terminal.list(), [])
  })

  test('that has ended is fine to kill, and refuses the rest', async () => {
    const { terminal, exited } = await open({ command: 'exit 5' })
    assert.equal(await exited(), 5)
    await terminal.kill()
    await terminal.kill()
    assert.equal(terminal.exitCode, 5)
    const details = { code: 'NOT_FOUND', message: /has ended \(exit code 5\)/, sandboxId: box.sandboxId }
    await failure(terminal.write('x'), NotFoundError, { ...details, operation: 'terminal.write' })
    await failure(terminal.resize(80, 24), NotFoundError, { ...details, operation: 'terminal.resize' })
  })

  test('takes what is typed and resized without waiting in the order of the calls', async () => {
    const { terminal, until } = await open({ command: 'stty raw -echo; echo ready; cat' })
    await until('ready')
    const typed = Array.from({ length: 500 }, (_, at) => `${at};`)
    const calls = typed.map((text) => terminal.write(text))
    for (let size = 1; size <= 50; size++) calls.push(terminal.resize(size, size))
    await Promise.all(calls)
    await until(typed.join(''))
    assert.deepEqual([terminal.cols, terminal.rows], [50, 50])
    await terminal.kill()
  })

  test('is one of 64 at most: the next is refused by number', async () => {
    const own = await sandbox()
    const terminals = await Promise.all(
      Array.from({ length: 64 }, () => own.terminal.create({ command: 'exec cat' })),
    )
    await failure(own.terminal.create(), QuotaExceededError, {
      message: /64/,
      hint: /kill/,
      retryable: false,
    })
    await terminals[0].kill()
    const next = await own.terminal.create({ command: 'exec cat' })
    await failure(own.terminal.create(), QuotaExceededError)
    assert.equal((await own.terminal.list()).length, 64)
    await own.destroy()
    await eventually('all have exited', () => [...terminals, next].every(({ status }) => status === 'exited'))
    assert.equal(next.exitCode, 137)
  })

  test('is one of 50 that work at once', async () => {
    const all = await Promise.all(
      Array.from({ length: 50 }, () => open({ command: 'read x; echo "got $x"; cat' })),
    )
    await Promise.all(all.map(({ terminal }, at) => terminal.write(`${at}\n`)))
    await Promise.all(all.map(({ until }, at) => until(`got ${at}\r\n`)))
    await Promise.all(all.map(({ terminal }) => terminal.kill()))
    assert.deepEqual(await Promise.all(all.map(({ exited }) => exited())), Array(50).fill(129))
  })
})
