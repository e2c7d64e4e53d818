// What the tests of the request handler share: a server of node:http in front of it, and requests to it.

import { createServer } from 'node:http'
import { Readable } from 'node:stream'

import { handleComputeRequest } from '../index.js'

/** The address of a request in the tests that are without a server. */
export const URL_ = 'https://app.example/api/compute'

/** A Web request, as a framework would make it of what a browser sent. */
export function post(body, { headers = {}, ...init } = {}) {
  return new Request(URL_, {
    method: 'POST',
    headers: { 'content-type': 'application/json', ...headers },
    body: typeof body === 'string' || body instanceof ReadableStream ? body : JSON.stringify(body),
    duplex: 'half',
    ...init,
  })
}

/** What comes of a Web request: the status, the headers, and what its body holds. */
export async function answered(request, options = {}) {
  const response = await handleComputeRequest({ request, ...options })
  return told(response)
}

export async function told(response) {
  const text = await response.text()
  return { status: response.status, headers: response.headers, body: text === '' ? null : JSON.parse(text) }
}

/** A server that answers with what `handle` makes of a Web request. Its `errors` are what `handle` was rejected with. */
export async function serve(handle) {
  const errors = []
  const server = createServer(async (incoming, outgoing) => {
    const gone = new AbortController()
    outgoing.on('close', () => gone.abort())
    const hasBody = !['GET', 'HEAD'].includes(incoming.method)
    try {
      const request = new Request(`http://${incoming.headers.host}${incoming.url}`, {
        method: incoming.method,
        headers: Object.entries(incoming.headers).map(([name, value]) => [name, String(value)]),
        body: hasBody ? Readable.toWeb(incoming) : null,
        duplex: 'half',
        signal: gone.signal,
      })
      const response = await handle(request)
      outgoing.writeHead(response.status, Object.fromEntries(response.headers))
      outgoing.end(Buffer.from(await response.arrayBuffer()))
    } catch (error) {
      errors.push(error)
      outgoing.destroy()
    }
  })
  await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve))
  const { port } = server.address()
  return {
    port,
    url: `http://127.0.0.1:${port}/api/compute`,
    errors,
    close: () => {
      server.closeAllConnections()
      return new Promise((resolve) => server.close(resolve))
    },
  }
}
