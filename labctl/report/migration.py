"""The reducer for migrations: a run's trials to one model."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from labctl.errors import UsageError
from labctl.measure.noise import Flag
from labctl.report import load
from labctl.report import migration_page as page
from labctl.report.claims import claims_of
from labctl.report.comparisons import Compared, compare_all, latest, runs_of, spread, strategies_of
from labctl.report.environment import provenance
from labctl.report.limits import limits_of
from labctl.report.metrics import METRICS, PRIMARY
from labctl.report.model import Claim, Model
from labctl.report.rawfiles import Run
from labctl.report.trials import TrialResult, result_of

SCHEMA = 1


def recognise(folder: Path) -> bool:
    return any((folder / "trials").glob("*/trial.json"))


def reduce(run: Run, target: float) -> Model:
    """Reduce every trial, compare the strategies, judge against `target` (a share). UsageError without trials."""
    if not run.trials:
        raise UsageError(f"there is no migration in {run.folder}", hint="'migrate' writes them below trials/")
    results = [result_of(trial, run.loads) for trial in run.trials]
    compared = compare_all(results, target)
    claims = claims_of(results)
    limits = limits_of(run, results, compared)
    strategies = strategies_of(results)
    pairs = len({result.pair for result in results})
    return Model(
        kind="migration",
        title=f"Pod migration: {' against '.join([strategies[0], ' and '.join(strategies[1:])]).removesuffix(' against ')}",
        subtitle=page.subtitle(run, results, pairs, target),
        findings=tuple(page.findings(results, compared, strategies, target)),
        key_figures=tuple(page.key_figures(results, strategies)),
        sections=tuple(page.sections(results, compared, strategies, target)),
        claims=tuple(claims),
        method=tuple(page.method(results, compared)),
        limits=tuple(limits),
        provenance=(*provenance(run, [trial.head for trial in run.trials]), *load.rows(run)),
        summary=tuple(page.summary(results, compared, strategies)),
        data=_data(run, results, compared, target) | _said(claims, limits),
        rows=tuple(_row(result) for result in results),
    )


def noisy_pairs(run: Run) -> list[int]:
    """Pairs to run again: one of their runs that count was disturbed, and none failed."""
    counted = latest([result_of(trial, run.loads) for trial in run.trials])
    failed = {pair for (pair, _), result in counted.items() if result.error is not None}
    return sorted({pair for (pair, _), result in counted.items() if result.noise} - failed)


def _said(claims: Sequence[Claim], limits: Sequence[str]) -> dict[str, Any]:
    return {
        "claims": [{"text": c.text, "holds": c.holds, "evidence": c.evidence} for c in claims],
        "limits": list(limits),
    }


def _data(
    run: Run, results: Sequence[TrialResult], compared: Sequence[Compared], target: float
) -> dict[str, Any]:
    strategies = strategies_of(results)
    return {
        "schema": SCHEMA,
        "kind": "migration",
        "target": target,
        "primary": PRIMARY,
        "baseline": strategies[0],
        "verdicts": {
            strategy: {
                c.metric.name: c.verdict
                for c in compared
                if (c.baseline, c.strategy) == (strategies[0], strategy)
            }
            for strategy in strategies[1:]
        },
        "metrics": {
            m.name: {"label": m.label, "unit": m.unit, "better": "lower", "definition": m.definition}
            for m in METRICS
        },
        "comparisons": [c.as_data() for c in compared],
        "strategies": {
            strategy: {
                "trials": [result.trial.number for result in runs_of(results, strategy)],
                "metrics": {m.name: spread(runs_of(results, strategy), m.name) for m in METRICS},
            }
            for strategy in strategies
        },
        "trials": [_trial(result) for result in results],
        "load": load.data(run, results),
        "machines": {host: dict(facts) for host, facts in run.facts.items()},
        "provenance": {
            key: run.head.get(key)
            for key in ("argv", "playbooks", "inventory", "labctl", "commit", "started", "ended", "exit_code")
        },
    }


def _trial(result: TrialResult) -> dict[str, Any]:
    head, outage = result.trial.head, result.outage
    keys = (
        "profile",
        "source",
        "target",
        "runtime",
        "volume",
        "seed",
        "progress_at_start",
        "state",
        "restarted",
    )
    return {
        "trial": result.trial.number,
        "folder": f"trials/{result.trial.folder.name}",
        "strategy": result.strategy,
        "pair": result.pair,
        "clean": result.clean,
        "error": result.error,
        "values": result.values,
        "reasons": result.reasons,
        "bounds": result.bounds,
        "phases": [{"name": name, "seconds": seconds} for name, seconds in result.phases],
        "samples": result.samples,
        "downtime": None if outage is None else {"failed_probes": outage.failed, "silence": outage.silence},
        "noise": [_flag(flag) for flag in result.flags],
        **{
            key: head.get(key)
            for key in (*keys, "not_restarted", "containers", "moved", "frozen_seconds", "warnings")
        },
    }


def _flag(flag: Flag) -> dict[str, Any]:
    return {
        "name": flag.name,
        "value": flag.value,
        "unit": flag.unit,
        "threshold": flag.threshold,
        "host": flag.host,
        "raised": flag.raised,
        "reason": flag.reason,
    }


def _row(result: TrialResult) -> dict[str, Any]:
    head = result.trial.head
    state = head.get("state") or {}
    return {
        "trial": result.trial.number,
        "pair": result.pair,
        "strategy": result.strategy,
        "source": head.get("source"),
        "target": head.get("target"),
        "clean": int(result.clean),
        **result.values,
        "state_continued": state.get("continued"),
        "restarted": " ".join(head.get("restarted") or []),
        "noise": " ".join(flag.name for flag in result.noise),
        **{f"phase {name}": seconds for name, seconds in result.phases},
        "error": result.error,
    }
