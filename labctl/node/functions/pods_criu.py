"""Containers' memory on disk: checkpoint with CRIU, and what a restore needs on a node.

`ctr` can checkpoint a task but not start one from a plain image directory. containerd lets a container
name the runc it is to use: RESTORE is one that turns the `create` of a container with the annotation
`labctl.restore` into runc's own `restore`. CRIU settings travel by runc's annotation `org.criu.config`.
"""

import json
import os
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tarfile
import tempfile
import time
from typing import Any, Dict, List, Optional

from labctl.node.functions import pods_containers as containers
from labctl.node.functions import pods_shim
from labctl.node.functions.pods import ROOT, _failed, apply, read, write

BASE = "/run/labctl/criu"
RESTORE = BASE + "/runc-restore"
SETTINGS = BASE + "/criu.conf"
# A moved container's connections are closed, those not yet accepted too, so the network need not be held still
# for them (which would take iptables): a client sees the end of its connection at once and asks again.
_SETTINGS = "tcp-close\nskip-in-flight\nnetwork-lock skip\n"
_RUNC = (
    """\
#!/bin/sh
# containerd calls: runc GLOBAL... create --bundle DIR OPTIONS... ID, and later: runc GLOBAL... start ID
image= bundle= command= last=
for word; do
    case $word in create|start) [ "$command" ] || command=$word;; esac
    [ "$last" = --bundle ] && bundle=$word
    last=$word
done
case $command in
start) exit 0;;
create)
    image=$(sed -n 's/.*"labctl\\.restore": *"\\([^"]*\\)".*/\\1/p' "$bundle/config.json")
    work=%s/restore/$last
    rm -rf "$work"; mkdir -p "$work"
    count=$#
    while [ $count -gt 0 ]; do
        word=$1; shift; count=$((count - 1))
        if [ "$word" = create ]; then
            set -- "$@" restore --detach --image-path "$image" --work-path "$work"
        else
            set -- "$@" "$word"
        fi
    done;;
esac
exec runc "$@"
"""
    % BASE
)


def install() -> None:
    """Put the restoring runc and CRIU's settings in place."""
    for path, text, mode in ((RESTORE, _RUNC, 0o755), (SETTINGS, _SETTINGS, 0o644)):
        try:
            with open(path) as stream:
                if stream.read() == text:
                    continue
        except FileNotFoundError:
            os.makedirs(BASE, exist_ok=True)
        with open(path + ".part", "w") as stream:
            stream.write(text)
        os.chmod(path + ".part", mode)
        os.replace(path + ".part", path)


def checkpoint(pod: str, names: List[str], directory: str) -> Dict[str, Any]:
    """Write the memory of containers below `directory`, one folder each, and end them here; with the pod's
    emptyDirs in volumes.tar. {"containers": [{container, path, size, seconds, frozen_seconds}], "volumes": bytes}
    or {"error": …, "containers": those that had already ended}."""
    done = []
    try:
        record = read(pod)
        if record is None:
            raise containers.ContainerError(None, "the pod is not on this node")
        shutil.rmtree(directory, ignore_errors=True)
        os.makedirs(directory)
        found = [record["containers"][name] for name in names]
        containers.in_parallel(lambda c: done.append(_dump(c, directory)), found)
        size = _pack(os.path.join(ROOT, pod, "volumes"), os.path.join(directory, "volumes.tar"))
    except Exception as error:
        _mark(pod, done)
        return dict(_failed(error), containers=done)
    _mark(pod, done)
    return {"containers": done, "volumes": size}


def _dump(container: Dict[str, Any], directory: str) -> Dict[str, Any]:
    path = os.path.join(directory, container["name"])
    work = os.path.join(BASE, "dump", container["id"])
    shutil.rmtree(work, ignore_errors=True)
    os.makedirs(work)
    begin = time.monotonic()
    try:
        containers.ctr(
            *("task", "checkpoint", "--exit", "--image-path", path, "--work-path", work, container["id"]),
            check=container["name"],
        )
    except containers.ContainerError as error:
        error.words = _short(error.words, os.path.join(work, "dump.log"))
        raise
    return {
        "container": container["name"],
        "path": path,
        "size": _size(path),
        "seconds": time.monotonic() - begin,
        "frozen_seconds": _frozen(os.path.join(work, "stats-dump")),
    }


def _mark(pod: str, done: List[Dict[str, Any]]) -> None:
    record = read(pod)
    if record and done:
        for one in done:
            record["containers"][one["container"]]["checkpoint"] = one["path"]
        write(record)


def _short(words: str, log: str) -> str:
    try:
        with open(log, errors="replace") as stream:
            lines = [line.strip() for line in stream if "Error" in line and "rlimit: " not in line]
    except OSError:
        lines = []
    first = words.strip().splitlines()[-1:] or [""]
    return "; ".join([first[0], *lines[-3:]])


def _size(path: str) -> int:
    total = 0
    for folder, _, files in os.walk(path):
        total += sum(os.lstat(os.path.join(folder, name)).st_size for name in files)
    return total


def _pack(source: str, target: str) -> int:
    with tarfile.open(target, "w") as tar:
        if os.path.isdir(source):
            for name in sorted(os.listdir(source)):
                tar.add(os.path.join(source, name), name)
    return os.path.getsize(target)


def _frozen(path: str) -> Optional[float]:
    """CRIU's frozen_time in seconds, from its stats-dump: two magic words, a size, a StatsEntry message."""
    try:
        with open(path, "rb") as stream:
            data = stream.read()
        size = struct.unpack_from("<I", data, 8)[0]
        dump = pods_shim.fields(pods_shim.fields(data[12 : 12 + size])[1])
        return float(dump[2]) / 1e6
    except (OSError, struct.error, KeyError, ValueError):
        return None


# ------------------------------------------------------------ can this node do it?

_PROBED = r"""
import socket, sys
listener = socket.socket()
listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
listener.bind(("127.0.0.1", 0))
listener.listen(8)
open(sys.argv[1] + ".part", "w").write(str(listener.getsockname()[1]))
import os
os.rename(sys.argv[1] + ".part", sys.argv[1])
count, links = 0, []
while True:
    links.append(listener.accept()[0])
    count += 1
    links[-1].sendall(str(count).encode())
"""


def refusal() -> Optional[str]:
    """Why this node cannot checkpoint and restore a process with a TCP listener and an open connection, or
    None. It is tried for real, once per boot and CRIU binary, with the settings containers get."""
    binary = shutil.which("criu", path="/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin")
    if binary is None:
        return "criu is not installed"
    install()
    with open("/proc/sys/kernel/random/boot_id") as stream:
        key = "%s %s %s" % (stream.read().strip(), binary, os.stat(binary).st_mtime)
    note = BASE + "/probe.json"
    try:
        with open(note) as stream:
            known = json.load(stream)
        if known["key"] == key:
            refused: Optional[str] = known["refusal"]
            return refused
    except (OSError, ValueError, KeyError):
        pass
    work = tempfile.mkdtemp(prefix="probe-", dir=BASE)
    try:
        found = _try(binary, work)
    finally:
        shutil.rmtree(work, ignore_errors=True)
    with open(note + ".part", "w") as stream:
        json.dump({"key": key, "refusal": found}, stream)
    os.replace(note + ".part", note)
    return found


def _try(binary: str, work: str) -> Optional[str]:
    port_file = os.path.join(work, "port")
    process = subprocess.Popen(
        [sys.executable, "-I", "-S", "-c", _PROBED, port_file],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    pid = process.pid
    try:
        deadline = time.monotonic() + 10
        while not os.path.exists(port_file):
            if process.poll() is not None or time.monotonic() > deadline:
                return "the process to try it on did not start"
            time.sleep(0.005)
        with open(port_file) as stream:
            port = int(stream.read())
        with socket.create_connection(("127.0.0.1", port), 5) as client:
            if client.recv(16) != b"1":
                return "the process to try it on did not answer"
            words = _criu(binary, work, "dump", "--tree", str(pid))
        if words:
            return "criu cannot dump a process with a TCP listener: " + words
        process.wait(10)
        words = _criu(binary, work, "restore", "--restore-detached")
        if words:
            return "criu cannot restore a process with a TCP listener: " + words
        try:
            counted = _count(port)
        finally:
            _kill(pid)
        return None if counted == 2 else "a restored process did not go on where it was"
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()


def _kill(pid: int) -> None:
    """End the restored process and wait until it is gone; it is no child of ours."""
    try:
        os.kill(pid, signal.SIGKILL)
        deadline = time.monotonic() + 5
        while time.monotonic() < deadline:
            try:
                if os.waitpid(pid, os.WNOHANG)[0]:
                    return
            except ChildProcessError:
                os.kill(pid, 0)
            time.sleep(0.005)
    except ProcessLookupError:
        pass


def _count(port: int) -> Optional[int]:
    try:
        with socket.create_connection(("127.0.0.1", port), 5) as link:
            return int(link.recv(16) or b"0")
    except (OSError, ValueError):
        return None


def _criu(binary: str, work: str, action: str, *options: str) -> str:
    """Run criu; '' or what it said."""
    argv = [
        binary,
        action,
        "--config",
        SETTINGS,
        "--images-dir",
        work,
        "--log-file",
        action + ".log",
        "-v2",
        *options,
    ]
    try:
        done = subprocess.run(
            argv,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=30,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return str(error)
    if done.returncode == 0:
        return ""
    return _short(
        done.stdout.decode(errors="replace") or "exit code %d" % done.returncode, "%s/%s.log" % (work, action)
    )


# ------------------------------------------------------------ restore


def restore(plan: Dict[str, Any]) -> Dict[str, Any]:
    """`pods.apply` of a plan whose containers may continue from a checkpoint."""
    install()
    found = apply(plan)
    error = found.get("error")
    if error and error["container"]:
        container = next(c for c in plan["containers"] if c["name"] == error["container"])
        error["words"] = _short(error["words"], os.path.join(BASE, "restore", container["id"], "restore.log"))
    return found
