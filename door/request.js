'use strict'
// The request handler.

const { UnsupportedError } = require('./errors.js')

/** Refused by name until a later version. */
async function handleComputeRequest() {
  throw new UnsupportedError('`handleComputeRequest` is not part of this version yet', {
    hint: 'call the sandbox from a route of your own; see the README',
  })
}

module.exports = { handleComputeRequest }
