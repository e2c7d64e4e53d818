// A provider of one’s own, for the tests of those.

import { local } from '../index.js'

/** As somebody would write it: in JavaScript, over sandboxes that are not ours, with `extra` in place of what those have. */
export function plugin(extra = {}) {
  const inner = local()
  const known = new Map()
  const calls = []
  const wrap = (real) => ({
    sandboxId: real.sandboxId,
    runCommand: (command, options) =>
      calls.push(['runCommand', command, options]) && real.runCommand(command, options),
    getInfo: () => real.getInfo(),
    destroy: () => known.delete(real.sandboxId) && real.destroy(),
    filesystem: real.filesystem,
    ...extra,
  })
  const sandbox = {
    async create(options) {
      calls.push(['create', options])
      const { envs, metadata, timeout, sandboxId } = options
      const made = wrap(await inner.sandbox.create({ envs, metadata, timeout, sandboxId }))
      known.set(made.sandboxId, made)
      return made
    },
    async getById(id) {
      return known.get(id) ?? null
    },
    async list() {
      return [...known.values()]
    },
    async destroy(id) {
      await known.get(id)?.destroy()
    },
  }
  return { name: 'mine', sandbox, calls, known }
}
