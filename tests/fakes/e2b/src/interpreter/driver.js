// A kernel for JavaScript: see `driver.py`, which it answers alike.

const { createInterface } = require('node:readline')
const { createRequire } = require('node:module')
const { inspect } = require('node:util')
const { writeSync } = require('node:fs')
const vm = require('node:vm')

const tell = (message) => writeSync(1, `${JSON.stringify(message)}\n`)

for (const name of ['stdout', 'stderr']) {
  process[name].write = (text, encoding, done) => {
    tell({ stream: name, text: typeof text === 'string' ? text : Buffer.from(text).toString() })
    const after = typeof encoding === 'function' ? encoding : done
    if (after) process.nextTick(after)
    return true
  }
}

// Names of its own, and all that a program of Node finds.
const globals = {}
for (const name of Object.getOwnPropertyNames(globalThis)) {
  const ours = name in vm.runInNewContext('globalThis')
  if (!ours) Object.defineProperty(globals, name, Object.getOwnPropertyDescriptor(globalThis, name))
}
Object.assign(globals, { require: createRequire(`${process.cwd()}/kernel.js`), process, console })
globals.globalThis = globals
globals.display = (...values) => {
  for (const value of values) tell({ data: kinds(value), main: false })
}
const context = vm.createContext(globals)

let count = 0
let interrupt = () => {}
process.on('SIGINT', () => interrupt(new Error('Script execution was interrupted by `SIGINT`')))
process.on('unhandledRejection', (error) => process.stderr.write(`${inspect(error)}\n`))

function kinds(value) {
  const display = value?.[Symbol.for('Jupyter.display')]
  if (typeof display === 'function') return display.call(value)
  return { 'text/plain': inspect(value) }
}

async function run(code, filename) {
  const options = { filename, breakOnSigint: true }
  let script
  try {
    script = new vm.Script(code, options)
  } catch (error) {
    // With an await at its top level it is the body of a function; what it declares ends with it.
    if (!/\bawait\b/.test(code)) throw error
    script = new vm.Script(`(async () => {${code}\n})()`, options)
  }
  const value = script.runInContext(context, options)
  const stopped = new Promise((_, reject) => {
    interrupt = reject
  })
  return Promise.race([value, stopped])
}

function failed(error) {
  const is = typeof error === 'object' && error !== null && 'stack' in error
  const name = is ? (error.name ?? 'Error') : 'Error'
  const value = is ? String(error.message) : inspect(error)
  tell({ error: { name, value, traceback: is ? String(error.stack) : value } })
}

async function answer(line) {
  const { code, cwd, silent } = JSON.parse(line)
  if (cwd !== undefined) {
    try {
      process.chdir(cwd)
      globals.require = createRequire(`${cwd}/kernel.js`)
    } catch (error) {
      process.stderr.write(`${error.message}\n`)
    }
    return tell({ idle: true })
  }
  if (!silent) tell({ count: ++count })
  try {
    const value = await run(code, `Cell In[${count}]`)
    if (value !== undefined && !silent) tell({ data: kinds(value), main: true })
  } catch (error) {
    failed(error)
  }
  interrupt = () => {}
  tell({ idle: true })
}

let last = Promise.resolve()
createInterface({ input: process.stdin }).on('line', (line) => {
  last = last.then(() => answer(line))
})
