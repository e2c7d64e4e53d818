'use strict'
// Processes that go on.

const { asynchronous, real } = require('./calls.js')
const { NativeProcess } = require('./load.js')
const { streamOf } = require('./stream.js')

const kill = asynchronous(NativeProcess.prototype.kill, 'kill')
const write = asynchronous(NativeProcess.prototype.write, 'stdin.write')
const end = asynchronous(NativeProcess.prototype.end, 'stdin.end')

/** A process over a native one, which may be a promise. */
class Process {
  #begun
  #pid
  #signal
  #result
  #streams = {}

  constructor(begun, signal) {
    this.#begun = begun
    this.#signal = signal
    if (begun instanceof NativeProcess) this.#pid = begun.pid
    else {
      begun.then(
        (process) => {
          this.#pid = process.pid
          // Whoever reads it from the start has asked for its streams by now.
          setImmediate(() => process.release())
        },
        // Told to whoever waits for it or reads it.
        () => {},
      )
    }
  }

  get pid() {
    return this.#pid
  }

  get stdin() {
    return {
      write: async (data) => {
        // Taken now: the array may be used again while the process is started.
        const taken = this.#pid === undefined && data instanceof Uint8Array ? data.slice() : data
        return write.call(await this.#begun, taken)
      },
      end: async () => end.call(await this.#begun),
    }
  }

  get stdout() {
    return this.#stream('stdout')
  }

  get stderr() {
    return this.#stream('stderr')
  }

  async *[Symbol.asyncIterator]() {
    const texts = (await this.#begun).texts()
    try {
      for (let text = await texts.next(); text !== null; text = await texts.next()) yield text
    } finally {
      await texts.close()
    }
  }

  wait() {
    this.#result ??= real(async () => (await this.#begun).wait(), { operation: 'wait' }, this.#signal)
    return this.#result
  }

  async kill(signal) {
    return kill.call(await this.#begun, signal)
  }

  #stream(name) {
    this.#streams[name] ??= streamOf(this.#reader(name), { operation: name })
    return this.#streams[name]
  }

  #reader(name) {
    const reader = Promise.resolve(this.#begun).then((process) => process[name]())
    reader.catch(() => {})
    return reader
  }
}

/** A process that has just been asked for. Awaiting it gives its result. */
class SpawnedProcess extends Process {
  #begunAt = {}
  #told

  constructor(begun, signal) {
    super(begun, signal)
    Error.captureStackTrace(this.#begunAt, SpawnedProcess)
  }

  /** An error names the line that started the process, wherever it is awaited. */
  wait() {
    this.#told ??= super.wait().catch((error) => {
      const frames = this.#begunAt.stack.split('\n').slice(1)
      if (error instanceof Error) error.stack = [`${error.name}: ${error.message}`, ...frames].join('\n')
      throw error
    })
    return this.#told
  }

  // biome-ignore lint/suspicious/noThenProperty: it is a promise of its result
  then(resolve, reject) {
    return this.wait().then(resolve, reject)
  }

  catch(reject) {
    return this.wait().catch(reject)
  }

  get [Symbol.toStringTag]() {
    return 'Process'
  }

  finally(settled) {
    return this.wait().finally(settled)
  }
}

module.exports = { Process, SpawnedProcess }
