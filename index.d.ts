export {}

/**
 * Which binding artifact the generated loader actually loaded: `'native'` for
 * a native addon, otherwise the `platformArchABI` of the WASI flavor. Every
 * flavor napi-rs can build is listed, because `NAPI_RS_NATIVE_LIBRARY_PATH`
 * can point the loader at a WASI artifact this package does not build itself.
 */
export declare const __napiBindingTarget: 'native' | 'wasm32-wasi' | 'wasm32-wasip1'

export declare class Filesystem {
  readFile(path: unknown, options: unknown): Promise<string | Uint8Array>
  writeFile(path: unknown, content: unknown): Promise<undefined>
  mkdir(path: unknown): Promise<undefined>
  readdir(path: unknown): Promise<Array<FileEntry>>
  /** Anything that is no path at all is not there either. */
  exists(path: unknown): Promise<boolean>
  remove(path: unknown): Promise<undefined>
  /** Refuses what a later version will do, by name. */
  notYet(what: string): Promise<Buffer | null>
}

export declare class Sandbox {
  get sandboxId(): string
  get provider(): string
  get filesystem(): Filesystem
  runCommand(command: unknown, args: unknown, options: unknown): Promise<CommandResult>
  runCode(code: unknown, runtime: unknown, options: unknown): Promise<CommandResult>
  getInfo(): Promise<SandboxInfo>
  extendTimeout(by: unknown): Promise<undefined>
  getUrl(options: unknown): Promise<string>
  destroy(): Promise<void>
  kill(): Promise<void>
  getInstance(): object
  /** Refuses what a later version will do, by name. */
  notYet(what: string): Promise<void>
}

/** What came of a command. */
export interface CommandResult {
  stdout: string
  stderr: string
  exitCode: number
  durationMs: number
  executionTime: number
  sandboxId: string
  provider: string
  truncated?: boolean
  timedOut?: boolean
  signal?: string
  output?: string
  language?: string
}

export interface FileEntry {
  name: string
  type: string
  size?: number
  modified?: Date
  path: string
  isDirectory: boolean
  lastModified?: Date
  symlinkTarget?: string
}

export interface Limits {
  enforcement: string
  memory: number
  disk: number
  cpus?: number
  processes: number
}

export interface SandboxInfo {
  id: string
  provider: string
  status: string
  reason?: string
  createdAt: Date
  timeout: number
  expiresAt?: Date
  metadata?: Record<string, any>
  runtime?: string
  isolation?: Array<string>
  limits?: Limits
}
