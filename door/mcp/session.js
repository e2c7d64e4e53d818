'use strict'
// One connection of the Model Context Protocol: what may be said when, and what is answered.
// https://modelcontextprotocol.io/specification/2025-11-25

const { wrong } = require('../adapters/schema.js')
const { Progress } = require('./progress.js')
const { Slots } = require('./slots.js')

/** The versions that are spoken, the newest first: /specification/2025-11-25/basic/lifecycle#version-negotiation. */
const VERSIONS = ['2025-11-25', '2025-06-18', '2025-03-26', '2024-11-05']
/** The only one that has several messages in one: /specification/2025-03-26/basic#batching. */
const WITH_BATCHES = '2025-03-26'
/** As many messages may be in one. */
const LARGEST_BATCH = 100

/** The codes of JSON-RPC: https://www.jsonrpc.org/specification#error_object. */
const PARSE_ERROR = -32700
const INVALID_REQUEST = -32600
const METHOD_NOT_FOUND = -32601
const INVALID_PARAMS = -32602
const INTERNAL_ERROR = -32603

/** What is answered as an error of the protocol. */
class Refusal extends Error {
  constructor(code, message) {
    super(message)
    this.code = code
  }
}

class Session {
  #tools
  #server
  #send
  #mention
  #version
  #calls = new Map()
  #slots = new Slots()

  constructor({ tools, server, send, mention }) {
    this.#tools = new Map(tools.map((tool) => [tool.name, tool]))
    this.#server = server
    this.#send = send
    this.#mention = mention
  }

  /** Takes a line, `undefined` if it could not be read. */
  async take(line) {
    if (line?.trim() === '') return
    let message
    try {
      message = JSON.parse(line)
    } catch {
      this.#send(failure(null, PARSE_ERROR, 'the line is no JSON in UTF-8, or too long'))
      return
    }
    if (!Array.isArray(message)) {
      const answer = await this.#answer(message)
      if (answer) this.#send(answer)
      return
    }
    if (this.#version !== WITH_BATCHES || message.length === 0 || message.length > LARGEST_BATCH) {
      this.#send(failure(null, INVALID_REQUEST, 'no batch of messages is expected'))
      return
    }
    const answers = await Promise.all(message.map((one) => this.#answer(one)))
    const given = answers.filter(Boolean)
    if (given.length > 0) this.#send(given)
  }

  /** Ends all that goes on. */
  end() {
    for (const call of this.#calls.values()) call.abort()
  }

  async #answer(message) {
    const id = idOf(message)
    if (!isMessage(message)) return failure(id, INVALID_REQUEST, 'the message is no request of JSON-RPC 2.0')
    if (message.method === undefined) return undefined // An answer: nothing was asked.
    if (message.id === undefined) return this.#notice(message)
    // Of the protocol's own, no null: basic#requests.
    if (id === null) return failure(null, INVALID_REQUEST, '`id` must be a string or a whole number')
    try {
      const result = await this.#request(message)
      return result && { jsonrpc: '2.0', id, result }
    } catch (error) {
      if (error instanceof Refusal) return failure(id, error.code, error.message)
      return failure(id, INTERNAL_ERROR, error.message)
    }
  }

  #notice({ method, params }) {
    // What is not known, or comes too late, is passed over: basic/utilities/cancellation#timing-considerations.
    if (method === 'notifications/cancelled') this.#calls.get(params?.requestId)?.abort()
    return undefined
  }

  #request({ id, method, params = {} }) {
    if (method === 'ping') return {}
    if (method === 'initialize') return this.#initialize(params)
    if (this.#version === undefined) {
      throw new Refusal(INVALID_REQUEST, '`initialize` must come first')
    }
    if (method === 'tools/list') return this.#list(params)
    if (method === 'tools/call') return this.#call(id, params)
    throw new Refusal(METHOD_NOT_FOUND, `there is no method \`${shown(method)}\``)
  }

  #initialize({ protocolVersion }) {
    if (this.#version !== undefined) throw new Refusal(INVALID_REQUEST, '`initialize` comes only once')
    if (typeof protocolVersion !== 'string') {
      throw new Refusal(INVALID_PARAMS, '`protocolVersion` must be a string')
    }
    this.#version = VERSIONS.includes(protocolVersion) ? protocolVersion : VERSIONS[0]
    const { info: serverInfo, instructions } = this.#server
    return { protocolVersion: this.#version, capabilities: { tools: {} }, serverInfo, instructions }
  }

  #list({ cursor }) {
    if (cursor !== undefined) throw new Refusal(INVALID_PARAMS, 'there is only one page of tools')
    return { tools: [...this.#tools.values()].map((tool) => this.#described(tool)) }
  }

  #described({ name, title, description, input, readOnly = false, runs = false }) {
    const hints = {
      readOnlyHint: readOnly,
      destructiveHint: !readOnly,
      openWorldHint: runs && this.#server.isOnline,
    }
    return { name, title, description, inputSchema: input, annotations: hints }
  }

  async #call(id, { name, arguments: input = {}, _meta }) {
    if (typeof name !== 'string') throw new Refusal(INVALID_PARAMS, '`name` must be a string')
    const tool = this.#tools.get(name)
    if (!tool) throw new Refusal(INVALID_PARAMS, `there is no tool \`${shown(name)}\``)
    if (this.#calls.has(id)) throw new Refusal(INVALID_REQUEST, `\`id\` ${id} is in use`)
    // For the model to put right, as all that goes wrong in a tool: server/tools#error-handling.
    const message = wrong(tool.input, input)
    if (message) return content(message, true)
    const abort = new AbortController()
    const progress = Progress.asked(_meta?.progressToken, this.#mention)
    this.#calls.set(id, abort)
    try {
      const run = () => tool.run(input, { signal: abort.signal, onOutput: progress?.take })
      return content(tool.text(await this.#slots.within(run, abort.signal)))
    } catch (error) {
      // Nobody waits for it any more.
      if (abort.signal.aborted) return undefined
      return content(error.hint ? `${error.message} (${error.hint})` : error.message, true)
    } finally {
      progress?.end()
      this.#calls.delete(id)
    }
  }
}

function isMessage(message) {
  if (typeof message !== 'object' || message === null || message.jsonrpc !== '2.0') return false
  if (message.method === undefined) return 'result' in message || 'error' in message
  const { method, params } = message
  return (
    typeof method === 'string' && (params === undefined || (typeof params === 'object' && params !== null))
  )
}

function idOf(message) {
  const id = message?.id
  return typeof id === 'string' || Number.isSafeInteger(id) ? id : null
}

/** As much of a word as is worth telling back. */
function shown(word) {
  return word.slice(0, 100)
}

function failure(id, code, message) {
  return { jsonrpc: '2.0', id, error: { code, message } }
}

function content(text, isError = false) {
  return { content: [{ type: 'text', text }], isError }
}

module.exports = { Session, VERSIONS }
