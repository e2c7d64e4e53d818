// Packages that only a few test files need, in folders of their own: plugins/, servers/, frameworks/, … They are installed
// when one wants them, at the versions of the folder's lock file.

import { execFileSync } from 'node:child_process'
import { copyFileSync, existsSync, mkdtempSync, readFileSync, renameSync, rmSync } from 'node:fs'
import { createRequire } from 'node:module'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'

/** Installs the packages of a folder beside this file, unless they are there, and gives the function that requires one. */
export function installed(name) {
  const folder = fileURLToPath(new URL(`${name}/`, import.meta.url))
  if (!isInstalled(folder)) install(folder)
  return createRequire(join(folder, 'package.json'))
}

/** Whether npm installs a package on this machine: one that is optional may be for others, or for another Node.js. */
function fits({ optional, os, cpu }) {
  return !optional || (os?.includes(process.platform) && cpu?.includes(process.arch))
}

/** Whether what npm says it has installed is what the lock file asks for. */
function isInstalled(folder) {
  const packages = (path) => Object.entries(JSON.parse(readFileSync(join(folder, path), 'utf8')).packages)
  try {
    const found = new Map(packages('node_modules/.package-lock.json'))
    return packages('package-lock.json').every(
      ([name, wanted]) => name === '' || !fits(wanted) || found.get(name)?.version === wanted.version,
    )
  } catch {
    return false
  }
}

/** Beside what is there, and then all at once: another test may install the same packages now. */
function install(folder) {
  const [there, place] = [join(folder, 'node_modules'), mkdtempSync(join(folder, '.installing-'))]
  try {
    rmSync(there, { recursive: true, force: true })
    for (const name of ['package.json', 'package-lock.json', '.npmrc']) {
      if (existsSync(join(folder, name))) copyFileSync(join(folder, name), join(place, name))
    }
    npm(place, folder)
    renameSync(join(place, 'node_modules'), there)
  } catch (error) {
    if (!isInstalled(folder)) throw error
  } finally {
    rmSync(place, { recursive: true })
  }
}

function npm(place, folder) {
  const flags = ['--ignore-scripts', '--no-audit', '--no-fund', '--prefer-offline', '--loglevel=error']
  try {
    execFileSync('npm', ['ci', ...flags], { cwd: place, stdio: 'pipe', timeout: 240_000 })
  } catch (error) {
    const said = error.stderr?.toString().trim() || error.message
    throw new Error(
      `the packages of ${folder} could not be installed: \`npm ci\` there needs npm's registry, or its cache.\n${said}`,
    )
  }
}
