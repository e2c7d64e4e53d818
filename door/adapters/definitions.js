'use strict'
// The tools of an agent, each defined once: for the AI SDK, for MCP, for a loop of your own.

const { CodeSyntaxError } = require('../errors.js')
const { Clip } = require('./clip.js')
const { linesOf } = require('./lines.js')
const { directory, whole } = require('./options.js')
const { resolved } = require('./paths.js')
const { object } = require('./schema.js')

const path = { type: 'string', description: `Absolute, or relative to the working directory.` }
const timeout = { type: 'integer', description: 'Milliseconds after which it is killed.' }

/** What `tools` and the MCP server are made of; `sandbox` gives one, whenever it is asked. */
function definitions({ sandbox, maxOutput, timeout: limit, cwd }) {
  const settings = {
    sandbox,
    most: whole('maxOutput', maxOutput, 20_000),
    limit: whole('timeout', limit, 120_000),
    cwd: directory('cwd', cwd, undefined),
  }
  return [runCommand(settings), runCode(settings), readFile(settings), writeFile(settings)]
}

function runCommand(settings) {
  return {
    name: 'runCommand',
    title: 'Run a command',
    runs: true,
    description:
      'Runs a command line in the shell of an isolated Linux sandbox and waits for its end. Files stay between calls; variables and the working directory do not. An exit code other than 0 is a result.',
    input: object(
      {
        command: { type: 'string', description: 'A line for the shell, with pipes, redirects and &&.' },
        cwd: { type: 'string', description: 'The directory to run it in.' },
        timeout,
      },
      ['cwd', 'timeout'],
    ),
    run: ({ command, cwd, timeout }, call) =>
      execute(settings, { cwd, timeout }, call, (box, options) => box.runCommand(command, options)),
    text: told,
  }
}

function runCode(settings) {
  return {
    name: 'runCode',
    title: 'Run code',
    runs: true,
    description:
      'Runs Python or Node.js source code in an isolated Linux sandbox and waits for its end. Print what you want to see. Each call is a new process: variables do not stay, files do.',
    input: object(
      {
        code: { type: 'string', description: 'The source code.' },
        language: { type: 'string', enum: ['python', 'node'] },
        timeout,
      },
      ['timeout'],
    ),
    run: ({ code, language, timeout }, call) =>
      execute(settings, { timeout }, call, (box, options) => box.runCode(code, language, options)),
    text: told,
  }
}

function readFile(settings) {
  return {
    name: 'readFile',
    title: 'Read a file',
    description: 'Reads a text file of the sandbox, all of it or some of its lines.',
    readOnly: true,
    input: object(
      {
        path,
        startLine: { type: 'integer', description: 'The first line to read, from 1.' },
        endLine: { type: 'integer', description: 'The last line to read.' },
      },
      ['startLine', 'endLine'],
    ),
    async run({ path, startLine: from = 1, endLine: to = Infinity }, { signal } = {}) {
      const box = await settings.sandbox()
      signal?.throwIfAborted()
      const at = resolved(path, settings.cwd)
      const stream = await box.filesystem.readFile(at, { encoding: 'stream' })
      const { content, next, part } = await linesOf(stream, {
        from,
        to,
        most: settings.most,
        signal,
        path: at,
      })
      if (next === undefined) return { path: at, content }
      const cut = part ? `line ${from} is longer than what is shown` : `what follows is not shown`
      return { path: at, content, nextLine: next, note: `${cut}; go on with startLine ${next}` }
    },
    text: ({ content, note }) => (note ? `${content}\n[${note}]` : content),
  }
}

function writeFile(settings) {
  return {
    name: 'writeFile',
    title: 'Write a file',
    description:
      'Writes a text file of the sandbox, and makes the directories above it. What was in it is replaced.',
    input: object({ path, content: { type: 'string', description: 'All of the new content.' } }, []),
    async run({ path, content }, { signal } = {}) {
      const box = await settings.sandbox()
      signal?.throwIfAborted()
      const at = resolved(path, settings.cwd)
      await box.filesystem.writeFile(at, content)
      return { path: at, bytes: Buffer.byteLength(content) }
    },
    text: ({ path, bytes }) => `${bytes} bytes were written to ${path}`,
  }
}

/** Runs something, and gives what a model is told of it. Only a call that is aborted, or cannot begin, rejects. */
async function execute(settings, { cwd, timeout }, { signal, onOutput } = {}, begin) {
  const box = await settings.sandbox()
  const [stdout, stderr] = [new Clip(settings.most), new Clip(settings.most)]
  const into = (clip) => (text) => {
    clip.push(text)
    onOutput?.(text)
  }
  const options = {
    timeout: Math.min(timeout ?? settings.limit, settings.limit),
    throwOnError: false,
    // It is all in the clips.
    maxOutput: 1,
    onStdout: into(stdout),
    onStderr: into(stderr),
  }
  if (signal) options.signal = signal
  const place = cwd === undefined ? settings.cwd : resolved(cwd, settings.cwd)
  if (place !== undefined) options.cwd = place
  try {
    const result = await begin(box, options)
    const told = { exitCode: result.exitCode, stdout: `${stdout}`, stderr: `${stderr}` }
    for (const fact of ['timedOut', 'oomKilled']) if (result[fact]) told[fact] = true
    return told
  } catch (error) {
    // It is the model's to put right, as any failure of its code is.
    if (!(error instanceof CodeSyntaxError)) throw error
    return { exitCode: error.exitCode, stdout: `${stdout}`, stderr: `${stderr}` || error.message }
  }
}

/** The result of a command or code, as a model reads it best. */
function told({ exitCode, stdout, stderr, timedOut, oomKilled }) {
  const why = timedOut ? ' (its time was over)' : oomKilled ? ' (its memory had run out)' : ''
  const parts = exitCode === 0 && stderr === '' ? [] : [`exit code: ${exitCode}${why}`]
  if (stdout !== '') parts.push(parts.length > 0 ? `stdout:\n${stdout}` : stdout)
  if (stderr !== '') parts.push(`stderr:\n${stderr}`)
  return parts.join('\n') || '(no output)'
}

module.exports = { definitions }
