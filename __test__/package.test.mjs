// The packages as npm delivers them: packed, installed from a registry far from the repository, run as ESM, CommonJS and
// TypeScript, as this user and as one without privileges.

import assert from 'node:assert/strict'
import { randomUUID } from 'node:crypto'
import {
  chmodSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs'
import { createRequire } from 'node:module'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, describe, test as nodeTest } from 'node:test'

import { addon } from '../scripts/elf.mjs'
import { HERE, manifest, pack, platforms, registry } from './packed.mjs'
import { belongings, eventually, left, ROOT, start, test } from './support.mjs'

const LIMIT = 300_000
/** Nobody: the highest of the common ids. */
const NOBODY = 65534
const isRoot = process.getuid() === 0

/** Where a user has installed the package. */
let folder
/** The tarballs, by the names of their packages. */
let packed
let source

/** Runs a program that must succeed, and gives what it printed. */
async function run(command, args, options = {}) {
  const { code, stdout, stderr } = await start(command, args, { timeout: LIMIT, cwd: folder, ...options })
    .ended
  assert.equal(code, 0, `${command} ${args.join(' ')}\n${stdout}\n${stderr}`)
  return stdout
}

/** Installs packages in a new folder, from a registry and with a cache of its own. */
async function install(name, { url }, ...words) {
  const place = join(folder, '..', name)
  mkdirSync(place)
  writeFileSync(join(place, 'package.json'), '{ "name": "user", "private": true }')
  const flags = ['--no-audit', '--no-fund', `--registry=${url}`, `--cache=${join(folder, '../cache')}`]
  await run('npm', ['install', ...flags, ...words], { cwd: place, env: { NO_PROXY: '127.0.0.1' } })
  return place
}

/** The packages that are installed in a folder. */
function installed(place) {
  const lock = JSON.parse(readFileSync(join(place, 'node_modules/.package-lock.json'), 'utf8'))
  return Object.keys(lock.packages).map((name) => name.replace('node_modules/', ''))
}

/** The paths of the files in a folder, from there on. */
function filesOf(place) {
  const all = readdirSync(place, { recursive: true, withFileTypes: true }).filter((entry) => entry.isFile())
  return all.map((entry) => join(entry.parentPath, entry.name).slice(place.length + 1)).sort()
}

const NATIVE = `@computesdk/native-${HERE}`

before(
  async () => {
    const place = mkdtempSync(join(tmpdir(), 'computesdk-package-'))
    chmodSync(place, 0o755)
    folder = join(place, 'user')
    packed = await pack(join(place, 'tarballs'))
    source = await registry(packed, platforms())
    await install('user', source, 'computesdk')
  },
  { timeout: LIMIT },
)

after(() => {
  source?.close()
  rmSync(join(folder, '..'), { recursive: true, force: true })
})

/** The body of the programs below: what every user does first. */
const BODY = `
  const box = await compute.sandbox.create({ timeout: 60_000 })
  const command = await box.runCommand('echo $((40 + 2))')
  const python = await box.runCode('print("python", 1 + 1)')
  const node = await box.runCode('console.log("node", 1 + 1)')
  await box.filesystem.writeFile('/app/file', 'content')
  const content = await box.filesystem.readFile('/app/file')
  const info = await box.getInfo()
  console.log(JSON.stringify([command.stdout, python.stdout, node.stdout, content, info.limits?.enforcement]))
  await box.destroy()`
const ANSWERS = ['42\n', 'python 2\n', 'node 2\n', 'content']

const MTS = `import { compute, type CommandResult, NotFoundError } from 'computesdk'
async function main(): Promise<void> {
  const sandbox = await compute.sandbox.create({ metadata: { a: 1 } })
  const result: CommandResult = await sandbox.runCommand('echo', ['typed'])
  const text: string = await sandbox.filesystem.readFile('/none').catch((error: unknown) => error instanceof NotFoundError ? error.code : 'other')
  console.log(result.stdout.trim(), text, result.exitCode satisfies number)
  await sandbox.destroy()
}
await main()
`

describe('the installed package', () => {
  nodeTest('is two packages: this one, and the one of this platform', () => {
    assert.deepEqual(installed(folder).sort(), [NATIVE, 'computesdk'])
    const fetched = source.asked.filter((path) => path.startsWith('/files/'))
    assert.equal(fetched.length, 2, fetched.join())
  })

  nodeTest('knows the packages of all platforms, of its own version', () => {
    const { version, optionalDependencies } = manifest(packed.get('computesdk'))
    assert.deepEqual(
      Object.keys(optionalDependencies),
      platforms().map(({ name }) => name),
    )
    for (const wanted of Object.values(optionalDependencies)) assert.equal(wanted, version)
  })

  nodeTest('has no dependencies and runs nothing when it is installed', () => {
    for (const name of installed(folder)) {
      const one = JSON.parse(readFileSync(join(folder, 'node_modules', name, 'package.json'), 'utf8'))
      assert.deepEqual(
        [one.dependencies, one.scripts, one.devDependencies],
        [undefined, undefined, undefined],
      )
    }
  })

  nodeTest('holds what it needs and nothing else', () => {
    const names = filesOf(join(folder, 'node_modules/computesdk'))
    const { files } = JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8'))
    for (const name of files)
      assert.ok(
        names.some((one) => one === name || one.startsWith(`${name}/`)),
        name,
      )
    const odd = names.filter(
      (name) =>
        !/^(package\.json|[a-z]+\.(js|d\.ts)|(bin|door)(\/[a-z-]+)+\.(js|d\.ts)|README\.md|LICENSE|CHANGELOG\.md)$/.test(
          name,
        ),
    )
    assert.deepEqual(odd, [])
    assert.deepEqual(filesOf(join(folder, 'node_modules', NATIVE)), [
      'LICENSE',
      'README.md',
      `computesdk.${HERE}.node`,
      'package.json',
    ])
  })

  nodeTest('takes 12 MB at most', (t) => {
    const place = join(folder, 'node_modules')
    if (addon(join(place, NATIVE, `computesdk.${HERE}.node`)).sections.includes('.debug_info'))
      return t.skip('the addon is a debug build: npm run build')
    const bytes = filesOf(place).reduce((sum, name) => sum + statSync(join(place, name)).size, 0)
    t.diagnostic(`${(bytes / 1e6).toFixed(2)} MB`)
    assert.ok(bytes <= 12e6, `${bytes} bytes`)
  })

  nodeTest('says what to do where the package of the platform was left out', { timeout: LIMIT }, async () => {
    const place = await install('omitted', source, 'computesdk', '--omit=optional')
    assert.deepEqual(installed(place), ['computesdk'])
    const { code, stderr } = await start(process.execPath, ['-e', "require('computesdk')"], { cwd: place })
      .ended
    assert.equal(code, 1)
    assert.match(stderr, new RegExp(`no native binary for ${HERE} could be loaded\\. Install ${NATIVE}:`))
    assert.match(stderr, /--omit=optional/)
  })

  nodeTest('installs from its tarballs alone, before anything is published', { timeout: LIMIT }, async () => {
    const none = await registry(new Map(), [])
    const place = await install('unpublished', none, ...packed.values()).finally(none.close)
    assert.deepEqual(installed(place).sort(), [...packed.keys()].sort())
    const source = `
      const { local } = require('@computesdk/local')
      console.log([require('@computesdk/docker').docker, require('@computesdk/e2b').e2b].map((one) => one.name).join())
      local().sandbox.create().then(async (box) => {
        console.log((await box.runCommand('echo on')).stdout.trim())
        await box.destroy()
      })`
    assert.equal(await run(process.execPath, ['-e', source], { cwd: place }), 'docker,e2b\non\n')
  })
})

describe('a program of its user', () => {
  test('runs as an ES module', async () => {
    writeFileSync(join(folder, 'esm.mjs'), `import { compute } from 'computesdk'\n${BODY}`)
    assert.deepEqual(JSON.parse(await run(process.execPath, ['esm.mjs'])).slice(0, 4), ANSWERS)
  })

  test('has a command line', async () => {
    const command = join(folder, 'node_modules/.bin/computesdk')
    assert.equal(await run(command, ['run', '--', 'echo', 'run']), 'run\n')
    assert.equal(JSON.parse(await run(command, ['doctor', '--json'])).local.works, true)
  })

  test('runs as CommonJS', async () => {
    writeFileSync(
      join(folder, 'common.cjs'),
      `const { compute } = require('computesdk')\n;(async () => {${BODY}\n})()`,
    )
    assert.deepEqual(JSON.parse(await run(process.execPath, ['common.cjs'])).slice(0, 4), ANSWERS)
  })

  test('compiles and runs as strict TypeScript', async () => {
    const repository = createRequire(join(ROOT, 'package.json'))
    const types = join(repository.resolve('@types/node/package.json'), '../..')
    writeFileSync(join(folder, 'typed.mts'), MTS)
    const flags =
      '--strict --module nodenext --target es2022 --lib es2022 --types node --exactOptionalPropertyTypes --skipLibCheck false'
    await run(process.execPath, [
      repository.resolve('typescript/bin/tsc'),
      ...flags.split(' '),
      '--typeRoots',
      types,
      'typed.mts',
    ])
    assert.equal(await run(process.execPath, ['typed.mjs']), 'typed NOT_FOUND 0\n')
  }, 120_000)

  test('reports a mistake of its user at compile time', async () => {
    const repository = createRequire(join(ROOT, 'package.json'))
    const types = join(repository.resolve('@types/node/package.json'), '../..')
    writeFileSync(
      join(folder, 'wrong.mts'),
      MTS.replace('result.exitCode satisfies number', 'result.exitCod'),
    )
    const flags = '--noEmit --strict --module nodenext --target es2022 --types node'
    const tsc = start(
      process.execPath,
      [repository.resolve('typescript/bin/tsc'), ...flags.split(' '), '--typeRoots', types, 'wrong.mts'],
      { cwd: folder, timeout: LIMIT },
    )
    const { code, stdout } = await tsc.ended
    assert.notEqual(code, 0)
    assert.match(stdout, /exitCod/)
  }, 120_000)
})

describe('a user without privileges', { skip: isRoot ? false : 'only root can become another' }, () => {
  /** Runs a program as nobody, with nothing of root's around it. */
  const asNobody = (file, ...args) =>
    start('/usr/bin/node', [file, ...args], {
      cwd: folder,
      uid: NOBODY,
      gid: NOBODY,
      env: { HOME: '/nonexistent', PATH: '/usr/local/bin:/usr/bin:/bin' },
      timeout: LIMIT,
    })

  before(() => {
    mkdirSync(join(folder, 'open'), { mode: 0o755, recursive: true })
  })

  const skip = existsSync('/usr/bin/node') ? false : 'there is no /usr/bin/node'

  nodeTest('has sandboxes that run commands, Python and Node', { timeout: LIMIT, skip }, async () => {
    writeFileSync(
      join(folder, 'nobody.mjs'),
      `import { compute } from 'computesdk'\nconsole.error(process.getuid())\n${BODY}`,
    )
    const { code, stdout, stderr } = await asNobody('nobody.mjs').ended
    assert.deepEqual({ code, stderr }, { code: 0, stderr: `${NOBODY}\n` }, stdout)
    assert.deepEqual(JSON.parse(stdout), [...ANSWERS, 'per-process'])
  })

  nodeTest('is told what isolates them', { timeout: LIMIT, skip }, async () => {
    const doctor = asNobody(join(folder, 'node_modules/.bin/computesdk'), 'doctor', '--json')
    const { code, stdout, stderr } = await doctor.ended
    assert.deepEqual({ code, stderr }, { code: 0, stderr: '' })
    const states = JSON.parse(stdout).checks.map(({ name, state }) => [name, state])
    assert.deepEqual(
      states.filter(([, state]) => state !== 'yes').map(([name]) => name),
      ['own user ids', 'limits', 'processors'],
    )
  })

  nodeTest(
    'has sandboxes that cannot read the host’s files, and leaves nothing',
    { timeout: LIMIT, skip },
    async () => {
      const secret = join(folder, 'secret')
      const text = randomUUID()
      writeFileSync(secret, text)
      chmodSync(secret, 0o600)
      const open = join(folder, 'open', 'readable')
      writeFileSync(open, text)
      writeFileSync(
        join(folder, 'spy.mjs'),
        `
      import { local } from 'computesdk'
      const box = await local().sandbox.create()
      const found = []
      for (const path of ${JSON.stringify([secret, open, '/root/.bashrc', '/etc/shadow'])}) {
        const text = await box.filesystem.readFile(path).catch((error) => error.name)
        const { stdout, exitCode } = await box.runCommand(['cat', path])
        const code = await box.runCode('open(' + JSON.stringify(path) + ').read()', 'python')
        found.push([text, stdout, exitCode !== 0, code.exitCode !== 0].join())
      }
      const { stdout } = await box.runCommand('grep -rl ${text} / --exclude-dir=proc --exclude-dir=usr 2>/dev/null; cat /proc/*/environ | tr "\\\\0" "\\\\n" | grep -c ^HOME=/nonexistent')
      console.log(JSON.stringify([found, stdout]))
      console.log('ready')
      await new Promise((resolve) => process.stdin.once('data', resolve))
      process.stdin.destroy()`,
      )
      const spy = asNobody('spy.mjs')
      await spy.line('ready')
      const all = belongings(spy.pid)
      assert.ok(all.processes.size > 0)
      spy.child.stdin.write('go\n')
      const { code, stdout, stderr } = await spy.ended
      assert.deepEqual({ code, stderr }, { code: 0, stderr: '' })
      const [found, searched] = JSON.parse(stdout.split('\n')[0])
      for (const one of found) assert.match(one, /^(NotFoundError|PermissionDeniedError),,true,true$/)
      assert.equal(searched, '0\n')
      await eventually('nothing is left', () => left(all).length === 0)
    },
  )
})
