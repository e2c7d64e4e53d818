'use strict'

module.exports.local = require('computesdk').local
