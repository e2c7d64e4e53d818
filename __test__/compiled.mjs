// TypeScript that is in no file.

import { fileURLToPath } from 'node:url'

import ts from 'typescript'

/** What the compiler says of a module, as it would stand at this path; nothing if it is right. */
export function complaints(file, source) {
  const options = {
    strict: true,
    noEmit: true,
    skipLibCheck: true,
    target: ts.ScriptTarget.ES2022,
    module: ts.ModuleKind.NodeNext,
    moduleResolution: ts.ModuleResolutionKind.NodeNext,
    types: ['node'],
    typeRoots: [fileURLToPath(new URL('../node_modules/@types', import.meta.url))],
  }
  const host = ts.createCompilerHost(options)
  const { fileExists, readFile } = host
  host.fileExists = (path) => path === file || fileExists(path)
  host.readFile = (path) => (path === file ? source : readFile(path))
  const found = ts.getPreEmitDiagnostics(ts.createProgram([file], options, host))
  return ts.formatDiagnostics(found, { ...host, getCanonicalFileName: (name) => name })
}
