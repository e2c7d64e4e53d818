// Makes npm/, the packages of the native half, out of `napi.targets` of package.json: one for each platform.
// With an argument: in that folder, which must have a package.json, instead of the repository's.

import { copyFileSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { NapiCli } from '@napi-rs/cli'

const root = join(dirname(fileURLToPath(import.meta.url)), '..')
const [folder = root] = process.argv.slice(2)

/** What people call the systems. */
const SYSTEMS = { linux: 'Linux', darwin: 'macOS', win32: 'Windows' }

/** What a stranger who comes across such a package is told. */
function readme({ name, os: [system], cpu: [processor], libc }) {
  const platform = [SYSTEMS[system], processor, ...(libc ?? [])].join(', ')
  return `# ${name}

The native half of [computesdk](https://www.npmjs.com/package/computesdk) for ${platform}. npm installs it with
\`computesdk\` where it fits; it is of no use by itself.
`
}

await new NapiCli().createNpmDirs({ cwd: folder, npmDir: 'npm' })
for (const platform of readdirSync(join(folder, 'npm'))) {
  const place = join(folder, 'npm', platform)
  const manifest = JSON.parse(readFileSync(join(place, 'package.json'), 'utf8'))
  manifest.type = 'commonjs'
  manifest.description = `The native half of computesdk for ${platform}`
  writeFileSync(join(place, 'package.json'), `${JSON.stringify(manifest, null, 2)}\n`)
  writeFileSync(join(place, 'README.md'), readme(manifest))
  copyFileSync(join(root, 'LICENSE'), join(place, 'LICENSE'))
}
