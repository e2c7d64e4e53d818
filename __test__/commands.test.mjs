// runCommand: its three forms, where and as whom it runs, and the exact results.

import assert from 'node:assert/strict'
import { before, describe } from 'node:test'

import { InvalidArgumentError, NotFoundError, UnsupportedError } from '../index.js'
import { failure, sandbox, test } from './support.mjs'

let box

before(async () => {
  box = await sandbox({ envs: { FROM_SANDBOX: 'sandbox', BOTH: 'sandbox', NOT_SET: undefined } })
})

const printed = async (...args) => {
  const { stdout, stderr, exitCode } = await box.runCommand(...args)
  assert.deepEqual({ stderr, exitCode }, { stderr: '', exitCode: 0 })
  return stdout
}

describe('the forms of runCommand', () => {
  test('a string runs in a shell', async () => {
    assert.equal(
      await printed('echo one | tr o 0; echo $((1 + 2)) && echo "$BASH_VERSION" | grep -c .'),
      '0ne\n3\n1\n',
    )
  })

  test('a program with a list of arguments runs without a shell', async () => {
    assert.equal(await printed('echo', ['$HOME', '&&', 'id']), '$HOME && id\n')
  })

  test('a program and its arguments may stand in one list', async () => {
    assert.equal(await printed(['echo', '$HOME', '*']), '$HOME *\n')
  })

  test('each form takes options last', async () => {
    const options = { env: { WORD: 'hello' }, cwd: '/tmp' }
    assert.equal(await printed('echo $WORD $PWD', options), 'hello /tmp\n')
    assert.equal(await printed('printenv', ['WORD'], options), 'hello\n')
    assert.equal(await printed(['printenv', 'WORD'], options), 'hello\n')
    assert.equal(await printed('echo $WORD', undefined, options), 'hello\n')
  })

  test('arguments arrive as they are, whatever is in them', async () => {
    const args = [
      '$(id)',
      '; touch /tmp/x',
      '`id`',
      'a\nb',
      '-n',
      '',
      ' ',
      "'",
      '"',
      '\\',
      '*',
      '~',
      '$HOME',
      '😀',
      '\u{7f}\t',
    ]
    const dump = 'import sys, json; print(json.dumps(sys.argv[1:]))'
    assert.deepEqual(JSON.parse(await printed('python3', ['-c', dump, ...args])), args)
    assert.deepEqual(JSON.parse(await printed(['python3', '-c', dump, ...args])), args)
    assert.equal(await box.filesystem.exists('/tmp/x'), false)
  })

  test('a list of no arguments runs the program alone', async () => {
    assert.equal(await printed('pwd', []), '/home/user\n')
    assert.equal((await box.runCommand('echo hi', [])).exitCode, 127)
  })

  test('what is no command is refused', async () => {
    for (const args of [
      [],
      [''],
      [[]],
      [['']],
      [1],
      [null],
      [{}],
      [['echo', 1]],
      ['echo', [1]],
      ['echo', 'word'],
      ['echo', null],
      [['echo'], ['a'], {}],
      ['echo', {}, {}],
      ['echo\0'],
      ['echo', ['a\0b']],
      ['echo', ['x'.repeat(128 * 1024)]],
    ]) {
      await failure(box.runCommand(...args), InvalidArgumentError)
    }
  })
})

describe('where a command runs', () => {
  test('it runs as an ordinary user in its home, with a plain environment', async () => {
    assert.equal(
      await printed('id -un; id -u; pwd; echo $HOME $LANG'),
      'user\n1000\n/home/user\n/home/user C.UTF-8\n',
    )
    assert.match(await printed('python --version && node --version'), /^Python 3\..*\nv\d+\./)
    assert.equal(await printed('wc -c'), '0\n', 'its input is at its end')
  })

  test('nothing of the environment of this process is in it', async () => {
    process.env.COMPUTESDK_TEST_SECRET = 'do not tell'
    assert.doesNotMatch(await printed('env'), /SECRET|do not tell/)
    delete process.env.COMPUTESDK_TEST_SECRET
  })

  test('the environment of a command lies over that of its sandbox', async () => {
    assert.equal(
      await printed('echo $FROM_SANDBOX $BOTH $(printenv NOT_SET || echo unset)'),
      'sandbox sandbox unset\n',
    )
    const env = { BOTH: 'command', ONLY: 'a "b"\n$c', FROM_SANDBOX: undefined, EMPTY: '' }
    assert.equal(
      await printed('echo "$FROM_SANDBOX|$BOTH|$ONLY|$(printenv EMPTY || echo unset)"', { env }),
      'sandbox|command|a "b"\n$c|\n',
    )
  })

  test('what is no environment is refused', async () => {
    for (const env of [{ A: 1 }, { A: null }, { 'A=B': '' }, { '': 'x' }, { A: 'x\0' }, [], 'A=1', null]) {
      await failure(box.runCommand('true', { env }), InvalidArgumentError)
    }
  })

  test('a working directory that is not there is not found', async () => {
    const error = await failure(box.runCommand('pwd', { cwd: '/nowhere' }), NotFoundError, {
      code: 'NOT_FOUND',
    })
    assert.equal(error.message, 'Directory not found: /nowhere')
    assert.equal(error.operation, 'runCommand')
    assert.equal(error.sandboxId, box.sandboxId)
    await failure(box.runCommand('pwd', { cwd: 'tmp' }), InvalidArgumentError, { message: /absolute/ })
  })

  test('the documents’ working directories and environments work', async () => {
    await box.filesystem.writeFile(
      '/app/scripts/script.py',
      'import os\nprint(os.getcwd(), os.environ["DEBUG"])',
    )
    const result = await box.runCommand('python script.py', {
      cwd: '/app/scripts',
      env: { DEBUG: 'true' },
      timeout: 30000,
    })
    assert.equal(result.stdout, '/app/scripts true\n')
  })

  test('another user is refused by name, its own is not', async () => {
    assert.equal(await printed('id -un', { user: 'user' }), 'user\n')
    await failure(box.runCommand('id', { user: 'root' }), UnsupportedError, { message: /user/ })
  })
})

describe('the result of a command', () => {
  test('has exactly the documented properties', async () => {
    const result = await box.runCommand('echo out; echo err >&2; exit 3')
    const { durationMs, ...rest } = result
    assert.deepEqual(rest, {
      stdout: 'out\n',
      stderr: 'err\n',
      exitCode: 3,
      executionTime: durationMs,
      sandboxId: box.sandboxId,
      provider: 'local',
    })
    assert.ok(Number.isInteger(durationMs) && durationMs >= 1, String(durationMs))
    assert.equal(JSON.parse(JSON.stringify(result)).exitCode, 3)
  })

  test('its duration is whole and at least 1, and counts the time it took', async () => {
    for (let turn = 0; turn < 20; turn++) {
      const { durationMs } = await box.runCommand(['true'])
      assert.ok(Number.isInteger(durationMs) && durationMs >= 1, String(durationMs))
    }
    const { durationMs } = await box.runCommand('sleep 0.3')
    assert.ok(durationMs >= 300 && durationMs < 20_000, String(durationMs))
  })

  test('exit codes are what the command said', async () => {
    const codes = [0, 1, 2, 3, 42, 124, 125, 126, 127, 128, 137, 254, 255]
    const results = await Promise.all(codes.map((code) => box.runCommand(`exit ${code}`)))
    assert.deepEqual(
      results.map((result) => result.exitCode),
      codes,
    )
    assert.ok(results.every((result) => !('signal' in result) && !('timedOut' in result)))
  })

  test('a program that is not there is a result with 127, one that cannot run with 126', async () => {
    await box.runCommand('echo text > /tmp/plain; mkdir -p /tmp/directory')
    for (const [command, code] of [
      ['no-such-program', 127],
      [['no-such-program'], 127],
      [['/no/such/program'], 127],
      ['/tmp/plain', 126],
      [['/tmp/plain'], 126],
      [['/tmp/directory'], 126],
    ]) {
      const result = await box.runCommand(command)
      assert.equal(result.exitCode, code, `${command}: ${result.stderr}`)
      assert.notEqual(result.stderr, '')
      assert.equal(result.stdout, '')
    }
  })

  test('a command that a signal killed has 128 + n and the name of the signal', async () => {
    for (const [name, number] of [
      ['KILL', 9],
      ['TERM', 15],
      ['SEGV', 11],
      ['INT', 2],
      ['ABRT', 6],
    ]) {
      const result = await box.runCommand(`echo before; kill -${name} $$; sleep 10`)
      assert.equal(result.exitCode, 128 + number, name)
      assert.equal(result.signal, `SIG${name}`)
      assert.equal(result.stdout, 'before\n')
    }
  })

  test('stdout and stderr are never mixed', async () => {
    const line = 'for i in $(seq 5000); do echo out $i; echo err $i >&2; done'
    const result = await box.runCommand(line)
    const numbers = Array.from({ length: 5000 }, (_, at) => at + 1)
    assert.equal(result.stdout, numbers.map((number) => `out ${number}\n`).join(''))
    assert.equal(result.stderr, numbers.map((number) => `err ${number}\n`).join(''))
  })

  test('bytes that are no UTF-8 are replaced', async () => {
    assert.equal(await printed(String.raw`printf 'a\xffb\xe2\x98'`), 'a\uFFFDb\uFFFD')
    assert.equal(await printed(String.raw`printf 'a\0b\xf0\x9f\x98\x80'`), 'a\0b😀')
  })

  test('it comes when the command ends, even if a grandchild holds the pipe', async () => {
    const result = await box.runCommand('sleep 1000 & echo started')
    assert.equal(result.stdout, 'started\n')
    assert.equal(result.exitCode, 0)
    assert.ok(result.durationMs < 20_000)
    await box.runCommand('pkill sleep')
  })

  test('64 commands at once have their own results', async () => {
    const results = await Promise.all(
      Array.from({ length: 64 }, (_, at) =>
        box.runCommand(`sleep 0.0$((RANDOM % 9)); echo ${at}; exit ${at}`),
      ),
    )
    assert.deepEqual(
      results.map(({ stdout, exitCode }) => [stdout, exitCode]),
      results.map((_, at) => [`${at}\n`, at]),
    )
  })

  test('a failing command does not throw: the documents’ example', async () => {
    const result = await box.runCommand('grep pattern file.txt')
    assert.equal(result.exitCode, 2)
    assert.match(result.stderr, /file\.txt/)
  })

  test('a long shell line runs as well', async () => {
    const long = `echo ${'x'.repeat(300_000)} | wc -c`
    assert.equal(await printed(long), '300001\n')
  })
})

describe('options of runCommand', () => {
  test('that are no plain objects are refused, since their content would be dropped', async () => {
    for (const env of [new Map([['A', 'b']]), new Date(), ['A=b']]) {
      await failure(box.runCommand('true', { env }), InvalidArgumentError, { message: /env/ })
    }
    await failure(box.runCommand('true', new Map([['cwd', '/tmp']])), InvalidArgumentError)
  })

  test('an unknown one is refused, and the hint lists the right ones', async () => {
    const error = await failure(box.runCommand('true', { timout: 1 }), InvalidArgumentError)
    assert.match(error.message, /`timout`/)
    for (const known of [
      'cwd',
      'env',
      'timeout',
      'signal',
      'onStdout',
      'onStderr',
      'stdin',
      'maxOutput',
      'throwOnError',
    ]) {
      assert.match(error.hint, new RegExp(`\\b${known}\\b`))
    }
  })

  test('numbers are checked, never coerced', async () => {
    for (const name of ['timeout', 'maxOutput']) {
      for (const value of [-1, 1.5, Number.NaN, Number.POSITIVE_INFINITY, 2 ** 53, '100', 10n, true, null]) {
        await failure(box.runCommand('true', { [name]: value }), InvalidArgumentError, {
          message: new RegExp(name),
        })
      }
    }
  })

  test('what is undefined was not given', async () => {
    const names = [
      'cwd',
      'env',
      'timeout',
      'background',
      'signal',
      'onStdout',
      'onStderr',
      'stdin',
      'user',
      'maxOutput',
      'throwOnError',
    ]
    assert.equal(
      await printed('pwd', Object.fromEntries(names.map((name) => [name, undefined]))),
      '/home/user\n',
    )
  })
})
