'use strict'
// `computesdk mcp`: an agent's tools over standard input and output. Standard output has nothing but the protocol.

const { definitions } = require('../adapters/definitions.js')
const { synchronous } = require('../calls.js')
const native = require('../load.js')
const { NotFoundError, docker, e2b, local } = require('../../index.js')
const { version } = require('../../package.json')
const { connect } = require('./lines.js')
const { Session } = require('./session.js')

/** By name. On this machine none is made in advance: there is one. */
const PROVIDERS = { local: () => local({ spares: 0 }), docker, e2b }

const INFO = { name: 'computesdk', title: 'computesdk sandbox', version }
const INSTRUCTIONS =
  'The tools share one isolated Linux sandbox. It is made when the first of them is called and ends with this connection, with all files in it.'

/** Serves until the client has gone or `stop` is aborted; the words are those after `mcp`. Gives the exit code. */
async function serve(words, stop) {
  const { help, provider, timeout, cwd, create } = JSON.parse(synchronous(native.mcpSettings)(words))
  if (help) {
    process.stdout.write(help)
    return 0
  }
  const place = new Place(PROVIDERS[provider]().sandbox, create)
  const tools = definitions({ sandbox: () => place.sandbox(), timeout, cwd }).map((tool) => ({
    ...tool,
    run: (...call) => place.during(() => tool.run(...call)),
  }))
  const connection = connect(process.stdin, process.stdout, (line) => session.take(line))
  const server = { info: INFO, instructions: INSTRUCTIONS, isOnline: create.network !== 'none' }
  const session = new Session({ tools, server, ...connection })
  const stopped = new Promise((resolve) => {
    stop.addEventListener('abort', resolve, { once: true })
    if (stop.aborted) resolve()
  })
  await Promise.race([connection.ended, stopped])
  session.end()
  await place.end()
  return 0
}

/** The sandbox of a connection. One that has ended is told of once; then there is another. */
class Place {
  #provider
  #options
  #making
  #over = new AbortController()

  constructor(provider, options) {
    this.#provider = provider
    this.#options = options
  }

  sandbox() {
    this.#making ??= this.#provider.create({ ...this.#options, signal: this.#over.signal }).catch((error) => {
      this.#making = undefined
      throw error
    })
    return this.#making
  }

  async during(work) {
    try {
      return await work()
    } catch (error) {
      if (error instanceof NotFoundError) await this.#look(error)
      throw error
    }
  }

  /** Whether it was not there because the sandbox is not. */
  async #look(error) {
    const making = this.#making
    const box = await making?.catch(() => undefined)
    const isOver = !box || error.sandboxId !== box.sandboxId || (await box.getInfo()).status !== 'running'
    if (!isOver) return
    if (box?.sandboxId === error.sandboxId && this.#making === making) this.#making = undefined
    error.hint = 'the next call gets a new sandbox, without the files of this one'
  }

  async end() {
    this.#over.abort()
    const box = await this.#making?.catch(() => undefined)
    await box?.destroy()
  }
}

module.exports = { serve }
