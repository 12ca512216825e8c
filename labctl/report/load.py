"""The load that ran beside an experiment: what it was measured to be, and whether it was the same for every strategy."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from typing import Any

from labctl.measure.load import Load, Stressor, cpu_within, what_went_wrong
from labctl.measure.series import Window
from labctl.report import formats
from labctl.report.metrics import BY_NAME, NODE_CPU
from labctl.report.rawfiles import Run
from labctl.report.trials import TrialResult

SINK = "sink"  # receives what the load of another node sends
NEARLY = 0.9  # of what was asked for: less is worth a sentence


def makers(run: Run) -> list[Load]:
    """The loads that somebody asked for, without their sinks."""
    return [load for load in run.loads if any(one.name != SINK for one in load.stressors)]


def asked(run: Run) -> str:
    """'cpu:50%,disk': as it was asked for; '' without a load."""
    return "; ".join(dict.fromkeys(str(load.asked.get("load", "a load")) for load in makers(run)))


def rows(run: Run) -> list[tuple[str, str]]:
    """(label, measured) for the table of the environment: what was asked for, and what each node's load did."""
    found = makers(run)
    if not found:
        return []
    hosts = formats.names([load.host for load in found])
    return [
        ("background load", f"{asked(run)} on {hosts}"),
        *((f"load on {load.host}", _measured(load)) for load in found),
    ]


def _measured(load: Load) -> str:
    parts = [_stressor(load, one) for one in load.stressors if one.name != SINK and one.seconds]
    lasted = max((one.seconds for one in load.stressors), default=0.0)
    return f"{', '.join(parts)}, for {formats.quantity(lasted, 's')}"


def _stressor(load: Load, one: Stressor) -> str:
    cores, each = one.cpu_seconds / one.seconds, one.work / one.seconds
    if one.name == "cpu":
        share = cores / processors(load)
        return (
            f"{formats.quantity(cores, 'CPUs')} ({formats.percent(share)} of the {formats.digits(processors(load))}"
            f" it has to itself), {formats.quantity(each, 'rounds/s')}"
        )
    if one.name == "memory":
        return f"{formats.quantity(one.held, 'B')} of memory held"
    verb = {"disk": "written to disk and read back", "network": "sent to the other node"}.get(
        one.name, one.unit
    )
    amount = formats.quantity(each, "B") if one.unit.startswith("bytes") else formats.digits(each)
    return f"{amount}/s {verb} ({formats.quantity(cores, 'CPUs')})"


def processors(load: Load) -> float:
    """How many processors the node had to itself."""
    return float(load.asked.get("processors") or load.cpus)


def share_asked(load: Load) -> float | None:
    """CPUs that the stressor cpu was to use."""
    cpu = load.stressor("cpu")
    return None if cpu is None else cpu.options["workers"] * cpu.options["load"]


def window_of(result: TrialResult) -> Window | None:
    """From the start of a migration until its work was back."""
    head = result.trial.head
    start, end = head.get("started"), head.get("regained") or head.get("ended")
    return Window(float(start), float(end)) if start and end and end > start else None


def cpus_during(run: Run, result: TrialResult) -> float | None:
    """CPUs that the load used on all nodes together during one migration; None when it did not run throughout."""
    window = window_of(result)
    used = [cpu_within(load, window).value if window else None for load in run.loads]
    if window is None or not used or None in used:
        return None
    return sum(value for value in used if value is not None) / window.seconds


def limits(run: Run, results: Sequence[TrialResult]) -> list[str]:
    """What a reader must know about the load."""
    found = makers(run)
    if not found:
        return []
    hosts = formats.names([load.host for load in found])
    said = [
        (
            f"The comparison ran under background load on {hosts} ({asked(run)}): its figures are those of loaded nodes, and"
            f" '{BY_NAME[NODE_CPU].label}' contains the load's own CPU."
        )
    ]
    good = [result for result in results if result.error is None]
    used = {result.trial.number: cpus_during(run, result) for result in good}
    medians = []
    for strategy in dict.fromkeys(result.strategy for result in good):
        known = [
            value for r in good if r.strategy == strategy and (value := used[r.trial.number]) is not None
        ]
        if known:
            medians.append(f"{formats.quantity(statistics.median(known), 'CPUs')} under {strategy}")
    if medians:
        said.append(
            "From the start of a migration until its work was back the load used, in median and on all nodes together,"
            f" {formats.names(medians)}."
        )
    without = [str(number) for number, value in used.items() if value is None]
    if without:
        plural = "s" if len(without) > 1 else ""
        said.append(f"The load did not run throughout trial{plural} {formats.names(without)}.")
    for load in found:
        if wrong := what_went_wrong(load):
            said.append(f"The load on {load.host} was not what was asked for: {wrong}.")
        cpu, wanted = load.stressor("cpu"), share_asked(load)
        if cpu and wanted and cpu.seconds and cpu.cpu_seconds / cpu.seconds < NEARLY * wanted:
            said.append(
                f"The load on {load.host} used {formats.quantity(cpu.cpu_seconds / cpu.seconds, 'CPUs')}, not the"
                f" {formats.digits(wanted)} that were asked for: it did not get more."
            )
    return said


def data(run: Run, results: Sequence[TrialResult]) -> dict[str, Any] | None:
    """The load in report.json: what was asked for and measured on each node, and CPUs during each trial."""
    if not makers(run):
        return None
    return {
        "nodes": [
            {
                "host": load.host,
                "asked": dict(load.asked),
                "engine": load.engine,
                "processors": processors(load),
                "ended": load.reason,
                "wrong": what_went_wrong(load),
                "stressors": {
                    one.name: {
                        "unit": one.unit,
                        "work": one.work,
                        "cpu_seconds": one.cpu_seconds,
                        "seconds": one.seconds,
                        "held": one.held,
                        "workers": len(one.workers),
                    }
                    for one in load.stressors
                },
            }
            for load in run.loads
        ],
        "cpus_during": {str(r.trial.number): cpus_during(run, r) for r in results if r.error is None},
    }
