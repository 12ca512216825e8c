"""Code compiled on the controller for nodes with the same Python, and the cache that keeps it."""

from __future__ import annotations

import hashlib
import marshal
import os
import subprocess
import sys
import zlib
from collections.abc import Callable, Sequence
from contextlib import suppress
from importlib.util import MAGIC_NUMBER
from pathlib import Path

from labctl.paths import cache_dir

# Run by a Python of its own: only its start decides what compiled code holds.
_COMPILER = """
import __future__, ast, marshal, sys
modules = marshal.load(sys.stdin.buffer)
later = __future__.annotations.compiler_flag
line = "from __future__ import annotations\\n"

def plain(text):
    tree = ast.parse(text.replace(line, "\\n", 1))
    for node in ast.walk(tree):
        if isinstance(node, ast.arg):
            node.annotation = None
        elif isinstance(node, ast.FunctionDef):
            node.returns = None
    return tree

def bare(code):
    parts = tuple(bare(each) if isinstance(each, type(code)) else each for each in code.co_consts)
    whole, rest = divmod(len(code.co_code) // 2, 8)  # entries for 8 units each that say: no place
    nowhere = bytes([0xFF] * whole + [0xF7 + rest] * bool(rest))
    return code.replace(co_consts=parts, co_linetable=nowhere)

sys.stdout.buffer.write(marshal.dumps([
    (name, bare(compile(plain(text), file, "exec", later if line in text else 0)))
    for name, file, text in modules
]))
"""


def compile_all(modules: Sequence[tuple[str, str, str]]) -> bytes:
    """Name, file and text of modules as a compressed, marshalled list of names and code."""
    # Half of the compiled form would be annotations, and lines and columns for tracebacks: nobody sees any.
    program = [sys.executable, "-I", "-OO", "-c", _COMPILER]
    text = marshal.dumps([tuple(each) for each in modules], 2)
    return zlib.compress(subprocess.run(program, input=text, capture_output=True, check=True).stdout, 9)


def kept(name: str, made_of: object, make: Callable[[], bytes]) -> bytes:
    """What `make` gives; from the cache where it was made of the same before."""
    key = hashlib.sha256(repr((MAGIC_NUMBER, _COMPILER, made_of)).encode()).hexdigest()[:16]
    path = cache_dir() / f"{name}-{key}"
    return _read(path) or _write(path, make())


def _read(path: Path) -> bytes | None:
    """The file's content, where nobody else can have written it: it is going to run on every node."""
    try:
        with path.open("rb") as stream:
            about = os.fstat(stream.fileno())
            ours = about.st_uid == os.geteuid() and not about.st_mode & 0o022
            return stream.read() if ours else None
    except OSError:
        return None


def _write(path: Path, data: bytes) -> bytes:
    """Keep it, unless the disk is full or read-only: then it is made anew each time."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary.write_bytes(data)
        temporary.chmod(0o600)
        temporary.replace(path)
    except OSError:
        with suppress(OSError):
            temporary.unlink()
    return data
