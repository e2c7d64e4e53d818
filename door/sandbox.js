'use strict'
// What the native classes `Sandbox` and `Filesystem` become for their users.

const { asynchronous, hidden, later, methods, once, owners } = require('./calls.js')
const { withPulledInput } = require('./input.js')
const { Sandbox, Filesystem } = require('./load.js')
const { origins } = require('./plugin.js')
const { provider } = require('./provider.js')
const { TerminalManager } = require('./terminal.js')

const { notYet } = Sandbox.prototype
methods(
  Sandbox.prototype,
  ['getInfo', 'extendTimeout', 'getUrl', 'waitForPort', 'destroy', 'kill'],
  asynchronous,
)
methods(Filesystem.prototype, ['readFile', 'writeFile', 'mkdir', 'readdir', 'exists', 'remove'], asynchronous)
const { get: filesystemOf } = Object.getOwnPropertyDescriptor(Sandbox.prototype, 'filesystem')
once(Sandbox.prototype, 'filesystem', function () {
  const filesystem = filesystemOf.call(this)
  owners.set(filesystem, this)
  return filesystem
})
once(Sandbox.prototype, 'terminal', function () {
  return new TerminalManager(this)
})

for (const name of ['runCommand', 'runCode']) {
  const method = asynchronous(Sandbox.prototype[name], name)
  hidden(Sandbox.prototype, name, async function (...args) {
    const { given, close } = withPulledInput(args)
    try {
      return await method.apply(this, given)
    } finally {
      close?.()
    }
  })
}
hidden(Sandbox.prototype, 'getProvider', function () {
  if (!origins.has(this)) origins.set(this, provider(this.providerHandle(), this.provider))
  return origins.get(this)
})
if (Symbol.asyncDispose) {
  hidden(Sandbox.prototype, Symbol.asyncDispose, function () {
    return this.destroy()
  })
}
for (const name of ['spawn', 'getProcess', 'processes', 'getMetrics', 'snapshot', 'networkLog']) {
  hidden(Sandbox.prototype, name, later(notYet, name))
}
for (const name of ['stat', 'rename', 'copy']) {
  hidden(Filesystem.prototype, name, later(Filesystem.prototype.notYet, name))
}

module.exports = { Sandbox, Filesystem }
