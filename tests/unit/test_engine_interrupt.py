"""The end of a run that is asked to stop, and of tasks that take too long."""

from __future__ import annotations

import json
import threading

from labctl.engine.interrupt import Stop
from labctl.errors import ConnectionLost
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
    monkeypatch.setattr("labctl.engine.session.Watchdog.GRACE", 0.05)
    play.write("tasks/undoable.py", UNDOABLE)
    hang(play)
    ran = play(SLOW % ", timeout: 0.2")
    assert ran.log == "first a ok\nsecond a ok\nslow a failed"
    assert "did not end within its timeout of 0.2 s" in ran.value("slow")["msg"]
    assert ran.result.exit_code == 2
