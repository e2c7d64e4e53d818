// What the tests of servers share: real ones, at the versions of the folder `servers`, and clients that misbehave.

import { request as ask, createServer } from 'node:http'
import { connect } from 'node:net'
import { Readable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import { before } from 'node:test'

import { toNodeHandler } from '../index.js'
import { installed } from './install.mjs'

export const PATH = '/api/compute'
export const json = { 'content-type': 'application/json' }

let from
before(
  () => {
    from = installed('servers')
  },
  // They are installed the first time.
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

export const express = (use) => async (handler, errors) => {
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

export const fastify = (change, options) => async (handler, errors) => {
  const app = from('fastify')({ bodyLimit: 4 * 2 ** 20, forceCloseConnections: true, ...options })
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
export const SERVERS = {
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

/** All that comes back for what is sent over one connection, while `drop` is sent now and then. */
export function exchange(port, text, drop) {
  return new Promise((resolve, reject) => {
    let got = ''
    let timer
    const socket = connect(port, '127.0.0.1', () => {
      socket.write(text)
      if (drop !== undefined) timer = setInterval(() => socket.writable && socket.write(drop), 20)
    })
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
export function sendAll(url, length, isKnown) {
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
