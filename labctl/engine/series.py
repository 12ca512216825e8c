"""Loops over one command: the commands of many turns go to the host in one request, and run there one after the other.

Each turn then takes what came of its own as if it had asked itself, so conditions, labels and events are those of a
turn by itself. Only what earlier turns cannot change is worked out ahead: a turn that reads what the loop registers, or
whose variables make it wait, is asked for when it is its turn, and so are those after it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import TYPE_CHECKING, NoReturn

from labctl.engine import batch, driver
from labctl.engine.pending import PendingNode
from labctl.engine.results import Result
from labctl.engine.state import HostState, Step
from labctl.errors import Interrupted, LabctlError, Unreachable
from labctl.node.asked import Asked
from labctl.node.client import AgentNode
from labctl.variables import Late, Waits

if TYPE_CHECKING:
    from labctl.engine.context import RunContext
    from labctl.engine.loops import Turn
    from labctl.engine.scopes import Scopes

_AT_ONCE = 50  # commands in a request
_LARGE = 1 << 20  # bytes of commands in a request


def suits(scopes: Scopes, step: Step, turns: Sequence[Turn]) -> bool:
    """Whether the loop's turns are one command each, and nothing is to happen between them."""
    task_type, control = step.task.task_type, step.task.loop_control
    one_command = task_type is not None and task_type.detaches
    between = control is not None and (control.pause is not None or control.break_when)
    # Of those asked for together, what becomes of the ones after a lost connection is not known.
    goes_on = step.task.inherited("ignore_unreachable")
    alike = not between and not goes_on and batch.usual(scopes.run, step)
    return one_command and len(turns) > 1 and alike


class Series:
    """The turns of one loop on one host, which are to be asked for in their order. For one thread."""

    def __init__(self, scopes: Scopes, step: Step, host: HostState, turns: Sequence[Turn]) -> None:
        self._scopes, self._step, self._host = scopes, step, host
        self._turns = turns
        self._asked: deque[tuple[int, driver.Pending, RunContext]] = deque()
        self._following = 0  # the first turn that was not looked at
        register = step.task.register
        self._unsettled = {register: Late(_waits)} if register else {}
        self._common: batch.Turn | None = None

    def has(self, turn: Turn) -> bool:
        """Whether its command has been asked for."""
        return bool(self._asked) and self._asked[0][0] == turn.index

    def answer(self, turn: Turn) -> Result | None:
        """What came of a turn's command; None where it was not asked for, and has to run by itself. Raises
        Interrupted."""
        if turn.index >= self._following:
            self._ask(turn.index)
        if not self.has(turn):
            return None
        _index, pending, context = self._asked.popleft()
        try:
            with context.deadline.call(context.host):
                pending.answer.wait()
        except Unreachable:
            pass  # the task type hears of it
        result = pending.go_on()
        context.end_output()
        return result

    def leave(self) -> None:
        """The loop ends here, whatever was asked for."""
        if self._asked:
            self._asked[0][1].answer.forget()
            self._asked.clear()

    def _ask(self, first: int) -> None:
        """Ask for the turns from `first` on, as far as they can be asked for together."""
        wanted: list[tuple[int, driver.Pending, RunContext]] = []
        size, self._following = 0, first
        try:
            for turn in self._turns[first : first + _AT_ONCE]:
                each = self._want(turn)
                if each and wanted and each[1].access != wanted[0][2].access:
                    break
                self._following += 1
                if each:
                    wanted.append((turn.index, *each))
                    size += each[0].answer.size
                if size > _LARGE:
                    break
        except (Waits, LabctlError, driver.Unasked):
            if not wanted:
                self._following = len(self._turns)  # as the following will be
        if len(wanted) > 1 and self._send(wanted[0][2], [pending.answer for _, pending, _ in wanted]):
            self._asked.extend(wanted)

    def _want(self, turn: Turn) -> tuple[driver.Pending, RunContext] | None:
        """The command of a turn; None where it has none. Waits, LabctlError, Unasked: that is not known yet."""
        if self._common is None:
            self._common = batch.Turn(self._scopes, self._step, self._host)
        frame = self._step.frame.inside(turn.variables, self._unsettled)
        scope = self._scopes.steady(self._host, self._step.task, frame)
        if self._common.refusal(scope) is not None:
            return None
        args = self._common.args(scope)
        context = self._common.context.on(self._host, scope)
        context.reach_by(PendingNode(context, lambda asked: asked, _LARGE))
        try:
            driver.execute(self._common.task_type, args, context)
        except driver.Pending as pending:
            return pending, context
        return None

    def _send(self, context: RunContext, commands: Sequence[Asked]) -> bool:
        access = context.access
        try:
            with context.deadline.call(context.host):
                node = self._scopes.run.connections.node(access.settings, access.become)
                if not isinstance(node, AgentNode):
                    return False
                node.ask_each(commands)
        except LabctlError as error:
            if isinstance(error, Interrupted):
                raise
            return False  # it is met again when the first turn runs by itself
        return True


def _waits() -> NoReturn:
    raise Waits
