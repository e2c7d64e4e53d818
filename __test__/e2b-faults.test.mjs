// What goes wrong between here and E2B: everything settles soon, with an error that says what happened or with the right
// result; nothing is done twice; and when nothing goes wrong any more, everything works again.

import assert from 'node:assert/strict'
import { describe, test as nodeTest } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { inspect } from 'node:util'

import { ComputeError, e2b, NotFoundError, RateLimitError, UnavailableError } from '../index.js'
import { e2bFake } from './fakes.mjs'
import { eventually, failure, test } from './support.mjs'

const START = { path: 'process.Process/Start' }
const page = '<!DOCTYPE html><html><head><title>502</title></head><body>Bad gateway</body></html>'
const answer = (status, body = '', headers = {}) => ({ action: { answer: { status, headers, body } } })
const json = (status) =>
  answer(status, JSON.stringify({ code: status, message: 'said the server' }), {
    'content-type': 'application/json',
  })

/** What goes wrong. After the last four of them the request is carried out all the same. */
const FAULTS = {
  'the connection is closed before the answer': { action: { close: {} } },
  '500 as JSON': json(500),
  '502 as a page': answer(502, page, { 'content-type': 'text/html' }),
  '502 with nothing': answer(502),
  '503 as JSON': json(503),
  '504 as a text': answer(504, 'upstream request timeout', { 'content-type': 'text/plain' }),
  'the answer is lost': { processed: true, action: { close: {} } },
  'the answer is cut off': { action: { cut: { bytes: 1, how: 'reset' } } },
  'the answer comes byte by byte': { action: { slow: { size: 1 } } },
  'the answer is late': { delay: 400 },
}
const HARMLESS = ['the answer comes byte by byte', 'the answer is late']
/** Codes that such failures may have. */
const CODES = ['UNAVAILABLE', 'TIMEOUT', 'INTERNAL']

const control = (method, path) => ({ method, path, service: 'control' })
const daemon = (path, method = 'POST') => ({ method, path, service: 'envd' })

/**
 * Everything that asks E2B: what it asks first, the call, and what has to be there once it was a success. What is done once
 * leaves a line in `log` each time.
 */
function operations(provider, box, at) {
  const { filesystem: files } = box
  const dir = `/work/${at}`
  const log = `${dir}/log`
  return {
    create: {
      rule: control('POST', '/sandboxes'),
      work: () => provider.sandbox.create({ metadata: { at } }),
      once: async () => (await provider.sandbox.list({ metadata: { at } })).length,
      undo: async () => {
        for (const one of await provider.sandbox.list({ metadata: { at } })) await one.destroy()
      },
    },
    list: { rule: control('GET', '/v2/sandboxes'), work: () => provider.sandbox.list() },
    getById: { rule: control('GET', '/sandboxes'), work: () => provider.sandbox.getById(box.sandboxId) },
    getInfo: { rule: control('GET', '/sandboxes'), work: () => box.getInfo() },
    extendTimeout: { rule: control('POST', '/timeout'), work: () => box.extendTimeout(1_000) },
    getMetrics: { rule: control('GET', '/metrics'), work: () => box.getMetrics() },
    // `bare`: the head of the answer says it all, and nothing of it can be cut off.
    pause: { rule: control('POST', '/pause'), work: () => box.pause(), undo: () => box.resume(), bare: true },
    resume: { rule: control('POST', '/connect'), work: () => box.resume() },
    'snapshots.list': { rule: control('GET', '/snapshots'), work: () => provider.snapshots.list() },
    runCommand: {
      rule: daemon('process.Process/Start'),
      // What nobody heard is missing, and that is told.
      work: async () => {
        const { stdout, truncated } = await box.runCommand(`echo ran >> ${log}; echo ok`)
        assert.ok(stdout === 'ok\n' || truncated, stdout)
      },
      once: () => lines(box, log),
      undo: () => files.remove(log).catch(() => {}),
    },
    spawn: {
      rule: daemon('process.Process/Start'),
      work: async () => {
        const child = box.spawn('cat')
        await child.stdin.end('')
        await child
      },
    },
    'terminal.create': {
      rule: daemon('process.Process/Start'),
      work: async () => (await box.terminal.create({ command: 'cat' })).kill(),
    },
    getProcess: { rule: daemon('process.Process/List'), work: () => box.getProcess(4_000_000), bare: true },
    'runCode in a context': {
      rule: { path: '/execute', service: 'interpreter' },
      work: () => box.runCode('1', { runtime: 'python', context: 'a' }),
    },
    readFile: {
      rule: daemon('/files', 'GET'),
      work: async () => assert.equal(await files.readFile(`${dir}/content`), 'content'),
      // What is missing is asked for as long as something comes.
      resumes: true,
    },
    'writeFile of little': {
      rule: daemon('/files'),
      work: () => files.writeFile(`${dir}/little`, 'little'),
      bare: true,
    },
    'writeFile of much': {
      rule: daemon('/files'),
      work: () => files.writeFile(`${dir}/much`, Buffer.alloc(500_000)),
    },
    mkdir: { rule: daemon('MakeDir'), work: () => files.mkdir(`${dir}/made`) },
    readdir: { rule: daemon('ListDir'), work: () => files.readdir(dir) },
    stat: { rule: daemon('Stat'), work: () => files.stat(`${dir}/content`) },
    exists: { rule: daemon('Stat'), work: () => files.exists(`${dir}/content`) },
    copy: { rule: daemon('process.Process/Start'), work: () => files.copy(`${dir}/content`, `${dir}/copy`) },
    remove: {
      rule: daemon('Remove'),
      work: async () => {
        await files.writeFile(`${dir}/gone`, '')
        await files.remove(`${dir}/gone`)
      },
    },
  }
}

async function lines(box, path) {
  return Number((await box.runCommand(`cat ${path} 2>/dev/null | wc -l`)).stdout)
}

/** What a call comes to, in time: nothing wrong, or an error that says what was wrong. */
async function settled(name, within, work) {
  const late = new AbortController()
  const outcome = await Promise.race([
    work().then(
      () => undefined,
      (error) => error,
    ),
    sleep(within, 'late', { signal: late.signal }).catch(() => {}),
  ])
  late.abort()
  assert.notEqual(outcome, 'late', `${name} has not settled within ${within} ms`)
  if (outcome === undefined) return undefined
  assert.ok(outcome instanceof ComputeError, `${name}: ${outcome?.stack ?? outcome}`)
  assert.ok(CODES.includes(outcome.code), `${name}: ${outcome.code}: ${outcome.message}`)
  const text = inspect(outcome, { depth: 20, showHidden: true })
  assert.doesNotMatch(text, /<html|<!DOCTYPE|fetch failed|undefined \(/i, `${name}: ${text}`)
  assert.ok(outcome.message.length > 10 && outcome.operation, `${name}: ${text}`)
  return outcome
}

describe('whatever goes wrong', { concurrency: true }, () => {
  for (const [fault, rule] of Object.entries(FAULTS)) {
    const harmless = HARMLESS.includes(fault)

    nodeTest(`${fault}, once`, { timeout: 90_000 }, async () => {
      const { fake, provider, box } = await place()
      for (const [name, one] of Object.entries(operations(provider, box, 'once'))) {
        await fake.fault({ match: one.rule, ...rule })
        const error = await settled(`${name} (${fault})`, 12_000, one.work)
        await fake.clearFaults()
        if (harmless) assert.equal(error, undefined, `${name} (${fault}): ${error?.message}`)
        const times = await one.once?.()
        if (times !== undefined)
          assert.ok(times <= 1 && (error || times === 1), `${name} (${fault}): ${times}`)
        await one.undo?.()
        assert.equal(await settled(`${name}, again`, 12_000, one.work), undefined, `${name}, after ${fault}`)
        await one.undo?.()
      }
      await fake.stop()
    })

    if (harmless || rule.processed) continue
    nodeTest(`${fault}, always`, { timeout: 90_000 }, async () => {
      const { fake, provider, box } = await place()
      const wanted = ([, { bare }]) => !(bare && rule.action.cut)
      const all = Object.entries(operations(provider, box, 'always')).filter(wanted)
      await fake.fault({ count: 0, ...rule })
      const errors = await Promise.all(
        all.map(([name, { work }]) => settled(`${name} (${fault})`, 25_000, work)),
      )
      for (const [at, error] of errors.entries()) {
        const [name, { resumes }] = all[at]
        // It never rejects.
        if (name === 'exists' || (resumes && rule.action.cut)) continue
        assert.ok(error, `${name} (${fault}) did not fail`)
      }
      await fake.clearFaults()
      for (const [name, { work, undo, once }] of all) {
        await undo?.()
        assert.equal(await settled(`${name}, again`, 12_000, work), undefined)
        if (once) assert.equal(await once(), 1, name)
        await undo?.()
      }
      await fake.stop()
    })
  }
})

async function place() {
  const fake = await e2bFake()
  const provider = e2b(fake.account)
  const box = await provider.sandbox.create()
  for (const at of ['once', 'always']) await box.filesystem.writeFile(`/work/${at}/content`, 'content')
  return { fake, provider, box }
}

describe('a stream', { concurrency: true }, () => {
  test('that is cut is followed again, and neither output to come nor the exit code is lost', async () => {
    const { fake, box } = await place()
    for (const how of ['close', 'reset', 'end']) {
      for (const bytes of [0, 3]) {
        await fake.fault({ match: START, action: { cut: { frames: 2, bytes, how } } })
        const log = `/tmp/${how}-${bytes}`
        const asked = await fake.asked(async () => {
          const line = `echo ran >> ${log}; echo 1; sleep 0.5; echo 2; exit 3`
          const { stdout, exitCode, truncated } = await box.runCommand(line)
          // What was cut in two cannot be had again.
          const heard = bytes === 0 ? '1\n2\n' : '1\n'
          assert.deepEqual([stdout, exitCode, truncated], [heard, 3, true], `${how} ${bytes}`)
        })
        assert.equal(asked.filter(({ path }) => path.endsWith('/Connect')).length, 1, how)
        assert.equal(await lines(box, log), 1)
      }
    }
    await fake.stop()
  })

  test('that is cut after the command has ended tells how it ended', async () => {
    const { fake, box } = await place()
    await fake.fault({ match: START, action: { cut: { frames: 1, how: 'close' } } })
    const { exitCode } = await box.runCommand('exit 9')
    assert.equal(exitCode, 9)
    await fake.stop()
  })

  test('that is cut where nobody knows how the command has ended is an error that says so', async () => {
    const fake = await e2bFake({ envdVersion: '0.6.11' })
    const box = await e2b(fake.account).sandbox.create()
    await fake.fault({ match: START, action: { cut: { frames: 1, how: 'close' } } })
    await failure(box.runCommand('exit 9'), UnavailableError, { message: /ended meanwhile/ })
    await fake.stop()
  })

  test('that falls silent is probed, and followed again', async () => {
    const { fake, box } = await place()
    await fake.fault({ match: START, action: { cut: { frames: 2, how: 'silence' } } })
    const begun = Date.now()
    const asked = await fake.asked(async () => {
      const { stdout, exitCode } = await box.runCommand('echo 1; sleep 14; echo 2; exit 3')
      assert.deepEqual([stdout, exitCode], ['1\n2\n', 3])
    })
    assert.ok(Date.now() - begun < 25_000)
    const paths = asked.map(({ path }) => path)
    assert.ok(paths.includes('/health') && paths.includes('/process.Process/Connect'), paths.join())
    await fake.stop()
  })

  test('that falls silent with its sandbox is an error soon', async () => {
    const { fake, box } = await place()
    await fake.fault({ match: START, action: { cut: { frames: 1, how: 'silence' } } })
    const running = box.runCommand('sleep 600')
    await sleep(500)
    await fake.fault({ count: 0, match: { path: '/health' }, ...gone(box) })
    const begun = Date.now()
    await failure(running, ComputeError, { code: 'UNAVAILABLE', sandboxId: box.sandboxId })
    assert.ok(Date.now() - begun < 20_000)
    await fake.stop()
  })

  test('of a sandbox that ends is an error at once, and what was heard is not lost', async () => {
    const { fake, provider, box } = await place()
    let heard = ''
    const running = box.runCommand('echo so far; sleep 600', {
      onStdout: (text) => {
        heard += text
      },
    })
    const ended = failure(running, NotFoundError, { message: /is gone: it was ended/ })
    const child = failure(box.spawn('echo so far; sleep 600'), NotFoundError, { message: /is gone/ })
    await eventually('it has begun', () => heard !== '')
    const begun = Date.now()
    // Ended by somebody else: nobody here knows of it.
    await fetch(`${fake.url}/sandboxes/${box.sandboxId}`, {
      method: 'DELETE',
      headers: { 'x-api-key': fake.account.apiKey },
    })
    const error = await ended
    assert.ok(Date.now() - begun < 8_000, `${Date.now() - begun} ms`)
    assert.equal(heard, 'so far\n')
    assert.deepEqual([error.sandboxId, error.result.stdout], [box.sandboxId, 'so far\n'])
    await child
    assert.equal(await provider.sandbox.getById(box.sandboxId), null)
    await fake.stop()
  })

  test('of a sandbox that is paused is an error that says so', async () => {
    const { fake, box } = await place()
    const running = box.runCommand('sleep 600')
    await sleep(300)
    await box.pause()
    await failure(running, UnavailableError, { message: /is paused/ })
    await fake.stop()
  })
})

/** What the way to a sandbox answers in its place when there is none. */
function gone(box) {
  const body = { sandboxId: box.sandboxId, message: 'The sandbox was not found', code: 502 }
  return answer(502, JSON.stringify(body))
}

describe('what the way to a sandbox says', { concurrency: true }, () => {
  test('is told apart: busy, full, forbidden, moving, closed', async () => {
    const { fake, box } = await place()
    const says = (status, message, more = {}) =>
      answer(status, JSON.stringify({ sandboxId: box.sandboxId, message, code: status, ...more }), {
        'retry-after': status === 429 ? '40' : '',
      })
    for (const [rule, code, words] of [
      [
        says(429, 'The sandbox has too many concurrent incoming connections (limit: 9)'),
        'RATE_LIMITED',
        /too many/,
      ],
      [
        says(409, 'The sandbox is still transitioning. Try again in a moment.'),
        'UNAVAILABLE',
        /transitioning/,
      ],
      [says(403, 'resume not permitted'), 'PERMISSION_DENIED', /not permitted/],
      [says(401, 'unauthorized access'), 'UNAUTHENTICATED', /authentication failed/],
      [
        says(502, 'The sandbox is running but port is not open', { port: 49983 }),
        'UNAVAILABLE',
        /nothing in it answers/,
      ],
      [
        says(507, 'attempted to write 5 bytes: not enough disk space available'),
        'QUOTA_EXCEEDED',
        /no space/,
      ],
    ]) {
      for (const call of [
        () => box.runCommand('true'),
        () => box.filesystem.readFile('/x'),
        () => box.filesystem.writeFile('/x', 'x'),
        () => box.filesystem.readdir('/x'),
      ]) {
        await fake.fault({ count: 0, ...rule })
        const error = await failure(call(), ComputeError, { code, message: words, sandboxId: box.sandboxId })
        assert.doesNotMatch(error.message, /not running anymore|timeout/)
        await fake.clearFaults()
      }
    }
    await fake.stop()
  })

  test('is told apart where the sandbox itself has too much to do', async () => {
    const fake = await e2bFake({ maxConnections: 2 })
    const box = await e2b(fake.account).sandbox.create()
    await Promise.all([1, 2].map(() => box.runCommand('sleep 60', { background: true })))
    await failure(box.runCommand('true'), RateLimitError, { message: /too many concurrent/, retryable: true })
    await fake.stop()
  })

  test('carries what its support asks for', async () => {
    const { fake, provider, box } = await place()
    const headers = { 'x-request-id': 'request-7' }
    await fake.fault({ count: 0, ...answer(500, '{"code":500,"message":"no"}', headers) })
    await failure(provider.sandbox.list(), UnavailableError, { status: 500, requestId: 'request-7' })
    await failure(box.getInfo(), UnavailableError, { status: 500, requestId: 'request-7' })
    await failure(box.runCommand('true'), UnavailableError, { status: 500, requestId: 'request-7' })
    await failure(box.filesystem.readdir('/x'), ComputeError, { status: 500, requestId: 'request-7' })
    await fake.stop()
  })
})

describe('what never answers', { concurrency: true }, () => {
  const at = (url) => e2b({ apiKey: 'e2b_00', apiUrl: url, sandboxUrl: url }).sandbox

  test('is named, with what the system says and where in its course', async () => {
    const message = /^cannot connect to 127\.0\.0\.1:1: Connection refused \(os error 111\)$/
    const fake = await e2bFake()
    const secure = fake.url.replace('http:', 'https:')
    await Promise.all([
      failure(at('http://127.0.0.1:1').list(), UnavailableError, {
        message,
        retryable: true,
        operation: 'list',
      }),
      failure(at('http://no-such.invalid').list(), UnavailableError, {
        message: /^cannot find no-such\.invalid/,
      }),
      failure(at(secure).list(), UnavailableError, {
        message: /^cannot (agree on encryption with|connect to) 127/,
      }),
    ])
    await fake.stop()
  })

  test('is given up by an abort, at once', async () => {
    const { fake, box } = await place()
    await fake.fault({ count: 0, delay: 30_000 })
    for (const work of [
      (signal) => box.runCommand('true', { signal }),
      (signal) => e2b(fake.account).sandbox.create({ signal }),
    ]) {
      const begun = Date.now()
      await failure(work(AbortSignal.timeout(200)), ComputeError, { code: 'ABORTED' })
      assert.ok(Date.now() - begun < 2_000)
    }
    await fake.stop()
  })
})
