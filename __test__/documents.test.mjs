// Every example of the documents that users read, as written: on the local provider, and on E2B's wire.

import assert from 'node:assert/strict'
import { before, describe } from 'node:test'
import { format } from 'node:util'
import ts from 'typescript'

import computesdk from '../index.js'
import { documents } from './documents/blocks.mjs'
import { expected } from './documents/expected.mjs'
import { furnish } from './documents/project.mjs'
import { science } from './documents/science.mjs'
import { failure, INDEX, test } from './support.mjs'

const { compute, createCompute, local } = computesdk
const { python, missing } = await science()

/** Examples that need what a place does not have, and why. */
const LOCAL = { '1.8.1': 'templates are not part of the local provider yet' }
const NEEDS_PACKAGES = ['2.1.1', '2.11.1', '2.12.1', '2.13.1']
/** What an example does not say about its place. */
const SETTINGS = { '1.4.1': (provider) => createCompute({ provider }), '3.2.4': { metadata: { purpose: 'documents' } } }

/** Runs an example as a module of its own; gives what it printed and exported. */
async function run(source, ambient) {
  const lines = []
  const log = (...values) => lines.push(format(...values))
  const names = { ...ambient, console: { log, error: log } }
  const key = `documents ${Math.random()}`
  globalThis[key] = names
  const given = Object.keys(names).filter((name) => !new RegExp(`(const|import \\{[^}]*\\b)\\s*${name}\\b`).test(source))
  const { outputText } = ts.transpileModule(source, {
    compilerOptions: { module: ts.ModuleKind.ESNext, target: ts.ScriptTarget.ES2022, verbatimModuleSyntax: true },
  })
  const text = `const { ${given.join(', ')} } = globalThis[${JSON.stringify(key)}]\n${outputText}`
  const module = text
    .replaceAll(/from '(computesdk|@computesdk\/e2b)'/g, `from ${JSON.stringify(ambient.index)}`)
  try {
    const exported = await import(`data:text/javascript,${encodeURIComponent(module)}`)
    return { lines, exported }
  } finally {
    delete globalThis[key]
  }
}
