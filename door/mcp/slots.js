'use strict'
// How many calls run at once. The others wait, and are refused when too many do.

const RUNNING = 16
const WAITING = 256

class Slots {
  #free = RUNNING
  #waiting = []

  /** What `work` comes to, begun when there is room for it. */
  async within(work, signal) {
    if (this.#free > 0) this.#free--
    else await this.#turn(signal)
    try {
      return await work()
    } finally {
      // It goes from hand to hand: nobody who comes later is first.
      const next = this.#waiting.shift()
      if (next) next()
      else this.#free++
    }
  }

  #turn(signal) {
    if (this.#waiting.length >= WAITING) {
      throw new Error(`${RUNNING} calls are running and ${WAITING} are waiting: call again later`)
    }
    return new Promise((resolve, reject) => {
      const go = () => {
        signal.removeEventListener('abort', leave)
        resolve()
      }
      const leave = () => {
        this.#waiting.splice(this.#waiting.indexOf(go), 1)
        reject(signal.reason)
      }
      this.#waiting.push(go)
      signal.addEventListener('abort', leave, { once: true })
    })
  }
}

module.exports = { Slots }
