// An agent: a model works in a sandbox until it has an answer: `node examples/agent.mjs`. The model is a script here, so
// that it runs without a key; a real one is a function of the same kind.

import { compute } from 'computesdk'
import { tools } from 'computesdk/adapters'
import { provider } from './provider.mjs'

/** What a model may use, as most of their APIs take it. */
function described(all) {
  return Object.entries(all).map(([name, { description, inputSchema }]) => ({
    name,
    description,
    parameters: inputSchema.jsonSchema,
  }))
}

/** Asks the model, does what it asks for and tells it what came of that, until it answers. */
async function agent({ model, task, sandbox, signal, steps = 10 }) {
  const all = tools({ sandbox, maxOutput: 10_000, timeout: 60_000 })
  const messages = [{ role: 'user', content: task }]
  for (let step = 0; step < steps; step++) {
    const { text, calls = [] } = await model(messages, described(all))
    messages.push({ role: 'assistant', content: text, calls })
    if (calls.length === 0) return text
    for (const { id, name, input } of calls) {
      console.log(`> ${name} ${JSON.stringify(input)}`)
      const content = await called(all, name, input, signal)
      console.log(content.trimEnd())
      messages.push({ role: 'tool', id, content })
    }
  }
  throw new Error(`no answer within ${steps} steps`)
}

/** What a model is told of a call: what went wrong, too, so that it can do better. */
async function called(all, name, input, signal) {
  if (!Object.hasOwn(all, name)) return `There is no tool \`${name}\`.`
  const tool = all[name]
  try {
    return tool.toModelOutput({ output: await tool.execute(input, { abortSignal: signal }) }).value
  } catch (error) {
    if (signal?.aborted) throw error
    return `${error.message}${error.hint ? ` (${error.hint})` : ''}`
  }
}

/** A model that always does the same: it writes a program with a mistake, sees it, and mends it. */
function scripted() {
  const program = (column) =>
    `import csv\nrows = list(csv.DictReader(open("sales.csv")))\nprint(sum(int(row["${column}"]) for row in rows))\n`
  const script = [
    () => ['writeFile', { path: 'total.py', content: program('Amount') }],
    () => ['runCommand', { command: 'python3 total.py' }],
    () => ['readFile', { path: 'sales.csv', endLine: 1 }],
    () => ['writeFile', { path: 'total.py', content: program('amount') }],
    () => ['runCommand', { command: 'python3 total.py' }],
    (messages) => `All sales together are ${messages.at(-1).content.trim()}.`,
  ]
  let step = 0
  return async (messages) => {
    const next = script[step++](messages)
    if (typeof next === 'string') return { text: next }
    const [name, input] = next
    return { calls: [{ id: `call-${step}`, name, input }] }
  }
}

const sandbox = await compute.sandbox.create({ provider })
try {
  await sandbox.filesystem.writeFile('/home/user/sales.csv', 'day,amount\nMonday,12\nTuesday,30\n')
  const answer = await agent({ model: scripted(), task: 'How much was sold, says sales.csv?', sandbox })
  console.log(`\n${answer}`)
} finally {
  await sandbox.destroy()
}
