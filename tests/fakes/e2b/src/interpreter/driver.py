# A kernel for Python: reads requests, a line of JSON each, and answers with lines of JSON, as far as a notebook's
# kernel is seen through the code interpreter. Variables stay from one request to the next.

import ast
import asyncio
import base64
import builtins
import importlib.abc
import importlib.machinery
import inspect
import json
import linecache
import os
import signal
import sys
import threading
import traceback
import types

requests = os.fdopen(os.dup(0), encoding="utf-8")
answers = os.dup(1)
lock = threading.Lock()


def tell(**message):
    line = (json.dumps(message) + "\n").encode()
    with lock:
        while line:
            line = line[os.write(answers, line) :]


class Printed:
    """What code prints."""

    encoding = "utf-8"
    errors = "replace"

    def __init__(self, name, number):
        self.name = name
        self.number = number

    def write(self, text):
        if text:
            tell(stream=self.name, text=str(text))
        return len(text)

    def writelines(self, lines):
        for line in lines:
            self.write(line)

    def flush(self):
        pass

    def isatty(self):
        return False

    def fileno(self):
        return self.number


class Relay:
    """What programs print that code starts."""

    MARK = b"\0<end>\0"

    def __init__(self, name, number):
        reading, writing = os.pipe()
        os.dup2(writing, number)
        os.close(writing)
        self.number = number
        self.passed = threading.Semaphore(0)
        threading.Thread(target=self.run, args=(name, reading), daemon=True).start()

    def run(self, name, reading):
        held = b""
        while piece := os.read(reading, 65536):
            *before, held = (held + piece).split(self.MARK)
            # The beginning of a mark waits for the rest of it.
            kept = next((n for n in range(len(self.MARK) - 1, 0, -1) if held.endswith(self.MARK[:n])), 0)
            text, held = held[: len(held) - kept], held[len(held) - kept :]
            for part in [*before, text]:
                if part:
                    tell(stream=name, text=part.decode(errors="replace"))
            for _ in before:
                self.passed.release()

    def settle(self):
        """Waits until all is told that was printed so far."""
        os.write(self.number, self.MARK)
        self.passed.acquire()


METHODS = {
    "text/html": "_repr_html_",
    "text/markdown": "_repr_markdown_",
    "image/svg+xml": "_repr_svg_",
    "image/png": "_repr_png_",
    "image/jpeg": "_repr_jpeg_",
    "application/pdf": "_repr_pdf_",
    "text/latex": "_repr_latex_",
    "application/json": "_repr_json_",
    "application/javascript": "_repr_javascript_",
}


def bundle(value):
    """A value in all the kinds that it has."""
    data = {"text/plain": repr(value)}
    kinds = getattr(value, "_repr_mimebundle_", None)
    if callable(kinds) and not isinstance(value, type):
        found = kinds()
        data.update(found[0] if isinstance(found, tuple) else found)
    for kind, name in METHODS.items():
        method = getattr(value, name, None)
        if isinstance(value, type) or not callable(method):
            continue
        found = method()
        if isinstance(found, tuple):
            found = found[0]
        if isinstance(found, bytes):
            found = base64.b64encode(found).decode()
        if found is not None:
            data[kind] = found
    return data


def display(*values, **_):
    for value in values:
        tell(data=bundle(value), main=False)


def figures():
    """Shows all figures of matplotlib, if there are any."""
    pyplot = sys.modules.get("matplotlib.pyplot")
    if pyplot is None:
        return
    import io

    for number in pyplot.get_fignums():
        figure = pyplot.figure(number)
        image = io.BytesIO()
        figure.savefig(image, format="png", bbox_inches="tight")
        png = base64.b64encode(image.getvalue()).decode()
        tell(data={"text/plain": repr(figure), "image/png": png}, main=False)
    pyplot.close("all")


class Inline(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Where matplotlib draws. It is imported by that, and imports it only then."""

    NAME = "kernel_inline"

    def find_spec(self, name, *_):
        return importlib.machinery.ModuleSpec(name, self) if name == self.NAME else None

    def exec_module(self, module):
        from matplotlib.backends.backend_agg import FigureCanvasAgg

        module.FigureCanvas = FigureCanvasAgg
        module.show = lambda *_, **__: figures()


sys.meta_path.append(Inline())
os.environ["MPLBACKEND"] = f"module://{Inline.NAME}"


def no_input(prompt=""):
    raise RuntimeError("raw_input was called, but this frontend does not support input requests.")


builtins.input = no_input
main = types.ModuleType("__main__")
sys.modules["__main__"] = main
variables = main.__dict__
variables.update(display=display, In=[""], Out={})
loop = asyncio.new_event_loop()
asyncio.set_event_loop(loop)
count = 0
busy = False


def evaluate(tree, kind, name):
    code = compile(tree, name, kind, flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
    value = eval(code, variables)
    if inspect.CO_COROUTINE & code.co_flags:
        value = loop.run_until_complete(value)
    return value


def execute(source, name):
    lines = source.splitlines(keepends=True)
    linecache.cache[name] = (len(source), None, lines, name)
    tree = compile(source, name, "exec", flags=ast.PyCF_ONLY_AST | ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
    last = None
    if tree.body and isinstance(tree.body[-1], ast.Expr):
        last = tree.body.pop()
    evaluate(tree, "exec", name)
    if last is None:
        return None
    value = evaluate(ast.Expression(last.value), "eval", name)
    return None if source.rstrip().endswith(";") else value


def failed(error):
    """As a terminal shows it, without what is here."""
    trace = error.__traceback__
    while trace is not None and trace.tb_frame.f_code.co_filename == __file__:
        trace = trace.tb_next
    text = "".join(traceback.format_exception(type(error), error, trace))
    tell(error={"name": type(error).__name__, "value": str(error), "traceback": text})


def interrupted(*_):
    if busy:
        raise KeyboardInterrupt


__file__ = "<string>"
signal.signal(signal.SIGINT, interrupted)
os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
relays = [Relay("stdout", 1), Relay("stderr", 2)]
sys.stdout, sys.stderr = Printed("stdout", 1), Printed("stderr", 2)
sys.path.insert(0, "")

for line in requests:
    request = json.loads(line)
    if "cwd" in request:
        try:
            os.chdir(request["cwd"])
        except OSError as error:
            print(error)
        tell(idle=True)
        continue
    silent = request["silent"]
    if not silent:
        count += 1
        tell(count=count)
    try:
        busy = True
        value = execute(request["code"], f"Cell In[{count}]")
        if value is not None and not silent:
            variables["_"] = variables["Out"][count] = value
            tell(data=bundle(value), main=True)
        figures()
    except BaseException as error:
        busy = False
        failed(error)
    finally:
        busy = False
    for relay in relays:
        relay.settle()
    tell(idle=True)
