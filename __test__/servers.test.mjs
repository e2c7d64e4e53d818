// The request handler behind real servers: node:http, HTTP/2, Express, Fastify with and without its parsers, Hono.

import assert from 'node:assert/strict'
import { request as ask, createServer } from 'node:http'
import { connect as connect2, createServer as createServer2 } from 'node:http2'
import { connect } from 'node:net'
import { Readable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import { after, before, describe } from 'node:test'
import { fileURLToPath } from 'node:url'

import ts from 'typescript'

import { createComputeHandler, InvalidArgumentError, local, toNodeHandler } from '../index.js'
import { installed } from './install.mjs'
import { eventually, failure, program, sandbox, test } from './support.mjs'
import { eventsOf, everything, told } from './web.mjs'

const provider = local()
const PATH = '/api/compute'
const MIB = 2 ** 20
const json = { 'content-type': 'application/json' }
const create = { action: 'compute.sandbox.create' }

let from
before(
  () => {
    from = installed('servers')
  },
  { timeout: 300_000 },
)

const listening = async (server) => {
  await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve))
  return {
    port: server.address().port,
    close: () => {
      server.closeAllConnections?.()
      return new Promise((resolve) => server.close(resolve))
    },
  }
}

const express = (use) => async (handler, errors) => {
  const make = from('express')
  const app = make()
  use?.(app, make)
  app.all(PATH, toNodeHandler(handler))
  app.use((error, _request, response, next) => {
    errors.push(error)
    if (response.headersSent) next(error)
    else response.status(error.status ?? 500).json({ caught: true })
  })
  return listening(createServer(app))
}

const fastify = (change) => async (handler, errors) => {
  const app = from('fastify')({ bodyLimit: 4 * MIB, forceCloseConnections: true })
  app.setErrorHandler((error, _request, reply) => {
    errors.push(error)
    reply.status(error.statusCode ?? 500).send({ caught: true })
  })
  app.addHook('onRequest', async (_request, reply) => void reply.header('x-hook', 'fastify'))
  change?.(app)
  app.all(PATH, toNodeHandler(handler))
  await app.listen({ port: 0, host: '127.0.0.1' })
  return { port: app.server.address().port, close: () => app.close() }
}

/** What makes a server of a handler, and tells the errors that it was given. */
const SERVERS = {
  'node:http': (handler) => listening(createServer(toNodeHandler(handler))),
  Express: express(),
  'Express, where a parser was before': express((app, { json }) => app.use(json({ limit: '4mb' }))),
  Fastify: fastify(),
  'Fastify without its parsers': fastify((app) => {
    app.removeAllContentTypeParsers()
    app.addContentTypeParser('*', (_request, _body, done) => done(null))
  }),
  Hono: async (handler) => {
    const { Hono } = from('hono')
    const app = new Hono()
    app.all(PATH, (context) => handler(context.req.raw))
    const { createAdaptorServer } = from('@hono/node-server')
    return listening(createAdaptorServer({ fetch: app.fetch }))
  },
}

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

describe('toNodeHandler', () => {
  const serving = async (make, handler, work) => {
    const errors = []
    const server = await make(handler, errors)
    try {
      return await work(`http://127.0.0.1:${server.port}${PATH}`, errors, server.port)
    } finally {
      await server.close()
    }
  }

  test('what a handler throws goes to whoever answers for errors', async () => {
    const thrown = new Error('no database')
    const throws = async () => {
      throw thrown
    }
    for (const name of ['Express', 'Fastify']) {
      await serving(SERVERS[name], throws, async (url, errors) => {
        const response = await fetch(url, { method: 'POST', headers: json, body: '{}' })
        assert.deepEqual([response.status, await response.json()], [500, { caught: true }], name)
        assert.deepEqual(errors, [thrown])
      })
    }
  })

  test('without anybody who does, there is a 500 and a warning, and the process goes on', async () => {
    const { stdout, stderr } = await program(`
      import { createServer } from 'node:http'
      const server = createServer(c.toNodeHandler(async () => { throw new Error('no database') }))
      await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve))
      const response = await fetch('http://127.0.0.1:' + server.address().port)
      console.log(response.status, await response.text() === '')
      server.close()
    `).ended
    assert.equal(stdout, '500 true\n')
    assert.match(stderr, /COMPUTESDK_HANDLER.*no database/)
  })

  test('a body that breaks off in the middle is broken for its reader', async () => {
    for (const name of ['node:http', 'Express', 'Fastify']) {
      let pulls = 0
      const body = () =>
        new ReadableStream({
          pull(controller) {
            pulls += 1
            if (pulls % 2 === 1) controller.enqueue(Buffer.from('half'))
            else controller.error(new Error('no disk'))
          },
        })
      await serving(
        SERVERS[name],
        async () => new Response(body()),
        async (url) => {
          await assert.rejects(async () => (await fetch(url)).text(), name)
        },
      )
    }
  })

  test('the request that a handler gets is the one that came', async () => {
    const seen = []
    const echo = async (request) => {
      seen.push([
        request.method,
        new URL(request.url).pathname,
        request.headers.get('x-a'),
        await request.text(),
      ])
      const headers = new Headers([
        ['set-cookie', 'a=1'],
        ['set-cookie', 'b=2'],
      ])
      return new Response('ok', { status: 201, headers })
    }
    for (const name of ['node:http', 'Express', 'Express, where a parser was before', 'Fastify']) {
      await serving(SERVERS[name], echo, async (url) => {
        const response = await fetch(`${url}?b=c`, {
          method: 'POST',
          headers: { ...json, 'x-a': 'é' },
          body: '{"a":[1]}',
        })
        assert.deepEqual([response.status, await response.text()], [201, 'ok'])
        assert.deepEqual(response.headers.getSetCookie(), ['a=1', 'b=2'])
        assert.deepEqual(seen.pop(), ['POST', PATH, 'é', '{"a":[1]}'])
        if (name === 'Fastify') assert.equal(response.headers.get('x-hook'), 'fastify')
      })
    }
  })

  test('a body that was read, and that nobody has kept', async () => {
    const reads = express((app) =>
      app.use((request, _response, next) => void request.on('end', next).resume()),
    )
    await serving(reads, createComputeHandler({ provider }), async (url, errors) => {
      const response = await fetch(url, { method: 'POST', headers: json, body: JSON.stringify(create) })
      assert.equal(response.status, 500)
      assert.ok(errors[0] instanceof InvalidArgumentError)
      assert.match(errors[0].message, /has been read/)
    })
  })

  test('requests that no Web request can be', async () => {
    await serving(SERVERS['node:http'], createComputeHandler({ provider }), async (_url, _errors, port) => {
      for (const [head, status] of [
        ['TRACE / HTTP/1.1\r\nhost: a', 501],
        ['POST / HTTP/1.1\r\nhost: a@b:c', 400],
        ['POST / HTTP/1.1\r\nhost: [', 400],
        ['POST http://[/ HTTP/1.1\r\nhost: a', 415],
        ['POST //evil.example/ HTTP/1.1\r\nhost: a', 415],
        ['POST / HTTP/1.0', 415],
        // A page at http://undefined is no page of ours.
        ['POST / HTTP/1.0\r\norigin: http://undefined', 403],
      ]) {
        const answer = await exchange(port, `${head}\r\nconnection: close\r\n\r\n`)
        assert.match(answer, new RegExp(`^HTTP/1.1 ${status} `), head)
      }
    })
  })

  test('a body that comes too slowly is answered, and its connection closed', async () => {
    const handler = createComputeHandler({ provider, limits: { action: 500 } })
    for (const name of ['node:http', 'Express', 'Fastify without its parsers']) {
      await serving(SERVERS[name], handler, async (_url, _errors, port) => {
        const begun = Date.now()
        const head = `POST ${PATH} HTTP/1.1\r\nhost: a\r\ncontent-type: application/json\r\ncontent-length: 1000\r\n\r\n`
        const answer = await exchange(port, head, ' ')
        assert.match(answer, /^HTTP\/1.1 408 /, name)
        assert.match(answer, /BODY_TIMEOUT/)
        assert.ok(Date.now() - begun < 10_000)
      })
    }
  })

  test('who sends on after the answer still reads it', async () => {
    await serving(SERVERS['node:http'], createComputeHandler({ provider }), async (url) => {
      for (let round = 0; round < 20; round += 1) {
        const { status, body } = await sendAll(url, 10_000_000, round % 2 === 0)
        assert.deepEqual([status, JSON.parse(body).code], [413, 'TOO_LARGE'])
      }
    })
  })

  test('HTTP/2', async () => {
    const server = createServer2(toNodeHandler(createComputeHandler({ provider })))
    await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve))
    const session = connect2(`http://127.0.0.1:${server.address().port}`)
    try {
      await everything(async (body) => {
        const stream = session.request({ ':method': 'POST', ':path': PATH, ...json })
        stream.end(JSON.stringify(body))
        let text = ''
        for await (const piece of stream.setEncoding('utf8')) text += piece
        return JSON.parse(text)
      })
    } finally {
      session.close()
      await new Promise((resolve) => server.close(resolve))
    }
  })

  test('something that is no handler is refused', () => {
    for (const value of [undefined, null, {}, 'handler']) {
      assert.throws(() => toNodeHandler(value), InvalidArgumentError)
    }
  })
})

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
  const options = {
    strict: true,
    noEmit: true,
    skipLibCheck: true,
    target: ts.ScriptTarget.ES2022,
    module: ts.ModuleKind.NodeNext,
    moduleResolution: ts.ModuleResolutionKind.NodeNext,
    types: ['node'],
    typeRoots: [fileURLToPath(new URL('../node_modules/@types', import.meta.url))],
  }
  const host = ts.createCompilerHost(options)
  const { fileExists, readFile } = host
  host.fileExists = (path) => path === file || fileExists(path)
  host.readFile = (path) => (path === file ? source : readFile(path))
  const found = ts.getPreEmitDiagnostics(ts.createProgram([file], options, host))
  assert.equal(ts.formatDiagnostics(found, { ...host, getCanonicalFileName: (name) => name }), '')
})

describe('createComputeHandler', () => {
  test('checks its options at once', () => {
    for (const [options, message] of [
      [{ alowedActions: [] }, /has no option `alowedActions`/],
      [{ request: create }, /has no option `request`/],
      [{ limits: { concurrent: 0 } }, /`limits.concurrent` must be 1 or more/],
      [{ limits: { sandboxes: 1.5 } }, /`limits.sandboxes` must be a whole number/],
      [{ provider: {} }, /`provider` must be a provider/],
      [{ authorize: true }, /`authorize` must be a function/],
      [{ onAnswer: {} }, /`onAnswer` must be a function/],
      [null, /`options` must be an object/],
    ]) {
      assert.throws(
        () => createComputeHandler(options),
        (error) => {
          assert.ok(error instanceof InvalidArgumentError, String(error))
          assert.match(error.message, message)
          assert.equal(error.operation, 'createComputeHandler')
          return true
        },
      )
    }
  })

  test('is a route of Next.js: { POST, OPTIONS }, called with more than the request', async () => {
    const { POST, OPTIONS } = createComputeHandler({ provider })
    const request = (method) =>
      new Request('https://app.example/', {
        method,
        headers: json,
        ...(method === 'POST' && { body: JSON.stringify(create) }),
      })
    assert.equal((await POST(request('POST'), { params: Promise.resolve({}) })).status, 200)
    assert.equal((await OPTIONS(request('OPTIONS'), {})).status, 405)
  })

  test('what is no Web request is told what to do', async () => {
    const handler = createComputeHandler({ provider })
    for (const request of [undefined, create, { method: 'POST', headers: {} }]) {
      const { hint } = await failure(handler(request), InvalidArgumentError, {
        message: /must be a Web Request/,
      })
      assert.match(hint, /toNodeHandler/)
    }
  })
})

/** All that comes back for what is sent over one connection, while `drop` is sent now and then. */
function exchange(port, text, drop) {
  return new Promise((resolve, reject) => {
    let got = ''
    const socket = connect(port, '127.0.0.1', () => socket.write(text))
    const timer = setInterval(() => drop !== undefined && socket.writable && socket.write(drop), 20)
    socket.setEncoding('utf8').on('data', (piece) => {
      got += piece
    })
    socket.on('error', (error) => got === '' && reject(error))
    socket.on('close', () => {
      clearInterval(timer)
      resolve(got)
    })
  })
}

/** What is answered to a client that sends all of its body whatever it is told meanwhile, over a connection of its own. */
function sendAll(url, length, isKnown) {
  const headers = { ...json, ...(isKnown && { 'content-length': length }) }
  const pieces = function* () {
    for (let sent = 0; sent < length; sent += 100_000) yield Buffer.alloc(100_000, ' ')
  }
  return new Promise((resolve, reject) => {
    const request = ask(url, { method: 'POST', headers, agent: false })
    request.on('response', async (response) => {
      try {
        let body = ''
        for await (const piece of response.setEncoding('utf8')) body += piece
        resolve({ status: response.statusCode, body })
      } catch (error) {
        reject(error)
      }
    })
    // What fails after the answer fails nobody.
    request.on('error', reject)
    pipeline(Readable.from(pieces()), request).catch(reject)
  })
}
