// biome-ignore-all lint: wrong uses are wanted
// Right uses and wrong ones, for tsc alone: types.test.mjs compiles this as .mts and as .cts. It never runs.

import { createServer } from 'node:http'
import { createServer as createServer2 } from 'node:http2'

import {
  AbortError,
  AlreadyExistsError,
  AuthenticationError,
  type BackgroundCommandResult,
  type CallableCompute,
  type CodeResult,
  CodeSyntaxError,
  CommandExitError,
  type CommandResult,
  Compute,
  type ComputeConfig,
  ComputeError,
  type ComputeEvent,
  type ComputeHandler,
  type ComputeRequest,
  type ComputeRequestTrace,
  type ComputeResponse,
  type CreateSandboxOptions,
  type CreateSandboxParams,
  compute,
  createCompute,
  createComputeHandler,
  type DefinedProvider,
  type DockerConfig,
  defineProvider,
  docker,
  type E2BConfig,
  type ErrorCode,
  type ExecutionResult,
  e2b,
  type FileEntry,
  Filesystem,
  type HandleComputeRequestParams,
  handleComputeRequest,
  handleHttpComputeRequest,
  InvalidArgumentError,
  isCommandExitError,
  type Language,
  type LocalConfig,
  type LocalTemplate,
  local,
  type Mount,
  NotFoundError,
  PermissionDeniedError,
  type Process,
  type Provider,
  type ProviderDefinition,
  type ProviderPlugin,
  type ProviderRunOptions,
  type ProviderSandbox,
  QuotaExceededError,
  RateLimitError,
  type RunCodeOptions,
  type RunCommandOptions,
  type Runtime,
  Sandbox,
  type SandboxFileSystem,
  type SandboxInfo,
  type SandboxInterface,
  type SandboxList,
  type SandboxStatus,
  type SandboxTerminal,
  type SpawnedProcess,
  type SpawnOptions,
  Terminal,
  type TerminalCreateOptions,
  type TerminalSession,
  TimeoutError,
  toNodeHandler,
  UnavailableError,
  UnsupportedError,
  type WaitForPortOptions,
} from 'computesdk'
import {
  aiSandbox,
  mastraSandbox,
  openaiSandbox,
  type ReadOutput,
  type RunOutput,
  tools,
} from 'computesdk/adapters'

type Same<A, B> =
  (<T>() => T extends A ? 1 : 2) extends <T>() => T extends B ? 1 : 2 ? [] : ['the types differ']
declare function same<A, B>(...proof: Same<A, B>): void
// @ts-expect-error: `same` tells types apart
same<string, string | undefined>()

declare const sandbox: Sandbox
declare const bytes: Uint8Array
declare const text: string | undefined
declare const number: number | undefined
declare const signal: AbortSignal | undefined

export async function commands() {
  const result = await sandbox.runCommand('ls -la')
  same<typeof result, CommandResult>()
  same<ExecutionResult, CommandResult>()
  same<typeof result.truncated, true | undefined>()
  same<typeof result.timedOut, true | undefined>()
  same<typeof result.oomKilled, true | undefined>()
  const metrics = await sandbox.getMetrics()
  same<typeof metrics.memoryUsed, number>()
  same<typeof metrics.processes, number | undefined>()
  same<typeof result.signal, string | undefined>()

  const args: readonly string[] = ['-la']
  same<CommandResult, Awaited<ReturnType<typeof direct>>>()
  const direct = () => sandbox.runCommand('ls', args)
  await sandbox.runCommand('ls', ['-la'], { cwd: '/' })
  await sandbox.runCommand(['ls', '-la'])
  await sandbox.runCommand(['ls', ...args], { cwd: '/' })

  // What may be undefined may be passed on.
  const options: RunCommandOptions = {
    cwd: text,
    env: { A: text, B: 'b' },
    timeout: number,
    background: undefined,
    signal,
    onStdout: (piece) => piece.toUpperCase(),
    onStderr: undefined,
    stdin: text ?? bytes,
    user: text,
    maxOutput: number,
    throwOnError: true,
  }
  await sandbox.runCommand('env', options)
  await sandbox.runCommand('env', [], options)
  await sandbox.runCommand('env', { env: process.env })
  await sandbox.runCommand('cat', { stdin: new Blob(['a']).stream() })
  await sandbox.runCommand('cat', { stdin: process.stdin })

  const begun = await sandbox.runCommand('sleep 9', { background: true })
  same<typeof begun, BackgroundCommandResult>()
  same<typeof begun.pid, number>()
  same<typeof begun.exitCode, 0>()
  same<BackgroundCommandResult, Awaited<ReturnType<typeof began>>>()
  const began = () => sandbox.runCommand(['sleep', '9'], { background: true })
  const both = await sandbox.runCommand('sleep', ['9'], { background: text === 'yes' })
  same<typeof both, CommandResult>()

  // @ts-expect-error: no command
  await sandbox.runCommand()
  // @ts-expect-error: arguments are strings
  await sandbox.runCommand('sleep', [9])
  // @ts-expect-error: arguments are a list
  await sandbox.runCommand('ls', '-la')
  // @ts-expect-error: options come last
  await sandbox.runCommand('ls', { cwd: '/' }, ['-la'])
  // @ts-expect-error: three arguments are for the form whose command is a string
  await sandbox.runCommand(['ls'], ['-la'], { cwd: '/' })
  // @ts-expect-error: no such option
  await sandbox.runCommand('ls', { dir: '/' })
  // @ts-expect-error: milliseconds are a number
  await sandbox.runCommand('ls', { timeout: '1s' })
  // @ts-expect-error: a variable is a string
  await sandbox.runCommand('ls', { env: { PORT: 3000 } })
  // @ts-expect-error: a signal is no function
  await sandbox.runCommand('ls', { signal: () => true })
  // @ts-expect-error: output is text
  await sandbox.runCommand('ls', { onStdout: (piece: Uint8Array) => piece })
  // @ts-expect-error: that is for code
  await sandbox.runCommand('ls', { runtime: 'node' })
  // @ts-expect-error: only code has a language
  result.language
}

export async function code() {
  const result = await sandbox.runCode('print(1)')
  same<typeof result, CodeResult>()
  same<typeof result.language, 'python' | 'node'>()
  const asCommand: CommandResult = result
  const options: RunCodeOptions = { runtime: 'node', timeout: number, env: { A: text } }
  await sandbox.runCode('1', 'node')
  await sandbox.runCode('1', 'python3.9', options)
  await sandbox.runCode('1', undefined, options)
  await sandbox.runCode('1', options)
  const runtimes: Runtime[] = ['python', 'node', 'python3.12.1', 'nodejs16', 'node20', 'nodejs16.x', 'js']
  // @ts-expect-error: no such language
  await sandbox.runCode('1', 'ruby')
  // @ts-expect-error: no version
  const version: Runtime = 'python3.x.y'
  // @ts-expect-error: code is text
  await sandbox.runCode(bytes)
  return { asCommand, runtimes, version }
}

export async function files() {
  const { filesystem } = sandbox
  same<typeof filesystem, Filesystem>()
  const content = await filesystem.readFile('/a')
  same<typeof content, string>()
  same<string, Awaited<ReturnType<typeof utf8>>>()
  const utf8 = () => filesystem.readFile('/a', { encoding: 'utf8' })
  const binary = await filesystem.readFile('/a', { encoding: 'bytes' })
  same<typeof binary, Uint8Array>()
  const stream = await filesystem.readFile('/a', { encoding: 'stream' })
  same<typeof stream, ReadableStream<Uint8Array>>()
  await filesystem.writeFile('/a', 'text')
  await filesystem.writeFile('/a', bytes)
  await filesystem.writeFile('/a', Buffer.from('text'))
  await filesystem.writeFile('/a', new Blob(['text']))
  await filesystem.writeFile('/a', stream)
  async function* pieces() {
    yield 'text'
    yield bytes
  }
  await filesystem.writeFile('/a', pieces())
  const facts = await filesystem.stat('/a')
  same<typeof facts, FileEntry>()
  same<Promise<void>, ReturnType<typeof filesystem.rename>>()
  same<Promise<void>, ReturnType<typeof filesystem.copy>>()
  await filesystem.rename('/a', '/b')
  await filesystem.copy('/a', '/b')
  await sandbox.runCommand('cat', { stdin: new Blob(['text']) })
  // @ts-expect-error: two paths
  await filesystem.rename('/a')
  // @ts-expect-error: no bytes of this form
  await filesystem.writeFile('/a', new ArrayBuffer(1))
  same<Promise<void>, ReturnType<typeof filesystem.mkdir>>()
  same<Promise<void>, ReturnType<typeof filesystem.remove>>()
  same<Promise<boolean>, ReturnType<typeof filesystem.exists>>()
  const [entry] = await filesystem.readdir('/')
  same<typeof entry, FileEntry | undefined>()
  if (entry?.type === 'file') same<typeof entry.type, 'file'>()
  same<FileEntry['size'], number | undefined>()
  same<FileEntry['modified'], Date | undefined>()
  same<FileEntry['symlinkTarget'], string | undefined>()
  // @ts-expect-error: no such encoding
  await filesystem.readFile('/a', { encoding: 'latin1' })
  // @ts-expect-error: nothing to write
  await filesystem.writeFile('/a')
  // @ts-expect-error: no object
  await filesystem.writeFile('/a', { a: 1 })
  // @ts-expect-error: there are two types
  if (entry?.type === 'symlink') return
  // @ts-expect-error: an URL is no path
  await filesystem.readFile(new URL('file:///a'))
}

export async function life() {
  await using disposed = await compute.sandbox.create()
  const info = await disposed.getInfo()
  same<typeof info, SandboxInfo>()
  same<typeof info.status, SandboxStatus>()
  same<SandboxStatus, 'running' | 'stopped' | 'error'>()
  same<typeof info.createdAt, Date>()
  same<typeof info.expiresAt, Date | undefined>()
  same<typeof info.timeout, number>()
  const options: CreateSandboxOptions = { metadata: info.metadata }
  await disposed.extendTimeout(1000)
  same<Promise<string>, ReturnType<typeof disposed.getUrl>>()
  await disposed.getUrl({ port: 3000, protocol: 'wss' })
  const patience: WaitForPortOptions = { timeout: number, signal }
  same<Promise<void>, ReturnType<typeof disposed.waitForPort>>()
  await disposed.waitForPort(3000, patience)
  const provider = disposed.getProvider()
  same<typeof provider, Provider>()
  same<ReturnType<typeof provider.getSupportedRuntimes>, Language[]>()
  const plugin = disposed.getProvider<ProviderPlugin>()
  const native = disposed.getInstance<{ vm: string }>()
  same<Promise<void>, ReturnType<typeof disposed.kill>>()
  // @ts-expect-error: sandboxes are made by `create`
  new Sandbox()
  // @ts-expect-error: and so are their files
  new Filesystem()
  // @ts-expect-error: and terminals
  new Terminal()
  // @ts-expect-error: an id does not change
  disposed.sandboxId = 'other'
  // @ts-expect-error: no such status
  if (info.status === 'paused') return
  // @ts-expect-error: no such protocol
  await disposed.getUrl({ port: 3000, protocol: 'ftp' })
  // @ts-expect-error: no port
  await disposed.getUrl({})
  // @ts-expect-error: internal
  disposed.providerHandle()
  // @ts-expect-error: internal
  disposed.notYet('x')
  return { options, plugin, vm: native.vm }
}

export async function creation(provider: Provider) {
  same<typeof compute, CallableCompute>()
  const instance: Compute = compute({ provider })
  const strict: Compute = createCompute({ defaultProvider: provider, throwOnError: undefined })
  const own = new Compute()
  const params: CreateSandboxParams = {
    runtime: 'python3.9',
    timeout: number,
    sandboxId: text,
    metadata: { user: { name: 'a', tags: ['b', 1, null, true] }, left: undefined },
    envs: { A: process.env['A'] },
    signal,
    resources: { memory: number, disk: 2 ** 28, cpus: 0.5, processes: 64, enforce: undefined },
    network: 'none',
    provider,
    options: { timeout: 600_000, templateId: undefined, ports: [80], network: { allow: ['a.com'] } },
  }
  same<Sandbox, Awaited<ReturnType<typeof made>>>()
  const made = () => compute.sandbox.create(params)
  await compute.sandbox.create()
  await compute.sandbox.create({})
  await compute.sandbox.create({ provider: 'local' })
  await provider.sandbox.create({ timeout: 1000 })
  const found = await compute.sandbox.getById('id')
  same<typeof found, Sandbox | null>()
  await compute.sandbox.getById(provider, 'id')
  await compute.sandbox.list()
  await compute.sandbox.list(provider)
  await compute.sandbox.destroy(provider, 'id')
  const config: ComputeConfig | null = compute.setConfig({ provider }).getConfig()
  same<ReturnType<typeof compute.clearConfig>, CallableCompute>()
  compute.setConfig({
    providers: [provider, local()],
    providerStrategy: 'round-robin',
    fallbackOnError: false,
    throwOnError: true,
    provider: undefined,
  })
  // @ts-expect-error: an unknown sandbox is null
  found.sandboxId
  // @ts-expect-error: no such option
  await compute.sandbox.create({ timeoutMs: 1000 })
  // @ts-expect-error: a date is no JSON
  await compute.sandbox.create({ metadata: { at: new Date() } })
  // @ts-expect-error: no such network
  await compute.sandbox.create({ network: 'host' })
  // @ts-expect-error: no such language
  await compute.sandbox.create({ runtime: 'ruby' })
  // @ts-expect-error: the provider comes first
  await compute.sandbox.getById('id', provider)
  // @ts-expect-error: no id
  await compute.sandbox.destroy()
  // @ts-expect-error: a name is no provider here
  compute.setConfig({ provider: 'local' })
  // @ts-expect-error: no such strategy
  createCompute({ providerStrategy: 'random' })
  // @ts-expect-error: only `createCompute` is strict
  new Compute({}, true)
  return { instance, strict, own, config }
}

export function providers() {
  const configs: [LocalConfig, DockerConfig, E2BConfig] = [
    { timeout: number, runtime: undefined, python: text, node: text, resources: { memory: number } },
    { image: text, network: 'full' },
    { apiKey: process.env['E2B_API_KEY'], runtime: 'python', timeout: 1, templateId: text, domain: text },
  ]
  const made: Provider[] = [local(), docker(), e2b(), local(configs[0]), docker(configs[1]), e2b(configs[2])]
  // The two fields' types, as document 2 has them.
  same<E2BConfig['runtime'], 'python' | 'node' | undefined>()
  same<E2BConfig['apiKey'], string | undefined>()
  const path = '/srv'
  const mounts: Mount[] = [{ source: path, target: path, mode: 'rw', force: undefined }]
  const templates: Record<string, LocalTemplate> = { a: { rootfs: path }, b: { python: path } }
  made.push(local({ mounts, templates }), local({ mounts: undefined, templates: undefined }))
  void local().sandbox.create({ mounts, templateId: 'a' })
  // @ts-expect-error: no such mode
  local({ mounts: [{ source: path, target: path, mode: 'rwx' }] })
  // @ts-expect-error: one of the two
  local({ templates: { a: { rootfs: path, python: path } } })
  // @ts-expect-error: no such option
  local({ apikey: 'a' })
  // @ts-expect-error: no such option
  e2b({ apikey: 'a' })
  return made
}

export function plugins() {
  // The least that there can be.
  const least = {
    sandbox: {
      create: async () => ({ sandboxId: '1' }),
      getById: async (_id: string) => null,
      destroy: async (_id: string) => {},
    },
  }
  compute.setConfig({ provider: least })
  // As upstream's provider packages are: a class, other options, an older form of `runCommand`.
  class Upstream {
    readonly name = 'upstream'
    readonly sandbox = {
      create: async (_options?: { timeout?: number; templateId?: string }) => new UpstreamSandbox(),
      getById: async (_id: string): Promise<UpstreamSandbox | null> => new UpstreamSandbox(),
      list: async () => [new UpstreamSandbox()],
      destroy: async (_id: string) => {},
    }
    getSupportedRuntimes() {
      return ['python']
    }
  }
  class UpstreamSandbox {
    readonly sandboxId = '1'
    readonly provider = 'upstream'
    async runCommand(_command: string, _options?: { cwd?: string; background?: boolean }) {
      return { stdout: '', stderr: '', exitCode: 0, durationMs: 1 }
    }
    async getInfo() {
      return { id: '1', status: 'running' as const, createdAt: new Date(), timeout: 1, metadata: { a: 1 } }
    }
    async getUrl({ port }: { port: number; protocol?: string }) {
      return `https://${port}`
    }
    async destroy() {}
    readonly filesystem = {
      readFile: async (_path: string) => '',
      writeFile: async (_path: string, _content: string) => {},
      readdir: async (_path: string) => [
        { name: 'a', isDirectory: false, size: 1, lastModified: new Date() },
      ],
    }
  }
  const list: ProviderPlugin[] = [least, new Upstream(), local()]
  const ours: ProviderSandbox = sandbox
  // What only some have.
  const more: ProviderPlugin = {
    ...least,
    capabilities: { kill: true, stream: undefined },
    snapshot: {
      create: async (_sandboxId, _options) => ({ id: '1' }),
      list: async () => [],
      delete: async () => {},
    },
  }
  list.push(more)
  void compute.sandbox.create({ provider: more, providerOptions: { image: text, nested: { any: [1] } } })
  // @ts-expect-error: no such capability
  compute({ provider: { ...least, capabilities: { fly: true } } })
  // @ts-expect-error: it can neither find nor end what it makes
  compute({ provider: { sandbox: { create: async () => ({ sandboxId: '1' }) } } })
  // @ts-expect-error: its sandboxes have no id
  compute({ provider: { sandbox: { ...least.sandbox, create: async () => ({}) } } })
  return { list, ours }
}

export async function definitions() {
  const mine = defineProvider({
    name: 'mine',
    capabilities: { kill: true },
    methods: {
      sandbox: {
        create: async (config: { key: string }, options) => ({
          sandbox: { key: config.key, runtime: options?.runtime as string },
          sandboxId: '1',
        }),
        getById: async (_config, _sandboxId) => null,
        list: async () => [],
        destroy: async () => {},
        runCommand: async (sandbox, command, options) => {
          same<typeof options, ProviderRunOptions | undefined>()
          options?.onStdout?.(sandbox.key)
          return { stdout: command, stderr: new Uint8Array(), exitCode: 0, durationMs: 1 }
        },
        getInfo: async () => ({ status: 'running', createdAt: new Date(), id: '1', provider: 'mine' }),
        filesystem: {
          readFile: async (sandbox, path, _runCommand) => `${sandbox.key}${path}`,
          stat: async () => null,
        },
      },
      template: { list: async () => ['a'] },
    },
  })
  const provider: DefinedProvider = mine({ key: 'a' })
  const plain: Provider = provider
  const listed = await plain.sandbox.list()
  same<typeof listed, SandboxList>()
  same<(typeof listed)['errors'], readonly Error[]>()
  const all: Sandbox[] = listed
  await provider.template?.list?.()
  // @ts-expect-error: what it is configured with
  mine({ key: 1 })
  const { sandbox: methods } = definition.methods
  const nameless = { ...methods, create: async () => ({}) }
  // @ts-expect-error: its sandboxes have no id
  defineProvider({ name: 'a', methods: { sandbox: nameless } })
  const endless = { ...methods, runCommand: async () => ({}) }
  // @ts-expect-error: its commands have no exit code
  defineProvider({ name: 'a', methods: { sandbox: endless } })
  return all
}

declare const definition: ProviderDefinition<object>

export function failures(error: unknown) {
  if (error instanceof ComputeError) {
    same<typeof error.code, ErrorCode>()
    same<typeof error.retryable, boolean>()
    same<typeof error.hint, string | undefined>()
    same<typeof error.sandboxId, string | undefined>()
  }
  if (error instanceof CommandExitError) {
    same<typeof error.name, 'CommandExitError'>()
    same<typeof error.result.stderr, string>()
    same<typeof error.result.exitCode, number>()
    same<typeof error.result.durationMs, number | undefined>()
  }
  if (isCommandExitError(error)) same<typeof error.result.exitCode, number>()
  if (error instanceof AbortError) same<typeof error.result, CommandResult | undefined>()
  if (error instanceof CodeSyntaxError) same<typeof error.exitCode, number>()
  if (error instanceof RateLimitError) same<typeof error.retryAfterMs, number | undefined>()
  if (error instanceof InvalidArgumentError) same<typeof error.code, 'INVALID_ARGUMENT' | 'NOT_UTF8'>()
  // The classes stay apart.
  if (error instanceof NotFoundError || error instanceof TimeoutError) {
    if (error.code === 'TIMEOUT') same<typeof error, TimeoutError>()
    else same<typeof error, NotFoundError>()
  }
  const made = new CommandExitError({ exitCode: 1, stdout: '', stderr: '', error: 'exit status 1' })
  const classes = [
    AlreadyExistsError,
    AuthenticationError,
    PermissionDeniedError,
    QuotaExceededError,
    UnavailableError,
    UnsupportedError,
  ].map((type) => new type('message', { hint: text, cause: made }))
  // @ts-expect-error: an exit has an exit code
  new CommandExitError({ stdout: '', stderr: '' })
  // @ts-expect-error: nothing is known about it
  error.message
  // @ts-expect-error: errors are not changed
  made.hint = 'other'
  return classes
}

export async function handler(provider: Provider, request: Request, body: any) {
  const parsed: ComputeRequest = { action: 'compute.sandbox.filesystem.readFile', sandboxId: 'a', path: '/a' }
  same<ComputeResponse, Awaited<ReturnType<typeof answered>>>()
  const answered = () => handleComputeRequest({ request: parsed, provider })
  same<Response, Awaited<ReturnType<typeof responded>>>()
  const responded = () => handleComputeRequest({ request, provider, allowedOrigins: undefined })
  same<ComputeResponse, Awaited<ReturnType<typeof anything>>>()
  const anything = () => handleComputeRequest({ request: body })
  same<Response, Awaited<ReturnType<typeof positional>>>()
  const positional = () => handleHttpComputeRequest(request, provider, { authorize: () => true })
  await handleComputeRequest(parsed, provider)
  await handleComputeRequest(parsed, undefined, { limits: { action: number, life: undefined } })
  await handleComputeRequest(request)
  same<Response, Awaited<ReturnType<typeof opened>>>()
  const opened = () =>
    handleComputeRequest({
      request,
      authorize: async ({ headers }, action) => (action.endsWith('list') ? false : headers.get('x-user')),
      allowedActions: ['compute.sandbox.list'],
      allowedCreateOptions: ['envs', 'sandboxId'],
      createDefaults: { envs: { A: 'b', B: undefined }, resources: { memory: number } },
      onAction: (action, sandboxId) => console.log(action.length, sandboxId?.length),
      onError: async (error) => console.error(error),
    })
  await handleComputeRequest({
    request: parsed,
    authorize: (body) => body.action === 'compute.sandbox.create' && body.options?.runtime === 'python',
  })
  const answer = await answered()
  same<typeof answer.status, number>()
  if (answer.success) same<typeof answer.fileContent, string | undefined>()
  else same<typeof answer.error, string>()
  if (!answer.success && answer.code === 'TOO_LARGE') answer.error.trim()
  const limits = { concurrent: number, sandboxes: undefined }
  const reusable: ComputeHandler = createComputeHandler({
    provider,
    limits,
    authorize: ({ headers }, _action, sandboxId) =>
      headers.has('a') ? sandboxId : new Response(null, { status: 401 }),
    onAnswer: ({ action, owner, status, durationMs }: ComputeRequestTrace) =>
      console.log(action?.length, owner?.length, status + durationMs),
  })
  same<Response, Awaited<ReturnType<typeof reusable>>>()
  const { POST, OPTIONS } = createComputeHandler()
  const route: (request: Request, context: { params: Promise<{ id: string }> }) => Promise<Response> = POST
  await Promise.all([route(request, { params: Promise.resolve({ id: 'a' }) }), OPTIONS(request)])
  createServer(toNodeHandler(reusable))
  createServer2(toNodeHandler(() => new Response()))
  const event = JSON.parse(body) as ComputeEvent
  if (event.event === 'stdout' || event.event === 'stderr') same<typeof event.data.text, string>()
  else if (event.event === 'result') same<typeof event.data.success, true>()
  else same<typeof event.data.success, false>()
  // @ts-expect-error: it takes requests, and is given them later
  createComputeHandler({ request })
  // @ts-expect-error: a parsed body is what handleComputeRequest takes
  await reusable(parsed)
  const params: HandleComputeRequestParams = { request, provider: undefined }
  // @ts-expect-error: no such action
  await handleComputeRequest({ request: { action: 'compute.sandbox.explode' } })
  // @ts-expect-error: no request
  await handleComputeRequest({ provider })
  // @ts-expect-error: a body alone is not told from parameters
  await handleComputeRequest(parsed)
  // @ts-expect-error: never from a request
  await handleComputeRequest({ request, allowedCreateOptions: ['mounts'] })
  // @ts-expect-error: the client's going is told by its request
  await handleComputeRequest({ request, createDefaults: { signal } })
  return params
}

/** Processes and ports. */
export async function goingOn() {
  const child = sandbox.spawn('cat', ['-'], { cwd: '/' })
  same<typeof child, SpawnedProcess>()
  const result: CommandResult = await child
  same<typeof child.pid, number | undefined>()
  const found = await sandbox.getProcess(child.pid ?? 0)
  same<typeof found, Process | null>()
  same<Awaited<ReturnType<typeof sandbox.processes>>, Process[]>()
  for await (const piece of child) piece.trim()
  const options: SpawnOptions = {
    timeout: number,
    signal,
    stdin: text,
    maxOutput: number,
    throwOnError: true,
  }
  const both = await Promise.all([sandbox.spawn('true', options), sandbox.spawn(['true'], options)])
  same<typeof both, [CommandResult, CommandResult]>()
  const code = await child.then((result) => result.exitCode).finally(() => {})
  same<typeof code, number>()
  await child.stdin.write(bytes)
  await child.stdin.write('text')
  await child.stdin.end()
  await child.stdout.pipeTo(new WritableStream<Uint8Array>())
  const written = await new Response(child.stderr).text()
  same<Promise<CommandResult>, ReturnType<typeof child.wait>>()
  if (found) {
    same<typeof found.pid, number>()
    await found.kill('SIGTERM')
    for await (const piece of found) piece.trim()
    // What was found is no promise: it can be returned, and is waited for by name.
    const returned = async () => found
    same<Awaited<ReturnType<typeof returned>>, Process>()
    // @ts-expect-error: it is not waited for by itself
    const exit: number = (await found).exitCode
    // @ts-expect-error: a number does not change
    found.pid = exit
  }
  const begun = await sandbox.runCode('1', { background: true })
  same<typeof begun.pid, number>()
  same<typeof begun.language, Language>()
  await sandbox.waitForPort(3000, { timeout: 1 })
  // @ts-expect-error: what it starts always goes on
  sandbox.spawn('cat', { background: true })
  // @ts-expect-error: arguments are strings
  sandbox.spawn('cat', [1])
  // @ts-expect-error: a number is no text
  await child.stdin.write(1)
  // @ts-expect-error: signals have names
  await child.kill(15)
  // @ts-expect-error: a number it is
  await sandbox.getProcess('1')
  return { result, written }
}

/** Terminals. */
export async function terminals() {
  const manager: SandboxTerminal = sandbox.terminal
  const options: TerminalCreateOptions = {
    command: text,
    cols: number,
    rows: number,
    cwd: text,
    env: { TERM: text },
    onData: (data) => data.byteLength,
    onExit: (exitCode) => exitCode + 1,
  }
  const terminal = await manager.create(options)
  same<typeof terminal, Terminal>()
  const session: TerminalSession = terminal
  same<typeof terminal.status, 'running' | 'exited'>()
  same<typeof terminal.onData, ((data: Uint8Array) => void) | undefined>()
  if (terminal.exitCode !== undefined) same<typeof terminal.exitCode, number>()
  terminal.onData = (data) => data.byteLength
  terminal.onData = undefined
  terminal.onExit = (exitCode) => exitCode.toFixed()
  await terminal.write(bytes)
  await terminal.write('text')
  await terminal.resize(terminal.rows, terminal.cols)
  await manager.create()
  await manager.create({ onData: undefined, env: process.env })
  const found = await manager.getById(String(terminal.pid))
  same<typeof found, Terminal | null>()
  same<Awaited<ReturnType<typeof manager.list>>, Terminal[]>()
  same<Promise<void>, ReturnType<typeof manager.destroy>>()
  same<Promise<void>, ReturnType<typeof terminal.kill>>()
  // @ts-expect-error: a size is a number
  await manager.create({ cols: '80' })
  // @ts-expect-error: no such option
  await manager.create({ columns: 80 })
  // @ts-expect-error: what is shown is bytes
  await manager.create({ onData: (data: string) => data })
  // @ts-expect-error: a size has two sides
  await terminal.resize(80)
  // @ts-expect-error: a size changes by resize
  terminal.cols = 80
  // @ts-expect-error: only what runs is found
  found.kill()
  return session
}

/** The interfaces can be written by others. */
export function interfaces() {
  const anySandbox: SandboxInterface = sandbox
  const anyFiles: SandboxFileSystem = sandbox.filesystem
  const files: Pick<SandboxFileSystem, 'exists' | 'remove'> = {
    exists: async () => false,
    remove: async () => {},
  }
  return { anySandbox, anyFiles, files }
}

/** The shapes for frameworks; against theirs they are held by adapters-types.test.mjs. */
export async function adapters() {
  const { runCommand, runCode, readFile } = tools({ sandbox, maxOutput: 100, timeout: undefined })
  same<RunOutput, Awaited<ReturnType<typeof runCommand.execute>>>()
  same<ReadOutput, Awaited<ReturnType<typeof readFile.execute>>>()
  // @ts-expect-error: a language is needed
  await runCode.execute({ code: '1' })
  // @ts-expect-error: no such option
  tools({ sandbox, maxOutputs: 1 })
  // @ts-expect-error: a promise is no sandbox
  tools({ sandbox: Promise.resolve(sandbox) })
  const session = aiSandbox({ sandbox: () => sandbox })
  same<Uint8Array | null, Awaited<ReturnType<typeof session.readBinaryFile>>>()
  // @ts-expect-error: its input is closed
  ;(await session.spawn({ command: 'cat' })).stdin
  await mastraSandbox({ sandbox: async () => sandbox, id: 'one' }).executeCommand('echo', ['a'], {
    cwd: '/tmp',
  })
  // @ts-expect-error: what is theirs has to be handed over
  openaiSandbox({ sandbox })
}
