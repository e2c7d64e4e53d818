// Mastra's workspaces and OpenAI's agents over our sandboxes: their own code, scripted models, a real sandbox.

import assert from 'node:assert/strict'
import { after, before, describe } from 'node:test'
import { pathToFileURL } from 'node:url'

import { mastraSandbox, openaiSandbox } from '../adapters.js'
import { AbortError, InvalidArgumentError, local, NotFoundError, UnsupportedError } from '../index.js'
import { installed } from './install.mjs'
import { eventually, failure, sandbox, test } from './support.mjs'

let box
before(async () => {
  box = await sandbox()
})
after(() => box?.destroy())

/** One of their packages, as `import` gives it. */
const imported = (name) => import(pathToFileURL(installed('frameworks').resolve(name)))

const alive = async () => (await local().sandbox.list()).map(({ sandboxId }) => sandboxId)

describe('Mastra', () => {
  /** @type {typeof import('@mastra/core/workspace')} */
  let workspaces
  before(async () => {
    workspaces = await imported('@mastra/core/workspace')
  })

  test('a workspace makes the sandbox when it starts, its tool works in it, and ends with it', async () => {
    const { Workspace, createWorkspaceTools, WORKSPACE_TOOLS } = workspaces
    const ours = mastraSandbox({ sandbox: () => sandbox({ sandboxId: 'of-mastra' }) })
    const workspace = new Workspace({ sandbox: ours })
    assert.deepEqual([ours.status, ours.provider], ['pending', 'computesdk'])
    await workspace.init()
    assert.deepEqual([ours.status, ours.provider], ['running', 'local'])
    assert.ok((await alive()).includes('of-mastra'))
    const tools = await createWorkspaceTools(workspace)
    const run = tools[WORKSPACE_TOOLS.SANDBOX.EXECUTE_COMMAND]
    assert.ok(run, Object.keys(tools).join())
    const said = await run.execute({ command: 'echo a b | wc -w; pwd' }, { workspace })
    assert.match(String(said), /^2\n\/home\/user/)
    const failed = await run.execute({ command: 'echo why >&2; exit 3' }, { workspace })
    assert.match(String(failed), /why/)
    assert.match(String(failed), /3/)
    assert.match(workspace.getInstructions(), /isolated Linux sandbox/)
    await workspace.destroy()
    assert.equal(ours.status, 'destroyed')
    assert.ok(!(await alive()).includes('of-mastra'))
  })

  test('commands run as lines and as programs, with what they are given', async () => {
    const ours = mastraSandbox({ sandbox: box })
    const { executionTimeMs, ...line } = await ours.executeCommand(
      'echo "$A" | tr a-z A-Z; echo e >&2; exit 3',
      [],
      {
        env: { A: 'word', B: undefined },
        cwd: '/tmp',
      },
    )
    assert.deepEqual(line, {
      success: false,
      exitCode: 3,
      stdout: 'WORD\n',
      stderr: 'e\n',
      command: 'echo "$A" | tr a-z A-Z; echo e >&2; exit 3',
      args: [],
    })
    assert.ok(executionTimeMs >= 0)
    const program = await ours.executeCommand('printf', ['%s|', 'a b', '$HOME'])
    assert.deepEqual([program.success, program.stdout], [true, 'a b|$HOME|'])
    const late = await ours.executeCommand('sleep 60', [], { timeout: 100 })
    assert.deepEqual([late.exitCode, late.timedOut], [124, true])
    await failure(ours.executeCommand('sleep 60', [], { abortSignal: AbortSignal.timeout(100) }), AbortError)
    await failure(ours.executeCommand('true', [], { cwd: 'nowhere' }), NotFoundError)
  })

  test('the latest of the output is kept, all of it is told', async () => {
    const ours = mastraSandbox({ sandbox: box })
    let told = 0
    const result = await ours.executeCommand('seq 1 200000; printf ☕', [], {
      maxRetainedBytes: 10,
      onStdout: (text) => {
        told += Buffer.byteLength(text)
      },
    })
    assert.equal(result.stdout, '200000\n☕')
    assert.deepEqual([result.stdoutTruncated, result.stdoutDroppedBytes], [true, told - 10])
    const cut = await ours.executeCommand('printf ☕☕', [], { maxRetainedBytes: 4 })
    assert.deepEqual([cut.stdout, cut.stdoutDroppedBytes], ['☕', 3])
    const none = await ours.executeCommand('echo x', [], { maxRetainedBytes: 0 })
    assert.deepEqual([none.stdout, none.stdoutDroppedBytes], ['', 2])
    const all = await ours.executeCommand('seq 1 200000')
    assert.equal(all.stdout.length, 1_288_895)
    assert.equal('stdoutTruncated' in all, false)
    for (const maxRetainedBytes of [-1, Number.NaN, '5']) {
      await failure(ours.executeCommand('true', [], { maxRetainedBytes }), InvalidArgumentError)
    }
    const most = 16 * 2 ** 20
    const large = await ours.executeCommand('yes | head -c 100000000')
    assert.deepEqual([large.stdout.length, large.stdoutDroppedBytes], [most, 100_000_000 - most])
  })

  test('files, ports and facts', async () => {
    const { supportsNetworking, supportsComputer } = workspaces
    const ours = mastraSandbox({ sandbox: box, id: 'mine' })
    assert.deepEqual([supportsNetworking(ours), supportsComputer(ours)], [true, false])
    assert.equal(await ours.networking.getPortUrl(8000), null)
    assert.deepEqual(await ours.start(), { outcome: 'connected' })
    assert.match(await ours.networking.getPortUrl(8000), /^http:\/\/127\.0\.0\.1:\d+/)
    await ours.writeFiles([
      { path: 'm/a', content: 'text' },
      { path: '/tmp/m', content: Buffer.from([0, 255]) },
    ])
    assert.equal(await box.filesystem.readFile('/home/user/m/a'), 'text')
    await failure(ours.writeFiles([{ path: 'm/b', content: '', mode: 0o600 }]), UnsupportedError)
    const { createdAt, timeoutAt, ...rest } = await ours.getInfo()
    assert.deepEqual(rest, {
      id: 'mine',
      name: 'computesdk',
      provider: 'local',
      status: 'running',
      lastUsedAt: rest.lastUsedAt,
    })
    assert.ok(createdAt instanceof Date && timeoutAt > createdAt)
  })

  test('what was destroyed is gone, and so is what was being made', async () => {
    const before = await alive()
    for (const isMade of [true, false]) {
      const ours = mastraSandbox({ sandbox: () => local().sandbox.create() })
      const starting = ours.start()
      if (isMade) await starting
      await Promise.all([ours.destroy(), isMade || failure(starting, NotFoundError)])
      await failure(ours.executeCommand('true'), NotFoundError, { message: /was destroyed/ })
      assert.equal(ours.status, 'destroyed')
    }
    assert.deepEqual(await alive(), before)
  })

  test('a sandbox that cannot be made is an error, and may be tried again', async () => {
    let tries = 0
    const ours = mastraSandbox({
      sandbox: () => {
        tries++
        if (tries === 1) throw new Error('not now')
        return box
      },
    })
    await failure(ours.start(), Error, { message: 'not now' })
    assert.deepEqual([ours.status, ours.error], ['error', 'not now'])
    assert.equal((await ours.executeCommand('echo on')).stdout, 'on\n')
    assert.equal(ours.status, 'running')
  })
})

describe("OpenAI's agents", () => {
  let agents
  let sandboxes
  let testing
  before(async () => {
    agents = await imported('@openai/agents-core')
    sandboxes = await imported('@openai/agents-core/sandbox')
    testing = await imported('@openai/agents-core/testing')
    agents.setTracingDisabled(true)
  })

  const client = (source = () => sandbox()) =>
    openaiSandbox({ sandbox: source, Manifest: sandboxes.Manifest, applyDiff: agents.applyDiff })

  /** Runs an agent whose model calls these tools, one after the other; what it was told of each. */
  async function ran(calls, options) {
    const { functionCall, assistantMessage, modelResponse, ScriptedModel } = testing
    const calling = (name, input, callId) =>
      name === 'apply_patch'
        ? { type: 'apply_patch_call', callId, status: 'completed', operation: input }
        : functionCall(name, input, { callId })
    const steps = calls.map(([name, input], at) => modelResponse([calling(name, input, `call-${at}`)]))
    const model = new ScriptedModel([...steps, modelResponse([assistantMessage('done')])])
    const agent = new sandboxes.SandboxAgent({
      name: 'Analyst',
      instructions: 'Work.',
      model,
      ...options.agent,
    })
    const result = await agents.run(agent, 'go', { sandbox: options.sandbox })
    assert.equal(result.finalOutput, 'done')
    return result.newItems
      .filter(({ type }) => type === 'tool_call_output_item')
      .map(({ output }) => (typeof output === 'string' ? output : JSON.stringify(output)))
  }

  test('an agent works in a sandbox that is made for it and ends with its run', async () => {
    const made = []
    const source = async () => {
      const one = await sandbox()
      made.push(one.sandboxId)
      return one
    }
    const manifest = new sandboxes.Manifest({
      entries: { 'data.csv': { type: 'file', content: 'a,1\nb,2\n' }, out: { type: 'dir' } },
      environment: { MODE: 'fast' },
    })
    const told = await ran(
      [
        ['exec_command', { cmd: 'cat data.csv; pwd; echo $MODE; ls -d out' }],
        ['exec_command', { cmd: 'exit 3' }],
      ],
      { sandbox: { client: client(source), manifest } },
    )
    assert.match(told[0], /^Wall time: [\d.]+ seconds\nProcess exited with code 0\nOutput:\n/)
    assert.match(told[0], /Output:\na,1\nb,2\n\/workspace\nfast\nout\n$/)
    assert.match(told[1], /Process exited with code 3\nOutput:\n$/)
    assert.equal(made.length, 1)
    assert.ok(!(await alive()).includes(made[0]))
  })

  test('its patches create, change, move and delete files', async () => {
    const session = await client(box).create({ manifest: new sandboxes.Manifest({ root: '/tmp/patched' }) })
    const editor = session.createEditor()
    assert.deepEqual(await editor.createFile({ path: 'a.txt', diff: '+one\n+two' }), {
      status: 'completed',
      output: 'Created a.txt',
    })
    await failure(editor.createFile({ path: 'a.txt', diff: '+x' }), Error, { code: 'ALREADY_EXISTS' })
    await editor.updateFile({ path: 'a.txt', diff: ' one\n-two\n+three', moveTo: 'b/c.txt' })
    assert.equal(await box.filesystem.readFile('/tmp/patched/b/c.txt'), 'one\nthree')
    assert.equal(await session.pathExists('a.txt'), false)
    await editor.createFile({ path: 'd.txt', diff: '+one' })
    const over = { path: 'd.txt', diff: '-one\n+two', moveTo: 'b/c.txt' }
    await failure(editor.updateFile(over), Error, { code: 'ALREADY_EXISTS' })
    await failure(editor.deleteFile({ path: 'b' }), InvalidArgumentError)
    await editor.deleteFile({ path: 'b/c.txt' })
    assert.equal(await session.pathExists('b/c.txt'), false)
    const told = await ran(
      [
        ['apply_patch', { type: 'create_file', path: 'new.txt', diff: '+hello' }],
        ['exec_command', { cmd: 'cat new.txt' }],
      ],
      { sandbox: { session } },
    )
    assert.match(told[1], /Output:\nhello\n?$/)
    // It was not made for the run, and stays.
    assert.equal((await box.runCommand('cat /tmp/patched/new.txt')).stdout.trim(), 'hello')
  })

  test('a command that takes long goes on, is looked at, typed into and interrupted', async () => {
    const session = await client().create()
    assert.equal(session.state.manifest.root, '/workspace')
    const slow = await session.exec({ cmd: 'echo one; sleep 3; echo two', yieldTimeMs: 1_500 })
    assert.deepEqual([slow.output, slow.exitCode, slow.sessionId], ['one\n', null, 1])
    assert.match(
      await session.writeStdin({ sessionId: 1, yieldTimeMs: 10_000 }),
      /exited with code 0\nOutput:\ntwo\n$/,
    )
    await failure(session.writeStdin({ sessionId: 1 }), NotFoundError)

    const piped = await session.exec({ cmd: 'cat; echo over; sleep 60', yieldTimeMs: 1_500 })
    assert.equal(piped.output, 'over\n')
    await failure(session.writeStdin({ sessionId: piped.sessionId, chars: 'x' }), InvalidArgumentError)

    const typed = await session.exec({
      cmd: 'read name; echo "it is $name"; sleep 60',
      tty: true,
      yieldTimeMs: 300,
    })
    assert.equal(typed.exitCode, null)
    const answer = await session.writeStdin({ sessionId: typed.sessionId, chars: 'me\n', yieldTimeMs: 1_500 })
    assert.match(answer, /running with session ID \d+\nOutput:\nme\r\nit is me\r\n/)
    const ended = await session.writeStdin({
      sessionId: typed.sessionId,
      chars: '\u0003',
      yieldTimeMs: 5_000,
    })
    assert.match(ended, /Process exited with code 130/)
    assert.equal(await session.running(), true)
    await session.shutdown()
    assert.equal(await session.running(), false)
  })

  test('what is told of output is as much as was asked for', async () => {
    const session = await client(box).create()
    const cut = await session.exec({ cmd: 'seq 1 10000', maxOutputTokens: 10 })
    assert.match(cut.output, /^1\n2\n.*\[… 48854 characters left out …\].*10000\n$/s)
    assert.equal(cut.originalTokenCount, Math.ceil(48_894 / 4))
    const whole = await session.exec({ cmd: 'seq 1 10000' })
    assert.ok(whole.output.length < 20_100)
    const shell = await session.exec({
      cmd: 'echo $0 $((1 + 1))',
      shell: '/bin/sh',
      login: false,
      workdir: '/tmp',
    })
    assert.equal(shell.output, '/bin/sh 2\n')
  })

  test('a model that begins more than there can be, and waits longer than there is time, harms nobody', async () => {
    const session = await client(box).create()
    const tty = { tty: true, yieldTimeMs: 0 }
    for (let at = 0; at < 70; at++) {
      const { sessionId } = await session.exec({ cmd: 'sleep 987', ...tty })
      assert.equal(sessionId, at + 1)
    }
    await failure(session.writeStdin({ sessionId: 1 }), NotFoundError, { message: 'Session not found: 1' })
    assert.match(await session.writeStdin({ sessionId: 69 }), /running with session ID 69/)
    const whole = await session.exec({ cmd: 'sleep 0.2; echo on', yieldTimeMs: 1e12, maxOutputTokens: 0 })
    assert.deepEqual([whole.exitCode, whole.output], [0, 'on\n'])
    const little = await session.exec({ cmd: 'seq 100', maxOutputTokens: 0 })
    assert.match(little.output, /^1\n\n\[… 288 characters left out …\]\n0\n$/)
    await session.shutdown()
  })

  test('files, images, directories and ports', async () => {
    const session = await client(box).create({ manifest: new sandboxes.Manifest({ root: '/tmp/files' }) })
    const png = Buffer.from(
      'iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==',
      'base64',
    )
    await session.materializeEntry({
      path: 'pictures',
      entry: { type: 'dir', children: { 'a.png': { type: 'file', content: new Uint8Array(png) } } },
    })
    assert.deepEqual(Buffer.from(await session.readFile({ path: 'pictures/a.png' })), png)
    assert.equal((await session.readFile({ path: 'pictures/a.png', maxBytes: 4 })).length, 4)
    const { image } = await session.viewImage({ path: 'pictures/a.png' })
    assert.deepEqual(image, { data: png.toString('base64'), mediaType: 'image/png' })
    await failure(session.viewImage({ path: 'pictures/b.png' }), NotFoundError, { message: /not found/i })
    await box.filesystem.writeFile('/tmp/files/text', 'no picture')
    await failure(session.viewImage({ path: 'text' }), InvalidArgumentError, {
      message: /unsupported image format/i,
    })
    await box.runCommand('truncate -s 11M /tmp/files/large')
    await failure(session.viewImage({ path: 'large' }), InvalidArgumentError, {
      message: /exceeds the 10 MB limit/,
    })
    assert.deepEqual(await session.listDir({ path: '.' }), [
      { name: 'large', path: '/tmp/files/large', type: 'file' },
      { name: 'pictures', path: '/tmp/files/pictures', type: 'dir' },
      { name: 'text', path: '/tmp/files/text', type: 'file' },
    ])
    assert.deepEqual(
      [
        await session.directoryExists('pictures'),
        await session.directoryExists('text'),
        await session.directoryExists('no'),
      ],
      [true, false, false],
    )
    const { host, port, tls } = await session.resolveExposedPort(3000)
    assert.deepEqual([host, tls], ['127.0.0.1', false])
    assert.ok(port > 1024)
  })

  test('what a sandbox cannot be is refused by name, and nothing is left', async () => {
    const { Manifest } = sandboxes
    const before = await alive()
    for (const [manifest, message] of [
      [{ entries: { here: { type: 'local_dir', src: '/etc' } } }, /the entry `here` of the type `local_dir`/],
      [{ entries: { repo: { type: 'git_repo', repo: 'a/b' } } }, /`git_repo`/],
      [
        { entries: { f: { type: 'file', content: '', permissions: '-rw-------' } } },
        /`permissions` of the entry `f`/,
      ],
      [{ users: [{ name: 'other' }] }, /`users`/],
    ]) {
      await failure(client().create({ manifest: new Manifest(manifest) }), UnsupportedError, { message })
    }
    await failure(client().create({ snapshot: { type: 'remote' } }), UnsupportedError)
    const options = { image: 'debian' }
    await failure(client().create({ options }), UnsupportedError, { message: /`image`/ })
    assert.deepEqual(await alive(), before)
    const session = await client(box).create()
    await failure(session.exec({ cmd: 'id', runAs: 'root' }), UnsupportedError, { message: /`root`/ })
    assert.throws(() => openaiSandbox({ sandbox: box, Manifest }), { message: /`applyDiff` must be that of/ })
  })

  test('commands that go on end with their session', async () => {
    const session = await client(box).create()
    await session.exec({ cmd: 'sleep 654', yieldTimeMs: 0 })
    const sleeping = async () => (await box.runCommand('pgrep -cfx "sleep 654"')).stdout.trim()
    await eventually('it sleeps', async () => (await sleeping()) === '1')
    await session.shutdown()
    await eventually('it is gone', async () => (await sleeping()) === '0')
    assert.equal(await session.running(), true)
  })
})
