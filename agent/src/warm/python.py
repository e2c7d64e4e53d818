# A Python that is up before there is code for it. Process 1 starts it as `python3 -c`, sends this text, and from then on
# one datagram with a socket for each interpreter that it wants: a grandchild, orphaned at once, so that it is process
# 1's to wait for. That one tells that it is there, waits for its run on the socket, and becomes what `python3 -c CODE`
# is: same streams, environment and directory, no name in `__main__`, no frame below the code's, and the way out is
# Python's own. Where it cannot be quite that, it executes `python3 -c CODE`.
#
# All imports are undone, and none looks into the working directory: what is the code's is taken for nothing of ours.


def serve():
    import sys

    posix, path = sys.modules['posix'], sys.path
    fresh = {**sys.modules['__main__'].__dict__}
    del fresh['posix'], fresh['serve']
    hook, version = sys.excepthook, sys.version_info
    sys.path = [entry for entry in path if entry]

    # Where packages are, and what is read there at every start. What is named there may be made later.
    site = sys.modules.get('site')
    places = [*sys.path, getattr(site, 'USER_SITE', None)]
    places = [place for place in places if place]
    for place in [*places]:
        try:
            for name in posix.listdir(place):
                if name.endswith('.pth'):
                    places.append(place + '/' + name)
                    with open(places[-1], errors='surrogateescape') as lines:
                        lines = [line.rstrip() for line in lines]
                    places += [line if line[:1] == '/' else place + '/' + line for line in lines if line]
        except OSError:
            pass
    for name in 'sitecustomize', 'usercustomize':
        places += [getattr(sys.modules.get(name), '__file__', None) or '']

    def looks():
        found = []
        for place in places:
            try:
                stat = posix.stat(place)
                found.append((stat.st_dev, stat.st_ino, stat.st_mtime_ns))
            except (OSError, ValueError):
                found.append(None)
        return found

    looked = looks()

    # The memory of Python itself, which every run writes to: at its end, if not before.
    with open('/proc/self/maps', 'rb') as maps:
        maps = [line.split() for line in maps]
    memory = [entry[0].split(b'-') for entry in maps if entry[1] == b'rw-p']
    memory = [(int(start, 16), int(end, 16)) for start, end in memory]

    own = set(sys.modules)
    for name in sys.argv[1:]:
        try:
            __import__(name)
        except BaseException:
            # Code that imports it will be told why.
            pass

    kept = set(sys.modules)
    import gc
    import io
    import os
    import _signal
    import _socket
    from ctypes import c_int, c_size_t, c_void_p, py_object, pythonapi

    linecache = sys.modules.get('linecache')
    # What the code of `-c` looks like in tracebacks is kept with its text from 3.13 on, and by no interface.
    shown = version >= (3, 13)
    if version < (3, 10) or shown and hasattr(linecache, '_interactive_cache'):
        return
    for name in set(sys.modules) - kept:
        del sys.modules[name]

    # To take down large modules takes longer than most code runs, and nobody can tell that it is not done. So they are
    # kept from it, unless the code has put something of its own there.
    large = [(name, sys.modules[name]) for name in kept - own if type(sys.modules[name]) is type(sys)]
    large = [(name, module, len(module.__dict__)) for name, module in large]
    keep, let_go = pythonapi.Py_IncRef, pythonapi.Py_DecRef
    keep.argtypes = let_go.argtypes = [py_object]
    flush, leave_well, leave_now = pythonapi.fflush, pythonapi.exit, posix._exit
    collect, unfreeze = gc.collect, gc.unfreeze
    flush.argtypes, leave_well.argtypes = [c_void_p], [c_int]

    def libraries():
        """How many are loaded: the length of the list that begins with the program's own (`link_map`, dlinfo(3))."""
        count, entry = 0, pythonapi._handle
        while entry:
            count, entry = count + 1, c_void_p.from_address(entry + 24).value
        return count

    # What the process is to end with, once that is known and nothing is left that could change it.
    status = None

    def is_told(stream):
        """Whether all that was written has gone, and that can be asked without anybody's noticing."""
        if stream is None:
            return True
        if type(stream) is not io.TextIOWrapper or type(stream.buffer) is not io.BufferedWriter:
            return False
        try:
            return stream.closed or stream.flush() is None
        except Exception:
            return False

    # The hook is what goes first at the end, what is last in `sys` goes when all modules have gone.
    class End:
        def __del__(self):
            if sys.is_finalizing():
                changed = False
                while large:
                    name, module, size = large.pop()
                    if sys.modules.get(name) is module and len(module.__dict__) == size:
                        del sys.modules[name]
                    else:
                        changed = True
                        let_go(module)
                if changed:
                    unfreeze()
                if status is not None and is_told(sys.stdout) and is_told(sys.stderr):
                    sys.__dict__['end'] = Last()

    # All that is left is Python's own memory: the kernel is quicker to free it, and does so anyway. Libraries that the
    # code has loaded may have something to do at the end; those that were there have not.
    class Last:
        def __init__(self):
            self.leave = leave_now if libraries() == loaded else leave_well

        def __del__(self):
            collect()
            flush(None)
            self.leave(status)

    # What PyRun_SimpleStringFlags is called with, by the hook for exceptions: there, nothing of ours is on the stack.
    code = b''
    flags = (c_int * 2)(0x800, version[1])
    nothing = c_int(0)
    run, leave, enter = (
        pythonapi.PyRun_SimpleStringFlags,
        pythonapi.Py_LeaveRecursiveCall,
        pythonapi.Py_EnterRecursiveCall,
    )
    leave.restype = None
    interrupted = _signal.getsignal(_signal.SIGINT)

    class Begin(Exception):
        pass

    class Code:
        @staticmethod
        def from_param(_):
            return code

    class Flags:
        @staticmethod
        def from_param(_):
            return flags

    class Nothing:
        @staticmethod
        def from_param(_):
            sys.excepthook = hook
            for name in 'last_type', 'last_value', 'last_traceback', 'last_exc':
                sys.__dict__.pop(name, None)
            # The hook is a call, and not the code's.
            leave()
            _signal.signal(_signal.SIGINT, interrupted)
            return nothing

    def ended(result, *_):
        nonlocal status
        enter(b'')
        if result == 0:
            status = 0
            raise SystemExit(0)
        # What was raised has been told. That it was, is what follows from here: 1, or an end by SIGINT.
        if not issubclass(sys.__dict__.get('last_type', KeyboardInterrupt), KeyboardInterrupt):
            status = 1

    run.argtypes = [Code, Flags, Nothing]
    run.errcheck = ended

    def stream(fd, mode, like):
        bytes = io.open(fd, mode + 'b', closefd=False)
        bytes.raw.name = like.name
        text = io.TextIOWrapper(bytes, like.encoding, like.errors, '\n', line_buffering=fd == 2)
        text.mode = mode
        return text

    def received(socket):
        data, beside, _, _ = socket.recvmsg(1 << 17, 4096)
        if not data:
            posix._exit(0)
        fds = [fd for _, _, fds in beside for fd in memoryview(fds).cast('i')]
        if data[0]:
            content = fds.pop(0)
            data = b' ' + posix.pread(content, posix.fstat(content).st_size, 0)
            posix.close(content)
        return data[1:], fds

    loaded = libraries()

    # While it waits, nobody may look into it.
    PR_SET_DUMPABLE = 4
    pythonapi.prctl(PR_SET_DUMPABLE, 0, 0, 0, 0)
    _signal.signal(_signal.SIGINT, _signal.SIG_DFL)
    control = _socket.socket(fileno=3)
    gc.collect()
    gc.freeze()
    while True:
        _, (fd,) = received(control)
        if looks() != looked:
            # Something was installed: another will know of it.
            posix._exit(0)
        child = posix.fork()
        if child:
            posix.close(fd)
            posix.waitpid(child, 0)
            continue
        if posix.fork():
            posix._exit(0)
        break

    # All that does not depend on the run is done before it comes, so that its memory is copied by then too. That of
    # Python itself is copied as a whole (Linux 5.14, else as it is written to): one by one, its pages take longer.
    MADV_POPULATE_WRITE = 23
    for start, end in memory:
        pythonapi.madvise(c_size_t(start), c_size_t(end - start), MADV_POPULATE_WRITE)
    for _, module, _ in large:
        len(module.__dict__)
        keep(module)
    control.close()
    posix.setsid()
    sys.path = path
    sys.path_importer_cache.clear()
    if hasattr(sys, '__interactivehook__'):
        sys.__interactivehook__.end = End()
    sys.argv = ['-c']
    # What they know of this process is their parent's.
    threading, random = sys.modules.get('threading'), sys.modules.get('numpy.random')
    if threading:
        threading.main_thread()._set_native_id()
    if random:
        random.seed()
    # Another than the one that the first line of all ran in: that one is held by its frame until the end.
    main = type(sys)('__main__')
    main.__dict__.clear()
    main.__dict__.update(fresh)
    sys.modules['__main__'] = main
    # This frame is there until the end, too: what it holds would die late.
    del main, path
    module = None
    os.environ.clear()
    posix.environ.clear()
    likes = sys.stdin, sys.stdout, sys.stderr
    for number, like in enumerate(likes):
        stream(number, 'w' if number else 'r', like)

    while posix.getppid() != 1:
        posix.sched_yield()
    link = _socket.socket(fileno=fd)
    link.send(b' ')
    data, (stdin, stdout, stderr, directory) = received(link)
    pythonapi.prctl(PR_SET_DUMPABLE, 1, 0, 0, 0)
    link.detach()
    posix.dup2(stdin, 0)
    posix.dup2(stdout, 1)
    posix.dup2(stderr, 2)
    posix.fchdir(directory)
    posix.closerange(3, posix.sysconf('SC_OPEN_MAX'))
    try:
        score = posix.open('/proc/self/oom_score_adj', posix.O_WRONLY)
        posix.write(score, b'500')
        posix.close(score)
    except OSError:
        pass

    program, code, *variables = data.split(b'\0')
    variables = dict(variable.split(b'=', 1) for variable in variables)
    if looks() != looked:
        posix.execve(program, [b'python3', b'-c', code], variables)
    for name, value in variables.items():
        os.environb[name] = posix.environ[name] = value
    text = code.decode()
    sys.orig_argv = ['python3', '-c', text]
    if shown:
        linecache._register_code('<string>', text, '<string>')
    sys.stdin = sys.__stdin__ = stream(0, 'r', likes[0])
    sys.stdout = sys.__stdout__ = stream(1, 'w', likes[1])
    sys.stderr = sys.__stderr__ = stream(2, 'w', likes[2])
    sys.excepthook = run
    raise Begin


serve()
