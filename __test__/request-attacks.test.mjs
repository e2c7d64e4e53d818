// One attack on the request handler for each of its threats: what a stranger may send, and what it must not do.
// What would cost it too much is in request-costs.test.mjs.

import assert from 'node:assert/strict'
import { describe } from 'node:test'

import { handleComputeRequest, local } from '../index.js'
import { test } from './support.mjs'
import { answered, post, run, URL_ } from './web.mjs'

const provider = local()
const create = { action: 'compute.sandbox.create' }

/** What a body is answered with. */
const ask = async (body, options) => (await answered(post(body), { provider, ...options })).body

describe('what is no request for an action', () => {
  test('other methods', async () => {
    for (const method of ['GET', 'HEAD', 'PUT', 'PATCH', 'DELETE', 'OPTIONS']) {
      const request = new Request(URL_, { method })
      const { status, headers, body } = await answered(request, { provider })
      assert.deepEqual([status, headers.get('allow')], [405, 'POST'], method)
      assert.equal(body.error, 'Only POST requests are supported')
      assert.equal(headers.get('access-control-allow-methods'), null)
    }
  })

  test('bodies that are not JSON, whatever they say of themselves', async () => {
    for (const type of [
      'text/plain',
      'application/x-www-form-urlencoded',
      'multipart/form-data; boundary=a',
      '',
    ]) {
      const { status, body } = await answered(post(create, { headers: { 'content-type': type } }), {
        provider,
      })
      assert.deepEqual([status, body.code], [415, 'UNSUPPORTED_MEDIA_TYPE'], type)
    }
    for (const body of [
      '',
      '{',
      'action=compute.sandbox.create',
      '{"action":"compute.sandbox.create"',
      '\0',
      '{} x',
    ]) {
      const { status, body: answer } = await answered(post(body), { provider })
      assert.deepEqual([status, answer.error], [400, 'Invalid JSON in request body'], body)
    }
  })

  test('keys and actions that mean something to JavaScript', async () => {
    for (const action of [
      '__proto__',
      'constructor',
      'toString',
      'compute.sandbox.constructor',
      'compute.__proto__',
    ]) {
      assert.deepEqual((await ask({ action })).error, `Unknown action: ${action}`)
      assert.equal((await handleComputeRequest({ request: { action }, provider })).status, 400)
    }
    for (const text of [
      '{"action":"compute.sandbox.create","__proto__":{"allowedActions":["compute.sandbox.list"]}}',
      '{"action":"compute.sandbox.create","constructor":{"prototype":{"polluted":true}}}',
      '{"action":"compute.sandbox.create","options":{"__proto__":{"envs":{"A":"b"}}}}',
    ]) {
      assert.equal((await ask(text)).status, 400)
      assert.equal((await handleComputeRequest({ request: JSON.parse(text), provider })).status, 400)
      assert.equal({}.polluted, undefined)
    }
    // As data they are data.
    const text = '{"action":"compute.sandbox.create","options":{"metadata":{"__proto__":{"polluted":true}}}}'
    const { sandboxId } = await ask(text)
    const { info } = await ask({ action: 'compute.sandbox.getInfo', sandboxId })
    assert.equal(JSON.stringify(info.metadata), '{"__proto__":{"polluted":true}}')
    assert.equal({}.polluted, undefined)
  })

  test('options of the handler, from a client', async () => {
    const listing = { action: 'compute.sandbox.list' }
    const opened = { request: listing, allowedActions: [listing.action], authorize: null }
    const answer = await handleComputeRequest({ request: opened, provider })
    assert.deepEqual([answer.status, answer.error], [400, 'Unknown field: request'])
    const listed = await handleComputeRequest(opened, provider)
    assert.equal(listed.status, 400)
  })
})

describe('pages of other sites', () => {
  const from = (headers, options) => answered(post(create, { headers }), { provider, ...options })

  test('are refused, and told nothing that they could read', async () => {
    for (const headers of [
      { origin: 'https://evil.example' },
      { origin: 'null' },
      { origin: 'https://app.example.evil.example' },
      { 'sec-fetch-site': 'cross-site' },
      { 'sec-fetch-site': 'same-site', origin: 'https://other.app.example' },
      { origin: 'https://evil.example', 'sec-fetch-site': 'same-origin' },
    ]) {
      const { status, headers: answer, body } = await from(headers)
      assert.deepEqual([status, body.code], [403, 'PERMISSION_DENIED'], JSON.stringify(headers))
      assert.equal(answer.get('access-control-allow-origin'), null)
    }
  })

  test('a form cannot be one of ours', async () => {
    // What a browser sends for <form enctype="text/plain"> with a field whose name is half of an object.
    const headers = {
      'content-type': 'text/plain',
      origin: 'https://evil.example',
      'sec-fetch-site': 'cross-site',
    }
    assert.equal(
      (await answered(post('{"action":"compute.sandbox.create","path":"="}', { headers }), { provider }))
        .status,
      403,
    )
    delete headers.origin
    delete headers['sec-fetch-site']
    assert.equal(
      (await answered(post('{"action":"compute.sandbox.create","path":"="}', { headers }), { provider }))
        .status,
      415,
    )
  })

  test('a page of the own host may ask, and so may a program', async () => {
    for (const headers of [
      {},
      { origin: 'https://app.example', 'sec-fetch-site': 'same-origin' },
      { host: 'inner:3000', 'x-forwarded-host': 'app.example', origin: 'https://app.example' },
    ]) {
      const { status, body } = await from(headers)
      assert.equal(status, 200, JSON.stringify(headers))
      await provider.sandbox.destroy(body.sandboxId)
    }
  })

  test('a site that is named may ask, and no other', async () => {
    const options = { provider, allowedOrigins: ['https://front.example'] }
    const preflight = (origin) =>
      answered(
        new Request(URL_, {
          method: 'OPTIONS',
          headers: {
            origin,
            'access-control-request-method': 'POST',
            'access-control-request-headers': 'authorization,content-type',
          },
        }),
        options,
      )
    const { status, headers, body } = await preflight('https://front.example')
    assert.deepEqual([status, body], [204, null])
    assert.equal(headers.get('access-control-allow-origin'), 'https://front.example')
    assert.equal(headers.get('access-control-allow-methods'), 'POST')
    assert.equal(headers.get('access-control-allow-headers'), 'authorization,content-type')
    assert.equal(headers.get('vary'), 'Origin')
    const made = await from({ origin: 'https://front.example', 'sec-fetch-site': 'cross-site' }, options)
    assert.deepEqual(
      [made.status, made.headers.get('access-control-allow-origin')],
      [200, 'https://front.example'],
    )
    const other = await preflight('https://evil.example')
    assert.deepEqual([other.status, other.headers.get('access-control-allow-origin')], [405, null])
    assert.equal((await from({ origin: 'https://evil.example' }, options)).status, 403)
  })
})

describe('what a client may not have', () => {
  test('an id of its own, an environment, a network, a directory of the host', async () => {
    const options = {
      envs: { A: 'b' },
      templateId: 't',
      network: 'full',
      domain: 'evil.example',
      ports: [22],
      resources: {},
    }
    const mounts = [{ source: '/', target: '/host', mode: 'rw' }]
    for (const [key, value] of Object.entries({
      ...options,
      mounts,
      provider: 'e2b',
      options: { envs: {} },
    })) {
      const answer = await ask({ ...create, options: { [key]: value } })
      assert.deepEqual([answer.status, answer.error], [400, `\`options.${key}\` is not allowed`])
    }
    assert.equal((await ask({ ...create, options: { sandboxId: 'theirs' } })).status, 403)
    const forged = await ask({ ...create, options: { metadata: { 'computesdk.owner': 'alice' } } })
    assert.equal(forged.status, 400)
    assert.equal((await ask({ ...create, options: { timeout: 0 } })).status, 400)
  })

  test('sandboxes whose ids it guesses, in whatever form', async () => {
    for (const sandboxId of [
      'sbx_0',
      '../..',
      '/etc/passwd',
      '*',
      'a\0b',
      '%00',
      ' ',
      'x'.repeat(100_000),
      '__proto__',
    ]) {
      for (const action of ['getInfo', 'runCommand']) {
        const answer = await ask(run(sandboxId, 'id', { action: `compute.sandbox.${action}` }))
        assert.deepEqual([answer.status, answer.code], [404, 'NOT_FOUND'], sandboxId.slice(0, 20))
        assert.ok(answer.error.length < 200)
      }
      assert.equal((await ask({ action: 'compute.sandbox.destroy', sandboxId })).status, 200)
    }
  })

  test('options of commands of other types, and others', async () => {
    const { sandboxId } = await ask(create)
    for (const commandOptions of [
      1,
      'x',
      [],
      { cwd: 1 },
      { cwd: 'relative' },
      { cwd: '/a\0b' },
      { env: [] },
      { env: { A: 1 } },
      { env: { 'A=B': 'c' } },
      { env: { A: 'b\0c' } },
      { env: 'A=b' },
      { timeout: -1 },
      { timeout: 1.5 },
      { timeout: '1000' },
      { timeout: 1e300 },
      { background: 1 },
      { user: 'root' },
      { stdin: 'x' },
      { maxOutput: 1e12 },
      { throwOnError: true },
      { signal: {} },
    ]) {
      const answer = await ask(run(sandboxId, 'true', { commandOptions }))
      assert.deepEqual([answer.status, answer.success], [400, false], JSON.stringify(commandOptions))
    }
  })

  test('sandboxes of an owner whose name looks like its own', async () => {
    const names = ['ann', 'Ann', 'ann ', 'ann\0', '__proto__', '\ufffd']
    const askAs = (owner, body) => ask(body, { authorize: () => owner })
    for (const owner of names) {
      const { sandboxId } = await askAs(owner, create)
      for (const other of names) {
        const { status } = await askAs(other, { action: 'compute.sandbox.getInfo', sandboxId })
        assert.equal(status, other === owner ? 200 : 404, JSON.stringify([owner, other]))
      }
    }
    // Half a character is no name: all of them would be the same one.
    for (const owner of ['\ud800', 'ann\udfff']) assert.equal((await askAs(owner, create)).status, 500)
  })

  test('files of the host, by whatever path', async () => {
    const { sandboxId } = await ask(create)
    const read = (path) => ask({ action: 'compute.sandbox.filesystem.readFile', sandboxId, path })
    for (const path of ['/etc/passwd\0.txt', 'etc/passwd', '../../etc/shadow', '', `/${'a'.repeat(5000)}`]) {
      assert.equal((await read(path)).status, 400, path.slice(0, 20))
    }
    await ask(run(sandboxId, 'ln -s /proc/1/root/../../../../etc/shadow /tmp/link; ln -s / /tmp/root'))
    for (const path of [
      '/../../../etc/shadow',
      '/tmp/link',
      '/tmp/root/etc/shadow',
      `/proc/1/root${process.execPath}`,
    ]) {
      const answer = await read(path)
      assert.equal(answer.success, false, path)
      assert.ok([400, 403, 404].includes(answer.status), `${path}: ${JSON.stringify(answer)}`)
    }
  })

  test('what the server knows', async () => {
    const secret = '/opt/secret/python3'
    const answer = await ask(create, { provider: local({ python: secret }) })
    assert.deepEqual(answer, {
      success: false,
      error: 'Internal error',
      code: 'INTERNAL',
      provider: 'local',
      status: 500,
    })
    const authorize = () => {
      throw Object.assign(new Error(`${secret} is gone`), { status: 200, code: secret })
    }
    const { status, headers, body } = await answered(post(create), { provider, authorize })
    assert.deepEqual([status, body.error], [500, 'Internal error'])
    assert.ok(!JSON.stringify([body, [...headers]]).includes('secret'))
  })
})
