'use strict'
// What OpenAI's agents change files with: patches, which their own `applyDiff` understands.

const { AlreadyExistsError, InvalidArgumentError } = require('../errors.js')

/** An `Editor` of files; `at` makes a path absolute. */
function editor(files, at, applyDiff) {
  const free = async (path) => {
    if (await files.exists(at(path))) throw new AlreadyExistsError(`\`${at(path)}\` is there already`)
  }
  return {
    async createFile({ path, diff }) {
      await free(path)
      await files.writeFile(at(path), applyDiff('', diff, 'create'))
      return { status: 'completed', output: `Created ${path}` }
    },
    async updateFile({ path, diff, moveTo = path }) {
      const moves = at(moveTo) !== at(path)
      if (moves) await free(moveTo)
      await files.writeFile(at(moveTo), applyDiff(await files.readFile(at(path)), diff))
      if (moves) await files.remove(at(path))
      return { status: 'completed', output: `Updated ${moveTo}` }
    },
    async deleteFile({ path }) {
      const { type } = await files.stat(at(path))
      if (type === 'directory') throw new InvalidArgumentError(`\`${at(path)}\` is a directory`)
      await files.remove(at(path))
      return { status: 'completed', output: `Deleted ${path}` }
    },
  }
}

module.exports = { editor }
