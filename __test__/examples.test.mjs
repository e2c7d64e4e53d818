// The examples, as they are, on this machine and on E2B's wire; and those of the document of E2B, as written.

import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'

import { science } from './documents/science.mjs'
import { accountAt, e2bFake } from './fakes.mjs'
import { INDEX, ROOT, start, test } from './support.mjs'

const { python, missing } = await science()
const fake = await e2bFake({ python })

const EXAMPLES = {
  agent: /KeyError: 'Amount'\n.*\n42\n\nAll sales together are 42\.\n$/s,
  'many-providers':
    /^asked in this order: distant, .*red at \w+: RED\n.*found again: true\nlisted: 1\n.* down for maintenance\n$/s,
  'data-science': /Average age: 30\.0\n.*total_people: 3.*Chart created: \d{4,} bytes\n$/s,
  terminal: /Mean: 3\r?\n.*It has ended with 0\n$/s,
  'machine-learning': /Dataset shape: \(1000, 6\)\n.*R²: 0\.99\d\d\n.*Model saved: true\n$/s,
}
/** Those that need packages of Python's. The documents' own tests run the same code on this machine. */
const SCIENCE = ['data-science', 'machine-learning']
const PLACES = {
  local: { E2B_API_KEY: '', COMPUTESDK_PYTHON: python ?? '' },
  e2b: accountAt(fake),
}

for (const [place, env] of Object.entries(PLACES)) {
  for (const [name, expected] of Object.entries(EXAMPLES)) {
    if (place === 'local' && SCIENCE.includes(name)) continue
    test(`${name} runs on ${place}`, async (t) => {
      if (missing && SCIENCE.includes(name)) return t.skip(missing)
      const program = join(ROOT, 'examples', `${name}.mjs`)
      const { code, stdout, stderr } = await start(process.execPath, [program], { env }).ended
      assert.equal(code, 0, `${stdout}\n${stderr}`)
      assert.match(stdout, expected)
      if (place === 'e2b') assert.equal((await fake.stats()).inFlight, 0)
    })
  }
}

const document = readFileSync(join(ROOT, 'docs', 'e2b.md'), 'utf8')
for (const [, source] of document.matchAll(/```js\n(.*?)```/gs)) {
  test(`docs/e2b.md: ${source.split('\n').find((line) => !/^(import|$)/.test(line))}`, async (t) => {
    if (missing && /pandas/.test(source)) return t.skip(missing)
    const here = source.replace("'computesdk'", JSON.stringify(INDEX))
    const env = PLACES.e2b
    const { code, stderr } = await start(process.execPath, ['--input-type=module', '-e', here], { env }).ended
    assert.deepEqual([code, stderr], [0, ''])
  })
}
