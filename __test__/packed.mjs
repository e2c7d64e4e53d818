// A registry of npm on this machine, that has this project's packages: what a stranger's `npm install computesdk` gets.

import { execFile, execFileSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { readdirSync, readFileSync } from 'node:fs'
import { createServer } from 'node:http'
import { basename, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'

const ROOT = fileURLToPath(new URL('..', import.meta.url))

/** Packs everything as it is published, into a folder, and gives the tarballs by the names of the packages. */
export async function pack(folder) {
  const script = join(ROOT, 'scripts/pack.mjs')
  const { stdout } = await promisify(execFile)(process.execPath, [script, folder], { timeout: 300_000 })
  const paths = stdout.trim().split('\n')
  return new Map(paths.map((line) => line.split('  ')[0]).map((path) => [manifest(path).name, path]))
}

/** The package.json in a tarball. */
export function manifest(tarball) {
  return JSON.parse(execFileSync('tar', ['-xzOf', tarball, 'package/package.json'], { encoding: 'utf8' }))
}

const libc = process.report.getReport().header.glibcVersionRuntime ? 'gnu' : 'musl'
/** What the builds for this machine are called. */
export const HERE = [process.platform, process.arch, ...(process.platform === 'linux' ? [libc] : [])].join(
  '-',
)

/** The package.json of the package of each platform. */
export function platforms() {
  const read = (name) => JSON.parse(readFileSync(join(ROOT, 'npm', name, 'package.json'), 'utf8'))
  return readdirSync(join(ROOT, 'npm')).map(read)
}

/**
 * Serves these tarballs, by the names of their packages. Of `known` packages only the package.json is there: who fetches
 * one gets an error. `asked` are the paths that were asked for.
 */
export async function registry(tarballs, known) {
  const manifests = new Map(known.map((one) => [one.name, one]))
  for (const [name, path] of tarballs) manifests.set(name, manifest(path))
  const files = new Map([...tarballs].map(([, path]) => [`/files/${basename(path)}`, path]))

  const asked = []
  const server = createServer((request, response) => {
    const path = decodeURIComponent(request.url)
    asked.push(path)
    const found = manifests.get(path.slice(1))
    if (files.has(path)) response.end(readFileSync(files.get(path)))
    else if (found) response.end(JSON.stringify(packument(found)))
    else response.writeHead(404).end('{}')
  })
  await promisify((done) => server.listen(0, '127.0.0.1', done))()
  const url = `http://127.0.0.1:${server.address().port}`

  function packument(one) {
    const { name, version } = one
    const file = tarballs.get(name)
    const dist = { tarball: `${url}/files/${file ? basename(file) : `${version}.tgz`}` }
    if (file) dist.integrity = `sha512-${createHash('sha512').update(readFileSync(file)).digest('base64')}`
    return { name, 'dist-tags': { latest: version }, versions: { [version]: { ...one, dist } } }
  }
  return { url, asked, close: () => server.close() }
}
