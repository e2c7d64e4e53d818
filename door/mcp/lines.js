'use strict'
// Messages over streams: one a line, in JSON and UTF-8, as the protocol's stdio transport has it.

/** The longest line that is read. A file that a tool writes is in one. */
const LONGEST = 16 * 2 ** 20

/** Cuts bytes into lines. Each is told as text, or as `undefined` if it is too long or no UTF-8. */
function lines(take) {
  let pieces = []
  let length = 0
  const flush = () => {
    const bytes = Buffer.concat(pieces)
    const tooLong = length > LONGEST
    pieces = []
    length = 0
    take(tooLong ? undefined : decoded(bytes))
  }
  const add = (piece) => {
    length += piece.length
    if (length <= LONGEST) pieces.push(piece)
    else pieces = []
  }
  return (bytes) => {
    let from = 0
    for (let end = bytes.indexOf(10); end >= 0; end = bytes.indexOf(10, from)) {
      add(bytes.subarray(from, end))
      from = end + 1
      flush()
    }
    if (from < bytes.length) add(bytes.subarray(from))
  }
}

function decoded(bytes) {
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(bytes)
  } catch {
    return undefined
  }
}

/**
 * Reads messages from one stream and writes them to another. While what was written is not taken, nothing more is read:
 * whoever asks without listening fills nobody's memory. `ended` resolves when the other side has gone.
 */
function connect(input, output, take) {
  let gone
  const ended = new Promise((resolve) => {
    gone = resolve
  })
  const cut = lines(take)
  input.on('data', cut)
  for (const name of ['end', 'close', 'error']) input.on(name, gone)
  for (const name of ['close', 'error']) output.on(name, gone)
  output.on('drain', () => input.resume())
  const send = (message) => {
    if (!output.write(`${JSON.stringify(message)}\n`)) input.pause()
  }
  /** Sends what need not be known: nothing, while what was written before is not taken. */
  const mention = (message) => {
    if (!output.writableNeedDrain) send(message)
  }
  return { send, mention, ended }
}

module.exports = { connect, lines, LONGEST }
