'use strict'
// What the native class `Sandbox` becomes for its users.

const { asynchronous, hidden, later, methods, once, owners, place, real, withToken } = require('./calls.js')
const { withPulledInput } = require('./input.js')
const { Sandbox } = require('./load.js')
const { origins } = require('./plugin.js')
const { Process, SpawnedProcess } = require('./process.js')
const { provider } = require('./provider.js')
const { TerminalManager } = require('./terminal.js')

const { notYet, spawn, whenEnded } = Sandbox.prototype
const find = asynchronous(Sandbox.prototype.getProcess, 'getProcess')
const list = asynchronous(Sandbox.prototype.processes, 'processes')
methods(
  Sandbox.prototype,
  ['getInfo', 'extendTimeout', 'getUrl', 'waitForPort', 'destroy', 'kill'],
  asynchronous,
)
const { get: filesystemOf } = Object.getOwnPropertyDescriptor(Sandbox.prototype, 'filesystem')
once(Sandbox.prototype, 'filesystem', function () {
  const filesystem = filesystemOf.call(this)
  owners.set(filesystem, this)
  return filesystem
})
once(Sandbox.prototype, 'terminal', function () {
  return new TerminalManager(this)
})

/**
 * Begins to run something. Its signal is listened to, and its input open, until it has ended: that is when the call is
 * settled, or later, if it goes on after that under a `pid`.
 */
function begin(sandbox, name, method, args) {
  const where = place(sandbox, name)
  const { given: fed, close } = withPulledInput(args)
  const { given, signal, release } = withToken(fed, () => where)
  const ended = () => {
    release?.()
    close?.()
  }
  const settled = (pid) => {
    if (pid === undefined) ended()
    else if (release || close) whenEnded.call(sandbox, pid, ended)
  }
  return { running: real(() => method.apply(sandbox, given), where, signal), signal, settled }
}

for (const name of ['runCommand', 'runCode']) {
  const method = Sandbox.prototype[name]
  hidden(Sandbox.prototype, name, async function (...args) {
    const { running, settled } = begin(this, name, method, args)
    let pid
    try {
      const result = await running
      pid = result.pid
      return result
    } finally {
      settled(pid)
    }
  })
}
hidden(Sandbox.prototype, 'spawn', function (...args) {
  const { running, signal, settled } = begin(this, 'spawn', spawn, args)
  running.then(
    ({ pid }) => settled(pid),
    () => settled(),
  )
  return new SpawnedProcess(running, signal)
})
hidden(Sandbox.prototype, 'getProcess', async function (pid) {
  const found = await find.call(this, pid)
  return found && new Process(found)
})
hidden(Sandbox.prototype, 'processes', async function () {
  const found = await list.call(this)
  return found.map((process) => new Process(process))
})
hidden(Sandbox.prototype, 'getProvider', function () {
  if (!origins.has(this)) origins.set(this, provider(this.providerHandle(), this.provider))
  return origins.get(this)
})
if (Symbol.asyncDispose) {
  hidden(Sandbox.prototype, Symbol.asyncDispose, function () {
    return this.destroy()
  })
}
for (const name of ['getMetrics', 'snapshot', 'networkLog']) {
  hidden(Sandbox.prototype, name, later(notYet, name))
}

// What is this half's own business.
for (const name of ['whenEnded', 'openTerminal', 'terminals', 'getTerminal']) delete Sandbox.prototype[name]

module.exports = { Sandbox }
