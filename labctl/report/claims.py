"""What each strategy is said to do, held against the raw files of every one of its runs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from labctl.report import formats
from labctl.report.comparisons import runs_of, strategies_of
from labctl.report.model import Claim
from labctl.report.trials import TrialResult, chain

Check = Callable[[TrialResult], tuple[bool | None, str]]


def claims_of(results: Sequence[TrialResult]) -> list[Claim]:
    """The claims about the strategies that were run."""
    found = []
    for strategy in strategies_of(results):
        runs = [run for run in runs_of(results, strategy) if run.error is None]
        for text, check in _CLAIMS.get(strategy, ()):
            found.append(_judge(f"{strategy} {text}", runs, check))
    return found


def _judge(text: str, runs: Sequence[TrialResult], check: Check) -> Claim:
    """True when every run that can tell says so, False when one says otherwise."""
    checked = [(run, *check(run)) for run in runs]
    known = [entry for entry in checked if entry[1] is not None]
    if not known:
        reason = checked[0][2] if checked else "no run of it ended well"
        return Claim(text, None, f"The raw files cannot tell: {reason}.")
    against = [(run, why) for run, holds, why in known if not holds]
    if against:
        run, why = against[0]
        return Claim(
            text, False, f"Not so in {len(against)} of {len(known)} runs. Trial {run.trial.number}: {why}."
        )
    first, _, why = known[0]
    alike = len({entry[2] for entry in known}) == 1
    seen = f"{why[:1].upper()}{why[1:]}" if alike else f"Trial {first.trial.number}: {why}"
    return Claim(text, True, f"In {len(known)} of {len(checked)} runs. {seen}.")


def _head(run: TrialResult, *keys: str) -> Any:
    value: Any = run.trial.head
    for key in keys:
        value = value.get(key) if isinstance(value, dict) else None
    return value


def _completed_before(run: TrialResult) -> list[str]:
    return list(_head(run, "progress_at_start", "completed") or [])


def _used_on_target(run: TrialResult, container: str) -> float | None:
    """CPU seconds of a container on the target, or None when its cgroup was never there."""
    target, pod = _head(run, "target"), _head(run, "pod")
    usage = [
        counters.cpu_usec
        for recording in run.trial.recordings
        if recording.host == target
        for sample in recording.samples
        if (counters := sample.containers.get(f"{pod}/{container}")) is not None
    ]
    return max(usage) / 1e6 if usage else None


def _reruns_completed(run: TrialResult) -> tuple[bool | None, str]:
    done = _completed_before(run)
    if not done:
        return None, "no container had completed before the migration"
    used = {name: _used_on_target(run, name) for name in done}
    restarted = set(_head(run, "restarted") or [])
    if not all(name in restarted and used[name] for name in done):
        kept = formats.names([name for name in done if name not in restarted or not used[name]])
        return False, f"{kept} was not run again"
    spent = "; ".join(
        f"the completed {name} ran again on the target and used {formats.quantity(used[name], 'CPU s')} there"
        for name in done
    )
    return True, spent


def _keeps_completed(run: TrialResult) -> tuple[bool | None, str]:
    done = _completed_before(run)
    if not done:
        return None, "no container had completed before the migration"
    again = [name for name in done if name in (_head(run, "restarted") or []) or _used_on_target(run, name)]
    if again:
        return False, f"{formats.names(again)} ran again"
    return True, f"the completed {formats.names(done)} used no CPU on the target"


def _loses_steps(run: TrialResult) -> tuple[bool | None, str]:
    redone = run.values["steps_redone"]
    if redone is None:
        return None, run.reasons["steps_redone"]
    return redone > 0, f"{redone:.0f} steps were made again"


def _redoes_no_step(run: TrialResult) -> tuple[bool | None, str]:
    redone = run.values["steps_redone"]
    if redone is None:
        return None, run.reasons["steps_redone"]
    numbers = [step.step for step in run.trial.steps]
    twice = len(numbers) - len(set(numbers))
    if redone or twice:
        return False, f"{max(redone, twice):.0f} steps were made twice"
    return True, "no step number occurs twice in the trainer's log"


def _hash_matches(run: TrialResult) -> tuple[bool | None, str]:
    before, after = _head(run, "state", "before", "sha256"), _head(run, "state", "after", "sha256")
    if not before or not after:
        return None, "the state's hash was not recorded on both sides"
    if before != after:
        return False, f"the state on the target is {after[:12]}\u2026, not {before[:12]}\u2026"
    unbroken, seen = chain(run.trial)
    if unbroken is False:
        return False, seen
    return (
        True,
        f"state {before[:12]}\u2026 at step {_head(run, 'state', 'before', 'step')} on both nodes; {seen}",
    )


def _same_process(run: TrialResult) -> tuple[bool | None, str]:
    """The boot id is made when the trainer's process starts, and lives in its memory."""
    started = _head(run, "started")
    boots = {step.boot: step.wall for step in run.trial.steps}
    later = [step.boot for step in run.trial.steps if started and step.wall > started]
    if not later:
        return None, "no step was logged after the migration began"
    if len(boots) > 1:
        return False, f"{len(boots)} processes of the trainer wrote the log"
    return True, "one process wrote the trainer's log on both nodes"


_CLAIMS: dict[str, tuple[tuple[str, Check], ...]] = {
    "native": (
        ("runs the completed container again", _reruns_completed),
        ("loses the steps it had not saved", _loses_steps),
    ),
    "native-resume": (("runs the completed container again", _reruns_completed),),
    "optimized": (
        ("does not run the completed container again", _keeps_completed),
        ("continues from the very state it saved", _hash_matches),
        ("redoes no step", _redoes_no_step),
    ),
    "live": (
        ("does not run the completed container again", _keeps_completed),
        ("moves the running process: it is not started again", _same_process),
        ("redoes no step", _redoes_no_step),
    ),
}
