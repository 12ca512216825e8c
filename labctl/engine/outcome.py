"""What a task made of one host: its result, and what follows from it for the host's state."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from labctl.engine.results import Result
from labctl.events import Status
from labctl.records import dataclass, field
from labctl.variables import Unknown


@dataclass(slots=True)
class Outcome:
    """What a task made of one host, to be applied to its state in the main thread. `notify` holds the
    handlers' names, `facts` go to ansible_facts, `variables` to set_fact's place (include_vars' own when
    `included`). `target`: the host it was delegated to; `elsewhere`: facts and variables for such hosts
    (delegate_facts). `action`: what a template in its place has named. `lasting`: it left something behind in the run itself, a running collector for example.
    `past`: it is that of an earlier run (--resume), and nothing was done now."""

    result: Result
    no_log: bool = False
    ignore_errors: bool = False
    ignore_unreachable: bool = False
    notify: list[str] = field(default_factory=list)
    facts: dict[str, Any] = field(default_factory=dict)
    variables: dict[str, Any] = field(default_factory=dict)
    included: bool = False
    target: str | None = None
    action: str | None = None
    lasting: bool = False
    past: bool = False
    elsewhere: list[tuple[str, dict[str, Any], dict[str, Any]]] = field(default_factory=list)
    secrets: frozenset[str] = frozenset()

    def take(self, facts: Mapping[str, Any], *, sets: bool, cacheable: bool) -> None:
        """Facts of the host, or (`sets`) variables that the task sets, which are facts too when `cacheable`."""
        if sets:
            self.variables |= facts
        if cacheable or not sets:
            self.facts |= facts

    def registered(self) -> Any:
        """What `register` sets: in a dry run an unknown outcome is an Unknown value."""
        result = self.result
        if result.status is Status.UNKNOWN and "results" not in result.values:
            return Unknown(result.unknown or "its outcome")
        values = _public(result.values)
        if "results" in values:
            values["results"] = [
                _public(item) if isinstance(item, dict) else item for item in values["results"]
            ]
        return values


def _public(values: dict[str, Any]) -> dict[str, Any]:
    """Without what is between the task type and the engine."""
    return {name: value for name, value in values.items() if not str(name).startswith("_ansible_")}


def combined(done: list[Result]) -> Result:
    """A loop's result from those of its turns, as Ansible puts it."""
    if not done:
        return Result(
            Status.SKIPPED,
            {"changed": False, "skipped": True, "skipped_reason": "No items in the list", "results": []},
        )
    values: dict[str, Any] = {
        "results": [
            Unknown(result.unknown or "its outcome") if result.is_unknown else result.values
            for result in done
        ]
    }
    changed = any(result.changed for result in done)
    values |= {"changed": changed, "skipped": False, "msg": "All items completed"}
    status = Status.CHANGED if changed else Status.OK
    first = {status: next((r for r in done if r.status is status), None) for status in Status}
    reason, blamed = None, None
    if bad := first[Status.UNREACHABLE] or first[Status.FAILED]:
        status, blamed = bad.status, bad
        values["msg"] = "One or more items failed" if bad.failed else bad.values.get("msg")
    elif vague := first[Status.UNKNOWN]:
        status, reason = Status.UNKNOWN, vague.unknown
    elif all(result.skipped for result in done):
        status, values["msg"] = Status.SKIPPED, "All items skipped"
    whole = Result(status, values, unknown=reason)
    if blamed is not None:
        whole.mark, whole.exit_code = blamed.mark, blamed.exit_code
    return whole.complete()
