// Every example of the documents that users read, as written: on the local provider, and on E2B's wire.

import assert from 'node:assert/strict'
import { describe, skip } from 'node:test'
import { format } from 'node:util'
import ts from 'typescript'

import { AuthenticationError, compute, createCompute, e2b, local } from '../index.js'
import { documents } from './documents/blocks.mjs'
import { after as afterwards, before as beforehand, expected } from './documents/expected.mjs'
import { furnish } from './documents/project.mjs'
import { science } from './documents/science.mjs'
import { accountAt, e2bFake } from './fakes.mjs'
import { failure, INDEX, test } from './support.mjs'

const { python, missing } = await science()
const NEEDS_PACKAGES = ['2.1.1', '2.11.1', '2.12.1', '2.13.1']

const fake = await e2bFake({ python, template: 'data-science-template' })
Object.assign(process.env, accountAt(fake))

/** Where the examples run: `e2b` is what they import by that name. */
const places = {
  local: {
    provider: local({ python, templates: python ? { 'data-science-template': { python } } : {} }),
    e2b: 'const e2b = () => globalThis.documents.provider',
    fetch,
    cannot: missing ? { '1.8.1': missing } : {},
    fails: {},
  },
  e2b: {
    provider: e2b(),
    e2b: `import { e2b } from ${JSON.stringify(INDEX)}`,
    fetch: rerouted,
    cannot: {},
    // The key that it has is a placeholder.
    fails: { '2.2.1': AuthenticationError },
  },
}

/** What name servers and E2B's edge do for the URLs of a sandbox. */
function rerouted(url) {
  const [, port, id] = /^https?:\/\/(\d+)-(\w+)\./.exec(url)
  return fetch(fake.url, { headers: { 'E2b-Sandbox-Id': id, 'E2b-Sandbox-Port': port } })
}

let runs = 0

/** Runs an example as a module of its own: gives what it printed and exported. */
async function run(source, place, given) {
  const lines = []
  const log = (...values) => lines.push(format(...values))
  globalThis.documents = { ...given, console: { log, error: log } }
  const declared = (name) => new RegExp(`^(const|import \\{ )\\s*${name}\\b`, 'm').test(source)
  const ambient = Object.keys(globalThis.documents).filter((name) => !declared(name))
  const { outputText } = ts.transpileModule(source, {
    compilerOptions: {
      module: ts.ModuleKind.ESNext,
      target: ts.ScriptTarget.ES2022,
      verbatimModuleSyntax: true,
    },
  })
  const imported = outputText
    .replace(/^import .* from '@computesdk\/e2b';?$/m, place.e2b)
    .replaceAll(/from '(computesdk)'/g, `from ${JSON.stringify(INDEX)}`)
  // A module of this text runs once.
  const module = `// ${++runs}\nconst { ${ambient.join(', ')} } = globalThis.documents\n${imported}`
  const exported = await import(`data:text/javascript,${encodeURIComponent(module)}`)
  return { lines, exported }
}

for (const [name, place] of Object.entries(places)) {
  describe(`the documents' examples, on ${name}`, () => {
    const { provider } = place

    for (const { name: number, source } of documents.flat()) {
      const reason = place.cannot[number] ?? (NEEDS_PACKAGES.includes(number) ? missing : undefined)
      if (reason) {
        skip(`${number}: ${reason}`)
        continue
      }
      test(number, async () => {
        const strict = createCompute({ provider })
        compute.setConfig({ provider })
        const sandbox = await (number.startsWith('1.') ? strict : compute).sandbox.create(beforehand(number))
        await furnish(sandbox, number)
        const routes = new Map()
        const app = { post: (path, route) => routes.set(path, route) }
        try {
          const running = run(source, place, {
            compute,
            sandbox,
            provider,
            app,
            fetch: place.fetch,
          })
          if (place.fails[number]) return await failure(running, place.fails[number])
          const { lines, exported } = await running
          check(lines, expected[number] ?? [])
          await afterwards[number]?.({ exported, routes, sandbox })
        } finally {
          const all = await provider.sandbox.list()
          await Promise.all(all.map((one) => one.destroy()))
          compute.clearConfig()
        }
      }, 120_000)
    }
  })
}

function check(lines, wanted) {
  if (wanted instanceof RegExp) return assert.ok(lines.length > 0 && lines.every((line) => wanted.test(line)))
  assert.equal(lines.length, wanted.length, JSON.stringify(lines))
  for (const [at, line] of lines.entries()) {
    if (wanted[at] instanceof RegExp) assert.match(line, wanted[at])
    else assert.equal(line, wanted[at])
  }
}
