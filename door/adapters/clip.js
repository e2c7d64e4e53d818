'use strict'
// Text for a model, which reads only so much: the beginning and the end of what was longer, and how much is missing.

/** Keeps the beginning and the end of text that comes piece by piece, `most` characters of it. */
class Clip {
  #half
  #head = ''
  #tail = ''
  #length = 0

  constructor(most) {
    this.#half = Math.ceil(most / 2)
  }

  push(text) {
    this.#length += text.length
    const room = this.#half - this.#head.length
    this.#head += text.slice(0, room)
    this.#tail += text.slice(room)
    // Seldom: cutting copies all that is kept.
    if (this.#tail.length > 2 * this.#half + 65_536) this.#tail = this.#tail.slice(-this.#half)
  }

  toString() {
    if (this.#length <= 2 * this.#half) return this.#head + this.#tail
    // A character of two units is not cut in half.
    const head = this.#head.replace(/[\uD800-\uDBFF]$/, '')
    const tail = this.#tail.slice(-this.#half).replace(/^[\uDC00-\uDFFF]/, '')
    const missing = this.#length - head.length - tail.length
    return `${head}\n[… ${missing} characters left out …]\n${tail}`
  }
}

module.exports = { Clip }
