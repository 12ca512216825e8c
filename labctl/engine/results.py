"""What a task left behind on one host, in Ansible's words."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from labctl.errors import LabctlError, Mark, UnknownValue, Unreachable
from labctl.events import Status
from labctl.records import dataclass, field

CENSORED = "the output has been hidden due to the fact that 'no_log: true' was specified for this result"
HIDDEN = "********"


@dataclass(slots=True)
class Result:
    """How a task (or one turn of its loop) ended on one host.

    `values` is what a register sees. `unknown` (dry run) says why the outcome cannot be known. `seconds`
    is wall time on the controller. `mark` is where the fault is, when it is not the task itself, and
    `exit_code` what it makes of the run."""

    status: Status
    values: dict[str, Any] = field(default_factory=dict)
    changes: list[str] = field(default_factory=list)
    diff: list[dict[str, Any]] = field(default_factory=list)
    unknown: str | None = None
    seconds: float = 0.0
    mark: Mark | None = None
    exit_code: int = 2

    @property
    def failed(self) -> bool:
        return self.status is Status.FAILED

    @property
    def unreachable(self) -> bool:
        return self.status is Status.UNREACHABLE

    @property
    def skipped(self) -> bool:
        return self.status is Status.SKIPPED

    @property
    def is_unknown(self) -> bool:
        return self.status is Status.UNKNOWN

    @property
    def changed(self) -> bool:
        return bool(self.values.get("changed"))

    @property
    def facts(self) -> Mapping[str, Any] | None:
        """What it says of variables."""
        facts = self.values.get("ansible_facts")
        if facts is None:
            return None
        return facts if isinstance(facts, Mapping) and not self.failed else None

    def complete(self) -> Result:
        """Fill in the keys every Ansible result has, from the status."""
        values, status = self.values, self.status
        if "changed" not in values:
            values["changed"] = status is Status.CHANGED
        if status is Status.SKIPPED:
            values["skipped"] = True
        elif status is Status.FAILED or "results" not in values:  # where Ansible has it
            values["failed"] = status is Status.FAILED
        if status is Status.UNREACHABLE:
            values["unreachable"] = True
        for name in ("stdout", "stderr"):
            if name in values:
                _with_lines(values, name)
        if self.diff:
            values["diff"] = self.diff
        return self

    def shown(self, *, no_log: bool) -> dict[str, Any]:
        """`values` for events and renderers; with `no_log` only the outcome."""
        values = self.values
        if no_log:
            kept = ("changed", "failed", "unreachable", "skipped", "attempts")
            return {"censored": CENSORED, **{key: values[key] for key in kept if key in values}}
        return {key: value for key, value in values.items() if str(key)[:9] != "_ansible_"}


def _with_lines(values: dict[str, Any], name: str) -> None:
    text = values[name]
    if isinstance(text, bytes):
        text = values[name] = text.decode(errors="replace")
    if isinstance(text, str) and f"{name}_lines" not in values:
        values[f"{name}_lines"] = text.splitlines()


def failed(message: str, *, mark: Mark | None = None, **values: Any) -> Result:
    return Result(Status.FAILED, {"msg": message, **values}, mark=mark).complete()


def of_error(error: LabctlError, values: Mapping[str, Any] | None = None) -> Result:
    """The result of an error of labctl's own tree: unknown, unreachable or failed."""
    message = f"{error.message} ({error.hint})" if error.hint else error.message
    kept = dict(values or {})
    if isinstance(error, UnknownValue):
        return unknown(error.message, kept)
    status = Status.UNREACHABLE if isinstance(error, Unreachable) else Status.FAILED
    code = error.exit_code
    return Result(status, {"msg": message, **kept}, mark=error.mark, exit_code=code).complete()


def skipped(reason: str, **values: Any) -> Result:
    return Result(Status.SKIPPED, {"skip_reason": reason, "changed": False, **values}).complete()


def unknown(reason: str, values: Mapping[str, Any] | None = None) -> Result:
    return Result(Status.UNKNOWN, {"msg": reason, **(values or {})}, unknown=reason).complete()


def hide(value: Any, secrets: frozenset[str]) -> Any:
    """`value` with every secret text in it replaced, whatever it is nested in."""
    if not secrets:
        return value
    if isinstance(value, str):
        for secret in sorted(secrets, key=len, reverse=True):  # one may be a part of another
            if secret in value:
                value = value.replace(secret, HIDDEN)
        return value
    if isinstance(value, Mapping):
        return {hide(key, secrets): hide(item, secrets) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [hide(item, secrets) for item in value]
    return value
