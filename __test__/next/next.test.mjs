// examples/nextjs as a user has it: the packages are installed from what npm would deliver, there is no next.config, and
// both bundlers build it. A browser looks at what comes of it. `SCREENSHOT=docs/nextjs.png` takes a picture of the page.

import assert from 'node:assert/strict'
import {
  appendFileSync,
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  renameSync,
  rmSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, describe } from 'node:test'

import { documents } from '../documents/blocks.mjs'
import { accountAt, e2bFake } from '../fakes.mjs'
import { installed } from '../install.mjs'
import { eventually, freePort, ROOT, start, test } from '../support.mjs'
import * as browser from './browser.mjs'
import { answers, floods, hangUp, Visitor } from './visitor.mjs'

const LIMIT = 300_000
const fake = await e2bFake()
const place = mkdtempSync(join(tmpdir(), 'computesdk-next-'))
/** The example, below a folder that has what `file:../..` of its package.json leads to. */
const app = join(place, 'examples/nextjs')
const NEXT = join(app, 'node_modules/next/dist/bin/next')

const env = {
  NEXT_TELEMETRY_DISABLED: '1',
  // What `output` is where no next.config says it: a build is for `next start` and for standalone alike.
  NEXT_PRIVATE_STANDALONE: 'true',
  NODE_ENV: undefined,
  ...accountAt(fake),
}

let chromium

before(
  async () => {
    browser.ensureChromium()
    chromium = await browser.browse(installed('next')('playwright-core'))
    await furnish()
  },
  { timeout: LIMIT },
)

after(async () => {
  await chromium?.close()
  rmSync(place, { recursive: true, force: true })
})

/** Runs a program to its end, in a folder. */
async function run(cwd, command, ...args) {
  const { code, stdout, stderr } = await start(command, args, { cwd, env, timeout: LIMIT }).ended
  assert.equal(code, 0, `${command} ${args.join(' ')}\n${stdout}\n${stderr}`)
  return stdout
}

/** Copies the example, installs its packages, and puts ours beside them as npm does. */
async function furnish() {
  const own = (path) => !/[\\/](node_modules|\.next|next-env\.d\.ts)$/.test(path)
  cpSync(join(ROOT, 'examples/nextjs'), app, { recursive: true, filter: own })
  cpSync(join(ROOT, 'package.json'), join(place, 'package.json'))
  await run(app, 'npm', 'ci', '--ignore-scripts', '--no-audit', '--no-fund', '--prefer-offline')
  rmSync(join(app, 'node_modules/computesdk'), { recursive: true })
  await unpack(ROOT, 'computesdk')
  await unpack(join(ROOT, 'packages/e2b'), '@computesdk/e2b')
  const binaries = readdirSync(ROOT).filter((name) => /^computesdk\..*\.node$/.test(name))
  assert.ok(binaries.length > 0, 'the addon is not built: npm run build')
  for (const binary of binaries) {
    const [, platform] = binary.split('.')
    const native = join(app, 'node_modules/@computesdk', `native-${platform}`)
    mkdirSync(native, { recursive: true })
    cpSync(join(ROOT, 'npm', platform, 'package.json'), join(native, 'package.json'))
    // Both places that it may be in: whoever traces files must have found either.
    cpSync(join(ROOT, binary), join(native, binary))
    cpSync(join(ROOT, binary), join(app, 'node_modules/computesdk', binary))
  }
  const [route] = documents[1].filter(({ source }) => source.includes('handleComputeRequest'))
  mkdirSync(join(app, 'app/api/document'), { recursive: true })
  writeFileSync(join(app, 'app/api/document/route.ts'), route.source)
  for (const name of ['next.config.js', 'next.config.mjs', 'next.config.ts'])
    assert.equal(existsSync(join(app, name)), false)
}

/** What npm would deliver of one of our packages, in `node_modules`. */
async function unpack(folder, name) {
  const packed = join(place, 'packed')
  mkdirSync(packed, { recursive: true })
  const told = await run(folder, 'npm', 'pack', '--json', '--ignore-scripts', '--pack-destination', packed)
  await run(packed, 'tar', '-xf', JSON.parse(told)[0].filename)
  const target = join(app, 'node_modules', name)
  mkdirSync(join(target, '..'), { recursive: true })
  renameSync(join(packed, 'package'), target)
}

/** Starts a server, and gives its address when it answers. */
async function serve(cwd, args) {
  const port = await freePort()
  const server = start(process.execPath, args, {
    cwd,
    env: { ...env, PORT: String(port), HOSTNAME: '127.0.0.1' },
    timeout: LIMIT,
  })
  const url = `http://127.0.0.1:${port}`
  let said
  server.ended.then((ended) => {
    said = ended
  })
  await eventually(`${url} answers`, async () => {
    assert.equal(said, undefined, JSON.stringify(said))
    return (await fetch(url).catch(() => undefined))?.ok
  })
  return {
    url,
    stop: async () => {
      server.child.kill('SIGTERM')
      return await server.ended
    },
  }
}

/** Another page, at the address of a server. */
async function withPage(url, options, look) {
  const page = await chromium.newPage({ viewport: { width: 1280, height: 800 }, ...options })
  const wrong = []
  page.on('pageerror', (error) => wrong.push(error.message))
  page.on('console', (line) => line.type() === 'error' && wrong.push(line.text()))
  try {
    await page.goto(url)
    await look(page)
    assert.deepEqual(wrong, [])
  } finally {
    await page.close()
  }
}

/** Builds the example as it is now. */
async function build(...flags) {
  rmSync(join(app, '.next'), { recursive: true, force: true })
  await run(app, process.execPath, NEXT, 'build', ...flags)
}

/** What holds of the server of a build, and of the page that it serves. */
function works(flags) {
  let server
  before(
    async () => {
      await build(...flags)
      server = await serve(app, [NEXT, 'start'])
    },
    { timeout: LIMIT },
  )
  after(() => server?.stop())

  test('the example’s route runs code for its visitor, and for nobody else', () => answers(server.url))

  test('of output that a page does not show there is the beginning', () => floods(server.url))

  test('what a client does not wait for is ended', () => hangUp(server.url))

  test('the route of the document answers, as it is written there', async () => {
    const api = new Visitor(server.url)
    const { sandboxId, provider } = await api.ask('/api/document', { action: 'compute.sandbox.create' })
    assert.equal(provider, 'e2b')
    const code = { action: 'compute.sandbox.runCode', sandboxId, code: 'print(6 * 7)' }
    assert.equal((await api.ask('/api/document', code)).result.stdout, '42\n')
    await api.ask('/api/document', { action: 'compute.sandbox.destroy', sandboxId })
  })

  test('the page shows output as it comes, a terminal and the files', async () => {
    await withPage(server.url, {}, async (page) => {
      await page.getByText('your sandbox is ready').waitFor()
      await browser.type(page, CODE)
      await browser.run(page)
      const first = await browser.shows(browser.output(page), 'one')
      assert.doesNotMatch(first, /two/)
      assert.equal(await browser.outcome(page).textContent(), 'running …')
      await browser.inTerminal(page, 'touch go; echo typed=$((40 + 2))', /typed=42/)
      await browser.shows(browser.outcome(page), /^done in/)
      assert.equal((await browser.output(page).textContent()).trim(), 'one\ntwo')
      const files = page.getByRole('region', { name: 'Files' })
      await files.getByRole('button', { name: /^go/ }).waitFor()
      await files.getByRole('button', { name: 'made.txt' }).click()
      await browser.shows(files.locator('pre'), 'made by code')
    })
  })

  test('has its picture taken, if somebody asks for one', async (t) => {
    if (!process.env.SCREENSHOT) return t.skip('SCREENSHOT=<path>.png takes one; SCHEME=dark, in the dark')
    const options = { colorScheme: process.env.SCHEME ?? 'light', viewport: { width: 1280, height: 720 } }
    await withPage(server.url, options, async (page) => {
      await page.getByText('your sandbox is ready').waitFor()
      await browser.run(page)
      await browser.shows(browser.outcome(page), /^done in/)
      await browser.inTerminal(page, 'wc -l squares.csv', /6 squares/)
      await browser.inTerminal(page, 'curl -sS https://example.com', /Could not resolve/)
      await page.waitForTimeout(1000)
      await page.screenshot({ path: process.env.SCREENSHOT })
    })
  })
}

/** It prints, waits for a file that the terminal makes, writes one and prints again. */
const CODE = `import os, time
print('one', flush=True)
while not os.path.exists('go'): time.sleep(0.05)
open('made.txt', 'w').write('made by code')
print('two')`

/** That standalone output has the binary wherever it was, and runs far from the app. */
async function standsAlone(name) {
  const far = join(place, name)
  cpSync(join(app, '.next/standalone'), far, { recursive: true })
  const places = ['computesdk', '@computesdk'].map((one) => join(far, 'node_modules', one))
  const binaries = (folder) =>
    readdirSync(folder, { recursive: true }).filter((file) => file.endsWith('.node'))
  for (const [gone, kept] of [places, places.toReversed()]) {
    assert.ok(binaries(kept).length > 0, kept)
    const [binary] = binaries(gone)
    renameSync(join(gone, binary), join(place, 'aside.node'))
    const deployed = await serve('/', [join(far, 'server.js')])
    await answers(deployed.url).finally(deployed.stop)
    renameSync(join(place, 'aside.node'), join(gone, binary))
  }
}

describe('built with Turbopack, without a next.config', () => {
  works([])

  test('standalone output has the binary, and runs far from the app', () => standsAlone('turbopack'))
})

describe('built with webpack, without a next.config', () => {
  works(['--webpack'])
})

describe('built with webpack and `serverExternalPackages`', () => {
  const config = join(app, 'next.config.mjs')
  after(() => rmSync(config, { force: true }))

  test(
    'standalone output has the binary, and runs far from the app',
    async () => {
      writeFileSync(config, "export default { serverExternalPackages: ['computesdk'] }\n")
      await build('--webpack')
      await standsAlone('webpack')
    },
    LIMIT,
  )
})

describe('in development', () => {
  test('a sandbox outlives that its code is changed', async () => {
    const server = await serve(app, [NEXT, 'dev'])
    try {
      const visitor = await Visitor.new(server.url)
      const code = "open('/tmp/mark', 'w').write('kept')"
      await visitor.act({ action: 'compute.sandbox.runCode', runtime: 'python', code })
      appendFileSync(join(app, 'lib/sandbox.ts'), '\nexport const changed = true\n')
      appendFileSync(
        join(app, 'app/api/sandbox/route.ts'),
        "\nexport const GET = async () => Response.json({ changed: (await import('@/lib/sandbox')).changed })\n",
      )
      await eventually('the change is there', async () => {
        const answer = await fetch(`${server.url}/api/sandbox`)
        return answer.ok && (await answer.json()).changed
      })
      const read = { action: 'compute.sandbox.filesystem.readFile', path: '/tmp/mark' }
      assert.equal((await visitor.act(read)).fileContent, 'kept')
    } finally {
      await server.stop()
    }
  }, 120_000)
})
