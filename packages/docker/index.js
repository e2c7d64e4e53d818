'use strict'

module.exports.docker = require('computesdk').docker
