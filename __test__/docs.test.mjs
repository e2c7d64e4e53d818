// Every example of the README and of docs/ runs, as a module of its own in a folder like a user's. Those of
// docs/adapters.md, adding-a-provider.md and e2b.md have tests of their own, beside those of what they are about.

import assert from 'node:assert/strict'
import {
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, describe } from 'node:test'

import ts from 'typescript'

import { science } from './documents/science.mjs'
import { IMAGE, start as startEngine, stop as stopEngine } from './engine.mjs'
import { installed } from './install.mjs'
import { ROOT, start, test } from './support.mjs'

const LIMIT = 300_000
const ELSEWHERE = ['docs/adapters.md', 'docs/adding-a-provider.md', 'docs/e2b.md']
const PAGES = ['README.md', ...readdirSync(join(ROOT, 'docs')).map((name) => `docs/${name}`)].filter((name) =>
  name.endsWith('.md'),
)

/** The examples of a page, in order. */
const examplesOf = (page) =>
  [...readFileSync(join(ROOT, page), 'utf8').matchAll(/^```(js|ts)\n(.*?)^```$/gms)].map(
    ([, , source]) => source,
  )

const engine = startEngine()
after(stopEngine)
const { python, missing: noScience } = await science()

let folder
before(
  () => {
    folder = mkdtempSync(join(tmpdir(), 'docs-'))
    installed('servers')
    installed('plugins')
    const link = (path, name) => {
      mkdirSync(join(folder, 'node_modules', name, '..'), { recursive: true })
      symlinkSync(path, join(folder, 'node_modules', name))
    }
    link(ROOT, 'computesdk')
    const theirs = join(ROOT, '__test__/servers/node_modules')
    for (const name of ['express', 'fastify', 'hono']) link(join(theirs, name), name)
    link(join(ROOT, '__test__/plugins/node_modules/@computesdk/just-bash'), '@computesdk/just-bash')
    for (const name of ['project', 'datasets']) mkdirSync(join(folder, 'srv', name), { recursive: true })
  },
  { timeout: LIMIT },
)
after(() => rmSync(folder, { recursive: true, force: true }))

let modules = 0

/** Runs a module to its end; what it printed. */
async function run(source, env = {}) {
  const { outputText } = ts.transpileModule(source, {
    compilerOptions: {
      module: ts.ModuleKind.ESNext,
      target: ts.ScriptTarget.ES2022,
      verbatimModuleSyntax: true,
    },
  })
  const path = join(folder, `${modules++}.mjs`)
  writeFileSync(path, outputText)
  const { code, stdout, stderr } = await start(process.execPath, [path], {
    cwd: folder,
    env,
    timeout: 120_000,
  }).ended
  assert.equal(code, 0, `${stdout}\n${stderr}`)
  return stdout
}

/** What examples of the handler take for granted, and who asks it. */
const ASKING = `
const userOf = async (headers) => (headers.get ? headers.get('authorization') : headers.authorization) ?? undefined
const asked = ({ url = 'http://localhost', authorization = 'ann' } = {}) =>
  new Request(url + '/api/compute', {
    method: 'POST',
    headers: { 'content-type': 'application/json', authorization },
    body: JSON.stringify({ action: 'compute.sandbox.create' }),
  })
const show = async (response) => console.log(response.status, (await response.json().catch(() => ({}))).success)
const showAt = ({ port }) => fetch(asked({ url: 'http://127.0.0.1:' + port })).then(show)
`
const LISTENING = `
await new Promise((resolve) => on.once('listening', resolve))
await showAt(on.address())`
const ANSWERED = /^200 true\n$/
/** Sandboxes that an example leaves end with its process. */
const DONE = '\nprocess.exit(0)\n'

/**
 * What comes before and behind each example, and what is printed then. `with` changes what only its reader has; `skip`
 * says why one cannot run here.
 */
const EXPECTED = {
  'README.md': [
    { printed: /^2\n$/ },
    // From here on it is one tour, with one sandbox: what each prints.
    /^$/,
    /^$/,
    /^1\n2\n3\n$/,
    /^3\n \[ 2, 4, 6 \]\n python\n$/,
    /^a\nb\n0\nSIGTERM\n$/,
    /Hello Terminal!/,
    /^1,2,3\n Uint8Array\(2\) \[ 0, 255 \] 2 false\n$/,
    /^true\n$/,
    /<!DOCTYPE html/i,
    // Whether the registry answers is another test's.
    /^(allowed|refused) \S+:443\n/,
    /^124 true\nAbortError \n$/,
    { printed: /^2 ls: .*\/nowhere/ },
    {
      env: { MY_TOKEN: 'secret' },
      behind: `
        await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve))
        const url = \`http://127.0.0.1:\${server.address().port}\`
        const post = (authorization, body) => fetch(url, { method: 'POST', headers: { authorization }, body })
        console.log((await post('Bearer other', '1')).status)
        console.log(await (await post('Bearer secret', 'print(6 * 7)')).text())
        console.log((await post('Bearer secret', 'print(')).status)
        server.close()`,
      printed: /^401\n\{"stdout":"42\\n","exitCode":0\}\n422\n$/,
    },
  ],
  'docs/docker.md': [
    {
      skip: engine.missing,
      with: (source) => source.replace('python:3.13-slim', IMAGE),
      env: { DOCKER_HOST: `unix://${engine.socketPath}` },
      printed: /^3\.\d+/,
    },
  ],
  'docs/errors.md': [{ printed: /^3\nno settings yet\n$/ }],
  'docs/handler.md': [
    { before: ASKING, behind: 'await show(await POST(asked()))', printed: ANSWERED },
    {
      before: `import { handleComputeRequest, local } from 'computesdk'\nconst provider = local()${ASKING}`,
      behind: 'await show(await POST(asked()))',
      printed: ANSWERED,
    },
    { before: ASKING, behind: 'await show(await app.fetch(asked()))', printed: ANSWERED },
    { before: ASKING, behind: `const on = app.listen(0)${LISTENING}`, printed: ANSWERED },
    {
      before: ASKING,
      behind: 'await app.listen({ port: 0 }); await showAt(app.server.address())',
      printed: ANSWERED,
    },
    {
      before: ASKING,
      with: (source) => source.replace(/^createServer(.*)3000/m, 'const on = createServer$10'),
      behind: LISTENING,
      printed: ANSWERED,
    },
    {
      before: `import express from 'express'
        import { handleComputeRequest, local } from 'computesdk'
        const [app, provider] = [express(), local()]${ASKING}`,
      behind: `const on = app.listen(0)${LISTENING}`,
      printed: ANSWERED,
    },
    {
      before: `import { createComputeHandler } from 'computesdk'
        const handler = createComputeHandler({ authorize: () => true })
        const fetch = (path, init) => handler(new Request('http://localhost' + path, init))\n`,
      behind: 'console.log(made.status, ran.result.stdout)',
      printed: /^200 2\n\n$/,
    },
    { skip: 'it runs in request-streams.test.mjs' },
    {
      before: `import { createComputeHandler } from 'computesdk'
        const takeToken = async (user) => user !== 'busy'${ASKING}`,
      behind: `for (const authorization of ['ann', 'busy', '']) await show(await handler(asked({ authorization })))`,
      printed: /^200 true\n429 undefined\n401 undefined\n$/,
    },
    {
      before: `import { createComputeHandler, local } from 'computesdk'
        const provider = local()
        const authorize = (request) => userOf(request.headers)
        const allowedActions = ['compute.sandbox.create', 'compute.sandbox.runCode']
        const hasPaid = async (headers) => headers.get('authorization') === 'bob'${ASKING}`,
      behind: `for (const authorization of ['ann', 'ann', 'bob', 'bob']) await show(await POST(asked({ authorization })))`,
      printed: /^200 true\n429 false\n200 true\n200 true\n$/,
    },
  ],
  'docs/local.md': [
    {
      skip: noScience,
      before: `import { compute, local as here } from 'computesdk'
        const local = (config) => here({ ...config, python: ${JSON.stringify(python)} })\n`,
      with: (source) => source.replace('await sandbox.runCode', 'const { stdout } = await sandbox.runCode'),
      behind: 'console.log(stdout)',
      printed: /^3\n\n$/,
    },
    {
      before: "import { local } from 'computesdk'\n",
      with: (source) => source.replaceAll('/srv/', `${folder}/srv/`),
      behind: `
        const sandbox = await provider.sandbox.create()
        await sandbox.filesystem.writeFile('/workspace/project/new', 'x')
        console.log((await sandbox.runCommand('touch /data/new')).exitCode)`,
      printed: /^1\n$/,
    },
    {
      skip: noScience,
      before: "import { local } from 'computesdk'\n",
      with: (source) => source.replace('/srv/science/bin/python3', python).replace(/^ *alpine: .*\n/m, ''),
      behind: "console.log((await box.runCode('import pandas; print(1)')).stdout)",
      printed: /^1\n\n$/,
    },
    { printed: /^ready\n\n$/ },
  ],
  'docs/network.md': [
    {
      // Whether the registry answers is another test's.
      behind: 'console.log((await sandbox.networkLog()).every(({ host }) => /py/.test(host)))',
      printed: /^true\n$/,
    },
    {
      before: `import { compute } from 'computesdk'
        const sandbox = await compute.sandbox.create({ network: { allow: ['localhost.invalid'] } })
        await sandbox.runCommand('curl -s http://example.com')\n`,
      printed: /^\d{4}-\S+Z refused example\.com:80 .+\n$/,
    },
  ],
  'docs/nextjs.md': [
    {
      before: `${ASKING}const sessionOf = async (request) => ({ userId: request.headers.get('authorization') })\n`,
      behind: 'await show(await POST(asked()))',
      printed: ANSWERED,
    },
    { skip: 'it is what the builds of __test__/next have' },
  ],
  'docs/plugins.md': [
    {
      // Another one of them, which needs no account.
      with: (source) => source.replace('/modal', '/just-bash').replaceAll('modal', 'justBash'),
      behind: 'console.log(sandbox.provider)',
      printed: /^just-bash\n$/,
    },
    {
      before: `import { compute } from 'computesdk'
        import { justBash } from '@computesdk/just-bash'
        const sandbox = await compute.sandbox.create({ provider: justBash() })\n`,
      with: (source) => source.replace('sleep 60', 'sleep 3'),
      behind: 'console.log(result.exitCode, result.timedOut, result.abandoned)',
      printed: /^124 true true\n$/,
    },
  ],
}

/** The most telling line of an example. */
const lineOf = (source) => source.split('\n').find((line) => !/^(import|\/\/|$)/.test(line))

test('there is no example that nobody runs', () => {
  for (const page of PAGES.filter((one) => !ELSEWHERE.includes(one))) {
    assert.equal(examplesOf(page).length, EXPECTED[page]?.length ?? 0, page)
  }
})

for (const [page, all] of Object.entries(EXPECTED)) {
  const examples = examplesOf(page)
  describe(page, () => {
    for (const [at, expected] of all.entries()) {
      if (expected instanceof RegExp) continue
      const { skip, before: given = '', with: changed = String, behind = '', env, printed } = expected
      const body = async (t) => {
        if (skip) return t.skip(skip)
        assert.match(await run(`${given}${changed(examples[at])}\n${behind}${DONE}`, env), printed)
      }
      test(lineOf(examples[at]), body, LIMIT)
    }
  })
}

test(
  'the tour of README.md',
  async () => {
    const examples = examplesOf('README.md')
    const tour = EXPECTED['README.md'].flatMap((wanted, at) =>
      wanted instanceof RegExp ? [[examples[at], wanted]] : [],
    )
    const source = tour.map(([example], at) => `console.log('<${at}>')\n${example}`).join('\n')
    const parts = (await run(`${source}\n${DONE}`)).split(/^<\d+>\n/m).slice(1)
    assert.equal(parts.length, tour.length)
    for (const [at, [example, wanted]] of tour.entries()) assert.match(parts[at], wanted, lineOf(example))
  },
  LIMIT,
)
