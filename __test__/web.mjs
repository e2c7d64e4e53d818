// What the tests of the request handler share: a server of node:http in front of it, and requests to it.

import assert from 'node:assert/strict'
import { createServer } from 'node:http'
import { Readable } from 'node:stream'

import { handleComputeRequest } from '../index.js'

const create = { action: 'compute.sandbox.create' }

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

/** The body that runs a command. */
export function run(sandboxId, command, more) {
  return { action: 'compute.sandbox.runCommand', sandboxId, command, ...more }
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

/** Every action in turn, through whatever `ask` is. */
export async function everything(ask) {
  const made = await ask({ ...create, options: { runtime: 'python', timeout: 60_000, metadata: { a: [1] } } })
  const { sandboxId } = made
  assert.deepEqual(made, { success: true, sandboxId, provider: made.provider, status: 200 })
  const does = async (action, more = {}) => {
    const answer = await ask({ action: `compute.sandbox.${action}`, sandboxId, ...more })
    assert.equal(answer.success, true, JSON.stringify(answer))
    const { success, sandboxId: _, provider, status, ...rest } = answer
    return rest
  }
  const path = '/work/a.txt'
  assert.deepEqual(await does('filesystem.writeFile', { path, content: 'café' }), {})
  assert.deepEqual(await does('filesystem.readFile', { path }), { fileContent: 'café' })
  assert.deepEqual(await does('filesystem.mkdir', { path: '/work/b' }), {})
  const { files } = await does('filesystem.readdir', { path: '/work' })
  assert.deepEqual(
    files.map(({ name, type, path }) => [name, type, path]),
    [
      ['a.txt', 'file', '/work/a.txt'],
      ['b', 'directory', '/work/b'],
    ],
  )
  assert.equal(new Date(files[0].modified).toISOString(), files[0].modified)
  assert.deepEqual(await does('filesystem.exists', { path }), { exists: true })
  assert.deepEqual(await does('filesystem.remove', { path }), {})
  assert.deepEqual(await does('filesystem.exists', { path }), { exists: false })
  const { result } = await does('runCommand', {
    command: 'echo $A; echo err >&2; exit 3',
    commandOptions: { env: { A: 'b' } },
  })
  assert.deepEqual([result.stdout, result.stderr, result.exitCode], ['b\n', 'err\n', 3])
  assert.ok(result.durationMs >= 1 && result.sandboxId === sandboxId)
  assert.equal((await does('runCommand', { command: 'echo', args: ['$A'] })).result.stdout, '$A\n')
  const code = (await does('runCode', { code: 'print(1 + 1)' })).result
  assert.deepEqual([code.output, code.language, code.exitCode], ['2\n', 'python', 0])
  const { info } = await does('getInfo')
  assert.deepEqual([info.id, info.status, info.metadata], [sandboxId, 'running', { a: [1] }])
  assert.equal(new Date(info.createdAt).toISOString(), info.createdAt)
  const gone = await ask({ action: 'compute.sandbox.getInfo', sandboxId: 'sbx_0' })
  assert.deepEqual([gone.status, gone.error, gone.code], [404, 'Sandbox not found: sbx_0', 'NOT_FOUND'])
  await does('destroy')
  await does('destroy')
  assert.equal((await ask({ action: 'compute.sandbox.getInfo', sandboxId })).status, 404)
}

/** The events of an answer that comes as it happens, one after the other; a comment is one without a name. */
export async function* eventsOf(response) {
  let text = ''
  const decoder = new TextDecoder()
  for await (const piece of response.body) {
    text += decoder.decode(piece, { stream: true })
    const frames = text.split('\n\n')
    text = frames.pop()
    for (const frame of frames) {
      const [, event, data] = /^event: (\w+)\ndata: (.*)$/.exec(frame) ?? []
      assert.ok(event || frame.startsWith(':'), `no event: ${frame}`)
      yield event === undefined ? { comment: frame } : { event, data: JSON.parse(data) }
    }
  }
  assert.equal(text, '', 'it broke off')
}
