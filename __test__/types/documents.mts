// biome-ignore-all lint: the code is the documents'
// The TypeScript of the three documents that describe the API (1: API integration, 2: the E2B provider, 3: the
// interface of a sandbox), block by block as they have it, for tsc alone: types.test.mjs compiles this, with
// `useUnknownInCatchVariables: false`. It never runs. A block that declares a constant twice is one example for
// each; what the documents import from '@computesdk/e2b' comes from 'computesdk'; Python is left out.

import {
  CommandExitError,
  type ComputeRequest,
  compute,
  createCompute,
  type E2BConfig as ExportedConfig,
  e2b,
  handleComputeRequest,
  type Provider,
  type Sandbox,
} from 'computesdk'

declare const sandbox: Sandbox
declare const provider: Provider
declare const app: {
  post(
    path: string,
    handler: (
      req: { body: any },
      res: { json(body: unknown): void; status(code: number): { json(body: unknown): void } },
    ) => void,
  ): void
}

export async function document1Example1() {
  // Initialize with default provider
  const compute = createCompute({
    defaultProvider: e2b({
      apiKey: process.env.E2B_API_KEY, // Required for E2B provider
    }),
  })
}

export async function document1Example2() {
  // Example with Express
  app.post('/api/compute', async (req, res) => {
    try {
      const response = await handleComputeRequest({
        request: req.body,
        provider: e2b({ apiKey: process.env.E2B_API_KEY }),
      })
      res.json(response)
    } catch (error) {
      res.status(500).json({
        success: false,
        error: error.message,
      })
    }
  })
}

export async function document1Example3() {
  const request = {
    action: 'compute.sandbox.create', // Required: Action to perform
    sandboxId: 'optional-id', // Optional: Target sandbox ID
    command: 'python', // For runCommand action
    args: ['script.py'], // Command arguments
    code: "print('hello')", // For direct code execution
    path: '/path/to/file', // For file operations
    content: 'file content', // For file write operations
  } satisfies ComputeRequest
}

export async function document1Example4() {
  try {
    const result = await sandbox.runCommand('false') // Will exit with non-zero status
  } catch (error) {
    if (error instanceof CommandExitError) {
      console.error('Command failed:', error.result.stderr)
      console.error('Exit code:', error.result.exitCode)
    } else {
      console.error('Unexpected error:', error)
    }
  }
}

export async function document1Example5() {
  const sandbox = await compute.sandbox.create({
    runtime: 'python3.9',
  })
}

export async function document1Example6() {
  const sandbox = await compute.sandbox.create({
    timeout: 60000, // 1 minute timeout
  })
}

export async function document1Example7() {
  const sandbox = await compute.sandbox.create({
    sandboxId: 'my-custom-sandbox-123',
  })
}

export async function document1Example8() {
  const sandbox = await compute.sandbox.create({
    templateId: 'data-science-template',
  })
}

export async function document1Example9() {
  const sandbox = await compute.sandbox.create({
    metadata: {
      userId: 'user-123',
      project: 'data-analysis',
    },
  })
}

export async function document1Example10() {
  const sandbox = await compute.sandbox.create({
    domain: 'my-sandbox.example.com',
  })
}

export async function document1Example11() {
  const sandbox = await compute.sandbox.create({
    envs: {
      API_KEY: 'your-api-key',
      DEBUG: 'true',
    },
  })
}

export async function document1Example12() {
  const sandbox = await compute.sandbox.create({
    runtime: 'python3.9',
    timeout: 300000, // 5 minutes
    sandboxId: 'data-processing-123',
    metadata: {
      userId: 'user-123',
      jobType: 'data-processing',
    },
    envs: {
      DATABASE_URL: process.env.DATABASE_URL,
      NODE_ENV: 'production',
    },
  })
}

export async function document2Example1() {
  // Set as default provider
  compute.setConfig({
    provider: e2b({ apiKey: process.env.E2B_API_KEY }),
  })

  // Create sandbox
  const sandbox = await compute.sandbox.create({})

  // Execute Python code
  const result = await sandbox.runCode('print(1)')

  console.log(result.stdout)
  // Output:
  //    A  B
  // 0  1  4
  // 1  2  5
  // 2  3  6
  // Sum: 21

  // Clean up
  await compute.sandbox.destroy(sandbox.sandboxId)
}

export async function document2Example2() {
  // Create provider
  const provider = e2b({
    apiKey: 'e2b_your_api_key',
    timeout: 600000, // 10 minutes
  })

  // Use with compute singleton
  const sandbox = await compute.sandbox.create({ provider })
}

export async function document2Example3() {
  interface E2BConfig {
    /** E2B API key - if not provided, will use E2B_API_KEY env var */
    apiKey?: string
    /** Default runtime environment */
    runtime?: 'python' | 'node'
    /** Execution timeout in milliseconds */
    timeout?: number
  }
  // Each field takes what the exported type's has, and the other way round.
  const theirs: Required<E2BConfig> = {} as Required<Pick<ExportedConfig, keyof E2BConfig>>
  const ours: Required<Pick<ExportedConfig, keyof E2BConfig>> = {} as Required<E2BConfig>
  return { theirs, ours }
}

export async function document2Example4() {
  // Execute Python code
  const result = await sandbox.runCode('print(1)', 'python')
}

export async function document2Example5() {
  // Execute Node.js code
  const result = await sandbox.runCode(
    `
const data = { message: "Hello from Node.js" };
console.log(JSON.stringify(data));
`,
    'node',
  )
}

export async function document2Example6() {
  // Auto-detection (based on code patterns)
  const result = await sandbox.runCode('print("Auto-detected as Python")')
}

export async function document2Example7() {
  // List files
  const result = await sandbox.runCommand('ls', ['-la'])
}

export async function document2Example8() {
  // Install packages
  const result = await sandbox.runCommand('pip', ['install', 'requests'])
}

export async function document2Example9() {
  // Run scripts
  const result = await sandbox.runCommand('python', ['script.py'])
}

export async function document2Example10() {
  // Write file
  await sandbox.filesystem.writeFile('/tmp/hello.py', 'print("Hello World")')

  // Read file
  const content = await sandbox.filesystem.readFile('/tmp/hello.py')

  // Create directory
  await sandbox.filesystem.mkdir('/tmp/data')

  // List directory contents
  const files = await sandbox.filesystem.readdir('/tmp')

  // Check if file exists
  const exists = await sandbox.filesystem.exists('/tmp/hello.py')

  // Remove file or directory
  await sandbox.filesystem.remove('/tmp/hello.py')
}

export async function document2Example11() {
  // Create terminal
  const terminal = await sandbox.terminal.create({
    command: 'bash',
    cols: 80,
    rows: 24,
    onData: (data: Uint8Array) => {
      const output = new TextDecoder().decode(data)
      console.log('Terminal output:', output)
    },
  })

  // Write to terminal
  await terminal.write('echo "Hello Terminal!"\n')

  // Resize terminal
  await terminal.resize(120, 30)

  // Kill terminal
  await terminal.kill()

  // List all terminals
  const terminals = await sandbox.terminal.list()

  // Get terminal by ID
  const existingTerminal = await sandbox.terminal.getById('terminal-id')
}

export async function document2Example12() {
  // Get sandbox info
  const info = await sandbox.getInfo()
  console.log(info.id, info.provider, info.status)

  // Get existing sandbox (reconnect)
  const existing = await compute.sandbox.getById(provider, 'sandbox-id')

  // Destroy sandbox
  await compute.sandbox.destroy(provider, 'sandbox-id')
}

export async function document2Example13() {
  try {
    const result = await sandbox.runCode('invalid code')
  } catch (error) {
    if (error.message.includes('Missing E2B API key')) {
      console.error('Set E2B_API_KEY environment variable')
    } else if (error.message.includes('Invalid E2B API key format')) {
      console.error('E2B API keys should start with "e2b_"')
    } else if (error.message.includes('authentication failed')) {
      console.error('Check your E2B API key')
    } else if (error.message.includes('quota exceeded')) {
      console.error('E2B usage limits reached')
    } else if (error.message.includes('Syntax error')) {
      console.error('Code has syntax errors')
    }
  }
}

export async function document2Example14() {
  async function POST(request: Request) {
    return handleComputeRequest({
      request,
      provider: e2b({ apiKey: process.env.E2B_API_KEY }),
    })
  }
}

export async function document2Example15() {
  const sandbox = await compute.sandbox.create({})

  // Create project structure
  await sandbox.filesystem.mkdir('/analysis')
  await sandbox.filesystem.mkdir('/analysis/data')
  await sandbox.filesystem.mkdir('/analysis/output')

  // Write input data
  const csvData = `name,age,city
Alice,25,New York
Bob,30,San Francisco
Charlie,35,Chicago`

  await sandbox.filesystem.writeFile('/analysis/data/people.csv', csvData)

  // Process data with Python
  const result = await sandbox.runCode('print(1)')

  console.log(result.stdout)

  // Read the results
  const results = await sandbox.filesystem.readFile('/analysis/output/results.json')
  console.log('Analysis results:', JSON.parse(results))

  // Check if chart was created
  const chartExists = await sandbox.filesystem.exists('/analysis/output/age_chart.png')
  console.log('Chart created:', chartExists)
}

export async function document2Example16() {
  const sandbox = await compute.sandbox.create({})

  // Create interactive Python terminal
  const terminal = await sandbox.terminal.create({
    command: 'python3',
    cols: 80,
    rows: 24,
    onData: (data: Uint8Array) => {
      const output = new TextDecoder().decode(data)
      process.stdout.write(output) // Forward to console
    },
  })

  // Send Python commands
  await terminal.write('import numpy as np\n')
  await terminal.write('import pandas as pd\n')
  await terminal.write('print("Libraries loaded!")\n')
  await terminal.write('data = np.array([1, 2, 3, 4, 5])\n')
  await terminal.write('print(f"Mean: {data.mean()}")\n')
  await terminal.write('exit()\n')

  // Wait for commands to execute
  await new Promise((resolve) => setTimeout(resolve, 2000))

  await terminal.kill()
}

export async function document2Example17() {
  const sandbox = await compute.sandbox.create({
    options: { timeout: 600000 }, // 10 minutes for ML tasks
  })

  // Create ML project structure
  await sandbox.filesystem.mkdir('/ml-project')
  await sandbox.filesystem.mkdir('/ml-project/data')
  await sandbox.filesystem.mkdir('/ml-project/models')

  // Generate and process data
  const result = await sandbox.runCode('print(1)')

  console.log(result.stdout)

  // Read the results
  const results = await sandbox.filesystem.readFile('/ml-project/results.json')
  console.log('ML Results:', JSON.parse(results))

  // Verify model file exists
  const modelExists = await sandbox.filesystem.exists('/ml-project/models/linear_model.pkl')
  console.log('Model saved:', modelExists)
}

export async function document3Example1() {
  // Simple command execution
  const result = await sandbox.runCommand('ls -la')
  console.log(result.stdout) // Directory listing
  console.log(result.exitCode) // 0
  console.log(result.durationMs) // 45
}

export async function document3Example2() {
  // Command with working directory
  const result = await sandbox.runCommand('npm install', {
    cwd: '/app',
  })
  console.log(result.stdout)
}

export async function document3Example3() {
  // Command with environment variables
  const result = await sandbox.runCommand('node server.js', {
    env: {
      NODE_ENV: 'production',
      PORT: '3000',
    },
  })
}

export async function document3Example4() {
  // Background command execution
  const result = await sandbox.runCommand('npm run dev', {
    background: true,
  })
  // Command runs in background, result returns immediately
}

export async function document3Example5() {
  // Combined options
  const result = await sandbox.runCommand('python script.py', {
    cwd: '/app/scripts',
    env: { DEBUG: 'true' },
    timeout: 30000,
  })
}

export async function document3Example6() {
  // Error handling with exit codes
  const result = await sandbox.runCommand('grep pattern file.txt')
  if (result.exitCode !== 0) {
    console.error('Command failed:', result.stderr)
  } else {
    console.log('Match found:', result.stdout)
  }
}

export async function document3Example7() {
  // Multi-command execution (use shell operators)
  const result = await sandbox.runCommand('cd /app && npm install && npm test')
}

export async function document3Example8() {
  // Command with shell pipes and redirects
  const result = await sandbox.runCommand('cat data.txt | grep "error" | wc -l')
}

export async function document3Example9() {
  // Basic usage - inspect sandbox info
  const info = await sandbox.getInfo()
  console.log(info.id) // "sb_abc123..."
  console.log(info.provider) // "e2b"
  console.log(info.status) // "running"
}

export async function document3Example10() {
  // Check sandbox status
  const info = await sandbox.getInfo()
  if (info.status === 'running') {
    console.log('Sandbox is active')
    await sandbox.runCommand('echo "Hello"')
  } else {
    console.log('Sandbox is not available')
  }
}

export async function document3Example11() {
  // Access provider info
  const info = await sandbox.getInfo()
  console.log(`Running on ${info.provider}`)
  console.log(`Created: ${info.createdAt.toISOString()}`)
  console.log(`Timeout: ${info.timeout}ms`)
}

export async function document3Example12() {
  // Full info inspection for debugging
  const info = await sandbox.getInfo()
  console.log('Sandbox Information:')
  console.log(` ID: ${info.id}`)
  console.log(` Provider: ${info.provider}`)
  console.log(` Status: ${info.status}`)
  console.log(` Created: ${info.createdAt}`)
  console.log(` Timeout: ${info.timeout}ms`)
  if (info.metadata) {
    console.log(` Metadata:`, info.metadata)
  }
}

export async function document3Example13() {
  // Access web server on port 3000
  const url = await sandbox.getUrl({ port: 3000 })
  console.log(url) // "https://sandbox-123-3000.preview.computesdk.com"
}

export async function document3Example14() {
  // Use URL to make HTTP request
  const url = await sandbox.getUrl({ port: 8080 })
  const response = await fetch(url)
  console.log(await response.text())
}

export async function document3Example15() {
  // Specify HTTP protocol
  const url = await sandbox.getUrl({
    port: 5000,
    protocol: 'http',
  })
  console.log(url) // "http://sandbox-123-5000.preview.computesdk.com"
  // Multiple services on different ports
  const apiUrl = await sandbox.getUrl({ port: 3000 })
  const wsUrl = await sandbox.getUrl({ port: 8080 })
  console.log('API:', apiUrl)
  console.log('WebSocket:', wsUrl)
}

export async function document3Example16() {
  // Start server and get URL
  await sandbox.runCommand('npm start', { background: true })
  await new Promise((resolve) => setTimeout(resolve, 2000)) // Wait for server
  const url = await sandbox.getUrl({ port: 3000 })
  console.log(`Server running at: ${url}`)
}

export async function document3Example17() {
  // Error case - accessing URL before service is ready
  const url = await sandbox.getUrl({ port: 3000 })
  try {
    const response = await fetch(url)
    console.log('Server is ready:', response.status)
  } catch (error) {
    console.error('Service not running on port 3000 yet')
    // Wait and retry, or start the service first
  }
}

export async function document3Example18() {
  // Basic file reading
  const content = await sandbox.filesystem.readFile('/app/config.txt')
  console.log(content) // "port=3000\nhost=localhost"
  // Read a JSON file
  const jsonContent = await sandbox.filesystem.readFile('/app/package.json')
  const packageData = JSON.parse(jsonContent)
  console.log(packageData.name) // "my-app"
  console.log(packageData.version) // "1.0.0"
  // Read configuration files
  const envContent = await sandbox.filesystem.readFile('/app/.env')
  console.log(envContent) // "API_KEY=secret\nDEBUG=true"
  // Error handling for non-existent files
  try {
    const content = await sandbox.filesystem.readFile('/nonexistent.txt')
  } catch (error) {
    console.error('Failed to read file:', error.message)
    // "Failed to read file: File not found: /nonexistent.txt"
  }
  // Check existence before reading
  const filePath = '/app/optional-config.json'
  if (await sandbox.filesystem.exists(filePath)) {
    const content = await sandbox.filesystem.readFile(filePath)
    console.log('Config loaded:', content)
  } else {
    console.log('Config file not found, using defaults')
  }
}

export async function document3Example19() {
  // Read after writing
  await sandbox.filesystem.writeFile('/app/output.txt', 'Hello, World!')
  const content = await sandbox.filesystem.readFile('/app/output.txt')
  console.log(content) // "Hello, World!"
  // Read code files
  const scriptContent = await sandbox.filesystem.readFile('/app/server.js')
  console.log(scriptContent) // "const express = require('express');\n..."
  // Read markdown files
  const readme = await sandbox.filesystem.readFile('/app/README.md')
  console.log(readme) // "# My Project\n\nDescription..."
}

export async function document3Example20() {
  // Basic file writing
  await sandbox.filesystem.writeFile('/app/config.txt', 'port=3000\nhost=localhost')
  console.log('File written successfully')
  // Write JSON data
  const data = { name: 'my-app', version: '1.0.0' }
  await sandbox.filesystem.writeFile('/app/package.json', JSON.stringify(data, null, 2))
  // Write configuration files
  const envContent = 'API_KEY=secret\nDEBUG=true\nPORT=3000'
  await sandbox.filesystem.writeFile('/app/.env', envContent)
  // Overwrite existing files
  await sandbox.filesystem.writeFile('/app/log.txt', 'First entry')
  await sandbox.filesystem.writeFile('/app/log.txt', 'Second entry')
  const content = await sandbox.filesystem.readFile('/app/log.txt')
  console.log(content) // "Second entry" (first entry was overwritten)
  // Error handling
  try {
    await sandbox.filesystem.writeFile('/app/data.json', JSON.stringify({ key: 'value' }))
    console.log('File created successfully')
  } catch (error) {
    console.error('Failed to write file:', error.message)
  }
  // Write multiline content with template literals
  const script = `#!/bin/bash
echo "Starting application..."
npm install
npm start
`
  await sandbox.filesystem.writeFile('/app/start.sh', script)
  // Write then read to verify
  const newContent = 'Hello, World!'
  await sandbox.filesystem.writeFile('/app/greeting.txt', newContent)
  const readBack = await sandbox.filesystem.readFile('/app/greeting.txt')
  console.log(readBack === newContent) // true
}

export async function document3Example21() {
  // Basic directory creation
  await sandbox.filesystem.mkdir('/app/data')
  console.log('Directory created')
  // Multiple directories for project structure
  await sandbox.filesystem.mkdir('/app/src')
  await sandbox.filesystem.mkdir('/app/tests')
  await sandbox.filesystem.mkdir('/app/dist')
  // Directory already exists - succeeds silently
  await sandbox.filesystem.mkdir('/app/data')
  await sandbox.filesystem.mkdir('/app/data') // No error thrown
  console.log('Both calls succeeded')
  // Error handling
  try {
    await sandbox.filesystem.mkdir('/app/project/data')
    console.log('Directory created successfully')
  } catch (error) {
    console.error('Failed to create directory:', error.message)
  }
}

export async function document3Example22() {
  // Basic directory listing
  const entries = await sandbox.filesystem.readdir('/app')
  console.log(entries)
  // [
  // { name: 'config.json', type: 'file', size: 245 },
  // { name: 'src', type: 'directory' },
  // { name: 'package.json', type: 'file', size: 512 }
  // ]
}

export async function document3Example23() {
  // List and display all entries
  const entries = await sandbox.filesystem.readdir('/app')
  entries.forEach((entry) => {
    console.log(`${entry.type === 'directory' ? '📁' : '📄'} ${entry.name}`)
  })
  // 📄 config.json
  // 📁 src
  // 📄 package.json
}

export async function document3Example24() {
  // Find specific files by extension
  const entries = await sandbox.filesystem.readdir('/app/src')
  const jsFiles = entries.filter((e) => e.type === 'file' && e.name.endsWith('.js'))
  console.log(
    'JavaScript files:',
    jsFiles.map((f) => f.name),
  )
}

export async function document3Example25() {
  // Count files and directories
  const entries = await sandbox.filesystem.readdir('/app')
  const fileCount = entries.filter((e) => e.type === 'file').length
  const dirCount = entries.filter((e) => e.type === 'directory').length
  console.log(`Found ${fileCount} files and ${dirCount} directories`)
}

export async function document3Example26() {
  // Check if directory is empty
  const entries = await sandbox.filesystem.readdir('/app/temp')
  if (entries.length === 0) {
    console.log('Directory is empty')
  } else {
    console.log(`Directory contains ${entries.length} items`)
  }
  // Error handling for non-existent directories
  try {
    const entries = await sandbox.filesystem.readdir('/nonexistent')
    console.log(entries)
  } catch (error) {
    console.error('Failed to read directory:', error.message)
    // "Failed to read directory: Directory not found: /nonexistent"
  }
  // Check existence before reading
  const dirPath = '/app/optional-data'
  if (await sandbox.filesystem.exists(dirPath)) {
    const entries = await sandbox.filesystem.readdir(dirPath)
    console.log(`Found ${entries.length} entries in ${dirPath}`)
  } else {
    console.log('Directory does not exist')
  }
}

export async function document3Example27() {
  // Basic file existence check
  const exists = await sandbox.filesystem.exists('/app/config.json')
  console.log(exists) // true
  // Basic directory existence check
  const dirExists = await sandbox.filesystem.exists('/app/src')
  console.log(dirExists) // true
  // Check for non-existent path (returns false, doesn't throw error)
  const missing = await sandbox.filesystem.exists('/app/nonexistent.txt')
  console.log(missing) // false
  // Check before reading to avoid errors
  const configPath = '/app/config.json'
  if (await sandbox.filesystem.exists(configPath)) {
    const content = await sandbox.filesystem.readFile(configPath)
    console.log('Config loaded:', content)
  } else {
    console.log('Config file not found, using defaults')
  }
  // Check before writing to avoid overwriting
  const outputPath = '/app/output.txt'
  if (await sandbox.filesystem.exists(outputPath)) {
    console.log('File already exists, skipping write')
  } else {
    await sandbox.filesystem.writeFile(outputPath, 'New content')
    console.log('File created')
  }
  // Verify file creation
  await sandbox.filesystem.writeFile('/app/data.json', '{}')
  const created = await sandbox.filesystem.exists('/app/data.json')
  console.log('File created successfully:', created) // true
  // Verify file deletion
  await sandbox.filesystem.writeFile('/app/temp.txt', 'temporary')
  await sandbox.filesystem.remove('/app/temp.txt')
  const stillExists = await sandbox.filesystem.exists('/app/temp.txt')
  console.log('File still exists:', stillExists) // false
  // Verify directory creation
  await sandbox.filesystem.mkdir('/app/logs')
  const dirCreated = await sandbox.filesystem.exists('/app/logs')
  console.log('Directory created:', dirCreated) // true
  // Check multiple files at once
  const requiredFiles = ['/app/package.json', '/app/src/index.js', '/app/README.md']
  const checks = await Promise.all(requiredFiles.map((path) => sandbox.filesystem.exists(path)))
  const allExist = checks.every((exists) => exists)
  console.log('All required files present:', allExist)
}

export async function document3Example28() {
  // Basic file removal
  await sandbox.filesystem.writeFile('/app/temp.txt', 'temporary data')
  await sandbox.filesystem.remove('/app/temp.txt')
  console.log('File removed')
  // Basic directory removal (recursive)
  await sandbox.filesystem.mkdir('/app/old-data')
  await sandbox.filesystem.writeFile('/app/old-data/file1.txt', 'data')
  await sandbox.filesystem.writeFile('/app/old-data/file2.txt', 'data')
  await sandbox.filesystem.remove('/app/old-data')
  console.log('Directory and all contents removed')
  // Remove file and verify deletion
  await sandbox.filesystem.writeFile('/app/output.txt', 'content')
  await sandbox.filesystem.remove('/app/output.txt')
  const exists = await sandbox.filesystem.exists('/app/output.txt')
  console.log('File still exists:', exists) // false
  // Remove directory with nested contents
  await sandbox.filesystem.mkdir('/app/cache/images/thumbnails')
  await sandbox.filesystem.writeFile('/app/cache/data.json', '{}')
  await sandbox.filesystem.writeFile('/app/cache/images/photo.jpg', 'image data')
  await sandbox.filesystem.remove('/app/cache')
  console.log('Entire cache directory tree removed')
  // Error handling for non-existent paths
  try {
    await sandbox.filesystem.remove('/app/nonexistent.txt')
  } catch (error) {
    console.error('Failed to remove:', error.message)
    // "Failed to remove: File not found: /app/nonexistent.txt"
  }
  // Safe removal with existence check
  const filePath = '/app/optional-cache.json'
  if (await sandbox.filesystem.exists(filePath)) {
    await sandbox.filesystem.remove(filePath)
    console.log('Cache file removed')
  } else {
    console.log('No cache file to remove')
  }
}
