"""What a search for a limit tries: where it starts, how far apart its steps are, how fine it ends."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any, Literal

from labctl.records import dataclass

Resource = Literal["cpu", "memory", "disk"]
RESOURCES: tuple[Resource, ...] = ("cpu", "memory", "disk")
MEBIBYTE = 2**20
LINEAR_STEPS = 12  # of a ramp whose steps are an eighth of the limit each: one and a half times the limit


@dataclass(frozen=True, slots=True)
class Plan:
    """Amounts are bytes (memory, disk) or worker processes (cpu). The ramp goes `max_steps` times `step` up from
    `start`; where nothing broke by then, memory and disk go on in doubling steps. `tolerance`: how far the last
    good and the first bad amount may be apart at the end, as a share of the latter. `quantum`: amounts are
    multiples of it. `seconds`: how long a step holds its load. `headroom`: the share of the last good amount
    that is not recommended."""

    resource: Resource
    start: int
    step: int
    max_steps: int
    seconds: float = 2.0
    tolerance: float = 0.01
    repetitions: int = 3
    headroom: float = 0.2

    @property
    def quantum(self) -> int:
        return 1 if self.resource == "cpu" else MEBIBYTE

    @property
    def unit(self) -> str:
        return "processes" if self.resource == "cpu" else "bytes"

    @property
    def extends(self) -> bool:
        """Whether the ramp goes on beyond its `max_steps`: processes beyond the quota only get slower."""
        return self.resource != "cpu"

    def resolution(self, at: int) -> int:
        """How far apart good and bad may be there."""
        return max(self.quantum, int(at * self.tolerance))

    def as_data(self) -> dict[str, Any]:
        return {**asdict(self), "unit": self.unit, "quantum": self.quantum}


def plan_for(resource: Resource, limit: float | None, given: Mapping[str, Any]) -> Plan:
    """The plan for a limit of so many bytes or cores; what is not `given` (None) follows from it. ValueError when
    neither says where to begin, or what is given makes no sense."""
    known = {name: value for name, value in given.items() if value is not None}
    if not {"start", "step", "max_steps"} <= known.keys():
        if not limit:
            raise ValueError(
                f"the container has no {resource} limit: say where the search begins (start, step and max_steps)"
            )
        known = {**_from_limit(resource, limit), **known}
    plan = Plan(resource, **known)
    for name in ("start", "step", "max_steps", "seconds", "repetitions"):
        if not getattr(plan, name) > 0:
            raise ValueError(f"'{name}' must be more than 0, not {getattr(plan, name)}")
    for name in ("tolerance", "headroom"):
        if not 0 <= getattr(plan, name) < 1:
            raise ValueError(f"'{name}' is a share from 0 to 1 (0.01 is 1 %), not {getattr(plan, name):g}")
    return plan


def _from_limit(resource: Resource, limit: float) -> dict[str, int]:
    if resource == "cpu":
        return {"start": 1, "step": 1, "max_steps": math.ceil(2 * limit) + 2}
    eighth = max(MEBIBYTE, int(limit / 8) // MEBIBYTE * MEBIBYTE)
    return {"start": eighth, "step": eighth, "max_steps": LINEAR_STEPS}
