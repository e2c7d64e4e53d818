'use strict'
// Terminals.

const { later } = require('./calls.js')
const { Sandbox } = require('./load.js')

const { notYet } = Sandbox.prototype

class Terminal {
  constructor() {
    throw new TypeError('terminals are made by sandbox.terminal.create()')
  }
}

class TerminalManager {
  #sandbox
  constructor(sandbox) {
    this.#sandbox = sandbox
  }
  #refuse(name) {
    return later(notYet, `terminal.${name}`).call(this.#sandbox)
  }
  create() {
    return this.#refuse('create')
  }
  list() {
    return this.#refuse('list')
  }
  getById() {
    return this.#refuse('getById')
  }
  destroy() {
    return this.#refuse('destroy')
  }
}

module.exports = { Terminal, TerminalManager }
