"""What travels to a node to start an agent there, and the command line that receives it."""

from __future__ import annotations

import hashlib
import marshal
import re
import zlib
from functools import cache
from importlib.util import MAGIC_NUMBER
from pathlib import Path

from labctl.errors import TaskFailed, did_you_mean
from labctl.node.compiled import compile_all, kept

_HERE = Path(__file__).resolve().parent
_MODULES = (
    "agent_json",
    "agent_spawn",
    "agent_processes",
    "agent_commands",
    "agent",
)
_LATER = ("agent_replace", "agent_files", "agent_transfers")  # are loaded when the first file is asked for

MAGIC = b"\0labctl-agent-1\0"
TOO_OLD = "labctl: this Python is too old: "
NO_PYTHON = "labctl: no python3 here"

# Prints MAGIC (a login shell may have printed anything before), reads the bundle's length and the bundle.
_STUB = (
    "import posix as os,sys,zlib\n"
    f'if sys.version_info<(3,8):sys.exit("{TOO_OLD}"+sys.version.split()[0])\n'
    'os.write(1,bytes([0])+b"labctl-agent-1"+bytes([0]))\n'
    "def r(n):\n"
    ' b=b""\n'
    " while len(b)<n:\n"
    "  c=os.read(0,n-len(b))\n"
    "  if not c:sys.exit(1)\n"
    "  b+=c\n"
    " return b\n"
    "exec(zlib.decompress(r(int(r(8)))))"
)
_FLAGS = "-I -S -E -u -X utf8"
_CANDIDATES = (
    "/usr/bin/python3 python3 /usr/local/bin/python3 python3.13 python3.12 python3.11 python3.10 "
    "python3.9 python3.8 /usr/libexec/platform-python python"
)

# Executed by the stub. The agent comes twice, compiled and as source: a Python of the controller's own version
# takes the first, any other the second; each in two parts, of which the second waits until it is imported. On the node
# the modules find one another under the names they have here.
_LOADER = """
import marshal
parts = [r(n) for n in %r]
same = getattr(sys.modules.get("_frozen_importlib_external"), "MAGIC_NUMBER", b"") == %r
now, later = parts[:2] if same else parts[2:]
def run(part, module):
    name = module.__name__.rpartition(".")[2]
    code = part[name]
    exec(code if same else compile(code, "labctl/node/%%s.py" %% name, "exec"), module.__dict__)
def modules(part):
    return dict(marshal.loads(zlib.decompress(part)))
class Later:
    def find_spec(name, path=None, target=None):
        if name in %r:
            return type(sys.__spec__)(name, Later)
    def create_module(spec):
        pass
    def exec_module(module):
        run(modules(later), module)
sys.meta_path.insert(0, Later)
M = type(sys)
for name in ("labctl", "labctl.node"):
    sys.modules[name] = M(name)
    sys.modules[name].__path__ = []
now = modules(now)
for name in now:
    module = sys.modules["labctl.node." + name] = M("labctl.node." + name)
    setattr(sys.modules["labctl.node"], name, module)
    run(now, module)
sys.modules["labctl.node.agent"].main()
"""

_FUTURE = "from __future__ import annotations\n"  # must stay the first statement
_FUNCTIONS = "labctl.node.functions"
_SIBLING_LOADER = """
def _load(package, siblings):
    import sys
    M = type(sys)
    whole = ""
    for part in package.split("."):
        whole = whole + "." + part if whole else part
        if whole not in sys.modules:
            sys.modules[whole] = M(whole)
            sys.modules[whole].__path__ = []
    for name, text in siblings:
        module = sys.modules[package + "." + name] = M(package + "." + name)
        setattr(sys.modules[package], name, module)
        exec(compile(text, package.replace(".", "/") + "/%s.py" % name, "exec"), module.__dict__)
_load(_PACKAGE, _SIBLINGS)
"""


@cache
def bundle() -> bytes:
    """The agent as it goes over the wire; kept in the cache once it was packed."""
    found = sources()
    return kept("agent", (_LOADER, found), lambda: pack(found))


def sources() -> list[tuple[str, str]]:
    """The agent's modules and their text."""
    return [(name, (_HERE / f"{name}.py").read_text(encoding="utf-8")) for name in (*_MODULES, *_LATER)]


def pack(modules: list[tuple[str, str]], magic: bytes = MAGIC_NUMBER) -> bytes:
    """Eight digits of length, the loader, the modules compiled and as source. `magic` names the Pythons that take
    what is compiled."""
    halves = [one for one in modules if one[0] not in _LATER], [one for one in modules if one[0] in _LATER]
    parts = [
        *(compile_all([(name, f"labctl/node/{name}.py", text) for name, text in half]) for half in halves),
        *(zlib.compress(marshal.dumps(half, 2), 9) for half in halves),  # format 2 is read by every Python
    ]
    names = tuple(f"labctl.node.{name}" for name in _LATER)
    loader = zlib.compress((_LOADER % (tuple(map(len, parts)), magic, names)).encode(), 9)
    return b"%08d" % len(loader) + loader + b"".join(parts)


def stub_argv(python: str) -> list[str]:
    """The argument vector that starts an agent with a known interpreter."""
    return [python, *_FLAGS.split(), "-c", _STUB]


def stub_command(python: str | None = None) -> str:
    """A POSIX shell line that starts an agent: with this interpreter, or with the first one found there. It
    holds no single quote, so that `sh -c '…'` can carry it through any login shell."""
    quoted = '"' + re.sub(r'([$`"\\])', r"\\\1", _STUB) + '"'
    candidates = f'"{python}"' if python else _CANDIDATES
    return (
        f'for p in {candidates}; do command -v "$p" >/dev/null 2>&1 && exec "$p" {_FLAGS} -c {quoted}; done; '
        f'echo "{NO_PYTHON}" >&2; exit 127'
    )


@cache
def function_source(module: str) -> tuple[str, bytes]:
    """Hash and source of `functions/<module>.py`. TaskFailed when there is no such module."""
    path = _function_path(module)
    source = with_siblings(path, _FUNCTIONS, path.parent)
    return hashlib.sha256(source).hexdigest(), source


@cache
def function_code(module: str) -> bytes:
    """The same compiled, for a node with this Python: its siblings before it, as `compile_all` has them."""
    path = _function_path(module)
    texts = _in_order(path, _FUNCTIONS, path.parent)
    parts = [
        (f"{_FUNCTIONS}.{name}", f"labctl/node/functions/{name}.py", text) for name, text in texts.items()
    ]
    return kept(f"function-{module}", parts, lambda: compile_all(parts))


def _function_path(module: str) -> Path:
    path = _HERE / "functions" / f"{module}.py"
    if not path.is_file():
        names = [one.stem for one in path.parent.glob("*.py") if one.stem != "__init__"]
        raise TaskFailed(f"there is no node function module '{module}'", hint=did_you_mean(module, names))
    return path


def with_siblings(path: Path, package: str, folder: Path) -> bytes:
    """A program's source behind those modules of `package` that it, or one of them, imports by name; they
    are the files of `folder`."""
    order = _in_order(path, package, folder)
    source = order.pop(path.stem)
    if not order:
        return source.encode()
    modules = f"_PACKAGE = {package!r}\n_SIBLINGS = {list(order.items())!r}\n{_SIBLING_LOADER}\n"
    if _FUTURE not in source:
        return f"{modules}{source}".encode()
    return source.replace(_FUTURE, _FUTURE + modules, 1).encode()


def _in_order(path: Path, package: str, folder: Path) -> dict[str, str]:
    """The text of the siblings a program imports, each after those it imports itself, then the program's."""
    sibling = re.compile(rf"^from {re.escape(package)}(?:\.(\w+))? import (.+)$", re.MULTILINE)
    order: dict[str, str] = {}

    def visit(one: Path) -> None:
        text = one.read_text(encoding="utf-8")
        for module, names in sibling.findall(text):
            for name in [module] if module else [part.split()[0] for part in names.split(",")]:
                if name not in order and name != path.stem:
                    visit(folder / f"{name}.py")
        order[one.stem] = text

    visit(path)
    return order
