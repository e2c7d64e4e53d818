// What `npm run demo` runs: a sandbox from its creation to its end, what it can do, and what it cannot reach.
// Everything that must be blocked is tried for real. If something of it works, the demo says so and exits with 1.

import { lookup } from 'node:dns/promises'
import { once } from 'node:events'
import { chmod, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { createServer } from 'node:http'
import { hostname, tmpdir } from 'node:os'
import path from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { compute } from 'computesdk'

const colored = process.stdout.isTTY && !process.env.NO_COLOR
const paint = (code) => (text) => (colored ? `\x1b[${code}m${text}\x1b[0m` : String(text))
const [bold, dim, green, red, cyan] = [1, 2, 32, 31, 36].map(paint)

const reached = []
const ms = (duration) => `${duration.toFixed(1)} ms`

function title(text) {
  console.log(`\n${bold(text)}`)
}

function line(mark, what, result, time) {
  console.log(`  ${mark} ${what.padEnd(46)} ${result}${time === undefined ? '' : dim(`  ${ms(time)}`)}`)
}

/** Does something, and prints what came of it and how long it took. */
async function show(what, work, summary = (value) => value) {
  const begun = performance.now()
  const value = await work()
  line(green('✓'), what, summary(value), performance.now() - begun)
  return value
}

/** Tries something that must not work. `attempt` gives what it got, or throws, or gives null. */
async function blocked(what, attempt) {
  const begun = performance.now()
  let got = null
  let reason = 'not there'
  try {
    got = await attempt()
  } catch (error) {
    reason = `blocked: ${error.message}`
  }
  if (got === null) return line(green('✓'), what, reason, performance.now() - begun)
  reached.push(what)
  line(red('✗'), what, red(`REACHED: ${JSON.stringify(got)}`))
}

async function main(host) {
  title('A sandbox')
  const sandbox = await show(
    'compute.sandbox.create()',
    () => compute.sandbox.create({ metadata: { purpose: 'demo' } }),
    (made) => `${made.sandboxId} (${made.provider})`,
  )
  try {
    await runsCode(sandbox)
    await holdsFiles(sandbox)
    await streams(sandbox)
    await typesIntoATerminal(sandbox)
    await servesAPage(sandbox)
    await isIsolated(sandbox, host)
    await obeysLimits(sandbox)
    await reachesWhatIsAllowed()
    await tellsAboutItself(sandbox)
  } finally {
    title('The end')
    await show(
      'sandbox.destroy()',
      () => sandbox.destroy(),
      () => 'everything in it is gone',
    )
  }
}

async function runsCode(sandbox) {
  title('Code')
  const python = `
import json
data = {"message": "Hello from Python"}
print(json.dumps(data))
`
  const node = `
const data = { message: "Hello from Node.js" };
console.log(JSON.stringify(data));
`
  const stdout = (result) => result.stdout.trim()
  await show("runCode(…, 'python')", () => sandbox.runCode(python, 'python'), stdout)
  await show("runCode(…, 'node')", () => sandbox.runCode(node, 'node'), stdout)
  await show("runCode(…, 'python') again: one is up already", () => sandbox.runCode(python, 'python'), stdout)
  await show(
    `runCode('print("…")'), language detected`,
    () => sandbox.runCode('print("Auto-detected as Python")'),
    (result) => `${result.language}: ${stdout(result)}`,
  )
}

async function holdsFiles(sandbox) {
  title('Files')
  const file = '/workspace/report/notes.txt'
  const text = 'one\ntwo ☕\n'
  await show(
    'filesystem.writeFile',
    () => sandbox.filesystem.writeFile(file, text),
    () => `${file}, parents made`,
  )
  await show(
    'filesystem.readFile',
    () => sandbox.filesystem.readFile(file),
    (read) => (read === text ? 'the same text' : red('another text')),
  )
  await show(
    'filesystem.readdir',
    () => sandbox.filesystem.readdir('/workspace/report'),
    (entries) => entries.map(({ name, size }) => `${name} (${size} bytes)`).join(', '),
  )
  await show(
    'a command sees it too',
    () => sandbox.runCommand('wc', ['-l', file]),
    (result) => result.stdout.trim(),
  )
}

async function streams(sandbox) {
  title('Output as it comes')
  const begun = performance.now()
  await sandbox.runCommand('for i in 1 2 3; do echo "line $i"; sleep 0.1; done', {
    onStdout: (text) => line(cyan('›'), 'onStdout', JSON.stringify(text), performance.now() - begun),
  })
}

async function typesIntoATerminal(sandbox) {
  title('A terminal')
  let shown = ''
  const terminal = await show(
    "terminal.create({ command: 'python3', … })",
    () =>
      sandbox.terminal.create({
        command: 'python3',
        cols: 100,
        onData: (data) => {
          shown += Buffer.from(data).toString()
        },
      }),
    ({ pid, cols, rows }) => `process ${pid}, ${cols} × ${rows}`,
  )
  await typed('>>> ')
  await show(
    "write('6 * 7\\n')",
    async () => {
      await terminal.write('6 * 7\n')
      return typed('42')
    },
    (line) => `it shows ${line}`,
  )
  await show(
    'kill()',
    () => terminal.kill(),
    () => `${terminal.status}, exit code ${terminal.exitCode}`,
  )

  /** Waits until the terminal has shown something. */
  async function typed(text) {
    for (const end = Date.now() + 20_000; !shown.includes(text); await sleep(5)) {
      if (Date.now() > end) throw new Error(`the terminal did not show ${text}, but ${JSON.stringify(shown)}`)
    }
    return text
  }
}

async function servesAPage(sandbox) {
  title('A server in the sandbox')
  const page = '<h1>served from the sandbox</h1>'
  await sandbox.filesystem.writeFile('/workspace/site/index.html', page)
  await show(
    "runCommand('python3 -m http.server', { background })",
    () => sandbox.runCommand('python3 -m http.server 8000', { cwd: '/workspace/site', background: true }),
    ({ pid }) => `goes on as process ${pid}`,
  )
  await show(
    'waitForPort(8000)',
    () => sandbox.waitForPort(8000),
    () => 'it listens',
  )
  const url = await show('getUrl({ port: 8000 })', () => sandbox.getUrl({ port: 8000 }))
  await show(
    'fetch(url)',
    async () => (await fetch(url)).text(),
    (text) => (text === page ? text : red(`another page: ${text}`)),
  )
}

async function isIsolated(sandbox, host) {
  title('What it cannot reach')
  const { secret, files, server } = host
  const leaked = (text) => (text.includes(secret) ? text : null)
  for (const [kind, file] of Object.entries(files)) {
    await blocked(`${kind}: cat`, async () => {
      const { stdout, stderr } = await sandbox.runCommand('cat', [file])
      if (!stdout) throw new Error(stderr.trim().split(': ').pop())
      return leaked(stdout)
    })
    await blocked(`${kind}: filesystem.readFile`, async () => leaked(await sandbox.filesystem.readFile(file)))
    await blocked(`${kind}: through /proc/1/root`, async () => {
      const { stdout, stderr } = await sandbox.runCommand('cat', [`/proc/1/root${file}`])
      if (!stdout) throw new Error(stderr.trim().split(': ').pop())
      return leaked(stdout)
    })
  }
  await blocked('environment of this process', async () => {
    const { stdout } = await sandbox.runCommand("cat /proc/[0-9]*/environ 2>/dev/null | tr '\\0' '\\n'; env")
    return leaked(stdout)
  })
  await blocked(`this machine's loopback, port ${server.port}`, () =>
    connect(sandbox, '127.0.0.1', server.port),
  )
  await blocked('the internet, 1.1.1.1 port 443', () => connect(sandbox, '1.1.1.1', 443))
}

/** Connects from inside: null or an error if it cannot. */
async function connect(sandbox, address, port) {
  const code = `
    const socket = require('net').connect({ host: '${address}', port: ${port} })
    socket.setTimeout(3000, () => socket.destroy(new Error('no answer')))
    socket.on('connect', () => { console.log('connected'); socket.destroy() })
    socket.on('error', (error) => console.error(error.message))
  `
  const { stdout, stderr } = await sandbox.runCode(code, 'node', { timeout: 10_000 })
  if (stdout.includes('connected')) return 'connected'
  throw new Error(stderr.trim() || 'no connection')
}

async function reachesWhatIsAllowed() {
  title('A network of one host')
  // This machine by its own name, which means another inside: that of the sandbox is `sandbox`.
  const name = hostname().toLowerCase()
  const { address } = await lookup(name).catch(() => ({}))
  if (!address) return line(dim('–'), 'left out', 'this machine does not know its own name')
  const server = createServer((_, response) => response.end('hello')).listen(0, address)
  await once(server, 'listening')
  const host = `${name}:${server.address().port}`
  const sandbox = await show(
    `create({ network: { allow: ['${host}'] } })`,
    () => compute.sandbox.create({ network: { allow: [host] } }),
    ({ sandboxId }) => sandboxId,
  )
  const inside = async (url) => {
    const code = `import urllib.request; print(urllib.request.urlopen('${url}', timeout=10).read().decode())`
    const { stdout, stderr } = await sandbox.runCode(code, 'python')
    if (!stdout) throw new Error(stderr.trim().split('\n').pop())
    return stdout.trim()
  }
  try {
    await show(`inside: http://${host}/`, () => inside(`http://${host}/`))
    await blocked('inside: another port of it', () => inside(`http://${name}:1/`))
    await blocked('inside: the internet', () => inside('https://example.com/'))
    await blocked('inside: what a cloud tells its machines', () => inside('http://169.254.169.254/'))
    await show(
      'networkLog()',
      () => sandbox.networkLog(),
      (log) => log.map(({ host, port, verdict }) => `${host}:${port} ${verdict}`).join(', '),
    )
  } finally {
    await sandbox.destroy()
    server.close()
  }
}

async function obeysLimits(sandbox) {
  title('Limits')
  await show(
    'a timeout of 200 ms',
    () => sandbox.runCommand('sleep 1000 & (setsid sleep 1000 &) ; sleep 1000', { timeout: 200 }),
    (result) => `exit code ${result.exitCode}, timedOut: ${result.timedOut}`,
  )
  const left = await show(
    'what is left of its tree',
    // What is killed may take a moment to be gone, on a machine that is busy.
    () =>
      sandbox.runCommand(`for look in $(seq 50); do
        left=$(grep -lx sleep /proc/[0-9]*/comm 2>/dev/null | wc -l)
        [ "$left" = 0 ] && break; sleep 0.02
      done; echo "$left"`),
    (result) => `${result.stdout.trim()} processes`,
  )
  if (left.stdout.trim() !== '0') reached.push('life after a timeout')
  const controller = new AbortController()
  setTimeout(() => controller.abort(), 100)
  await show(
    'an AbortSignal',
    () => sandbox.runCommand('sleep 1000', { signal: controller.signal }).catch((error) => error),
    (error) => `${error.name} (${error.code})`,
  )
}

async function tellsAboutItself(sandbox) {
  title('getInfo()')
  const info = await sandbox.getInfo()
  const { memory, disk, processes, cpus, enforcement } = info.limits
  const mib = (bytes) => `${bytes / 2 ** 20} MiB`
  const facts = {
    status: info.status,
    'ends at': info.expiresAt.toISOString(),
    metadata: JSON.stringify(info.metadata),
    memory: mib(memory),
    disk: mib(disk),
    processes,
    cpus: cpus ?? 'all',
    enforcement,
  }
  for (const [name, value] of Object.entries(facts)) console.log(`  ${dim(name.padEnd(12))} ${value}`)
  info.isolation.forEach((layer, at) => {
    console.log(`  ${dim((at === 0 ? 'isolation' : '').padEnd(12))} ${layer}`)
  })
}

/** What the sandbox will try to reach: files, a variable and a server of this machine. */
async function plant() {
  const secret = `secret-${process.pid}-${Date.now()}`
  process.env.COMPUTESDK_DEMO_SECRET = secret
  const directory = await mkdtemp(path.join(tmpdir(), 'computesdk-demo-'))
  await chmod(directory, 0o755)
  const files = {
    'a private file (0600)': path.join(directory, 'private.txt'),
    'a public file (0644)': path.join(directory, 'public.txt'),
  }
  for (const [kind, file] of Object.entries(files)) {
    await writeFile(file, secret)
    await chmod(file, kind.includes('0600') ? 0o600 : 0o644)
    if ((await readFile(file, 'utf8')) !== secret) throw new Error(`cannot plant ${file}`)
  }
  const http = createServer((_, response) => response.end(secret)).listen(0, '127.0.0.1')
  await once(http, 'listening')
  const { port } = http.address()
  const answer = await fetch(`http://127.0.0.1:${port}/`)
  if ((await answer.text()) !== secret) throw new Error('the server of the demo does not answer')
  const remove = async () => {
    http.closeAllConnections()
    http.close()
    await rm(directory, { recursive: true, force: true })
  }
  return { secret, files, server: { port }, remove }
}

const begun = performance.now()
const host = await plant()
try {
  await main(host)
} catch (error) {
  console.error(`\n${red('The demo failed:')} ${error.message}`)
  if (error.hint) console.error(`${bold('What to do:')} ${error.hint}`)
  process.exitCode = 1
} finally {
  await host.remove()
}
if (reached.length > 0) {
  console.error(`\n${red('Not isolated!')} This was reached: ${reached.join('; ')}`)
  process.exitCode = 1
}
if (!process.exitCode) console.log(dim(`\nDone in ${ms(performance.now() - begun)}.`))
