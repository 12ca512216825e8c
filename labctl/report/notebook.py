"""The reducer for limits: a run's journals of `find_limit` to one model."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from labctl.errors import UsageError
from labctl.measure.limit_steps import Tried
from labctl.report import notebook_page as page
from labctl.report.model import Model
from labctl.report.notebook_doubts import claims_of, doubts_of
from labctl.report.notebook_figures import sections
from labctl.report.notebook_found import FOLDER, Found, evenness, searches, slowdown
from labctl.report.notebook_tables import result_table
from labctl.report.rawfiles import Run

SCHEMA = 1


def recognise(folder: Path) -> bool:
    return any((folder / FOLDER).glob("*.jsonl"))


def reduce(run: Run, target: float) -> Model:
    """Reduce every journal. `target` has no meaning here: the head-room is part of what was searched. UsageError
    without journals."""
    del target
    found = searches(run.folder)
    if not found:
        raise UsageError(
            f"there is no search for a limit in {run.folder}",
            hint=f"'find_limit' writes them below {FOLDER}/",
        )
    claims = claims_of(found)
    doubts = doubts_of(run, found)
    return Model(
        kind="notebook_limits",
        title=page.title(found),
        subtitle=page.subtitle(run, found),
        findings=tuple(page.findings(found)),
        key_figures=tuple(page.key_figures(found)),
        sections=tuple(sections(found)),
        claims=tuple(claims),
        method=tuple(page.method(found)),
        limits=tuple(doubts),
        provenance=tuple(page.provenance_of(run, found)),
        summary=(result_table(found),),
        data=_data(run, found)
        | {
            "claims": [{"text": c.text, "holds": c.holds, "evidence": c.evidence} for c in claims],
            "limits": doubts,
        },
        rows=tuple(_row(one, step) for one in found for step in one.search.steps),
    )


def _data(run: Run, found: Sequence[Found]) -> dict[str, Any]:
    return {
        "schema": SCHEMA,
        "kind": "notebook_limits",
        "verdicts": {one.path.stem: page.verdict(one) for one in found},
        "searches": {
            one.path.stem: {
                "file": f"{FOLDER}/{one.path.name}",
                **{
                    key: one.search.head.get(key)
                    for key in ("host", "pod", "container", "profile", "limits", "plan")
                },
                **one.result.as_data(),
                "steps": [_step(one, step) for step in one.search.steps],
            }
            for one in found
        },
        "machines": {host: dict(facts) for host, facts in run.facts.items()},
        "provenance": {
            key: run.head.get(key)
            for key in ("argv", "playbooks", "inventory", "labctl", "commit", "started", "ended", "exit_code")
        },
    }


def _step(one: Found, step: Tried) -> dict[str, Any]:
    return {
        "repetition": step.repetition,
        "step": step.number,
        "phase": step.phase,
        "requested": step.requested,
        "good": step.good,
        "cause": step.cause,
        "crowded": step.crowded,
        "slowdown_vs_1": slowdown(one, step),
        "evenness": evenness(step),
        "record": dict(step.record) if step.record is not None else None,
    }


def _row(one: Found, step: Tried) -> dict[str, Any]:
    death = step.death or {}
    return {
        "search": one.path.stem,
        "repetition": step.repetition,
        "step": step.number,
        "phase": step.phase,
        "requested": step.requested,
        "achieved": step.value("achieved"),
        "good": int(step.good),
        "cause": step.cause,
        "wall_s": step.value("wall_s"),
        "usage": step.value("usage"),
        "limit": step.value("limit"),
        "pct_of_limit": step.value("pct_of_limit"),
        "in_use": step.in_use,
        "crowded": int(step.crowded),
        "throttled_pct": step.value("throttled_pct"),
        "nr_throttled": step.value("nr_throttled"),
        "nr_periods": step.value("nr_periods"),
        "psi_some_avg10": step.value("psi_some_avg10"),
        "swap_used": step.value("swap_used"),
        "responsiveness_p50_ms": step.value("responsiveness_ms", "p50"),
        "responsiveness_p95_ms": step.value("responsiveness_ms", "p95"),
        "probes": step.value("responsiveness_ms", "count"),
        "probe_timeouts": step.value("responsiveness_ms", "timeouts"),
        "throughput": step.value("throughput"),
        "slowdown_vs_1": slowdown(one, step),
        "evenness": evenness(step),
        "died": death.get("what"),
        "signal": death.get("signal"),
        "exit": death.get("exit"),
        "oom_kill": death.get("oom_kill"),
        "oom_group_kill": death.get("oom_group_kill"),
        "errno": death.get("errno"),
        "detected_after_s": death.get("detected_after_s"),
    }
