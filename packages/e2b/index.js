'use strict'

module.exports.e2b = require('computesdk').e2b
