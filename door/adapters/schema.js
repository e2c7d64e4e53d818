'use strict'
// What a tool takes: a schema that models read, and the check of what they send. Only as much of JSON Schema as the
// tools use.

const TYPES = {
  string: (value) => typeof value === 'string',
  integer: (value) => Number.isSafeInteger(value) && value > 0,
}
const WANTED = { string: 'a string', integer: 'a whole number above 0' }

/** An object with these properties; those of `optional` may be missing. */
function object(properties, optional) {
  const required = Object.keys(properties).filter((name) => !optional.includes(name))
  return { type: 'object', properties, required, additionalProperties: false }
}

/** What is wrong with an input, in words for whoever sent it; undefined if it is right. */
function wrong(schema, input) {
  if (typeof input !== 'object' || input === null || Array.isArray(input)) {
    return 'the input must be an object'
  }
  for (const [name, value] of Object.entries(input)) {
    if (!Object.hasOwn(schema.properties, name)) {
      return `there is no \`${name}\`, only ${Object.keys(schema.properties).join(', ')}`
    }
    const { type, enum: values } = schema.properties[name]
    if (value === undefined) continue
    if (!TYPES[type](value)) return `\`${name}\` must be ${WANTED[type]}`
    if (values && !values.includes(value)) return `\`${name}\` must be one of ${values.join(', ')}`
  }
  const missing = schema.required.find((name) => input[name] === undefined)
  return missing && `\`${missing}\` is missing`
}

/**
 * The schema in the forms that frameworks know: Standard Schema, as its first version has it, with its JSON Schema; and
 * the AI SDK's own, which is told by a symbol.
 */
function standard(schema) {
  const issues = (value) => {
    const message = wrong(schema, value)
    return message && [{ message }]
  }
  return {
    '~standard': {
      version: 1,
      vendor: 'computesdk',
      validate: (value) => {
        const found = issues(value)
        return found ? { issues: found } : { value }
      },
      jsonSchema: { input: () => schema, output: () => schema },
    },
    [Symbol.for('vercel.ai.schema')]: true,
    jsonSchema: schema,
    validate: (value) => {
      const message = wrong(schema, value)
      return message ? { success: false, error: new TypeError(message) } : { success: true, value }
    },
  }
}

module.exports = { object, standard, wrong }
