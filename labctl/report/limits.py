"""What a reader must know before believing the figures: all of it from the run itself."""

from __future__ import annotations

from collections.abc import Sequence

from labctl.measure.series import cpu_seconds
from labctl.report import formats, load
from labctl.report.comparisons import Compared, latest
from labctl.report.environment import one_machine
from labctl.report.metrics import BY_NAME, NODE_CPU
from labctl.report.rawfiles import Run
from labctl.report.trials import TrialResult

_NOISE = {
    "steal": "CPU time was taken by the hypervisor",
    "foreign": "CPU was used by others than the pod",
    "swap": "pages were swapped",
    "late": "samples came late or not at all",
    "clock": "the wall clock was set",
    "oom": "a container was killed for lack of memory",
    "throttled": "CPU limits held containers back",
}
_VOLUMES = {
    "shared-directory": "The shared volume was one directory mounted on both nodes, not a network file system:"
    " carrying state over costs less here than it would over a network.",
}


def limits_of(run: Run, results: Sequence[TrialResult], compared: Sequence[Compared]) -> list[str]:
    found = [*load.limits(run, results), *_setting(run, results), *_sample_size(compared), *_method(results)]
    found += [*_disturbed(results, compared), *_failed(results), *_missing(results)]
    found += [
        f"Trial {r.trial.number}: {text}." for r in results for text in r.trial.head.get("warnings") or []
    ]
    unreadable = [
        *run.unreadable,
        *(f"{result.trial.folder.name}/{what}" for result in results for what in result.trial.unreadable),
    ]
    if unreadable:
        found.append(f"Raw files that could not be read: {'; '.join(unreadable)}.")
    if run.head.get("exit_code") not in (0, None):
        found.append(f"The run did not end well (exit code {run.head['exit_code']}).")
    return found


def _setting(run: Run, results: Sequence[TrialResult]) -> list[str]:
    volumes = {str(r.trial.head["volume"]) for r in results if r.trial.head.get("volume")}
    found = [_VOLUMES.get(volume, f"The shared volume was {volume}.") for volume in sorted(volumes)]
    if one_machine(run):
        found.append(
            "All nodes shared one machine and one kernel: their network is memory, and they compete for the same CPUs."
            " Ratios between strategies carry over to other machines better than the absolute figures do."
        )
    offsets = [
        abs(float(value))
        for r in results
        for value in (r.trial.head.get("offset") or {}).values()
        if value is not None
    ]
    if offsets and max(offsets) > 0.001:
        found.append(
            f"Clocks of the nodes were up to {formats.quantity(max(offsets), 's')} from the controller's;"
            " times were corrected by the offsets that were measured."
        )
    return found


def _sample_size(compared: Sequence[Compared]) -> list[str]:
    counts = [c.result.n for c in compared if c.result.n]
    if not counts:
        return ["No two strategies could be compared."]
    if min(counts) >= 8:
        return []
    fewest = min(counts)
    return [
        (
            f"n = {fewest} pair{'s' * (fewest != 1)}: few. The intervals are Student's on the pairs' log ratios (Fieller's"
            " where a value is 0), which suppose that those scatter normally; so few runs cannot show that they do."
        )
    ]


def _method(results: Sequence[TrialResult]) -> list[str]:
    found = []
    steps = set()
    for result in results:
        window = (result.trial.head.get("windows") or {}).get("after")
        if isinstance(window, list) and len(window) == 2 and None not in window:
            steps.add(round((window[1] - window[0]) / 20, 2))
    if steps and max(steps) < 0.95:
        found.append(
            f"The source takes its 20 samples 1 s apart; here they are {formats.quantity(max(steps), 's')} apart"
            " (profile quick). The certification profile takes them as the source does."
        )
    found += _beside_the_method(results)
    periods = {r.trial.probes.period for r in results if r.trial.probes}
    if periods:
        found.append(
            f"The probe asks every {formats.quantity(max(periods), 's')}: a shorter outage can go unseen, and a downtime"
            " is known to about that much."
        )
    return found


def _beside_the_method(results: Sequence[TrialResult]) -> list[str]:
    """What the figures leave out, or take in, that favours a strategy."""
    found = [
        (
            "CPU that the container runtime and CRIU spend on the nodes to start, checkpoint and restore containers is in"
            f" no container's cgroup, and so in no CPU figure but '{BY_NAME[NODE_CPU].label}'."
        )
    ]
    again = [str(result.trial.number) for result in results if _worked_again_in_the_window(result)]
    if again:
        found.append(
            f"In the window after the migration of trial{'s' * (len(again) > 1)} {formats.names(again)} a container that had"
            " completed before was at work again: the source's method counts that work, and a later window would not."
        )
    return found


def _worked_again_in_the_window(result: TrialResult) -> bool:
    head = result.trial.head
    window = result.window("after")
    done = set((head.get("progress_at_start") or {}).get("completed") or []) & set(
        head.get("restarted") or []
    )
    if window is None or not done:
        return False
    used = cpu_seconds(result.trial.recordings, [f"{head.get('pod')}/{name}" for name in done], window)
    return bool(used.value)


def _disturbed(results: Sequence[TrialResult], compared: Sequence[Compared]) -> list[str]:
    disturbed = [result for result in results if result.error is None and result.noise]
    if not disturbed:
        return []
    found = []
    reasons: dict[str, list[str]] = {}
    for result in disturbed:
        for flag in result.noise:
            reasons.setdefault(flag.name, []).append(str(result.trial.number))
    for name, numbers in reasons.items():
        plural = "s" if len(numbers) > 1 else ""
        found.append(
            f"Trial{plural} {formats.names(numbers)}: {_NOISE.get(name, name)} beyond the threshold."
        )
    counted = {id(result) for result in latest(results).values()}
    again = sorted({r.pair for r in results if id(r) not in counted})
    if again:
        plural = "s" if len(again) > 1 else ""
        found.append(
            f"Pair{plural} {formats.names([str(pair) for pair in again])} {'were' if plural else 'was'} run again:"
            " the last run counts, all are listed."
        )
    if not any(id(result) in counted for result in disturbed):
        return found
    if any(c.noisy for c in compared):
        found.append(
            "Too few undisturbed pairs were left, so the comparisons use disturbed ones too; they are hollow dots in the"
            " figure of every run."
        )
    else:
        found.append("Comparisons leave out the pairs with a disturbed trial.")
    return found


def _failed(results: Sequence[TrialResult]) -> list[str]:
    return [
        f"Trial {r.trial.number} ({r.strategy}) failed and counts in no comparison: {r.error}"
        for r in results
        if r.error
    ]


def _missing(results: Sequence[TrialResult]) -> list[str]:
    """Figures without a value, each reason once."""
    reasons: dict[tuple[str, str], list[str]] = {}
    for result in results:
        if result.error is None:
            for metric, reason in result.reasons.items():
                reasons.setdefault((metric, reason), []).append(str(result.trial.number))
    everywhere = sum(result.error is None for result in results)
    found = []
    for (metric, reason), numbers in reasons.items():
        where = "any trial" if len(numbers) == everywhere else f"trial {formats.names(numbers)}"
        found.append(f"{BY_NAME[metric].label} has no value in {where}: {reason}.")
    return found
