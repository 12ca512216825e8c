"""The agent as a real process over real pipes: commands, limits, and what is left when it goes."""

import ast
import marshal
import os
import signal
import subprocess
import sys
import threading
import time
import traceback
import zlib
from concurrent.futures import ThreadPoolExecutor
from importlib.util import MAGIC_NUMBER
from pathlib import Path

import pytest

import labctl
from labctl.errors import ConnectionLost, NodeError, TaskTimeout
from labctl.node import bundle, link
from labctl.node.asked import Asked
from labctl.node.client import AgentNode
from labctl.node.compiled import compile_all
from labctl.node.pipes import ProcessPipe
from tests.processes import alive, gone

NODE_FOLDER = Path(labctl.__file__).parent / "node"


class CountingPipe(ProcessPipe):
    sends = 0

    def send(self, data: bytes, body: bytes | memoryview = b"") -> None:
        self.sends += 1
        super().send(data, body)


@pytest.fixture
def pipe():
    return CountingPipe(bundle.stub_argv(sys.executable))


@pytest.fixture
def node(pipe):
    node = AgentNode("here", pipe)
    yield node
    node.close()


def threads_of(node: AgentNode) -> int:
    return len(os.listdir(f"/proc/{node.hello['pid']}/task"))


def children_of(node: AgentNode) -> str:
    folder = Path(f"/proc/{node.hello['pid']}/task")
    return "".join((each / "children").read_text() for each in folder.iterdir())


def pids_in(path: Path, count: int) -> list[int]:
    until = time.monotonic() + 10
    while time.monotonic() < until:
        if path.exists() and len(pids := path.read_text().split()) == count:
            return [int(pid) for pid in pids]
        time.sleep(0.01)
    raise AssertionError(f"{path} never held {count} process ids")


# A tree that does all it can to get away: a child, a grandchild in its own session, and a daemon forked twice
# whose parents have ended.
TREE = """
import os, sys, time
def note():
    fd = os.open(sys.argv[1], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(fd, b"%d\\n" % os.getpid())
    os.close(fd)
note()
if os.fork() == 0:
    note()
    if os.fork() == 0:
        os.setsid()
        note()
    time.sleep(600)
elif os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        os.setsid()
        note()
        time.sleep(600)
    os._exit(0)
time.sleep(600)
"""


def tree(path: Path) -> list[str]:
    return [sys.executable, "-c", TREE, str(path)]


class TestRun:
    def test_output_status_and_times(self, node):
        before = time.time()
        done = node.run(["/bin/sh", "-c", "echo out; echo err >&2; exit 3"])
        assert (done.rc, done.stdout, done.stderr) == (3, b"out\n", b"err\n")
        assert before - 1 < done.start <= done.end < time.time() + 1
        assert not done.timed_out
        assert done.skipped is None

    def test_signal_is_a_negative_status(self, node):
        assert node.run(["/bin/sh", "-c", "kill -KILL $$"]).rc == -9

    def test_stdin_environment_and_directory(self, node, tmp_path):
        script = 'cat; echo "$WORD $PWD"'
        done = node.run(["/bin/sh", "-c", script], stdin=b"in ", env={"WORD": "é"}, cwd=str(tmp_path))
        assert done.text() == f"in é {tmp_path}\n"

    def test_stdin_larger_than_a_pipe_and_not_read(self, node):
        data = os.urandom(3 << 20)
        assert node.run(["cat"], stdin=data).stdout == data
        assert node.run(["true"], stdin=data).rc == 0

    def test_a_session_of_its_own(self, node):
        script = "import os; print(os.getsid(0) == os.getpid())"
        assert node.run([sys.executable, "-c", script]).text() == "True\n"

    def test_a_program_is_looked_for_where_the_commands_own_path_says(self, node, tmp_path):
        program = tmp_path / "labctl-own-program"
        program.write_text("#!/bin/sh\necho found\n")
        program.chmod(0o755)
        with pytest.raises(NodeError):
            node.run([program.name])
        assert node.run([program.name], env={"PATH": str(tmp_path)}).text() == "found\n"

    def test_missing_program_and_directory(self, node):
        with pytest.raises(NodeError) as info:
            node.run(["no-such-program-here"])
        assert info.value.errno_name == "ENOENT"
        assert info.value.path == "no-such-program-here"
        with pytest.raises(NodeError, match="/no/such/folder"):
            node.run(["true"], cwd="/no/such/folder")

    def test_programs_are_found_by_the_path_of_the_command(self, node, tmp_path):
        program = tmp_path / "labctl-test-program"
        program.write_text("#!/bin/sh\necho found\n")
        where = {"PATH": f"{tmp_path}:/usr/bin:/bin"}
        with pytest.raises(NodeError) as info:
            node.run([program.name], env=where)
        assert info.value.errno_name == "EACCES"
        program.chmod(0o755)
        assert node.run([program.name], env=where).text() == "found\n"
        assert node.run([str(program)], cwd="/tmp").text() == "found\n"
        with pytest.raises(NodeError):
            node.run([program.name])

    def test_nothing_but_the_standard_streams_is_open(self, node):
        assert node.run(["/bin/sh", "-c", "ls /proc/$$/fd"]).text().split() == ["0", "1", "2"]
        assert node.run(["/bin/sh", "-c", "ls /proc/$$/fd"], cwd="/", stdin=b"x").text().split() == [
            "0",
            "1",
            "2",
        ]

    def test_signals_are_as_usual(self, node):
        """Python ignores SIGPIPE; its children must not."""
        assert node.run(["/bin/sh", "-c", "yes | head -1; kill -PIPE $$"]).rc == -13

    def test_a_signal_the_agent_was_started_to_ignore_stays_ignored(self):
        argv = ["sh", "-c", "trap '' USR1; exec \"$@\"", "sh", *bundle.stub_argv(sys.executable)]
        node = AgentNode("here", ProcessPipe(argv))
        ignored = node.run(["sed", "-n", "s/^SigIgn:[[:space:]]*//p", "/proc/self/status"]).stdout
        node.close()
        numbers = {number for number in signal.valid_signals() if int(ignored, 16) >> (number - 1) & 1}
        assert signal.SIGUSR1 in numbers
        assert not numbers & {signal.SIGPIPE, signal.SIGXFSZ, signal.SIGINT}

    def test_closed_output_is_not_the_end(self, node):
        done = node.run(["sh", "-c", "exec >&- 2>&-; sleep 0.2; exit 3"])
        assert done.rc == 3
        assert done.end - done.start >= 0.2

    def test_one_after_another_need_one_thread_to_read_and_wait(self, node):
        for _ in range(20):
            node.run(["true"])
        assert threads_of(node) == 2  # the main one watches the clock

    def test_what_it_says_comes_with_its_end_where_both_are_there(self, node, pipe):
        pieces = []
        asked = node.ask(Asked(["echo", "said"], output=lambda stream, text: pieces.append((stream, text))))
        asked.wait()
        assert asked.completed().stdout == b"said\n"
        assert pieces == [("stdout", "said\n")]
        assert threads_of(node) == 2

    def test_what_comes_meanwhile_is_answered(self, node):
        asked = node.ask(Asked(["sleep", "30"], timeout=20))
        assert node.run(["echo", "here"]).stdout == b"here\n"
        assert threads_of(node) > 2
        asked.forget()  # asks the agent to end it
        until = time.monotonic() + 10
        while children_of(node) and time.monotonic() < until:
            time.sleep(0.02)
        assert not children_of(node)

    def test_what_comes_with_it_is_answered(self, node, tmp_path):
        go = tmp_path / "go"
        waiting = [node.ask(Asked(["sh", "-c", f"until [ -e {go} ]; do sleep 0.02; done"])) for _ in range(3)]
        node.run(["touch", str(go)])
        for asked in waiting:
            asked.wait()
            assert asked.completed().rc == 0

    def test_output_comes_while_it_runs(self, node, tmp_path):
        seen, gate = [], tmp_path / "gate"
        script = (
            f"printf 'caf\\303'; while [ ! -e {gate} ]; do sleep 0.01; done; printf '\\251\\n'; echo no >&2"
        )

        def output(stream, text):
            seen.append((stream, text))
            gate.touch()

        done = node.run(["/bin/sh", "-c", script], output=output)
        assert seen[0] == ("stdout", "caf")
        assert "".join(text for stream, text in seen if stream == "stdout") == "café\n"
        assert ("stderr", "no\n") in seen
        assert done.text() == "café\n"

    def test_large_output_is_whole(self, node):
        done = node.run([sys.executable, "-c", "import sys; sys.stdout.write('x' * 5_000_000)"])
        assert done.stdout == b"x" * 5_000_000

    def test_creates_and_removes(self, node, tmp_path):
        (tmp_path / "a.done").touch()
        made = tmp_path / "made"
        assert node.run(["touch", str(made)], creates=str(tmp_path / "*.done")).skipped
        assert node.run(["touch", str(made)], removes=str(tmp_path / "*.missing")).skipped
        assert not made.exists()
        assert node.run(["touch", str(made)], creates=str(made), removes=str(tmp_path / "a.done")).rc == 0
        assert made.exists()
        assert node.run(["touch", str(made)], creates=str(made)).skipped == f"{made} exists"

    def test_a_left_daemon_does_not_hold_the_command(self, node, tmp_path):
        done = node.run(["/bin/sh", "-c", f"sleep 600 & echo $! > {tmp_path}/pid"])
        (pid,) = pids_in(tmp_path / "pid", 1)
        try:
            assert done.rc == 0
            assert alive(pid)
        finally:
            os.kill(pid, signal.SIGKILL)

    def test_each_is_one_round_trip(self, node, pipe):
        before = pipe.sends
        node.run(["true"])
        node.run(["true"], stdin=b"x", creates="/nowhere")
        assert pipe.sends == before + 2
        assert node.round_trips == 2


class TestTimeouts:
    def test_kills_the_whole_tree(self, node, tmp_path):
        done = node.run(tree(tmp_path / "pids"), timeout=1.0)
        assert done.timed_out
        assert done.rc < 0
        assert gone(pids_in(tmp_path / "pids", 4), within=1.0)

    def test_kills_what_ignores_sigterm_and_keeps_its_output(self, node):
        done = node.run(
            ["/bin/sh", "-c", "trap '' TERM; echo started; while :; do sleep 1; done"], timeout=0.5
        )
        assert done.timed_out
        assert done.rc == -9
        assert done.stdout == b"started\n"

    def test_leaves_others_alone(self, node, tmp_path):
        node.run(["/bin/sh", "-c", f"setsid sleep 600 >/dev/null 2>&1 & echo $! > {tmp_path}/left"])
        (left,) = pids_in(tmp_path / "left", 1)
        with ThreadPoolExecutor() as pool:
            other = pool.submit(node.run, ["/bin/sh", "-c", "sleep 1.5; echo whole"])
            assert node.run(["sleep", "600"], timeout=0.2).timed_out
            assert other.result().text() == "whole\n"
        assert alive(left)
        os.kill(left, signal.SIGKILL)

    def test_a_hung_agent_is_not_waited_for(self, node, monkeypatch):
        monkeypatch.setattr("labctl.node.client.KILL_WITHIN", 0.3)
        monkeypatch.setattr("labctl.node.client.ANSWER_WITHIN", 0.3)
        os.kill(node.hello["pid"], signal.SIGSTOP)
        try:
            with pytest.raises(TaskTimeout):
                node.run(["true"], timeout=0.1)
            with pytest.raises(TaskTimeout):
                node.stat("/")
        finally:
            os.kill(node.hello["pid"], signal.SIGCONT)
        assert node.stat("/").type == "directory"

    def test_a_frozen_node_counts_as_lost(self, monkeypatch):
        monkeypatch.setattr(link, "PING_EVERY", 0.1)
        monkeypatch.setattr(link, "SILENCE", 0.6)
        pipe = ProcessPipe(bundle.stub_argv(sys.executable))
        node = AgentNode("here", pipe)
        os.kill(node.hello["pid"], signal.SIGSTOP)
        try:
            with pytest.raises(ConnectionLost, match="no sign of life"):
                node.run(["true"])
            assert not node.alive
        finally:
            os.kill(node.hello["pid"], signal.SIGKILL)
            node.close()


class TestBundle:
    def test_another_python_takes_the_source(self, monkeypatch, tmp_path):
        asked = []
        monkeypatch.setattr(
            "labctl.node.link.bundle", lambda taken: asked.append(taken) or bundle.bundle("ffffffff")
        )
        node = AgentNode("here", CountingPipe(bundle.stub_argv(sys.executable)))
        assert node.run(["echo", "hello"]).stdout == b"hello\n"
        node.write(str(tmp_path / "file"), b"text")
        assert node.read(str(tmp_path / "file")) == b"text"
        node.close()
        assert asked == [MAGIC_NUMBER.hex()]
        assert bundle.bundle("ffffffff") != bundle.bundle(MAGIC_NUMBER.hex())

    def test_it_starts_before_what_it_does_not_need_yet_has_come(self):
        packed = bundle.bundle(MAGIC_NUMBER.hex())
        first, rest = bundle.split(packed)
        assert len(first) < 14_400  # with SSH's part, what TCP sends at once
        assert len(rest) > 9000
        pipe = ProcessPipe(bundle.stub_argv(sys.executable))
        pipe.send(first)
        said = b""
        while b'"pid"' not in said:
            said += pipe.recv(65536, 10)
        assert said.startswith(bundle.MAGIC + MAGIC_NUMBER.hex().encode())
        request = link.encode(
            {"id": 1, "op": "stat", "path": "/", "follow": False, "checksum": False}
        ).encode()
        pipe.send(rest, len(request).to_bytes(4, "big") + bytes(4) + request)
        while b'"stat"' not in said:
            said += pipe.recv(65536, 10)
        pipe.close()

    def test_what_files_need_is_loaded_once_by_whoever_comes_first(self, node, tmp_path):
        (tmp_path / "file").write_bytes(b"text")
        threads = [threading.Thread(target=node.read, args=(str(tmp_path / "file"),)) for _ in range(20)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert [node.read(str(tmp_path / "file")) for _ in range(2)] == [b"text"] * 2

    def test_what_others_could_have_written_is_not_taken_from_the_cache(self, tmp_path, monkeypatch):
        monkeypatch.setenv("LABCTL_CACHE", str(tmp_path))
        packed = bundle._bundle.__wrapped__(compiled=True)
        (kept,) = tmp_path.iterdir()
        assert kept.read_bytes() == packed
        kept.write_bytes(b"evil")
        assert bundle._bundle.__wrapped__(compiled=True) == b"evil"
        kept.chmod(0o602)
        assert bundle._bundle.__wrapped__(compiled=True) == packed


class TestCompiledFunctions:
    def test_what_goes_wrong_is_traced_without_lines(self):
        text = "def f(x: int) -> int:\n    def g():\n        return 1 / x\n    return g()\n"
        ((_name, code),) = marshal.loads(zlib.decompress(compile_all([("m", "m.py", text)])))
        made = {}
        exec(code, made)
        with pytest.raises(ZeroDivisionError) as info:
            made["f"](0)
        traced = [(each.name, each.lineno) for each in traceback.extract_tb(info.tb)]
        nowhere = (None, -1)  # as the version of Python has it
        assert [(name, line in nowhere) for name, line in traced[-2:]] == [("f", True), ("g", True)]

    def test_siblings_and_all(self, node, pipe, monkeypatch):
        sent = []
        send = pipe.send
        monkeypatch.setattr(pipe, "send", lambda *data: (sent.append(b"".join(data)), send(*data)))
        told = node.call("facts", "gather", subsets=["platform", "user"], environment={})
        assert told["facts"]["user_id"]
        assert b'"compiled":true' in sent[0]
        assert node.call("facts", "gather", subsets=["loadavg"], environment={})["facts"]["loadavg"]
        assert len(sent[1]) < 300

    def test_a_node_with_another_python_gets_the_source(self, node, pipe, monkeypatch):
        node.hello["code"] = "00"
        sent = []
        send = pipe.send
        monkeypatch.setattr(pipe, "send", lambda *data: (sent.append(b"".join(data)), send(*data)))
        assert node.call("facts", "gather", subsets=["user"], environment={})["facts"]["user_id"]
        assert b"def gather(" in sent[0]


class TestEnds:
    def test_controller_killed(self, tmp_path):
        """kill -9 of the controller: nothing it started is left, what an ended command left stays."""
        program = f"""
import sys, threading
from labctl.node.client import AgentNode
from labctl.node.compiled import compile_all
from labctl.node.pipes import ProcessPipe
from labctl.node.bundle import stub_argv
node = AgentNode("here", ProcessPipe(stub_argv(sys.executable)))
node.run(["/bin/sh", "-c", "setsid sleep 600 >/dev/null 2>&1 & echo $! > {tmp_path}/daemon"])
threading.Thread(target=node.run, args=({tree(tmp_path / "pids")!r},)).start()
node.start({TREE!r}.encode(), ["{tmp_path}/program"], line=print)
print(node.hello["pid"], flush=True)
"""
        controller = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True)
        with controller:
            agent = int(controller.stdout.readline())
            started = [agent, *pids_in(tmp_path / "pids", 4), *pids_in(tmp_path / "program", 4)]
            (daemon,) = pids_in(tmp_path / "daemon", 1)
            assert all(map(alive, [*started, daemon]))
            controller.kill()
        try:
            assert gone(started, within=5.0)
            assert alive(daemon)
        finally:
            os.kill(daemon, signal.SIGKILL)

    def test_agent_gives_up_on_a_silent_controller(self, tmp_path):
        """A cut cable sends no end of file: the agent counts the seconds without a byte."""
        modules = bundle.sources()
        assert sum(text.count("SILENCE = 15.0") for _name, text in modules) == 1
        packed = bundle.pack(
            [(name, text.replace("SILENCE = 15.0", "SILENCE = 1.5")) for name, text in modules], compiled=True
        )
        process = subprocess.Popen(
            bundle.stub_argv(sys.executable), stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0
        )
        with process:
            process.stdin.write(packed)
            frame = link.encode({"id": 1, "op": "run", "argv": tree(tmp_path / "pids")}).encode()
            process.stdin.write(len(frame).to_bytes(4, "big") + bytes(4) + frame)
            pids = pids_in(tmp_path / "pids", 4)
            assert process.wait(timeout=30) == 0
        assert not any(map(alive, pids))

    def test_nonsense_on_the_pipe_ends_it(self, node, pipe):
        with ThreadPoolExecutor() as pool:
            waiting = pool.submit(node.run, ["sleep", "600"])
            while not node.run(["pgrep", "-P", str(node.hello["pid"]), "sleep"]).stdout:
                pass
            pipe.send(bytes([0, 0, 0, 4, 0, 0, 0, 0]) + b"oops")
            with pytest.raises(ConnectionLost):
                waiting.result(timeout=10)

    def test_a_signal_is_heard_from_the_first_moment(self):
        """Also one that comes just before the agent waits: seen now and then on a busy machine, hence so many."""

        def ends(_number):
            node = AgentNode("here", ProcessPipe(bundle.stub_argv(sys.executable)))
            with ThreadPoolExecutor() as pool:
                waiting = pool.submit(node.run, ["sleep", "600"])
                os.kill(node.hello["pid"], signal.SIGTERM)
                with pytest.raises(ConnectionLost):
                    waiting.result(timeout=10)

        with ThreadPoolExecutor(8) as pool:
            list(pool.map(ends, range(64)))

    def test_close_ends_what_runs(self, node, tmp_path):
        results = []

        def run():
            try:
                node.run(tree(tmp_path / "pids"))
            except ConnectionLost as error:
                results.append(error)

        thread = threading.Thread(target=run)
        thread.start()
        pids = pids_in(tmp_path / "pids", 4)
        node.close()
        thread.join(5)
        assert not any(map(alive, pids))
        assert len(results) == 1
        with pytest.raises(ConnectionLost):
            node.run(["true"])

    def test_killed_agent_is_reported_to_every_waiter(self, node):
        with ThreadPoolExecutor(20) as pool:
            waiting = [pool.submit(node.run, ["sleep", "600"]) for _ in range(20)]
            while node.run(["pgrep", "-P", str(node.hello["pid"]), "-c", "sleep"]).text().strip() != "20":
                pass
            sleeps = node.run(["pgrep", "-P", str(node.hello["pid"]), "sleep"]).text().split()
            os.kill(node.hello["pid"], signal.SIGKILL)
            for one in waiting:
                with pytest.raises(ConnectionLost):
                    one.result(timeout=10)
        for pid in sleeps:  # SIGKILL of the agent itself is beyond its power
            os.kill(int(pid), signal.SIGKILL)

    def test_sigterm_ends_the_agent_and_its_commands(self, node, tmp_path):
        with ThreadPoolExecutor() as pool:
            running = pool.submit(node.run, tree(tmp_path / "pids"))
            pids = pids_in(tmp_path / "pids", 4)
            os.kill(node.hello["pid"], signal.SIGTERM)
            with pytest.raises(ConnectionLost):
                running.result(timeout=10)
        assert gone(pids, within=5.0)


class TestPrograms:
    def test_lines_arguments_and_stderr(self, node):
        lines = []
        program = b"import sys\nprint(sys.argv)\nprint('caf\xc3\xa9')\nsys.stderr.write('oops')\nsys.stdout.write('end')"
        stream = node.start(program, ["a", "b c"], line=lines.append, name="probe.py")
        done = stream.wait(10)
        assert lines == ["['probe.py', 'a', 'b c']", "café", "end"]
        assert (done.rc, done.stderr) == (0, b"oops")
        assert not stream.running

    def test_stop_lets_it_say_goodbye(self, node):
        lines, ready = [], threading.Event()

        def line(text):
            lines.append(text)
            ready.set()

        program = (
            b"import signal, sys, time\n"
            b"def bye(*_):\n    print('bye')\n    sys.exit(7)\n"
            b"signal.signal(signal.SIGTERM, bye)\nprint('ready')\ntime.sleep(600)\n"
        )
        stream = node.start(program, [], line=line)
        assert ready.wait(10)
        assert stream.running
        assert stream.stop().rc == 7
        assert lines == ["ready", "bye"]

    def test_stop_kills_what_does_not_listen(self, node):
        ready = threading.Event()
        program = b"import signal,time\nsignal.signal(15, signal.SIG_IGN)\nprint(1)\ntime.sleep(600)"
        stream = node.start(program, [], line=lambda _: ready.set())
        assert ready.wait(10)
        assert stream.stop(timeout=1.5).rc == -9

    def test_a_failing_program_shows_its_line(self, node):
        stream = node.start(b"\n\nraise ValueError('bad')", [], line=print, name="cgroup.py")
        done = stream.wait(10)
        assert done.rc == 1
        assert b'File "cgroup.py", line 3' in done.stderr

    def test_an_error_of_the_reader_is_raised(self, node):
        def line(text):
            raise ValueError(text)

        with pytest.raises(ValueError, match="hello"):
            node.start(b"print('hello')", [], line=line).wait(10)

    def test_wait_has_an_end(self, node):
        stream = node.start(b"import time; time.sleep(600)", [], line=print)
        with pytest.raises(TaskTimeout):
            stream.wait(0.2)
        assert stream.stop().rc == -15


class TestMany:
    def test_two_hundred_in_flight(self, node, tmp_path):
        """All 200 run at the same time: none ends before all have begun."""
        script = f"touch {tmp_path}/$0; while [ ! -e {tmp_path}/go ]; do sleep 0.2; done; echo $0"
        with ThreadPoolExecutor(200) as pool:
            running = [
                pool.submit(node.run, ["/bin/sh", "-c", script, str(i)], timeout=60) for i in range(200)
            ]
            while len(node.list(str(tmp_path))) < 200:
                time.sleep(0.05)
            (tmp_path / "go").touch()
            assert [one.result().text() for one in running] == [f"{i}\n" for i in range(200)]

    def test_primitives_from_many_threads(self, node, tmp_path):
        def work(number):
            path = str(tmp_path / f"{number}")
            node.write(path, str(number).encode() * 1000)
            return node.read(path) == str(number).encode() * 1000

        with ThreadPoolExecutor(32) as pool:
            assert all(pool.map(work, range(100)))


class TestCall:
    @pytest.fixture(autouse=True)
    def from_source(self, monkeypatch):
        """The modules of these tests are no files, so nothing of them is compiled."""
        monkeypatch.setattr("labctl.node.client.MAGIC_NUMBER", b"none")

    def test_a_function_module_travels_once(self, node, pipe, monkeypatch):
        sizes = []
        source = b"def add(a, b):\n    return {'sum': a + b}\n\ndef fail(path):\n    open(path)\n\ndef bad():\n    1/0\n"
        monkeypatch.setattr(
            "labctl.node.client.function_source", lambda module: ("hash-of-" + module, source)
        )
        send = pipe.send
        monkeypatch.setattr(pipe, "send", lambda *data: (sizes.append(sum(map(len, data))), send(*data)))
        assert node.call("numbers", "add", a=1, b=2) == {"sum": 3}
        assert node.call("numbers", "add", a=2, b=2) == {"sum": 4}
        assert len(sizes) == 2
        assert sizes[0] - sizes[1] == len(source)
        with pytest.raises(NodeError) as info:
            node.call("numbers", "fail", path="/no/such")
        assert info.value.errno_name == "ENOENT"
        with pytest.raises(NodeError, match="ZeroDivisionError"):
            node.call("numbers", "bad")

    def test_a_module_that_does_not_load_says_so_each_time(self, node, monkeypatch):
        monkeypatch.setattr(
            "labctl.node.client.function_source", lambda module: (module, b"import nonsense_here")
        )
        for _ in range(2):
            with pytest.raises(NodeError, match="nonsense_here"):
                node.call("broken", "f")

    def test_what_a_function_prints_harms_nothing(self, node, monkeypatch):
        source = b"import os\ndef talk():\n    print('noise')\n    os.system('echo more')\n    return 1\n"
        monkeypatch.setattr("labctl.node.client.function_source", lambda module: (module, source))
        assert node.call("talk", "talk") == 1

    def test_statuses_of_its_subprocesses_are_its_own(self, node, monkeypatch):
        source = (
            b"import subprocess, time\ndef status():\n    p = subprocess.Popen(['sh', '-c', 'exit 5'])\n"
            b"    time.sleep(2.5)\n    return p.wait()\n"
        )
        monkeypatch.setattr("labctl.node.client.function_source", lambda module: (module, source))
        assert node.call("slow", "status") == 5

    def test_unknown_module(self, node):
        with pytest.raises(Exception, match="no node function module 'nonsense'"):
            node.call("nonsense", "x")


def test_clock_offset_of_one_machine_is_nothing(node, pipe):
    before = pipe.sends
    assert abs(node.clock_offset()) < 0.05
    asked = pipe.sends - before
    assert 1 <= asked <= 10
    assert node.clock_offset() == node.clock_offset(1.0)
    assert pipe.sends - before == asked


def test_clock_is_asked_for_together_with_what_is_asked_meanwhile(node, pipe):
    before, found = pipe.sends, []
    took = 1

    def sleep() -> None:
        found.append(node.run(["sleep", str(took)]).rc)

    assert abs(node.clock_offset(took / 4, sleep)) < took / 4
    assert (found, pipe.sends - before) == ([0], 2)


@pytest.mark.parametrize(
    "path", sorted([*NODE_FOLDER.glob("agent*.py"), *NODE_FOLDER.glob("functions/*.py")]), ids=str
)
def test_what_travels_is_python_3_8(path):
    ast.parse(path.read_text(), feature_version=(3, 8))


def test_the_stub_carries_no_single_quote():
    assert "'" not in bundle.stub_command()
