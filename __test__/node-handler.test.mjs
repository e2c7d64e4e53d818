// `toNodeHandler` and `createComputeHandler` by themselves: what goes in, what comes out, who is told of errors.

import assert from 'node:assert/strict'
import { once } from 'node:events'
import { connect as connect2, createServer as createServer2 } from 'node:http2'
import { connect } from 'node:net'
import { describe } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'

import { createComputeHandler, InvalidArgumentError, local, toNodeHandler } from '../index.js'
import { exchange, express, fastify, json, PATH, SERVERS, sendAll } from './servers.mjs'
import { eventually, failure, program, test } from './support.mjs'
import { everything } from './web.mjs'

const provider = local()
const create = { action: 'compute.sandbox.create' }

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

  test("Fastify's limit of time for handlers cuts off no stream, and ends what comes too late", async () => {
    const told = []
    const slow = async (request) => {
      request.signal.addEventListener('abort', () => told.push('aborted'))
      const isLate = request.url.endsWith('?late')
      if (isLate) await sleep(600)
      let left = 4
      const body = new ReadableStream({
        async pull(controller) {
          await sleep(100)
          controller.enqueue(Buffer.from('x'))
          if (!isLate && --left === 0) controller.close()
        },
        cancel: () => void told.push('cancelled'),
      })
      return new Response(body)
    }
    await serving(fastify(undefined, { handlerTimeout: 250 }), slow, async (url) => {
      assert.equal(await (await fetch(url)).text(), 'xxxx')
      assert.deepEqual(told, [])
      assert.equal((await fetch(`${url}?late`)).status, 503)
      await eventually('what comes too late is let go of', () => told.length === 2)
      assert.deepEqual(told, ['aborted', 'cancelled'])
    })
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

  test('below a router of Express the URL is whole', async () => {
    const echo = async (request) => new Response(new URL(request.url).pathname)
    const mounted = express((app, make) => app.use('/mounted', make.Router().get('/at', toNodeHandler(echo))))
    await serving(mounted, echo, async (url) => {
      assert.equal(await (await fetch(new URL('/mounted/at', url))).text(), '/mounted/at')
    })
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

  test('the body of a client that went before it was asked for breaks off', async () => {
    const read = []
    const reads = async (request) => {
      read.push(await request.text().catch(({ message }) => message))
      return new Response()
    }
    const late = express((app) => app.use((_request, response, next) => void response.on('close', next)))
    await serving(late, reads, async (_url, _errors, port) => {
      const socket = connect(port, '127.0.0.1', () => {
        socket.write(`POST ${PATH} HTTP/1.1\r\nhost: a\r\ncontent-length: 9\r\n\r\n{}`)
        setTimeout(() => socket.destroy(), 50)
      })
      await eventually('it is told', () => read.length > 0)
      assert.deepEqual(read, ['the request broke off'])
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
      // What is left of a body is let go by: the stream is over, and others go on.
      const stream = session.request({ ':method': 'POST', ':path': PATH, ...json })
      stream.end(Buffer.alloc(10_000_000, ' '))
      const [{ ':status': status }] = await once(stream, 'response')
      assert.equal(status, 413)
      await once(stream.resume(), 'close')
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
