// What every runtime must do with the package, in an order in which a user would: each line that is printed is one thing
// that works, and its name; whatever does not is thrown. Without a test runner: runtimes have different ones.

import assert from 'node:assert/strict'
import { createRequire } from 'node:module'
import { Worker } from 'node:worker_threads'
import * as computesdk from '../../index.js'

const { AbortError, CodeSyntaxError, CommandExitError, compute, createCompute, local, NotFoundError } =
  computesdk

const works = (name) => console.log(`works: ${name}`)
const rejected = (promise) =>
  promise.then(
    () => assert.fail('it was not rejected'),
    (error) => error,
  )

assert.equal(createRequire(import.meta.url)('../../index.js').compute, compute)
works('import and require')

const box = await compute.sandbox.create({ timeout: 60_000, metadata: { of: 'smoke' } })
assert.equal(box.provider, 'local')
works('create')

const { stdout, stderr, exitCode } = await box.runCommand('cat; echo err >&2; exit 3', { stdin: 'grüße' })
assert.deepEqual({ stdout, stderr, exitCode }, { stdout: 'grüße', stderr: 'err\n', exitCode: 3 })
works('runCommand')

assert.equal((await box.runCode('print(6 * 7)', 'python')).stdout, '42\n')
works('runCode in Python')

assert.equal((await box.runCode('console.log(6 * 7)', 'node')).stdout, '42\n')
works('runCode in Node.js')

const heard = []
await box.runCommand('for i in 1 2 3; do echo $i; sleep 0.05; done', { onStdout: (text) => heard.push(text) })
assert.equal(heard.join(''), '1\n2\n3\n')
assert.ok(heard.length > 1, 'output came before the end')
works('onStdout')

const mine = new Error('mine')
const thrown = () => {
  throw mine
}
assert.equal(await rejected(box.runCommand('echo on', { onStdout: thrown })), mine)
works('what a callback throws')

const child = box.spawn('sort')
await child.stdin.write('b\na\n')
await child.stdin.end()
let sorted = ''
for await (const text of child) sorted += text
assert.equal(sorted, 'a\nb\n')
assert.equal((await child).exitCode, 0)
works('spawn, written to and read')

const loud = box.spawn('head -c 300000 /dev/zero')
let read = 0
for await (const bytes of loud.stdout) read += bytes.length
assert.equal(read, 300_000)
works('a web stream of output')

await box.filesystem.writeFile('/tmp/pieces', new Blob(['ab', new Uint8Array([99])]).stream())
assert.equal(await box.filesystem.readFile('/tmp/pieces'), 'abc')
const pieces = []
for await (const piece of await box.filesystem.readFile('/tmp/pieces', { encoding: 'stream' }))
  pieces.push(...piece)
assert.deepEqual(pieces, [97, 98, 99])
works('files, as text and as streams')

const decoder = new TextDecoder()
let screen = ''
const terminal = await box.terminal.create({
  command: 'sh',
  cols: 100,
  rows: 30,
  onData: (data) => {
    screen += decoder.decode(data, { stream: true })
  },
})
await terminal.write('stty size; exit\n')
for (const end = Date.now() + 10_000; !screen.includes('30 100'); ) {
  assert.ok(Date.now() < end, screen)
  await new Promise((resolve) => setTimeout(resolve, 20))
}
await terminal.kill()
works('terminal')

const none = await rejected(box.filesystem.readFile('/none'))
assert.ok(none instanceof NotFoundError && none instanceof Error)
assert.equal(none.code, 'NOT_FOUND')
assert.ok((await rejected(box.runCode('print(', 'python'))) instanceof CodeSyntaxError)
const strict = await createCompute().sandbox.create()
const exit = await rejected(strict.runCommand('exit 7'))
assert.ok(exit instanceof CommandExitError)
assert.equal(exit.result.exitCode, 7)
await strict.destroy()
works('errors')
// Not all runtimes follow an `await` back.
if (none.stack.includes('smoke.mjs')) works('stacks that lead to the caller')

const late = await rejected(box.runCommand('sleep 60', { signal: AbortSignal.timeout(100) }))
assert.ok(late instanceof AbortError, String(late))
assert.equal((await box.runCommand('sleep 60', { timeout: 100 })).timedOut, true)
works('aborts and time limits')

const work = `
  import { parentPort, workerData } from 'node:worker_threads'
  const { local } = (await import(workerData.index)).default
  const found = await local().sandbox.getById(workerData.id)
  const own = await local().sandbox.create()
  const { stdout } = await own.runCommand('echo worker')
  await own.destroy()
  parentPort.postMessage([stdout, await found.filesystem.readFile('/tmp/pieces')])`
const workerData = { index: new URL('../../index.js', import.meta.url).href, id: box.sandboxId }
const source = new URL(`data:text/javascript,${encodeURIComponent(work)}`)
const answers = await Promise.all(
  [1, 2, 3].map(
    () =>
      new Promise((resolve, reject) => {
        new Worker(source, { workerData }).on('message', resolve).on('error', reject)
      }),
  ),
)
assert.deepEqual(answers, Array(3).fill(['worker\n', 'abc']))
works('worker threads')

await box.destroy()
assert.deepEqual(await local().sandbox.list(), [])
works('destroy')
