// The network of a sandbox: what it may reach, by the programs that people use; and what became of that.
// What it must not reach is in tests/isolation/outlets.rs.

import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { lookup } from 'node:dns/promises'
import { once } from 'node:events'
import { createServer } from 'node:http'
import { hostname } from 'node:os'
import { after, before, describe } from 'node:test'
import { promisify } from 'node:util'

import {
  compute,
  handleComputeRequest,
  InvalidArgumentError,
  local,
  NotFoundError,
  UnsupportedError,
} from '../index.js'
import { failure, sandbox, test } from './support.mjs'

const run = promisify(execFile)

/** A server on this machine, by the machine's own name: that of a sandbox is another. */
const name = hostname().toLowerCase()
const server = createServer((request, response) => {
  if (request.url === '/away') response.writeHead(302, { location: 'http://169.254.169.254/' }).end()
  else response.end(`${request.method} ${request.url}`)
})
let port
before(async () => {
  const { address } = await lookup(name)
  server.listen(0, address)
  await once(server, 'listening')
  port = server.address().port
})
after(() => server.close())

const allowing = (...allow) => sandbox({ network: { allow } })
const verdicts = async (box) =>
  (await box.networkLog()).map((entry) => [entry.host, entry.port, entry.verdict])

describe('a host that is allowed', () => {
  let box
  before(async () => {
    box = await allowing(`${name}:${port}`)
  })

  for (const [program, command] of [
    ['curl', (url) => `curl -sS ${url}`],
    ['curl that is told to use no proxy', (url) => `curl -sS --noproxy '*' ${url}`],
    ['curl through a tunnel', (url) => `curl -sS --proxytunnel ${url}`],
    [
      'urllib',
      (url) => `python3 -c "import urllib.request as r; print(r.urlopen('${url}').read().decode(), end='')"`,
    ],
    [
      'fetch of Node.js',
      (url) => `node -e "fetch('${url}').then((r) => r.text()).then((t) => process.stdout.write(t))"`,
    ],
  ]) {
    test(`is reached by ${program}`, async (t) => {
      if (/^curl/.test(program) && (await box.runCommand('command -v curl')).exitCode)
        return t.skip('no curl here')
      const { stdout, stderr } = await box.runCommand(command(`http://${name}:${port}/path?query`))
      assert.equal(stdout, 'GET /path?query', stderr)
    })
  }

  test('is told of in the environment, below what the user says', async () => {
    const { stdout } = await box.runCommand('echo $http_proxy $HTTPS_PROXY $NO_PROXY')
    assert.equal(stdout, `${'http://127.111.0.1:3128 '.repeat(2)}localhost,127.0.0.1,::1\n`)
    const own = await sandbox({ network: 'full', envs: { http_proxy: 'mine' } })
    assert.equal(
      (await own.runCommand('echo $http_proxy $https_proxy')).stdout,
      'mine http://127.111.0.1:3128\n',
    )
  })

  test('leads to no other host by a redirect', async (t) => {
    if ((await box.runCommand('command -v curl')).exitCode) return t.skip('no curl here')
    const { stdout } = await box.runCommand(
      `curl -sS -L -o /dev/null -w '%{http_code} %{num_redirects}' http://${name}:${port}/away`,
    )
    assert.equal(stdout, '403 1')
    assert.deepEqual((await verdicts(box)).at(-1), ['169.254.169.254', 80, 'refused'])
  })

  test('serves many at once, and the sandbox ends in the middle of it', async () => {
    const many = await allowing(`${name}:${port}`)
    const source = `Promise.all(Array.from({ length: 100 }, () => fetch('http://${name}:${port}/').then((r) => r.text()))).then((a) => console.log(a.length))`
    assert.equal((await many.runCommand('node', ['-e', source])).stdout, '100\n')
    const { pid } = await many.runCommand(
      ['node', '-e', `setInterval(() => fetch('http://${name}:${port}/'), 1)`],
      {
        background: true,
      },
    )
    assert.ok(pid)
    const begun = Date.now()
    await many.destroy()
    assert.ok(Date.now() - begun < 2000)
  })
})

describe('networkLog', () => {
  test('tells what was allowed, what was refused, and why', async () => {
    const box = await allowing(`${name}:${port}`, '*.example.com')
    assert.deepEqual(await box.networkLog(), [])
    const source = `import urllib.request, urllib.error
for url in ('http://${name}:${port}/', 'http://evil.example/', 'http://${name.toUpperCase()}.:1/', 'https://example.com/'):
  try: print(urllib.request.urlopen(url).status)
  except urllib.error.URLError as error: print(error)`
    const { stdout } = await box.runCode(source, 'python')
    assert.match(stdout, /^200\nHTTP Error 403: Forbidden\nHTTP Error 403: Forbidden\n.*403 Forbidden.*\n$/)
    const log = await box.networkLog()
    assert.deepEqual(await verdicts(box), [
      [name, port, 'allowed'],
      ['evil.example', 80, 'refused'],
      [name, 1, 'refused'],
      ['example.com', 443, 'refused'],
    ])
    assert.deepEqual(Object.keys(log[0]), ['time', 'host', 'port', 'verdict'])
    assert.ok(log[0].time instanceof Date && Math.abs(Date.now() - log[0].time) < 60_000)
    assert.equal(log[1].reason, 'no entry of `network.allow` is about it')
    assert.equal(log[2].reason, '`network.allow` has other ports for it')
    await box.destroy()
    await failure(box.networkLog(), NotFoundError, { operation: 'networkLog' })
  })

  test('is empty without a network, and refused where nobody keeps one', async () => {
    assert.deepEqual(await (await sandbox()).networkLog(), [])
    const own = {
      sandboxId: 'a',
      runCommand: async () => ({ stdout: '', stderr: '', exitCode: 0 }),
      destroy() {},
    }
    const mine = { name: 'mine', sandbox: { create: () => own, getById: () => own, destroy() {} } }
    const box = await compute.sandbox.create({ provider: mine })
    await failure(box.networkLog(), UnsupportedError, { message: /networkLog.*mine/ })
  })
})

describe('network', () => {
  test('of create goes before that of the provider', async () => {
    const provider = local({ network: { allow: ['a.example'] } })
    const proxy = async (options) =>
      (await (await provider.sandbox.create(options)).runCommand('echo $http_proxy')).stdout
    assert.notEqual(await proxy(), '\n')
    assert.notEqual(await proxy({ network: 'full' }), '\n')
    assert.equal(await proxy({ network: 'none' }), '\n')
    assert.equal(await proxy({ network: undefined, envs: { http_proxy: 'x' } }), 'x\n')
  })

  test('that is none is refused, and what is wrong is named', async () => {
    for (const [network, message] of [
      ['some', /`network` must be 'none', 'full' or \{ allow: \[…\] \}, got 'some'/],
      [{}, /`network.allow` is missing/],
      [{ allow: 'example.com' }, /`network.allow`/],
      [{ allow: [1] }, /`network.allow\[0\]`/],
      [
        { allow: ['a.example', 'https://example.com'] },
        /`network.allow\[1\]` has a scheme.*`https:\/\/example.com`/,
      ],
      [{ allow: ['*'] }, /'full'/],
      [{ allow: ['a.example:0'] }, /no port/],
      [{ allow: [], deny: [] }, /deny/],
    ]) {
      await failure(sandbox({ network }), InvalidArgumentError, { message })
      await failure((async () => local({ network }).sandbox.create())(), InvalidArgumentError, { message })
    }
  })

  test('is for the server to give, and not for its clients to take', async () => {
    const request = { action: 'compute.sandbox.create', options: { timeout: 60_000 } }
    const wished = { ...request, options: { network: 'full' } }
    const refused = await handleComputeRequest({ request: wished, provider: local() })
    assert.deepEqual([refused.success, refused.status], [false, 400])
    const createDefaults = { network: { allow: [`${name}:${port}`] } }
    const made = await handleComputeRequest({ request, provider: local(), createDefaults })
    assert.equal(made.success, true, JSON.stringify(made))
    const box = await local().sandbox.getById(made.sandboxId)
    const { stdout } = await box.runCommand(
      `node -e "fetch('http://${name}:${port}/').then((r) => console.log(r.status))"`,
    )
    assert.equal(stdout, '200\n')
    await box.destroy()
  })
})

describe('packages are installed from the registry of this machine', () => {
  /** The hosts of some URLs, as entries of `allow`. */
  const hosts = (...urls) => [...new Set(urls.map((url) => new URL(url)).map(({ host }) => host))]
  /** Whether a URL is that of a server here, whose name means the sandbox itself inside. */
  const isHere = (url) => /^(localhost|127\.|\[::1\])/.test(new URL(url).hostname)
  /** What a program of this machine says, or undefined. */
  const said = async (...command) =>
    (await run(command[0], command.slice(1), { timeout: 30_000 }).catch(() => undefined))?.stdout.trim()
  /** The text at a URL of this machine's registry, or undefined. */
  const text = async (url) => {
    const response = await fetch(url, { signal: AbortSignal.timeout(15_000) }).catch(() => undefined)
    return response?.ok ? response.text() : undefined
  }

  test('by npm', async (t) => {
    const registry = await said('npm', 'config', 'get', 'registry')
    if (!URL.canParse(registry)) return t.skip('npm knows no registry')
    if (isHere(registry)) return t.skip('the registry of npm is this machine')
    const about = await text(new URL('is-number', registry))
    if (!about) return t.skip('the registry of npm is not reached from here')
    const tarball = Object.values(JSON.parse(about).versions).at(-1).dist.tarball
    const box = await allowing(...hosts(registry, tarball))
    const { stdout, stderr, exitCode } = await box.runCommand(
      'npm install --no-audit is-number && node -p "require(\'is-number\')(5)"',
      {
        env: { npm_config_registry: registry },
      },
    )
    assert.equal(exitCode, 0, `${stdout}${stderr}\n${JSON.stringify(await box.networkLog())}`)
    assert.match(stdout, /true\n$/)
    const refused = await box.runCommand('npm install left-pad', {
      env: { npm_config_registry: 'https://evil.example' },
    })
    assert.notEqual(refused.exitCode, 0)
  }, 180_000)

  test('by pip', async (t) => {
    const configured = await said('pip', 'config', 'get', 'global.index-url')
    const usual = 'from pip._internal.models.index import PyPI; print(PyPI.simple_url)'
    const index = configured || (await said('python3', '-c', usual))
    if (!URL.canParse(index)) return t.skip('pip knows no index')
    if (isHere(index)) return t.skip('the index of pip is this machine')
    const page = await text(`${index.replace(/\/$/, '')}/six/`)
    if (!page) return t.skip('the index of pip is not reached from here')
    const files = [...page.matchAll(/href="([^"]+)"/g)].map(
      ([, href]) => new URL(href, `${index.replace(/\/$/, '')}/six/`).href,
    )
    const box = await allowing(...hosts(index, ...files))
    if ((await box.runCommand('pip --version')).exitCode) return t.skip('this Python has no pip')
    const { stdout, stderr, exitCode } = await box.runCommand(
      'pip install six && python3 -c "import six; print(six.__name__)"',
      {
        env: { PIP_INDEX_URL: index, PIP_DISABLE_PIP_VERSION_CHECK: '1' },
      },
    )
    assert.equal(exitCode, 0, `${stdout}${stderr}\n${JSON.stringify(await box.networkLog())}`)
    assert.match(stdout, /six\n$/)
  }, 180_000)
})
