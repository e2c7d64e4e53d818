//! Code that would tell if anything told, and what it is run with.

pub(super) struct Snippet {
    pub(super) code: &'static str,
    pub(super) stdin: Option<&'static str>,
    pub(super) env: &'static [(&'static str, &'static str)],
    pub(super) cwd: Option<&'static str>,
}

pub(super) const fn plain(code: &'static str) -> Snippet {
    Snippet { code, stdin: None, env: &[], cwd: None }
}

/// What it sees of itself and of what it is given.
pub(super) const SEEN: &[Snippet] = &[
    plain("print(1)"),
    plain(""),
    plain("print('é☕😀')"),
    plain("print('no newline', end='')"),
    plain("import sys; sys.stdout.write('out'); sys.stderr.write('err')"),
    plain("import os; os.write(1, b'raw'); print('buffered')"),
    plain("print(__name__, __doc__, __package__, __loader__, __spec__)"),
    plain("print(sorted(globals()), list(globals()), list(locals()) == list(globals()))"),
    plain("print(__file__)"),
    plain("print(__builtins__, type(__builtins__))"),
    plain("import sys; print(sys.argv, sys.orig_argv if hasattr(sys, 'orig_argv') else '')"),
    plain("import sys; print(sys.path, sys.executable, sys.prefix, sys.flags)"),
    plain("import sys; print(list(sys.modules))"),
    plain(
        "import sys; print(sys.stdin, sys.stdout, sys.stderr, sys.stdin is sys.__stdin__, sys.stdout is sys.__stdout__)",
    ),
    plain(
        "import sys\nfor s in sys.stdin, sys.stdout, sys.stderr:\n    print(s.name, s.mode, s.encoding, s.errors, s.line_buffering, s.write_through, s.newlines, s.isatty(), s.seekable(), s.buffer, s.buffer.raw, s.fileno())",
    ),
    Snippet {
        code: "import sys; print(sys.stdin.seekable(), sys.stdin.buffer.raw, sys.stdin.read())",
        stdin: Some("given"),
        env: &[],
        cwd: None,
    },
    Snippet { code: "print(input(), input())", stdin: Some("one\ntwo\n"), env: &[], cwd: None },
    plain("print(input('> '))"),
    Snippet {
        code: "import sys; print([line for line in sys.stdin])",
        stdin: Some("a\r\nb\rc\n"),
        env: &[],
        cwd: None,
    },
    plain("import sys; print(sys._getframe().f_back, sys.exc_info(), sys.gettrace(), sys.getprofile())"),
    plain("import traceback; traceback.print_stack()"),
    plain("import inspect; print(len(inspect.stack()), inspect.stack()[0].filename)"),
    plain("import sys; sys._getframe(1)"),
    plain(
        "import sys; print([hasattr(sys, n) for n in ('last_type', 'last_value', 'last_traceback', 'last_exc', 'ps1')])",
    ),
];

/// What goes wrong.
pub(super) const WRONG: &[Snippet] = &[
    plain("1/0"),
    plain("def f():\n    g()\ndef g():\n    raise ValueError('deep')\nf()"),
    plain("try:\n    1/0\nexcept ZeroDivisionError as e:\n    raise KeyError('second') from e"),
    plain("try:\n    1/0\nexcept ZeroDivisionError:\n    raise KeyError('during')"),
    plain("class E(Exception):\n    def __str__(self): raise RuntimeError\nraise E"),
    plain("def f(): f()\nf()"),
    plain(
        "import sys\nn = 0\ndef f():\n    global n; n += 1; f()\ntry: f()\nexcept RecursionError: print(n, sys.getrecursionlimit())",
    ),
    plain("def ("),
    plain("  x = 1\n y = 2"),
    plain("'unclosed"),
    plain("# -*- coding: latin-1 -*-\nprint('é')"),
    plain("return 1"),
    plain("eval('1 +')"),
];

/// How it ends.
pub(super) const ENDS: &[Snippet] = &[
    plain("import sys; sys.exit()"),
    plain("import sys; sys.exit(0)"),
    plain("import sys; sys.exit(3)"),
    plain("import sys; sys.exit(-1)"),
    plain("import sys; sys.exit(256)"),
    plain("import sys; sys.exit('a message')"),
    plain("import sys; sys.exit((1, 2))"),
    plain("raise SystemExit"),
    plain("exit(4)"),
    plain("import os; print('lost'); os._exit(5)"),
    plain("import os; os.abort()"),
    plain("import os, signal; os.kill(os.getpid(), signal.SIGTERM)"),
    plain("import os, signal; os.kill(os.getpid(), signal.SIGKILL)"),
    plain("import os, signal; os.kill(os.getpid(), signal.SIGINT)\nimport time; time.sleep(1)"),
    plain("raise KeyboardInterrupt"),
    plain("import ctypes; ctypes.string_at(0)"),
    plain(
        "import signal; print({n: signal.getsignal(n) for n in (2, 13, 15, 17, 25)}, signal.pthread_sigmask(0, []))",
    ),
    plain("import atexit; atexit.register(print, 'at exit'); print('before')"),
    plain("import atexit; atexit.register(lambda: 1/0)"),
    plain("import atexit, sys; atexit.register(print, 'still'); sys.exit(7)"),
    plain(
        "import threading, time\ndef late():\n    time.sleep(0.05); print('late')\nthreading.Thread(target=late).start(); print('main ends')",
    ),
    plain("import threading\nthreading.Thread(target=lambda: 1/0).start()"),
    plain(
        "import threading; t = threading.main_thread(); print(t.name, t is threading.current_thread(), threading.active_count(), t.native_id == threading.get_native_id())",
    ),
    plain("class D:\n    def __del__(self): print('deleted')\nd = D()"),
    plain("import sys\nsys.excepthook = lambda *a: print('hooked', a[0].__name__)\n1/0"),
    plain(
        "import sys\nprint(sys.excepthook is sys.__excepthook__, sys.unraisablehook is sys.__unraisablehook__)",
    ),
    plain(
        "import warnings; warnings.warn('careful'); warnings.warn('deeper', DeprecationWarning, stacklevel=2)",
    ),
    plain("f = open('/dev/null')"),
    plain("import sys; sys.stdout.close()"),
    plain("import os; os.close(1); print('x')"),
    plain("import sys; print('x' * 100000); sys.exit(2)"),
    plain("class K(KeyboardInterrupt): pass\nraise K"),
    plain("import sys\nsys.excepthook = lambda *a: sys.__dict__.pop('last_type')\nraise KeyboardInterrupt"),
    plain("import sys\ndef hook(*a): raise KeyboardInterrupt\nsys.excepthook = hook\n1/0"),
    // What cannot be written is told by 120, whatever else has happened.
    plain("import os; r, w = os.pipe(); os.close(r); os.dup2(w, 1); print('x')"),
    plain("import os; r, w = os.pipe(); os.close(r); os.dup2(w, 1); print('x' * 100000)"),
    plain("import os; r, w = os.pipe(); os.close(r); os.dup2(w, 1); print('x')\n1/0"),
    plain("import os; os.dup2(os.open('/dev/full', os.O_WRONLY), 1); print('x')"),
    plain("import os; os.dup2(os.open('/dev/full', os.O_WRONLY), 2); 1/0"),
    plain("import sys; sys.stdout = open('/dev/full', 'w'); print('x')"),
    plain("import sys, io; sys.stdout = io.StringIO(); print('x')"),
    plain(
        "import sys\nclass Told:\n    def write(self, text): sys.__stdout__.write(text.upper())\n    def flush(self): sys.__stdout__.write('flushed;')\nsys.stdout = Told(); print('x')",
    ),
    plain(
        "import sys, io\nclass T(io.TextIOWrapper):\n    def flush(self): super().flush(); sys.stderr.write('f;')\nsys.stdout = T(sys.stdout.detach()); print('x')",
    ),
    plain("import sys; sys.stdout = None; sys.stderr = None; 1/0"),
    // Wherever it is held, what dies at the end dies alike, in the same order.
    plain(
        "import os, sys, builtins, weakref, threading\nclass D:\n    def __init__(self, name): self.name = name\n    def __del__(self, w=os.write): w(1, self.name.encode() + b';')\nmine, _mine = D('main'), D('private')\nring = D('ring'); ring.me = ring\ndef f(held=D('default')): pass\nsys.held, sys._held, sys.zz = D('sys'), D('private sys'), D('last of sys')\nbuiltins.held = D('builtins'); os.held = D('os')\nsys.modules['held'] = D('modules'); sys.path.append(D('path'))\nsys.__interactivehook__.held = D('hook')\nlocal = threading.local(); local.held = D('local')\nweakref.finalize(f, print, 'finalized')\nsys.ring = D('ring of sys'); sys.ring.me = sys.ring",
    ),
    plain(
        "import json, logging\nclass D:\n    def __init__(self, name): self.name = name\n    def __del__(self): print('deleted', self.name)\njson.mine, json.dumps.mine, logging.mine, mine = D('json'), D('dumps'), D('logging'), D('main')",
    ),
    plain("import sys; del sys.__interactivehook__; print('x')"),
    plain("import sys; sys.__interactivehook__ = None; print('x'); 1/0"),
    plain("f = open('/tmp/kept', 'w'); f.write('x'); f2 = open('/tmp/kept')"),
    plain(
        "import sys\nprint(sys.__dict__.get('end'))\nclass D:\n    def __del__(self): print(sys.is_finalizing(), sys.stdout.name)\nd = D()",
    ),
    plain("import threading, time; threading.Thread(target=time.sleep, args=(9,), daemon=True).start()"),
    plain(
        "import threading\ndef spin():\n    while True: pass\nthreading.Thread(target=spin, daemon=True).start(); print('x')",
    ),
    plain("import ctypes; ctypes.CDLL(None).printf(b'of C')"),
];

/// What it uses.
pub(super) const USES: &[Snippet] = &[
    plain(
        "import asyncio\nasync def main():\n    await asyncio.sleep(0); print('async')\nasyncio.run(main())",
    ),
    plain(
        "import multiprocessing as m\nif __name__ == '__main__':\n    with m.get_context('fork').Pool(2) as p: print(p.map(abs, [-1, 2]))",
    ),
    plain(
        "import pickle\nclass C: x = 1\nprint(pickle.loads(pickle.dumps(C())).x, C.__module__, pickle.dumps(C).find(b'__main__') > 0)",
    ),
    plain("from dataclasses import dataclass\n@dataclass\nclass P:\n    x: int = 1\nprint(P())"),
    plain("from __future__ import annotations\ndef f(x: Missing): pass\nprint(f.__annotations__)"),
    plain("x: int = 1\nprint(__annotations__)"),
    plain("import os; print(dict(os.environ), os.getcwd(), os.listdir('.'))"),
    Snippet {
        code: "import os; print(os.environ['A'], os.getenv('B'), list(os.environ)); os.system('env; pwd')",
        stdin: None,
        env: &[("A", "ä=b"), ("B", ""), ("ZED", "line\nbreak")],
        cwd: Some("/tmp"),
    },
    Snippet {
        code: "import posix; print(posix.environ == {k: v for k, v in __import__('os').environb.items()})",
        stdin: None,
        env: &[("A", "1")],
        cwd: None,
    },
    plain(
        "import subprocess, sys; print(subprocess.run([sys.executable, '-c', 'import sys; print(sys.argv, 1)'], capture_output=True))",
    ),
    plain(
        "import os; print(os.getppid(), os.getsid(0) == os.getpid(), os.getpgrp() == os.getpid(), os.umask(0), os.nice(0))",
    ),
    plain(
        "import os; print(sorted(os.listdir('/proc/self/fd')), sorted(os.listdir('/proc/self/task')) == [str(os.getpid())])",
    ),
    plain("import resource; print([resource.getrlimit(n) for n in range(15)])"),
    plain(
        "import os; print(os.stat(0).st_mode, os.stat(1).st_mode, os.stat(2).st_mode, os.fstat(0).st_uid, [os.get_blocking(n) for n in range(3)])",
    ),
    plain(
        "import os; print(open('/proc/self/oom_score_adj').read(), open('/proc/self/comm').read(), os.readlink('/proc/self/exe'), os.access('/proc/self/mem', os.R_OK))",
    ),
    plain(
        "import re; print([l for l in open('/proc/self/status') if re.match('Sig|Cap|Seccomp|NoNew|Uid|Gid|Groups|Umask|Threads', l)])",
    ),
    plain("import gc; print(gc.isenabled(), gc.get_threshold(), gc.get_debug(), gc.garbage)"),
    plain(
        "import locale, sys, time; print(locale.getpreferredencoding(), sys.getfilesystemencoding(), time.tzname, locale.setlocale(locale.LC_CTYPE))",
    ),
    plain("import site; print(site.ENABLE_USER_SITE, site.getsitepackages(), site.getusersitepackages())"),
    plain(
        "import ctypes, struct, _socket, socket, io, linecache, _signal; print(ctypes.sizeof(ctypes.c_int), ctypes.pythonapi.Py_GetVersion is not None)",
    ),
    plain("import os\npid = os.fork()\nif pid: os.waitpid(pid, 0); print('parent')\nelse: print('child')"),
    plain("import logging; logging.warning('careful'); logging.error('worse')"),
    plain("help(abs)"),
    plain("import this"),
    plain(
        "import decimal, fractions, statistics; print(statistics.mean([decimal.Decimal(1), decimal.Decimal(2)]))",
    ),
    plain("import codecs, sys; sys.stdout.reconfigure(encoding='utf-16'); print('x')"),
    plain("print('\\ud800')"),
    plain("import faulthandler; faulthandler.enable(); import os; os.abort()"),
    plain(
        "import unittest\nclass T(unittest.TestCase):\n    def test(self): self.assertEqual(1, 1)\nunittest.main(argv=['x'], verbosity=0, exit=False)\nprint(T)",
    ),
    plain(
        "import _thread; print(_thread._is_main_interpreter() if hasattr(_thread, '_is_main_interpreter') else '', __import__('threading')._shutdown is not None)",
    ),
    plain(
        "import runpy, sys; open('/tmp/m.py', 'w').write('print(__name__, __file__)'); runpy.run_path('/tmp/m.py', run_name='__main__')",
    ),
    plain(
        "import sys, os; os.makedirs('/tmp/here', exist_ok=True); os.chdir('/tmp/here'); open('struct.py', 'w').write('x = 7'); import struct; print(struct.x)",
    ),
    Snippet { code: "import json; print(json.x)", stdin: None, env: &[], cwd: Some("/srv") },
    plain("import contextvars, decimal; print(decimal.getcontext(), contextvars.copy_context())"),
    plain("print(type(__loader__), __loader__.__name__, repr(__import__('__main__')))"),
];
