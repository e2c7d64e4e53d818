'use strict'
// The output of a running tool, for a client that asked for its progress: basic/utilities/progress.

const { Clip } = require('../adapters/clip.js')

/** The least time between two notices, in ms, and the characters that one has at most. */
const PAUSE = 100
const MOST = 4_000

class Progress {
  #token
  #mention
  #seen = 0
  #clip = new Clip(MOST)
  #timer

  /** One for this token; undefined if there is none. */
  static asked(token, mention) {
    const isToken = typeof token === 'string' || Number.isSafeInteger(token)
    return isToken ? new Progress(token, mention) : undefined
  }

  constructor(token, mention) {
    this.#token = token
    this.#mention = mention
  }

  take = (text) => {
    if (text === '') return
    this.#seen += text.length
    this.#clip.push(text)
    this.#timer ??= setTimeout(() => this.#tell(), PAUSE)
  }

  /** Nothing is told after the answer, which has it all. */
  end() {
    clearTimeout(this.#timer)
  }

  /** How far it has come is counted in characters: they only ever grow. */
  #tell() {
    this.#timer = undefined
    const params = { progressToken: this.#token, progress: this.#seen, message: `${this.#clip}` }
    this.#clip = new Clip(MOST)
    this.#mention({ jsonrpc: '2.0', method: 'notifications/progress', params })
  }
}

module.exports = { Progress }
