// Servers that speak as E2B does, or did: older and newer ways to ask, found out once. And what of keys and tokens is seen.

import assert from 'node:assert/strict'
import { describe } from 'node:test'
import { inspect } from 'node:util'

import { ComputeError, e2b, UnsupportedError } from '../index.js'
import { e2bFake, KEY } from './fakes.mjs'
import { failure, output, program, test } from './support.mjs'

const paths = (asked) => asked.map(({ method, path }) => `${method} ${path.split('?')[0]}`)

describe('a server', () => {
  test('that knows only the newer calls is asked the older one once', async () => {
    const fake = await e2bFake({ api: 'v2' })
    const { sandbox } = e2b(fake.account)
    let one
    const first = await fake.asked(async () => {
      one = await sandbox.create()
    })
    assert.deepEqual(paths(first), ['POST /sandboxes', 'POST /v2/sandboxes'])
    const later = await fake.asked(async () => {
      await (await sandbox.create()).destroy()
      await one.pause()
      await one.resume()
      // Another provider of the same server knows it too.
      await e2b(fake.account).sandbox.create()
    })
    const missed = later.filter(({ method, path }) => method === 'POST' && !/^\/v2|pause$/.test(path))
    assert.deepEqual(missed, [])
    assert.equal((await one.runCommand('echo on')).stdout, 'on\n')
  })

  test('that knows only the older calls is never asked a newer one', async () => {
    const fake = await e2bFake({ api: 'v1' })
    const { sandbox } = e2b(fake.account)
    const asked = await fake.asked(async () => {
      const one = await sandbox.create()
      await one.pause()
      await one.resume()
      await one.destroy()
    })
    assert.deepEqual(
      paths(asked).map((path) => path.replace(/\/i[a-z0-9]{20}/, '/{id}')),
      [
        'POST /sandboxes',
        'POST /sandboxes/{id}/pause',
        'POST /sandboxes/{id}/connect',
        'DELETE /sandboxes/{id}',
      ],
    )
  })

  test('that speaks JSON alone is asked in binary once', async () => {
    const fake = await e2bFake({ jsonOnly: true })
    const { sandbox } = e2b(fake.account)
    const one = await sandbox.create()
    const types = (asked) => asked.map(({ headers }) => headers['content-type'])
    const first = await fake.asked(() => one.runCommand('true'))
    assert.deepEqual(types(first), ['application/connect+proto', 'application/connect+json'])
    const later = await fake.asked(async () => {
      const { stdout } = await one.runCommand('printf "\\0\\377€"; exit 0')
      assert.equal(stdout, '\0\uFFFD€')
      assert.equal(await one.filesystem.exists('/etc'), true)
      const other = await sandbox.create()
      assert.equal((await other.runCommand('exit 3')).exitCode, 3)
    })
    assert.deepEqual(
      types(later).filter((type) => /proto/.test(type)),
      [],
    )
    assert.equal(later.length, 4)
  })

  test('that speaks binary is never asked in another way', async () => {
    const fake = await e2bFake()
    const one = await e2b(fake.account).sandbox.create()
    const asked = await fake.asked(async () => {
      await one.runCommand('true')
      await one.filesystem.exists('/etc')
    })
    assert.deepEqual(
      asked.map(({ headers }) => headers['content-type']),
      ['application/connect+proto', 'application/proto'],
    )
  })

  test('with an older daemon is used as far as that can', async () => {
    for (const envdVersion of ['0.2.9', '0.3.9', '0.5.1', '0.5.6', '0.6.11']) {
      const fake = await e2bFake({ envdVersion })
      const one = await e2b(fake.account).sandbox.create()
      const bytes = Buffer.alloc(400_000, '\u{1F600}')
      await one.filesystem.writeFile('/tmp/a b.bin', bytes)
      await one.filesystem.writeFile('/tmp/small', 'small')
      assert.deepEqual(
        Buffer.from(await one.filesystem.readFile('/tmp/a b.bin', { encoding: 'bytes' })),
        bytes,
      )
      assert.equal(await one.filesystem.readFile('/tmp/small'), 'small')
      // It is at the end of its input, whatever the daemon does with that.
      assert.equal((await one.runCommand('cat; echo $A', { env: { A: 'a' } })).stdout, 'a\n', envdVersion)
      const { pid } = await one.runCommand('sleep 0.3; exit 4', { background: true })
      assert.equal((await (await one.getProcess(pid)).wait()).exitCode, 4)
      const input = one.runCommand('tr a-z A-Z', { stdin: 'in' })
      if (envdVersion < '0.5.2') await failure(input, UnsupportedError, { message: /`stdin`.*0\.\d\.\d/ })
      else assert.equal((await input).stdout, 'IN')
      await fake.stop()
    }
  })

  test('that names a domain of its own is reached there', async () => {
    const fake = await e2bFake({ domain: 'own.example' })
    const one = await e2b(fake.account).sandbox.create()
    assert.equal(await one.getUrl({ port: 8080 }), `https://8080-${one.sandboxId}.own.example`)
  })
})

describe('keys and tokens', () => {
  /** Everything that can be said about what went wrong. */
  const SOURCE = `
    import { inspect } from 'node:util'
    const config = JSON.parse(process.env.CONFIG)
    const provider = c.e2b(config)
    const one = await provider.sandbox.create({ envs: { SECRET: 'hunter2-env' } })
    await one.runCommand('echo hunter2-command', { env: { SECRET: 'hunter2-env' }, stdin: 'hunter2-stdin' })
    await one.runCode('print("hunter2-code")')
    await one.filesystem.writeFile('/tmp/x', 'hunter2-content')
    await one.filesystem.readFile('/tmp/x')
    const failures = []
    const fails = (work) => work().catch((error) => failures.push(error))
    await fails(() => one.filesystem.readFile('/none'))
    await fails(() => one.runCommand('true', { cwd: '/none' }))
    await one.destroy()
    await fails(() => one.runCommand('true'))
    await fails(() => c.e2b({ ...config, apiKey: process.env.WRONG }).sandbox.list())
    await fails(() => c.e2b({ ...config, apiUrl: 'http://127.0.0.1:1' }).sandbox.list())
    for (const value of [...failures, provider, one, provider.sandbox, one.getProvider(), c.compute({ provider }).getConfig()]) {
      console.log(inspect(value, { depth: 20, showHidden: true }), JSON.stringify(value), String(value?.stack))
    }
    console.log('failures:', failures.length)`

  test('are in no message, no value and no log', async () => {
    const fake = await e2bFake()
    const tokens = new Set()
    const wrong = `e2b_${'0'.repeat(37)}401`
    const key = `e2b_${'abcdef0123'.repeat(4)}`
    const env = {
      CONFIG: JSON.stringify({ ...fake.account, apiKey: key }),
      WRONG: wrong,
      COMPUTESDK_LOG: 'trace',
    }
    let ended
    const asked = await fake.asked(async () => {
      ended = await program(SOURCE, { env }).ended
    })
    const { code, stdout, stderr } = ended
    assert.equal(code, 0, stderr.slice(-2_000))
    assert.match(stdout, /failures: 5/)
    assert.match(stderr, /computesdk::/)
    for (const { headers } of asked) if (headers['x-access-token']) tokens.add(headers['x-access-token'])
    assert.equal(tokens.size, 1)
    for (const secret of [key, wrong, ...tokens, 'hunter2']) {
      for (const [name, text] of Object.entries({ stdout, stderr })) {
        const at = text.indexOf(secret)
        assert.equal(at, -1, `${name}: …${text.slice(Math.max(0, at - 300), at + 80)}`)
      }
    }
  })

  test('are in no error of a server that repeats them', async () => {
    const fake = await e2bFake()
    const { sandbox } = e2b(fake.account)
    const one = await sandbox.create()
    const [{ headers }] = await fake.asked(() => one.filesystem.exists('/'))
    const token = headers['x-access-token']
    const body = JSON.stringify({ code: 500, message: `key ${KEY}, token ${token}` })
    await fake.fault({ count: 0, action: { answer: { status: 500, body } } })
    for (const [secret, call] of [
      [KEY, () => sandbox.create()],
      [KEY, () => one.getInfo()],
      [token, () => one.runCommand('true')],
      [token, () => one.filesystem.readFile('/x')],
      [token, () => one.filesystem.readdir('/x')],
    ]) {
      const error = await failure(call(), ComputeError)
      const text = inspect(error, { depth: 20, showHidden: true })
      assert.ok(text.includes('key ') && !text.includes(secret), text)
    }
    await fake.stop()
  })

  test('are sent to nobody else', async () => {
    const fake = await e2bFake()
    const other = await e2bFake()
    const { sandbox } = e2b(fake.account)
    const location = `${other.url}/sandboxes`
    await fake.fault({ count: 0, action: { answer: { status: 307, headers: { location } } } })
    const asked = await other.asked(() => failure(sandbox.list(), ComputeError))
    assert.deepEqual(asked, [])
    await Promise.all([fake.stop(), other.stop()])
  })

  test('go where their part of the work is done', async () => {
    const fake = await e2bFake()
    const one = await e2b(fake.account).sandbox.create()
    const asked = await fake.asked(async () => {
      await one.getInfo()
      await one.runCommand('true')
      await one.filesystem.writeFile('/tmp/x', 'x')
    })
    const given = ({ headers }) => [Boolean(headers['x-api-key']), Boolean(headers['x-access-token'])]
    assert.deepEqual(asked.map(given), [
      [true, false],
      [false, true],
      [false, true],
    ])
    for (const { path, headers } of asked) {
      assert.ok(!path.includes(KEY) && !path.includes(headers['x-access-token']))
      assert.match(headers['user-agent'], /^computesdk\/\d/)
    }
  })

  test('of the environment are read when they are needed', async () => {
    const fake = await e2bFake()
    const source = `
      const provider = c.e2b()
      await provider.sandbox.list().then(() => process.exit(1), (error) => console.log(error.message))
      process.env.E2B_API_KEY = process.env.LATER
      console.log((await provider.sandbox.list()).length)`
    const env = { LATER: KEY, E2B_API_URL: fake.url }
    assert.match(await output(source, { env }), /^Missing E2B API key.*\n0\n$/)
  })
})
