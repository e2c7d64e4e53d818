// What the tests share: sandboxes that are gone at the end, failures as values, child processes, and a look
// at what a process has left on the machine.

import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { createServer } from 'node:net'
import { after, test as nodeTest } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'

import { local, Sandbox } from '../index.js'

/** Where the package is, for programs that import it. */
export const INDEX = new URL('../index.js', import.meta.url).href
export const ROOT = fileURLToPath(new URL('..', import.meta.url))

/** A test with a time limit. */
export function test(name, body, timeout = 60_000) {
  return nodeTest(name, { timeout }, body)
}

/** A local sandbox. */
export function sandbox(options) {
  return local().sandbox.create(options)
}

// All handles of one process see the same sandboxes, so this finds those of failed tests as well.
after(async () => {
  const left = await local().sandbox.list()
  await Promise.all(left.map((one) => one.destroy()))
})

/** A port of this machine that nothing listens on. */
export async function freePort() {
  const server = createServer()
  await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve))
  const { port } = server.address()
  await new Promise((resolve) => server.close(resolve))
  return port
}

/** The error that a promise is rejected with, which must be of a class and have these properties. */
export async function failure(promise, type = Error, properties = {}) {
  let value
  try {
    value = await promise
  } catch (error) {
    assert.ok(error instanceof type, `not a ${type.name}: ${error?.stack ?? error}`)
    for (const [key, expected] of Object.entries(properties)) {
      if (expected instanceof RegExp) assert.match(error[key], expected)
      else assert.deepEqual(error[key], expected, `${key} of ${error}`)
    }
    return error
  }
  return assert.fail(`it did not fail: ${JSON.stringify(value)?.slice(0, 500)}`)
}

/** Waits until something is so. */
export async function eventually(what, check, within = 15_000) {
  const end = Date.now() + within
  for (;;) {
    const value = await check()
    if (value) return value
    if (Date.now() > end) assert.fail(`not within ${within} ms: ${what}`)
    await sleep(20)
  }
}

/** A promise and the function that resolves it. */
export function signalled() {
  let resolve
  const promise = new Promise((done) => {
    resolve = done
  })
  return { promise, resolve }
}

/**
 * A program of Node that has imported everything as `c`, in a process of its own: its lines as they come, its
 * end, its id. It is killed when it takes too long.
 */
export function program(source, { timeout = 60_000, env = {}, flags = [], ...options } = {}) {
  const text = `import c from ${JSON.stringify(INDEX)}\n${source}`
  return start(process.execPath, [...flags, '--input-type=module', '-e', text], { timeout, env, ...options })
}

export function start(command, args, { timeout = 60_000, env = {}, ...options } = {}) {
  const child = spawn(command, args, {
    stdio: ['pipe', 'pipe', 'pipe'],
    env: { ...process.env, ...env },
    ...options,
  })
  const got = { stdout: '', stderr: '' }
  const waiting = []
  for (const name of ['stdout', 'stderr']) {
    child[name].setEncoding('utf8').on('data', (text) => {
      got[name] += text
      for (const check of [...waiting]) check()
    })
  }
  child.stdin.on('error', () => {})
  const limit = setTimeout(() => child.kill('SIGKILL'), timeout)
  const ended = new Promise((resolve, reject) => {
    child.on('error', reject)
    child.on('close', (code, signal) => {
      clearTimeout(limit)
      resolve({ code, signal, ...got })
      for (const check of [...waiting]) check()
    })
  })
  /** Waits for a line, and gives it; an end without it is a failure. */
  const line = (start) =>
    new Promise((resolve, reject) => {
      const check = () => {
        const found = got.stdout
          .split('\n')
          .slice(0, -1)
          .find((one) => one.startsWith(start))
        if (found !== undefined) resolve(found.slice(start.length).trim())
        else if (child.exitCode !== null || child.signalCode !== null) {
          reject(new Error(`ended without the line ${start}: ${JSON.stringify(got)}`))
        } else return
        waiting.splice(waiting.indexOf(check), 1)
      }
      waiting.push(check)
      check()
    })
  return { child, pid: child.pid, ended, line }
}

/** Runs a program to its end and gives what it printed; anything but a clean end fails. */
export async function output(source, options) {
  const { code, signal, stdout, stderr } = await program(source, options).ended
  assert.deepEqual({ code, signal }, { code: 0, signal: null }, `${stdout}\n${stderr}`)
  return stdout
}

/** The fields of /proc/<pid>/stat that tell processes apart, or undefined if there is no such process. */
function process_(pid) {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8')
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
    return { state: fields[0], parent: Number(fields[1]), began: fields[19] }
  } catch {
    return undefined
  }
}

/** What belongs to a process now: all that came of it, and the control groups that those are in. */
export function belongings(pid) {
  const all = readdirSync('/proc').filter((name) => /^\d+$/.test(name))
  const known = new Map(all.map((name) => [Number(name), process_(name)]).filter(([, found]) => found))
  const found = new Map()
  for (let grown = true; grown; ) {
    grown = false
    for (const [child, { parent, began }] of known) {
      if (!found.has(child) && (parent === pid || found.has(parent))) {
        found.set(child, began)
        grown = true
      }
    }
  }
  return { processes: found, groups: new Set([...found.keys()].flatMap(groupsOf)) }
}

/** Directories of the control groups named computesdk-* that a process is in, and those that hold them. */
function groupsOf(pid) {
  let lines = []
  try {
    lines = readFileSync(`/proc/${pid}/cgroup`, 'utf8').trim().split('\n')
  } catch {}
  return lines.flatMap((line) => {
    const [, controllers, path] = line.split(':')
    const at = path.match(/^(.*\/computesdk-[^/]+)/)?.[1]
    const names = controllers === '' ? ['', 'unified'] : controllers.split(',')
    return at === undefined ? [] : names.map((name) => `/sys/fs/cgroup/${name}${at}`).filter(existsSync)
  })
}

/** Which of these belongings are still there. */
export function left({ processes, groups }) {
  return [
    ...[...processes]
      .filter(([pid, began]) => {
        const found = process_(pid)
        return found?.began === began && found.state !== 'Z'
      })
      .map(([pid]) => `process ${pid}`),
    ...[...groups].filter((path) => existsSync(path)),
  ]
}

/** Checks that a sandbox works, and ends it. */
export async function works(box) {
  assert.ok(box instanceof Sandbox)
  assert.equal((await box.runCommand('echo on')).stdout, 'on\n')
  await box.destroy()
}
