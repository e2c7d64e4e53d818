// A Node.js that is up before there is code for it. Process 1 starts it as `node -e`, with the streams of its run, and
// waits on a socket until it says that it is there. It gets one run, says whether it takes it, and becomes what
// `node -e CODE` is: same environment and directory, nothing of this on the stack, and the way in and out is Node.js'
// own. What it could not run like that, it leaves to another that is started for it, before anything has happened.
//
// After the code of `-e`, Node.js gives the global `module` the value that it had before. It is a property of ours by
// then, and what is called to set it is the run: from where the code of `-e` would be, with nothing of ours in between.
{
  const {
    writeSync,
    readSync,
    openSync,
    closeSync,
    readFileSync,
    writeFileSync,
    constants,
  } = require('node:fs')
  const { Script, constants: loaders } = require('node:vm')
  const { executionAsyncId } = require('node:async_hooks')
  const { join } = require('node:path')
  const { Socket } = require('node:net')
  const Module = require('node:module')

  const LINK = 3
  const NAME = '[eval]'
  // Where all of this has been compared with what it stands for.
  const VERSIONS = ['20', '22', '24', '26']

  const own = module
  const leave = process.reallyExit.bind(process)
  const { defineProperty, getOwnPropertyDescriptor, getPrototypeOf, entries, keys } = Object
  const plain = (value) => ({ value, writable: true, enumerable: true, configurable: true })
  const importModuleDynamically = loaders?.USE_MAIN_CONTEXT_DEFAULT_LOADER
  if (!importModuleDynamically || !VERSIONS.includes(process.versions.node.split('.')[0])) leave(0)

  // What `import()` gives is what the code of `-e` is given only where nothing has to be looked for.
  const importsAlike = (code) => {
    const all = code.match(/\bimport\b/g) ?? []
    const named = [...code.matchAll(/\bimport\s*\(\s*(['"])(?:node:)?([\w/]+)\1\s*\)/g)]
    return all.length === named.filter(([, , name]) => Module.builtinModules.includes(name)).length
  }

  // The code as `-e` has it, for which `crypto` is the module.
  const compile = (code) => {
    if (code.includes('import') && !importsAlike(code)) leave(0)
    const uses = code.includes('crypto') && /\bcrypto\b/.test(code)
    const text = uses ? `(crypto=>{{${code}}})(require('node:crypto'))` : code
    try {
      return new Script(text, { filename: NAME, importModuleDynamically })
    } catch {
      // It may be of another kind, or be told what is wrong with it.
      leave(0)
    }
  }

  // Variables in the order in which they are given: what is there already, and first, stays.
  const clothe = (variables, present) => {
    let same = 0
    while (same < present.length && present[same] === variables[same]) same++
    const nameOf = (variable) => variable.slice(0, variable.indexOf('='))
    for (const variable of present.slice(same)) delete process.env[nameOf(variable)]
    for (const variable of variables.slice(same)) {
      process.env[nameOf(variable)] = variable.slice(variable.indexOf('=') + 1)
    }
  }

  const become = (directory, code, variables, present) => {
    try {
      process.chdir(directory)
    } catch {
      leave(0)
    }
    clothe(variables, present)
    process.execArgv = ['-e', code]
    defineProperty(process, '_eval', { ...getOwnPropertyDescriptor(process, '_eval'), value: code })
    own.filename = join(process.cwd(), NAME)
    own.paths = Module._nodeModulePaths(process.cwd())
  }

  // Asked for by what runs the script, and the last of ours before the code.
  const begin = (script) => {
    const options = {
      get displayErrors() {
        defineProperty(globalThis, 'module', plain(own))
        process.nextTick(() => {
          globalThis.module = Module
        })
        ;/^/.exec('')
        return true
      },
    }
    return script.runInThisContext.bind(script, options)
  }

  // To take down the heap takes longer than most code runs, and nobody can tell that it is not done: where nobody is
  // told of the end, and nothing is loaded that would do something of its own then. It is at its end where `emit` is looked up by no function.
  const events = getPrototypeOf(getPrototypeOf(process))
  const { emit, listenerCount } = events
  const { prepareStackTrace } = Error
  const isEnd = () =>
    executionAsyncId() === 0 &&
    events.emit === emit &&
    listenerCount.call(process, 'beforeExit') + listenerCount.call(process, 'exit') === 0 &&
    Error.prepareStackTrace === prepareStackTrace &&
    Error.stackTraceLimit > 2 &&
    new Error().stack.split('\n').length === 3 &&
    !keys(Module._cache).some((name) => name.endsWith('.node')) &&
    !process.moduleLoadList.includes('NativeModule sqlite')
  const end = {
    get emit() {
      if (isEnd()) leave(process.exitCode || 0)
      return events.emit
    },
    set emit(value) {
      defineProperty(this, 'emit', plain(value))
    },
  }

  const buffer = Buffer.allocUnsafeSlow(256 * 1024)
  const received = (fd) => {
    const size = readSync(fd, buffer)
    if (size === 0 || size === buffer.length) leave(0)
    return buffer.toString('utf8', 0, size).split('\0')
  }
  const present = entries(process.env).map(([name, value]) => `${name}=${value}`)

  // All that a run will do is done before there is one, so that it is compiled and in memory by then: in the pipe that
  // is to be its input, with a stream like those that its output will have. A warning that is given once is given here.
  {
    const { emitWarning } = process
    process.emitWarning = () => {}
    const pipe = openSync('/proc/self/fd/0', constants.O_WRONLY)
    const stream = new Socket({ fd: pipe, readable: false, writable: true })
    // Colours are looked for when they are needed: `stderr` is made then.
    const heated = new console.Console({ stdout: stream, stderr: stream, colorMode: false })
    for (const code of ["import('fs').then(() => 0)", 'crypto', '1']) {
      writeSync(pipe, ['/', 'in', code, 'A=B', ...present].join('\0'))
      const [directory, , text, ...variables] = received(0)
      const script = compile(text)
      become(directory, text, variables, present)
      clothe(present, variables)
      begin(script)()
      heated.log(code)
      heated.log('%s', code, { code: [1, 'a'] })
      readSync(0, buffer)
      closeSync(openSync('/dev/null'))
      end.emit
      process._tickCallback()
    }
    // To destroy the stream would be to look whether it is `stderr`.
    stream.unref()
    stream._handle.close()
    process.emitWarning = emitWarning
    // Who looks at processes need not see all of this.
    const thread = readFileSync('/proc/self/comm', 'utf8').trim()
    process.title = 'node'
    writeFileSync('/proc/self/comm', thread)
  }

  writeSync(LINK, 'w')
  const [directory, input, code, ...variables] = received(LINK)
  const script = compile(code)
  become(directory, code, variables, present)
  if (!input) {
    closeSync(0)
    openSync('/dev/null')
  }
  writeSync(LINK, 'r')
  closeSync(LINK)
  defineProperty(getPrototypeOf(process), 'emit', { ...getOwnPropertyDescriptor(end, 'emit') })
  defineProperty(globalThis, 'module', {
    get: () => own,
    set: begin(script),
    enumerable: true,
    configurable: true,
  })
}
