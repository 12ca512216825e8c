"""Programs that ask questions: run on a terminal of their own, and answered."""

from __future__ import annotations

import os
import pty
import re
import select
import signal
import termios
import time
from typing import Any, Dict, List, Optional

_CHUNK = 4096


def converse(  # noqa: PLR0917
    words: List[str],
    responses: Dict[str, Any],
    timeout: Optional[float] = 30.0,
    echo: bool = False,
    chdir: Optional[str] = None,
    environment: Optional[Dict[str, str]] = None,
) -> Dict[str, Any]:
    """Run a program, answering what it asks: `responses` maps regular expressions (searched, case ignored, in what
    came since the last answer) to an answer or a list of answers, one for each time. {"rc": exit status, -N for
    signal N, or None when nothing was said for `timeout` seconds, "output", "unanswered": the question that came
    once more than it has answers, or None, "start", "end": seconds since the epoch}."""
    asked = [
        (re.compile(pattern.encode(), re.IGNORECASE | re.DOTALL), answer)
        for pattern, answer in responses.items()
    ]
    left = {
        index: [str(one) for one in answer] if isinstance(answer, list) else None
        for index, (_, answer) in enumerate(asked)
    }
    start = time.time()
    pid, terminal = pty.fork()
    if pid == 0:
        _become(words, chdir, environment)
    if not echo:
        _quiet(terminal)
    output = waiting = b""
    unanswered = None
    timed_out = False
    until = time.monotonic() + timeout if timeout is not None else None
    while True:
        seconds = None if until is None else max(0.0, until - time.monotonic())
        if not select.select([terminal], [], [], seconds)[0]:
            timed_out = True
            break
        try:
            piece = os.read(terminal, _CHUNK)
        except OSError:  # the terminal's other end was closed
            piece = b""
        if not piece:
            break
        output += piece
        waiting += piece
        found = _first(asked, waiting)
        while found is not None:
            index, end = found
            answers, waiting = left[index], waiting[end:]
            if answers is not None and not answers:
                unanswered = asked[index][0].pattern.decode()
                break
            answer = answers.pop(0) if answers is not None else str(asked[index][1])
            os.write(terminal, (answer.rstrip("\n") + "\n").encode())
            until = time.monotonic() + timeout if timeout is not None else None
            found = _first(asked, waiting)
        if unanswered is not None:
            break
    rc = _end(pid, kill=timed_out or unanswered is not None)
    os.close(terminal)
    return {
        "rc": None if timed_out else rc,
        "output": output.decode("utf-8", "replace"),
        "unanswered": unanswered,
        "start": start,
        "end": time.time(),
    }


def _first(asked: List[Any], text: bytes) -> Any:
    """The question that comes first in the text: (its index, where it ends)."""
    best = None
    for index, (pattern, _) in enumerate(asked):
        found = pattern.search(text)
        if found and (best is None or found.start() < best[2]):
            best = (index, found.end(), found.start())
    return best[:2] if best else None


def _become(words: List[str], chdir: Optional[str], environment: Optional[Dict[str, str]]) -> None:
    """In the child: turn into the program."""
    try:
        if chdir:
            os.chdir(chdir)
        os.execvpe(words[0], words, dict(os.environ, **(environment or {})))
    except OSError as error:
        os.write(2, ("%s: %s\n" % (error.filename or words[0], error.strerror)).encode())
    finally:
        os._exit(127)


def _quiet(terminal: int) -> None:
    """Do not show what is answered."""
    settings = termios.tcgetattr(terminal)
    settings[3] &= ~termios.ECHO
    termios.tcsetattr(terminal, termios.TCSANOW, settings)


def _end(pid: int, kill: bool) -> int:
    if kill:
        for number in (signal.SIGHUP, signal.SIGKILL):
            try:
                os.killpg(pid, number)
            except OSError:
                break
            for _ in range(20):
                ended, status = os.waitpid(pid, os.WNOHANG)
                if ended:
                    return _status(status)
                time.sleep(0.05)
    return _status(os.waitpid(pid, 0)[1])


def _status(status: int) -> int:
    return -os.WTERMSIG(status) if os.WIFSIGNALED(status) else os.WEXITSTATUS(status)
