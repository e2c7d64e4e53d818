'use strict'
// Tools for the AI SDK. Their schemas are known to whatever takes Standard Schema, too.

const { definitions } = require('./definitions.js')
const { held, optionsOf } = require('./options.js')
const { standard, wrong } = require('./schema.js')
const { InvalidArgumentError } = require('../errors.js')

/** The tools, by their names. */
function tools(options) {
  const { sandbox, ...limits } = optionsOf('tools', options, ['sandbox', 'maxOutput', 'timeout', 'cwd'])
  const all = definitions({ ...limits, sandbox: held(sandbox) })
  return Object.fromEntries(all.map((definition) => [definition.name, tool(definition)]))
}

function tool({ name, title, description, input: schema, run, text }) {
  return {
    title,
    description,
    inputSchema: standard(schema),
    async execute(input, { abortSignal: signal } = {}) {
      const message = wrong(schema, input)
      if (message) throw new InvalidArgumentError(`\`${name}\`: ${message}`)
      return await run(input, { signal })
    },
    toModelOutput: ({ output }) => ({ type: 'text', value: text(output) }),
  }
}

module.exports = { tools }
