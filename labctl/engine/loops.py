"""The turns of a loop: over a task, an include or a block."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from labctl.errors import LabctlError, PlaybookError
from labctl.playbook.tree import LoopControl, Repeatable
from labctl.records import dataclass, field
from labctl.task_types import describe, to_bool
from labctl.variables import Scope, loop_items

_HIDDEN_LABEL = "(censored due to no_log)"


@dataclass(frozen=True)
class Turn:
    """One item. `variables`: what its turn sees besides everything else. `pause`: seconds to wait before
    it, unless it is the first."""

    index: int
    item: Any
    variables: Mapping[str, Any]
    loop_var: str
    index_var: str | None
    pause: float
    control: LoopControl | None = field(repr=False)

    def label(self, scope: Scope, *, no_log: bool = False) -> Any:
        """What shows which turn it is."""
        if no_log:
            return _HIDDEN_LABEL
        if self.control is None or self.control.label is None:
            return self.item
        try:
            return scope.render(self.control.label, self.control.mark)
        except LabctlError as error:
            return f"{self.item} (its label cannot be shown: {error.message})"

    def record(self) -> dict[str, Any]:
        """What the turn's result says of the loop."""
        kept: dict[str, Any] = {self.loop_var: self.item, "ansible_loop_var": self.loop_var}
        if self.index_var:
            kept |= {self.index_var: self.index, "ansible_index_var": self.index_var}
        if "ansible_loop" in self.variables:
            kept["ansible_loop"] = self.variables["ansible_loop"]
        return kept

    def breaks(self, scope: Scope, register: str | None, result: Mapping[str, Any]) -> bool:
        """Whether `break_when` ends the loop after this turn."""
        if self.control is None or not self.control.break_when:
            return False
        view = scope.over({register: result}) if register else scope
        return view.condition(list(self.control.break_when), self.control.mark)


def turns(node: Repeatable, scope: Scope) -> list[Turn]:
    """Every turn of a node's loop on one host."""
    items = loop_items(scope, node.loop_kind, node.loop, node.mark_of("loop"), getattr(node, "action", ""))
    control = node.loop_control
    loop_var = str(_given(control, "loop_var", scope) or "item")
    index_var = _given(control, "index_var", scope)
    pause = _seconds(_given(control, "pause", scope), control)
    extended = to_bool(_given(control, "extended", scope) or False)
    all_items = _given(control, "extended_allitems", scope)
    found = []
    for index, item in enumerate(items):
        variables: dict[str, Any] = {loop_var: item, "ansible_loop_var": loop_var}
        if index_var:
            variables |= {str(index_var): index, "ansible_index_var": index_var}
        if extended:
            variables["ansible_loop"] = _extended(
                items, index, all_items=all_items is None or to_bool(all_items)
            )
        found.append(
            Turn(index, item, variables, loop_var, str(index_var) if index_var else None, pause, control)
        )
    return found


def _given(control: LoopControl | None, name: str, scope: Scope) -> Any:
    return None if control is None else scope.render(getattr(control, name), control.mark)


def _seconds(value: Any, control: LoopControl | None) -> float:
    if value is None:
        return 0.0
    try:
        return max(0.0, float(value))
    except (TypeError, ValueError):
        mark = control.mark if control else None
        message = f"'pause' of loop_control must be a number of seconds, not {describe(value)}"
        raise PlaybookError(message, mark=mark) from None


def _extended(items: list[Any], index: int, *, all_items: bool) -> dict[str, Any]:
    length = len(items)
    found: dict[str, Any] = {
        "index": index + 1,
        "index0": index,
        "first": index == 0,
        "last": index == length - 1,
        "length": length,
        "revindex": length - index,
        "revindex0": length - index - 1,
    }
    if all_items:
        found["allitems"] = items
    if index > 0:
        found["previtem"] = items[index - 1]
    if index < length - 1:
        found["nextitem"] = items[index + 1]
    return found
