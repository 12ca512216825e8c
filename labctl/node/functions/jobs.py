"""Jobs that go on by themselves: commands that outlive the agent, and the files that tell how they stand.

A job file is JSON, as Ansible writes it: `{"started": true, "finished": false, "ansible_job_id": …}` while the
job runs, its result and nothing of these once it has ended. Of a command that runs it also says who watches it.
Job files are private to their user.
"""

from __future__ import annotations

import fcntl
import json
import os
import select
import signal
import subprocess
import sys
from typing import Any, Dict, List, Optional

from labctl.node.functions.files import matches

Values = Dict[str, Any]

_PATIENCE = 10.0  # seconds a watcher has to report that its command runs


def create(folder: str, jid: str) -> str:
    """Make the file of a job that somebody else runs; its path."""
    path = _path(folder, jid)
    os.makedirs(os.path.dirname(path), mode=0o700, exist_ok=True)
    _write(path, {"started": True, "finished": False, "ansible_job_id": jid})
    return path


def finish(folder: str, jid: str, values: Values) -> None:
    """Put the result of a job into its file. One whose file is gone was cleaned up: nobody waits for it."""
    path = _path(folder, jid)
    if os.path.exists(path):
        _write(path, values)


def start(  # noqa: PLR0917
    folder: str,
    jid: str,
    program: str,
    argv: List[str],
    environment: Dict[str, str],
    cwd: Optional[str],
    stdin: str,
    limit: float,
    report: Values,
    strip: bool = True,
    creates: Optional[str] = None,
    removes: Optional[str] = None,
) -> Values:
    """Start a command of its own: {"results_file"}, or {"skipped": why} when `creates` or `removes` makes it
    unnecessary. `program` is the source of labctl/node/agent_watcher.py, `report` what its result says besides;
    `strip` takes the newlines off the ends of the output."""
    if creates and matches(creates):
        return {"skipped": "%s exists" % creates}
    if removes and not matches(removes):
        return {"skipped": "%s does not exist" % removes}
    path = create(folder, jid)
    job = {
        "path": path,
        "argv": argv,
        "cwd": cwd or os.getcwd(),
        "stdin": stdin,
        "limit": limit,
        "report": report,
        "strip": strip,
    }
    # What it is told travels on its standard input: arguments are for everybody to read.
    watcher = subprocess.Popen(
        [sys.executable or "python3", "-I", "-S", "-c", program],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env={**os.environ, **environment},
        cwd="/",
        start_new_session=True,
    )
    assert watcher.stdin is not None
    assert watcher.stdout is not None
    with watcher.stdin, watcher.stdout:
        watcher.stdin.write(json.dumps(job).encode())
        watcher.stdin.close()
        ready = select.select([watcher.stdout], [], [], _PATIENCE)[0]
        runs = bool(ready and watcher.stdout.readline())
    watcher.wait()
    if not runs:
        end(folder, jid)
        clean_up(folder, jid)
        raise RuntimeError("the command's watcher did not start")
    return {"results_file": path}


def status(folder: str, jid: str, seen: Optional[List[int]] = None) -> Values:
    """{"path", "found", "values"}: `values` is None for a file that cannot be read (`text` is what it holds).
    With `seen` (bytes of standard output and error already known) also {"output": [text, text], "seen"}."""
    path = _path(folder, jid)
    answer: Values = {"path": path, "found": os.path.exists(path), "values": None}
    if seen is not None:
        answer.update(_output(path, seen))
    if not answer["found"]:
        return answer
    with open(path, encoding="utf-8", errors="replace") as stream:
        text = stream.read()
    try:
        answer["values"] = json.loads(text)
    except ValueError:
        answer["text"] = text
    return answer


def end(folder: str, jid: str) -> None:
    """End a command and all of its process group; one that has not begun yet does not begin. Nothing, when it has
    ended by itself."""
    path = _path(folder, jid)
    try:
        file = open(path, "r+", encoding="utf-8")  # noqa: SIM115
    except FileNotFoundError:
        return
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX)
        except OSError:  # a file system without locks
            pass
        values = json.load(file)
        if "watcher" in values:
            try:
                os.kill(values["watcher"], signal.SIGTERM)
            except ProcessLookupError:
                pass
        elif "started" in values:
            os.unlink(path)


def clean_up(folder: str, jid: str) -> Values:
    """Remove a job's file: {"path", "found"}. The job itself goes on."""
    path = _path(folder, jid)
    try:
        os.unlink(path)
    except FileNotFoundError:
        return {"path": path, "found": False}
    return {"path": path, "found": True}


def _path(folder: str, jid: str) -> str:
    if os.sep in jid or jid in ("", ".", ".."):
        raise ValueError("'%s' is not the id of a job" % jid)
    return os.path.join(os.path.expanduser(folder), jid)


def _write(path: str, values: Values) -> None:
    temporary = path + ".tmp"
    with open(
        os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8"
    ) as stream:
        json.dump(values, stream)
    os.replace(temporary, path)


def _output(path: str, seen: List[int]) -> Values:
    found = [_after(path + ".out", seen[0]), _after(path + ".err", seen[1])]
    return {
        "output": [data.decode("utf-8", "replace") for data in found],
        "seen": [seen[0] + len(found[0]), seen[1] + len(found[1])],
    }


def _after(path: str, start: int) -> bytes:
    try:
        with open(path, "rb") as stream:
            stream.seek(start)
            return stream.read()
    except OSError:  # the job has ended: its result holds all of it
        return b""
