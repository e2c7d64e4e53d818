// Text for somebody who may be slower than what writes it.

/** Characters that wait; of more than that, the latest. */
const MOST = 2 ** 20

/** Tells text, one piece after the other: what comes meanwhile goes together. */
export class Latest {
  #waiting = ''
  #sending: Promise<void> | undefined
  readonly #tell: (text: string) => Promise<void>

  constructor(tell: (text: string) => Promise<void>) {
    this.#tell = tell
  }

  /** Over when all that waits has been told. */
  add(text: string): Promise<void> {
    this.#waiting += text
    if (this.#waiting.length > 2 * MOST) this.#waiting = this.#waiting.slice(-MOST)
    this.#sending ??= this.#send().finally(() => {
      this.#sending = undefined
    })
    return this.#sending
  }

  async #send() {
    while (this.#waiting !== '') {
      const text = this.#waiting
      this.#waiting = ''
      await this.#tell(text)
    }
  }
}
