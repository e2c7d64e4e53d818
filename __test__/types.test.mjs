// What index.d.ts says: that it compiles in every way in which it is used, with its own examples, with the
// documents' and with types/use.mts; and that it names what there is.

import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { dirname, join } from 'node:path'
import { test } from 'node:test'
import { fileURLToPath } from 'node:url'
import ts from 'typescript'

import { documents } from './documents/blocks.mjs'

const computesdk = createRequire(import.meta.url)('../index.js')
const root = join(dirname(fileURLToPath(import.meta.url)), '..')
const folder = join(root, '__test__/types')
const declarations = join(root, 'index.d.ts')

const tsconfig = ts.readConfigFile(join(folder, 'tsconfig.json'), ts.sys.readFile)
const { options: base } = ts.parseJsonConfigFileContent(tsconfig.config, ts.sys, folder)

const { Node16, NodeNext, Preserve } = ts.ModuleKind
const DOM = ['lib.es2022.d.ts', 'lib.dom.d.ts', 'lib.dom.iterable.d.ts']
const resolutions = {
  node16: { module: Node16, moduleResolution: ts.ModuleResolutionKind.Node16 },
  nodenext: { module: NodeNext, moduleResolution: ts.ModuleResolutionKind.NodeNext },
  bundler: { module: Preserve, moduleResolution: ts.ModuleResolutionKind.Bundler },
  'bundler, for a browser too': {
    module: Preserve,
    moduleResolution: ts.ModuleResolutionKind.Bundler,
    lib: DOM,
  },
}

/** The parsed files that never differ: TypeScript's own and those of packages. */
const parsed = new Map()

/** Compiles files that need not exist; `files` maps paths to texts. Gives the diagnostics as one text. */
function compile(files, options) {
  const host = ts.createCompilerHost(options)
  const { fileExists, readFile, getSourceFile } = host
  host.fileExists = (path) => files.has(path) || fileExists(path)
  host.readFile = (path) => files.get(path) ?? readFile(path)
  host.getSourceFile = (path, how, ...rest) => {
    if (!path.includes('node_modules')) return getSourceFile(path, how, ...rest)
    const key = `${path} ${how.impliedNodeFormat}`
    if (!parsed.has(key)) parsed.set(key, getSourceFile(path, how, ...rest))
    return parsed.get(key)
  }
  const program = ts.createProgram([...files.keys()], options, host)
  return ts.formatDiagnostics(ts.getPreEmitDiagnostics(program), {
    getCanonicalFileName: (path) => path,
    getCurrentDirectory: () => root,
    getNewLine: () => '\n',
  })
}

/** The examples in the comments of index.d.ts, as modules. */
function examples() {
  const text = readFileSync(declarations, 'utf8')
  const names = Object.keys(computesdk)
  const head = `import { ${names.join(', ')}, type ProviderPlugin } from 'computesdk'\ndeclare const sandbox: Sandbox\n`
  const blocks = [...text.matchAll(/^( *) \* ```ts\n([\s\S]*?)^ *\* ```$/gm)]
  return blocks.map(([, , block]) => head + block.replaceAll(/^ *\* ?/gm, ''))
}

const use = readFileSync(join(folder, 'use.mts'), 'utf8')
/**
 * An example of the documents as a function, so that it compiles as either kind of module. What the documents import from
 * `@computesdk/e2b` comes from here.
 */
function asFunction({ source }) {
  const isImport = (line) => /^import .* from '.*';?$/.test(line)
  const lines = source.replaceAll("'@computesdk/e2b'", "'computesdk'").split('\n')
  const body = lines.filter((line) => !isImport(line)).map((line) => line.replace(/^export /, ''))
  return [...lines.filter(isImport), 'export async function example() {', ...body, '}'].join('\n')
}

/** What the examples take for granted. */
const TAKEN_FOR_GRANTED = `
import type * as c from 'computesdk'
type Answer = { json(body: unknown): void; status(code: number): Answer }
declare global {
  const compute: c.CallableCompute
  const sandbox: c.Sandbox
  const provider: c.Provider
  const app: { post(path: string, route: (req: { body: any }, res: Answer) => void): void }
  type ComputeRequest = c.ComputeRequest
  type ExportedE2BConfig = c.E2BConfig
}`
/** Each field of the document's type takes what the exported type's has, and the other way round. */
const BOTH_WAYS = `
const theirs: Required<E2BConfig> = {} as Required<Pick<ExportedE2BConfig, keyof E2BConfig>>
const ours: Required<Pick<ExportedE2BConfig, keyof E2BConfig>> = {} as Required<E2BConfig>`

for (const [name, options] of Object.entries(resolutions)) {
  test(`the declarations compile under ${name}`, () => {
    const files = new Map([
      [join(folder, 'use.mts'), use],
      [join(folder, 'use.cts'), use],
      ...examples().map((text, at) => [join(folder, `example-${at + 1}.mts`), text]),
    ])
    assert.ok(files.size > 15, 'examples were found')
    assert.equal(compile(files, { ...base, ...options }), '')
  })

  test(`the documents' examples compile under ${name}`, () => {
    const files = new Map([[join(folder, 'documents.d.mts'), TAKEN_FOR_GRANTED]])
    for (const { name, source } of documents.flat()) {
      const more = source.includes('interface E2BConfig') ? BOTH_WAYS : ''
      const text = asFunction({ source: source + more })
      for (const kind of ['mts', 'cts']) files.set(join(folder, `document-${name}.${kind}`), text)
    }
    assert.ok(files.size > 100, 'examples were found')
    assert.equal(compile(files, { ...base, ...options, useUnknownInCatchVariables: false }), '')
  })
}

test('a wrong use is seen', () => {
  const files = new Map([
    [join(folder, 'wrong.mts'), `import { compute } from 'computesdk'\ncompute.sandbox.create(1)\n`],
  ])
  assert.match(compile(files, { ...base, ...resolutions.node16 }), /TS2559|TS2345/)
})

/** What index.d.ts exports, and the checker that knows more of it. */
function exported() {
  const program = ts.createProgram([declarations], { ...base, ...resolutions.node16 })
  const checker = program.getTypeChecker()
  const module = checker.getSymbolAtLocation(program.getSourceFile(declarations))
  return { checker, symbols: checker.getExportsOfModule(module) }
}

test('the values that are declared are those that there are', () => {
  const values = exported().symbols.filter(({ flags }) => flags & ts.SymbolFlags.Value)
  assert.deepEqual(values.map(({ name }) => name).sort(), Object.keys(computesdk).sort())
})

test('the methods that are declared are those that there are', () => {
  const { checker, symbols } = exported()
  const internal = ['constructor', 'notYet', 'providerHandle']
  for (const name of ['Sandbox', 'Filesystem', 'Compute']) {
    const type = checker.getDeclaredTypeOfSymbol(symbols.find((symbol) => symbol.name === name))
    const declared = type.getProperties().map((property) => property.name)
    // The names of symbols, and what every instance of `Compute` has of its own.
    const named = declared.filter(
      (key) => !key.startsWith('__@') && !(name === 'Compute' && key === 'sandbox'),
    )
    const there = Object.getOwnPropertyNames(computesdk[name].prototype)
    assert.deepEqual(named.sort(), there.filter((key) => !internal.includes(key)).sort(), name)
  }
})

test('everything that is exported has a comment, and so have its members', () => {
  const { Class, Constructor, Interface, Signature, TypeParameter } = ts.SymbolFlags
  const { checker, symbols } = exported()
  const bare = (symbol) => symbol.getDocumentationComment(checker).length === 0
  const missing = symbols.filter(bare).map(({ name }) => name)
  for (const symbol of symbols.filter(({ flags }) => flags & (Class | Interface))) {
    for (const member of symbol.members?.values() ?? []) {
      const ours = !(member.flags & (Constructor | Signature | TypeParameter))
      if (ours && member.name !== 'code' && bare(member)) missing.push(`${symbol.name}.${member.name}`)
    }
  }
  assert.deepEqual(missing, [])
})
