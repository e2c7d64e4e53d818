'use strict'
// What the package is where there is no Node.js: in browsers, edge runtimes and workers of the web. Importing is fine, and
// all names are there, line by line as in index.js; whoever uses one is told where it belongs.

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

module.exports.compute = elsewhere('compute')
module.exports.createCompute = elsewhere('createCompute')
module.exports.handleComputeRequest = elsewhere('handleComputeRequest')
module.exports.handleHttpComputeRequest = elsewhere('handleHttpComputeRequest')
module.exports.local = elsewhere('local')
module.exports.docker = elsewhere('docker')
module.exports.e2b = elsewhere('e2b')
module.exports.defineProvider = elsewhere('defineProvider')
module.exports.Compute = elsewhere('Compute')
module.exports.Sandbox = elsewhere('Sandbox')
module.exports.Filesystem = elsewhere('Filesystem')
module.exports.Terminal = elsewhere('Terminal')
module.exports.AbortError = elsewhere('AbortError')
module.exports.AlreadyExistsError = elsewhere('AlreadyExistsError')
module.exports.AuthenticationError = elsewhere('AuthenticationError')
module.exports.CodeSyntaxError = elsewhere('CodeSyntaxError')
module.exports.CommandExitError = elsewhere('CommandExitError')
module.exports.ComputeError = elsewhere('ComputeError')
module.exports.InvalidArgumentError = elsewhere('InvalidArgumentError')
module.exports.NotFoundError = elsewhere('NotFoundError')
module.exports.PermissionDeniedError = elsewhere('PermissionDeniedError')
module.exports.QuotaExceededError = elsewhere('QuotaExceededError')
module.exports.RateLimitError = elsewhere('RateLimitError')
module.exports.TimeoutError = elsewhere('TimeoutError')
module.exports.UnavailableError = elsewhere('UnavailableError')
module.exports.UnsupportedError = elsewhere('UnsupportedError')
module.exports.isCommandExitError = elsewhere('isCommandExitError')
