'use strict'
// What timers of Node.js can do.

/** The longest that one waits, in ms: asked for more, it would not wait at all. */
const LONGEST = 2 ** 31 - 1

module.exports = { LONGEST }
