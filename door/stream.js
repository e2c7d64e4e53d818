'use strict'
// Streams that come out of a sandbox: Web streams over the native readers.

const { asynchronous } = require('./calls.js')
const { NativeReader } = require('./load.js')

const next = asynchronous(NativeReader.prototype.next, 'read')

/** A Web stream of what a reader gives, which may be a promise. It reads only when it is asked. */
function streamOf(reader) {
  return new ReadableStream(
    {
      async pull(controller) {
        const piece = await next.call(await reader)
        if (piece === null) controller.close()
        else controller.enqueue(piece)
      },
      async cancel() {
        const opened = await reader
        await opened.close()
      },
    },
    { highWaterMark: 0 },
  )
}

module.exports = { streamOf }
