// The command line, as a shell sees it: streams, exit codes, signals, and what is left behind.

import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, describe } from 'node:test'

import { accountAt, e2bFake, KEY } from './fakes.mjs'
import { belongings, eventually, left, ROOT, sandbox, start, test } from './support.mjs'

const BIN = join(ROOT, 'bin/computesdk.js')
const VERSION = /^computesdk \d+\.\d+\.\d+\n$/

const folder = mkdtempSync(join(tmpdir(), 'computesdk-cli-'))
after(() => rmSync(folder, { recursive: true, force: true }))

/** A file of the machine with this content; its path. */
function file(name, content) {
  const path = join(folder, name)
  writeFileSync(path, content)
  return path
}

const begin = (...words) => start(process.execPath, [BIN, ...words])

/** Runs it to its end with this input, and gives `code`, `stdout` and `stderr`. */
async function cli(words, input = '') {
  const { child, ended } = begin(...words)
  child.stdin.end(input)
  const { code, stdout, stderr } = await ended
  return { code, stdout, stderr }
}

describe('run', () => {
  test('passes arguments, streams and the exit code of a Python file', async () => {
    const path = file(
      'a.py',
      'import sys\nprint(sys.argv[1:], __name__)\nprint(sys.stdin.read().upper())\nprint("e", file=sys.stderr)\nsys.exit(3)\n',
    )
    assert.deepEqual(await cli(['run', path, 'x', '--memory', 'y'], 'typed'), {
      code: 3,
      stdout: "['x', '--memory', 'y'] __main__\nTYPED\n",
      stderr: 'e\n',
    })
  })

  test('runs Node.js files as CommonJS and as ES modules', async () => {
    const common = file('c.js', 'console.log(typeof module, require("node:path").basename(__filename))')
    const module = file('m.js', 'import fs from "node:fs"\nconsole.log(await Promise.resolve(typeof fs))')
    assert.deepEqual(await cli(['run', common]), { code: 0, stdout: 'object c.js\n', stderr: '' })
    assert.deepEqual(await cli(['run', module]), { code: 0, stdout: 'object\n', stderr: '' })
  })

  test('runs a program with exactly its arguments, in its place and environment', async () => {
    const words = ['run', '--cwd', '/tmp', '--env', 'A=b=c', '--', 'sh', '-c', 'echo "$A $0 $PWD"', 'x y']
    assert.deepEqual(await cli(words), { code: 0, stdout: 'b=c x y /tmp\n', stderr: '' })
  })

  test('passes bytes through as they are, in both directions, whatever their number', async () => {
    const { child, ended } = begin(
      'run',
      '--',
      'sh',
      '-c',
      'head -c 20000000 /dev/zero; wc -c; printf "\\377"',
    )
    child.stdin.end(Buffer.alloc(10_000_000))
    child.stdout.setEncoding('latin1')
    const { code, stdout } = await ended
    assert.equal(code, 0)
    assert.equal(stdout.length, 20_000_000 + '10000000\n'.length + 1)
    assert.ok(stdout.endsWith('0\n\xff'))
  })

  test('shows output as it comes and passes input on as it comes', async () => {
    const { child, ended, line } = begin('run', '--', 'sh', '-c', 'echo begun; read x; echo got $x; read y')
    await line('begun')
    child.stdin.write('it\n')
    await line('got it')
    child.stdin.end()
    assert.equal((await ended).code, 1)
  })

  test('tells a signal, a time limit and an end for want of memory by the exit code', async () => {
    assert.equal((await cli(['run', '--', 'sh', '-c', 'kill -TERM $$'])).code, 143)
    const late = await cli(['run', '--timeout', '300', '--', 'sh', '-c', 'echo so far; exec sleep 1000'])
    assert.deepEqual([late.code, late.stdout], [124, 'so far\n'])
    assert.match(late.stderr, /--timeout 300/)
    const { limits } = await (await sandbox()).getInfo()
    const bomb = ['--', 'python3', '-c', 'x = b"x" * (1 << 30)']
    const large = await cli(['run', '--memory', '64m', ...bomb])
    assert.equal(large.code, limits.enforcement === 'cgroup' ? 137 : 1)
    assert.match(large.stderr, /memory had run out|MemoryError/)
    assert.equal((await cli(['run', '--', 'no-such-program'])).code, 127)
  })

  test('says what is wrong with itself, what to do about it, and exits with 125', async () => {
    const missing = join(folder, 'missing.py')
    for (const [words, said] of [
      [['run', missing], /missing\.py.* cannot be read: No such file/],
      [['run', file('a.rb', '')], /neither a \.py nor a \.js file\n {2}hint: .*computesdk run -- /],
      [['run', '--tiemout', '1', missing], /`run` knows no `--tiemout`\n {2}hint: /],
      [['run', '--memory', '1k', '--', 'true'], /memory.* is too small/],
      [['run', '--cwd', '/nowhere', '--', 'true'], /Directory not found: \/nowhere/],
      [['run'], /nothing to run/],
      [['walk'], /there is no command `walk`/],
      [
        ['run', file('long.py', '#'.repeat((16 << 20) + 1))],
        /long\.py` is too long: 16 MiB at most\n {2}hint: /,
      ],
    ]) {
      const { code, stdout, stderr } = await cli(words)
      assert.deepEqual([code, stdout], [125, ''], words.join(' '))
      assert.match(stderr, said)
      assert.match(stderr, /^computesdk: /)
    }
  })

  test('ends the sandbox and itself when it is interrupted', async () => {
    for (const [name, code] of [
      ['SIGINT', 130],
      ['SIGTERM', 143],
      ['SIGHUP', 129],
    ]) {
      const { child, pid, ended, line } = begin(
        'run',
        '--',
        'sh',
        '-c',
        'trap "" INT; echo begun; sleep 1000',
      )
      await line('begun')
      const all = belongings(pid)
      assert.ok(all.processes.size >= 3)
      child.kill(name)
      assert.equal((await ended).code, code)
      await eventually('nothing is left', () => left(all).length === 0)
    }
  })

  test('waits for a file that is a pipe, and can be interrupted there', async () => {
    const path = join(folder, 'pipe.py')
    execFileSync('mkfifo', [path])
    const given = cli(['run', path])
    writeFileSync(path, 'print("piped")')
    assert.deepEqual(await given, { code: 0, stdout: 'piped\n', stderr: '' })
    const { child, ended } = begin('run', path)
    // It has been told what signals are by then, and waits.
    await new Promise((resolve) => setTimeout(resolve, 700))
    child.kill('SIGTERM')
    assert.equal((await ended).code, 143)
  })

  test('says why it cannot pass on what is written', async () => {
    for (const words of ['run -- echo x', 'doctor', '--help']) {
      const line = `exec ${process.execPath} ${BIN} ${words} > /dev/full`
      const { code, stderr } = await start('sh', ['-c', line]).ended
      assert.equal(code, words.startsWith('run') ? 125 : 1, words)
      assert.match(stderr, /^computesdk: .*No space left on device/, words)
    }
  })

  test('ends as a program does whose reader has gone', async () => {
    const { child, ended, line } = begin('run', '--', 'yes')
    await line('y')
    child.stdout.destroy()
    assert.equal((await ended).code, 141)
  })

  test('reaches no network at another provider either, unless it is asked to', async () => {
    const fake = await e2bFake()
    const env = {
      COMPUTESDK_PROVIDER: 'e2b',
      ...accountAt(fake),
    }
    const headers = { 'x-api-key': KEY }
    for (const [words, allowed] of [
      [[], false],
      [['--network', 'full'], true],
    ]) {
      const command = ['run', ...words, '--', 'sh', '-c', 'echo up; cat']
      const { child, ended, line } = start(process.execPath, [BIN, ...command], { env })
      await line('up')
      const [{ sandboxID }] = await (await fetch(`${fake.url}/v2/sandboxes`, { headers })).json()
      const known = await (await fetch(`${fake.url}/sandboxes/${sandboxID}`, { headers })).json()
      assert.equal(known.allowInternetAccess, allowed)
      child.stdin.end()
      assert.equal((await ended).code, 0)
    }
  })
})

describe('doctor', () => {
  test('tries, and tells layer by layer', async () => {
    const { code, stdout, stderr } = await cli(['doctor'])
    assert.deepEqual([code, stderr], [0, ''])
    assert.match(stdout, /local works: a sandbox was made in [\d.]+ ms and ran `true` in [\d.]+ ms/)
    for (const name of ['namespaces', 'seccomp', 'landlock', 'limits', 'python', 'node', 'docker', 'e2b'])
      assert.match(stdout, new RegExp(`^ {2}(yes|no|\\?) +${name} `, 'm'))
  })

  test('tells programs the same, and never a key', async () => {
    const { child, ended } = start(process.execPath, [BIN, 'doctor', '--json'], {
      env: { E2B_API_KEY: 'e2b_0123456789abcdef', PATH: '' },
    })
    child.stdin.end()
    const { code, stdout } = await ended
    assert.equal(code, 0)
    const report = JSON.parse(stdout)
    assert.equal(report.local.works, true)
    const named = (list, name) => list.find((check) => check.name === name)
    assert.equal(named(report.checks, 'namespaces').state, 'yes')
    const { state, cause, cure } = named(report.checks, 'python')
    assert.deepEqual([state, cause], ['no', 'none was found on PATH'])
    assert.match(cure, /local\(\{ python/)
    assert.equal(named(report.providers, 'e2b').state, 'yes')
    assert.ok(!stdout.includes('0123456789abcdef'))
  })

  test('exits with 1 where it is asked for what it does not know', async () => {
    const { code, stdout, stderr } = await cli(['doctor', 'extra'])
    assert.deepEqual([code, stdout], [1, ''])
    assert.match(stderr, /`doctor` knows no `extra`/)
  })

  test('exits with 1 where no sandbox can be made, and says why', async () => {
    // A filter of system calls that is inherited, as a container has one, cannot be had here without a program for it;
    // but one namespace that may not be made is enough.
    const script = 'echo 0 > /proc/sys/user/max_net_namespaces && exec "$@"'
    const words = ['-Ur', 'sh', '-c', script, 'sh', process.execPath, BIN, 'doctor', '--json']
    const { code, stdout } = await start('unshare', words).ended
    const { local, checks } = JSON.parse(stdout)
    assert.deepEqual([code, local.works], [1, false])
    assert.match(local.error, /net namespaces are switched off/)
    assert.match(local.hint, /sysctl -w user\.max_net_namespaces/)
    const { state, cause } = checks.find((check) => check.name === 'namespaces')
    assert.deepEqual([state, /max_net_namespaces = 0/.test(cause)], ['no', true])
  })
})

test('help and version are told', async () => {
  assert.match((await cli(['--version'])).stdout, VERSION)
  for (const words of [[], ['--help'], ['run', '--help'], ['doctor', '--help']]) {
    const { code, stdout, stderr } = await cli(words)
    assert.deepEqual([code, stderr], [0, ''])
    assert.match(stdout, /computesdk (run|doctor)/)
  }
})
