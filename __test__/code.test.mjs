// runCode: which language it takes code for, how code reaches its interpreter, and what comes of it.

import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { after, before, describe } from 'node:test'

import { CodeSyntaxError, ComputeError, InvalidArgumentError, local, UnsupportedError } from '../index.js'
import { failure, sandbox, test } from './support.mjs'

let box

before(async () => {
  box = await sandbox()
})

/** Runs code that must succeed. */
async function run(...args) {
  const result = await box.runCode(...args)
  assert.equal(result.exitCode, 0, result.stderr)
  return result
}

describe('the language of code', () => {
  const PYTHON = [
    'print("Auto-detected as Python")',
    'import json\ndata = {"message": "Hello from Python"}\nprint(json.dumps(data))',
    'from os import path\nx = path.sep',
    'def name():\n    return 1',
    'x = f"{1 + 1}"',
    'if 1 < 2:\n    x = 3',
    'name = __name__',
  ]
  const NODE = [
    'const data = { message: "Hello from Node.js" };\nconsole.log(JSON.stringify(data));',
    "import { sep } from 'node:path'\nconsole.log(sep)",
    "import fs from 'node:fs'\nconst raise = fs.constants",
    'console.log(__dirname.length > 0)',
    "const x = 'self'; console.log(x)",
    'console.log("print(1)")',
    '1 + 1',
    '',
  ]

  test('is detected', async () => {
    for (const [language, snippets] of [
      ['python', PYTHON],
      ['node', NODE],
    ]) {
      for (const snippet of snippets) assert.equal((await run(snippet)).language, language, snippet)
    }
  })

  test('is what the argument says, then the options, then the sandbox, then the provider', async () => {
    // Both languages print what they are.
    const code = 'print("python")'
    const both = (name) => `${name} = 1 // 1`
    assert.equal((await run(both('x'))).language, 'node')
    assert.equal((await run(both('x'), 'python')).language, 'python')
    assert.equal((await run(both('x'), { runtime: 'python' })).language, 'python')
    assert.equal((await run(both('x'), 'node', { runtime: 'python' })).language, 'node')
    assert.equal((await run(both('x'), undefined, { runtime: 'python' })).language, 'python')
    assert.equal((await run(code)).stdout, 'python\n')

    const made = await local({ runtime: 'python' }).sandbox.create({ runtime: 'node' })
    assert.equal((await made.runCode(both('x'))).language, 'node')
    assert.equal((await made.runCode(both('x'), 'python')).language, 'python')
    assert.equal((await made.getInfo()).runtime, 'node')
    const provided = await local({ runtime: 'python' }).sandbox.create()
    assert.equal((await provided.runCode('x = 1')).language, 'python')
    assert.match((await provided.getInfo()).runtime, /^python/)
    const found = await local().sandbox.getById(provided.sandboxId)
    assert.equal((await found.runCode('x = 1')).language, 'python')
    assert.equal('runtime' in (await box.getInfo()), false)
  })

  test('has its family by the beginning of the runtime’s name', async () => {
    for (const runtime of ['python', 'python3', 'python3.9', 'python3.11']) {
      assert.equal((await run('x = 1', runtime)).language, 'python')
    }
    for (const runtime of ['node', 'nodejs', 'nodejs16', 'node20']) {
      assert.equal((await run('x = 1', runtime)).language, 'node')
    }
    const versioned = await sandbox({ runtime: 'python3.1' })
    assert.equal((await versioned.runCode('x = 1')).language, 'python')
    assert.match((await versioned.getInfo()).runtime, /^python3\.\d+$|^python$/)
  })

  test('of an unknown family is refused', async () => {
    for (const runtime of ['ruby', '', 'PYTHON', 'pythonista', 'deno']) {
      const refused = { message: /runtime/ }
      await failure(box.runCode('1', runtime), InvalidArgumentError, refused)
      await failure(box.runCode('1', { runtime }), InvalidArgumentError, refused)
      await failure(sandbox({ runtime }), InvalidArgumentError, refused)
    }
    for (const runtime of [1, null, true]) await failure(box.runCode('1', runtime), InvalidArgumentError)
  })
})

describe('the result of code', () => {
  test('has exactly the documented properties', async () => {
    const { durationMs, ...rest } = await run('import sys\nprint("out")\nprint("err", file=sys.stderr)')
    assert.deepEqual(rest, {
      stdout: 'out\n',
      stderr: 'err\n',
      output: 'out\nerr\n',
      exitCode: 0,
      executionTime: durationMs,
      language: 'python',
      sandboxId: box.sandboxId,
      provider: 'local',
    })
    assert.ok(Number.isInteger(durationMs) && durationMs >= 1)
  })

  test('is a result after any error at run time', async () => {
    for (const [code, runtime, said] of [
      ['print("before")\n1 / 0', 'python', /ZeroDivisionError/],
      ['print("before")\nraise SyntaxError("mine")', 'python', /SyntaxError: mine/],
      ['print("before")\neval("1 +")', 'python', /SyntaxError/],
      ['print("before")\nexec("def f(:")', 'python', /SyntaxError/],
      ['print("before")\nimport no_such_module', 'python', /ModuleNotFoundError/],
      ['console.log("before"); throw new Error("mine")', 'node', /Error: mine/],
      ['console.log("before"); JSON.parse("{")', 'node', /SyntaxError/],
      ['console.log("before"); eval("1 +")', 'node', /SyntaxError/],
      ['console.log("before"); new Function("(")', 'node', /SyntaxError/],
      ['console.log("before"); require("./none")', 'node', /Cannot find module/],
      ['console.log("before"); await Promise.reject(new Error("mine"))', 'node', /Error: mine/],
    ]) {
      const result = await box.runCode(code, runtime)
      assert.equal(result.exitCode, 1, code)
      assert.equal(result.stdout, 'before\n', code)
      assert.match(result.stderr, said, code)
    }
    for (const code of ['JSON.parse("{")', 'eval("1 +")', 'throw new SyntaxError("mine")']) {
      assert.equal((await box.runCode(code)).exitCode, 1, code)
    }
  })

  test('has the exit code of the program', async () => {
    assert.equal((await box.runCode('process.exit(7)')).exitCode, 7)
    assert.equal((await box.runCode('import sys\nsys.exit(7)')).exitCode, 7)
    assert.equal((await box.runCode('process.kill(process.pid, "SIGKILL")')).signal, 'SIGKILL')
  })
})

describe('code that does not parse', () => {
  for (const [language, code] of [
    ['python', 'def f(:\n  pass'],
    ['python', 'print("unclosed'],
    ['python', 'if True:\nprint(1)'],
    ['python', 'x = 1\n  y = 2'],
    ['node', 'const x = ;'],
    ['node', 'invalid code'],
    ['node', 'function ( {'],
    ['node', "import x from 'node:path'\nconst y = ;"],
    ['node', 'await 1; const y = ;'],
    ['node', 'const a = 1; const a = 2'],
  ]) {
    test(`rejects with CodeSyntaxError: ${JSON.stringify(code)}`, async () => {
      const error = await failure(box.runCode(code, language), CodeSyntaxError, {
        name: 'CodeSyntaxError',
        code: 'CODE_SYNTAX',
        operation: 'runCode',
        provider: 'local',
        sandboxId: box.sandboxId,
        exitCode: 1,
        message: /^Syntax error/,
        stderr: /Error/,
      })
      assert.ok(error instanceof ComputeError)
      assert.equal(error.result.exitCode, 1)
      assert.equal(error.result.stderr, error.stderr)
      assert.equal(error.result.stdout, '')
    })
  }

  test('is caught as the documents do it', async () => {
    const said = []
    try {
      await box.runCode('invalid code')
    } catch (error) {
      if (error.message.includes('Syntax error')) said.push('Code has syntax errors')
    }
    assert.deepEqual(said, ['Code has syntax errors'])
  })
})

describe('code of Node', () => {
  test('is CommonJS', async () => {
    const { stdout } = await run("console.log(require('node:path').sep, typeof module, typeof __dirname)")
    assert.equal(stdout, '/ object string\n')
  })

  test('is an ES module with import or export', async () => {
    assert.equal((await run("import { sep } from 'node:path'\nconsole.log(sep)")).stdout, '/\n')
    assert.equal((await run('export const x = 1\nconsole.log(x, typeof require)')).stdout, '1 undefined\n')
  })

  test('may await at its top', async () => {
    const { stdout } = await run(
      'const x = await new Promise((done) => setTimeout(done, 5, "later"))\nconsole.log(x)',
    )
    assert.equal(stdout, 'later\n')
  })

  test('finds modules in its working directory', async () => {
    await box.filesystem.writeFile('/app/two.js', 'module.exports = 2')
    assert.equal((await run("console.log(require('./two.js'))", { cwd: '/app' })).stdout, '2\n')
  })
})

describe('code of any size and kind', () => {
  for (const [size, name] of [
    [1, '1 MiB'],
    [10, '10 MiB'],
  ]) {
    test(`of ${name} runs, in both languages`, async () => {
      const filler = 'x'.repeat(size * 1024 * 1024)
      const python = `text = "${filler}"\nprint(len(text))`
      const node = `const text = "${filler}"; console.log(text.length)`
      const module = `import 'node:path'; const text = "${filler}"; console.log(text.length)`
      for (const [code, runtime] of [
        [python, 'python'],
        [node, 'node'],
        [module, 'node'],
        [python],
        [node],
      ]) {
        assert.equal((await run(code, runtime)).stdout, `${filler.length}\n`)
      }
    })
  }

  test('of more than 16 MiB is refused', async () => {
    await failure(box.runCode(`//${'x'.repeat(16 * 1024 * 1024)}`), InvalidArgumentError, {
      message: /too long/,
    })
  })

  test('on both sides of what one argument may hold runs the same', async () => {
    for (const length of [131_000, 131_070, 131_071, 131_072, 131_073, 140_000]) {
      const filler = '#'.repeat(length - 'print(2)\n'.length)
      assert.equal((await run(`print(2)\n${filler}`, 'python')).stdout, '2\n', String(length))
      const broken = `print(\n${filler}`
      await failure(box.runCode(broken, 'python'), CodeSyntaxError)
    }
  })

  test('is not touched by a shell', async () => {
    const odd = '$HOME `id` $(id) "\' \\ ! * ~ 😀 é\u2028'
    assert.equal((await run(`console.log(${JSON.stringify(odd)})`)).stdout, `${odd}\n`)
    assert.equal((await run(`print(${JSON.stringify(odd)})`)).stdout, `${odd}\n`)
    assert.equal((await run(`print("\r\n".encode())`.replace('\r\n', '\\r\\n'))).stdout, "b'\\r\\n'\n")
  })

  test('that is no text is refused', async () => {
    for (const code of [undefined, null, 1, {}, Buffer.from('1')]) {
      await failure(box.runCode(code), InvalidArgumentError, { message: /code/ })
    }
    await failure(box.runCode('a\0b'), InvalidArgumentError, { message: /NUL/ })
  })
})

describe('options of runCode', () => {
  test('are those of runCommand', async () => {
    const heard = []
    const { stdout } = await run(
      'import os, sys\nprint(os.getcwd(), os.environ["A"], sys.stdin.read())',
      'python',
      {
        cwd: '/tmp',
        env: { A: 'b' },
        stdin: 'input',
        timeout: 60_000,
        onStdout: (text) => heard.push(text),
      },
    )
    assert.equal(stdout, '/tmp b input\n')
    assert.equal(heard.join(''), stdout)
    const late = await box.runCode('setTimeout(() => {}, 1e6)', { timeout: 500 })
    assert.deepEqual([late.exitCode, late.timedOut], [124, true])
    const cut = await box.runCode('print("1234567")', { maxOutput: 3 })
    assert.deepEqual([cut.stdout, cut.output, cut.truncated], ['123', '123', true])
  })

  test('give Node its input too', async () => {
    const code = 'process.stdin.on("data", (data) => console.log(String(data)))'
    assert.equal((await run(code, { stdin: 'input' })).stdout, 'input\n')
  })

  test('that are unknown are refused', async () => {
    const error = await failure(box.runCode('1', { language: 'python' }), InvalidArgumentError)
    assert.match(error.hint, /\bruntime\b/)
    await failure(box.runCode('1', 'node', 'python'), InvalidArgumentError)
  })
})

describe('code of a virtual environment', () => {
  const folder = mkdtempSync(path.join(tmpdir(), 'environment-'))
  const python = path.join(folder, 'bin', 'python3')
  const settings = path.join(folder, 'pyvenv.cfg')
  after(() => rmSync(folder, { recursive: true }))

  before(() => {
    execFileSync('python3', ['-m', 'venv', '--without-pip', folder])
    const packages = execFileSync(python, ['-c', 'import site; print(site.getsitepackages()[0])'])
    writeFileSync(path.join(String(packages).trim(), 'science.py'), 'answer = 42\n')
  })

  test('has its packages, read-only', async () => {
    const own = await local({ python }).sandbox.create()
    const result = await own.runCode(
      'import science; print(science.answer); open(science.__file__, "w")',
      'python',
    )
    assert.equal(result.stdout, '42\n')
    assert.match(result.stderr, /Read-only file system|Permission denied/)
    assert.equal((await own.runCommand('python -c "import science"')).exitCode, 0)
    const { stderr } = await box.runCode('import science', 'python')
    assert.match(stderr, /No module named 'science'/)
  })

  test('that takes those of the system too is refused', async () => {
    writeFileSync(settings, 'include-system-site-packages = true\n')
    const error = await failure(local({ python }).sandbox.create(), UnsupportedError)
    assert.match(error.message, /`python`: the virtual environment .* takes the packages of the system/)
    assert.match(error.hint, /python3 -m venv/)
  })
})
