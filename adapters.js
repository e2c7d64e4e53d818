'use strict'
// Sandboxes in the shapes that agent frameworks take. None of them is imported: what they ask for is an object with
// the right properties. The exports stand line by line, because that is how Node finds the names of a CommonJS module.

const ai = require('./door/adapters/ai.js')
const mastra = require('./door/adapters/mastra.js')
const openai = require('./door/adapters/openai.js')
const session = require('./door/adapters/session.js')

module.exports.tools = ai.tools
module.exports.aiSandbox = session.aiSandbox
module.exports.mastraSandbox = mastra.mastraSandbox
module.exports.openaiSandbox = openai.openaiSandbox
