// The examples of docs/adapters.md, as somebody would follow them: in a folder of its own, with the real packages. Only the
// models are scripted.

import assert from 'node:assert/strict'
import { mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { after, before } from 'node:test'

import { installed } from './install.mjs'
import { ROOT, start, test } from './support.mjs'

let folder
before(() => {
  installed('frameworks')
  folder = mkdtempSync(join(tmpdir(), 'adapters-docs-'))
  const theirs = join(ROOT, '__test__/frameworks/node_modules')
  const modules = {
    computesdk: ROOT,
    ai: join(theirs, 'ai'),
    '@mastra/core': join(theirs, '@mastra/core'),
    // What `@openai/agents` gives comes from there; beyond that it brings OpenAI's own models.
    '@openai/agents': join(theirs, '@openai/agents-core'),
  }
  for (const [name, path] of Object.entries(modules)) {
    const link = join(folder, 'node_modules', name)
    mkdirSync(dirname(link), { recursive: true })
    symlinkSync(path, link)
  }
})
after(() => rmSync(folder, { recursive: true, force: true }))

/** A model of the AI SDK that calls a tool and then says what it was told. */
const AI = (tool, input) => `
import { MockLanguageModelV4 } from 'ai/test'
const usage = { inputTokens: { total: 1 }, outputTokens: { total: 1 } }
let calls = 0
const model = new MockLanguageModelV4({
  doGenerate: async ({ prompt }) => {
    const last = prompt.at(-1).content[0].output?.value
    const call = { type: 'tool-call', toolCallId: '1', toolName: '${tool}', input: '${JSON.stringify(input)}' }
    const content = [calls++ === 0 ? call : { type: 'text', text: String(last).trim() }]
    const unified = calls === 1 ? 'tool-calls' : 'stop'
    return { content, usage, warnings: [], finishReason: { unified, raw: unified } }
  },
})`
const OPENAI = `
import { setTracingDisabled } from '@openai/agents'
import { assistantMessage, functionCall, modelResponse, ScriptedModel } from '@openai/agents/testing'
setTracingDisabled(true)
const model = new ScriptedModel([
  modelResponse([functionCall('exec_command', { cmd: 'wc -l data.csv' }, { callId: '1' })]),
  modelResponse([assistantMessage('Two lines.')]),
])`
const SANDBOX = `
import { compute as made } from 'computesdk'
const sandbox = await made.sandbox.create()`

/** What each example takes for granted, and what it prints; `last` comes behind it. */
const EXAMPLES = {
  'tools: tools({ sandbox })': {
    given: AI('runCode', {
      code: 'print(sum(all(n % d for d in range(2, n)) for n in range(2, 100)))',
      language: 'python',
    }),
    printed: '25\n',
  },
  'runCode.execute': { given: '', printed: "[ 'code', 'language' ] 42\n\n" },
  experimental_sandbox: {
    given: `${AI('count', {})}
const theirs = {
  count: {
    inputSchema: { '~standard': { version: 1, vendor: 'x', validate: (value) => ({ value }), jsonSchema: { input: () => ({ type: 'object' }) } } },
    execute: async (_, { experimental_sandbox }) => (await experimental_sandbox.run({ command: 'ls -a ~ | wc -l' })).stdout,
  },
}`,
    last: 'console.log(Number(text) >= 2)',
    printed: 'true\n',
  },
  'new Workspace': { given: '', printed: '2\n\n' },
  'run(agent': { given: OPENAI, printed: 'Two lines.\n' },
  'const session =': {
    given: `${SANDBOX}
import { applyDiff } from '@openai/agents'
import { Manifest } from '@openai/agents/sandbox'
import { openaiSandbox } from 'computesdk/adapters'`,
    last: "console.log((await session.exec({ cmd: 'pwd' })).output)\nawait sandbox.destroy()",
    printed: '/workspace\n\n',
  },
}

const page = readFileSync(join(ROOT, 'docs/adapters.md'), 'utf8')
const blocks = [...page.matchAll(/^```js\n([\s\S]*?)^```$/gm)].map(([, block]) => block)

test('every example is known', () => {
  assert.equal(blocks.length, Object.keys(EXAMPLES).length)
})

for (const [mark, { given, last = '', printed }] of Object.entries(EXAMPLES)) {
  test(`the example with ${mark} does what it says`, async () => {
    const [block, ...more] = blocks.filter((one) => one.includes(mark))
    assert.ok(block && more.length === 0, 'it is there, once')
    const path = join(folder, `${mark.replaceAll(/\W+/g, '-')}.mjs`)
    writeFileSync(path, `${given}\n${block}\n${last}\n`)
    const { code, stdout, stderr } = await start(process.execPath, [path]).ended
    assert.deepEqual([code, stdout], [0, printed], stderr)
  })
}
