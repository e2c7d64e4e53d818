'use strict'
// A sandbox as Mastra's `WorkspaceSandbox`.

const { InvalidArgumentError, NotFoundError, UnsupportedError } = require('../errors.js')
const { held, optionsOf } = require('./options.js')
const { HOME, resolved } = require('./paths.js')

/** The sandbox of a workspace: `sandbox` is one, or a function that makes it when the workspace starts it. */
function mastraSandbox(options) {
  const { sandbox, id } = optionsOf('mastraSandbox', options, ['sandbox', 'id'])
  return new MastraSandbox(sandbox, id)
}

class MastraSandbox {
  name = 'computesdk'
  status = 'pending'
  error = undefined
  supportsCheckpoints = false
  #get
  #box
  #made = new Date()
  #lastUsed

  constructor(sandbox, id) {
    this.#get = held(sandbox)
    if (typeof sandbox !== 'function') this.#box = sandbox
    this.id = id ?? this.#box?.sandboxId ?? `computesdk-${crypto.randomUUID()}`
    this.networking = Object.freeze({ getPortUrl: (port) => this.#urlOf(port) })
  }

  get provider() {
    return this.#box?.provider ?? 'computesdk'
  }

  async start() {
    this.#refuseIfOver()
    if (this.status === 'running') return { outcome: 'connected' }
    const made = this.#box === undefined
    this.status = 'starting'
    try {
      this.#box = await this.#get()
    } catch (error) {
      this.status = 'error'
      this.error = error.message
      throw error
    }
    this.#refuseIfOver()
    this.status = 'running'
    this.error = undefined
    return { outcome: made ? 'created' : 'connected' }
  }

  async destroy() {
    if (this.status === 'destroyed') return
    // One that is being made is not left behind.
    const making = this.status === 'starting' ? this.#get().catch(() => undefined) : this.#box
    this.status = 'destroying'
    const box = await making
    await box?.destroy()
    this.status = 'destroyed'
  }

  #refuseIfOver() {
    if (!['destroying', 'destroyed'].includes(this.status)) return
    throw new NotFoundError(`the sandbox \`${this.id}\` is gone: it was destroyed`)
  }

  isReady() {
    return this.status === 'running'
  }

  /** Nothing is captured, as `supportsCheckpoints` says: Mastra asks every sandbox, and takes that for an answer. */
  async snapshot() {}

  getInstructions() {
    return `Commands run with bash in an isolated Linux sandbox, in ${HOME} unless another directory is given. Python and Node.js are there. Files stay between commands; variables and the working directory do not.`
  }

  async getInfo() {
    const about = { id: this.id, name: this.name, provider: this.provider, status: this.status }
    if (this.#lastUsed) about.lastUsedAt = this.#lastUsed
    if (!this.#box) return { ...about, createdAt: this.#made }
    const { createdAt, expiresAt, status } = await this.#box.getInfo()
    if (status === 'error' || status === 'stopped') about.status = this.status = 'stopped'
    return { ...about, createdAt, ...(expiresAt && { timeoutAt: expiresAt }) }
  }

  async executeCommand(command, args = [], options = {}) {
    const box = await this.#ready()
    const [stdout, stderr] = [new Latest(options.maxRetainedBytes), new Latest(options.maxRetainedBytes)]
    const told = await box.runCommand(args.length > 0 ? [command, ...args] : command, {
      ...(options.cwd !== undefined && { cwd: resolved(options.cwd) }),
      ...(options.env !== undefined && { env: options.env }),
      ...(options.timeout !== undefined && { timeout: options.timeout }),
      ...(options.abortSignal && { signal: options.abortSignal }),
      throwOnError: false,
      // The latest of it is kept here, as Mastra has it.
      maxOutput: 1,
      onStdout: stdout.into(options.onStdout),
      onStderr: stderr.into(options.onStderr),
    })
    return {
      success: told.exitCode === 0,
      exitCode: told.exitCode,
      executionTimeMs: told.durationMs,
      ...(told.timedOut && { timedOut: true }),
      ...(told.signal && { killed: true }),
      ...stdout.as('stdout'),
      ...stderr.as('stderr'),
      command,
      args,
    }
  }

  async writeFiles(files, { abortSignal } = {}) {
    const withMode = files.find(({ mode }) => mode !== undefined)
    if (withMode) {
      throw new UnsupportedError(`\`mode\` of \`${withMode.path}\` is not supported`, {
        hint: 'write it, and let a command change its mode',
      })
    }
    const { filesystem } = await this.#ready()
    for (const { path, content } of files) {
      abortSignal?.throwIfAborted()
      await filesystem.writeFile(resolved(path), content)
    }
  }

  async #urlOf(port) {
    return this.status === 'running' ? await this.#box.getUrl({ port }) : null
  }

  async #ready() {
    if (this.status !== 'running') await this.start()
    this.#lastUsed = new Date()
    return this.#box
  }
}

/** Bytes of each stream that a result has, unless Mastra says how many. */
const KEPT = 16 * 2 ** 20

/** The latest of some output. */
class Latest {
  #most
  #text = ''
  #dropped = 0

  constructor(most = KEPT) {
    if (most !== Infinity && !(Number.isSafeInteger(most) && most >= 0)) {
      throw new InvalidArgumentError(
        `\`maxRetainedBytes\` must be a whole number, or Infinity, got ${String(most)}`,
      )
    }
    this.#most = most
  }

  into(callback) {
    return (text) => {
      this.#text += text
      // Seldom: cutting copies all that is kept.
      if (this.#text.length > 2 * this.#most + 65_536) this.#cut()
      callback?.(text)
    }
  }

  #cut() {
    const bytes = Buffer.from(this.#text)
    if (bytes.length <= this.#most) return
    let from = bytes.length - this.#most
    // Not within a character.
    while (from < bytes.length && (bytes[from] & 0xc0) === 0x80) from++
    this.#dropped += from
    this.#text = bytes.subarray(from).toString()
  }

  as(name) {
    this.#cut()
    if (this.#dropped === 0) return { [name]: this.#text }
    return { [name]: this.#text, [`${name}Truncated`]: true, [`${name}DroppedBytes`]: this.#dropped }
  }
}

module.exports = { mastraSandbox }
