// What the documents' examples find in their sandbox.

const FILES = {
  '/app/.env': 'API_KEY=secret\nDEBUG=true',
  '/app/README.md': '# My Project\n\nDescription of it\n',
  '/app/config.json': '{}',
  '/app/config.txt': 'port=3000\nhost=localhost',
  '/app/package.json': JSON.stringify({ name: 'my-app', version: '1.0.0', scripts: { test: 'true' } }),
  '/app/scripts/script.py': 'import os; print(os.environ["DEBUG"])',
  '/app/server.js': "const express = require('express');\n",
  '/app/src/index.js': '',
  '/home/user/data.txt': 'an error\nfine\nerror again\n',
  '/home/user/package.json': JSON.stringify({ scripts: { start: 'node server.js', dev: 'node server.js' } }),
  '/home/user/script.py': 'print("a script")',
  // Told its port, it only says so: whoever runs it waits for its end.
  '/home/user/server.js': `
    const { PORT } = process.env
    if (PORT) console.log(PORT)
    else require('node:http').createServer((_, answer) => answer.end('hello')).listen(3000)`,
}

/** What some find running. */
const RUNNING = {
  '3.3.2': { port: 8080, command: 'PORT= node -e "$(sed s/3000/8080/ server.js)"' },
}

/** Puts it there. */
export async function furnish(sandbox, number) {
  await sandbox.filesystem.mkdir('/app/temp')
  for (const [path, content] of Object.entries(FILES)) await sandbox.filesystem.writeFile(path, content)
  const { port, command } = RUNNING[number] ?? {}
  if (!command) return
  await sandbox.runCommand(command, { background: true, cwd: '/home/user' })
  await sandbox.waitForPort(port)
}
