"""The end of a run that is asked to stop, and of tasks that take too long."""

from __future__ import annotations

import json
import threading
import time
from types import SimpleNamespace

import pytest

from labctl.engine.deadline import Calls, Deadline, Watchdog
from labctl.engine.interrupt import Stop
from labctl.engine.pool import Pool
from labctl.errors import ConnectionLost, TaskTimeout
from labctl.events import Kind

SLOW = """\
- hosts: a
  gather_facts: false
  tasks:
    - {name: first, undoable: one}
    - {name: second, undoable: two}
    - {name: slow, probe: {touch: true}%s}
    - {name: never, probe: x}
"""

UNDOABLE = '''\
"""Leave something to undo."""
from dataclasses import dataclass
from labctl.task_types import Args, arg

@dataclass(kw_only=True)
class Arguments(Args):
    name: str = arg(doc="what", free_form=True)

def run(args, ctx):
    ctx.on_close(lambda: f"{args.name} undone")
    return {}
'''


def hang(play) -> threading.Event:
    """Node calls of host a block until its connection is dropped."""
    dropped = threading.Event()
    reached = threading.Event()
    node = play.connections.node(type("S", (), {"host": "a", "user": "root"})())

    def command(*_args, **_options):
        reached.set()
        assert dropped.wait(20)
        raise ConnectionLost("a: the connection ended")

    node.run = command
    play.connections.drop = lambda _host: dropped.set()
    return reached


def test_interrupt_ends_the_task_undoes_in_reverse_and_exits_130(play):
    play.write("tasks/undoable.py", UNDOABLE)
    stop = Stop()
    reached = hang(play)

    def ctrl_c():
        assert reached.wait(20)
        stop.ask("interrupted by Ctrl-C")

    threading.Thread(target=ctrl_c, daemon=True).start()
    ran = play(SLOW % "", stop=stop)
    assert [task for task, *_ in ran.results] == ["first", "second"]
    assert ran.result.exit_code == 130
    assert ran.result.undone == ("two undone", "one undone")
    end = ran.of(Kind.RUN_END)[0].data
    assert (end["exit_code"], end["undone"]) == (130, ["two undone", "one undone"])
    assert json.loads((ran.result.run_dir / "run.json").read_text())["exit_code"] == 130
    assert play.connections.closed


def test_undoing_also_happens_at_the_end_of_a_good_run(play):
    play.write("tasks/undoable.py", UNDOABLE)
    ran = play("- {hosts: a, gather_facts: false, tasks: [{name: first, undoable: one}]}")
    assert (ran.result.exit_code, ran.result.undone) == (0, ("one undone",))


def test_timeout_fails_the_task_when_the_node_no_longer_answers(play, monkeypatch):
    monkeypatch.setattr("labctl.engine.deadline.Watchdog.GRACE", 0.05)
    play.write("tasks/undoable.py", UNDOABLE)
    hang(play)
    ran = play(SLOW % ", timeout: 0.2")
    assert ran.log == "first a ok\nsecond a ok\nslow a failed"
    assert "did not end within its timeout of 0.2 s" in ran.value("slow")["msg"]
    assert ran.result.exit_code == 2


TIDY = '''\
"""Wait, and tidy up in the end."""
from dataclasses import dataclass
from labctl.task_types import Args

@dataclass(kw_only=True)
class Arguments(Args):
    pass

def run(args, ctx):
    ctx.node.run(["begin"])
    try:
        ctx.wait(20)
    finally:
        ctx.node.run(["tidy"])
'''


def test_what_a_task_puts_back_after_an_interrupt_keeps_its_connection(play, monkeypatch):
    play.write("tasks/tidy.py", TIDY)
    stop, tidying, waited_for, dropped = Stop(), threading.Event(), threading.Event(), []
    node, drain = play.connections.node(type("S", (), {"host": "a", "user": "root"})()), Pool.drain

    def command(argv, **_options):
        if argv == ["begin"]:
            stop.ask()
        else:
            tidying.set()
            assert waited_for.wait(20)
        return SimpleNamespace(timed_out=False)

    def running_hosts(calls):
        assert tidying.wait(20)
        return hosts(calls)

    def wait(pool, seconds):
        waited_for.set()
        return drain(pool, seconds)

    node.run, play.connections.drop = command, dropped.append
    hosts = Calls.hosts
    monkeypatch.setattr(Calls, "hosts", running_hosts)
    monkeypatch.setattr(Pool, "drain", wait)
    assert play("- {hosts: a, gather_facts: false, tasks: [tidy: {}]}", stop=stop).result.exit_code == 130
    assert not dropped


@pytest.mark.parametrize(("clean_up", "drops"), [(True, []), (False, ["a"])])
def test_the_watchdog_ends_only_what_has_not_heard_of_the_time(monkeypatch, clean_up, drops):
    monkeypatch.setattr(Watchdog, "GRACE", 0.01)
    dropped = []
    watchdog = Watchdog(dropped.append)
    deadline = Deadline(Stop(), 0.1)
    with watchdog.watching(deadline, ["a"]):
        if clean_up:
            with pytest.raises(TaskTimeout):
                deadline.wait(20)
        with deadline.call("a"):
            while watchdog._watched:
                time.sleep(0.01)
            watchdog.close()
            watchdog._thread.join()
    assert dropped == drops
