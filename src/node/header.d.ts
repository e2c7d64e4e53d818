// What napi cannot say: overloads, literal types, the error classes, and what the door adds.
// scripts/types.mjs puts it together with what is generated from the Rust classes. One file, however long: napi
// takes one header, and a user's editor shows one file of declarations.
// biome-ignore-all lint/suspicious/noExplicitAny: what a plug-in takes is its own affair

/** A language that a sandbox runs. */
export type Language = 'python' | 'node'

/** A version as it ends the name of a runtime: `3`, `3.9`, `3.12.1`, `16.x`. */
export type RuntimeVersion = `${number}` | `${number}.${number}` | `${number}.x`

/**
 * A language, with or without a version: `'python'`, `'python3.9'`, `'nodejs16'`. The family is binding; a version
 * that the sandbox does not have falls back to the family's default, which `getInfo().runtime` names.
 */
export type Runtime =
  | Language
  | 'nodejs'
  | 'javascript'
  | 'js'
  | `${'python' | 'node' | 'nodejs'}${RuntimeVersion}`

/** Whether a sandbox lives. `error`: it ended by itself, and `reason` tells why. */
export type SandboxStatus = 'running' | 'stopped' | 'error'

/** What survives JSON unchanged. */
export type JsonValue = string | number | boolean | null | readonly JsonValue[] | JsonObject

/** An object that survives JSON unchanged; `undefined` is left out. */
export interface JsonObject {
  readonly [key: string]: JsonValue | undefined
}

export interface CommandResult {
  /** Its number in the sandbox. Only with `background`. */
  pid?: number
  /** Only with `background`. */
  isBackground?: true
}

/**
 * What `runCommand` gives with `background: true`: the command has begun and goes on. Of a {@link ProviderPlugin} that does
 * not tell it, `pid` is not there.
 */
export interface BackgroundCommandResult extends CommandResult {
  pid: number
  isBackground: true
  exitCode: 0
}

/** What `runCode` gives with `background: true`. */
export interface BackgroundCodeResult extends CodeResult {
  pid: number
  isBackground: true
  exitCode: 0
}

/** What came of a piece of code. */
export interface CodeResult extends CommandResult {
  /** `stdout`, then `stderr`. */
  output: string
  /** The language that the code was run as. */
  language: Language
  /** With `context`: what the code gave, such as the value of its last line and its charts. */
  results?: CodeOutput[]
}

/**
 * Something that a piece of code gave, in every kind that its interpreter has for it. Pictures and PDF are base64;
 * `data` has the columns of a table, and `chart` what a chart was drawn from.
 */
export interface CodeOutput {
  /** As a terminal shows it. */
  text?: string
  /** HTML. */
  html?: string
  /** Markdown. */
  markdown?: string
  /** A drawing, as XML. */
  svg?: string
  /** A picture, in base64. */
  png?: string
  /** A picture, in base64. */
  jpeg?: string
  /** A document, in base64. */
  pdf?: string
  /** LaTeX. */
  latex?: string
  /** Data. */
  json?: JsonObject
  /** A script for a browser. */
  javascript?: string
  /** A table, by its columns. */
  data?: Record<string, unknown[]>
  /** What a chart was drawn from. */
  chart?: JsonObject
  /** Whether it is the value of the last line. */
  isMain: boolean
}

/** The older name of {@link CommandResult}. */
export type ExecutionResult = CommandResult

/** Options of `sandbox.runCommand`. A key that is not among them raises `InvalidArgumentError`. */
export interface RunCommandOptions {
  /** Absolute path of the working directory. Default: `/home/user`. A missing one raises `NotFoundError`. */
  cwd?: string | undefined
  /** Environment variables; they lie over the sandbox's `envs`. `undefined`: not given. */
  env?: Readonly<Record<string, string | undefined>> | undefined
  /**
   * Time limit in ms, after which the command and all that it started are killed and the result has `timedOut: true`
   * and exit code 124. Default, and `0`: the life of the sandbox. Where a provider cannot end a command, it is no longer
   * waited for: the result has `abandoned: true` as well.
   */
  timeout?: number | undefined
  /**
   * Resolve as soon as the command has begun, and let it go on: until it ends, its `timeout` or `signal` ends it, or
   * the sandbox ends. `getProcess(pid)` finds it again. Callbacks go on as well.
   */
  background?: boolean | undefined
  /**
   * Kills the command and all that it started. The call rejects with an `AbortError` that has the signal's reason in
   * `cause` and the output so far in `result`.
   */
  signal?: AbortSignal | undefined
  /**
   * Takes standard output as it arrives; a character is never split. The command is read further when it has returned.
   * What it throws ends the command, and the call rejects with it.
   */
  onStdout?: ((text: string) => void) | undefined
  /** Takes standard error, likewise. */
  onStderr?: ((text: string) => void) | undefined
  /** What the command reads. Default: nothing, its input is at its end. */
  stdin?: string | Uint8Array | ReadableStream | Blob | AsyncIterable<string | Uint8Array> | undefined
  /** Who runs it: `'user'` (the default) on the local provider; another raises `UnsupportedError` there. */
  user?: string | undefined
  /**
   * Bytes of each stream that the result keeps. Default: 67108864 (64 MiB). Beyond it the result has
   * `truncated: true`; reading and callbacks go on.
   */
  maxOutput?: number | undefined
  /**
   * Whether an exit code other than 0 raises `CommandExitError`. Default of `runCommand`: what the instance that the
   * sandbox came from is set to: `true` for those of `createCompute()`, else `false`. Default of `runCode`: `false`.
   */
  throwOnError?: boolean | undefined
}

/** Options of `sandbox.runCode`. */
export interface RunCodeOptions extends RunCommandOptions {
  /** The language. Default: the sandbox's `runtime`, else what the code looks like. */
  runtime?: Runtime | undefined
  /**
   * The name of an interpreter that keeps its state: the code sees the variables of all code that ran in it before. It is
   * made when it is first named, one for each language, and its `cwd` is that of the first code. An exception that
   * nothing catches is a result with exit code 1. Raises `UnsupportedError` where there are none, and with `stdin`,
   * `user` or `background`.
   */
  context?: string | undefined
}

/** Options of `sandbox.waitForPort`. */
export interface WaitForPortOptions {
  /** How long to wait, in ms. Default: 30000. `0`: the life of the sandbox. */
  timeout?: number | undefined
  /** Gives up: the call rejects with `AbortError`. */
  signal?: AbortSignal | undefined
}

/** Limits of a sandbox. */
export interface ResourceLimits {
  /** Bytes of memory. Local default: 2147483648 (2 GiB). What is killed for want of it says `oomKilled: true`. */
  memory?: number | undefined
  /** Bytes of files. Local default: 1 GiB, and half of `memory` at most, as files are held in memory. */
  disk?: number | undefined
  /** Processors, fractions included. Default: all. */
  cpus?: number | undefined
  /** Processes and threads at once. Local default: 256. */
  processes?: number | undefined
  /**
   * Raise `UnsupportedError` where the limits cannot be enforced for the sandbox as a whole, but only for each of its
   * processes. `getInfo().limits.enforcement` tells which.
   */
  enforce?: boolean | undefined
}

/**
 * What of the network a sandbox reaches: nothing, every public host, or these hosts.
 *
 * `allow` lists names, exact (`'example.com'`) or all below one (`'*.example.com'`, without `example.com` itself), and
 * addresses. Each may have a port (`'example.com:8080'`); without one it is allowed at 80 and 443. On the local provider
 * see `docs/network.md`: what of it programs need a proxy for, which they are told of in their environment.
 */
export type NetworkAccess = 'none' | 'full' | { readonly allow: readonly string[] }

/**
 * A directory of this machine that a sandbox sees, or a file. Inside it belongs to the sandbox's user, whoever owns it
 * here.
 */
export interface Mount {
  /** Absolute path on this machine; links are followed. One that is not there raises `NotFoundError`. */
  source: string
  /** Absolute path in the sandbox, made if it is missing. Not `/`, `/usr`, `/etc`, `/proc`, `/sys`, `/dev` and their like. */
  target: string
  /**
   * `'ro'`: it can be read. `'rw'`: it can be changed too, and what the sandbox makes belongs to the owner of `source`.
   * `'copy'`, of a directory: it can be changed, but what is written stays in the sandbox, counts for its `disk` and ends
   * with it.
   */
  mode: 'ro' | 'rw' | 'copy'
  /**
   * Mount it even if it is a place that holds secrets: `/`, `/etc`, `/home`, a home directory, `.ssh`, what contains
   * `.npmrc`, and so on. Without it that raises `PermissionDeniedError`, which says why.
   */
  force?: boolean | undefined
}

/**
 * What local sandboxes can be made from: a folder that is their root, below a layer of their own, or the programs of this
 * machine with another Python. That of a virtual environment brings its packages.
 */
export type LocalTemplate = { rootfs: string; python?: undefined } | { python: string; rootfs?: undefined }

/**
 * Options of a new sandbox. One that the provider cannot honour raises `UnsupportedError`, a key that is not among them
 * `InvalidArgumentError`.
 */
export interface CreateSandboxOptions {
  /** Its language, unless a call of `runCode` names one. Default: told from the code. */
  runtime?: Runtime | undefined
  /** Its life in ms. Default: the provider's `timeout`, else 300000 (5 minutes). `0`: until it is destroyed, where that can be. */
  timeout?: number | undefined
  /**
   * Its id: 1 to 128 letters, digits, `-`, `_` and `.`. One that is taken raises `AlreadyExistsError`. Default: a
   * random one.
   */
  sandboxId?: string | undefined
  /**
   * What it is made from: at E2B a template or a snapshot, by its id or name; on the local provider a snapshot likewise,
   * or one of its `templates`, by its name. One that is not there raises `NotFoundError`.
   */
  templateId?: string | undefined
  /** Data of yours; `getInfo().metadata` gives it back. JSON values only; at E2B strings only. */
  metadata?: JsonObject | undefined
  /**
   * The host name, or IP address, in its URLs. Local default: `127.0.0.1`, where they lead in any case. At E2B: the domain
   * that it is made at, in place of the configured one.
   */
  domain?: string | undefined
  /** Environment variables of everything that runs in it. `undefined`: not set. */
  envs?: Readonly<Record<string, string | undefined>> | undefined
  /** Ports to be reached from outside from the beginning. On the local provider `getUrl` reaches any other too. */
  ports?: readonly number[] | undefined
  /** Gives up: the call rejects with `AbortError`, and nothing is left behind. */
  signal?: AbortSignal | undefined
  /** Its limits. At E2B the template decides: all but `enforce` reject with `UnsupportedError`. */
  resources?: ResourceLimits | undefined
  /**
   * What of the network it reaches. Default: `'none'`; at E2B `'full'`.
   *
   * An entry of `allow` that is no host raises `InvalidArgumentError`, which names it.
   */
  network?: NetworkAccess | undefined
  /**
   * Options that only a {@link ProviderPlugin} knows, JSON values, given to its `create` beside the others, which win. Our
   * own providers reject with `UnsupportedError`.
   */
  providerOptions?: Readonly<Record<string, unknown>> | undefined
  /**
   * What of this machine it sees, besides the provider's own `mounts`. On the local provider only: others reject with
   * `UnsupportedError`. Never what a request asks for.
   */
  mounts?: readonly Mount[] | undefined
}

/** Which sandboxes to list. */
export interface ListOptions {
  /** Those whose metadata has all of this. */
  metadata?: JsonObject | undefined
  /** Those in this state. Default: all that have not ended. */
  status?: 'running' | 'stopped' | undefined
}

/** What `compute.sandbox.create` takes: options, flat or nested; the flat ones win. */
export interface CreateSandboxParams extends CreateSandboxOptions {
  /** Where to make it: a provider, or the name of a configured one. Default: as configured. */
  provider?: ProviderPlugin | string | undefined
  /** The same options, nested. */
  options?: CreateSandboxOptions | undefined
}

export interface Sandbox {
  /**
   * Begins a command line in the sandbox's shell, and lets it go on. Never raises `CommandExitError`.
   *
   * @example
   * ```ts
   * const { pid } = await sandbox.runCommand('python3 -m http.server 8000', { background: true })
   * const server = await sandbox.getProcess(pid)
   * ```
   */
  runCommand(
    command: string,
    options: RunCommandOptions & { background: true },
  ): Promise<BackgroundCommandResult>
  /**
   * Runs a command line in the sandbox's shell (`bash`, else `sh`), with pipes, redirects and `&&`, and waits for its
   * end.
   *
   * An exit code other than 0 is a result, and so is a program that is not there (127); see `throwOnError`. Raises
   * `NotFoundError` if `cwd` or the sandbox is gone, `AbortError`, `InvalidArgumentError`.
   *
   * @example
   * ```ts
   * const { stdout, exitCode } = await sandbox.runCommand('sort names.txt | uniq -c', {
   *   cwd: '/data',
   *   timeout: 30_000,
   * })
   * ```
   */
  runCommand(command: string, options?: RunCommandOptions): Promise<CommandResult>
  /**
   * Begins a program with exactly these arguments, and lets it go on.
   */
  runCommand(
    command: string,
    args: readonly string[],
    options: RunCommandOptions & { background: true },
  ): Promise<BackgroundCommandResult>
  /**
   * Runs a program with exactly these arguments, without a shell: nothing needs to be quoted.
   *
   * @example
   * ```ts
   * const { stdout } = await sandbox.runCommand('grep', ['-c', "it's $HOME", '/data/log.txt'])
   * ```
   */
  runCommand(command: string, args: readonly string[], options?: RunCommandOptions): Promise<CommandResult>
  /**
   * Begins a program with exactly these arguments, and lets it go on.
   */
  runCommand(
    commandAndArgs: readonly string[],
    options: RunCommandOptions & { background: true },
  ): Promise<BackgroundCommandResult>
  /** Runs a program, the first of the list, with exactly the rest as its arguments, without a shell. */
  runCommand(commandAndArgs: readonly string[], options?: RunCommandOptions): Promise<CommandResult>

  /** Begins source code, and lets it go on. */
  runCode(code: string, options: RunCodeOptions & { background: true }): Promise<BackgroundCodeResult>
  /**
   * Runs source code. Without a runtime the language is the sandbox's, else told from the code.
   *
   * An exception of the code is a result, with its traceback in `stderr`. Raises `CodeSyntaxError` for source that does
   * not parse, and what `runCommand` raises. Node.js code is an ES module if it has `import`, `export` or a top-level
   * `await`, else CommonJS.
   *
   * @example
   * ```ts
   * const { stdout, language } = await sandbox.runCode('print(6 * 7)')
   * console.log(language, stdout)
   * ```
   */
  runCode(code: string, options?: RunCodeOptions): Promise<CodeResult>
  /**
   * Runs source code in a language.
   *
   * @example
   * ```ts
   * const { stdout } = await sandbox.runCode('console.log(6 * 7)', 'node', { timeout: 5_000 })
   * ```
   */
  runCode(code: string, runtime: Runtime | undefined, options?: RunCodeOptions): Promise<CodeResult>

  /** Its terminals. */
  readonly terminal: SandboxTerminal

  /** The provider that it came from: ours, or the plug-in's own object. */
  getProvider<P extends ProviderPlugin = Provider>(): P
  /**
   * The provider's own object for it: what `getInstance` of a plug-in's sandbox gives, else the plug-in's sandbox. Of
   * our providers, the sandbox itself.
   */
  getInstance<T extends object = Sandbox>(): T

  /**
   * Starts a command line in the sandbox's shell and gives it at once, to be read, written to, ended, or waited for:
   * awaiting it gives its result.
   *
   * Its input is open until `stdin.end()`, unless `stdin` is given. What nobody reads is not waited for: the latest
   * `maxOutput` bytes of each stream (default: 1 MiB) are kept, and are what the result has. It ends with the sandbox.
   *
   * Throws `InvalidArgumentError`. That it could not be started is told by awaiting it or reading it.
   *
   * @example
   * ```ts
   * const child = sandbox.spawn('sort')
   * await child.stdin.write('b\na\n')
   * await child.stdin.end()
   * for await (const text of child) console.log(text)
   * const { exitCode } = await child
   * ```
   */
  spawn(command: string, options?: SpawnOptions): SpawnedProcess
  /** Starts a program with exactly these arguments, without a shell. */
  spawn(command: string, args: readonly string[], options?: SpawnOptions): SpawnedProcess
  /** Starts a program, the first of the list, with exactly the rest as its arguments, without a shell. */
  spawn(commandAndArgs: readonly string[], options?: SpawnOptions): SpawnedProcess
  /**
   * Finds a process that `spawn` or `background` has started, by its number; `null` if there is none. The latest 64 that
   * have ended are found too.
   *
   * @example
   * ```ts
   * const found = await sandbox.getProcess(42)
   * if (found) await found.kill('SIGTERM')
   * ```
   */
  getProcess(pid: number): Promise<Process | null>
  /** Lists what `spawn` and `background` have started and still runs. */
  processes(): Promise<Process[]>

  /** Destroys it at the end of an `await using` block. Needs a Node.js that has `Symbol.asyncDispose`. */
  [Symbol.asyncDispose](): Promise<void>
}

/** What a {@link Sandbox} can do, for code that takes any implementation of it. */
export interface SandboxInterface extends Sandbox {}

export interface Filesystem {
  /**
   * Reads a file as text.
   *
   * Raises `NotFoundError` (`File not found: <path>`), and `InvalidArgumentError` (code `NOT_UTF8`) if it is no UTF-8.
   * Directories, pipes, sockets and devices are refused.
   *
   * @example
   * ```ts
   * const settings = JSON.parse(await sandbox.filesystem.readFile('/app/settings.json'))
   * ```
   */
  readFile(path: string, options?: { encoding?: 'utf8' | 'utf-8' | undefined }): Promise<string>
  /**
   * Reads a file as bytes.
   *
   * @example
   * ```ts
   * const image = await sandbox.filesystem.readFile('/out/chart.png', { encoding: 'bytes' })
   * console.log(image.byteLength)
   * ```
   */
  readFile(path: string, options: { encoding: 'bytes' }): Promise<Uint8Array>
  /**
   * Opens a file and gives its bytes piece by piece, each when it is asked for, at most 1 MiB at a time. So a file of
   * any size takes little memory here.
   *
   * What `readFile` raises, it raises before there is a stream. If the sandbox ends meanwhile, the stream fails with
   * `NotFoundError`. The file stays open until the stream has come to its end or is cancelled.
   *
   * @example
   * ```ts
   * const video = await sandbox.filesystem.readFile('/out/video.mp4', { encoding: 'stream' })
   * const answer = new Response(video, { headers: { 'content-type': 'video/mp4' } })
   * ```
   */
  readFile(path: string, options: { encoding: 'stream' }): Promise<ReadableStream<Uint8Array>>

  /**
   * Writes a file, and makes the directories above it. What was in it is replaced; a failed write leaves it as it was.
   *
   * Raises `InvalidArgumentError` if the path is not absolute, `PermissionDeniedError`, `QuotaExceededError` if the
   * disk is full.
   *
   * @example
   * ```ts
   * await sandbox.filesystem.writeFile('/app/settings.json', JSON.stringify({ port: 3000 }))
   * await sandbox.filesystem.writeFile('/app/key.bin', new Uint8Array([1, 2, 3]))
   * ```
   */
  writeFile(path: string, content: string | Uint8Array): Promise<void>
  /**
   * Writes a file piece by piece: what a web stream, a blob, a stream of Node or any other async iterable gives, in
   * strings and `Uint8Array`s. It is asked for more when that is written.
   *
   * The file is replaced when the source has come to its end. A source that fails leaves the old content, and the call
   * rejects with what it failed with; one that is not read to its end is closed, as `for await` would.
   *
   * @example
   * ```ts
   * await sandbox.filesystem.writeFile('/data/blob', new Blob(['text and ', new Uint8Array([255])]))
   * await sandbox.filesystem.writeFile('/data/numbers.txt', lines())
   * async function* lines() {
   *   for (let number = 0; number < 1_000_000; number++) yield `${number}\n`
   * }
   * ```
   */
  writeFile(path: string, content: ReadableStream | Blob | AsyncIterable<string | Uint8Array>): Promise<void>
}

/** What a {@link Filesystem} can do, for code that takes any implementation of it. */
export interface SandboxFileSystem extends Filesystem {}

/** Options of `sandbox.spawn`. */
export type SpawnOptions = Omit<RunCommandOptions, 'background'>

/**
 * A process that goes on, found by `getProcess` or started by `spawn`.
 *
 * Iterated over, it gives the text of both streams as it comes; a character is never split. Whoever reads what it
 * started with `spawn` gets everything: the process waits for a slow reader, as it would for a pipe. A process that was
 * found waits for nobody: a reader that is more than 1 MiB behind misses something.
 */
export interface Process extends AsyncIterable<string> {
  /** Its number in the sandbox. */
  readonly pid: number
  /**
   * What it reads, in the order of the calls, whether or not they are waited for. `write` raises `UnavailableError` when
   * it no longer reads.
   */
  readonly stdin: { write(data: string | Uint8Array): Promise<void>; end(): Promise<void> }
  /** Its standard output, from the latest that is kept on. Whoever gets it reads it; `cancel()` it to stop. */
  readonly stdout: ReadableStream<Uint8Array>
  /** Its standard error, likewise. */
  readonly stderr: ReadableStream<Uint8Array>
  /** Waits for its end. The result has the latest of its output. */
  wait(): Promise<CommandResult>
  /**
   * `'SIGKILL'`, the default, ends it and all that it started; any other signal goes to the process itself. One that has
   * ended is fine.
   */
  kill(signal?: string): Promise<void>
}

/** A process that `spawn` has just begun. Awaiting it gives its result. */
export interface SpawnedProcess extends Omit<Process, 'pid'>, Promise<CommandResult> {
  /** Its number in the sandbox, once it has been started. */
  readonly pid: number | undefined
}

/** The terminals of a sandbox. 64 can be open at once on the local provider. */
export interface SandboxTerminal {
  /**
   * Opens a terminal and runs a command in it.
   *
   * Raises `NotFoundError` if `cwd` is not there, `QuotaExceededError` if too many are open, and
   * `InvalidArgumentError`.
   *
   * @example
   * ```ts
   * const shell = await sandbox.terminal.create({
   *   command: 'bash',
   *   onData: (data) => process.stdout.write(data),
   *   onExit: (exitCode) => console.log('it has ended', exitCode),
   * })
   * await shell.write('echo "Hello Terminal!"\n')
   * await shell.resize(120, 30)
   * await shell.kill()
   * ```
   */
  create(options?: TerminalCreateOptions): Promise<Terminal>
  /** Lists those that run. */
  list(): Promise<Terminal[]>
  /** Finds one that runs, by its id or by the number of its process as text; `null` if there is none. */
  getById(id: string): Promise<Terminal | null>
  /** Ends one. One that is gone is fine. */
  destroy(id: string): Promise<void>
}

/** Options of a new terminal. */
export interface TerminalCreateOptions {
  /** What runs in it, a line for the shell. Default: the login shell. */
  command?: string | undefined
  /** Width in characters. Default: 80. */
  cols?: number | undefined
  /** Height in lines. Default: 24. */
  rows?: number | undefined
  /** Environment variables; they lie over the sandbox's `envs`. `TERM` is `xterm-256color` unless given. */
  env?: Readonly<Record<string, string | undefined>> | undefined
  /** Absolute path of the working directory. Default: `/home/user`. A missing one raises `NotFoundError`. */
  cwd?: string | undefined
  /** Takes what it shows, as it comes. A piece ends where a character does. */
  onData?: ((data: Uint8Array) => void) | undefined
  /** Takes the exit code, after the last of what it shows. */
  onExit?: ((exitCode: number) => void) | undefined
}

/** What a {@link Terminal} can do. */
export interface TerminalSession {
  /** Its id, for `getById`. */
  readonly id: string
  /** The number of its process in the sandbox. */
  readonly pid: number
  /** What runs in it, as it was given. */
  readonly command: string
  /** Whether it runs. */
  readonly status: 'running' | 'exited'
  /** Once it has exited. */
  readonly exitCode?: number
  /** Width in characters. */
  readonly cols: number
  /** Height in lines. */
  readonly rows: number
  /**
   * Takes what it shows, as it comes. Setting it replaces the one before; what came before the first one is kept, the
   * latest 1 MiB of it.
   */
  onData: ((data: Uint8Array) => void) | undefined
  /** Takes the exit code, once. Setting it replaces the one before; set after the exit, it is told as well. */
  onExit: ((exitCode: number) => void) | undefined
  /**
   * Types into it, in the order of the calls, whether or not they are waited for. One that has ended raises
   * `NotFoundError`.
   */
  write(data: string | Uint8Array): Promise<void>
  /** Changes its size; what runs in it is told (`SIGWINCH`). One that has ended raises `NotFoundError`. */
  resize(cols: number, rows: number): Promise<void>
  /**
   * Ends it: everything that runs in it is told that the terminal is gone (`SIGHUP`), and killed if it is still there
   * after a second. One that has ended is fine.
   */
  kill(): Promise<void>
}

export interface Terminal extends TerminalSession {}

/**
 * A terminal of a sandbox, from `sandbox.terminal.create()`. It goes on until it ends, whether or not anything holds
 * it, and does not keep this process alive.
 */
export declare class Terminal {
  private constructor()
}

/**
 * Sandboxes of one provider or of several. What those have that could not answer is not in it, and why is in `errors`.
 */
export interface SandboxList extends Array<Sandbox> {
  /** Why some of several providers could not answer, each with its `provider`. If none can, `list` raises. */
  readonly errors: readonly Error[]
}

/** The sandboxes of one provider. They do not raise `CommandExitError` unless a call's `throwOnError` says so. */
export interface ProviderSandboxes {
  /** Makes a sandbox, ready for commands. */
  create(options?: CreateSandboxOptions): Promise<Sandbox>
  /** Finds a living sandbox; `null` if there is none of this id. */
  getById(sandboxId: string): Promise<Sandbox | null>
  /** Lists the living sandboxes. */
  list(options?: ListOptions): Promise<SandboxList>
  /** Ends a sandbox. One that is gone, or never was, is fine. */
  destroy(sandboxId: string): Promise<void>
}

/**
 * The snapshots of a provider. Each call raises `UnsupportedError` where it can have none. Those of `local` belong to the
 * process, as its sandboxes do.
 */
export interface ProviderSnapshots {
  /** Lists them all. */
  list(): Promise<Snapshot[]>
  /** Deletes one. One that is gone, or never was, is fine; one that sandboxes still use is not. */
  delete(id: string): Promise<void>
}

/**
 * A place that makes sandboxes, as {@link local}, {@link docker} and {@link e2b} give it: to configure `compute` with,
 * or to use directly.
 */
export interface Provider {
  /** `'local'`, `'docker'` or `'e2b'`. */
  readonly name: string
  /** Its sandboxes. */
  readonly sandbox: ProviderSandboxes
  /** What `sandbox.snapshot()` has kept. */
  readonly snapshots: ProviderSnapshots
  /** The languages that its sandboxes can run. */
  getSupportedRuntimes(): Language[]
}

/**
 * A provider of your own, or one of another package, such as `@computesdk/modal`: any object that can make, find and end
 * sandboxes. Everything else is built on these, or refused by name; see `docs/plugins.md`.
 *
 * @example
 * ```ts
 * const mine: ProviderPlugin = {
 *   name: 'mine',
 *   sandbox: {
 *     create: async () => ({
 *       sandboxId: 'one',
 *       runCommand: async (command) => ({ stdout: command, stderr: '', exitCode: 0 }),
 *     }),
 *     getById: async () => null,
 *     destroy: async () => {},
 *   },
 * }
 * const echo = await compute.sandbox.create({ provider: mine })
 * ```
 */
export interface ProviderPlugin {
  /** Default: `plugin`. */
  readonly name?: string | undefined
  /** How it makes, finds and ends sandboxes. */
  readonly sandbox: {
    create(options?: any): Promise<ProviderSandbox>
    getById(sandboxId: string): Promise<ProviderSandbox | null>
    destroy(sandboxId: string): Promise<unknown>
    list?(): Promise<ProviderSandbox[]>
  }
  /** How it keeps and lists snapshots: what `sandbox.snapshot()` does. */
  readonly snapshot?: {
    create?(sandboxId: string, options?: any): Promise<ProviderSnapshot>
    list?(): Promise<readonly ProviderSnapshot[]>
    delete?(snapshotId: string): Promise<unknown>
  }
  /** What its sandboxes can do that nobody could find out. */
  readonly capabilities?: ProviderCapabilities | undefined
}

/** What a provider says of itself. */
export interface ProviderCapabilities {
  /**
   * Its `runCommand` gets a `signal`, and when that is aborted it ends the command with all that came of it, and settles.
   * Without it a command that takes longer than its `timeout`, or is aborted, is `abandoned`.
   */
  kill?: boolean | undefined
  /**
   * Its `runCommand` gets `onStdout` and `onStderr`, and calls them as output comes. What they were told is the beginning
   * of what the result has, or all of it. Without it callbacks are told all output when the command has ended.
   */
  stream?: boolean | undefined
}

/** A snapshot of a {@link ProviderPlugin}. */
export interface ProviderSnapshot {
  /** What a sandbox is made from it by. */
  readonly id: string
}

/** A sandbox of a {@link ProviderPlugin}. A method that it lacks is built on `runCommand`, or refused by name. */
export interface ProviderSandbox {
  /** What `getById` finds it by. */
  readonly sandboxId: string
  /**
   * Runs a line in a POSIX shell. `options` may have `timeout`, and `background`; never `cwd` and `env`, which are part
   * of the line.
   */
  runCommand?(command: string, options?: any): Promise<ProviderResult>
  /** The facts about it. */
  getInfo?(): Promise<ProviderInfo>
  /** A URL at which a port of it is reached. */
  getUrl?(options: { port: number; protocol?: any }): Promise<string>
  /** Lets it live longer. */
  extendTimeout?(ms: number): Promise<unknown>
  /** Ends it. Default: the plug-in's `sandbox.destroy`. */
  destroy?(): Promise<unknown>
  /** What `getInstance` of the {@link Sandbox} gives. Default: this object. */
  getInstance?(): unknown
  /** Its files. */
  readonly filesystem?: {
    readFile?(path: string): Promise<string | Uint8Array>
    writeFile?(path: string, content: string): Promise<unknown>
    mkdir?(path: string): Promise<unknown>
    readdir?(path: string): Promise<readonly { name: string }[]>
    exists?(path: string): Promise<boolean>
    remove?(path: string): Promise<unknown>
  }
}

/** What came of a command of a {@link ProviderPlugin}. */
export interface ProviderResult {
  /** Standard output. Not there: nothing. */
  readonly stdout?: string | Uint8Array | undefined
  /** Standard error. Not there: nothing. */
  readonly stderr?: string | Uint8Array | undefined
  /** The exit code, a whole number. Not there: an error. */
  readonly exitCode: number
  /** With `background`: its number in the sandbox. */
  readonly pid?: number | undefined
}

/** The facts about a sandbox of a {@link ProviderPlugin}. */
export interface ProviderInfo {
  /** `'running'`, `'stopped'` or `'error'`; anything else is an error. */
  readonly status: string
  /** When it was made. Not there: when it was made here, or refused. */
  readonly createdAt?: Date | string | number | undefined
  /** Its life in ms. */
  readonly timeout?: number | undefined
  /** When it will end. */
  readonly expiresAt?: Date | string | number | undefined
  /** What was given at creation. */
  readonly metadata?: object | undefined
}

/**
 * What `defineProvider` makes a provider of: the same as `defineProvider` of `@computesdk/provider` takes. `TSandbox` is
 * your object for a sandbox, `TConfig` what the provider is configured with.
 */
export interface ProviderDefinition<TSandbox, TConfig = any> {
  /** What `sandbox.provider` is. */
  name: string
  /** What it does. */
  methods: {
    sandbox: SandboxMethods<TSandbox, TConfig>
    /** What `sandbox.snapshot()` and `provider.snapshots` do. */
    snapshot?: SnapshotMethods<TConfig> | undefined
    /** Given to users as it is, as `provider.template`. */
    template?: TemplateMethods<TConfig> | undefined
  }
  /** What its sandboxes can do that nobody could find out. */
  capabilities?: ProviderCapabilities | undefined
}

/** How a provider makes, finds and ends sandboxes, and what they can do. What is left out is built on `runCommand`, or refused. */
export interface SandboxMethods<TSandbox, TConfig = any> {
  /** Makes one; `options` are those of `create`, `providerOptions` among them. */
  create(config: TConfig, options?: any): Promise<{ sandbox: TSandbox; sandboxId: string }>
  /** `null` only if there is no such sandbox; what else goes wrong, it throws. */
  getById(config: TConfig, sandboxId: string): Promise<{ sandbox: TSandbox; sandboxId: string } | null>
  /** Those that live. */
  list?(config: TConfig): Promise<{ sandbox: TSandbox; sandboxId: string }[]>
  /** Ends it, and all that runs in it. One that is gone is fine. */
  destroy(config: TConfig, sandboxId: string): Promise<unknown>
  /** As {@link ProviderSandbox.runCommand}. */
  runCommand?(sandbox: TSandbox, command: string, options?: ProviderRunOptions): Promise<ProviderResult>
  /** The facts about it. */
  getInfo?(sandbox: TSandbox): Promise<ProviderInfo>
  /** A URL at which a port of it is reached. */
  getUrl?(sandbox: TSandbox, options: { port: number; protocol?: string }): Promise<string>
  /** Lets it live longer. */
  extendTimeout?(sandbox: TSandbox, ms: number): Promise<unknown>
  /** What `getInstance` of the {@link Sandbox} gives. Default: your object. */
  getInstance?(sandbox: TSandbox): unknown
  /** The last argument of each is `runCommand`. */
  filesystem?: {
    readFile?(sandbox: TSandbox, path: string, runCommand: any): Promise<string | Uint8Array>
    writeFile?(sandbox: TSandbox, path: string, content: string, runCommand: any): Promise<unknown>
    mkdir?(sandbox: TSandbox, path: string, runCommand: any): Promise<unknown>
    readdir?(sandbox: TSandbox, path: string, runCommand: any): Promise<readonly ProviderEntry[]>
    exists?(sandbox: TSandbox, path: string, runCommand: any): Promise<boolean>
    stat?(sandbox: TSandbox, path: string, runCommand: any): Promise<ProviderEntry | null>
    rename?(sandbox: TSandbox, from: string, to: string, runCommand: any): Promise<unknown>
    copy?(sandbox: TSandbox, from: string, to: string, runCommand: any): Promise<unknown>
    remove?(sandbox: TSandbox, path: string, runCommand: any): Promise<unknown>
  }
}

/** What `runCommand` of a provider may be asked for, besides the line. */
export interface ProviderRunOptions {
  /** End the command after so many ms. It is not waited for any longer. */
  timeout?: number
  /** Be ready as soon as the command has begun. */
  background?: boolean
  /** With {@link ProviderCapabilities.kill}: end the command when it is aborted. */
  signal?: AbortSignal
  /** With {@link ProviderCapabilities.stream}. */
  onStdout?: (content: string | Uint8Array) => void
  /** With {@link ProviderCapabilities.stream}. */
  onStderr?: (content: string | Uint8Array) => void
}

/** An entry of a directory, or what is at a path. */
export interface ProviderEntry {
  /** Its name, without the directory. */
  readonly name: string
  /** Default: `'file'`. */
  readonly type?: 'file' | 'directory' | undefined
  /** Bytes. */
  readonly size?: number | undefined
  /** Last change. */
  readonly modified?: Date | string | number | undefined
  /** Where it leads, if it is a symbolic link. */
  readonly symlinkTarget?: string | undefined
}

/** How a provider keeps the state of sandboxes. */
export interface SnapshotMethods<TConfig = any> {
  /** Keeps it as it is now. */
  create?(config: TConfig, sandboxId: string, options?: { name?: string }): Promise<ProviderSnapshot>
  /** All that are kept. */
  list?(config: TConfig): Promise<readonly ProviderSnapshot[]>
  /** Deletes one. One that is gone is fine. */
  delete?(config: TConfig, snapshotId: string): Promise<unknown>
}

/** How a provider makes what sandboxes are made from. */
export interface TemplateMethods<TConfig = any> {
  /** Makes one. */
  create?(config: TConfig, options?: any): Promise<unknown>
  /** All that there are. */
  list?(config: TConfig, options?: any): Promise<unknown>
  /** Deletes one. */
  delete?(config: TConfig, templateId: string): Promise<unknown>
}

/** A provider that {@link defineProvider} has made. */
export interface DefinedProvider extends Provider {
  /** What the definition's `methods.template` has, with the configuration given. */
  readonly template?: {
    create?(options?: any): Promise<unknown>
    list?(options?: any): Promise<unknown>
    delete?(templateId: string): Promise<unknown>
  }
}

/**
 * Makes a provider of functions: a function that takes a configuration and gives what can be used wherever
 * {@link local} can. `docs/adding-a-provider.md` goes through it.
 *
 * Throws `InvalidArgumentError`.
 *
 * @example
 * ```ts
 * const boxes = new Map<string, { greeting: string }>()
 * const polite = defineProvider({
 *   name: 'polite',
 *   methods: {
 *     sandbox: {
 *       create: async (config: { greeting: string }) => {
 *         const sandboxId = crypto.randomUUID()
 *         const sandbox = { greeting: config.greeting }
 *         boxes.set(sandboxId, sandbox)
 *         return { sandbox, sandboxId }
 *       },
 *       getById: async (_config, sandboxId) => {
 *         const sandbox = boxes.get(sandboxId)
 *         return sandbox ? { sandbox, sandboxId } : null
 *       },
 *       destroy: async (_config, sandboxId) => boxes.delete(sandboxId),
 *       runCommand: async ({ greeting }, command) => ({ stdout: `${greeting}, ${command}`, exitCode: 0 }),
 *     },
 *   },
 * })
 * const made = await polite({ greeting: 'hello' }).sandbox.create()
 * ```
 */
export declare function defineProvider<TSandbox, TConfig = any>(
  definition: ProviderDefinition<TSandbox, TConfig>,
): (config?: TConfig) => DefinedProvider

/** What `local({ … })` takes. */
export interface LocalConfig {
  /** Life of its sandboxes in ms. Default: 300000 (5 minutes). `0`: until they are destroyed. */
  timeout?: number | undefined
  /** Their language. Default: told from the code. */
  runtime?: Runtime | undefined
  /** Their limits. */
  resources?: ResourceLimits | undefined
  /**
   * Path of the Python to use. Default: the `python3` on `PATH`. That of a virtual environment brings its packages.
   */
  python?: string | undefined
  /** Path of the Node.js to use. Default: the one that runs this process. */
  node?: string | undefined
  /**
   * How many sandboxes are kept ready, so that `create` is a hand-over: 0 to 16, default 2. They are like the last that
   * was asked for, are made when nothing else is to be done, and are let go of when nobody has asked for 10 s.
   */
  spares?: number | undefined
  /**
   * Whether a Python and a Node.js are up before there is code for them, so that `runCode` need not wait for their start.
   *
   * Default: each after the first `runCode` in its language of a sandbox, until there has been none for 30 s. `false`:
   * never. `{ python: true }`, `{ node: true }`: from the beginning, in sandboxes made in advance too, to the end of the
   * sandbox; `{ python: { preload } }`: likewise, with these modules imported. Code is the same either way, and has
   * variables and modules of its own each time.
   *
   * @example
   * const data = local({ warm: { python: { preload: ['numpy', 'pandas'] } } })
   */
  warm?: boolean | WarmInterpreters | undefined
  /**
   * What of the network they reach. Default: `'none'`.
   *
   * @example
   * ```ts
   * const provider = local({ network: { allow: ['pypi.org', 'files.pythonhosted.org', '*.example.com'] } })
   * ```
   */
  network?: NetworkAccess | undefined
  /**
   * What of this machine they see.
   *
   * @example
   * ```ts
   * const provider = local({ mounts: [{ source: '/srv/project', target: '/workspace/project', mode: 'rw' }] })
   * ```
   */
  mounts?: readonly Mount[] | undefined
  /**
   * What `templateId` names.
   *
   * @example
   * ```ts
   * const provider = local({
   *   templates: { science: { python: '/srv/science/bin/python3' }, alpine: { rootfs: '/srv/alpine' } },
   * })
   * const box = await provider.sandbox.create({ templateId: 'science' })
   * ```
   */
  templates?: Readonly<Record<string, LocalTemplate>> | undefined
  /**
   * Bytes of memory that all snapshots of this process may take when one is taken of its sandboxes. Default: 1073741824
   * (1 GiB). One that there is no room for raises `QuotaExceededError`.
   */
  snapshotMemory?: number | undefined
}

/** The interpreters that sandboxes of `local` have up before there is code for them. */
export interface WarmInterpreters {
  /** `true` is as `{}`: no module is imported in advance. `false`: none is up. */
  python?: boolean | WarmPython | undefined
  /**
   * `true`: from the beginning. `false`: none is up. It is a process for each run, which takes its start's time to be
   * there again; ES modules start one of their own.
   */
  node?: boolean | undefined
}

/** A Python that is up before there is code for it. */
export interface WarmPython {
  /**
   * Modules that it has imported, 64 at most. One that is not there is left out: code that imports it is told. What they
   * read of the environment when they are imported is the sandbox' own.
   */
  preload?: readonly string[] | undefined
}

/** What `docker({ … })` takes. */
export interface DockerConfig {
  /**
   * The image that sandboxes are made from; `templateId` of `create` names another. Default: that of their language,
   * `python:3-slim` (or the version that `runtime` names) and `node:lts-slim`, and the first of them where none is asked for.
   */
  image?: string | undefined
  /** Path of the engine's socket. Default: `DOCKER_HOST`, else the first of Docker's and Podman's that is there. */
  socketPath?: string | undefined
  /** Address of the engine, as in `DOCKER_HOST`: `unix://…`, `tcp://host:port`, `https://host:port`. */
  host?: string | undefined
  /**
   * Certificates for an engine at an address, as PEM. Default: the files in `DOCKER_CERT_PATH`, where `DOCKER_TLS_VERIFY` is
   * set.
   */
  tls?: { ca?: string | undefined; cert?: string | undefined; key?: string | undefined } | undefined
  /**
   * Limits of its sandboxes. Default: 2 GiB of memory, 256 processes, all processors. `disk` needs an engine that can limit
   * it: else `create` raises `UnsupportedError`.
   */
  resources?: ResourceLimits | undefined
  /** What of the network they reach: `'none'` (default) or `'full'`. A list of hosts raises `UnsupportedError`. */
  network?: NetworkAccess | undefined
  /** Life of its sandboxes in ms, `0` being without end. Default: 300000 (5 minutes). */
  timeout?: number | undefined
  /** Their language. Default: told from the code. */
  runtime?: Runtime | undefined
  /** When an image is asked of its registry: if it is `'missing'` (default), `'never'`, or `'always'`, for each sandbox. */
  pull?: 'missing' | 'never' | 'always' | undefined
  /**
   * Is told what happens while an image comes, so that nobody waits in the dark. The next news waits until it returns, or
   * the promise that it returns is settled; what it throws ends the pull, and `create` rejects with it.
   */
  onPull?: ((progress: PullProgress) => unknown) | undefined
}

/**
 * What `e2b({ … })` takes. Where an environment variable is named, it is read by each call that needs it, unless the option
 * is given.
 */
export interface E2BConfig {
  /**
   * The key of your account. Default: `E2B_API_KEY`. The first call that needs it raises `AuthenticationError` if there
   * is none, or if it does not begin with `e2b_` (which keys of other servers need not).
   */
  apiKey?: string | undefined
  /** Language of its sandboxes. Default: told from the code. */
  runtime?: Language | undefined
  /** Life of its sandboxes in ms. Default: 300000 (5 minutes). They all have an end: `0` raises `UnsupportedError`. */
  timeout?: number | undefined
  /** What its sandboxes are made from. Default: `code-interpreter-v1`, which has Python with pandas and Node.js. */
  templateId?: string | undefined
  /** Where sandboxes are made. Default: `E2B_API_URL`, else `https://api.<domain>`. */
  apiUrl?: string | undefined
  /** Where sandboxes are reached, all of them. Default: `E2B_SANDBOX_URL`, else made of the domain. */
  sandboxUrl?: string | undefined
  /** What the addresses are made of. Default: `E2B_DOMAIN`, else `e2b.app`. */
  domain?: string | undefined
}

/**
 * Sandboxes on this machine, made of Linux' own isolation: no daemon, no account, nothing to install. Called twice, it
 * sees the same sandboxes; they end with this process.
 *
 * Throws `InvalidArgumentError`; that this machine cannot isolate is told by `create`, as `UnsupportedError`.
 *
 * @example
 * ```ts
 * const provider = local({ timeout: 60_000, resources: { memory: 512 * 1024 ** 2, disk: 128 * 1024 ** 2 } })
 * await using tested = await provider.sandbox.create()
 * await tested.runCommand('uname -a')
 * ```
 */
export declare function local(config?: LocalConfig): Provider
/**
 * Sandboxes in containers of Docker, or of Podman through its compatible socket. Every process that reaches the engine sees
 * them; they end when their time is over, even if this process has long gone.
 *
 * Nothing is asked before the first call. That no engine answers is told by it, as `UnavailableError`.
 *
 * @example
 * ```ts
 * const provider = docker({ image: 'python:3.13-slim', resources: { memory: 512 * 1024 ** 2 } })
 * await using tested = await provider.sandbox.create()
 * await tested.runCommand('pip --version')
 * ```
 */
export declare function docker(config?: DockerConfig): Provider
/**
 * Sandboxes in E2B's cloud, or at a server of your own that speaks as it does. Each is a virtual machine with an address
 * on the internet.
 *
 * Nothing is asked, and no key is needed, before the first call. What `create` takes is honoured with these bounds:
 * `metadata` holds strings only, the template decides about `resources`, every port can be reached, and the network is
 * open unless `network` says otherwise.
 *
 * Throws `InvalidArgumentError`. Its calls raise `AuthenticationError`, `QuotaExceededError` (your plan's limits),
 * `RateLimitError` and `UnavailableError` besides what all providers raise.
 *
 * @example
 * ```ts
 * const cloud = e2b({ timeout: 600_000 })
 * await using remote = await cloud.sandbox.create({ metadata: { user: 'user-123' } })
 * await remote.pause()
 * ```
 */
export declare function e2b(config?: E2BConfig): Provider

/** What an instance of {@link Compute} works with. */
export interface ComputeConfig {
  /** Where sandboxes are made. */
  provider?: ProviderPlugin | undefined
  /** The same; if both are given, this one is used. */
  defaultProvider?: ProviderPlugin | undefined
  /** More of them, in order of priority. */
  providers?: readonly ProviderPlugin[] | undefined
  /** Which of them gets the next sandbox: the first that can (the default), or each in turn. */
  providerStrategy?: 'priority' | 'round-robin' | undefined
  /** Whether another provider is tried when one cannot create. Default: `true`. */
  fallbackOnError?: boolean | undefined
  /**
   * Whether `runCommand` raises `CommandExitError` for an exit code other than 0. Default: `true` for `createCompute()`,
   * else `false`. A call's own `throwOnError` wins.
   */
  throwOnError?: boolean | undefined
}

/** The sandboxes of all that an instance of {@link Compute} is configured with. */
export interface ComputeSandboxes {
  /**
   * Makes a sandbox, ready for commands.
   *
   * Raises `UnavailableError` or what else the last provider said, `AlreadyExistsError`, `AbortError`,
   * `InvalidArgumentError`, and `UnsupportedError` for an option that the provider cannot honour.
   *
   * @example
   * ```ts
   * await using mine = await compute.sandbox.create({ runtime: 'python', timeout: 60_000 })
   * const { stdout } = await mine.runCode('print("hello")')
   * ```
   */
  create(params?: CreateSandboxParams): Promise<Sandbox>
  /** Finds a living sandbox; `null` if there is none of this id. */
  getById(sandboxId: string): Promise<Sandbox | null>
  /** Finds a living sandbox of one provider. */
  getById(provider: ProviderPlugin, sandboxId: string): Promise<Sandbox | null>
  /** Lists the living sandboxes of one provider, or of all that are configured. */
  list(provider?: ProviderPlugin, options?: ListOptions): Promise<SandboxList>
  /**
   * Lists those that the options ask for.
   *
   * @example
   * ```ts
   * const mine = await compute.sandbox.list({ metadata: { userId: 'user-123' } })
   * ```
   */
  list(options: ListOptions): Promise<Sandbox[]>
  /** Ends a sandbox. One that is gone, or never was, is fine. */
  destroy(sandboxId: string): Promise<void>
  /** Ends a sandbox of one provider. */
  destroy(provider: ProviderPlugin, sandboxId: string): Promise<void>
}

/**
 * Makes and finds sandboxes at the configured providers. With none, the one that `COMPUTESDK_PROVIDER` names is used,
 * else `local` if this machine can isolate.
 */
export declare class Compute {
  constructor(config?: ComputeConfig)
  /** Makes and finds sandboxes. */
  readonly sandbox: ComputeSandboxes
  /** Works with these settings from now on; sandboxes that exist stay where they are. Throws `InvalidArgumentError`. */
  setConfig(config: ComputeConfig): this
  /** The settings, with the provider under both of its names; `null` if there are none. */
  getConfig(): ComputeConfig | null
  /** Forgets the settings. */
  clearConfig(): this
}

/** The instance that is ready to use; called, it makes another. */
export interface CallableCompute extends Compute {
  (config?: ComputeConfig): Compute
}

/**
 * The instance that is ready to use. Called with settings it makes another: `compute({ provider })`.
 *
 * @example
 * ```ts
 * compute.setConfig({ provider: local() })
 * const created = await compute.sandbox.create()
 * try {
 *   const result = await created.runCommand('false')
 *   console.log(result.exitCode)
 * } finally {
 *   await created.destroy()
 * }
 * ```
 */
export declare const compute: CallableCompute

/**
 * Makes a strict instance: `runCommand` of its sandboxes raises `CommandExitError` for an exit code other than 0.
 *
 * @example
 * ```ts
 * const strict = createCompute({ defaultProvider: local() })
 * await using checked = await strict.sandbox.create()
 * try {
 *   await checked.runCommand('false')
 * } catch (error) {
 *   if (error instanceof CommandExitError) console.error(error.result.exitCode, error.result.stderr)
 *   else throw error
 * }
 * ```
 */
export declare function createCompute(config?: ComputeConfig): Compute

/** What a request may ask for. */
export type ComputeAction =
  | `compute.sandbox.${'create' | 'list' | 'destroy' | 'getInfo' | 'getUrl' | 'runCode' | 'runCommand'}`
  | `compute.sandbox.filesystem.${'readFile' | 'writeFile' | 'mkdir' | 'readdir' | 'exists' | 'remove'}`

/** The body of a request to {@link handleComputeRequest}. A key that the action does not use is ignored. */
export interface ComputeRequest {
  /** What to do. */
  action: ComputeAction
  /** Needed by all actions but `create` and `list`. */
  sandboxId?: string | undefined
  /** What `runCommand` runs. At most 256 KiB. */
  command?: string | undefined
  /** Its arguments, 1024 at most; without them the command is a line for the shell. */
  args?: readonly string[] | undefined
  /** What `runCode` runs. At most 256 KiB. */
  code?: string | undefined
  /** Its language. Default: as with `sandbox.runCode`. */
  runtime?: Runtime | undefined
  /** The file or directory. */
  path?: string | undefined
  /** What `writeFile` writes. */
  content?: string | undefined
  /** The port of `getUrl`. */
  port?: number | undefined
  /** The protocol of `getUrl`. */
  protocol?: 'http' | 'https' | 'ws' | 'wss' | undefined
  /** Options of `create`: of them `runtime`, `timeout` and `metadata`, unless `allowedCreateOptions` says otherwise. */
  options?: Omit<CreateSandboxOptions, 'signal' | 'mounts'> | undefined
  /** Options of `runCommand` and `runCode`. */
  commandOptions?: Pick<RunCommandOptions, 'cwd' | 'env' | 'timeout' | 'background'> | undefined
}

/** The answer to a {@link ComputeRequest}. */
export type ComputeResponse = ComputeSuccess | ComputeFailure

/** The answer where all went well, a command's exit code other than 0 included. Dates are ISO text. */
export interface ComputeSuccess {
  /** Tells the two answers apart. */
  success: true
  /** The sandbox that it is about. Not of `list`. */
  sandboxId?: string
  /** The name of its provider; of `list`, of the provider that is asked first. */
  provider: string
  /** HTTP status: 200. */
  status: number
  /** Of `runCommand` and `runCode`. */
  result?: CommandResult | CodeResult
  /** Of `getInfo`. */
  info?: Omit<SandboxInfo, 'createdAt' | 'expiresAt'> & { createdAt: string; expiresAt?: string }
  /** Of `getUrl`. */
  url?: string
  /** Of `readFile`. */
  fileContent?: string
  /** Of `readdir`. */
  files?: (Omit<FileEntry, 'modified' | 'lastModified'> & { modified?: string; lastModified?: string })[]
  /** Of `exists`. */
  exists?: boolean
  /** Of `list`. */
  sandboxes?: { sandboxId: string; provider: string }[]
}

/** The answer where something went wrong. */
export interface ComputeFailure {
  /** Tells the two answers apart. */
  success: false
  /** The message. What is the server's own business is `Internal error`. */
  error: string
  /** The stable code: one of {@link ErrorCode}, or of what only HTTP knows. */
  code: ErrorCode | RequestErrorCode
  /** The sandbox that it is about. */
  sandboxId?: string
  /** The name of its provider. */
  provider?: string
  /** HTTP status. */
  status: number
}

/** The codes of what only a request over HTTP can get wrong: 408, 405, 413, 415. */
export type RequestErrorCode = 'BODY_TIMEOUT' | 'METHOD_NOT_ALLOWED' | 'TOO_LARGE' | 'UNSUPPORTED_MEDIA_TYPE'

/** Limits of every request. Each is 1 or more. */
export interface ComputeRequestLimits {
  /** Bytes of a body, and of a file that `readFile` gives. Default: 4194304 (4 MiB). */
  body?: number | undefined
  /** Bytes of a command or of code. Default: 262144 (256 KiB). */
  code?: number | undefined
  /** Bytes of each output stream, after which the result has `truncated: true`. Default: 1048576 (1 MiB). */
  output?: number | undefined
  /**
   * Time of an action in ms, and for a body to come. Default: 60000. A command is killed then and its result has
   * `timedOut: true`; any other action is answered with 504.
   */
  action?: number | undefined
  /** The longest life of a sandbox in ms, whatever was asked for. Default: 900000 (15 minutes). */
  life?: number | undefined
  /**
   * Commands and codes that run at once in a sandbox, those in the background aside. Default: 4. The others wait for
   * their turn, no longer than an action may take (504).
   */
  concurrent?: number | undefined
  /**
   * Sandboxes that an owner has at once, and all who have no owner together; `create` is answered with 429 then. They are
   * counted with one `list` of the provider for each `create`. Default: no limit.
   */
  sandboxes?: number | undefined
}

/** What has come of a request, for a record of all that is done. */
export interface ComputeRequestTrace {
  /** What was asked for; missing where that could not be read. */
  action?: ComputeAction
  /** The sandbox that it was about; of `create`, the one that was made. */
  sandboxId?: string
  /** On whose behalf: the name that `authorize` gave. */
  owner?: string
  /** HTTP status. */
  status: number
  /** From the request to its answer; of a stream, to its last event. Whole, at least 1. */
  durationMs: number
}

/**
 * An event of an answer that comes as it happens: `event` is its name, `data` what its one line of JSON holds. `stdout`
 * and `stderr` come as often as something is written; `result` or `error` is the last, with the whole answer.
 *
 * @example
 * ```ts
 * import type { ComputeEvent } from 'computesdk'
 *
 * function show({ event, data }: ComputeEvent) {
 *   if (event === 'stdout' || event === 'stderr') process.stdout.write(data.text)
 *   else if (event === 'result') console.log('exit code', data.result?.exitCode)
 *   else console.error(data.status, data.error)
 * }
 * ```
 */
export type ComputeEvent =
  | { event: 'stdout'; data: { text: string } }
  | { event: 'stderr'; data: { text: string } }
  | { event: 'result'; data: ComputeSuccess }
  | { event: 'error'; data: ComputeFailure }

/** What `authorize` may say. */
export type ComputeAdmission = boolean | string | Response | null | undefined

/**
 * What opens the request handler, which is closed by default. An option that cannot be right rejects with
 * `InvalidArgumentError`.
 *
 * `R` is the request as it was given: a `Request`, whose body has been read when `authorize` gets it, or the body.
 */
export interface ComputeRequestOptions<R extends ComputeRequest | Request = ComputeRequest | Request> {
  /**
   * Whether a request may do this: `false`, or nothing, is answered with 403. A text names an owner: the sandboxes that
   * it makes exist for it alone, and no others exist for it; `true` is for those that have no owner. A `Response` refuses
   * in its own way, such as with 401 or 429; a parsed body is answered with its status. What it throws is answered with
   * 500 and goes to `onError`.
   *
   * Default: anybody may, of which a warning is given once where `NODE_ENV` is `production`.
   */
  authorize?:
    | ((
        request: R,
        action: ComputeAction,
        sandboxId: string | undefined,
      ) => ComputeAdmission | Promise<ComputeAdmission>)
    | undefined
  /** What a request may do. Default: all but `compute.sandbox.list`. */
  allowedActions?: readonly ComputeAction[] | undefined
  /** Keys of `options` that a request may set. Default: `runtime`, `timeout`, `metadata`. */
  allowedCreateOptions?:
    | readonly Exclude<keyof CreateSandboxOptions, 'signal' | 'mounts' | 'providerOptions'>[]
    | undefined
  /** Options of every sandbox that a request makes; what the request may set lies over them. */
  createDefaults?: Omit<CreateSandboxOptions, 'signal'> | undefined
  /** Limits of every request. */
  limits?: ComputeRequestLimits | undefined
  /** Other sites whose pages may ask, such as `'https://app.example.com'`. Default: none. */
  allowedOrigins?: readonly string[] | undefined
  /**
   * Is told of every action before it is done, and after `authorize`. `create` has no id then. What it throws is
   * answered with 500.
   */
  onAction?: ((action: ComputeAction, sandboxId: string | undefined) => void | Promise<void>) | undefined
  /** Is told of every failure before it is answered, with what the answer leaves out. */
  onError?: ((error: unknown) => void | Promise<void>) | undefined
  /** Is told what has come of every request before it is answered. What it throws is answered with 500. */
  onAnswer?: ((trace: ComputeRequestTrace) => void | Promise<void>) | undefined
}

/** What {@link handleComputeRequest} takes. */
export interface HandleComputeRequestParams<R extends ComputeRequest | Request = ComputeRequest | Request>
  extends ComputeRequestOptions<R> {
  /** A parsed body, or a Web `Request`. */
  request: R
  /** Default: as `compute` is configured. */
  provider?: ProviderPlugin | undefined
}

/**
 * Answers a parsed request body with an object. Method, headers and the size of the body are the caller's to check.
 *
 * Rejects with `InvalidArgumentError` if it is called wrongly: without a request, with something that is no provider.
 * Whatever a client does wrong is an answer, and so is what fails.
 *
 * @example
 * ```ts
 * const response = await handleComputeRequest({
 *   request: { action: 'compute.sandbox.create' },
 *   provider: local(),
 * })
 * if (!response.success) console.error(response.status, response.error)
 * ```
 */
export declare function handleComputeRequest(
  params: HandleComputeRequestParams<ComputeRequest>,
): Promise<ComputeResponse>
/**
 * Answers a Web `Request` with a `Response`. Takes `POST` with JSON, and nothing from pages of other sites. When the
 * request's `signal` is aborted, the work is stopped, and what has begun is killed.
 *
 * @example
 * ```ts
 * export async function POST(request: Request) {
 *   return handleComputeRequest({
 *     request,
 *     authorize: ({ headers }) => headers.get('authorization') === `Bearer ${process.env.MY_TOKEN}`,
 *   })
 * }
 * ```
 */
export declare function handleComputeRequest(params: HandleComputeRequestParams<Request>): Promise<Response>
/**
 * Answers a parsed request body with an object. `provider` may be `undefined`, but has to be there: a body alone is not
 * told from parameters.
 */
export declare function handleComputeRequest(
  request: ComputeRequest,
  provider: ProviderPlugin | undefined,
  options?: ComputeRequestOptions<ComputeRequest>,
): Promise<ComputeResponse>
/** Answers a Web `Request` with a `Response`. */
export declare function handleComputeRequest(
  request: Request,
  provider?: ProviderPlugin,
  options?: ComputeRequestOptions<Request>,
): Promise<Response>

/** The same as {@link handleComputeRequest}. */
export declare const handleHttpComputeRequest: typeof handleComputeRequest

/** What {@link createComputeHandler} takes. */
export interface ComputeHandlerOptions extends ComputeRequestOptions<Request> {
  /** Default: as `compute` is configured when a request comes. */
  provider?: ProviderPlugin | undefined
}

/** Answers requests, as {@link handleComputeRequest} does. Its properties are what a route of Next.js exports. */
export interface ComputeHandler {
  /** Answers a Web `Request` with a `Response`. What else it is given is not looked at. */
  (request: Request, ...rest: unknown[]): Promise<Response>
  /** The handler itself. */
  POST(request: Request, ...rest: unknown[]): Promise<Response>
  /** The handler itself: preflights of the sites that `allowedOrigins` names. */
  OPTIONS(request: Request, ...rest: unknown[]): Promise<Response>
}

/**
 * Makes a handler of many requests. What is wrong with its options raises `InvalidArgumentError` now, and not with the
 * first request.
 *
 * With `Accept: text/event-stream` a request for `runCommand` or `runCode` is answered as it happens: {@link ComputeEvent}.
 *
 * @example
 * ```ts
 * // app/api/compute/route.ts
 * export const { POST, OPTIONS } = createComputeHandler({
 *   provider: local(),
 *   authorize: ({ headers }) => headers.get('authorization') === `Bearer ${process.env.MY_TOKEN}`,
 * })
 * ```
 */
export declare function createComputeHandler(options?: ComputeHandlerOptions): ComputeHandler

/** What a server of Node's calls with its own request and response, and Fastify with its own around those. */
export type NodeHandler = (
  request: NodeRequest | { raw: NodeRequest },
  response: NodeResponse | { raw: NodeResponse },
  next?: (error?: unknown) => void,
) => Promise<void>

/** A request as servers of Node's have it. */
export type NodeRequest = import('node:http').IncomingMessage | import('node:http2').Http2ServerRequest

/** A response as servers of Node's have it. */
export type NodeResponse = import('node:http').ServerResponse | import('node:http2').Http2ServerResponse

/**
 * Makes of a handler of Web requests one for `node:http`, HTTP/2, Express and Fastify. A client that hangs up aborts the
 * request's `signal`, a slow one is waited for, and a body that a parser has read already is taken from `request.body`.
 * What the handler throws goes to `next`, to Fastify, or is a 500 and a warning.
 *
 * @example
 * ```ts
 * import { createServer } from 'node:http'
 *
 * const handler = createComputeHandler({ authorize: ({ headers }) => headers.get('x-key') === process.env.MY_KEY })
 * createServer(toNodeHandler(handler)).listen(3000)
 * ```
 */
export declare function toNodeHandler(
  handler: (request: Request) => Response | Promise<Response>,
): NodeHandler

/** The stable codes of errors, one for each kind and, in few cases, one for a finer kind. */
export type ErrorCode =
  | 'ABORTED'
  | 'ALREADY_EXISTS'
  | 'CODE_SYNTAX'
  | 'COMMAND_EXIT'
  | 'INTERNAL'
  | 'INVALID_ARGUMENT'
  | 'NOT_FOUND'
  | 'NOT_UTF8'
  | 'PERMISSION_DENIED'
  | 'QUOTA_EXCEEDED'
  | 'RATE_LIMITED'
  | 'TIMEOUT'
  | 'UNAUTHENTICATED'
  | 'UNAVAILABLE'
  | 'UNSUPPORTED'

/** What an error of your own making may tell, besides its message. */
export interface ComputeErrorDetails {
  /** The provider that was asked. */
  provider?: string | undefined
  /** The sandbox that it is about. */
  sandboxId?: string | undefined
  /** The call that failed. */
  operation?: string | undefined
  /** Default: `false`. */
  retryable?: boolean | undefined
  /** What to do about it. */
  hint?: string | undefined
  /** The status of the HTTP answer that told it. */
  status?: number | undefined
  /** What the provider knows the request by. */
  requestId?: string | undefined
  /** What it came from. */
  cause?: unknown
}

/**
 * Everything that this package raises. A failure of the package itself has the code `INTERNAL`; every other kind has a
 * class of its own. `instanceof` holds across ES modules, CommonJS, worker threads and bundled copies.
 *
 * @example
 * ```ts
 * try {
 *   await sandbox.filesystem.readFile('/nowhere')
 * } catch (error) {
 *   if (error instanceof NotFoundError) console.error(error.message, error.hint)
 *   else throw error
 * }
 * ```
 */
export declare class ComputeError extends Error {
  constructor(message: string, details?: ComputeErrorDetails)
  /** What kind of error it is. Stable. */
  readonly code: ErrorCode
  /** The provider that was asked. */
  readonly provider: string | undefined
  /** The sandbox that it is about. */
  readonly sandboxId: string | undefined
  /** The call that failed, such as `'runCommand'`. */
  readonly operation: string | undefined
  /** Whether the same call may succeed later without anything being changed. */
  readonly retryable: boolean
  /** What to do about it, if that is known. */
  readonly hint: string | undefined
  /** The status of the HTTP answer that told it, where a server did. */
  readonly status?: number
  /** What the provider knows the request by, for its support. */
  readonly requestId?: string
}

/** A `signal` was aborted. `cause` is the signal's reason. */
export declare class AbortError extends ComputeError {
  constructor(message: string, details?: ComputeErrorDetails & { result?: CommandResult | undefined })
  readonly code: 'ABORTED'
  /** What the command had done so far, if it had begun. */
  readonly result?: CommandResult
}

/** Something of that name is there already. */
export declare class AlreadyExistsError extends ComputeError {
  readonly code: 'ALREADY_EXISTS'
}

/** The provider does not know who is asking: a key is missing or wrong. */
export declare class AuthenticationError extends ComputeError {
  readonly code: 'UNAUTHENTICATED'
}

/** Source code that its language cannot parse. The message begins with `Syntax error`. */
export declare class CodeSyntaxError extends ComputeError {
  constructor(message: string, details?: ComputeErrorDetails & { result?: CommandResult | undefined })
  readonly code: 'CODE_SYNTAX'
  /** What came of the interpreter. */
  readonly result: CommandResult | undefined
  /** What was printed before; as a rule nothing. */
  readonly stdout: string
  /** What the interpreter says about it. */
  readonly stderr: string
  /** The interpreter's exit code. */
  readonly exitCode: number
}

/** What a {@link CommandExitError} tells about its command. */
export interface CommandExitResult extends Partial<CommandResult> {
  exitCode: number
  stdout: string
  stderr: string
  /** What went wrong, if its maker said so. */
  error?: string
}

/**
 * A command ended with an exit code other than 0, where that was to be raised: see `throwOnError`. The
 * message is `Command exited with code <n>`.
 */
export declare class CommandExitError extends ComputeError {
  constructor(result: CommandExitResult, details?: ComputeErrorDetails)
  readonly code: 'COMMAND_EXIT'
  /** By this name others find it: see {@link isCommandExitError}. */
  readonly name: 'CommandExitError'
  /** What the command has done. */
  readonly result: CommandExitResult
}

/** An input that cannot be right. Code `NOT_UTF8`: bytes that were read as text. */
export declare class InvalidArgumentError extends ComputeError {
  readonly code: 'INVALID_ARGUMENT' | 'NOT_UTF8'
}

/** What is named does not exist, or no longer: a file, a directory, a sandbox. */
export declare class NotFoundError extends ComputeError {
  readonly code: 'NOT_FOUND'
  /** What the command had written so far, if one was running. */
  readonly result?: CommandResult
}

/** It exists, but may not be touched. */
export declare class PermissionDeniedError extends ComputeError {
  readonly code: 'PERMISSION_DENIED'
}

/** A limit of size or number is used up. */
export declare class QuotaExceededError extends ComputeError {
  readonly code: 'QUOTA_EXCEEDED'
}

/** Too many requests in too short a time. */
export declare class RateLimitError extends ComputeError {
  constructor(message: string, details?: ComputeErrorDetails & { retryAfterMs?: number | undefined })
  readonly code: 'RATE_LIMITED'
  /** How long the provider asked to wait, in ms. */
  readonly retryAfterMs?: number
}

/** A call that has no result of its own took too long. A command's `timeout` is a result instead. */
export declare class TimeoutError extends ComputeError {
  readonly code: 'TIMEOUT'
  /** What the command had written so far, if one was running. */
  readonly result?: CommandResult
}

/** The provider cannot answer now. */
export declare class UnavailableError extends ComputeError {
  readonly code: 'UNAVAILABLE'
  /** What the command had written so far, if one was running. */
  readonly result?: CommandResult
}

/** This provider, machine or version cannot do it; the message names what. */
export declare class UnsupportedError extends ComputeError {
  readonly code: 'UNSUPPORTED'
}

/** Whether a value is a {@link CommandExitError}, by its shape: also one of another package. */
export declare function isCommandExitError(
  value: unknown,
): value is Error & Pick<CommandExitError, 'name' | 'result'>
