// `COMPUTESDK_LOG`: what it shows, and what it never does.

import assert from 'node:assert/strict'

import { program, test } from './support.mjs'

/** What a program that runs a command writes to standard error, with this filter. */
async function logged(filter) {
  const source = `
    const box = await c.local().sandbox.create({ envs: { MINE: 'hidden-value' } })
    await box.runCommand('echo hidden-word')
    await box.filesystem.writeFile('/tmp/file', 'hidden-content')
    await box.destroy()`
  const { code, stderr } = await program(source, { env: { COMPUTESDK_LOG: filter } }).ended
  assert.equal(code, 0, stderr)
  return stderr
}

test('a level shows every operation, and nothing of what is run', async () => {
  const all = await logged('debug')
  for (const what of [/created provider="local"/, /operation="runCommand" sandbox="sbx_\w+" duration=/])
    assert.match(all, what)
  assert.doesNotMatch(await logged('trace'), /hidden/)
})

test('a filter shows a part only', async () => {
  const part = await logged('computesdk::sandbox=debug')
  assert.match(part, /operation="destroy"/)
  assert.doesNotMatch(part, /broker/)
  assert.equal(await logged('off'), '')
})

test('what is no filter is told, and the program goes on', async () => {
  for (const wrong of ['computesdk=loud', 'a=b=c']) {
    const lines = (await logged(wrong)).trim().split('\n')
    assert.equal(lines.length, 1)
    assert.match(lines[0], /WARN .*`COMPUTESDK_LOG` is no filter, only warnings are shown/)
  }
})
