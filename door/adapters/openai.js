'use strict'
// Sandboxes for OpenAI's agents: a `SandboxClient` and its sessions.

const { posix } = require('node:path')

const { InvalidArgumentError, UnsupportedError } = require('../errors.js')
const { Clip } = require('./clip.js')
const { Executions } = require('./executions.js')
const { editor } = require('./openai-editor.js')
const { held, optionsOf } = require('./options.js')
const { isMissing, resolved } = require('./paths.js')

/** Where a workspace is, if its manifest does not say. */
const ROOT = '/workspace'
/** Characters of output that a model is told, unless it says how many: as many as `tools` has. */
const MOST = 20_000
const CHARACTERS_PER_TOKEN = 4
const LARGEST_IMAGE = 10 * 2 ** 20

/** A client: `sandbox` is one, or a function that makes one for each session, which ends with it. */
function openaiSandbox(options) {
  const { sandbox, Manifest, applyDiff } = optionsOf('openaiSandbox', options, [
    'sandbox',
    'Manifest',
    'applyDiff',
  ])
  for (const [name, value] of Object.entries({ Manifest, applyDiff })) {
    if (typeof value === 'function') continue
    throw new InvalidArgumentError(`\`${name}\` must be that of @openai/agents`, {
      hint: "import { Manifest } from '@openai/agents/sandbox' and { applyDiff } from '@openai/agents'",
    })
  }
  if (typeof sandbox !== 'function') held(sandbox)
  return {
    backendId: 'computesdk',
    async create(args = {}) {
      // The older form has the manifest as its first argument.
      const { manifest: wanted, snapshot, options } = args instanceof Manifest ? { manifest: args } : args
      const [option] = Object.keys(options ?? {})
      if (option) throw new UnsupportedError(`the option \`${option}\` of a session is not supported`)
      if (snapshot && snapshot.type !== 'noop')
        throw new UnsupportedError('`snapshot` of a session is not supported')
      const manifest =
        wanted instanceof Manifest ? wanted : new Manifest({ root: ROOT, ...(wanted ?? undefined) })
      refused(manifest)
      const box = await held(sandbox)()
      const session = new Session(box, manifest, { applyDiff, owned: typeof sandbox === 'function' })
      try {
        await session.prepare()
      } catch (error) {
        await session.shutdown()
        throw error
      }
      return session
    },
  }
}

/** Refuses what a manifest asks for that a sandbox cannot give after it was made. */
function refused(manifest) {
  for (const name of ['users', 'groups', 'extraPathGrants']) {
    if (manifest[name]?.length > 0) throw new UnsupportedError(`\`${name}\` of a manifest is not supported`)
  }
}

class Session {
  #box
  #applyDiff
  #owned
  #executions = new Executions()

  constructor(box, manifest, { applyDiff, owned }) {
    this.#box = box
    this.#applyDiff = applyDiff
    this.#owned = owned
    this.state = { manifest, workspaceReady: false }
  }

  /** Makes the workspace as its manifest has it. */
  async prepare() {
    const { manifest } = this.state
    this.state.environment = await manifest.resolveEnvironment()
    await this.#box.filesystem.mkdir(manifest.root)
    for (const [path, entry] of Object.entries(manifest.entries)) await this.materializeEntry({ path, entry })
    this.state.workspaceReady = true
  }

  async running() {
    return (await this.#box.getInfo()).status === 'running'
  }

  async shutdown() {
    await this.#executions.end()
    if (this.#owned) await this.#box.destroy()
  }

  async exec(args) {
    noOther(args.runAs)
    const env = this.state.environment
    const options = { cwd: this.#at(args.workdir ?? '.'), ...(env && { env }) }
    return clipped(await this.#executions.begin(this.#box, args, options), args.maxOutputTokens)
  }

  async execCommand(args) {
    return said(await this.exec(args))
  }

  supportsPty() {
    return true
  }

  async writeStdin(args) {
    return said(clipped(await this.#executions.go(args), args.maxOutputTokens))
  }

  async readFile({ path, runAs, maxBytes }) {
    noOther(runAs)
    const { bytes } = await this.#read(path, maxBytes)
    return bytes
  }

  async viewImage({ path, runAs }) {
    noOther(runAs)
    const { bytes, more } = await this.#read(path, LARGEST_IMAGE)
    if (more) throw new InvalidArgumentError(`Image file exceeds the 10 MB limit: ${path}`)
    const mediaType = imageType(bytes)
    if (!mediaType) throw new InvalidArgumentError(`Unsupported image format: ${path}`)
    return { type: 'image', image: { data: Buffer.from(bytes).toString('base64'), mediaType } }
  }

  async listDir({ path, runAs }) {
    noOther(runAs)
    const entries = await this.#box.filesystem.readdir(this.#at(path))
    return entries.map(({ name, path, type }) => ({ name, path, type: type === 'directory' ? 'dir' : type }))
  }

  async pathExists(path, runAs) {
    noOther(runAs)
    return await this.#box.filesystem.exists(this.#at(path))
  }

  async directoryExists(path, runAs) {
    noOther(runAs)
    try {
      return (await this.#box.filesystem.stat(this.#at(path))).type === 'directory'
    } catch (error) {
      if (isMissing(error)) return false
      throw error
    }
  }

  async materializeEntry({ path, entry, runAs }) {
    noOther(runAs)
    for (const name of ['group', 'permissions']) {
      if (entry[name] !== undefined)
        throw new UnsupportedError(`\`${name}\` of the entry \`${path}\` is not supported`)
    }
    const { filesystem } = this.#box
    if (entry.type === 'file') return await filesystem.writeFile(this.#at(path), entry.content)
    if (entry.type !== 'dir') {
      throw new UnsupportedError(`the entry \`${path}\` of the type \`${entry.type}\` is not supported`, {
        hint: 'there are files and directories; for others, pass a function as `sandbox` that makes one with `mounts`, or fills it',
      })
    }
    await filesystem.mkdir(this.#at(path))
    for (const [name, child] of Object.entries(entry.children ?? {})) {
      await this.materializeEntry({ path: posix.join(path, name), entry: child })
    }
  }

  createEditor(runAs) {
    noOther(runAs)
    return editor(this.#box.filesystem, (path) => this.#at(path), this.#applyDiff)
  }

  async resolveExposedPort(port) {
    const { hostname, port: outside, protocol } = new URL(await this.#box.getUrl({ port }))
    const tls = protocol === 'https:'
    return { host: hostname, port: Number(outside) || (tls ? 443 : 80), tls }
  }

  #at(path) {
    return resolved(path, this.state.manifest.root)
  }

  /** At most so many bytes of a file, and whether there are more. */
  async #read(path, most = Number.POSITIVE_INFINITY) {
    const pieces = []
    let length = 0
    for await (const piece of await this.#box.filesystem.readFile(this.#at(path), { encoding: 'stream' })) {
      pieces.push(piece)
      length += piece.length
      if (length > most) break
    }
    const bytes = Buffer.concat(pieces)
    return { bytes: new Uint8Array(bytes.subarray(0, Math.min(length, most))), more: length > most }
  }
}

function noOther(user) {
  if (user !== undefined) throw new UnsupportedError(`\`runAs\` is not supported: another user, \`${user}\``)
}

function imageType(bytes) {
  const begin = Buffer.from(bytes.subarray(0, 12)).toString('latin1')
  if (begin.startsWith('\x89PNG\r\n\x1a\n')) return 'image/png'
  if (begin.startsWith('\xff\xd8\xff')) return 'image/jpeg'
  if (/^GIF8[79]a/.test(begin)) return 'image/gif'
  return /^RIFF....WEBP/s.test(begin) ? 'image/webp' : undefined
}

function clipped(result, tokens) {
  const most = tokens === undefined ? MOST : Math.max(1, tokens) * CHARACTERS_PER_TOKEN
  const clip = new Clip(most)
  clip.push(result.output)
  const cut = result.output.length > most
  return {
    ...result,
    output: `${clip}`,
    ...(cut && { originalTokenCount: Math.ceil(result.output.length / CHARACTERS_PER_TOKEN) }),
  }
}

/** A result in the words that OpenAI's own sandboxes use. */
function said({ output, wallTimeSeconds, exitCode, sessionId, originalTokenCount }) {
  const lines = [`Wall time: ${wallTimeSeconds.toFixed(4)} seconds`]
  if (sessionId !== undefined) lines.push(`Process running with session ID ${sessionId}`)
  else lines.push(`Process exited with code ${exitCode}`)
  if (originalTokenCount !== undefined) lines.push(`Original token count: ${originalTokenCount}`)
  return [...lines, 'Output:', output].join('\n')
}

module.exports = { openaiSandbox }
