"""Downtime, regained progress, redone steps and phases against answers worked out by hand."""

from __future__ import annotations

import json
from typing import Any

import pytest

from labctl.measure.migration import (
    Probes,
    continuity,
    cpu_until_regained,
    downtime,
    pause,
    read_probes,
    read_steps,
    regained,
    silence,
    steps_redone,
)
from labctl.measure.series import Window


def probes(
    *answers: tuple[float, int | None] | tuple[float, int | None, dict[str, Any]], offset: float = 0.0
) -> Probes:
    """(sent at, step or None for a failure, more)."""
    lines: list[dict[str, Any]] = [
        {"type": "header", "host": "m", "period": 0.02, "timeout": 0.25, "url": "u"}
    ]
    for n, (t, step, *more) in enumerate(answers):
        line: dict[str, Any] = {"type": "probe", "n": n, "wall": t, "mono": t - 5, "ok": step is not None}
        if step is None:
            line["error"] = "refused"
        else:
            line.update(ms=1.0, step=step, completed=["data-processor"], boot="b")
        lines.append(line | (more[0] if more else {}))
    return read_probes([json.dumps(line) for line in lines], offset=offset)


def test_downtime_is_from_the_last_good_to_the_first_good_probe() -> None:
    seen = probes((0.0, 1), (0.1, 1), (0.2, None), (0.3, None), (0.4, 2), (0.5, None), (0.6, 3))
    found = downtime(seen, 0.0, 1.0)
    assert found.seconds == pytest.approx(0.3)
    assert (found.outage.start, found.outage.end) == pytest.approx((0.1, 0.4))
    assert (found.failed, found.resolution, found.reason) == (2, 0.02, None)


def test_no_failed_probe_is_no_downtime_but_a_silence_is_seen() -> None:
    seen = probes((0.0, 1), (0.1, 1), (0.2, 1, {"ms": 201.0}), (0.3, 1, {"ms": 101.0}), (0.5, 1))
    found = downtime(seen, 0.0, 1.0)
    assert (found.seconds, found.outage, found.failed) == (0.0, None, 0)
    assert found.silence == pytest.approx(0.3)


def test_only_outages_between_start_and_regained_count() -> None:
    seen = probes((0, 1), (1, None), (3, 1), (5, 1), (6, None), (6.5, 1), (8, 1), (9, None), (20, 1))
    assert downtime(seen, 4.0, 8.0).seconds == pytest.approx(1.5)
    assert downtime(seen, 4.0, None).seconds == pytest.approx(12.0)
    assert downtime(seen, 7.0, 7.5).seconds == 0.0


def test_an_outage_whose_end_was_not_seen_has_no_length_but_a_least_one() -> None:
    open_end = downtime(probes((0, 1), (1, None), (4, None)), 0.0, None)
    assert (open_end.seconds, open_end.at_least) == (None, 4.0)
    assert open_end.reason == "the service did not answer again while it was probed"
    open_start = downtime(probes((0, None), (2, None), (3, 1)), 0.0, 3.0)
    assert (open_start.seconds, open_start.at_least) == (None, 3.0)
    assert downtime(probes(), 0.0, None).reason == "nothing was probed"


def test_silence_needs_two_answers() -> None:
    assert silence(probes((0, 1)), Window(0, 1)) is None


def test_regained_needs_the_step_and_what_was_complete_after_the_source_stopped() -> None:
    seen = probes(
        (0.0, 50), (1.0, None), (2.0, 10), (3.0, 42, {"completed": []}), (4.0, 41), (5.0, 42), (6.0, 43)
    )
    found = regained(seen, 42, ["data-processor"], not_before=0.5)
    assert (found.value, found.bound) == (pytest.approx(5.001), 0.02)
    assert regained(seen, 42, [], not_before=0.5).value == pytest.approx(3.001)
    assert regained(seen, 42, ["data-processor"], not_before=0.0).value == pytest.approx(0.001)


def test_progress_that_never_came_back_has_a_reason() -> None:
    found = regained(probes((0, 1)), 42, [], not_before=0)
    assert found.value is None
    assert "step 42 was not reached again" in found.reason
    assert cpu_until_regained([], [], 0.0, None).reason == "progress was not regained"


def test_probe_times_are_put_on_the_controllers_clock() -> None:
    assert probes((100.0, 1), (101.0, 1), offset=30.0).probes[1].t == pytest.approx(71.0)


def test_probes_without_a_header_are_refused() -> None:
    with pytest.raises(ValueError, match="no header"):
        read_probes([])


def steps(*done: tuple[int, str, str]) -> list[Any]:
    lines = [{"event": "start", "wall": 0, "boot": "x"}]
    lines += [
        {"event": "step", "step": n, "from": a, "to": b, "wall": float(i), "boot": "x", "host": "w"}
        for i, (n, a, b) in enumerate(done)
    ]
    return read_steps([json.dumps(line) for line in lines])


def test_a_pause_is_the_longest_time_without_a_step_on_any_node() -> None:
    lines = [
        {"event": "step", "step": n, "from": "", "to": "", "wall": wall, "boot": "x", "host": host}
        for n, wall, host in [
            (1, 0.0, "a"), (2, 3.0, "a"), (3, 3.5, "a"),
            (4, 105.0, "b"), (5, 105.5, "b"), (6, 109.5, "b"),
        ]
    ]  # fmt: skip
    done = read_steps([json.dumps(line) for line in lines])
    found = pause(done, Window(3.2, 5.2), {"b": 100.0})
    assert found.value == pytest.approx(1.5)  # 3.5 to 5.0; neither the longer one before nor the one after
    assert pause(done, Window(3.2, 1e9), {"b": 100.0}).value == pytest.approx(4.0)
    assert pause(done[:3], Window(3.6, 6.0), {}).reason == "no step was logged after the migration began"
    assert pause(done[3:], Window(3.6, 6.0), {"b": 100.0}).reason == "no step was logged before the migration"


def test_steps_done_before_are_redone() -> None:
    restarted = steps(
        (1, "0", "a"),
        (2, "a", "b"),
        (3, "b", "c"),
        (1, "0", "a"),
        (2, "a", "b"),
        (3, "b", "c"),
        (4, "c", "d"),
    )
    assert steps_redone(restarted) == 3
    assert steps_redone(restarted, since=4.0) == 2
    assert continuity(restarted).breaks == (1,)
    assert not continuity(restarted).continued


def test_a_chain_of_states_without_a_break_went_on() -> None:
    whole = steps((1, "0", "a"), (2, "a", "b"), (3, "b", "c"))
    assert (steps_redone(whole), continuity(whole).continued) == (0, True)
    other = steps((1, "0", "a"), (2, "X", "b"))
    assert continuity(other).breaks == (2,)
