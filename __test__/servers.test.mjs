// The request handler behind real servers: node:http, Express, Fastify with and without its parsers, Hono.

import assert from 'node:assert/strict'
import { after, before, describe } from 'node:test'
import { fileURLToPath } from 'node:url'

import { createComputeHandler, local } from '../index.js'
import { complaints } from './compiled.mjs'
import { json, PATH, SERVERS, sendAll } from './servers.mjs'
import { eventually, sandbox, test } from './support.mjs'
import { eventsOf, everything, told } from './web.mjs'

const provider = local()
const create = { action: 'compute.sandbox.create' }

const CLOSES = new Set(['Express, where a parser was before', 'Fastify', 'Hono'])

for (const [name, make] of Object.entries(SERVERS)) {
  describe(name, () => {
    const errors = []
    let server
    let url
    let box
    let handler = createComputeHandler({ provider })
    before(async () => {
      server = await make((request) => handler(request), errors)
      url = `http://127.0.0.1:${server.port}${PATH}`
      box = await sandbox()
    })
    after(async () => {
      await server?.close()
      await box?.destroy()
    })

    const post = (body, init) =>
      fetch(url, { method: 'POST', headers: json, body: JSON.stringify(body), ...init })
    const run = (command) => ({ action: 'compute.sandbox.runCommand', sandboxId: box.sandboxId, command })
    const count = async (line) => Number((await box.runCommand(`pgrep -fcx '${line}'`)).stdout)

    /** A handler with other options, for as long as `work` takes. */
    const having = async (other, work) => {
      const usual = handler
      handler = other
      try {
        return await work()
      } finally {
        handler = usual
      }
    }

    test('all actions', () => everything(async (body) => (await told(await post(body))).body))

    test('events as they happen', async () => {
      const headers = { ...json, accept: 'text/event-stream' }
      await box.filesystem.remove('/tmp/on').catch(() => {})
      const response = await post(run('echo é; until [ -e /tmp/on ]; do sleep 0.02; done; echo on'), {
        headers,
      })
      assert.equal(response.headers.get('content-type'), 'text/event-stream')
      const events = eventsOf(response)
      assert.equal((await events.next()).value.data.text, 'é\n')
      await box.filesystem.writeFile('/tmp/on', '')
      assert.equal((await events.next()).value.data.text, 'on\n')
      assert.equal((await events.next()).value.data.result.stdout, 'é\non\n')
      assert.equal((await events.next()).done, true)
    })

    test('other methods', async () => {
      for (const method of ['GET', 'HEAD', 'PUT', 'DELETE', 'PATCH', 'OPTIONS']) {
        const response = await fetch(url, { method })
        assert.deepEqual([response.status, response.headers.get('allow')], [405, 'POST'], method)
        const text = await response.text()
        assert.equal(
          method === 'HEAD' ? text : JSON.parse(text).error,
          method === 'HEAD' ? '' : 'Only POST requests are supported',
        )
      }
    })

    test('pages of other sites: a form, a preflight, one that is named', async () => {
      const evil = { origin: 'https://evil.example', 'sec-fetch-site': 'cross-site' }
      const form = await post({}, { headers: { ...evil, 'content-type': 'text/plain' } })
      // Fastify has a parser of text, and so lets the handler judge.
      assert.equal(form.status, 403)
      assert.equal((await post(create, { headers: { ...json, ...evil } })).status, 403)
      await having(
        createComputeHandler({ provider, allowedOrigins: ['https://front.example'] }),
        async () => {
          const asked = { origin: 'https://front.example', 'access-control-request-method': 'POST' }
          const preflight = await fetch(url, { method: 'OPTIONS', headers: asked })
          assert.deepEqual(
            [preflight.status, preflight.headers.get('access-control-allow-origin'), await preflight.text()],
            [204, 'https://front.example', ''],
          )
        },
      )
    })

    test('a client that hangs up ends its command, streamed or not', async () => {
      for (const accept of ['application/json', 'text/event-stream']) {
        const gone = new AbortController()
        const headers = { ...json, accept }
        const response = post(run('sleep 7001 & echo on; sleep 7001'), { headers, signal: gone.signal })
        response.catch(() => {})
        await eventually('it runs', async () => (await count('sleep 7001')) > 0)
        if (accept !== 'application/json') await (await response).body.getReader().read()
        gone.abort()
        await eventually(`it has ended: ${accept}`, async () => (await count('sleep 7001')) === 0)
      }
    })

    test('10 MB, with a length and in chunks without one, and JSON that is nested deeply', async () => {
      for (const isKnown of [true, false]) {
        // Servers that read bodies themselves, or drop what is left, may close before all of it has been sent.
        const answer = await sendAll(url, 10_000_000, isKnown).catch((error) => error)
        if (!CLOSES.has(name) || answer.status) assert.equal(answer.status, 413, answer)
        else assert.match(answer.code, /^(ECONNRESET|EPIPE)$/)
      }
      const deep = `{"action":"compute.sandbox.create","args":${'['.repeat(200_000)}${']'.repeat(200_000)}}`
      assert.equal((await post({}, { body: deep })).status, 400)
      assert.equal((await post(run('echo on'))).status, 200)
    })

    test('200 at once are all served', async () => {
      const answers = await Promise.all(
        Array.from({ length: 200 }, async (_, number) => (await post(run(`echo ${number}`))).json()),
      )
      assert.deepEqual(
        answers.map(({ result }) => result?.stdout),
        answers.map((_, number) => `${number}\n`),
      )
    })

    test('keys that mean something to JavaScript', async () => {
      const body =
        '{"action":"compute.sandbox.create","__proto__":{"polluted":true},"constructor":{"prototype":{}}}'
      assert.equal((await post({}, { body })).status, 400)
      assert.equal({}.polluted, undefined)
    })
  })
}

test('Express and Fastify are typed to take it', () => {
  const file = fileURLToPath(new URL('servers/use.mts', import.meta.url))
  const source = `
    import express from 'express'
    import Fastify from 'fastify'
    import { Hono } from 'hono'
    import { createComputeHandler, toNodeHandler } from '../../index.js'
    const handler = createComputeHandler()
    express().all('/api/compute', toNodeHandler(handler))
    Fastify().all('/api/compute', toNodeHandler(handler))
    new Hono().all('/api/compute', (context) => handler(context.req.raw))`
  assert.equal(complaints(file, source), '')
})
