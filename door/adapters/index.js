'use strict'
// Sandboxes in the shapes that agent frameworks take. None of them is imported: what they ask for is an object with
// the right properties. The exports stand line by line, because that is how Node finds the names of a CommonJS module.

const ai = require('./ai.js')
const mastra = require('./mastra.js')
const openai = require('./openai.js')
const session = require('./session.js')

module.exports.tools = ai.tools
module.exports.aiSandbox = session.aiSandbox
module.exports.mastraSandbox = mastra.mastraSandbox
module.exports.openaiSandbox = openai.openaiSandbox
