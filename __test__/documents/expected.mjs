// What the documents' examples need, print and leave, by their numbers. What they print is lines, or patterns where the documents give an example of what
// differs each time. An example that is not here prints nothing.

import assert from 'node:assert/strict'

import { handleComputeRequest } from '../../index.js'

const SCIENCE = ['   A  B\n0  1  4\n1  2  5\n2  3  6\nSum: 21\n']
const ID = /^\w+$/

export const expected = {
  '1.4.1': ['Command failed: ', 'Exit code: 1'],
  '2.1.1': SCIENCE,
  // As often as something comes.
  '2.7.1': /^Terminal output: /,
  '2.8.1': [/^\S+ (local|e2b) running$/],
  '2.9.1': ['Code has syntax errors'],
  '2.11.1': [
    /^Data loaded:\n {6}name {2}age {11}city\n0 {4}Alice.*\nAverage age: 30\.0\n\nChart saved to \/analysis\/output\/age_chart\.png\nResults saved!\n$/s,
    /^Analysis results: \{\n {2}total_people: 3,\n {2}average_age: 30,\n {2}cities: \[ 'New York', 'San Francisco', 'Chicago' \]\n\}$/,
    'Chart created: true',
  ],
  '2.13.1': [
    /^Dataset shape: \(1000, 6\)\n.*\nModel Performance:\nMSE: 0\.\d{4}\nR²: 0\.99\d\d\n\nModel saved to .*Results saved!\n$/s,
    /^ML Results: \{\n {2}mse: 0\.\d+,.*feature_4: .*intercept: .*\}$/s,
    'Model saved: true',
  ],
  '3.1.1': [/data\.txt/, '0', /^[1-9]\d*$/],
  '3.1.2': [/up to date/],
  '3.1.6': ['Command failed: grep: file.txt: No such file or directory\n'],
  '3.2.1': [ID, /^(local|e2b)$/, 'running'],
  '3.2.2': ['Sandbox is active'],
  '3.2.3': [/^Running on (local|e2b)$/, /^Created: 20\d\d-/, 'Timeout: 300000ms'],
  '3.2.4': [
    'Sandbox Information:',
    /^ ID: \w+$/,
    /^ Provider: (local|e2b)$/,
    ' Status: running',
    /^ Created: .* 20\d\d /,
    ' Timeout: 300000ms',
    " Metadata: { purpose: 'documents' }",
  ],
  '3.3.1': [/^https?:\/\/\S+$/],
  '3.3.2': ['hello'],
  '3.3.3': [/^http:\/\/\S+$/, /^API: http/, /^WebSocket: http/],
  '3.3.4': [/^Server running at: http/],
  // E2B's edge answers for a port that is closed.
  '3.3.5': [/^(Service not running on port 3000 yet|Server is ready: 502)$/],
  '3.4.1': [
    'port=3000\nhost=localhost',
    'my-app',
    '1.0.0',
    'API_KEY=secret\nDEBUG=true',
    'Failed to read file: File not found: /nonexistent.txt',
    'Config file not found, using defaults',
  ],
  '3.4.2': ['Hello, World!', /^const express = require\('express'\);\n/, /^# My Project\n\nDescription/],
  '3.5.1': ['File written successfully', 'Second entry', 'File created successfully', 'true'],
  '3.6.1': ['Directory created', 'Both calls succeeded', 'Directory created successfully'],
  '3.7.1': [/^\[\n {2}\{.*name: 'config\.json'.*type: 'file'.*\n\]$/s],
  '3.7.2': [
    '📄 .env',
    '📄 README.md',
    '📄 config.json',
    '📄 config.txt',
    '📄 package.json',
    '📁 scripts',
    '📄 server.js',
    '📁 src',
    '📁 temp',
  ],
  '3.7.3': ["JavaScript files: [ 'index.js' ]"],
  '3.7.4': ['Found 6 files and 3 directories'],
  '3.7.5': [
    'Directory is empty',
    'Failed to read directory: Directory not found: /nonexistent',
    'Directory does not exist',
  ],
  '3.8.1': [
    'true',
    'true',
    'false',
    'Config loaded: {}',
    'File created',
    'File created successfully: true',
    'File still exists: false',
    'Directory created: true',
    'All required files present: true',
  ],
  '3.9.1': [
    'File removed',
    'Directory and all contents removed',
    'File still exists: false',
    'Entire cache directory tree removed',
    'Failed to remove: File not found: /app/nonexistent.txt',
    'No cache file to remove',
  ],
}

/** Options of the sandbox that an example finds. */
export function before(number) {
  return number === '3.2.4' ? { metadata: { purpose: 'documents' } } : {}
}

/** The answer of a handler to the creation of a sandbox. */
function checkCreated(answer) {
  assert.equal(answer.success, true, JSON.stringify(answer))
  assert.match(answer.sandboxId, /^\w+$/)
  assert.equal(answer.status, 200)
}

const CREATE = { action: 'compute.sandbox.create' }

/** What is to be seen when an example is over. */
export const after = {
  '1.2.1': async ({ routes }) => {
    let answer
    await routes.get('/api/compute')({ body: CREATE }, { json: (value) => (answer = value) })
    checkCreated(answer)
  },
  '1.3.1': async ({ exported }) => checkCreated(await handleComputeRequest(exported)),
  '2.10.1': async ({ exported }) => {
    const request = new Request('http://localhost/api/compute', {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify(CREATE),
    })
    const response = await exported.POST(request)
    assert.equal(response.status, 200)
    checkCreated(await response.json())
  },
}
