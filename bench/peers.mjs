// What else could run a command here: Node's child_process, bwrap, Docker.

import { execFileSync, spawn } from 'node:child_process'
import { existsSync } from 'node:fs'

/** Runs a program to its end, with pipes that are read. */
export function ended(program, args = [], options = {}) {
  return new Promise((resolve, reject) => {
    const child = spawn(program, args, options)
    let bytes = 0
    for (const stream of [child.stdout, child.stderr]) {
      stream?.on('data', (piece) => {
        bytes += piece.length
      })
    }
    child.once('error', reject).once('close', (code) => {
      if (code === 0) resolve(bytes)
      else reject(new Error(`${program} ended with ${code}`))
    })
  })
}

const BWRAP = '--unshare-all --ro-bind / / --proc /proc --dev /dev --tmpfs /tmp'.split(' ')
const bwrap = ['/usr/bin/bwrap', '/usr/local/bin/bwrap'].find((path) => existsSync(path))

/** Runs a command in a bwrap of its own. */
export const inBwrap = bwrap && ((...command) => ended(bwrap, [...BWRAP, ...command]))

const image = process.env.BENCH_IMAGE ?? 'busybox'

/** A running container, if there is an engine with the image. */
export function container() {
  try {
    const run = ['run', '--rm', '--detach', '--network', 'none', image, 'sleep', '600']
    const id = execFileSync('docker', run, { stdio: ['ignore', 'pipe', 'ignore'] })
      .toString()
      .trim()
    return {
      exec: (...command) => ended('docker', ['exec', id, ...command]),
      run: (...command) => ended('docker', ['run', '--rm', '--network', 'none', image, ...command]),
      stop: () => execFileSync('docker', ['rm', '--force', id], { stdio: 'ignore' }),
    }
  } catch {
    return undefined
  }
}
