"""Runs a search: repetition by repetition, each step announced in the journal before it begins."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from labctl.limits.caps import Ceiling
from labctl.limits.journal import Journal
from labctl.limits.plan import Plan
from labctl.limits.search import next_attempt
from labctl.measure.boundary import boundary
from labctl.measure.limit_steps import Search, Tried
from labctl.records import dataclass


@dataclass(frozen=True, slots=True)
class Subject:
    """What is searched. `attempt(amount)` loads it with that amount and returns the node's record of the step; it
    has a fresh process to begin with, whatever the last step did. `ceiling()` is asked before each step."""

    attempt: Callable[[int], Mapping[str, Any]]
    ceiling: Callable[[], Ceiling]


def find(plan: Plan, subject: Subject, journal: Journal, on_step: Callable[[Tried], None]) -> Search:
    """Search until every repetition has its boundary, or nothing more may be tried. What the journal holds already
    is not done again. What `attempt` raises ends the search; its step is then begun and not ended."""
    for repetition in range(1, plan.repetitions + 1):
        _repetition(plan, subject, journal, repetition, on_step)
    return journal.read()


def _repetition(
    plan: Plan, subject: Subject, journal: Journal, repetition: int, on_step: Callable[[Tried], None]
) -> None:
    while True:
        tried = journal.read().of(repetition)
        ceiling = subject.ceiling()
        attempt = next_attempt(plan, ceiling.amount, [step.outcome for step in tried])
        if attempt is None:
            if ceiling.why and boundary([step.outcome for step in tried]).first_bad is None:
                journal.write("ceiling", repetition=repetition, amount=ceiling.amount, why=ceiling.why)
            return
        place = {"repetition": repetition, "step": len(tried) + 1}
        journal.write("begin", **place, phase=attempt.phase, requested=attempt.amount)
        journal.write("end", **place, record=dict(subject.attempt(attempt.amount)))
        on_step(journal.read().of(repetition)[-1])
