// What the page asks its server for.

export interface File {
  name: string
  path: string
  type: 'file' | 'directory'
  size: number
}

export interface VisitorSandbox {
  sandboxId: string
  expiresAt?: string
}

/** An event of a response that comes as something happens. */
export interface Event {
  name: string
  // biome-ignore lint/suspicious/noExplicitAny: what it has is told by its name
  data: any
}

/** Makes the visitor's sandbox, or finds it. */
export async function openSandbox(): Promise<VisitorSandbox> {
  return await (await post('/api/sandbox', {})).json()
}

/** What is in a directory of the sandbox. */
export async function readdir(sandboxId: string, path: string): Promise<File[]> {
  const body = { action: 'compute.sandbox.filesystem.readdir', sandboxId, path }
  return (await (await post('/api/compute', body)).json()).files
}

/** A file of the sandbox, as text. */
export async function readFile(sandboxId: string, path: string): Promise<string> {
  const body = { action: 'compute.sandbox.filesystem.readFile', sandboxId, path }
  return (await (await post('/api/compute', body)).json()).fileContent
}

/** Types into a terminal, or changes its size. */
export async function tellTerminal(id: string, body: { input: string } | { cols: number; rows: number }) {
  await post(`/api/terminal/${id}`, body)
}

/** Asks for something that comes as it happens. */
export async function* events(url: string, body: object, signal: AbortSignal): AsyncGenerator<Event> {
  const response = await post(url, body, signal)
  if (!response.body) return
  let text = ''
  for await (const piece of pieces(response.body)) {
    const all = (text + piece).split('\n\n')
    text = all.pop() ?? ''
    for (const block of all) {
      const found = /^event: (.*)\ndata: (.*)$/.exec(block)
      if (found) yield { name: found[1], data: JSON.parse(found[2]) }
    }
  }
}

async function* pieces(body: ReadableStream<Uint8Array>): AsyncGenerator<string> {
  // Not `for await` of the stream itself: Safari has none.
  const reader = body
    .pipeThrough(new TextDecoderStream() as ReadableWritablePair<string, Uint8Array>)
    .getReader()
  for (let next = await reader.read(); !next.done; next = await reader.read()) yield next.value
}

async function post(url: string, body: object, signal?: AbortSignal): Promise<Response> {
  const response = await fetch(url, {
    method: 'POST',
    headers: { 'content-type': 'application/json', accept: 'text/event-stream, application/json' },
    body: JSON.stringify(body),
    signal,
  })
  if (response.ok) return response
  const { error } = await response.json().catch(() => ({}))
  throw new Error(error ?? `The server answered with ${response.status}.`)
}
