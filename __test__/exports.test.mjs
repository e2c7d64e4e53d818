// What the packages offer to whoever resolves them: Node.js by import and require, TypeScript, and bundlers for places
// without Node.js, where all names are there and using one says what to do.

import assert from 'node:assert/strict'
import { cpSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, describe, test as nodeTest } from 'node:test'
import { pathToFileURL } from 'node:url'
import vm from 'node:vm'

import { installed } from './install.mjs'
import { pack } from './packed.mjs'
import { ROOT, start, test } from './support.mjs'

const LIMIT = 300_000
const require = createRequire(import.meta.url)
const names = {
  computesdk: Object.keys(require('../index.js')),
  'computesdk/adapters': Object.keys(require('../adapters.js')),
}
const providers = readdirSync(join(ROOT, 'packages'))
const ELSEWHERE = ['browser', 'edge-light', 'workerd']

/** Every entry of every package: what one imports, and what package.json says of it. */
const entries = ['.', ...providers.map((name) => `packages/${name}`)].flatMap((place) => {
  const { name, exports } = JSON.parse(readFileSync(join(ROOT, place, 'package.json'), 'utf8'))
  return Object.entries(exports).map(([key, conditions]) => ({ entry: join(name, key), conditions }))
})
const modules = entries.filter(({ conditions }) => typeof conditions === 'object')

/** A folder with the packages as they are installed. */
let folder
let packed
/** Requires the packages that look at ours. */
let tool

before(
  async () => {
    tool = installed('packaging')
    folder = mkdtempSync(join(tmpdir(), 'computesdk-exports-'))
    packed = await pack(join(folder, 'tarballs'))
    for (const [name, tarball] of packed) {
      const { ended } = start('tar', ['-xzf', tarball], { cwd: folder })
      assert.equal((await ended).code, 0)
      cpSync(join(folder, 'package'), join(folder, 'node_modules', name), { recursive: true })
      rmSync(join(folder, 'package'), { recursive: true })
    }
  },
  { timeout: LIMIT },
)
after(() => rmSync(folder, { recursive: true, force: true }))

/** Runs an ES module in that folder, with conditions of resolution. */
async function run(source, ...conditions) {
  const file = join(folder, 'program.mjs')
  writeFileSync(file, source)
  const flags = conditions.map((condition) => `--conditions=${condition}`)
  const { code, stdout, stderr } = await start(process.execPath, [...flags, file], { cwd: folder }).ended
  assert.equal(code, 0, stderr)
  return stdout
}

/** Names of a module, without what only some loaders add. */
const named = (found) =>
  found.filter((name) => !['default', 'module.exports', '__esModule'].includes(name)).sort()

describe('the packed packages', () => {
  nodeTest('are found in order by publint', { timeout: LIMIT }, async () => {
    const { publint } = await import(pathToFileURL(tool.resolve('publint')).href)
    const { formatMessage } = await import(pathToFileURL(tool.resolve('publint/utils')).href)
    for (const [name, path] of packed) {
      const file = readFileSync(path)
      const tarball = file.buffer.slice(file.byteOffset, file.byteOffset + file.byteLength)
      const { messages, pkg } = await publint({ pack: { tarball }, strict: true })
      const said = messages.map((message) => formatMessage(message, pkg, { color: false }))
      assert.deepEqual(said, [], name)
    }
  })

  nodeTest(
    'have types that are right for import and require, by every resolution',
    { timeout: LIMIT },
    async () => {
      const attw = join(tool.resolve('@arethetypeswrong/cli/package.json'), '../dist/index.js')
      for (const [name, path] of packed) {
        if (name.includes('native')) continue
        const { code, stdout, stderr } = await start(process.execPath, [attw, path, '--format', 'json'], {
          timeout: LIMIT,
        }).ended
        assert.equal(code, 0, `${name}: ${stdout}${stderr}`)
        const { analysis, problems } = JSON.parse(stdout)
        assert.deepEqual(problems, {}, name)
        assert.deepEqual(
          Object.keys(analysis.entrypoints).map((key) => join(name, key)),
          entries.map(({ entry }) => entry).filter((entry) => entry === name || entry.startsWith(`${name}/`)),
        )
      }
    },
  )

  test('have entries with types, which come first', () => {
    for (const { entry, conditions } of modules) assert.equal(Object.keys(conditions)[0], 'types', entry)
  })

  test('are in the lock file as they are, so that `npm install` changes nothing', () => {
    const read = (name) => JSON.parse(readFileSync(join(ROOT, name), 'utf8'))
    const known = read('package-lock.json').packages['']
    for (const [key, value] of Object.entries(read('package.json'))) {
      const isKept =
        ['name', 'version', 'license', 'bin', 'engines'].includes(key) || /[dD]ependencies/.test(key)
      if (isKept) assert.deepEqual(known[key], value, key)
    }
  })

  test('give their package.json', async () => {
    for (const name of ['computesdk', ...providers.map((one) => `@computesdk/${one}`)]) {
      const source = `import { createRequire } from 'node:module'
        console.log(createRequire(import.meta.url)('${name}/package.json').name)`
      assert.equal(await run(source), `${name}\n`)
    }
  })
})

for (const condition of ELSEWHERE) {
  describe(`where the condition is \`${condition}\``, () => {
    test('all names of Node.js are there, and no others', async () => {
      for (const [entry, wanted] of Object.entries(names)) {
        for (const how of [`await import('${entry}')`, `createRequire(import.meta.url)('${entry}')`]) {
          const source = `import { createRequire } from 'node:module'\nconsole.log(JSON.stringify(Object.keys(${how})))`
          const found = JSON.parse(await run(source, condition))
          assert.deepEqual(named(found), wanted.toSorted())
        }
      }
    })

    test('using one says where the code belongs', async () => {
      const uses = {
        compute: ['compute.sandbox', 'compute.sandbox.create()', 'compute({})', 'compute.setConfig = 1'],
        local: ['local()', 'new local()'],
        CommandExitError: [
          'new CommandExitError()',
          'new (class extends CommandExitError {})()',
          'CommandExitError.code',
        ],
      }
      for (const [name, all] of Object.entries(uses)) {
        const source = `import { ${name} } from 'computesdk'
          ${all.map((use) => `try { ${use}; console.log('nothing') } catch (error) { console.log(error.name, error.code, error.message) }`).join('\n')}`
        const said = (await run(source, condition)).trim().split('\n')
        assert.equal(said.length, all.length)
        for (const one of said) {
          assert.match(
            one,
            /^UnsupportedError UNSUPPORTED computesdk runs on Node\.js, and this is a browser/,
          )
          assert.match(
            one,
            new RegExp(`\`${name}\` cannot be used here\\. Move the code that uses it to your server`),
          )
        }
      }
    })

    test('merely looking at one is fine', async () => {
      const source = `import * as all from 'computesdk'
        import { compute, ComputeError } from 'computesdk'
        class Mine extends ComputeError {}
        console.log(typeof compute, JSON.stringify({ compute }), await compute === compute, new Error() instanceof Mine)
        console.log(Object.values(all).length > 20, String(Object.prototype.toString.call(compute)), compute.$$typeof)`
      assert.equal(await run(source, condition), 'function {} true false\ntrue [object Function] undefined\n')
    })

    test('providers of their own names are the same', async () => {
      for (const name of providers) {
        const source = `import { ${name} } from '@computesdk/${name}'
          try { ${name}() } catch (error) { console.log(error.message) }`
        assert.match(
          await run(source, condition),
          new RegExp(`^computesdk runs on Node\\.js, .*\`${name}\` cannot`),
        )
      }
    })

    test('a bundler finds nothing of Node.js in any entry', async () => {
      const esbuild = tool('esbuild')
      for (const { entry } of modules) {
        const { outputFiles } = await esbuild.build({
          stdin: { contents: `import * as all from '${entry}'\nglobalThis.all = all`, resolveDir: folder },
          bundle: true,
          write: false,
          platform: 'neutral',
          mainFields: ['main'],
          conditions: [condition],
          logLevel: 'silent',
        })
        // Nothing but the language itself.
        const context = vm.createContext({})
        vm.runInContext(outputFiles[0].text, context)
        const there = `import * as all from '${entry}'\nconsole.log(JSON.stringify(Object.keys(all)))`
        assert.deepEqual(named(Object.keys(context.all)), named(JSON.parse(await run(there))), entry)
      }
    })
  })
}
