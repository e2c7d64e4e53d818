// A Python with the packages that the documents' examples import.

import { execFile } from 'node:child_process'
import { existsSync, rmSync, writeFileSync } from 'node:fs'
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
  try {
    rmSync(folder, { recursive: true, force: true })
    await run('python3', ['-m', 'venv', folder])
    await run(python, ['-m', 'pip', 'install', '--quiet', ...PACKAGES], { timeout: 300_000 })
    // Compiled by whoever imports them first, and a sandbox cannot keep that.
    await run(python, ['-m', 'compileall', '-q', `${folder}/lib`]).catch(() => {})
    writeFileSync(complete, '')
    return { python }
  } catch (error) {
    return { missing: `pip cannot install ${PACKAGES.join(', ')}: ${error.message.split('\n')[0]}` }
  }
}
