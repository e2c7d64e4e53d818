// A Python with the packages that the documents' examples import.

import { execFile } from 'node:child_process'
import { chmodSync, existsSync, mkdirSync, mkdtempSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { dirname } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'

const run = promisify(execFile)
const PACKAGES = ['pandas', 'matplotlib', 'scikit-learn']
const folder = fileURLToPath(new URL('../../target/science', import.meta.url))
const complete = `${folder}/complete`
const python = `${folder}/bin/python3`

/** A virtual environment, made once: its Python, or why there is none. */
export async function science() {
  if (existsSync(complete)) return { python }
  mkdirSync(dirname(folder), { recursive: true })
  // Beside it, and then all at once: another test may make it now.
  const place = mkdtempSync(`${folder}-`)
  try {
    await run('python3', ['-m', 'venv', place])
    const own = `${place}/bin/python3`
    await run(own, ['-m', 'pip', 'install', '--quiet', ...PACKAGES], { timeout: 300_000 })
    // Compiled by whoever imports them first, and a sandbox cannot keep that.
    await run(own, ['-m', 'compileall', '-q', `${place}/lib`]).catch(() => {})
    writeFileSync(`${place}/complete`, '')
    // Only its owner may look into what is made by mkdtemp.
    chmodSync(place, 0o755)
    if (!existsSync(complete)) rmSync(folder, { recursive: true, force: true })
    renameSync(place, folder)
  } catch (error) {
    if (!existsSync(complete)) {
      return { missing: `pip cannot install ${PACKAGES.join(', ')}: ${error.message.split('\n')[0]}` }
    }
  } finally {
    rmSync(place, { recursive: true, force: true })
  }
  return { python }
}
