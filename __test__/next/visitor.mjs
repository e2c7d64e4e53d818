// A visitor of examples/nextjs without a browser: what its routes answer, and what they refuse.

import assert from 'node:assert/strict'

import { eventually } from '../support.mjs'

/** For output as it comes. */
const EVENTS = { headers: { accept: 'text/event-stream' } }

export class Visitor {
  constructor(url) {
    this.url = url
  }

  /** One that has a cookie, and a sandbox. */
  static async new(url) {
    const visitor = new Visitor(url)
    const response = await visitor.post('/api/sandbox', {})
    const cookie = response.headers.get('set-cookie')
    assert.match(cookie, /^visitor=[-\da-f]{36};.*HttpOnly/i)
    assert.match(cookie, /SameSite=strict/i)
    visitor.cookie = cookie.split(';')[0]
    visitor.sandboxId = (await response.json()).sandboxId
    return visitor
  }

  /** Sends JSON. */
  async post(path, body, { headers = {}, ...init } = {}) {
    return await fetch(this.url + path, {
      method: 'POST',
      headers: {
        'content-type': 'application/json',
        ...(this.cookie && { cookie: this.cookie }),
        ...headers,
      },
      body: JSON.stringify(body),
      ...init,
    })
  }

  /** What comes of something that must succeed. */
  async ask(path, body) {
    const response = await this.post(path, body)
    const answer = await response.json()
    assert.equal(response.status, 200, JSON.stringify(answer))
    return answer
  }

  /** An action on the visitor's sandbox. */
  async act(body) {
    return await this.ask('/api/compute', { sandboxId: this.sandboxId, ...body })
  }
}

/** What must be so of a server with the example's routes. */
export async function answers(url) {
  const visitor = await Visitor.new(url)
  const action = 'compute.sandbox.runCode'
  assert.equal((await visitor.act({ action, code: 'print(6 * 7)' })).result.stdout, '42\n')
  // It is found again: there is one for each visitor.
  assert.equal((await visitor.ask('/api/sandbox', {})).sandboxId, visitor.sandboxId)

  const other = await Visitor.new(url)
  const { sandboxId } = visitor
  const run = { action, sandboxId, code: '1' }
  const refused = [
    [404, await other.post('/api/compute', run)],
    [404, await other.post('/api/compute', run, EVENTS)],
    [403, await new Visitor(url).post('/api/compute', run, EVENTS)],
    [422, await visitor.post('/api/compute', { ...run, code: 'print(' }, EVENTS)],
    [413, await visitor.post('/api/compute', { ...run, code: ' '.repeat(2 ** 18 + 1) })],
    [401, await new Visitor(url).post('/api/terminal', {})],
    [400, await visitor.post('/api/terminal', 'text')],
    [400, await visitor.post('/api/terminal', { cols: 'wide' })],
    [413, await visitor.post('/api/terminal', { input: ' '.repeat(2 ** 18) })],
    [413, await visitor.post('/api/terminal', {}, { body: new Blob(['{}']).stream(), duplex: 'half' })],
    [404, await visitor.post('/api/terminal/none', { input: 'exit' })],
  ]
  const rest = { ...run, command: 'id', port: 80, path: '/tmp/x', content: '' }
  for (const name of ['create', 'list', 'destroy', 'getUrl', 'runCommand', 'filesystem.writeFile']) {
    refused.push([403, await visitor.post('/api/compute', { ...rest, action: `compute.sandbox.${name}` })])
  }
  for (const path of ['/api/sandbox', '/api/compute', '/api/terminal', '/api/terminal/x']) {
    for (const headers of [{ 'sec-fetch-site': 'cross-site' }, { origin: 'https://elsewhere.example' }]) {
      refused.push([403, await visitor.post(path, run, { headers })])
    }
    if (path === '/api/sandbox') continue
    refused.push([415, await visitor.post(path, {}, { headers: { 'content-type': 'text/plain' } })])
  }
  for (const [status, response] of refused) {
    const text = await response.text()
    assert.equal(response.status, status, `${response.url}: ${text}`)
    assert.equal(JSON.parse(text).success, false)
  }
}

/** More than a page shows comes to its beginning. */
export async function floods(url) {
  const visitor = await Visitor.new(url)
  const code = "import sys\nfor stream in sys.stdout, sys.stderr:\n  stream.write('0123456789' * 2**20)"
  const body = { action: 'compute.sandbox.runCode', sandboxId: visitor.sandboxId, code }
  const events = (await (await visitor.post('/api/compute', body, EVENTS)).text()).split('\n\n')
  const told = (name) =>
    events
      .filter((event) => event.startsWith(`event: ${name}\n`))
      .map((event) => JSON.parse(event.slice(event.indexOf('{'))))
  for (const stream of ['stdout', 'stderr']) {
    const texts = told(stream).map(({ text }) => text)
    assert.equal(texts.join(''), '0123456789'.repeat(20_000))
  }
  const [{ result }] = told('result')
  assert.deepEqual([result.exitCode, result.truncated], [0, true])
}

/** What the event `open` of a terminal tells. */
async function opened(response) {
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader()
  for (let text = ''; ; ) {
    const { value, done } = await reader.read()
    assert.equal(done, false, text)
    text += value
    const found = /^event: open\ndata: (.*)$/m.exec(text)
    if (found) return JSON.parse(found[1])
  }
}

/** A run, and a terminal, whose client goes: both are ended. */
export async function hangUp(url) {
  const visitor = await Visitor.new(url)
  const action = 'compute.sandbox.runCode'
  const count = async () => {
    const line = "cat /proc/[0-9]*/cmdline | tr '\\0' ' ' | grep -ao 'sleep [56]00' | wc -l"
    const { result } = await visitor.act({ action, code: `import os\nos.system(${JSON.stringify(line)})` })
    return Number(result.stdout)
  }
  const gone = new AbortController()
  const { signal } = gone
  const code = "import subprocess\nsubprocess.run(['sleep', '600'])"
  const run = await visitor.post(
    '/api/compute',
    { action, sandboxId: visitor.sandboxId, code },
    { ...EVENTS, signal },
  )
  const terminal = await visitor.post('/api/terminal', {}, { signal })
  const { id } = await opened(terminal)
  await visitor.ask(`/api/terminal/${id}`, { input: 'sleep 500\n' })
  await eventually('both go on', async () => (await count()) === 2)
  assert.equal(run.headers.get('content-type'), 'text/event-stream')

  gone.abort()
  await eventually('neither goes on', async () => (await count()) === 0)
  assert.equal((await visitor.post(`/api/terminal/${id}`, { input: 'x' })).status, 404)
}
