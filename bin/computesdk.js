#!/usr/bin/env node
'use strict'
// The command line. What it does is in src/cli; here is what belongs to the process: its arguments, the signals that
// it gets, and its exit code.

const { constants } = require('node:os')

const words = process.argv.slice(2)
// Told apart from what a program that is run exits with.
const FAILED = words[0] === 'doctor' ? 1 : 125

function main() {
  const native = require('../door/load.js')
  const cancellation = native.cancellation()
  let caught
  for (const name of ['SIGHUP', 'SIGINT', 'SIGTERM']) {
    process.on(name, () => {
      // Who insists is not kept waiting: the sandbox ends with this process.
      if (caught) process.exit(caught)
      caught = 128 + constants.signals[name]
      native.cancel(cancellation)
    })
  }
  return native.commandLine(words, cancellation).then((code) => process.exit(caught ?? code))
}

function fail(error) {
  process.stderr.write(`computesdk: ${error?.message ?? error}\n`, () => process.exit(FAILED))
}

try {
  main().catch(fail)
} catch (error) {
  fail(error)
}
