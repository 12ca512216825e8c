"""What travels to a node to start an agent there, and the command line that receives it."""

from __future__ import annotations

import hashlib
import marshal
import re
import struct
import threading
import zlib
from functools import cache
from importlib.util import MAGIC_NUMBER
from pathlib import Path

from labctl.errors import TaskFailed, did_you_mean
from labctl.node.agent_json import encode
from labctl.node.compiled import compile_all, kept

_HERE = Path(__file__).resolve().parent
_MODULES = (
    "agent_loader",
    "agent_json",
    "agent_spawn",
    "agent_processes",
    "agent_commands",
    "agent",
)
# are loaded when something is to be ended, or the first file is asked for
_LATER = ("agent_ending", "agent_replace", "agent_files", "agent_transfers")

MAGIC = b"\0labctl-agent-2\0"
TAKEN = 8  # bytes behind it: MAGIC_NUMBER of the node's Python, in hexadecimal
TOO_OLD = "labctl: this Python is too old: "
NO_PYTHON = "labctl: no python3 here"

# Prints MAGIC (a login shell may have printed anything before) and which compiled code this Python takes; reads the modules
# the agent starts with, not a byte more. One line that any login shell passes on as it is: no single quote, no backslash, no
# exclamation mark.
_STUB = (
    "import io,marshal,posix,sys,zlib;"
    f'sys.version_info<(3,8) and sys.exit("{TOO_OLD}"+sys.version.split()[0]);'
    'taken=getattr(sys.modules.get("_frozen_importlib_external"),"MAGIC_NUMBER",b"");'
    'posix.write(1,bytes([0])+b"labctl-agent-2"+bytes([0])+taken[:4].ljust(4).hex().encode());'
    'read=io.BufferedReader(io.FileIO(0,"r",False),1).read;'
    "modules=dict(marshal.loads(zlib.decompress(read(int(read(8)or sys.exit(1))))));"
    'exec(modules.pop("agent_loader"));'
    "start(modules)"
)
_FLAGS = "-I -S -E -u -X utf8"
FIRST_PYTHON = "/usr/bin/python3"
_CANDIDATES = (
    f"{FIRST_PYTHON} python3 /usr/local/bin/python3 python3.13 python3.12 python3.11 python3.10 "
    "python3.9 python3.8 /usr/libexec/platform-python python"
)

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


_one_packs = threading.Lock()


def bundle(taken: str) -> bytes:
    """The agent as it goes over the wire, for a Python whose compiled code has this number: compiled where that is the
    controller's. Kept in the cache once it was packed."""
    with _one_packs:  # the threads of all hosts ask for it at once
        return _bundle(taken == MAGIC_NUMBER.hex())


@cache
def _bundle(compiled: bool) -> bytes:
    found = sources()
    name = "agent" if compiled else "agent-text"
    return kept(name, (_STUB, found), lambda: pack(found, compiled))


def sources() -> list[tuple[str, str]]:
    """The agent's modules and their text."""
    return [(name, (_HERE / f"{name}.py").read_text(encoding="utf-8")) for name in (*_MODULES, *_LATER)]


def pack(modules: list[tuple[str, str]], compiled: bool) -> bytes:
    """What the stub reads, eight digits of length before it, and a first frame for the agent: the modules that wait until
    they are imported, which need not have come when it starts."""
    now, later = ([one for one in modules if (one[0] in _LATER) == waits] for waits in (False, True))
    start, rest = (_packed(some, compiled) for some in (now, later))
    header = encode({"id": -1, "op": "later", "names": [name for name, _text in later]}).encode()
    return b"%08d" % len(start) + start + struct.pack(">II", len(header), len(rest)) + header + rest


def split(packed: bytes) -> tuple[bytes, bytes]:
    """What the agent starts with, and the rest. A packet of SSH's is of use when all of it has come, and the first is as
    much as TCP sends at once to a host it does not know yet (10 segments, RFC 6928)."""
    first = 8 + int(packed[:8])
    return packed[:first], packed[first:]


def _packed(modules: list[tuple[str, str]], compiled: bool) -> bytes:
    if compiled:
        return compile_all([(name, f"labctl/node/{name}.py", text) for name, text in modules])
    return zlib.compress(marshal.dumps(modules, 2), 9)  # format 2 is read by every Python


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
