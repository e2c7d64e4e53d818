#!/usr/bin/env node
'use strict'
// The command line. What it does is in src/cli, and in door/mcp for `mcp`; here is what belongs to the process: its
// arguments, the signals that it gets, and its exit code.

const { constants } = require('node:os')

const words = process.argv.slice(2)
// Told apart from what a program that is run exits with.
const FAILED = words[0] === 'doctor' ? 1 : 125

async function main() {
  const native = require('../door/load.js')
  const cancellation = native.cancellation()
  const stop = new AbortController()
  let caught
  for (const name of ['SIGHUP', 'SIGINT', 'SIGTERM']) {
    process.on(name, () => {
      // Who insists is not kept waiting: the sandbox ends with this process.
      if (caught) process.exit(caught)
      caught = 128 + constants.signals[name]
      native.cancel(cancellation)
      stop.abort()
    })
  }
  const [command, ...rest] = words
  const code = await (command === 'mcp'
    ? require('../door/mcp/server.js').serve(rest, stop.signal)
    : native.commandLine(words, cancellation))
  process.exit(caught ?? code)
}

function fail(error) {
  const hint = error?.hint ? `  hint: ${error.hint}\n` : ''
  process.stderr.write(`computesdk: ${error?.message ?? error}\n${hint}`, () => process.exit(FAILED))
}

main().catch(fail)
