// Ports: what listens in a sandbox, as programs on this machine reach it.

import assert from 'node:assert/strict'
import { createHash, randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { Agent, get, request } from 'node:http'
import { connect } from 'node:net'
import { before, describe } from 'node:test'

import { AbortError, InvalidArgumentError, NotFoundError, TimeoutError, UnsupportedError } from '../index.js'
import { failure, output, sandbox, test } from './support.mjs'

/** Starts a server and waits until it listens. It ends with the sandbox. */
async function serve(box, port, command) {
  const { pid } = await box.runCommand(command, { background: true })
  const server = await box.getProcess(pid)
  const ended = server.wait().then(
    (result) => Promise.reject(new Error(`the server has ended: ${result.stderr}`)),
    (error) => (error instanceof NotFoundError ? new Promise(() => {}) : Promise.reject(error)),
  )
  ended.catch(() => {})
  await Promise.race([box.waitForPort(port), ended])
  return box.getUrl({ port })
}

/** A server of Node.js, as source of a module that has `http` and `port`. */
const node = (port, source) => ['node', '-e', `const http = require('http'), port = ${port}\n${source}`]

/** The whole answer to a request. */
async function answer(message) {
  let text = ''
  for await (const piece of message.setEncoding('utf8')) text += piece
  return text
}

describe('a server in a sandbox', () => {
  let box
  before(async () => {
    box = await sandbox()
  })

  test('is reached with fetch', async () => {
    const url = await serve(
      box,
      3000,
      node(
        3000,
        `http.createServer(async (request, response) => {
          let body = ''
          for await (const piece of request) body += piece
          response.writeHead(201, { 'x-method': request.method }).end(request.url + body.toUpperCase())
        }).listen(port)`,
      ),
    )
    assert.match(url, /^http:\/\/127\.0\.0\.1:\d+$/)
    for (let turn = 0; turn < 20; turn++) {
      const response = await fetch(`${url}/path`, { method: 'POST', body: ` body ${turn}` })
      assert.equal(response.status, 201)
      assert.equal(response.headers.get('x-method'), 'POST')
      assert.equal(await response.text(), `/path BODY ${turn}`)
    }
  })

  test('keeps its connections', async () => {
    const url = await serve(
      box,
      3001,
      node(
        3001,
        `http.createServer((request, response) => response.end(String(request.socket.remotePort))).listen(port)`,
      ),
    )
    const agent = new Agent({ keepAlive: true, maxSockets: 1 })
    const seen = new Set()
    for (let turn = 0; turn < 50; turn++) {
      const [response] = await once(get(url, { agent }), 'response')
      seen.add(await answer(response))
    }
    assert.equal(seen.size, 1)
    agent.destroy()
  })

  test('speaks WebSocket', async () => {
    const url = await serve(
      box,
      3002,
      node(
        3002,
        `const { createHash } = require('crypto')
        http.createServer().on('upgrade', (request, socket) => {
          const accept = createHash('sha1')
            .update(request.headers['sec-websocket-key'] + '258EAFA5-E914-47DA-95CA-C5AB0DC85B11').digest('base64')
          socket.write('HTTP/1.1 101 Switching Protocols\\r\\nUpgrade: websocket\\r\\nConnection: Upgrade\\r\\n' +
            'Sec-WebSocket-Accept: ' + accept + '\\r\\n\\r\\n')
          let got = Buffer.alloc(0)
          socket.on('data', (piece) => {
            got = Buffer.concat([got, piece])
            // One masked text frame after the other, each shorter than 126 bytes.
            while (got.length >= 6 && got.length >= 6 + (got[1] & 127)) {
              const length = got[1] & 127, mask = got.subarray(2, 6)
              const text = got.subarray(6, 6 + length).map((byte, at) => byte ^ mask[at % 4])
              socket.write(Buffer.concat([Buffer.from([0x81, length]), text]))
              got = got.subarray(6 + length)
            }
          })
        }).listen(port)`,
      ),
    )
    assert.equal(
      await box.getUrl({ port: 3002, protocol: 'ws' }),
      url.replace(/^http/, 'ws'),
      'the same place, by another name',
    )
    const key = randomBytes(16).toString('base64')
    const headers = {
      connection: 'Upgrade',
      upgrade: 'websocket',
      'sec-websocket-version': '13',
      'sec-websocket-key': key,
    }
    const [response, socket] = await once(request(url, { headers }).end(), 'upgrade')
    const accepted = createHash('sha1').update(`${key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11`).digest('base64')
    assert.equal(response.headers['sec-websocket-accept'], accepted)
    let got = Buffer.alloc(0)
    for (let turn = 0; turn < 100; turn++) {
      const text = Buffer.from(`message ${turn}`)
      const mask = randomBytes(4)
      socket.write(Buffer.from([0x81, 0x80 | text.length, ...mask, ...text.map((b, at) => b ^ mask[at % 4])]))
      while (got.length < 2 || got.length < 2 + got[1])
        got = Buffer.concat([got, (await once(socket, 'data'))[0]])
      assert.equal(got.subarray(2, 2 + got[1]).toString(), `message ${turn}`)
      got = got.subarray(2 + got[1])
    }
    socket.destroy()
  })

  test('streams: each event arrives when it is sent', async () => {
    const url = await serve(
      box,
      3003,
      node(
        3003,
        `let events
        http.createServer((request, response) => {
          if (request.url === '/events') events = response.writeHead(200, { 'content-type': 'text/event-stream' })
          else if (request.url === '/end') events.end()
          else events.write('data: ' + request.url + '\\n\\n')
          if (request.url === '/events') events.flushHeaders()
          else response.end()
        }).listen(port)`,
      ),
    )
    const response = await fetch(`${url}/events`)
    assert.equal(response.headers.get('content-type'), 'text/event-stream')
    const reader = response.body.pipeThrough(new TextDecoderStream()).getReader()
    for (const name of ['/one', '/two', '/three']) {
      await fetch(url + name)
      assert.equal((await reader.read()).value, `data: ${name}\n\n`)
    }
    await fetch(`${url}/end`)
    assert.equal((await reader.read()).done, true)
  })

  test('gives a gigabyte, whole and in bounded memory', async () => {
    const url = await serve(
      box,
      3004,
      node(
        3004,
        `const { createHash } = require('crypto')
        const block = Buffer.alloc(1 << 20)
        http.createServer(async (request, response) => {
          const hash = createHash('sha256')
          response.writeHead(200, { trailer: 'x-hash' })
          for (let at = 0; at < 1024; at++) {
            const piece = Buffer.from(block.fill(at % 251))
            hash.update(piece)
            if (!response.write(piece)) await new Promise((go) => response.once('drain', go))
          }
          response.addTrailers({ 'x-hash': hash.digest('hex') })
          response.end()
        }).listen(port)`,
      ),
    )
    const begun = process.memoryUsage.rss()
    const start = Date.now()
    let size = 0
    let most = 0
    const hash = createHash('sha256')
    const [response] = await once(get(url), 'response')
    for await (const piece of response) {
      size += piece.length
      hash.update(piece)
      most = Math.max(most, process.memoryUsage.rss())
    }
    assert.equal(size, 2 ** 30)
    assert.equal(hash.digest('hex'), response.trailers['x-hash'])
    assert.ok(most - begun < 200 << 20, `${(most - begun) >> 20} MiB`)
    assert.ok(Date.now() - start < 30_000, `${Date.now() - start} ms`)
  })

  test('has five hundred connections at once', async () => {
    const url = await serve(
      box,
      3005,
      node(
        3005,
        `require('net').createServer((socket) => socket.pipe(socket)).listen({ port, backlog: 1024 })`,
      ),
    )
    const { port } = new URL(url)
    const sockets = await Promise.all(
      Array.from({ length: 500 }, async () => {
        const socket = connect({ port, host: '127.0.0.1' })
        await once(socket, 'connect')
        return socket
      }),
    )
    await Promise.all(
      sockets.map(async (socket, number) => {
        socket.end(`number ${number}`)
        assert.equal(await answer(socket), `number ${number}`)
      }),
    )
  })

  test("may be Python's own", async () => {
    await box.filesystem.writeFile('/srv/www/index.html', '<h1>Hello</h1>')
    const url = await serve(box, 8000, 'python3 -m http.server 8000 --directory /srv/www')
    const response = await fetch(url)
    assert.equal(response.headers.get('content-type'), 'text/html')
    assert.equal(await response.text(), '<h1>Hello</h1>')
    assert.equal((await fetch(`${url}/nothing`)).status, 404)
  })
})

describe('getUrl', () => {
  test('gives at once the same URL each time, whether or not anything listens', async () => {
    const box = await sandbox()
    const url = await box.getUrl({ port: 3000 })
    assert.equal(await box.getUrl({ port: 3000, protocol: 'http' }), url)
    assert.notEqual(await box.getUrl({ port: 3001 }), url)
    for (let turn = 0; turn < 3; turn++) {
      const begun = Date.now()
      await failure(fetch(url), TypeError)
      assert.ok(Date.now() - begun < 2000)
    }
    await serve(box, 3000, ['python3', '-m', 'http.server', '3000'])
    assert.equal((await fetch(url)).status, 200)
    await box.destroy()
    await failure(fetch(url), TypeError)
    await failure(box.getUrl({ port: 3000 }), NotFoundError, { message: /destroyed/, operation: 'getUrl' })
  })

  test('has the domain as its host', async () => {
    const box = await sandbox({ domain: 'localhost', ports: [3000, 3001] })
    const url = await serve(box, 3000, ['python3', '-m', 'http.server', '3000'])
    assert.match(url, /^http:\/\/localhost:\d+$/)
    assert.equal((await fetch(url)).status, 200)
    await box.destroy()
    for (const domain of ['', 'a b', 'http://localhost', 'localhost:80', '127.1']) {
      await failure(sandbox({ domain }), InvalidArgumentError, { message: /`domain`/ })
    }
  })

  test('refuses what it cannot give', async () => {
    const box = await sandbox()
    for (const protocol of ['https', 'wss']) {
      await failure(box.getUrl({ port: 3000, protocol }), UnsupportedError, { message: new RegExp(protocol) })
    }
    for (const options of [
      ...[0, -1, 1.5, 65_536, Number.NaN, '80', null, undefined].map((port) => ({ port })),
      ...['ftp', '', 'HTTP', 1, null].map((protocol) => ({ port: 80, protocol })),
      { port: 80, host: 'x' },
      80,
      undefined,
    ]) {
      await failure(box.getUrl(options), InvalidArgumentError, { operation: 'getUrl' })
    }
    for (const ports of [[0], [70_000], [1.5], ['80'], 80, 'all', null]) {
      await failure(sandbox({ ports }), InvalidArgumentError, { message: /ports/ })
    }
    await box.destroy()
  })

  test('keeps no program from its end', async () => {
    const printed = await output(`
      import { connect } from 'node:net'
      const box = await c.local().sandbox.create()
      await box.filesystem.writeFile('/app/server.js', "require('net').createServer((s) => s.write('x')).listen(3000)")
      await box.runCommand('setsid -f node /app/server.js > /dev/null 2>&1')
      await box.waitForPort(3000)
      const socket = connect(new URL(await box.getUrl({ port: 3000 })).port, '127.0.0.1')
      await new Promise((resolve) => socket.once('data', resolve))
      socket.unref()
      console.log('done')
    `)
    assert.equal(printed, 'done\n')
  })
})

describe('waitForPort', () => {
  let box
  before(async () => {
    box = await sandbox()
  })

  test('resolves when something listens, and connects to nothing', async () => {
    const once_ = `import socket, time
time.sleep(0.3)
s = socket.create_server(('', 4000)); c, _ = s.accept(); c.sendall(b'first'); c.close()`
    const ended = box.runCode(once_, 'python')
    assert.equal(await box.waitForPort(4000), undefined)
    await box.waitForPort(4000, { timeout: 0 })
    const { port } = new URL(await box.getUrl({ port: 4000 }))
    assert.equal(await answer(connect(port, '127.0.0.1')), 'first')
    assert.equal((await ended).exitCode, 0)
  })

  test('gives up when its time is over, and says what to look at', async () => {
    const begun = Date.now()
    const error = await failure(box.waitForPort(4001, { timeout: 150 }), TimeoutError, {
      code: 'TIMEOUT',
      message: /port 4001.*150 ms/,
      hint: /started.*output/,
      operation: 'waitForPort',
      sandboxId: box.sandboxId,
      retryable: true,
    })
    assert.ok(Date.now() - begun >= 150)
    assert.match(error.stack, /ports\.test\.mjs/)
  })

  test('can be aborted', async () => {
    const reason = new Error('no longer needed')
    const controller = new AbortController()
    const waiting = failure(box.waitForPort(4001, { signal: controller.signal }), AbortError, {
      cause: reason,
    })
    setTimeout(() => controller.abort(reason), 50)
    await waiting
    await failure(box.waitForPort(4001, { signal: controller.signal }), AbortError, { cause: reason })
  })

  test('ends with the sandbox', async () => {
    const one = await sandbox()
    const waiting = failure(one.waitForPort(4001, { timeout: 0 }), NotFoundError, { message: /destroyed/ })
    setTimeout(() => one.destroy(), 50)
    await waiting
  })

  test('refuses what is no port and no option', async () => {
    for (const port of [0, -1, 1.5, 65_536, Number.NaN, '80', null, undefined]) {
      await failure(box.waitForPort(port), InvalidArgumentError, { message: /port/ })
    }
    for (const options of [{ timeout: -1 }, { timeout: '1' }, { signal: 1 }, { within: 1 }, 1000, null]) {
      await failure(box.waitForPort(80, options), InvalidArgumentError)
    }
  })
})
