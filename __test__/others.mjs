// Packages of others, as their users install them: those of a folder (`plugins`, `frameworks`), at the versions of its lock
// file.

import { execFileSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'

/** Installs a folder's packages, unless they are there, and gives the function that requires one. */
export function others(name = 'plugins') {
  const folder = fileURLToPath(new URL(`${name}/`, import.meta.url))
  if (!isInstalled(folder)) install(folder)
  return createRequire(join(folder, 'package.json'))
}

/** Whether what npm says it has installed is what the lock file asks for. */
function isInstalled(folder) {
  const packages = (path) => {
    const all = JSON.parse(readFileSync(join(folder, path), 'utf8')).packages
    return Object.entries(all).filter(([name, { optional }]) => name !== '' && !optional)
  }
  try {
    const installed = new Map(packages('node_modules/.package-lock.json'))
    return packages('package-lock.json').every(
      ([name, { version }]) => installed.get(name)?.version === version,
    )
  } catch {
    return false
  }
}

function install(folder) {
  const flags = ['--ignore-scripts', '--no-audit', '--no-fund', '--prefer-offline', '--loglevel=error']
  try {
    execFileSync('npm', ['ci', ...flags], { cwd: folder, stdio: 'pipe', timeout: 240_000 })
  } catch (error) {
    const said = error.stderr?.toString().trim() || error.message
    throw new Error(
      `the packages of ${folder} could not be installed: \`npm ci\` there needs npm's registry, or its cache.\n${said}`,
    )
  }
}
