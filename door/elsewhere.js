'use strict'
// Something that code which is shared may import and look at where there is no Node.js, and not use. Plain JavaScript: no
// module of Node.js is loaded.

/** What code that merely looks at a value reads of it: frameworks at exports, `await` and `JSON.stringify` at anything. */
const LOOKED_AT = ['$$typeof', '__esModule', 'then', 'toJSON']

/** Something of this name that throws when it is called, constructed or asked for what it has. */
function elsewhere(name) {
  const use = () => {
    const error = new Error(
      `computesdk runs on Node.js, and this is a browser, an edge runtime or a worker: \`${name}\` cannot be used here. ` +
        'Move the code that uses it to your server, and call that from here. In Next.js that is a route handler, a ' +
        "server action or a server component, with `runtime = 'nodejs'`, its default.",
    )
    error.name = 'UnsupportedError'
    error.code = 'UNSUPPORTED'
    throw error
  }
  // A class: `extends` and `instanceof` are not uses yet.
  return new Proxy(class {}, {
    apply: use,
    construct: use,
    set: use,
    get(target, key) {
      if (typeof key === 'symbol' || key in target) return Reflect.get(target, key)
      return LOOKED_AT.includes(key) ? undefined : use()
    },
  })
}

module.exports = { elsewhere }
