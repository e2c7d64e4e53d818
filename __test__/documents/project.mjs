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
  '/home/user/server.js': 'require("node:http").createServer((_, answer) => answer.end("hello")).listen(process.env.PORT ?? 3000)',
}

/** Puts it there. */
export async function furnish(sandbox) {
  await sandbox.filesystem.mkdir('/app/temp')
  for (const [path, content] of Object.entries(FILES)) await sandbox.filesystem.writeFile(path, content)
}
