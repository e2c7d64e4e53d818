// What the page asks its server for.

import type { ComputeRequest, ComputeSuccess } from 'computesdk'

export type File = NonNullable<ComputeSuccess['files']>[number]

export interface VisitorSandbox {
  sandboxId: string
  expiresAt?: string
}

/** Makes the visitor's sandbox, or finds it. */
export async function openSandbox(): Promise<VisitorSandbox> {
  return await (await post('/api/sandbox', {})).json()
}

/** What is in a directory of the sandbox. */
export async function readdir(sandboxId: string, path: string): Promise<File[]> {
  return (await act({ action: 'compute.sandbox.filesystem.readdir', sandboxId, path })).files ?? []
}

/** A file of the sandbox, as text. */
export async function readFile(sandboxId: string, path: string): Promise<string> {
  return (await act({ action: 'compute.sandbox.filesystem.readFile', sandboxId, path })).fileContent ?? ''
}

/** Types into a terminal, or changes its size. */
export async function tellTerminal(id: string, body: { input: string } | { cols: number; rows: number }) {
  await post(`/api/terminal/${id}`, body)
}

/** Asks for something that comes as it happens. */
export async function* events<Event>(url: string, body: object, signal: AbortSignal): AsyncGenerator<Event> {
  const response = await post(url, body, signal)
  if (!response.body) return
  let text = ''
  for await (const piece of pieces(response.body)) {
    const all = (text + piece).split('\n\n')
    text = all.pop() ?? ''
    for (const block of all) {
      const found = /^event: (.*)\ndata: (.*)$/.exec(block)
      if (found) yield { event: found[1], data: JSON.parse(found[2]) } as Event
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

async function act(body: ComputeRequest): Promise<ComputeSuccess> {
  return await (await post('/api/compute', body)).json()
}

async function post(url: string, body: object, signal?: AbortSignal): Promise<Response> {
  const response = await fetch(url, {
    method: 'POST',
    headers: { 'content-type': 'application/json', accept: 'text/event-stream' },
    body: JSON.stringify(body),
    signal,
  })
  if (response.ok) return response
  const { error } = await response.json().catch(() => ({}))
  throw new Error(error ?? `The server answered with ${response.status}.`)
}
