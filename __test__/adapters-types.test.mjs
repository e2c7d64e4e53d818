// What the adapters declare fits what the frameworks declare, at the versions of their users.

import assert from 'node:assert/strict'
import { join } from 'node:path'
import { before } from 'node:test'
import ts from 'typescript'

import { others } from './others.mjs'
import { ROOT, test } from './support.mjs'

before(() => others('frameworks'))

const folder = join(ROOT, '__test__', 'frameworks')
const OPTIONS = {
  target: ts.ScriptTarget.ES2022,
  lib: ['lib.es2024.d.ts', 'lib.dom.d.ts', 'lib.dom.iterable.d.ts'],
  types: ['node'],
  typeRoots: [join(ROOT, 'node_modules', '@types')],
  strict: true,
  noEmit: true,
  // Theirs are not ours to check.
  skipLibCheck: true,
  paths: {
    computesdk: [join(ROOT, 'index.d.ts')],
    'computesdk/adapters': [join(ROOT, 'door', 'adapters', 'index.d.ts')],
  },
}

/** Compiles a file, and gives what is wrong as one text. */
function compile(path, options) {
  const program = ts.createProgram([path], { ...OPTIONS, ...options })
  return ts.formatDiagnostics(ts.getPreEmitDiagnostics(program), {
    getCanonicalFileName: (name) => name,
    getCurrentDirectory: () => ROOT,
    getNewLine: () => '\n',
  })
}

test('our adapters are accepted where theirs are', () => {
  const options = { module: ts.ModuleKind.NodeNext, moduleResolution: ts.ModuleResolutionKind.NodeNext }
  assert.equal(compile(join(folder, 'use.mts'), options), '')
}, 240_000)
