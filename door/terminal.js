'use strict'
// Terminals.

const { asynchronous } = require('./calls.js')
const { InvalidArgumentError } = require('./errors.js')
const { NativeTerminal, Sandbox } = require('./load.js')

const open = asynchronous(Sandbox.prototype.openTerminal, 'terminal.create')
const list = asynchronous(Sandbox.prototype.terminals, 'terminal.list')
const find = asynchronous(Sandbox.prototype.getTerminal, 'terminal.getById')
const write = asynchronous(NativeTerminal.prototype.write, 'terminal.write')
const resize = asynchronous(NativeTerminal.prototype.resize, 'terminal.resize')
const kill = asynchronous(NativeTerminal.prototype.kill, 'terminal.kill')

/** Only here are terminals made. */
const key = Symbol('terminal')

class Terminal {
  #native
  #onData
  #onExit
  /** Whether what it shows is being told; the exit code then comes after the last of it. */
  #followed = false
  #awaited = false
  /** The exit code, from when it is to be told. */
  #exit
  #told = false

  constructor(given, native) {
    if (given !== key) throw new TypeError('terminals are made by sandbox.terminal.create()')
    this.#native = native
  }

  get id() {
    return this.#native.id
  }

  get pid() {
    return this.#native.pid
  }

  get command() {
    return this.#native.command
  }

  get status() {
    return this.exitCode === undefined ? 'running' : 'exited'
  }

  get exitCode() {
    return this.#native.exitCode ?? undefined
  }

  get cols() {
    return this.#native.cols
  }

  get rows() {
    return this.#native.rows
  }

  get onData() {
    return this.#onData
  }

  set onData(handler) {
    this.#onData = checked('onData', handler)
    if (!handler || this.#followed) return
    this.#followed = true
    this.#native.follow((data, exitCode) => {
      if (data) calmly(() => this.#onData?.(data))
      else this.#exited(exitCode)
    })
  }

  get onExit() {
    return this.#onExit
  }

  set onExit(handler) {
    this.#onExit = checked('onExit', handler)
    if (!handler) return
    if (this.#exit !== undefined) queueMicrotask(() => this.#tellExit())
    if (this.#followed || this.#awaited) return
    this.#awaited = true
    this.#native.exited((_, exitCode) => {
      if (!this.#followed) this.#exited(exitCode)
    })
  }

  write(data) {
    return write.call(this.#native, data)
  }

  resize(cols, rows) {
    return resize.call(this.#native, cols, rows)
  }

  kill() {
    return kill.call(this.#native)
  }

  #exited(exitCode) {
    this.#exit = exitCode
    this.#tellExit()
  }

  /** Tells it once, to the first who listens. */
  #tellExit() {
    if (this.#told || !this.#onExit) return
    this.#told = true
    calmly(() => this.#onExit(this.#exit))
  }
}

function checked(name, handler) {
  if (handler === undefined || handler === null) return undefined
  if (typeof handler !== 'function') {
    throw new InvalidArgumentError(`\`${name}\` must be a function, got ${typeof handler}`)
  }
  return handler
}

/** What a handler throws is nobody's to catch: it ends up where exceptions of event handlers do. */
function calmly(handler) {
  try {
    handler()
  } catch (error) {
    queueMicrotask(() => {
      throw error
    })
  }
}

/** The terminals of a sandbox. */
class TerminalManager {
  #sandbox
  constructor(sandbox) {
    this.#sandbox = sandbox
  }

  async create(options) {
    const terminal = new Terminal(key, await open.call(this.#sandbox, options))
    terminal.onData = options?.onData
    terminal.onExit = options?.onExit
    return terminal
  }

  async list() {
    const found = await list.call(this.#sandbox)
    return found.map((terminal) => new Terminal(key, terminal))
  }

  async getById(id) {
    const found = await find.call(this.#sandbox, id)
    return found && new Terminal(key, found)
  }

  async destroy(id) {
    const found = await this.getById(id)
    await found?.kill()
  }
}

module.exports = { Terminal, TerminalManager }
