#![expect(clippy::disallowed_methods, reason = "the real interpreters are asked")]
use std::{
    fs,
    io::Write,
    path::PathBuf,
    process::{Command, Stdio},
    sync::LazyLock,
    thread,
    time::{Duration, Instant},
};

use super::{
    Language::{self, Node, Python},
    detect, is_module, is_syntax_error, version,
};

#[test]
fn a_runtime_name_has_a_family_and_perhaps_a_version() {
    let runtimes = [
        ("python", Some(Python), None),
        ("python3", Some(Python), Some("3")),
        ("python3.9", Some(Python), Some("3.9")),
        ("node", Some(Node), None),
        ("nodejs", Some(Node), None),
        ("node20", Some(Node), Some("20")),
        ("nodejs16", Some(Node), Some("16")),
        ("nodejs16.x", Some(Node), Some("16")),
        ("javascript", Some(Node), None),
        ("js", Some(Node), None),
        ("pythonista", None, None),
        ("python3.", None, None),
        ("python..", None, None),
        ("node-gyp", None, None),
        ("json", None, None),
        ("ruby", None, None),
        ("", None, None),
    ];
    for (name, language, asked) in runtimes {
        assert_eq!(Language::from_runtime(name), language, "{name}");
        assert_eq!(version(name), asked, "{name}");
    }
}

const SNIPPETS: &[(&str, Language)] = &[
    // The documents' own.
    ("print(\"Auto-detected as Python\")", Python),
    ("invalid code", Node),
    ("\nimport pandas as pd\nimport numpy as np\n\ndata = {'A': [1, 2]}\n", Python),
    ("\nimport json\ndata = {\"message\": \"Hello\"}\nprint(json.dumps(data))\n", Python),
    ("\nconst data = { message: \"Hi\" };\nconsole.log(JSON.stringify(data));\n", Node),
    ("# Read data\ndf = pd.read_csv('/data.csv')\nprint(df)\nprint(f\"\\nMean: {m:.4f}\")", Python),
    // What a substring test takes for Python.
    ("", Node),
    ("import x from 'y'", Node),
    ("import 'y'", Node),
    ("import { a } from 'b'", Node),
    ("import {\n  print,\n  raise\n} from './log.js'\nprint('x')", Node),
    ("import * as x from 'y'", Node),
    ("import React, { useState } from 'react'", Node),
    ("import print from './print.js'\nprint('x')", Node),
    ("import data from './data.json' with { type: 'json' };", Node),
    ("import.meta.url", Node),
    ("import('fs').then(fs => fs.readdirSync('.'))", Node),
    ("export { a } from 'b'\nexport default function () {}", Node),
    ("require('path').join(__dirname, __filename)", Node),
    ("x = 'self'", Node),
    ("switch (x) { case'self': y = typeof'f' }", Node),
    ("Object.__proto__ = null; x.__defineGetter__('y', z)", Node),
    ("window.__NEXT_DATA__ = {}; exports.__esModule = true", Node),
    ("window.print()", Node),
    ("window?.print()", Node),
    ("console.print('x')", Node),
    ("blueprint(1)", Node),
    ("const print = console.log; print('x')", Node),
    ("function print(x) { console.log(x) }\nprint(1)", Node),
    ("class A { print() { return 1 } }", Node),
    ("var o = { print(x) {\n  log(x) } }", Node),
    ("x = { def: 1, raise: 2, lambda: 3, if: 4, else: 5, class: 'a' }", Node),
    ("x.def(1); x.raise; x.import", Node),
    ("console.log('print(1)'); console.log(\"def f():\")", Node),
    ("console.log(`import os\nprint(f\"${x}\")\nwhile True:\n`)", Node),
    ("f`x`", Node),
    ("// print('hi')\n/* import os\ndef f():\n  raise X */\nfoo()", Node),
    ("// it's\nfoo() // don't print(x)", Node),
    ("x = /print(f'|\")/.test(s)", Node),
    ("if (x) /print('/.test(s)", Node),
    ("x = /[/'\"]/g; y = a / b / c; z = '/'", Node),
    ("x = a++ / 2; y = b / 'f'.length", Node),
    ("#!/usr/bin/env node\nprint(1)", Node),
    ("class A { #x = 1; get() { return this.#x; } has(o) { return #x in o } }", Node),
    ("for (const x in y) console.log(x)\nfor await (const x of y) f(x)", Node),
    ("loop:\nfor (;;) { break loop }", Node),
    ("switch (x) {\n  case 1:\n    y()\n  default:\n    z()\n}", Node),
    ("if (a) b = c ? d : e\nelse f()", Node),
    ("s = 'a\\\nprint(1)'", Node),
    ("x = {\n  else: 1,\n  try: 2,\n}", Node),
    ("const x = 'unterminated\nconsole.log(x)", Node),
    ("let raise = 1, lambda = 2; for (lambda of [raise]) raise in lambda", Node),
    ("this.__data__ = 1", Node),
    ("module.exports = { a: 1 }", Node),
    ("puts 'hello'", Node),
    ("x = 1", Node),
    ("\u{feff}console.log('ä')", Node),
    // Python in its many forms.
    ("\u{feff}import os", Python),
    ("print('hi')", Python),
    ("print (1)", Python),
    ("#!/usr/bin/env python3\nprint(\"hi\")", Python),
    ("#!/usr/bin/env python3\nx = 1", Python),
    ("import os", Python),
    ("import os;", Python),
    ("import os, sys", Python),
    ("import os.path", Python),
    ("import numpy as np", Python),
    ("import a, \\\n  b", Python),
    ("from . import x", Python),
    ("from .. import x", Python),
    ("from ...a.b import (\n    c,\n    d,\n)", Python),
    ("from os import *", Python),
    ("x = 1; import os", Python),
    ("try: import json\nexcept ImportError: json = None", Python),
    ("def f(a, b=1, *args, **kwargs) -> int:\n    return a // b", Python),
    ("async def main():\n    await x()", Python),
    ("@app.route('/')\ndef index():\n    return ''", Python),
    ("raise ValueError('x')", Python),
    ("x = f\"{y}\"", Python),
    ("x = f'{y}'", Python),
    ("x = rf\"{y}\\d\"", Python),
    ("x = Fr'{y}'", Python),
    ("x = f'''\n{y}\n'''", Python),
    ("x = f\"{d[\"a\"]}\"", Python),
    ("__name__", Python),
    ("x.__class__", Python),
    ("if __name__ == '__main__':\n    main()", Python),
    ("# don't\nprint(1)", Python),
    ("x = 1  # it's { broken (\nprint(x)", Python),
    ("'''\nconst x = () => `a`;\n'''\nprint(1)", Python),
    ("\"\"\"Says \"a ? b : c\" now.\"\"\"\nprint(1)", Python),
    ("code = \"\"\"\nfunction f() { return a && b }\n\"\"\"\nimport os", Python),
    ("if (n := len(a)) > 10:\n    pass", Python),
    ("(y := 5)", Python),
    ("f = lambda x: x + 1", Python),
    ("f = lambda: 0", Python),
    ("x = [i * 2 for i in range(3)]", Python),
    ("x = {k: v for k, v in d.items()}", Python),
    ("class A:\n    x = 1", Python),
    ("class A(B, metaclass=C):\n    pass", Python),
    ("if x == 1:\n    y = 2", Python),
    ("if x[-2:] == y:\n    y = 2", Python),
    ("if (a and\n        b\n):\n    c()", Python),
    ("if x in {1, 2}: y = 2", Python),
    ("if x:\n    y()\nelif z:\n    w()\nelse:\n    v()", Python),
    ("while True:\n    x += 1", Python),
    ("for i in range(3):\n    x += i", Python),
    ("for a, (b, c) in d:\n    x += b", Python),
    ("try:\n    x()\nfinally:\n    y()", Python),
    ("with open(f) as g:\n    g.read()", Python),
    ("match x:\n    case 1:\n        y()", Python),
    ("if match:\n    x()", Python),
    ("print(7 // 2)\nprint({1: 2})", Python),
    ("print(glob('/*.py'), a / b, re.sub(r'\\'', \"'\", s))", Python),
    ("let = 1\nvar = [let for let in x]\nprint(var if let else new)", Python),
    ("print('unclosed", Python),
    ("print('it''s', 'ünï')\r\nwhile x:\r\n    pass\r\n", Python),
];

#[test]
fn languages_are_told_apart() {
    let wrong: Vec<_> = SNIPPETS.iter().filter(|(code, language)| detect(code) != *language).collect();
    assert!(wrong.is_empty(), "{wrong:#?}");
}

const MODULES: &[&str] = &[
    "import 'x'",
    "import x from 'y'",
    "import{a}from'b'",
    "import * as x from 'y'",
    "foo();\nimport x from 'y'",
    "const f = x => x\nexport default f",
    "export const a = 1",
    "export * from 'x'",
    "export {}",
    "function f() { return import.meta.url }",
    "await x",
    "await (async () => { await x })()",
    "const a = [await x, `${await y}`]",
    "if (x) { await y }",
    "try {\n  await y\n} catch (e) {\n  f()\n}",
    "try { f() } catch (e) { await e }",
    "for await (const x of y) {}",
    "for (const x of y) { await x }",
    "while (a(b)) { switch (c) { case 1: { await d } } }",
    "`${`${await x}`}`",
    "const f = async () => await x\nawait f()",
    "const f = async () => { await x }\nawait f()",
    "[1].map(async x => await x), await y",
    "if (x) /}/.test(y)\nawait z",
    "x = a / b; await c / d",
    "class A { async f() { await x } }\nawait y",
    "await import('x')",
    "await using x = y()",
];

const SCRIPTS: &[&str] = &[
    "",
    "import('x')",
    "import('x').then(({ a }) => a)",
    "require('x').import('y')",
    "module.exports = { import: 1, export: 2, await: 3 }",
    "x.export; x.await; x?.import",
    "// import x from 'y'\n/* export default 1 */",
    "'import x'; \"await y\"; `export ${z} await w`; /import.meta/.test(s)",
    "async function f() { await x }",
    "async function f() { if (x) { for await (const y of z) { await y } } }",
    "const f = async () => await x",
    "const f = async () =>\n  await x",
    "const f = async () => await x\nconst g = async () => ({ a: await x })",
    "f(async x => y => await z, 1)",
    "const f = async () => { await x }",
    "if (a) b(async c => { await d })",
    "(async () => { await x })()",
    "class A { async f() { await x } async *g() { await y } static async h() { await z } }",
    "const o = { async f() { `${await x}` } }",
    "new Promise(async function (resolve) { try { await x } finally { resolve() } })",
    "var await = 1; f(await, await); await = await; [await]",
    "exports.x = 'it''s'; await_(y); $await(z)",
];

#[test]
fn modules_are_told_from_scripts() {
    for code in MODULES {
        assert!(is_module(code), "{code}");
    }
    for code in SCRIPTS {
        assert!(!is_module(code), "{code}");
    }
}

#[test]
fn huge_hostile_code_takes_linear_time() {
    let pieces = [
        "(",
        "[{(",
        "`${",
        "x=>",
        "/[",
        "/*",
        "'",
        "\"\"\"",
        "'\\",
        "f'",
        "#",
        "# '\n",
        "//\n",
        "\\\n",
        "import x,",
        "from .",
        "for x,",
        "if ",
        "__",
        "await ",
        "){",
        "}",
        "=>{",
        "ä",
        "\r",
        "a ? b : ",
        "'''a'\n",
    ];
    let check = |piece: &str, size: usize| {
        let code = piece.repeat(size / piece.len());
        let start = Instant::now();
        detect(&code);
        is_module(&code);
        is_syntax_error(Python, 1, "", &code);
        is_syntax_error(Node, 1, "", &code);
        let took = start.elapsed();
        assert!(took < Duration::from_secs(if size > 1 << 20 { 60 } else { 10 }), "{piece:?} took {took:?}");
    };
    for piece in pieces {
        check(piece, 1 << 18);
    }
    check("('\"`${/[=>{#\n", 16 << 20);
}

#[test]
fn no_text_makes_it_panic() {
    const PARTS: [&str; 40] = [
        "'", "\"", "'''", "\"\"\"", "`", "${", "}", "{", "(", ")", "[", "]", "/", "//", "/*", "*/", "\\",
        "#", "#!", "#x", "\n", "\r\n", " ", "=>", "=", ":", ";", ",", ".", "?.", "import", "from", "await",
        "export", "if", "f", "ä", "\u{feff}", "😀", "1",
    ];
    // xorshift: the same texts in every run.
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    for _ in 0..20_000 {
        let mut code = String::new();
        for _ in 0..state % 24 {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            code.push_str(PARTS[(state >> 32) as usize % PARTS.len()]);
        }
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        detect(&code);
        is_module(&code);
        for language in [Python, Node] {
            is_syntax_error(language, 1, "", &code);
            is_syntax_error(language, 1, "", &format!("[eval]:1\nSyntaxError{code}\n\nNode.js v{code}"));
        }
    }
}

/// Runs `code` in every way in which a sandbox may, and returns what [`is_syntax_error`] says of each.
fn verdicts(language: Language, code: &str, envs: &[(&str, &str)]) -> Vec<bool> {
    let (program, ways): (_, &[&[&str]]) = match language {
        Python => ("python3", &[&["-c", code], &["-"]]),
        Node => (
            "node",
            &[&["-e", code], &["-"], &["--input-type=module", "-e", code], &["--input-type=module", "-"]],
        ),
    };
    let run = |args: &[&str]| {
        let mut child = Command::new(program)
            .args(args)
            .current_dir(&*FOLDER)
            .env_remove("NODE_OPTIONS")
            .env_remove("FORCE_COLOR")
            .envs(envs.iter().copied())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        if args.last() == Some(&"-") {
            child.stdin.take().unwrap().write_all(code.as_bytes()).unwrap();
        }
        let output = child.wait_with_output().unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        let exit_code = output.status.code().unwrap();
        is_syntax_error(language, exit_code, &text(output.stdout), &text(output.stderr))
    };
    thread::scope(|scope| {
        let runs: Vec<_> = ways.iter().map(|args| scope.spawn(|| run(args))).collect();
        runs.into_iter().map(|run| run.join().unwrap()).collect()
    })
}

/// A folder with modules that do not parse, and one that has a warning to print.
static FOLDER: LazyLock<PathBuf> = LazyLock::new(|| {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("target/code-tests");
    fs::create_dir_all(&folder).unwrap();
    let warning = "(node:1) ExperimentalWarning: x\\n(Use `node --trace-warnings ...`)";
    for (name, text) in [
        ("broken.js", "("),
        ("broken.mjs", "("),
        ("broken.py", "("),
        ("fine.mjs", "export const a = 1"),
        ("warn.cjs", &format!("console.error('{warning}')")),
    ] {
        fs::write(folder.join(name), text).unwrap();
    }
    folder
});

#[test]
fn python_refuses_a_source_that_does_not_parse() {
    let warns = [("PYTHONWARNINGS", "always")];
    for code in [
        "(",
        "invalid code",
        "x = 'abc",
        "if 1:\nx",
        "if 1:\n\tx\n        y",
        "1 is 1\nreturn",
        "f'{a b}'",
        "0777",
    ] {
        for envs in [&[][..], &warns, &[("FORCE_COLOR", "1")]] {
            assert_eq!(verdicts(Python, code, envs), [true; 2], "{code}");
        }
    }
}

#[test]
fn python_raises_syntax_errors_while_it_runs() {
    for code in [
        "",
        "eval('(')",
        "exec('(')",
        "import broken",
        "import ast; ast.parse('(')",
        "raise SyntaxError('x')",
        "print('x'); raise SyntaxError('x')",
        "import sys; sys.exit('SyntaxError: x')",
        "compile('(', '<string>', 'exec')",
        "import subprocess, sys; subprocess.run([sys.executable, '-c', '('], check=True)",
    ] {
        assert_eq!(verdicts(Python, code, &[]), [false; 2], "{code}");
    }
}

#[test]
fn node_refuses_a_source_that_does_not_parse() {
    let warns = [("NODE_OPTIONS", "--require ./warn.cjs")];
    for code in [
        "invalid code",
        "(",
        "let a; let a",
        "x = 'abc",
        "/(/",
        "import x from 'y'; )",
        "await 1; let b; let b",
    ] {
        assert_eq!(verdicts(Node, code, &[]), [true; 4], "{code}");
    }
    assert_eq!(verdicts(Node, "(", &warns), [true; 4]);
    assert_eq!(verdicts(Node, "(", &[("FORCE_COLOR", "1")]), [true; 4]);
}

#[test]
fn node_raises_syntax_errors_while_it_runs() {
    for code in [
        "",
        "eval('(')",
        "JSON.parse('{')",
        "new Function('(')",
        "new RegExp('(')",
        "throw new SyntaxError('x')",
        "throw new Error('[eval]:1')",
        "import('node:vm').then(vm => vm.runInThisContext('('))",
        "import('node:vm').then(vm => vm.compileFunction('('))",
        "import('node:module').then(m => m.createRequire(process.cwd() + '/x')('./broken.js'))",
        "import('./broken.mjs')",
        "import('data:text/javascript,(')",
        "import('node:worker_threads').then(w => new w.Worker('(', { eval: true }))",
        "import('node:child_process').then(c => c.execFileSync(process.execPath, ['-e', '(']))",
        "import('node:child_process').then(c => c.execFileSync(process.execPath, ['--input-type=module', '-e', '(']))",
    ] {
        assert_eq!(verdicts(Node, code, &[]), [false; 4], "{code}");
    }
    for code in
        ["import { nope } from 'node:fs'", "import { nope } from './fine.mjs'", "import './broken.mjs'"]
    {
        assert_eq!(verdicts(Node, code, &[])[2..], [false; 2], "{code}");
    }
    assert_eq!(verdicts(Node, "require('./broken.js')", &[])[..2], [false; 2]);
}
