// The TypeScript of the documents that users read, example by example.

import { readdirSync, readFileSync } from 'node:fs'
import ts from 'typescript'

const folder = new URL('.', import.meta.url)
const FENCE = /^( *)```typescript\n([\s\S]*?)^ *```$/gm

/** The documents by their numbers: their examples in order, each with the number of its fence and its own in that. */
export const documents = readdirSync(folder)
  .filter((name) => name.endsWith('.md'))
  .map((name) => {
    const text = readFileSync(new URL(name, folder), 'utf8')
    const fences = [...text.matchAll(FENCE)].map(([, indent, code]) =>
      code.replaceAll(new RegExp(`^${indent}`, 'gm'), ''),
    )
    return fences
      .map(asModule)
      .flatMap((code, at) =>
        pieces(code).map((source, part) => ({ name: `${name[0]}.${at + 1}.${part + 1}`, source })),
      )
  })

/** One fence is the body of a request, and no statement. */
function asModule(code) {
  return code.startsWith('{') ? `export const request = (${code.trim()}) satisfies ComputeRequest\n` : code
}

/**
 * A fence that declares a constant twice is one example for each declaration: it is split at the comment, on a line of
 * its own, before the statement that declares again.
 */
function pieces(code) {
  const file = ts.createSourceFile('block.ts', code, ts.ScriptTarget.Latest, true)
  const cuts = [0]
  let names = new Set()
  for (const [at, statement] of file.statements.entries()) {
    const declared = constants(statement)
    if (declared.some((name) => names.has(name))) {
      const start = commentBefore(file.statements.slice(0, at + 1), code, cuts.at(-1))
      cuts.push(start)
      const since = file.statements.slice(0, at).filter((one) => one.getStart() > start)
      names = new Set(since.flatMap(constants))
    }
    for (const name of declared) names.add(name)
  }
  return cuts.map((start, at) => code.slice(start, cuts[at + 1]))
}

function constants(statement) {
  if (!ts.isVariableStatement(statement)) return []
  return statement.declarationList.declarations.map(({ name }) => name.getText())
}

function commentBefore(statements, code, after) {
  for (const statement of [...statements].reverse()) {
    const comments = ts.getLeadingCommentRanges(code, statement.getFullStart()) ?? []
    const own = comments.find(({ pos }) => pos > after && /(^|\n) *$/.test(code.slice(0, pos)))
    if (own) return own.pos
  }
  throw new Error(`no comment before what is declared twice in:\n${code}`)
}
