'use strict'
// What `computesdk/adapters` is where there is no Node.js: as elsewhere.js.

const { elsewhere } = require('../elsewhere.js')

module.exports.tools = elsewhere('tools')
module.exports.aiSandbox = elsewhere('aiSandbox')
module.exports.mastraSandbox = elsewhere('mastraSandbox')
module.exports.openaiSandbox = elsewhere('openaiSandbox')
