"""What somebody types at the terminal that stdin is."""

from __future__ import annotations

import os
import select
import sys
import termios
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext

from labctl.errors import UsageError

_LOOK_UP = 0.2  # seconds until who waits for an answer looks whether it is still wanted


def answer(prompt: str, *, hidden: bool = False, check: Callable[[], object] = lambda: None) -> str:
    """As `line`; UsageError at the end of the input."""
    try:
        return line(prompt, hidden=hidden, check=check)
    except EOFError:
        hint = "the input has ended (Ctrl-D)"
        raise UsageError(f"nobody answers to '{prompt.strip()}'", hint=hint) from None


def line(prompt: str, *, hidden: bool = False, check: Callable[[], object] = lambda: None) -> str:
    """One line; `hidden`: not shown as it is typed. `check` is called again and again meanwhile, and may raise. EOFError at
    the end of the input."""
    stdin = sys.stdin.fileno()
    sys.stdout.flush()
    try:
        with _unseen(stdin) if hidden else nullcontext():
            sys.stderr.write(prompt)
            sys.stderr.flush()
            typed = b""
            while not typed.endswith(b"\n"):
                while not select.select([stdin], [], [], _LOOK_UP)[0]:
                    check()
                piece = os.read(stdin, 4096)
                if not piece and not typed:
                    raise EOFError
                if not piece:
                    break
                typed += piece
    except BaseException:
        sys.stderr.write("\n")
        raise
    if hidden:
        sys.stderr.write("\n")
    return typed.decode(errors="replace").rstrip("\r\n")


@contextmanager
def _unseen(terminal: int) -> Iterator[None]:
    before = termios.tcgetattr(terminal)
    quiet = list(before)
    quiet[3] &= ~termios.ECHO
    try:
        termios.tcsetattr(terminal, termios.TCSAFLUSH, quiet)
        yield
    finally:
        termios.tcsetattr(terminal, termios.TCSAFLUSH, before)
