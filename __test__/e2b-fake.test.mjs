// E2B's own client, which must not notice that it does not speak to E2B: what it sees here is what users of it see.

import assert from 'node:assert/strict'
import { test as nodeTest } from 'node:test'

import { Sandbox } from 'e2b'

import { e2bFake, KEY } from './fakes.mjs'

const fake = await e2bFake()
const account = { apiKey: KEY, apiUrl: fake.url, sandboxUrl: fake.url }

function test(name, body, timeout = 60_000) {
  return nodeTest(name, { timeout }, body)
}

test('a sandbox runs commands, keeps files and ends', async () => {
  const sandbox = await Sandbox.create(account)
  const { stdout, stderr, exitCode } = await sandbox.commands.run('echo hi; echo oh >&2')
  assert.deepEqual({ stdout, stderr, exitCode }, { stdout: 'hi\n', stderr: 'oh\n', exitCode: 0 })
  const written = await sandbox.files.write('a.txt', 'hällo')
  assert.equal(written.path, '/home/user/a.txt')
  assert.equal(await sandbox.files.read('a.txt'), 'hällo')
  assert.equal(await sandbox.kill(), true)
  assert.equal(await sandbox.kill(), false)
})
