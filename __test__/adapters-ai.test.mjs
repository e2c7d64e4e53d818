// The tools of `computesdk/adapters`, by themselves and in the AI SDK: its own code, a scripted model, a real sandbox.

import assert from 'node:assert/strict'
import { createRequire } from 'node:module'
import { after, before, describe } from 'node:test'
import { pathToFileURL } from 'node:url'

import { aiSandbox, tools } from '../adapters.js'
import {
  AbortError,
  compute,
  createCompute,
  e2b,
  InvalidArgumentError,
  local,
  NotFoundError,
  Sandbox,
  UnsupportedError,
} from '../index.js'
import { e2bFake, KEY } from './fakes.mjs'
import { installed } from './install.mjs'
import { eventually, failure, sandbox, signalled, test } from './support.mjs'

/** @type {typeof import('ai')} */
let ai
/** @type {typeof import('ai/test')} */
let mock
/** @type {Sandbox} */
let box
before(async () => {
  const require = installed('frameworks')
  ai = await import(pathToFileURL(require.resolve('ai')))
  mock = await import(pathToFileURL(require.resolve('ai/test')))
  box = await sandbox()
})
after(() => box?.destroy())

/** A model that calls these tools, one after the other, and then says `done`; and what it was told. */
function scripted(...calls) {
  const usage = {
    inputTokens: { total: 1, noCache: 1, cacheRead: 0, cacheWrite: 0 },
    outputTokens: { total: 1, text: 1, reasoning: 0 },
  }
  const step = (content, unified) => ({
    content,
    usage,
    warnings: [],
    finishReason: { unified, raw: unified },
  })
  const steps = calls.map(([toolName, input], at) =>
    step(
      [{ type: 'tool-call', toolCallId: `call-${at}`, toolName, input: JSON.stringify(input) }],
      'tool-calls',
    ),
  )
  const model = new mock.MockLanguageModelV4({
    doGenerate: [...steps, step([{ type: 'text', text: 'done' }], 'stop')],
  })
  /** What it was told of each call. */
  const told = () => {
    const prompt = model.doGenerateCalls.at(-1).prompt
    return prompt
      .filter(({ role }) => role === 'tool')
      .flatMap(({ content }) => content.map((part) => part.output))
  }
  return { model, told }
}

describe('in the AI SDK', () => {
  test('a model works in the sandbox with all four tools', async () => {
    const { model, told } = scripted(
      ['writeFile', { path: 'numbers.txt', content: '3\n1\n2\n' }],
      ['runCommand', { command: 'sort numbers.txt' }],
      ['runCode', { code: 'print(open("numbers.txt").read().count("\\n"))', language: 'python' }],
      ['readFile', { path: '/home/user/numbers.txt', startLine: 2 }],
    )
    const { text, steps } = await ai.generateText({
      model,
      tools: tools({ sandbox: box }),
      stopWhen: ai.isStepCount(10),
      prompt: 'sort them',
    })
    assert.equal(text, 'done')
    assert.deepEqual(told(), [
      { type: 'text', value: '6 bytes were written to /home/user/numbers.txt' },
      { type: 'text', value: '1\n2\n3\n' },
      { type: 'text', value: '3\n' },
      { type: 'text', value: '1\n2\n' },
    ])
    const [result] = steps[1].toolResults
    assert.deepEqual(result.output, { exitCode: 0, stdout: '1\n2\n3\n', stderr: '' })
  })

  test('a model is told what the tools take', async () => {
    const { model } = scripted()
    await ai.generateText({ model, tools: tools({ sandbox: box }), prompt: 'x' })
    const given = model.doGenerateCalls[0].tools
    assert.deepEqual(
      given.map(({ name, inputSchema }) => [name, inputSchema.required]),
      [
        ['runCommand', ['command']],
        ['runCode', ['code', 'language']],
        ['readFile', ['path']],
        ['writeFile', ['path', 'content']],
      ],
    )
    for (const { description, inputSchema } of given) {
      assert.ok(description.length > 20)
      assert.equal(inputSchema.additionalProperties, false)
    }
  })

  test('an exit code other than 0 is a result, and so is code that does not parse', async () => {
    const { model, told } = scripted(
      ['runCommand', { command: 'echo out; echo err >&2; exit 3' }],
      ['runCode', { code: 'print(1', language: 'python' }],
    )
    await ai.generateText({ model, tools: tools({ sandbox: box }), stopWhen: ai.isStepCount(9), prompt: 'x' })
    assert.deepEqual(told()[0], { type: 'text', value: 'exit code: 3\nstdout:\nout\n\nstderr:\nerr\n' })
    assert.match(told()[1].value, /^exit code: 1\nstderr:\n.*SyntaxError/s)
    const strict = await createCompute({ provider: local() }).sandbox.create()
    assert.equal((await tools({ sandbox: strict }).runCommand.execute({ command: 'exit 3' })).exitCode, 3)
    await strict.destroy()
  })

  test('an input that does not fit, and a file that is not there, are told to the model', async () => {
    const { model, told } = scripted(
      ['runCommand', { comand: 'true' }],
      ['runCode', { code: '1', language: 'ruby' }],
      ['readFile', { path: '/nowhere' }],
    )
    await ai.generateText({ model, tools: tools({ sandbox: box }), stopWhen: ai.isStepCount(9), prompt: 'x' })
    const values = told().map(({ type, value }) => [type, value])
    assert.match(values[0][1], /there is no `comand`, only command, cwd, timeout/)
    assert.match(values[1][1], /`language` must be one of python, node/)
    assert.deepEqual(values[2], ['error-text', 'NotFoundError: File not found: /nowhere'])
  })

  test('aborting the generation ends the command', async () => {
    const abort = new AbortController()
    const { model } = scripted(['runCommand', { command: 'sleep 321 & sleep 321' }])
    const generation = ai.generateText({
      model,
      tools: tools({ sandbox: box }),
      stopWhen: ai.isStepCount(9),
      prompt: 'x',
      abortSignal: abort.signal,
    })
    const sleeping = async () => (await box.runCommand('pgrep -fx "sleep 321" | wc -l')).stdout.trim()
    await eventually('it sleeps', async () => (await sleeping()) === '2')
    abort.abort()
    await failure(Promise.resolve(generation))
    await eventually('it is gone', async () => (await sleeping()) === '0')
  })
})

describe('by themselves', () => {
  test('the sandbox is made when it is first needed, once for all, and again if that failed', async () => {
    let made = 0
    const { runCommand } = tools({
      sandbox: async () => {
        made++
        if (made === 1) throw new Error('not now')
        return box
      },
    })
    await failure(runCommand.execute({ command: 'true' }), Error, { message: 'not now' })
    await Promise.all([1, 2, 3].map(() => runCommand.execute({ command: 'true' })))
    assert.equal(made, 2)
  })

  test('output is cut to its beginning and its end, whatever there is of it, and the note says how much', async () => {
    const { runCommand } = tools({ sandbox: box, maxOutput: 100 })
    const { stdout, stderr } = await runCommand.execute({
      command: 'echo first; head -c 30000000 /dev/zero | tr "\\0" x; echo last; echo short >&2',
    })
    assert.match(stdout, /^first\nx+\n\[… (\d+) characters left out …\]\nx+last\n$/)
    const missing = Number(stdout.match(/(\d+) characters/)[1])
    assert.equal(missing + stdout.replace(/\n\[.*\]\n/, '').length, 30_000_000 + 'first\nlast\n'.length)
    assert.equal(stderr, 'short\n')
    const most = await runCommand.execute({ command: 'printf %100s x' })
    assert.equal(most.stdout.length, 100)
  })

  test('no character is cut in half', async () => {
    const { runCommand } = tools({ sandbox: box, maxOutput: 10 })
    const { stdout } = await runCommand.execute({ command: 'printf "😀%.0s" $(seq 100)' })
    assert.equal(stdout, '😀😀\n[… 192 characters left out …]\n😀😀')
  })

  test('a long file is read piece by piece, by its lines', async () => {
    const { readFile, writeFile } = tools({ sandbox: box, maxOutput: 50 })
    const lines = Array.from({ length: 20 }, (_, at) => `line ${at + 1} ☕`)
    await writeFile.execute({ path: '/tmp/long', content: lines.join('\n') })
    const read = []
    for (let startLine = 1; startLine !== undefined; ) {
      const { content, nextLine, note } = await readFile.execute({ path: '/tmp/long', startLine })
      assert.ok(content.length <= 50)
      assert.equal(note === undefined, nextLine === undefined)
      read.push(content)
      startLine = nextLine
    }
    assert.equal(read.join(''), lines.join('\n'))
    const some = await readFile.execute({ path: '/tmp/long', startLine: 3, endLine: 4 })
    assert.deepEqual(some, { path: '/tmp/long', content: 'line 3 ☕\nline 4 ☕\n' })
    const beyond = await readFile.execute({ path: '/tmp/long', startLine: 99 })
    assert.equal(beyond.content, '')
  })

  test('a line that is too long is cut, and says so', async () => {
    const { readFile, writeFile } = tools({ sandbox: box, maxOutput: 20 })
    await writeFile.execute({ path: '/tmp/wide', content: `${'w'.repeat(1000)}\nnext\n` })
    const wide = await readFile.execute({ path: '/tmp/wide' })
    assert.deepEqual(wide, {
      path: '/tmp/wide',
      content: 'w'.repeat(20),
      nextLine: 2,
      note: 'line 1 is longer than what is shown; go on with startLine 2',
    })
    assert.equal((await readFile.execute({ path: '/tmp/wide', startLine: 2 })).content, 'next\n')
  })

  test('a file without an end, or that is no text, is no trap', async () => {
    const { readFile } = tools({ sandbox: box })
    await box.runCommand('truncate -s 900M /tmp/huge')
    const { content, nextLine } = await readFile.execute({ path: '/tmp/huge' })
    assert.deepEqual([content.length, nextLine], [20_000, 2])
    await failure(readFile.execute({ path: '/usr/bin/env' }), InvalidArgumentError, { code: 'NOT_UTF8' })
    await box.filesystem.writeFile('/tmp/torn', new Uint8Array([0x61, 0xe2, 0x98]))
    await failure(readFile.execute({ path: '/tmp/torn' }), InvalidArgumentError, { code: 'NOT_UTF8' })
    await failure(readFile.execute({ path: '/dev/zero' }), InvalidArgumentError)
  })

  test('paths and commands begin where `cwd` is', async () => {
    const { runCommand, writeFile } = tools({ sandbox: box, cwd: '/tmp/work' })
    assert.equal((await writeFile.execute({ path: 'a/b', content: '☕' })).bytes, 3)
    assert.equal((await runCommand.execute({ command: 'pwd; cat a/b' })).stdout, '/tmp/work\n☕')
    assert.equal((await runCommand.execute({ command: 'pwd', cwd: 'a' })).stdout, '/tmp/work/a\n')
    await failure(runCommand.execute({ command: 'pwd', cwd: 'b' }), NotFoundError)
  })

  test('nothing takes longer than it may, whatever the model asks for', async () => {
    const { runCommand } = tools({ sandbox: box, timeout: 1_000 })
    const told = { exitCode: 124, stdout: 'on\n', stderr: '', timedOut: true }
    for (const timeout of [undefined, 60_000]) {
      assert.deepEqual(await runCommand.execute({ command: 'echo on; sleep 60', timeout }), told)
    }
    const text = runCommand.toModelOutput({ output: told })
    assert.equal(text.value, 'exit code: 124 (its time was over)\nstdout:\non\n')
  })

  test('a signal that is aborted ends the call', async () => {
    const { readFile, runCommand, writeFile } = tools({ sandbox: box })
    const options = { abortSignal: AbortSignal.abort() }
    await failure(runCommand.execute({ command: 'true' }, options), AbortError)
    await failure(writeFile.execute({ path: '/tmp/never', content: '' }, options), Error, {
      name: 'AbortError',
    })
    await failure(readFile.execute({ path: '/etc/passwd' }, options), Error, { name: 'AbortError' })
    assert.equal(await box.filesystem.exists('/tmp/never'), false)
  })

  test('a schema is one for whoever knows Standard Schema', () => {
    const { inputSchema } = tools({ sandbox: box }).runCode
    const { validate, jsonSchema, version } = inputSchema['~standard']
    assert.equal(version, 1)
    assert.deepEqual(validate({ code: '1', language: 'node' }), { value: { code: '1', language: 'node' } })
    const messages = [null, [], { code: 1 }, { code: '1' }, { code: '', language: 'node', timeout: 1.5 }].map(
      (input) => validate(input).issues[0].message,
    )
    assert.deepEqual(messages, [
      'the input must be an object',
      'the input must be an object',
      '`code` must be a string',
      '`language` is missing',
      '`timeout` must be a whole number above 0',
    ])
    assert.equal(validate(JSON.parse('{"__proto__":{},"code":"","language":"node"}')).issues.length, 1)
    assert.equal(jsonSchema.input({ target: 'draft-07' }).type, 'object')
  })

  test('what is given wrongly is refused, by name', () => {
    const refused = (options, message) =>
      assert.throws(() => tools(options), { code: 'INVALID_ARGUMENT', message })
    refused(undefined, /takes an object/)
    refused({ sandbox: box, maxOutputs: 1 }, '`tools` has no option `maxOutputs`')
    refused({ sandbox: box, maxOutput: 0 }, /`maxOutput` must be a whole number above 0, got 0/)
    refused({ sandbox: box, timeout: '5' }, /`timeout`/)
    refused({ sandbox: box, cwd: 'here' }, /`cwd` must be an absolute path, got here/)
    refused({}, /`sandbox` must be a sandbox/)
    refused({ sandbox: Promise.resolve(box) }, /`sandbox` must be a sandbox/)
  })

  test('the package has them under its own name, for import and require', async () => {
    const require = createRequire(import.meta.url)
    const names = ['aiSandbox', 'mastraSandbox', 'openaiSandbox', 'tools']
    assert.deepEqual(Object.keys(require('computesdk/adapters')).sort(), names)
    const imported = Object.keys(await import('computesdk/adapters'))
    assert.deepEqual(
      names.filter((name) => imported.includes(name)),
      names,
    )
  })
})

describe("the AI SDK's own sandbox", () => {
  test('a tool gets it, and what it does there is done', async () => {
    const { model } = scripted(['count', {}])
    const count = ai.tool({
      description: 'Counts files.',
      inputSchema: ai.jsonSchema({ type: 'object', properties: {} }),
      execute: async (_input, { experimental_sandbox: session }) => {
        await session.writeTextFile({ path: 'one/two.txt', content: 'three' })
        return await session.run({ command: 'ls | wc -l; exit 4', workingDirectory: 'one' })
      },
    })
    const { steps } = await ai.generateText({
      model,
      tools: { count },
      stopWhen: ai.isStepCount(9),
      prompt: 'x',
      experimental_sandbox: aiSandbox({ sandbox: box }),
    })
    assert.deepEqual(steps[0].toolResults[0].output, { exitCode: 4, stdout: '1\n', stderr: '' })
  })

  test('files are written, read, listed and deleted', async () => {
    const session = aiSandbox({ sandbox: box })
    const bytes = new Uint8Array([0, 255, 10])
    await session.writeBinaryFile({ path: 's/bytes', content: bytes })
    assert.deepEqual(await session.readBinaryFile({ path: '/home/user/s/bytes' }), bytes)
    await session.writeFile({ path: 's/stream', content: new Blob(['a\nb\nc\n']).stream() })
    const stream = await session.readFile({ path: 's/stream' })
    assert.equal(await new Response(stream).text(), 'a\nb\nc\n')
    assert.equal(await session.readTextFile({ path: 's/stream', startLine: 2, endLine: 9 }), 'b\nc\n')
    for (const wrong of [{ startLine: 0 }, { endLine: -1 }, { startLine: 1.5 }, { path: 7 }]) {
      await failure(session.readTextFile({ path: 's/stream', ...wrong }), InvalidArgumentError)
    }
    await session.writeTextFile({ path: 's/latin', content: 'é', encoding: 'latin1' })
    assert.deepEqual(await session.readBinaryFile({ path: 's/latin' }), new Uint8Array([0xe9]))
    assert.equal(await session.readTextFile({ path: 's/latin', encoding: 'latin1' }), 'é')
    await failure(session.readTextFile({ path: 's/latin', encoding: 'ebcdic' }), UnsupportedError)

    await box.runCommand('mkdir s/sub; ln -s sub s/link')
    const entries = await session.listDirectory({ path: 's' })
    assert.deepEqual(entries.map(({ name, type }) => `${name} ${type}`).sort(), [
      'bytes file',
      'latin file',
      'link symlink',
      'stream file',
      'sub directory',
    ])
    assert.deepEqual(await session.stat({ path: 's/bytes' }), { type: 'file', size: 3 })
    assert.equal((await session.stat({ path: 's/link' })).type, 'directory')
    assert.equal(await session.deleteFile({ path: 's/link' }), true)
    assert.equal(await box.filesystem.exists('/home/user/s/sub'), true)
    await failure(session.deleteFile({ path: 's/sub' }), InvalidArgumentError)
    assert.equal(await session.deleteFile({ path: 's/link' }), false)
  })

  test('what is not there is null; a sandbox that is gone is an error', async () => {
    const gone = await sandbox()
    const session = aiSandbox({ sandbox: gone })
    for (const method of ['readFile', 'readBinaryFile', 'readTextFile', 'stat', 'listDirectory']) {
      assert.equal(await session[method]({ path: '/nowhere/x' }), null, method)
    }
    assert.equal(await session.deleteFile({ path: '/nowhere/x' }), false)
    await gone.destroy()
    await failure(session.stat({ path: '/etc' }), NotFoundError)
  })

  test('a process is written to, read, waited for and killed', async () => {
    const session = aiSandbox({ sandbox: box })
    const sort = await session.spawn({ command: 'sort; echo $A >&2', env: { A: 'b' }, stdin: true })
    const writer = sort.stdin.getWriter()
    await writer.write(new TextEncoder().encode('b\na\n'))
    await writer.close()
    const read = (stream) => new Response(stream).text()
    assert.deepEqual(await Promise.all([read(sort.stdout), read(sort.stderr), sort.wait()]), [
      'a\nb\n',
      'b\n',
      { exitCode: 0 },
    ])
    const closed = await session.spawn({ command: 'cat; echo over' })
    assert.equal('stdin' in closed, false)
    assert.equal(await read(closed.stdout), 'over\n')
    const killed = await session.spawn({ command: 'sleep 60' })
    await killed.kill()
    await killed.kill()
    assert.equal((await killed.wait()).exitCode, 137)
  })

  test('an aborted process is killed, and waiting rejects with the reason', async () => {
    const session = aiSandbox({ sandbox: box })
    const abort = new AbortController()
    const { promise: begun, resolve } = signalled()
    const child = await session.spawn({ command: 'echo begun; sleep 60', abortSignal: abort.signal })
    child.stdout.getReader().read().then(resolve)
    await begun
    const reason = new Error('enough')
    abort.abort(reason)
    assert.equal(await failure(child.wait()), reason)
    const run = session.run({ command: 'sleep 60', abortSignal: AbortSignal.timeout(100) })
    await failure(run, AbortError)
  })
})

for (const [where, create] of Object.entries({
  'on the wire of E2B': async () => {
    const { url } = await e2bFake()
    return await e2b({ apiKey: KEY, apiUrl: url, sandboxUrl: url }).sandbox.create()
  },
  'at a plug-in': () =>
    compute.sandbox.create({ provider: installed('plugins')('@computesdk/just-bash').justBash({}) }),
})) {
  test(`the tools are the same ${where}`, async () => {
    const there = await create()
    const { readFile, runCommand, writeFile } = tools({ sandbox: there, maxOutput: 50 })
    const { exitCode, stdout, stderr } = await runCommand.execute({ command: 'seq 1000; echo e >&2; exit 3' })
    assert.deepEqual([exitCode, stderr], [3, 'e\n'])
    assert.match(stdout, /^1\n2\n.*\[… 3843 characters left out …\].*\n1000\n$/s)
    const late = await runCommand.execute({ command: 'sleep 9', timeout: 300 })
    assert.deepEqual([late.exitCode, late.timedOut], [124, true])
    await writeFile.execute({ path: 'x/y', content: 'a\nb\n' })
    assert.equal((await readFile.execute({ path: 'x/y', startLine: 2 })).content, 'b\n')
    await failure(readFile.execute({ path: 'x/none' }), NotFoundError)
    const session = aiSandbox({ sandbox: there })
    assert.deepEqual(await session.listDirectory({ path: 'x' }), [{ name: 'y', type: 'file' }])
    assert.equal(await session.stat({ path: 'x/none' }), null)
    assert.equal(await session.listDirectory({ path: 'none' }), null)
    await there.destroy()
  })
}
