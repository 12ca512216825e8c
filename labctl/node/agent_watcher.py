"""The program that stays with a command when the agent leaves: it ends it at its time limit and writes its
job file (labctl/node/functions/jobs.py). Runs on the node: standard library only, Python 3.8 syntax.

It reads what to do as JSON from standard input, detaches itself, puts its process id into the job file and prints it
once the command runs. SIGTERM makes it end the command; a job file that is gone, not begin it.
"""

from __future__ import annotations

import datetime as dt
import fcntl
import json
import os
import signal
import subprocess
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


_group: list[int] = []  # the command's, once it runs
_unwanted: list[bool] = []  # whether it was told to end


def main() -> None:
    job = json.load(sys.stdin)
    if os.fork():
        os._exit(0)
    report = os.dup(1)
    null = os.open(os.devnull, os.O_RDWR)
    for fd in (0, 1, 2):
        os.dup2(null, fd)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    outputs = [job["path"] + ".out", job["path"] + ".err"]
    signal.signal(signal.SIGTERM, lambda _number, _frame: _end())
    if not _sign(job["path"]):
        return
    try:
        values = _run(job, report, outputs)
    except Exception as error:
        values = {
            **job["report"],
            "failed": True,
            "changed": False,
            "rc": getattr(error, "errno", None) or 1,
            "stdout": "",
            "stderr": "",
            "msg": "the command could not be run: %s" % error,
        }
        _tell(report)
    _write(job["path"], values)
    for path in outputs:
        try:
            os.unlink(path)
        except OSError:
            pass


def _sign(path: str) -> bool:
    """Put the process id into the job file; False when somebody gave the job up before."""
    try:
        file = open(path, "r+", encoding="utf-8")  # noqa: SIM115
    except OSError:
        return False
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX)
        except OSError:  # a file system without locks
            pass
        if not os.fstat(file.fileno()).st_nlink:
            return False
        values = json.load(file)
        file.seek(0)
        json.dump({**values, "watcher": os.getpid()}, file)
    return True


def _tell(report: int) -> None:
    try:
        os.write(report, b"%d\n" % os.getpid())
        os.close(report)
    except OSError:
        pass


def _run(job: dict[str, Any], report: int, outputs: list[str]) -> dict[str, Any]:
    private = os.O_RDWR | os.O_CREAT | os.O_TRUNC
    begun = dt.datetime.now()
    out = open(os.open(outputs[0], private, 0o600), "rb")  # noqa: SIM115 - one `with` for two needs Python 3.9
    err = open(os.open(outputs[1], private, 0o600), "rb")  # noqa: SIM115
    with out, err:
        command = subprocess.Popen(
            job["argv"],
            stdin=subprocess.PIPE if job["stdin"] else subprocess.DEVNULL,
            stdout=out,
            stderr=err,
            cwd=job["cwd"],
            start_new_session=True,
        )
        _group.append(command.pid)
        if _unwanted:
            _kill(command.pid)
        _tell(report)
        if command.stdin is not None:
            try:
                with command.stdin:
                    command.stdin.write(job["stdin"].encode())
            except OSError:  # it did not want all of it
                pass
        try:
            command.wait(job["limit"])
        except subprocess.TimeoutExpired:
            _kill(command.pid)
            command.wait()
            return {"failed": True, "changed": False, "msg": "Timeout exceeded", "child_pid": command.pid}
        ended = dt.datetime.now()
        texts = []
        for stream in (out, err):
            stream.seek(0)
            texts.append(stream.read().decode("utf-8", "replace"))
    if job["strip"]:
        texts = [text.rstrip("\r\n") for text in texts]
    rc = command.returncode
    values = {
        **job["report"],
        "rc": rc,
        "stdout": texts[0],
        "stderr": texts[1],
        "start": str(begun),
        "end": str(ended),
        "delta": str(ended - begun),
        "changed": True,
        "msg": "",
    }
    if rc:
        values["failed"] = True
        values["msg"] = "killed by signal %d" % -rc if rc < 0 else "non-zero return code"
    return values


def _end() -> None:
    _unwanted.append(True)
    for group in _group:
        _kill(group)


def _kill(group: int) -> None:
    try:
        os.killpg(group, signal.SIGKILL)
    except OSError:
        pass


def _write(path: str, values: dict[str, Any]) -> None:
    if not os.path.exists(path):  # cleaned up meanwhile: nobody waits for it
        return
    temporary = path + ".tmp"
    private = os.O_WRONLY | os.O_CREAT | os.O_TRUNC
    with open(os.open(temporary, private, 0o600), "w", encoding="utf-8") as stream:
        json.dump(values, stream)
    os.replace(temporary, path)


if __name__ == "__main__":
    main()
