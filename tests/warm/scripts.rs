//! Code for Node.js that would tell if anything told, and what it is run with.

use crate::snippets::{Snippet, plain};

/// What it sees of itself and of what it is given.
pub(super) const SEEN: &[Snippet] = &[
    plain("console.log(1)"),
    plain(""),
    plain("console.log('é☕😀')"),
    plain("process.stdout.write('no newline')"),
    plain("console.log('out'); console.error('err'); console.warn('warn')"),
    plain("require('fs').writeSync(1, 'raw'); console.log('after')"),
    plain("console.log(Object.getOwnPropertyNames(globalThis), Object.keys(globalThis))"),
    plain(
        "console.log(['module', 'exports', 'require', '__filename', '__dirname', 'fs', 'crypto', 'process'].map((name) => Object.getOwnPropertyDescriptor(globalThis, name)))",
    ),
    plain("console.log(module, exports === module.exports, this === globalThis, __filename, __dirname)"),
    plain(
        "console.log(module === require('module')); setTimeout(() => console.log(module === require('module'), Object.getOwnPropertyDescriptor(globalThis, 'module').enumerable))",
    ),
    plain("module = 5; console.log(module); process.nextTick(() => console.log(typeof module))"),
    plain("let module = 1, require = 2, fs = 3; console.log(module, require, fs)"),
    plain("var module = 1; function exports() {} console.log(module, exports)"),
    plain(
        "console.log(require.main, require.cache, Object.keys(require), module.paths, module.children, process.mainModule)",
    ),
    plain("console.log(process.argv, process.argv0, process.execArgv, process.execPath, process._eval)"),
    plain("console.log(Object.keys(process), process.title, process.release.name, process.exitCode)"),
    plain("console.log(Object.getOwnPropertyDescriptor(process, '_eval'), process.eventNames())"),
    plain(
        "console.log(process.rawListeners('exit'), process.listenerCount('beforeExit'), process._eventsCount, process.getMaxListeners())",
    ),
    plain(
        "console.log(process.getActiveResourcesInfo(), process._getActiveHandles().length, process._getActiveRequests().length)",
    ),
    plain("console.log(RegExp.$1, RegExp.lastMatch === '', RegExp.input)"),
    plain("console.log(Error.stackTraceLimit, Error.prepareStackTrace, new Error('x').stack)"),
    plain("function f() { return g() } function g() { return new Error('deep').stack } console.log(f())"),
    plain(
        "console.log((function () { return this === undefined })(), (function () { 'use strict'; return this })())",
    ),
    plain("'use strict'; try { undeclared = 1 } catch (e) { console.log(e.message) }"),
    plain("undeclared = 1; console.log(globalThis.undeclared, delete globalThis.undeclared)"),
    plain("let x = 1; const y = 2; class Z {} console.log(require('vm').runInThisContext('x + y + Z.name'))"),
    plain(
        "const { executionAsyncId, triggerAsyncId } = require('async_hooks'); console.log(executionAsyncId(), triggerAsyncId())",
    ),
    plain(
        "console.log(crypto.createHash('sha256').update('x').digest('hex'), typeof globalThis.crypto.subtle)",
    ),
];

/// What it is given.
pub(super) const GIVEN: &[Snippet] = &[
    plain(
        "console.log(process.env, Object.keys(process.env), process.cwd(), require('fs').readdirSync('.'))",
    ),
    Snippet {
        code: "console.log(process.env.A, process.env.B, Object.keys(process.env)); require('child_process').spawnSync('env; pwd', { shell: true, stdio: 'inherit' })",
        stdin: None,
        env: &[("A", "ä=b"), ("B", ""), ("NODE_ENV", "production"), ("ZED", "line\nbreak")],
        cwd: Some("/tmp"),
    },
    plain(
        "process.env.NEW = '1'; delete process.env.USER; console.log(require('child_process').execSync('env | sort').toString())",
    ),
    plain(
        "process.stdin.on('data', (data) => console.log('data', data)).on('end', () => console.log('end'))",
    ),
    plain(
        "console.log(require('fs').readFileSync(0, 'utf8'), process.stdin.constructor.name, process.stdin.fd)",
    ),
    Snippet {
        code: "console.log(require('fs').fstatSync(0).isFIFO(), require('fs').readFileSync(0, 'utf8'), process.stdin.constructor.name)",
        stdin: Some("given"),
        env: &[],
        cwd: None,
    },
    Snippet {
        code: "process.stdin.setEncoding('utf8').on('data', (data) => console.log('data', data)).on('end', () => console.log('end'))",
        stdin: Some("one\ntwo\n"),
        env: &[],
        cwd: None,
    },
    Snippet {
        code: "require('readline').createInterface({ input: process.stdin }).on('line', (line) => console.log('<' + line + '>')).on('close', () => console.log('closed'))",
        stdin: Some("a\r\nb\nc"),
        env: &[],
        cwd: None,
    },
    Snippet { code: "console.log('ignores it')", stdin: Some("unread"), env: &[], cwd: None },
    plain(
        "const fs = require('fs'); console.log([0, 1, 2].map((fd) => [fs.fstatSync(fd).mode, fs.fstatSync(fd).uid]), process.stdout.constructor.name, process.stdout.isTTY, process.stdout.writableHighWaterMark)",
    ),
    plain(
        "console.log([0, 1, 2].map((fd) => require('fs').readFileSync('/proc/self/fdinfo/' + fd, 'utf8').match(/flags:.*/)[0].slice(0, -7)))",
    ),
    plain(
        "console.log(process.umask(), process.ppid, process.getuid(), process.getgroups(), process.platform, require('os').getPriority())",
    ),
    plain(
        "const fs = require('fs'); console.log(fs.readFileSync('/proc/self/oom_score_adj', 'utf8'), fs.readFileSync('/proc/self/comm', 'utf8'), fs.readlinkSync('/proc/self/exe'))",
    ),
    plain(
        "console.log(require('fs').readFileSync('/proc/self/status', 'utf8').split('\\n').filter((line) => /^(Sig|Cap|Seccomp|NoNew|Uid|Gid|Groups|Umask)/.test(line) && !/^Seccomp_f/.test(line)))",
    ),
    plain(
        "console.log(require('fs').readFileSync('/proc/self/limits', 'utf8').split('\\n').filter((line) => !line.includes('realtime timeout')))",
    ),
    plain(
        "const stat = require('fs').readFileSync('/proc/self/stat', 'utf8').split(' '); console.log(stat[3], stat[4] == process.pid, stat[5] == process.pid)",
    ),
    plain(
        "const fs = require('fs'); fs.writeFileSync('/tmp/near.js', 'module.exports = [__filename, module.parent && module.parent.id, require.main]'); process.chdir('/tmp'); try { require('./near') } catch (e) { console.log(e.code, e.requireStack) }",
    ),
    Snippet {
        code: "require('fs').writeFileSync('here.js', 'module.exports = [__filename, module.parent.filename]'); console.log(require('./here'), Object.keys(require.cache), module.children.length, require.resolve('./here'), require.resolve.paths('x'))",
        stdin: None,
        env: &[],
        cwd: Some("/srv"),
    },
    plain("try { require('nothing') } catch (e) { console.log(e.message) }"),
    plain(
        "console.log(Intl.DateTimeFormat().resolvedOptions().locale, new Date(0).toString(), (1.5).toLocaleString('de'))",
    ),
];

/// What goes wrong.
pub(super) const WRONG: &[Snippet] = &[
    plain("throw new Error('x')"),
    plain("let q = 1\n throw new TypeError('second line')"),
    plain("function f() { g() }\nfunction g() {\n  throw new RangeError('deep')\n}\nf()"),
    plain("throw 'a string'"),
    plain("throw null"),
    plain("throw Object.assign(new Error('with'), { code: 'E', cause: new Error('why') })"),
    plain("undefined.x"),
    plain("JSON.parse('{')"),
    plain("eval('1 +')"),
    plain("function f() { f() }\ntry { f() } catch (e) { console.log(e.constructor.name, e.message) }"),
    plain("setTimeout(() => { throw new Error('later') })"),
    plain("Promise.reject(new Error('rejected'))"),
    plain("Promise.reject(5)"),
    plain("process.on('unhandledRejection', (reason) => console.log('caught', reason)); Promise.reject(7)"),
    plain(
        "process.on('uncaughtException', (e, origin) => console.log('caught', e.message, origin)); setTimeout(() => console.log('on')); throw new Error('x')",
    ),
];

/// How it ends.
pub(super) const ENDS: &[Snippet] = &[
    plain("process.on('exit', (code) => console.log('exit', code, process.exitCode)); console.log('before')"),
    plain("process.on('exit', (code) => { console.log('exit', code); process.exitCode = 9 })"),
    plain(
        "process.on('beforeExit', () => console.log('before exit')).once('beforeExit', () => setTimeout(() => console.log('again')))",
    ),
    plain(
        "process.on('exit', () => console.log('one')); process.prependListener('exit', () => console.log('zero')); process.exit(3)",
    ),
    plain("process.exitCode = 4"),
    plain("process.exitCode = '5'; console.log('set')"),
    plain("process.exit()"),
    plain("console.log('a'); process.exit(6); console.log('b')"),
    plain("process.exit(256 + 7)"),
    plain("process.exit = (code) => console.log('no', code); process.exit(1)"),
    plain("process.reallyExit = () => console.log('mine'); console.log('end')"),
    plain(
        "const emit = process.emit; process.emit = function (name, ...rest) { console.log('emits', name); return emit.call(this, name, ...rest) }",
    ),
    plain(
        "require('events').prototype.emit = function (name) { if (this === process) console.log('emits', name); return false }",
    ),
    plain(
        "Error.prepareStackTrace = (e, frames) => 'prepared ' + frames[0].getFileName(); console.log(new Error('x').stack)",
    ),
    plain("Error.stackTraceLimit = 0; console.log(new Error('x').stack); throw new Error('none')"),
    plain("process.kill(process.pid, 'SIGTERM'); setTimeout(() => {}, 1000)"),
    plain("process.kill(process.pid, 'SIGKILL')"),
    plain(
        "process.on('SIGINT', () => console.log('interrupted')); process.kill(process.pid, 'SIGINT'); setTimeout(() => {}, 50)",
    ),
    plain("process.abort()"),
    plain("process.stdout.write('x'.repeat(300000)); console.log('end')"),
    plain("process.stdout.write('x'.repeat(300000)); process.exitCode = 2"),
    plain("require('fs').writeSync(1, 'x'.repeat(200000)); console.log(process.stdout.writableLength)"),
    plain("process.stdout.end('ended'); process.stdout.on('finish', () => console.error('finished'))"),
    plain("require('fs').closeSync(1); console.log('lost'); console.error('told')"),
];

/// In which order it happens, and what it uses.
pub(super) const USES: &[Snippet] = &[
    plain(
        "process.nextTick(() => console.log('tick')); Promise.resolve().then(() => console.log('micro')); queueMicrotask(() => console.log('micro 2')); setImmediate(() => console.log('immediate')); console.log('sync')",
    ),
    plain(
        "process.nextTick(() => { console.log('tick'); process.nextTick(() => console.log('tick 3')) }); process.nextTick(() => console.log('tick 2')); Promise.resolve().then(() => process.nextTick(() => console.log('tick 4'))).then(() => console.log('micro 2'))",
    ),
    plain(
        "(async () => { console.log(1); await null; console.log(2); await new Promise(setImmediate); console.log(3) })(); console.log('first')",
    ),
    plain(
        "const begun = Date.now(); setTimeout(() => { const took = Date.now() - begun; console.log(took >= 99 && took < 1000) }, 100); setTimeout(() => console.log('sooner'), 50)",
    ),
    plain(
        "let n = 0; const timer = setInterval(() => { console.log(++n); if (n === 3) clearInterval(timer) }, 5)",
    ),
    plain("setTimeout(() => console.log('never'), 60000).unref(); console.log('ends')"),
    plain(
        "const { AsyncLocalStorage } = require('async_hooks'); const s = new AsyncLocalStorage(); s.run(5, () => setTimeout(() => console.log(s.getStore()))); console.log(s.getStore())",
    ),
    plain("import('fs').then((fs) => console.log(typeof fs.readFileSync, Object.keys(fs).length))"),
    plain(
        "import('node:path').then(({ default: path }) => console.log(path === require('path'))); import(\"node:os\").then((os) => console.log(typeof os.cpus))",
    ),
    plain("(async () => { const { join } = await import('path'); console.log(join('a', 'b')) })()"),
    plain(
        "const { Worker } = require('worker_threads'); new Worker('const { parentPort, threadId } = require(\"worker_threads\"); parentPort.postMessage([threadId, process.argv, Object.keys(process.env).length])', { eval: true }).on('message', (m) => console.log(m)).on('exit', (code) => console.log('exit', code))",
    ),
    plain(
        "require('fs').writeFileSync('/tmp/child.js', 'process.send([process.argv.slice(2), process.execArgv, process.cwd()])'); require('child_process').fork('/tmp/child.js', ['a'], { execArgv: [] }).on('message', (m) => console.log(m)).on('exit', (...end) => console.log(end))",
    ),
    plain(
        "console.log(require('child_process').execFileSync(process.execPath, ['-e', 'console.log(process.argv.length, process.env.HOME)']).toString())",
    ),
    plain(
        "require('child_process').spawn('cat; echo done', { shell: true, stdio: 'inherit' }).on('exit', (...end) => console.log(end))",
    ),
    plain(
        "require('child_process').spawnSync('head', ['-c', '200000', '/dev/zero'], { stdio: ['ignore', 'inherit', 'inherit'] }); console.log('.')",
    ),
    plain(
        "const server = require('http').createServer((q, r) => r.end('hi')).listen(0, '127.0.0.1', async () => { const r = await fetch('http://127.0.0.1:' + server.address().port); console.log(r.status, await r.text()); server.close(); server.closeAllConnections() })",
    ),
    plain("process.emitWarning('careful'); process.emitWarning('old', 'DeprecationWarning', 'DEP9')"),
    plain("new Buffer(1)"),
    plain(
        "console.table([{ a: 1 }]); console.group('g'); console.dir({ deep: { er: { still: { x: 1 } } } }); console.groupEnd(); console.count(); console.assert(false, 'no')",
    ),
    plain("console.log('%s is %d and %o%%', 'x', 5, { a: [1] }, 'rest'); console.trace('here')"),
    plain(
        "process.title = 'another title'; console.log(process.title, require('fs').readFileSync('/proc/self/comm', 'utf8'))",
    ),
    plain(
        "const fs = require('fs'); fs.writeFileSync('/tmp/x', 'y'); fs.promises.readFile('/tmp/x', 'utf8').then(console.log); fs.readFile('/tmp/x', 'utf8', (e, text) => console.log(text))",
    ),
    plain(
        "console.log(process.memoryUsage().heapUsed > 1e6, process.constrainedMemory() > 0, require('v8').getHeapStatistics().heap_size_limit)",
    ),
    plain(
        "require('async_hooks').createHook({ init(id, type) { require('fs').writeSync(1, type + '\\n') } }).enable(); setTimeout(() => {}); Promise.resolve()",
    ),
    plain(
        "const events = require('events'); const e = new events(); e.once('x', console.log); e.emit('x', 1); e.on('error', () => console.log('error')); e.emit('error', new Error('x'))",
    ),
    plain(
        "new FinalizationRegistry(() => console.log('never')).register({}, 1); console.log(new WeakRef({ a: 1 }).deref())",
    ),
    plain(
        "console.log(require('zlib').gzipSync('x'.repeat(1000)).length, Buffer.from('é').toString('base64'), new TextDecoder().decode(new Uint8Array([104, 105])), structuredClone(new Map([[1, 2]])))",
    ),
    plain(
        "require('process').on('exit', () => console.log(require('os').homedir(), require('os').userInfo().username))",
    ),
    plain(
        "console.log(new Function('return typeof require + this.process.pid')().startsWith('function'), eval('typeof module'))",
    ),
    plain("<!-- a comment of old\nconsole.log(1)"),
    plain("#!/usr/bin/env node\nconsole.log('hashbang')"),
];

/// What is left to an interpreter that is started for it.
pub(super) const LEFT: &[Snippet] = &[
    plain("let a = b c"),
    plain("console.log('half'"),
    plain("return 1"),
    plain("(async () => { await import('./nothing.mjs') })().catch((e) => console.log(e.message))"),
    plain(
        "require('fs').writeFileSync('m.mjs', 'export const a = import.meta.url'); import('./m.mjs').then((m) => console.log(m.a))",
    ),
    plain("import('nothing').catch((e) => console.log(e.message)); // import"),
];
