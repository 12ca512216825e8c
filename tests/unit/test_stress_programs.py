"""The stressors as a process, as they travel to a node: what they say, and what is left of them."""

from __future__ import annotations

import ast
import importlib
import json
import os
import resource
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from labctl.node.bundle import with_siblings
from labctl.paths import builtin
from tests.processes import alive, gone

FOLDER = builtin("collectors") / "stress"
SOURCE = with_siblings(FOLDER / "main.py", "stress", FOLDER)
CPU = {"workers": 1, "load": 1.0, "method": "integer"}
MEMORY = {"workers": 1, "size": 24 << 20, "step": None, "every": 0.0}
DISK = {
    "workers": 1,
    "size": 3 << 20,
    "block": 1 << 20,
    "direct": False,
    "fsync": True,
    "verify": True,
    "rate": None,
}


class Program:
    def __init__(
        self, plan: dict[str, Any], *arguments: object, limits: dict[int, int] | None = None
    ) -> None:
        def limit() -> None:
            for number, most in (limits or {}).items():
                resource.setrlimit(number, (most, most))

        argv = [
            sys.executable,
            "-I",
            "-S",
            "-c",
            SOURCE.decode(),
            "--plan",
            json.dumps(plan),
            "--interval",
            "0.05",
        ]
        self.process = subprocess.Popen(
            [*argv, *map(str, arguments)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            preexec_fn=limit,  # noqa: PLW1509 - nothing else runs in this process
        )
        self.lines: list[dict[str, Any]] = []

    def until(self, found: Callable[[dict[str, Any]], Any]) -> dict[str, Any]:
        assert self.process.stdout
        for text in self.process.stdout:
            self.lines.append(json.loads(text))
            if found(self.lines[-1]):
                return self.lines[-1]
        raise AssertionError(f"it ended before: {self.process.communicate()[1]} {self.lines[-1:]}")

    def of(self, kind: str) -> dict[str, Any]:
        return self.until(lambda line: line["type"] == kind)

    def refused(self) -> str:
        out, err = self.process.communicate(timeout=60)
        assert (out, self.process.returncode) == ("", 1), out + err
        return str(err).strip()

    def pids(self) -> list[int]:
        return [pid for one in self.lines[0]["stressors"].values() for pid in one["pids"]]

    def end(self) -> dict[str, Any]:
        self.process.terminate()
        return self.of("end")


@pytest.fixture
def stress() -> Iterator[Callable[..., Program]]:
    made: list[Program] = []

    def start(plan: dict[str, Any], *arguments: object, **options: Any) -> Program:
        made.append(Program(plan, *arguments, **options))
        return made[-1]

    yield start
    for program in made:
        program.process.kill()
        program.process.communicate()


@pytest.fixture
def load_stressor(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Any]:
    """`load_stressor("disk")`: that module of the stressors, in this process."""
    monkeypatch.syspath_prepend(FOLDER.parent)
    return lambda name: importlib.import_module(f"stress.{name}")


def worked(name: str, column: int = 0) -> Callable[[dict[str, Any]], bool]:
    """Whether a work line says that every worker of a stressor has done (0), checked (1) or holds (2) something."""
    return lambda line: line["type"] == "work" and all(row[column] for row in line["stressors"][name])


@pytest.mark.parametrize("path", sorted(FOLDER.glob("*.py")), ids=lambda path: path.stem)
def test_it_is_what_python_3_8_reads(path: Path) -> None:
    ast.parse(path.read_text(), feature_version=(3, 8))


@pytest.mark.parametrize("method", ["integer", "matrix"])
def test_a_cpu_worker_uses_its_share_and_no_more(stress: Callable[..., Program], method: str) -> None:
    program = stress({"cpu": {"workers": 2, "load": 0.2, "method": method}}, "--seconds", 1)
    header, end = program.of("header"), program.of("end")
    assert header["stressors"]["cpu"]["unit"] == "rounds"
    assert len(header["stressors"]["cpu"]["pids"]) == 2
    assert end["reason"] == "time"
    for worker in end["stressors"]["cpu"]:
        assert worker["ended"] is None
        assert worker["work"] > 0
        assert 0 < worker["cpu_seconds"] < 0.2 * worker["seconds"] + 0.1
    assert worked("cpu")(program.lines[-2])
    assert [line["mono"] for line in program.lines] == sorted(line["mono"] for line in program.lines)


def test_memory_is_touched_and_held(stress: Callable[..., Program]) -> None:
    program = stress({"memory": {**MEMORY, "step": 8 << 20, "every": 0.05}})
    program.until(lambda line: line["type"] == "work" and line["stressors"]["memory"][0][2] == 24 << 20)
    steps = {line["stressors"]["memory"][0][2] for line in program.lines[1:]}
    assert len(steps) > 2
    status = Path(f"/proc/{program.pids()[0]}/status").read_text()
    anon = next(int(line.split()[1]) for line in status.splitlines() if line.startswith("RssAnon"))
    assert anon << 10 >= 24 << 20
    program.until(
        lambda line: line["stressors"]["memory"][0][0] > 24 << 20
    )  # it goes on writing to what it holds


def test_disk_files_have_no_name_and_are_read_back(stress: Callable[..., Program], tmp_path: Path) -> None:
    program = stress({"disk": {**DISK, "path": str(tmp_path), "size": (3 << 20) + 4096}})
    program.until(worked("disk", 1))
    assert list(tmp_path.iterdir()) == []
    program.process.kill()
    assert gone(program.pids())
    assert list(tmp_path.iterdir()) == []


def test_what_a_file_system_refuses_is_said_with_its_errno(
    stress: Callable[..., Program], tmp_path: Path
) -> None:
    program = stress({"disk": {**DISK, "path": str(tmp_path)}}, limits={resource.RLIMIT_FSIZE: 1_500_000})
    error = program.of("error")
    assert (error["errno"], error["stressor"], error["worker"]) == ("EFBIG", "disk", 0)
    end = program.of("end")
    assert end["reason"] == "no worker is left"
    assert end["stressors"]["disk"][0]["held"] == 1_500_000
    assert end["stressors"]["disk"][0]["ended"] == {"exit": 3}


def test_bytes_that_come_back_wrong_are_an_error(tmp_path: Path, load_stressor: Any) -> None:
    disk = load_stressor("disk")
    said: list[Any] = []

    class Slot:
        held = 0.0

        def put(self, **values: float) -> None:
            if "checked" not in values and values.get("held") == 3 << 20:
                (fd,) = [one for one in map(int, os.listdir("/proc/self/fd")) if str(tmp_path) in link(one)]
                os.pwrite(fd, b"not what was written", 2 << 20)

        def fail(self, error: OSError, what: str) -> None:
            said.append((error.errno, error.strerror))

    with pytest.raises(SystemExit):
        disk.Disk(Slot(), {**DISK, "folder": str(tmp_path)}).run(lambda: True)
    assert said == [(5, "what was read at 2097152 is not what was written")]


def link(fd: int) -> str:
    try:
        return os.readlink(f"/proc/self/fd/{fd}")
    except OSError:
        return ""


def test_bytes_go_from_a_source_to_its_sink_and_from_nobody_else(stress: Callable[..., Program]) -> None:
    token = "ab" * 32
    sink = stress({"sink": {"workers": 1, "address": "127.0.0.1", "token": token}})
    header = sink.of("header")
    (port,) = header["stressors"]["sink"]["ports"]
    assert token not in json.dumps(header)
    with socket.create_connection(("127.0.0.1", port)) as stranger:
        stranger.sendall(b"x" * 32)
        assert stranger.recv(1) == b""
        source = stress(
            {"network": {"workers": 2, "to": ["127.0.0.1", port], "token": token, "rate": 1 << 20}}
        )
        source.until(worked("network"))
        sink.until(worked("sink", 1))
    sent = source.end()["stressors"]["network"]
    received = sink.end()["stressors"]["sink"][0]["checked"]
    assert 0 < received <= sum(worker["work"] for worker in sent)
    source = stress({"network": {"workers": 1, "to": ["127.0.0.1", port], "token": token, "rate": None}})
    assert source.of("error")["errno"] == "ECONNREFUSED"


ENDED_BEFORE_IT_COUNTS = """
import os, signal, socket, sys
sys.path.insert(0, sys.argv[1])
from stress.board import Board, Slot
from stress.network import Source

class Ended(Slot):
    def put(self, work):
        os.kill(os.getpid(), signal.SIGTERM)
        super().put(work=work)

board, token = Board(1), "ab" * 32
with socket.create_server(("127.0.0.1", 0)) as server:
    pid = os.fork()
    if pid == 0:
        to = ["127.0.0.1", server.getsockname()[1]]
        Source(Ended(board, 0), {"to": to, "token": token, "rate": None}).run(lambda: True)
        os._exit(0)
    stream, _ = server.accept()
    came = sum(map(len, iter(lambda: stream.recv(65536), b"")))
print(int(board.row(0)[0]), came - len(token) // 2, os.WTERMSIG(os.waitpid(pid, 0)[1]))
"""


def test_what_was_sent_is_counted_also_when_it_ends_there() -> None:
    argv = [sys.executable, "-I", "-S", "-c", ENDED_BEFORE_IT_COUNTS, str(FOLDER.parent)]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=60, check=True)
    sent, came, ended_by = map(int, done.stdout.split())
    assert 0 < sent == came
    assert ended_by == signal.SIGTERM


def test_processes_are_held_and_go_with_the_program(stress: Callable[..., Program]) -> None:
    program = stress({"pids": {"workers": 1, "count": 7}})
    program.until(lambda line: line["type"] == "work" and line["stressors"]["pids"][0][2] == 7)
    (worker,) = program.pids()
    children = [int(pid) for pid in Path(f"/proc/{worker}/task/{worker}/children").read_text().split()]
    assert len(children) == 7
    program.process.kill()
    assert gone([worker, *children])


def test_descriptors_are_taken_until_the_kernel_says_no(stress: Callable[..., Program]) -> None:
    program = stress({"fds": {"workers": 1, "count": None}}, limits={resource.RLIMIT_NOFILE: 40})
    assert program.of("error")["errno"] == "EMFILE"
    held = program.end()["stressors"]["fds"][0]
    assert 20 < held["held"] < 40
    assert held["ended"] is None


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_all_workers_end_with_the_program(
    stress: Callable[..., Program], tmp_path: Path, number: int
) -> None:
    plan = {"cpu": {**CPU, "workers": 2}, "memory": MEMORY, "disk": {**DISK, "path": str(tmp_path)}}
    program = stress(plan)
    program.of("work")
    program.process.send_signal(number)
    assert gone([*program.pids(), program.process.pid])
    if number == signal.SIGTERM:
        assert program.of("end")["reason"] == "stopped"


def test_the_program_ends_with_whoever_started_it(tmp_path: Path) -> None:
    (tmp_path / "program.py").write_bytes(SOURCE)
    starter = (
        "import subprocess, sys; p = subprocess.Popen([sys.executable, *sys.argv[1:]], stdout=subprocess.PIPE);"
        "print(p.pid, p.stdout.readline().decode(), flush=True); sys.stdin.read()"
    )
    argv = [sys.executable, "-c", starter, str(tmp_path / "program.py"), "--plan", json.dumps({"cpu": CPU})]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout
        pid, _, header = parent.stdout.readline().partition(" ")
        pids = [int(pid), *json.loads(header)["stressors"]["cpu"]["pids"]]
        assert all(map(alive, pids))
        parent.kill()
        assert gone(pids)


def test_a_worker_that_dies_is_told_and_the_others_go_on(stress: Callable[..., Program]) -> None:
    program = stress({"cpu": {**CPU, "workers": 2, "load": 0.1}})
    program.of("header")
    first, second = program.pids()
    os.kill(first, signal.SIGKILL)
    death = program.of("death")
    assert (death["stressor"], death["worker"], death["signal"]) == ("cpu", 0, 9)
    assert alive(second)
    os.kill(second, signal.SIGSEGV)
    end = program.of("end")
    assert end["reason"] == "no worker is left"
    assert [worker["ended"] for worker in end["stressors"]["cpu"]] == [{"signal": 9}, {"signal": 11}]


@pytest.mark.parametrize(
    ("plan", "words"),
    [
        ({"memory": {**MEMORY, "size": 1 << 50}}, "memory: 1024 TiB is more than the node can give"),
        ({"disk": {**DISK, "path": "/", "size": 1 << 60}}, "disk: 1.049e+06 TiB is more than / can give"),
        ({"disk": {**DISK, "path": "/no/such"}}, "disk: there is no folder /no/such"),
        ({"pids": {"workers": 1, "count": None}}, "pids: without 'count' it takes all there are"),
        (
            {"pids": {"workers": 1, "count": 1 << 30}},
            "pids: 1073741824 processes are more than the node can give",
        ),
        ({"fds": {"workers": 1 << 60, "count": 9}}, "descriptors are more than the node can give"),
    ],
)
def test_what_the_node_cannot_give_is_refused_in_one_sentence(
    stress: Callable[..., Program], plan: dict[str, Any], words: str
) -> None:
    said = stress(plan).refused()
    assert words in said
    assert len(said.splitlines()) == 1


def test_a_process_that_is_in_no_container_cannot_be_joined(stress: Callable[..., Program]) -> None:
    assert "is in no cgroup of its own" in stress({"cpu": CPU}, "--inside", os.getpid()).refused()
    assert "No such file" in stress({"cpu": CPU}, "--inside", 1 << 30).refused()


@pytest.mark.parametrize("known", [True, False], ids=["pidfd", "no pidfd"])
def test_the_end_of_a_container_is_seen(
    load_stressor: Any, monkeypatch: pytest.MonkeyPatch, known: bool
) -> None:
    if not known:  # Python 3.8, or a kernel before 5.3
        monkeypatch.delattr(os, "pidfd_open")
    with subprocess.Popen(["sleep", "600"]) as process:
        watched = load_stressor("team").Watched(process.pid)
        assert (watched.fd >= 0, watched.ended()) == (known, False)
        process.kill()
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
        assert watched.ended()  # a zombie has ended
    assert watched.ended()


def test_a_worker_that_the_node_refuses_is_said(load_stressor: Any) -> None:
    team, refused = load_stressor("team"), OSError(11, os.strerror(11))
    made = team.Team({"cpu": {**CPU, "workers": 2}}, "own", None)

    def fork() -> int:
        raise refused

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fork", fork)
        assert made.assemble([]) == "worker 1 cannot be started: Resource temporarily unavailable"


def test_an_engine_that_is_not_there_is_said(
    stress: Callable[..., Program], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    assert "this node has no program 'stress-ng'" in stress({"cpu": CPU}, "--engine", "stress-ng").refused()


def test_stress_ng_is_asked_for_the_same(load_stressor: Any) -> None:
    words = load_stressor("ng").arguments
    assert words("cpu", {**CPU, "workers": 2, "load": 0.25}, 7)[:7] == [
        *("stress-ng", "--cpu", "2", "--cpu-load", "25", "--cpu-method", "int64")
    ]
    memory = words("memory", {**MEMORY, "workers": 2}, 7)
    assert memory[memory.index("--vm-bytes") + 1] == str(48 << 20)  # which it divides among its workers
    assert memory[-2:] == ["--yaml", "/proc/self/fd/7"]


@pytest.mark.skipif(os.geteuid() != 0, reason="installing stress-ng needs root")
def test_stress_ng_tells_its_work_and_leaves_nothing(stress: Callable[..., Program]) -> None:
    program = stress({"cpu": {**CPU, "load": 0.2}, "memory": MEMORY}, "--engine", "stress-ng", "--seconds", 2)
    header, end = program.of("header"), program.of("end")
    assert header["stressors"]["cpu"]["unit"] == "bogo operations"
    for name in ("cpu", "memory"):
        assert end["stressors"][name][0]["work"] > 0
        assert end["stressors"][name][0]["cpu_seconds"] > 0
    again = stress({"cpu": CPU}, "--engine", "stress-ng")
    again.of("work")
    (worker,) = again.pids()
    again.process.kill()
    assert gone([worker])
