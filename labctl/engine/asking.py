"""Tasks that are one command, for all hosts of a walk: one thread asks every host and takes the answers as they come.

A thread for each host would do nothing but wait, and each answer would cost a change of threads. Only tasks that ask
for nothing out of the ordinary come here (see `batch`). A host without an agent that waits for nothing, one whose variables
make it wait or do not fit, and one where the command takes more than one question, has a `HostTask` in a thread of its own,
at the same time.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from functools import partial
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING

from labctl.engine import batch, driver
from labctl.engine.outcome import Outcome
from labctl.engine.pending import PendingNode
from labctl.engine.pool import LONGEST_TICK, TICK, Pool
from labctl.engine.progress import Begun
from labctl.engine.results import Result
from labctl.engine.state import HostState, Step
from labctl.engine.task import HostTask
from labctl.errors import Interrupted, LabctlError
from labctl.events import Event, Kind
from labctl.node.duty import DUTY
from labctl.variables import Waits

if TYPE_CHECKING:
    from labctl.engine.context import RunContext
    from labctl.engine.flow import Flow

_SMALL = 8 << 10  # bytes that a connection takes without a wait, whatever has become of its host


def suits(flow: Flow, step: Step) -> bool:
    """Whether the task is one command, and what its keywords say is the same for every host and usual."""
    task_type = step.task.task_type
    one_command = task_type is not None and task_type.detaches and step.task.loop is None
    return one_command and isinstance(flow.pool, Pool) and batch.usual(flow.run, step)


def run(
    flow: Flow, step: Step, hosts: Sequence[HostState], begun: Sequence[Begun], most: float | None
) -> None:
    """Do the task on the hosts, at most `most` of them at once."""
    forks = flow.run.options.forks
    _Round(flow, step, hosts, begun).run(min(forks, int(most) if most and most > 0 else forks))


class _Round:
    """One task. By their index, `_waiting` has the hosts that were asked and have not answered, and `_apart` what became of
    those that have a thread, None while it is at work."""

    def __init__(self, flow: Flow, step: Step, hosts: Sequence[HostState], begun: Sequence[Begun]) -> None:
        self._flow, self._step, self._hosts, self._begun = flow, step, hosts, begun
        self._run = flow.run
        self._turn = batch.Turn(flow.scopes, step, hosts[0])
        self._judged = batch.judged(step.task)
        self._heard: SimpleQueue[int | None] = SimpleQueue()
        self._waiting: dict[int, tuple[float, driver.Pending, RunContext]] = {}
        self._apart: dict[int, Outcome | BaseException | None] = {}
        self._settled = False
        self._reads = False  # the connections, while it waits
        self._started: list[Event] = []
        self._ended: list[tuple[HostState, Begun, Outcome]] = []

    def run(self, most: int) -> None:
        self._run.stop.wake = partial(self._hear, None)
        following, count = 0, len(self._hosts)
        self._reads = DUTY.claim()
        try:
            while following < count or self._waiting or self._apart:
                self._run.stop.check()
                if following < count and len(self._waiting) + len(self._apart) < most:
                    self._ask(following)
                    following += 1
                elif (index := self._next()) is not None:
                    self._take(index)
        finally:
            if self._reads:
                DUTY.release()
            self._tell()

    def _hear(self, index: int | None) -> None:
        """May be called in any thread, and from a signal handler."""
        self._heard.put(index)
        DUTY.heard()

    def _ask(self, index: int) -> None:
        host, began = self._hosts[index], time.monotonic()
        try:
            scope = self._turn.scope(host)
            result = self._turn.refusal(scope)
            if result is None:
                args = self._turn.args(scope)
                context = self._turn.context.on(host, scope)
                access = context.access
                agent = self._run.connections.idle(access.settings, access.become)
                if agent is None:
                    self._leave(index)
                    return
                heard = partial(self._hear, index)
                context.reach_by(PendingNode(context, partial(agent.ask, heard=heard), _SMALL))
                result = driver.execute(self._turn.task_type, args, context)
        except driver.Pending as pending:
            self._waiting[index] = began, pending, context
            self._run.calls.begin(host.name)
            self._begin(host)
        except Interrupted:
            raise
        except (Waits, LabctlError, driver.Unasked):
            self._leave(index)
        else:
            self._begin(host)
            self._end(index, result, began)

    def _leave(self, index: int) -> None:
        """Leave a host to a thread."""
        job = HostTask(self._flow.scopes, self._step, self._hosts[index])

        def work() -> None:
            try:
                self._apart[index] = job()
            except BaseException as error:
                self._apart[index] = error
            self._hear(index)

        self._apart[index] = None
        self._run.pool.begin(work)

    def _next(self) -> int | None:
        """The host of which something has come; None where the wait was for something else."""
        try:
            return self._heard.get_nowait()
        except Empty:
            self._tell()
        if not self._settled:  # what was before: the hosts are at work meanwhile
            self._settled = True
            self._run.settle()
        tick = TICK
        while True:
            try:
                if not self._reads:
                    return self._heard.get(timeout=tick)
                DUTY.read_for(self._heard, tick)
                return self._heard.get_nowait()
            except Empty:
                self._run.settle()
                tick = LONGEST_TICK

    def _take(self, index: int) -> None:
        if self._started:  # before what comes of it
            self._tell()
        if index in self._apart:
            outcome = self._apart.pop(index)
            if isinstance(outcome, BaseException):
                raise outcome
            if outcome is not None:
                self._ended.append((self._hosts[index], self._begun[index], outcome))
            return
        if index not in self._waiting:  # a connection's end is told of more than once
            return
        began, pending, context = self._waiting[index]
        if not pending.answer.next():
            return
        del self._waiting[index]
        self._run.calls.end(context.host)
        result = pending.go_on()
        context.end_output()
        self._end(index, result, began)

    # ------------------------------------------------------------ what becomes of it

    def _begin(self, host: HostState) -> None:
        play = self._flow.scopes.play_name
        self._started.append(Event(Kind.HOST_START, {}, play, self._step.label, host.name))

    def _end(self, index: int, result: Result, began: float) -> None:
        host = self._hosts[index]
        if self._judged and not result.skipped:
            outcome = HostTask(self._flow.scopes, self._step, host).conclude(result, began)
        else:
            outcome = self._turn.outcome(result, began)
        self._ended.append((host, self._begun[index], outcome))

    def _tell(self) -> None:
        """Tell of what has begun and ended since, together."""
        started, self._started = self._started, []
        if started:
            self._run.bus.burst(started)
        ended, self._ended = self._ended, []
        if ended:
            self._flow.ended(self._step, ended)
