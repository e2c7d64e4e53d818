'use strict'
// Reading a file for a model: lines of it, in little memory, whatever its size.

const { InvalidArgumentError } = require('../errors.js')

/**
 * Lines `from` to `to` of a stream of bytes, `most` characters at most. `next` is the line to go on with if there was
 * more than that; `part` tells that even the first line was.
 */
async function linesOf(stream, { from, to, most, signal, path }) {
  const decoder = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true })
  let line = 1
  let content = ''
  /** Takes text up to the last line that is wanted; whether there is room for more. */
  const take = (text) => {
    for (let at = 0; at < text.length; ) {
      if (line > to) return false
      const end = text.indexOf('\n', at) + 1 || text.length
      if (line >= from) {
        content += text.slice(at, end)
        if (content.length > most) return false
      }
      if (text[end - 1] === '\n') line++
      at = end
    }
    return true
  }
  for await (const piece of stream) {
    signal?.throwIfAborted()
    if (!take(decoded(decoder, piece, path))) break
  }
  if (content.length <= most) {
    if (line <= to) take(decoded(decoder, undefined, path))
    return { content }
  }
  const whole = content.lastIndexOf('\n', most - 1) + 1
  if (whole > 0) return { content: content.slice(0, whole), next: from + linesIn(content.slice(0, whole)) }
  return { content: content.slice(0, most).replace(/[\uD800-\uDBFF]$/, ''), next: from + 1, part: true }
}

function linesIn(text) {
  return text.split('\n').length - 1
}

function decoded(decoder, piece, path) {
  try {
    return decoder.decode(piece, { stream: piece !== undefined })
  } catch {
    throw new InvalidArgumentError(`\`${path}\` is no text in UTF-8`, { code: 'NOT_UTF8' })
  }
}

module.exports = { linesOf }
