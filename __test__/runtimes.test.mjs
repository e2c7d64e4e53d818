// The package in every version of Node.js that it is for, in Bun and in Deno: the same addon and the same program in each.
// docs/platforms.md says what was found.

import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { before, describe, test as nodeTest } from 'node:test'

import { installed } from './install.mjs'
import { ROOT, start } from './support.mjs'

const LIMIT = 300_000
const folder = join(ROOT, '__test__/runtimes')
const smoke = join(folder, 'smoke.mjs')
const ALL = [...readFileSync(smoke, 'utf8').matchAll(/works\('(.*)'\)/g)].map(([, name]) => name)

/** Where a program of an installed package is, and its arguments before the name of a file. */
const RUNTIMES = {
  node20: { program: 'bin/node' },
  node22: { program: 'bin/node' },
  node24: { program: 'bin/node' },
  node26: { program: 'bin/node' },
  bun: { program: 'bin/bun', without: ['stacks that lead to the caller'] },
  deno: { program: 'deno', words: ['run', '--allow-all'] },
}

const skip =
  process.platform === 'linux' && ['x64', 'arm64'].includes(process.arch)
    ? false
    : 'the runtimes are installed on Linux only'

describe('the package', { skip }, () => {
  before(() => installed('runtimes'), { timeout: LIMIT })

  for (const [name, { program, words = [], without = [] }] of Object.entries(RUNTIMES)) {
    nodeTest(
      `works in ${name}${without.length > 0 ? `, without ${without}` : ''}`,
      { timeout: LIMIT },
      async (t) => {
        const runtime = join(folder, 'node_modules', `${name}-${process.arch}`, program)
        const version = await start(runtime, ['--version']).ended
        t.diagnostic(version.stdout.split('\n')[0])
        const { code, stdout, stderr } = await start(runtime, [...words, smoke], { timeout: 120_000 }).ended
        const worked = [...stdout.matchAll(/^works: (.*)$/gm)].map(([, what]) => what)
        assert.deepEqual(
          worked,
          ALL.filter((what) => !without.includes(what)),
          `${stdout}\n${stderr}`,
        )
        assert.deepEqual([code, stderr], [0, ''])
      },
    )
  }

  nodeTest('is for the versions that were tried, as the documents say', () => {
    const read = (path) => readFileSync(join(ROOT, path), 'utf8')
    const tried = JSON.parse(read('__test__/runtimes/package.json')).optionalDependencies
    const document = read('docs/platforms.md')
    for (const wanted of Object.values(tried)) {
      const version = wanted.split('@').at(-1)
      assert.ok(document.includes(version), `docs/platforms.md does not name ${version}`)
    }
    const [oldest] = Object.keys(tried)
      .flatMap((name) => /^node(\d+)-/.exec(name)?.[1] ?? [])
      .sort()
    assert.equal(JSON.parse(read('package.json')).engines.node, `>=${oldest}`)
  })
})
