// The examples of the documents, as they are written there, with what they say that is printed. What needs a
// later version or packages that are not here (pandas) is left out; terminals are in terminals.test.mjs.

import assert from 'node:assert/strict'
import { before, describe } from 'node:test'

import { compute, local } from '../index.js'
import { sandbox as create, test } from './support.mjs'

let sandbox
let lines
/** The examples' console: it keeps what they print. */
const console = {
  log: (...values) =>
    lines.push(values.map((value) => (typeof value === 'string' ? value : JSON.stringify(value))).join(' ')),
  error: (...values) => console.log(...values),
}

/** An example, and the lines that it prints. */
function example(name, body, expected) {
  test(name, async () => {
    lines = []
    await body()
    assert.deepEqual(lines, expected)
  })
}

describe('document 3, runCommand', () => {
  before(async () => {
    sandbox = await create()
    await sandbox.filesystem.writeFile('/home/user/data.txt', 'an error\nfine\nerror again\n')
  })

  example('a simple command', async () => {
    const result = await sandbox.runCommand('ls -la')
    console.log(result.stdout.includes('data.txt'))
    console.log(result.exitCode)
    console.log(result.durationMs > 0)
  }, ['true', '0', 'true'])

  example('a command with environment variables', async () => {
    await sandbox.filesystem.writeFile(
      '/home/user/server.js',
      'console.log(process.env.NODE_ENV, process.env.PORT)',
    )
    const result = await sandbox.runCommand('node server.js', {
      env: {
        NODE_ENV: 'production',
        PORT: '3000',
      },
    })
    console.log(result.stdout)
  }, ['production 3000\n'])

  example('error handling with exit codes', async () => {
    const result = await sandbox.runCommand('grep pattern file.txt')
    if (result.exitCode !== 0) {
      console.error('Command failed:', result.stderr)
    } else {
      console.log('Match found:', result.stdout)
    }
  }, ['Command failed: grep: file.txt: No such file or directory\n'])

  example('several commands in one', async () => {
    const result = await sandbox.runCommand('cd /app && npm install && npm test')
    console.log(result.exitCode !== 0)
  }, ['true'])

  example('pipes and redirects', async () => {
    const result = await sandbox.runCommand('cat data.txt | grep "error" | wc -l')
    console.log(result.stdout.trim())
  }, ['2'])
})

describe('document 3, getInfo', () => {
  before(async () => {
    sandbox = await create({ metadata: { purpose: 'test' } })
  })

  example('full info', async () => {
    const info = await sandbox.getInfo()
    if (info.status === 'running') {
      const { stdout } = await sandbox.runCommand('echo "Hello"')
      console.log(stdout.trim())
    } else {
      console.log('Sandbox is not available')
    }
    console.log(`Running on ${info.provider}`)
    console.log(`Created: ${info.createdAt.toISOString()}`.slice(0, 11))
    console.log(`Timeout: ${info.timeout}ms`)
    if (info.metadata) {
      console.log(' Metadata:', info.metadata)
    }
  }, ['Hello', 'Running on local', 'Created: 20', 'Timeout: 300000ms', ' Metadata: {"purpose":"test"}'])
})

describe('document 3, getUrl', () => {
  before(async () => {
    sandbox = await create()
  })

  example('accessing a URL before the service is ready', async () => {
    const url = await sandbox.getUrl({ port: 3000 })
    try {
      const response = await fetch(url)
      console.log('Server is ready:', response.status)
    } catch {
      console.error('Service not running on port 3000 yet')
      // Wait and retry, or start the service first
    }
  }, ['Service not running on port 3000 yet'])

  example('starting a server and getting its URL', async () => {
    await sandbox.filesystem.writeFile('/home/user/package.json', '{"scripts":{"start":"node server.js"}}')
    await sandbox.filesystem.writeFile(
      '/home/user/server.js',
      "require('node:http').createServer((_, response) => response.end('Hello')).listen(3000)",
    )
    await sandbox.runCommand('npm start', { background: true })
    await sandbox.waitForPort(3000)
    const url = await sandbox.getUrl({ port: 3000 })
    console.log(`Server running at: ${url}`.replace(/\d+$/, '<port>'))
    const response = await fetch(url)
    console.log(await response.text())
  }, ['Server running at: http://127.0.0.1:<port>', 'Hello'])

  example('protocol and several services', async () => {
    const url = await sandbox.getUrl({
      port: 5000,
      protocol: 'http',
    })
    console.log(new URL(url).protocol)
    const apiUrl = await sandbox.getUrl({ port: 3000 })
    const wsUrl = await sandbox.getUrl({ port: 8080 })
    console.log(new Set([url, apiUrl, wsUrl]).size)
  }, ['http:', '3'])
})

describe('document 3, filesystem', () => {
  before(async () => {
    sandbox = await create()
  })

  example('reading what does not exist', async () => {
    try {
      const content = await sandbox.filesystem.readFile('/nonexistent.txt')
      console.log(content)
    } catch (error) {
      console.error('Failed to read file:', error.message)
    }
  }, ['Failed to read file: File not found: /nonexistent.txt'])

  example('checking before reading', async () => {
    const filePath = '/app/optional-config.json'
    if (await sandbox.filesystem.exists(filePath)) {
      const content = await sandbox.filesystem.readFile(filePath)
      console.log('Config loaded:', content)
    } else {
      console.log('Config file not found, using defaults')
    }
  }, ['Config file not found, using defaults'])

  example('writing, overwriting, reading', async () => {
    await sandbox.filesystem.writeFile('/app/config.txt', 'port=3000\nhost=localhost')
    console.log('File written successfully')
    const data = { name: 'my-app', version: '1.0.0' }
    await sandbox.filesystem.writeFile('/app/package.json', JSON.stringify(data, null, 2))
    const jsonContent = await sandbox.filesystem.readFile('/app/package.json')
    const packageData = JSON.parse(jsonContent)
    console.log(packageData.name)
    console.log(packageData.version)
    await sandbox.filesystem.writeFile('/app/log.txt', 'First entry')
    await sandbox.filesystem.writeFile('/app/log.txt', 'Second entry')
    const content = await sandbox.filesystem.readFile('/app/log.txt')
    console.log(content)
    const newContent = 'Hello, World!'
    await sandbox.filesystem.writeFile('/app/greeting.txt', newContent)
    const readBack = await sandbox.filesystem.readFile('/app/greeting.txt')
    console.log(readBack === newContent)
  }, ['File written successfully', 'my-app', '1.0.0', 'Second entry', 'true'])

  example('directories', async () => {
    await sandbox.filesystem.mkdir('/app/src')
    await sandbox.filesystem.mkdir('/app/data')
    await sandbox.filesystem.mkdir('/app/data')
    console.log('Both calls succeeded')
    await sandbox.filesystem.writeFile('/app/src/index.js', '')
    const entries = await sandbox.filesystem.readdir('/app')
    entries.forEach((entry) => {
      console.log(`${entry.type === 'directory' ? '📁' : '📄'} ${entry.name}`)
    })
    const fileCount = entries.filter((e) => e.type === 'file').length
    const dirCount = entries.filter((e) => e.type === 'directory').length
    console.log(`Found ${fileCount} files and ${dirCount} directories`)
    const jsFiles = (await sandbox.filesystem.readdir('/app/src')).filter(
      (e) => e.type === 'file' && e.name.endsWith('.js'),
    )
    console.log(
      'JavaScript files:',
      jsFiles.map((f) => f.name),
    )
    if ((await sandbox.filesystem.readdir('/app/data')).length === 0) {
      console.log('Directory is empty')
    }
  }, [
    'Both calls succeeded',
    '📄 config.txt',
    '📁 data',
    '📄 greeting.txt',
    '📄 log.txt',
    '📄 package.json',
    '📁 src',
    'Found 4 files and 2 directories',
    'JavaScript files: ["index.js"]',
    'Directory is empty',
  ])

  example('listing what does not exist', async () => {
    try {
      const entries = await sandbox.filesystem.readdir('/nonexistent')
      console.log(entries)
    } catch (error) {
      console.error('Failed to read directory:', error.message)
    }
  }, ['Failed to read directory: Directory not found: /nonexistent'])

  example('checking what exists', async () => {
    console.log(await sandbox.filesystem.exists('/app/config.txt'))
    console.log(await sandbox.filesystem.exists('/app/src'))
    console.log(await sandbox.filesystem.exists('/app/nonexistent.txt'))
    const requiredFiles = ['/app/package.json', '/app/src/index.js', '/app/README.md']
    const checks = await Promise.all(requiredFiles.map((path) => sandbox.filesystem.exists(path)))
    const allExist = checks.every((exists) => exists)
    console.log('All required files present:', allExist)
  }, ['true', 'true', 'false', 'All required files present: false'])

  example('removing', async () => {
    await sandbox.filesystem.mkdir('/app/cache/images/thumbnails')
    await sandbox.filesystem.writeFile('/app/cache/data.json', '{}')
    await sandbox.filesystem.writeFile('/app/cache/images/photo.jpg', 'image data')
    await sandbox.filesystem.remove('/app/cache')
    const stillExists = await sandbox.filesystem.exists('/app/cache')
    console.log('File still exists:', stillExists)
    try {
      await sandbox.filesystem.remove('/app/nonexistent.txt')
    } catch (error) {
      console.error('Failed to remove:', error.message)
    }
  }, ['File still exists: false', 'Failed to remove: File not found: /app/nonexistent.txt'])
})

describe('document 2, with the local provider', () => {
  before(async () => {
    sandbox = await create()
  })

  example('with compute', async () => {
    compute.setConfig({
      provider: local(),
    })
    const sandbox = await compute.sandbox.create({})
    const result = await sandbox.runCode(`
import json
data = {"message": "Hello from Python"}
print(json.dumps(data))
`)
    console.log(result.stdout)
    await compute.sandbox.destroy(sandbox.sandboxId)
    compute.clearConfig()
  }, ['{"message": "Hello from Python"}\n'])

  example('code', async () => {
    const result = await sandbox.runCode(
      `
const data = { message: "Hello from Node.js" };
console.log(JSON.stringify(data));
`,
      'node',
    )
    console.log(result.stdout)
    const detected = await sandbox.runCode('print("Auto-detected as Python")')
    console.log(detected.stdout)
  }, ['{"message":"Hello from Node.js"}\n', 'Auto-detected as Python\n'])

  example('commands and files', async () => {
    await sandbox.filesystem.writeFile('/tmp/hello.py', 'print("Hello World")')
    const content = await sandbox.filesystem.readFile('/tmp/hello.py')
    console.log(content)
    await sandbox.filesystem.mkdir('/tmp/data')
    const files = await sandbox.filesystem.readdir('/tmp')
    console.log(files.map((file) => file.name))
    const result = await sandbox.runCommand('python', ['/tmp/hello.py'])
    console.log(result.stdout)
    const list = await sandbox.runCommand('ls', ['-la'])
    console.log(list.exitCode)
    await sandbox.filesystem.remove('/tmp/hello.py')
    const exists = await sandbox.filesystem.exists('/tmp/hello.py')
    console.log(exists)
  }, ['print("Hello World")', '["data","hello.py"]', 'Hello World\n', '0', 'false'])

  example('sandbox management', async () => {
    const provider = local()
    const info = await sandbox.getInfo()
    console.log(info.id === sandbox.sandboxId, info.provider, info.status)
    const existing = await compute.sandbox.getById(provider, 'sandbox-id')
    console.log(existing)
    await compute.sandbox.destroy(provider, 'sandbox-id')
  }, ['true local running', 'null'])

  example('a longer life', async () => {
    const sandbox = await compute.sandbox.create({
      options: { timeout: 600000 }, // 10 minutes for ML tasks
    })
    console.log((await sandbox.getInfo()).timeout)
    await sandbox.destroy()
  }, ['600000'])
})
