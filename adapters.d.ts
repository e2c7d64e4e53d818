/**
 * Sandboxes in the shapes that frameworks for agents take: the AI SDK, Mastra, OpenAI's agents. See `docs/adapters.md`.
 *
 * @module computesdk/adapters
 */

import type { Sandbox } from './index.js'

/** A sandbox, or a function that makes one when it is first needed: once, unless that fails. */
export type SandboxSource = Sandbox | (() => Sandbox | Promise<Sandbox>)

/** Options of {@link tools}. A key that is not among them raises `InvalidArgumentError`. */
export interface ToolsOptions {
  /** Where the tools work. */
  sandbox: SandboxSource
  /**
   * Characters of each stream, and of a file, that a model is told. Default: 20000. Of what is longer it gets the
   * beginning and the end, with a note of how much is left out; of a file the beginning, with the line to go on with.
   */
  maxOutput?: number | undefined
  /** The most that a command or code may take, in ms; a model may ask for less. Default: 120000. */
  timeout?: number | undefined
  /** Where commands start and relative paths begin. Default: `/home/user`. */
  cwd?: string | undefined
}

/**
 * A schema that frameworks read by its shape: Standard Schema, with the JSON Schema of what it takes. The AI SDK finds its
 * own kind in it as well.
 */
export interface ToolSchema<Input> {
  /** As Standard Schema has it, in its first version. */
  readonly '~standard': {
    readonly version: 1
    readonly vendor: string
    readonly validate: (
      value: unknown,
    ) =>
      | { readonly value: Input; readonly issues?: undefined }
      | { readonly issues: ReadonlyArray<{ readonly message: string }> }
    readonly jsonSchema: {
      readonly input: (options: { readonly target: string }) => Record<string, unknown>
      readonly output: (options: { readonly target: string }) => Record<string, unknown>
    }
    readonly types?: { readonly input: Input; readonly output: Input } | undefined
  }
  /** The JSON Schema. */
  readonly jsonSchema: Record<string, unknown>
}

/** A tool, in the shape of the AI SDK's; for a loop of your own as well. */
export interface SandboxTool<Input, Output> {
  /** Its name for people. */
  title: string
  /** What a model is told that it does. */
  description: string
  /** What it takes. */
  inputSchema: ToolSchema<Input>
  /**
   * Does it. A non-zero exit is a result, and so is code that does not parse. Raises `InvalidArgumentError` for an input
   * that does not fit the schema, `AbortError`, and what the sandbox raises.
   */
  execute(input: Input, options?: { abortSignal?: AbortSignal | undefined }): Promise<Output>
  /** What a model is told of a result. */
  toModelOutput(options: { output: Output }): { type: 'text'; value: string }
}

/** What came of a command or of code. */
export interface RunOutput {
  /** 0 is success; 124 that its time was over. */
  exitCode: number
  /** Its standard output, cut to `maxOutput`. */
  stdout: string
  /** Its standard error, likewise; of code that does not parse, why. */
  stderr: string
  /** Its time was over. */
  timedOut?: true
  /** Its memory had run out. */
  oomKilled?: true
}

/** What was read of a file. */
export interface ReadOutput {
  /** Its absolute path. */
  path: string
  /** The lines that were asked for, cut to `maxOutput`. */
  content: string
  /** The line to go on with, if not all that was asked for is in `content`. */
  nextLine?: number
  /** The same in words. */
  note?: string
}

/** The tools of a sandbox, by their names. */
export type SandboxTools = {
  /** Runs a line of the shell. */
  runCommand: SandboxTool<
    { command: string; cwd?: string | undefined; timeout?: number | undefined },
    RunOutput
  >
  /** Runs Python or Node.js code. */
  runCode: SandboxTool<{ code: string; language: 'python' | 'node'; timeout?: number | undefined }, RunOutput>
  /** Reads a text file, or some of its lines. */
  readFile: SandboxTool<
    { path: string; startLine?: number | undefined; endLine?: number | undefined },
    ReadOutput
  >
  /** Writes a text file. */
  writeFile: SandboxTool<{ path: string; content: string }, { path: string; bytes: number }>
}

/**
 * Tools for the AI SDK: a model that has them works in a sandbox.
 *
 * @example
 * ```ts
 * import { generateText, isStepCount } from 'ai'
 *
 * const { text } = await generateText({
 *   model,
 *   tools: tools({ sandbox }),
 *   stopWhen: isStepCount(10),
 *   prompt: 'How many prime numbers are there below 10,000?',
 * })
 * ```
 */
export declare function tools(options: ToolsOptions): SandboxTools

/** Options of {@link aiSandbox}. */
export interface AISandboxOptions {
  /** Where it works. */
  sandbox: SandboxSource
  /** What a model may be told of it. */
  description?: string | undefined
}

/** A process of an {@link AISandbox}. */
export interface AISandboxProcess {
  /** Its number in the sandbox, once it has been started. */
  readonly pid?: number
  /** Its standard output. */
  readonly stdout: ReadableStream<Uint8Array>
  /** Its standard error. */
  readonly stderr: ReadableStream<Uint8Array>
  /** Waits for its end; rejects with the reason of its signal. */
  wait(): Promise<{ exitCode: number }>
  /** Ends it and all that it started. One that has ended is fine. */
  kill(): Promise<void>
}

/** What a command of an {@link AISandbox} is. */
export interface AICommand {
  /** A line for the shell. */
  command: string
  /** Where it runs; a relative path begins at `/home/user`. */
  workingDirectory?: string
  /** Its environment, over that of the sandbox. */
  env?: Record<string, string>
  /** Kills it. */
  abortSignal?: AbortSignal
}

/** A path of an {@link AISandbox}. */
export interface AIPath {
  /** Absolute, or relative to `/home/user`. */
  path: string
  /** Gives up. */
  abortSignal?: AbortSignal
}

/**
 * A sandbox as the AI SDK 7's `SandboxSession`, which tools get as `experimental_sandbox`. What is not there is `null` or
 * `false`, as the AI SDK has it.
 */
export interface AISandbox {
  /** What a model may be told of it. */
  readonly description: string
  /** Reads a file piece by piece. */
  readonly readFile: (options: AIPath) => Promise<ReadableStream<Uint8Array> | null>
  /** Reads a file as bytes. */
  readonly readBinaryFile: (options: AIPath) => Promise<Uint8Array | null>
  /** Reads a file, or some of its lines, as text. Encodings are UTF-8, UTF-16 and Latin-1. */
  readonly readTextFile: (
    options: AIPath & { encoding?: string; startLine?: number; endLine?: number },
  ) => Promise<string | null>
  /** Writes a file piece by piece. */
  readonly writeFile: (options: AIPath & { content: ReadableStream<Uint8Array> }) => Promise<void>
  /** Writes a file of bytes. */
  readonly writeBinaryFile: (options: AIPath & { content: Uint8Array }) => Promise<void>
  /** Writes a file of text. */
  readonly writeTextFile: (options: AIPath & { content: string; encoding?: string }) => Promise<void>
  /** The facts about a file. */
  readonly stat: (options: AIPath) => Promise<{ type: 'file' | 'directory' | 'other'; size: number } | null>
  /** Lists a directory. */
  readonly listDirectory: (
    options: AIPath,
  ) => Promise<Array<{ name: string; type: 'file' | 'directory' | 'symlink' | 'other' }> | null>
  /** Deletes a file or a link. */
  readonly deleteFile: (options: AIPath) => Promise<boolean>
  /** Starts a command. */
  readonly spawn: {
    (
      options: AICommand & { stdin: true },
    ): Promise<AISandboxProcess & { readonly stdin: WritableStream<Uint8Array> }>
    (options: AICommand & { stdin?: false }): Promise<AISandboxProcess>
    (
      options: AICommand & { stdin?: boolean },
    ): Promise<AISandboxProcess | (AISandboxProcess & { readonly stdin: WritableStream<Uint8Array> })>
  }
  /** Runs a command to its end. */
  readonly run: (options: AICommand) => Promise<{ exitCode: number; stdout: string; stderr: string }>
}

/**
 * A sandbox for the `experimental_sandbox` of the AI SDK 7, and for tools that use it.
 *
 * @example
 * ```ts
 * import { generateText } from 'ai'
 *
 * await generateText({ model, tools: theirs, experimental_sandbox: aiSandbox({ sandbox }), prompt })
 * ```
 */
export declare function aiSandbox(options: AISandboxOptions): AISandbox

/** Options of {@link mastraSandbox}. */
export interface MastraSandboxOptions {
  /** Where it works; a function is called when the workspace starts. */
  sandbox: SandboxSource
  /** Its id in Mastra. Default: that of the sandbox. */
  id?: string | undefined
}

/** Options of a command of a {@link MastraSandbox}. */
export interface MastraCommandOptions {
  /** In ms; then it is killed, and the result has `timedOut`. */
  timeout?: number
  /** Its environment, over that of the sandbox. */
  env?: Record<string, string | undefined>
  /** Where it runs; a relative path begins at `/home/user`. */
  cwd?: string
  /** Takes its output as it comes. */
  onStdout?: (data: string) => void
  /** Takes its errors as they come. */
  onStderr?: (data: string) => void
  /** Kills it. */
  abortSignal?: AbortSignal
  /** Bytes of each stream that the result has, the latest. Default: all. */
  maxRetainedBytes?: number
}

/** What came of a command of a {@link MastraSandbox}. */
export interface MastraCommandResult {
  success: boolean
  exitCode: number
  stdout: string
  stderr: string
  executionTimeMs: number
  timedOut?: boolean
  killed?: boolean
  stdoutTruncated?: boolean
  stderrTruncated?: boolean
  stdoutDroppedBytes?: number
  stderrDroppedBytes?: number
  command?: string
  args?: string[]
}

/** A sandbox as Mastra's `WorkspaceSandbox`. */
export interface MastraSandbox {
  readonly id: string
  readonly name: string
  readonly provider: string
  status: 'pending' | 'starting' | 'running' | 'stopped' | 'destroying' | 'destroyed' | 'error'
  error?: string
  /** `false`: `snapshot` keeps nothing. */
  readonly supportsCheckpoints: boolean
  /** URLs of ports. */
  readonly networking: { getPortUrl(port: number): Promise<string | null> }
  /** Makes the sandbox, or takes the one that is there. */
  start(): Promise<{ outcome: 'created' | 'connected' }>
  /** Ends the sandbox. */
  destroy(): Promise<void>
  /** Whether it runs. */
  isReady(): boolean
  /** Keeps nothing, as `supportsCheckpoints` says. */
  snapshot(): Promise<void>
  /** What a model is told of it. */
  getInstructions(): string
  /** The facts about it. */
  getInfo(): Promise<{
    id: string
    name: string
    provider: string
    status: MastraSandbox['status']
    createdAt: Date
    lastUsedAt?: Date
    timeoutAt?: Date
  }>
  /** Runs a line of the shell, or a program with exactly these arguments. A non-zero exit is a result. */
  executeCommand(
    command: string,
    args?: string[],
    options?: MastraCommandOptions,
  ): Promise<MastraCommandResult>
  /** Writes files. A `mode` raises `UnsupportedError`. */
  writeFiles(
    files: Array<{ path: string; content: string | Buffer; mode?: number }>,
    options?: { abortSignal?: AbortSignal },
  ): Promise<void>
}

/**
 * A sandbox for a `Workspace` of Mastra.
 *
 * @example
 * ```ts
 * import { Workspace } from '@mastra/core/workspace'
 *
 * const workspace = new Workspace({ sandbox: mastraSandbox({ sandbox: () => compute.sandbox.create() }) })
 * ```
 */
export declare function mastraSandbox(options: MastraSandboxOptions): MastraSandbox

/** What {@link openaiSandbox} needs of OpenAI's class `Manifest`. */
export interface OpenAIManifest {
  readonly root: string
  readonly entries: Record<string, unknown>
  resolveEnvironment(): Promise<Record<string, string>>
}

/** Options of {@link openaiSandbox}. */
export interface OpenAISandboxOptions<Manifest extends OpenAIManifest> {
  /** Where it works. A function makes one for each session, which ends with it. */
  sandbox: SandboxSource
  /** That of `@openai/agents/sandbox`. */
  Manifest: new (
    ...args: never[]
  ) => Manifest
  /** That of `@openai/agents`. */
  applyDiff: (input: string, diff: string, mode?: 'default' | 'create') => string
}

/** What came of a command in an {@link OpenAISession}. */
export interface OpenAIExecResult {
  output: string
  stdout: string
  stderr: string
  wallTimeSeconds: number
  exitCode?: number | null
  /** It goes on, and this is the number to ask for it by. */
  sessionId?: number
  originalTokenCount?: number
}

/** A command for an {@link OpenAISession}. */
export interface OpenAICommand {
  cmd: string
  workdir?: string
  shell?: string
  login?: boolean
  tty?: boolean
  yieldTimeMs?: number
  maxOutputTokens?: number
  runAs?: string
}

/** A sandbox as the `SandboxSession` of OpenAI's agents. Another user (`runAs`) raises `UnsupportedError`. */
export interface OpenAISession<Manifest extends OpenAIManifest> {
  state: {
    manifest: Manifest
    workspaceReady?: boolean
    environment?: Record<string, string>
    [key: string]: unknown
  }
  /** Whether the sandbox lives. */
  running(): Promise<boolean>
  /** Ends all commands; and the sandbox, if it was made for the session. */
  shutdown(): Promise<void>
  /** Runs a command; one that takes longer than `yieldTimeMs` goes on, and has a `sessionId`. */
  exec(args: OpenAICommand): Promise<OpenAIExecResult>
  /** The same, in words for a model. */
  execCommand(args: OpenAICommand): Promise<string>
  supportsPty(): boolean
  /** Types into a command that goes on, or only looks what it has written. */
  writeStdin(args: {
    sessionId: number
    chars?: string
    yieldTimeMs?: number
    maxOutputTokens?: number
  }): Promise<string>
  readFile(args: { path: string; runAs?: string; maxBytes?: number }): Promise<Uint8Array>
  /** Reads a PNG, JPEG, GIF or WebP of 10 MB at most, into base64. */
  viewImage(args: {
    path: string
    runAs?: string
  }): Promise<{ type: 'image'; image: { data: string; mediaType: string } }>
  listDir(args: {
    path: string
    runAs?: string
  }): Promise<Array<{ name: string; path: string; type: 'file' | 'dir' | 'other' }>>
  pathExists(path: string, runAs?: string): Promise<boolean>
  directoryExists(path: string, runAs?: string): Promise<boolean>
  /** Makes a file or a directory; other kinds of entries raise `UnsupportedError`. */
  materializeEntry(args: { path: string; entry: unknown; runAs?: string }): Promise<void>
  createEditor(runAs?: string): {
    createFile(operation: { path: string; diff: string }): Promise<{ status: 'completed'; output: string }>
    updateFile(operation: {
      path: string
      diff: string
      moveTo?: string
    }): Promise<{ status: 'completed'; output: string }>
    deleteFile(operation: { path: string }): Promise<{ status: 'completed'; output: string }>
  }
  resolveExposedPort(port: number): Promise<{ host: string; port: number; tls: boolean }>
}

/** A `SandboxClient` of OpenAI's agents. */
export interface OpenAISandboxClient<Manifest extends OpenAIManifest> {
  readonly backendId: 'computesdk'
  /** Makes a session. What its manifest asks for and a sandbox cannot give raises `UnsupportedError`. */
  create(args?: { manifest?: unknown; snapshot?: unknown } | Manifest): Promise<OpenAISession<Manifest>>
}

/**
 * Sandboxes for the `SandboxAgent` of OpenAI's agents. Two things are theirs and have to be handed over: the class of
 * manifests, and the function that understands their patches.
 *
 * @example
 * ```ts
 * import { applyDiff, run } from '@openai/agents'
 * import { Manifest, SandboxAgent } from '@openai/agents/sandbox'
 *
 * const client = openaiSandbox({ sandbox: () => compute.sandbox.create(), Manifest, applyDiff })
 * const agent = new SandboxAgent({ name: 'Analyst', instructions: 'Work in the sandbox.' })
 * const { finalOutput } = await run(agent, 'What is in data.csv?', { sandbox: { client } })
 * ```
 */
export declare function openaiSandbox<Manifest extends OpenAIManifest>(
  options: OpenAISandboxOptions<Manifest>,
): OpenAISandboxClient<Manifest>
