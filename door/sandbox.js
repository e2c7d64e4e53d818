'use strict'
// What the native class `Sandbox` becomes for its users.

const { asynchronous, hidden, methods, once, owner, place, real, withToken } = require('./calls.js')
const { AbortError, calledBy, fromNative } = require('./errors.js')
const { withPulledInput } = require('./input.js')
const { Sandbox } = require('./load.js')
const { handedOver, providers } = require('./plugin.js')
const { Process, SpawnedProcess } = require('./process.js')
const { provider } = require('./provider.js')
const { TerminalManager } = require('./terminal.js')

const { spawn, whenEnded, providerKey, pluginKey } = Sandbox.prototype
const find = asynchronous(Sandbox.prototype.getProcess, 'getProcess')
const list = asynchronous(Sandbox.prototype.processes, 'processes')
methods(
  Sandbox.prototype,
  [
    'getInfo',
    'getMetrics',
    'extendTimeout',
    'getUrl',
    'waitForPort',
    'pause',
    'resume',
    'snapshot',
    'networkLog',
    'destroy',
    'kill',
  ],
  asynchronous,
)
const { get: filesystemOf } = Object.getOwnPropertyDescriptor(Sandbox.prototype, 'filesystem')
once(Sandbox.prototype, 'filesystem', function () {
  const filesystem = filesystemOf.call(this)
  hidden(filesystem, owner, this)
  return filesystem
})
once(Sandbox.prototype, 'terminal', function () {
  return new TerminalManager(this)
})

/**
 * Begins to run something, and throws if it was asked for wrongly. Its signal is listened to, and its input open, until
 * it has ended: that is when the call is settled, or later, if it goes on after that under a `pid`.
 */
function begin(sandbox, name, method, args) {
  const where = place(sandbox, name)
  const { given: fed, close } = withPulledInput(args, where)
  let release
  const ended = () => {
    release?.()
    close?.()
  }
  const settled = (pid) => {
    if (pid === undefined) ended()
    else if (release || close) whenEnded.call(sandbox, pid, ended)
  }
  try {
    const token = withToken(fed, () => where)
    release = token.release
    const begun = method.apply(sandbox, token.given)
    return { running: real(() => begun, where, token.signal), signal: token.signal, settled }
  } catch (error) {
    ended()
    throw fromNative(error, where)
  }
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
  const caller = {}
  Error.captureStackTrace(caller, this.spawn)
  let begun
  try {
    begun = begin(this, 'spawn', spawn, args)
  } catch (error) {
    if (!(error instanceof AbortError)) throw error
    // It was asked for rightly, but too late.
    return new SpawnedProcess(Promise.reject(error))
  }
  const { signal, settled } = begun
  // It is told to whoever waits, and that may be somebody else.
  const running = begun.running.catch((error) => {
    throw calledBy(error, caller)
  })
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
/** The providers of sandboxes whose provider nobody holds: made anew for each, once. */
const origins = new WeakMap()
hidden(Sandbox.prototype, 'getProvider', function () {
  const known = providers.get(providerKey.call(this)) ?? origins.get(this)
  if (known) return known
  const made = provider(this.providerHandle(), this.provider)
  origins.set(this, made)
  return made
})
hidden(Sandbox.prototype, 'getInstance', function () {
  const theirs = handedOver.get(pluginKey.call(this))?.sandbox
  if (!theirs) return this
  return typeof theirs.getInstance === 'function' ? theirs.getInstance() : theirs
})
if (Symbol.asyncDispose) {
  hidden(Sandbox.prototype, Symbol.asyncDispose, function () {
    return this.destroy()
  })
}

// What is this half's own business.
for (const name of ['whenEnded', 'providerKey', 'pluginKey', 'openTerminal', 'terminals', 'getTerminal']) {
  delete Sandbox.prototype[name]
}

module.exports = { Sandbox }
