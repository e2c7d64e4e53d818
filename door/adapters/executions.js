'use strict'
// Commands that outlive the call that began them, as OpenAI's agents run them: a call waits for a while, tells what was
// written meanwhile, and names a number by which later calls go on.

const { InvalidArgumentError, NotFoundError } = require('../errors.js')
const { LONGEST } = require('../timers.js')
const { Clip } = require('./clip.js')

/** Characters kept of what is written between two calls. */
const KEPT = 1 << 20
/** As many are kept; what began first is ended for more. A sandbox has 64 terminals at most. */
const AT_ONCE = 32
/** The shell that is there, given the rest. */
const SHELL = ['sh', '-c', 'exec "$(command -v bash || command -v sh)" "$@"', 'sh']

class Executions {
  #running = new Map()
  #last = 0

  /** Begins a command, and waits. */
  async begin(box, args, { cwd, env }) {
    const { cmd, shell, login = true, tty = false, yieldTimeMs = 10_000 } = args
    const words = [...(shell ? [shell] : SHELL), login ? '-lc' : '-c', cmd]
    await this.#makeRoom()
    const execution = tty ? await inTerminal(box, words, { cwd, env }) : inPipes(box, words, { cwd, env })
    return await this.#waited(execution, undefined, yieldTimeMs)
  }

  /** Types into a command, and waits. */
  async go({ sessionId, chars = '', yieldTimeMs = 250 }) {
    const execution = this.#running.get(sessionId)
    if (!execution) throw new NotFoundError(`Session not found: ${sessionId}`)
    if (chars !== '') await execution.write(chars)
    return await this.#waited(execution, sessionId, yieldTimeMs)
  }

  async end() {
    const all = [...this.#running.values()]
    this.#running.clear()
    await Promise.allSettled(all.map((execution) => execution.kill()))
  }

  async #waited(execution, id, ms) {
    const began = performance.now()
    let timer
    const late = new Promise((resolve) => {
      timer = setTimeout(resolve, Math.min(ms, LONGEST))
    })
    const ended = await Promise.race([execution.ended, late])
      .catch((error) => {
        this.#running.delete(id)
        throw error
      })
      .finally(() => clearTimeout(timer))
    const { stdout, stderr, output } = execution.taken()
    const told = { stdout, stderr, output, wallTimeSeconds: (performance.now() - began) / 1000 }
    if (ended) {
      this.#running.delete(id)
      return { ...told, exitCode: ended.exitCode }
    }
    return { ...told, exitCode: null, sessionId: id ?? this.#kept(execution) }
  }

  #kept(execution) {
    this.#running.set(++this.#last, execution)
    return this.#last
  }

  async #makeRoom() {
    if (this.#running.size < AT_ONCE) return
    const [[id, first]] = this.#running
    this.#running.delete(id)
    // It may have ended; that the sandbox has is told by what comes next.
    await first.kill().catch(() => {})
  }
}

/** What has been written since somebody last asked. */
function pending() {
  let clips
  const anew = () => {
    clips = { stdout: new Clip(KEPT), stderr: new Clip(KEPT), output: new Clip(KEPT) }
  }
  anew()
  return {
    into: (name) => (text) => {
      clips[name].push(text)
      clips.output.push(text)
    },
    taken() {
      const { stdout, stderr, output } = clips
      anew()
      return { stdout: `${stdout}`, stderr: `${stderr}`, output: `${output}` }
    },
  }
}

function inPipes(box, words, options) {
  const { into, taken } = pending()
  const child = box.spawn(words, {
    ...options,
    stdin: '',
    maxOutput: 1,
    onStdout: into('stdout'),
    onStderr: into('stderr'),
  })
  const ended = child.then(({ exitCode }) => ({ exitCode }))
  // Whoever asks next is told.
  ended.catch(() => {})
  const write = async () => {
    throw new InvalidArgumentError('its input is closed: begin it with `tty` to type into it')
  }
  return { ended, taken, write, kill: () => child.kill() }
}

async function inTerminal(box, words, options) {
  const { into, taken } = pending()
  const decoder = new TextDecoder()
  const told = into('stdout')
  let end
  const ended = new Promise((resolve) => {
    end = (exitCode) => resolve({ exitCode })
  })
  const terminal = await box.terminal.create({
    ...options,
    command: words.map(quoted).join(' '),
    onData: (data) => told(decoder.decode(data, { stream: true })),
    onExit: end,
  })
  return { ended, taken, write: (chars) => terminal.write(chars), kill: () => terminal.kill() }
}

function quoted(word) {
  return `'${word.replaceAll("'", `'\\''`)}'`
}

module.exports = { Executions }
