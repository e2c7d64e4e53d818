'use strict'
// A sandbox as the AI SDK's own `SandboxSession`, for `experimental_sandbox`.

const { posix } = require('node:path')

const { InvalidArgumentError, UnsupportedError } = require('../errors.js')
const { held, optionsOf, whole } = require('./options.js')
const { HOME, isMissing, resolved } = require('./paths.js')

const DESCRIPTION = `An isolated Linux sandbox with bash, Python and Node.js. Commands start in ${HOME}; files stay between commands.`
/** What the bytes of a text may be, as Buffer calls it. */
const ENCODINGS = ['utf-8', 'utf8', 'utf-16le', 'utf16le', 'latin1']

/** The session: `sandbox` is one, or a function that makes it when it is first needed. */
function aiSandbox(options) {
  const { sandbox, description = DESCRIPTION } = optionsOf('aiSandbox', options, ['sandbox', 'description'])
  if (typeof description !== 'string') throw new InvalidArgumentError('`description` must be a string')
  const session = new Session(held(sandbox))
  const methods = [
    'readFile',
    'readBinaryFile',
    'readTextFile',
    'writeFile',
    'writeBinaryFile',
    'writeTextFile',
    'stat',
    'listDirectory',
    'deleteFile',
    'spawn',
    'run',
  ]
  // Methods of their own: tools take them out of the object.
  return Object.freeze({
    description,
    ...Object.fromEntries(methods.map((name) => [name, session[name].bind(session)])),
  })
}

class Session {
  #sandbox

  constructor(sandbox) {
    this.#sandbox = sandbox
  }

  readFile({ path, abortSignal }) {
    return this.#found(path, abortSignal, (files, at) => files.readFile(at, { encoding: 'stream' }))
  }

  readBinaryFile({ path, abortSignal }) {
    return this.#found(path, abortSignal, (files, at) => files.readFile(at, { encoding: 'bytes' }))
  }

  async readTextFile({ path, abortSignal, encoding = 'utf-8', startLine, endLine }) {
    const as = known(encoding)
    const from = whole('startLine', startLine, 1)
    const to = whole('endLine', endLine, Infinity)
    const bytes = await this.readBinaryFile({ path, abortSignal })
    if (bytes === null) return null
    const text = Buffer.from(bytes).toString(as)
    if (from === 1 && to === Infinity) return text
    return text
      .split(/(?<=\n)/)
      .slice(from - 1, to)
      .join('')
  }

  async writeFile({ path, content, abortSignal }) {
    const { filesystem } = await this.#ready(abortSignal)
    await filesystem.writeFile(resolved(path), content)
  }

  writeBinaryFile(options) {
    return this.writeFile(options)
  }

  async writeTextFile({ path, content, encoding = 'utf-8', abortSignal }) {
    await this.writeFile({ path, content: Buffer.from(content, known(encoding)), abortSignal })
  }

  stat({ path, abortSignal }) {
    return this.#found(path, abortSignal, async (files, at) => {
      const { type, size = 0 } = await files.stat(at)
      return { type, size }
    })
  }

  listDirectory({ path, abortSignal }) {
    return this.#found(path, abortSignal, async (files, at) => {
      const entries = await files.readdir(at)
      return entries.map(({ name, type, symlinkTarget }) => ({
        name,
        type: symlinkTarget === undefined ? type : 'symlink',
      }))
    })
  }

  async deleteFile({ path, abortSignal }) {
    const at = resolved(path)
    // Of what is there itself: a link to a directory is no directory.
    const siblings = await this.listDirectory({ path: posix.dirname(at), abortSignal })
    const entry = siblings?.find(({ name }) => name === posix.basename(at))
    if (!entry) return false
    if (entry.type === 'directory') throw new InvalidArgumentError(`\`${at}\` is a directory`)
    const removed = await this.#found(path, abortSignal, (files) => files.remove(at))
    return removed !== null
  }

  async spawn({ stdin = false, abortSignal, ...wanted }) {
    const box = await this.#ready(abortSignal)
    const options = { ...inPlace(wanted, abortSignal), ...(stdin ? {} : { stdin: '' }) }
    const child = box.spawn(wanted.command, options)
    // Whoever waits is told; nobody need.
    const ended = child.then(
      ({ exitCode }) => ({ exitCode }),
      (error) => {
        throw abortSignal?.aborted ? abortSignal.reason : error
      },
    )
    ended.catch(() => {})
    return {
      get pid() {
        return child.pid
      },
      stdout: child.stdout,
      stderr: child.stderr,
      wait: () => ended,
      kill: async () => child.kill(),
      ...(stdin && {
        stdin: new WritableStream({
          write: (data) => child.stdin.write(data),
          close: () => child.stdin.end(),
          abort: () => child.stdin.end(),
        }),
      }),
    }
  }

  async run({ abortSignal, ...wanted }) {
    const box = await this.#ready(abortSignal)
    const options = { ...inPlace(wanted, abortSignal), throwOnError: false }
    const { exitCode, stdout, stderr } = await box.runCommand(wanted.command, options)
    return { exitCode, stdout, stderr }
  }

  async #ready(signal) {
    const box = await this.#sandbox()
    signal?.throwIfAborted()
    return box
  }

  /** What `look` gives of a path, `null` if there is nothing. */
  async #found(path, signal, look) {
    const { filesystem } = await this.#ready(signal)
    const at = resolved(path)
    try {
      return await look(filesystem, at)
    } catch (error) {
      if (isMissing(error)) return null
      throw error
    }
  }
}

function inPlace({ workingDirectory, env }, signal) {
  return {
    ...(workingDirectory !== undefined && { cwd: resolved(workingDirectory) }),
    ...(env !== undefined && { env }),
    ...(signal && { signal }),
  }
}

function known(encoding) {
  if (ENCODINGS.includes(encoding?.toLowerCase?.())) return encoding.toLowerCase()
  throw new UnsupportedError(`text in the encoding \`${encoding}\` is not supported`, {
    hint: `there are ${ENCODINGS.join(', ')}`,
  })
}

module.exports = { aiSandbox }
