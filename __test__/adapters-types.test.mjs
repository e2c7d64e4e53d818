// What the adapters declare fits what the frameworks declare, at the versions of their users.

import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { before } from 'node:test'
import ts from 'typescript'

import { installed } from './install.mjs'
import { ROOT, test } from './support.mjs'

before(() => installed('frameworks'))

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
    'computesdk/adapters': [join(ROOT, 'adapters.d.ts')],
  },
}

/** Compiles files, some of which are only here, and gives what is wrong as one text. */
function compile(paths, texts = new Map()) {
  const options = {
    ...OPTIONS,
    module: ts.ModuleKind.NodeNext,
    moduleResolution: ts.ModuleResolutionKind.NodeNext,
  }
  const host = ts.createCompilerHost(options)
  const { fileExists, readFile } = host
  host.fileExists = (path) => texts.has(path) || fileExists(path)
  host.readFile = (path) => texts.get(path) ?? readFile(path)
  const program = ts.createProgram([...paths, ...texts.keys()], options, host)
  return ts.formatDiagnostics(ts.getPreEmitDiagnostics(program), {
    getCanonicalFileName: (name) => name,
    getCurrentDirectory: () => ROOT,
    getNewLine: () => '\n',
  })
}

/** The examples in the comments of the declarations, as modules, with what they take for granted. */
function examples() {
  const text = readFileSync(join(ROOT, 'adapters.d.ts'), 'utf8')
  const head = `
    import { compute, type Sandbox } from 'computesdk'
    import { aiSandbox, mastraSandbox, openaiSandbox, tools } from 'computesdk/adapters'
    import type { LanguageModel, ToolSet } from 'ai'
    declare const model: LanguageModel, theirs: ToolSet, sandbox: Sandbox, prompt: string
  `
  const blocks = [...text.matchAll(/^ \* ```ts\n([\s\S]*?)^ \* ```$/gm)]
  const sources = blocks.map(([, block]) => block.replaceAll(/^ \* ?/gm, ''))
  const modules = sources.map((source, at) => [
    join(folder, `example-${at}.mts`),
    head + source.replaceAll("'@openai/agents", "'@openai/agents-core"),
  ])
  return new Map(modules)
}

test('our adapters are accepted where theirs are, and the examples of the declarations compile', () => {
  const given = examples()
  assert.equal(given.size, 4)
  assert.equal(compile([join(folder, 'use.mts')], given), '')
}, 240_000)
