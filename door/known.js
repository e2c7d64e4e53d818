'use strict'
// Objects by their numbers, as long as somebody else holds them.

class Known {
  #references = new Map()
  #gone = new FinalizationRegistry((key) => {
    // The number may have become another's.
    if (this.#references.get(key)?.deref() === undefined) this.#references.delete(key)
  })

  set(key, object) {
    this.#references.set(key, new WeakRef(object))
    this.#gone.register(object, key)
  }

  get(key) {
    return this.#references.get(key)?.deref()
  }
}

module.exports = { Known }
