// Ours, where theirs are asked for. Compiled by adapters-types.test.mjs; never run.

import { Workspace, type WorkspaceSandbox } from '@mastra/core/workspace'
import { Agent, applyDiff, run } from '@openai/agents-core'
import {
  Manifest,
  SandboxAgent,
  type SandboxClient,
  type SandboxSessionLike,
} from '@openai/agents-core/sandbox'
import type { Experimental_SandboxSession, ToolSet } from 'ai'
import {
  generateText,
  type InferToolInput,
  type InferToolOutput,
  type LanguageModel,
  ToolLoopAgent,
} from 'ai'
import type { Sandbox } from 'computesdk'
import { aiSandbox, mastraSandbox, openaiSandbox, tools } from 'computesdk/adapters'

declare const sandbox: Sandbox
declare const model: LanguageModel

// AI SDK
const ours = tools({ sandbox })
const set: ToolSet = ours
const session: Experimental_SandboxSession = aiSandbox({ sandbox: async () => sandbox })
const input: InferToolInput<typeof ours.runCommand> = { command: 'true', timeout: 5 }
const output: InferToolOutput<typeof ours.runCommand> = { exitCode: 0, stdout: '', stderr: '' }
const agent = new ToolLoopAgent({ model, tools: ours })
const answer = await generateText({ model, tools: ours, experimental_sandbox: session, prompt: 'x' })
for (const result of answer.toolResults) {
  if (!result.dynamic && result.toolName === 'runCode') console.log(result.output.exitCode.toFixed())
}

// Mastra
const theirs: WorkspaceSandbox = mastraSandbox({ sandbox })
const workspace = new Workspace({ sandbox: mastraSandbox({ sandbox: () => sandbox, id: 'one' }) })

// OpenAI
const client: SandboxClient = openaiSandbox({ sandbox, Manifest, applyDiff })
const live: SandboxSessionLike = await openaiSandbox({ sandbox, Manifest, applyDiff }).create({
  manifest: new Manifest(),
})
const analyst = new SandboxAgent({ name: 'Analyst', instructions: 'x' })
await run(analyst, 'x', { sandbox: { client } })
await run(analyst, 'x', { sandbox: { session: live } })

// @ts-expect-error An input that it does not take.
const wrong: InferToolInput<typeof ours.runCode> = { code: 'x', language: 'ruby' }
// @ts-expect-error A promise is no sandbox.
tools({ sandbox: Promise.resolve(sandbox) })

export { Agent, agent, input, output, set, theirs, workspace, wrong }
