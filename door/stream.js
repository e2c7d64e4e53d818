'use strict'
// Streams that come out of a sandbox.

const { fromNative } = require('./errors.js')

/**
 * A web stream of what a native reader, which may be a promise, gives. It reads a piece when it is asked for one;
 * cancelled, it lets go of what it reads. What fails is the real error, which has happened at `place`.
 */
function streamOf(reader, place) {
  return new ReadableStream(
    {
      async pull(controller) {
        let piece
        try {
          piece = await (await reader).next()
        } catch (error) {
          throw fromNative(error, place)
        }
        if (piece === null) controller.close()
        else controller.enqueue(piece)
      },
      async cancel() {
        const opened = await reader
        opened.close()
      },
    },
    { highWaterMark: 0 },
  )
}

module.exports = { streamOf }
