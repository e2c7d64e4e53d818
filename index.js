'use strict'
// The door: what only JavaScript can do around the native classes. All checking of arguments is in Rust. The exports
// stand line by line, because that is how Node finds the names of a CommonJS module.

const compute = require('./door/compute.js')
const define = require('./door/define.js')
const errors = require('./door/errors.js')
const filesystem = require('./door/filesystem.js')
const provider = require('./door/provider.js')
const request = require('./door/request.js')
const sandbox = require('./door/sandbox.js')
const server = require('./door/server.js')
const terminal = require('./door/terminal.js')

module.exports.compute = compute.compute
module.exports.createCompute = compute.createCompute
module.exports.createComputeHandler = request.createComputeHandler
module.exports.handleComputeRequest = request.handleComputeRequest
module.exports.handleHttpComputeRequest = request.handleComputeRequest
module.exports.toNodeHandler = server.toNodeHandler
module.exports.local = provider.local
module.exports.docker = provider.docker
module.exports.e2b = provider.e2b
module.exports.defineProvider = define.defineProvider
module.exports.Compute = compute.Compute
module.exports.Sandbox = sandbox.Sandbox
module.exports.Filesystem = filesystem.Filesystem
module.exports.Terminal = terminal.Terminal
module.exports.AbortError = errors.AbortError
module.exports.AlreadyExistsError = errors.AlreadyExistsError
module.exports.AuthenticationError = errors.AuthenticationError
module.exports.CodeSyntaxError = errors.CodeSyntaxError
module.exports.CommandExitError = errors.CommandExitError
module.exports.ComputeError = errors.ComputeError
module.exports.InvalidArgumentError = errors.InvalidArgumentError
module.exports.NotFoundError = errors.NotFoundError
module.exports.PermissionDeniedError = errors.PermissionDeniedError
module.exports.QuotaExceededError = errors.QuotaExceededError
module.exports.RateLimitError = errors.RateLimitError
module.exports.TimeoutError = errors.TimeoutError
module.exports.UnavailableError = errors.UnavailableError
module.exports.UnsupportedError = errors.UnsupportedError
module.exports.isCommandExitError = errors.isCommandExitError
