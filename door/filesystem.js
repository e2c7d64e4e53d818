'use strict'
// What the native class `Filesystem` becomes for its users.

const { asynchronous, hidden, methods, place } = require('./calls.js')
const { gathered, pulled } = require('./input.js')
const { Filesystem, NativeReader } = require('./load.js')
const { streamOf } = require('./stream.js')

methods(
  Filesystem.prototype,
  ['readFile', 'writeFile', 'mkdir', 'readdir', 'exists', 'stat', 'rename', 'copy', 'remove'],
  asynchronous,
)
const { readFile, writeFile } = Filesystem.prototype

hidden(Filesystem.prototype, 'readFile', async function (...args) {
  const content = await readFile.apply(this, args)
  return content instanceof NativeReader ? streamOf(content, place(this, 'readFile')) : content
})

hidden(Filesystem.prototype, 'writeFile', async function (path, content, ...rest) {
  const source = pulled('content', content, place(this, 'writeFile'))
  const given = source ? gathered(source.next) : content
  try {
    return await writeFile.call(this, path, given, ...rest)
  } finally {
    source?.close()
  }
})

module.exports = { Filesystem }
