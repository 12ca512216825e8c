"""The search for a limit over an attempt that knows where it breaks: boundary, journal, caps, interruption."""

from __future__ import annotations

import json
import os
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from labctl.limits.caps import BEYOND, Ceiling, ceiling_of
from labctl.limits.finder import Subject, find
from labctl.limits.journal import Journal
from labctl.limits.plan import MEBIBYTE, Plan, plan_for
from labctl.limits.search import next_attempt, ramp
from labctl.measure.boundary import Boundary, Outcome, boundary, counted, knee, recommended, spread
from labctl.measure.limit_result import Result, result_of
from labctl.measure.limit_steps import CONTROLLER_LOST, Search, read_search

MEMORY = Plan("memory", 64 * MEBIBYTE, 64 * MEBIBYTE, 10)
CPU = Plan("cpu", 1, 1, 6)


def record(
    amount: int, *, limit: int, cause: str | None = None, errno: str | None = None, **more: Any
) -> dict[str, Any]:
    death = None if cause is None else {"what": "kernel", "cause": cause, "signal": 9, "oom_kill": 1}
    return {
        "requested": amount,
        "achieved": amount,
        "usage": min(amount, limit),
        "limit": limit,
        "pct_of_limit": 100 * min(amount, limit) / limit,
        "survived": death is None,
        "death": death,
        **({"error": {"errno": errno}} if errno else {}),
        **more,
    }


def breaks_above(limit: int, cause: str = "oom") -> Callable[[int], dict[str, Any]]:
    return lambda amount: record(amount, limit=limit, cause=cause if amount > limit else None)


def search(
    folder: Path,
    plan: Plan,
    attempt: Callable[[int], dict[str, Any]],
    ceiling: int | None = None,
    why: str | None = None,
) -> tuple[Result, Search]:
    top = Ceiling(4096 * MEBIBYTE if ceiling is None else ceiling, why)
    with Journal(folder / "journal.jsonl") as journal:
        if not journal.read().head:
            journal.write("search", resource=plan.resource, plan=plan.as_data())
        found = find(plan, Subject(attempt, lambda: top), journal, lambda _step: None)
    return result_of(found), found


# ------------------------------------------------------------ the boundary


def test_the_boundary_is_found_within_the_tolerance_wherever_it_is(tmp_path: Path) -> None:
    chance = random.Random(5)
    for number in range(60):
        limit = chance.randrange(2 * MEBIBYTE, 2000 * MEBIBYTE)
        result, found = search(
            tmp_path / str(number),
            Plan("memory", 64 * MEBIBYTE, 64 * MEBIBYTE, 8, repetitions=1),
            breaks_above(limit),
        )
        assert result.last_good is not None
        assert result.first_bad is not None
        assert result.last_good <= limit < result.first_bad
        assert result.first_bad - result.last_good <= max(MEBIBYTE, result.first_bad // 100)
        assert result.cause == "oom"
        amounts = [step.requested for step in found.steps]
        assert len(amounts) == len(set(amounts)), "no amount is tried twice"
        assert all(amount % MEBIBYTE == 0 for amount in amounts)
        assert len(amounts) <= 25


def test_below_the_first_step_the_search_goes_down(tmp_path: Path) -> None:
    result, _ = search(tmp_path, MEMORY, breaks_above(5 * MEBIBYTE))
    assert (result.last_good, result.first_bad) == (5 * MEBIBYTE, 6 * MEBIBYTE)


def test_where_even_the_smallest_amount_breaks_nothing_is_recommended(tmp_path: Path) -> None:
    result, _ = search(tmp_path, MEMORY, breaks_above(1))
    assert (result.last_good, result.first_bad, result.recommended) == (None, MEBIBYTE, None)
    assert result.cause == "oom"


def test_processes_stop_at_the_end_of_the_ramp_and_memory_goes_on() -> None:
    assert list(ramp(CPU, 6)) == [1, 2, 3, 4, 5, 6]
    doubling = Plan("disk", 100 * MEBIBYTE, 100 * MEBIBYTE, 3)
    assert [a // MEBIBYTE for a in ramp(doubling, 2000 * MEBIBYTE)] == [100, 200, 300, 500, 900, 1700, 2000]
    assert [a // MEBIBYTE for a in ramp(doubling, 250 * MEBIBYTE)] == [100, 200, 250]
    assert list(ramp(doubling, 0)) == []


def test_nothing_above_the_ceiling_is_ever_tried(tmp_path: Path) -> None:
    result, found = search(
        tmp_path, MEMORY, breaks_above(500 * MEBIBYTE), 200 * MEBIBYTE, "the node has only 456 MiB"
    )
    assert max(step.requested for step in found.steps) == 200 * MEBIBYTE
    assert (result.last_good, result.first_bad, result.cause) == (200 * MEBIBYTE, None, None)
    assert [one.ceiling for one in result.repetitions] == ["the node has only 456 MiB"] * 3


def test_a_ceiling_that_sinks_ends_the_search_below_it() -> None:
    tried = [Outcome(128 * MEBIBYTE, good=True), Outcome(512 * MEBIBYTE, good=False, cause="oom")]
    attempt = next_attempt(MEMORY, 200 * MEBIBYTE, tried)
    assert attempt is not None
    assert attempt.amount == 200 * MEBIBYTE
    assert next_attempt(MEMORY, 100 * MEBIBYTE, tried) is None


# ------------------------------------------------------------ what ends a step from outside


def test_a_kill_from_outside_is_tried_again_and_is_no_boundary(tmp_path: Path) -> None:
    killed: list[int] = []

    def attempt(amount: int) -> dict[str, Any]:
        if amount == 192 * MEBIBYTE and not killed:
            killed.append(amount)
            return record(amount, limit=500 * MEBIBYTE, cause="killed")
        return breaks_above(500 * MEBIBYTE)(amount)

    result, found = search(tmp_path, MEMORY, attempt)
    assert [step.requested // MEBIBYTE for step in found.of(1)][:5] == [64, 128, 192, 192, 256]
    assert result.cause == "oom"
    assert result.first_bad is not None
    assert result.first_bad > 500 * MEBIBYTE


def test_what_is_killed_every_time_is_named_killed_never_oom(tmp_path: Path) -> None:
    result, found = search(tmp_path, MEMORY, breaks_above(100 * MEBIBYTE, "killed"))
    assert result.cause == "killed"
    assert len(found.steps) < 3 * 20


def test_only_what_tells_of_the_limit_counts() -> None:
    once = [Outcome(4, good=False, cause=CONTROLLER_LOST)]
    assert counted(once) == []
    assert counted(once * 2) == once * 2
    assert boundary([*once, Outcome(4, good=True)]) == Boundary(4, None)
    assert boundary(
        [Outcome(3, good=False, cause="oom"), Outcome(4, good=True), Outcome(2, good=True)]
    ) == Boundary(2, 3, "oom")


@pytest.mark.parametrize(
    ("more", "cause"),
    [
        ({}, None),
        ({"errno": "ENOSPC"}, "enospc"),
        ({"errno": "EDQUOT"}, "enospc"),
        ({"errno": "EAGAIN"}, "pids"),
        ({"errno": "EIO"}, "eio"),
        ({"cause": "oom_group"}, "oom_group"),
        ({"achieved": 4}, "short"),
        ({"survived": False}, "exit"),
    ],
)
def test_the_cause_of_a_step(more: dict[str, Any], cause: str | None) -> None:
    lines = [{"event": "begin", "repetition": 1, "step": 1, "phase": "ramp", "requested": 5}]
    end = {"event": "end", "record": record(5, limit=9, **more)}
    (step,) = read_search(json.dumps(line) for line in [*lines, end]).steps
    assert step.cause == cause
    assert step.good is (cause is None)


# ------------------------------------------------------------ the journal


class Lost(Exception):
    pass


def test_a_search_goes_on_where_its_journal_ends(tmp_path: Path) -> None:
    """The controller is lost in every third step; each time another one goes on from the journal."""
    limit, calls, lost = 333 * MEBIBYTE, [0], [0]

    def attempt(amount: int) -> dict[str, Any]:
        calls[0] += 1
        if calls[0] % 3 == 0:
            lost[0] += 1
            raise Lost
        return breaks_above(limit)(amount)

    while True:
        try:
            result, found = search(tmp_path, MEMORY, attempt)
        except Lost:
            continue
        break
    assert result.bounds is not None
    assert (result.bounds.n, result.bounds.share) == (3, 0)
    assert result.last_good is not None
    assert result.first_bad is not None
    assert result.last_good <= limit < result.first_bad
    assert [step.cause for step in found.steps].count(CONTROLLER_LOST) == lost[0] > 3
    again, after = search(tmp_path, MEMORY, attempt)
    assert (again, len(after.steps)) == (result, len(found.steps)), "a search that is done does nothing more"


def test_a_step_stands_on_the_disk_before_it_begins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced: list[int] = []
    real = os.fsync

    def fsync(file: int) -> None:
        synced.append(os.fstat(file).st_size)
        real(file)

    monkeypatch.setattr(os, "fsync", fsync)
    path = tmp_path / "journal.jsonl"

    def attempt(amount: int) -> dict[str, Any]:
        last = json.loads(path.read_text().splitlines()[-1])
        assert (last["event"], last["requested"]) == ("begin", amount)
        assert synced[-1] == path.stat().st_size, "what is written is synced"
        return breaks_above(100 * MEBIBYTE)(amount)

    search(tmp_path, MEMORY, attempt)
    assert synced[-1] == path.stat().st_size


def test_half_a_line_of_a_killed_controller_spoils_nothing(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    whole, _ = search(tmp_path, MEMORY, breaks_above(200 * MEBIBYTE))
    lines = path.read_text().splitlines(keepends=True)
    for keep in range(1, len(lines)):
        path.write_text("".join(lines[:keep]) + lines[keep][: len(lines[keep]) // 2])
        result, found = search(tmp_path, MEMORY, breaks_above(200 * MEBIBYTE))
        assert (result.last_good, result.first_bad, result.cause) == (whole.last_good, whole.first_bad, "oom")
        assert found.unreadable == 1


def test_a_journal_that_is_still_being_written_can_be_read() -> None:
    begin = {"event": "begin", "repetition": 1, "step": 1, "phase": "ramp", "requested": 5, "wall": 1.0}
    found = read_search([json.dumps(begin), '{"event": "en'])
    assert found.unreadable == 0
    assert [(step.cause, step.ended) for step in found.steps] == [(CONTROLLER_LOST, None)]
    assert read_search([]).steps == []


# ------------------------------------------------------------ the node is not to be taken down


def capacity(**given: Any) -> dict[str, Any]:
    return {
        "limits": {"cpu": 1.0, "memory": 512 * MEBIBYTE, "disk": 256 * MEBIBYTE},
        "mem_available": 4096 * MEBIBYTE,
        "mem_total": 8192 * MEBIBYTE,
        "disk_free": 9000 * MEBIBYTE,
        "disk_total": 20000 * MEBIBYTE,
        **given,
    }


def test_where_the_node_has_enough_the_containers_own_limit_ends_the_search() -> None:
    assert ceiling_of(MEMORY, capacity()) == Ceiling(BEYOND * 512 * MEBIBYTE)
    assert ceiling_of(CPU, capacity()) == Ceiling(6)
    disk = Plan("disk", MEBIBYTE, MEBIBYTE, 3)
    assert ceiling_of(disk, capacity()) == Ceiling(BEYOND * 256 * MEBIBYTE)


def test_a_node_with_little_memory_is_spared() -> None:
    found = ceiling_of(MEMORY, capacity(mem_available=800 * MEBIBYTE))
    assert found.amount == (800 - 409.6) // 1 * MEBIBYTE
    assert found.why is not None
    assert "800 MiB memory available" in found.why
    assert ceiling_of(MEMORY, capacity(mem_available=100 * MEBIBYTE)).amount == 0
    assert ceiling_of(MEMORY, capacity(mem_available=900 * MEBIBYTE, memory_usage=30 * MEBIBYTE)).why is None


def test_a_container_without_a_limit_stops_at_what_the_node_has() -> None:
    found = ceiling_of(MEMORY, capacity(limits={}))
    assert (found.amount, found.why is None) == ((4096 - 409) * MEBIBYTE - MEBIBYTE, False)
    disk = Plan("disk", MEBIBYTE, MEBIBYTE, 3)
    assert ceiling_of(disk, capacity(limits={}, disk_free=1500 * MEBIBYTE)).amount == 500 * MEBIBYTE
    with pytest.raises(ValueError, match="neither the container's memory limit nor"):
        ceiling_of(MEMORY, {"limits": {}})


# ------------------------------------------------------------ plans


def test_a_plan_follows_from_any_limit() -> None:
    assert plan_for("memory", 512 * MEBIBYTE, {}) == Plan("memory", 64 * MEBIBYTE, 64 * MEBIBYTE, 12)
    assert plan_for("cpu", 4, {"seconds": 5}) == Plan("cpu", 1, 1, 10, seconds=5)
    assert plan_for("disk", MEBIBYTE, {}).step == MEBIBYTE
    source = plan_for("memory", None, {"start": 8000, "step": 100, "max_steps": 10, "headroom": None})
    assert (source.start, source.headroom) == (8000, 0.2)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({}, "the container has no memory limit: say where the search begins"),
        ({"start": 0, "step": 1, "max_steps": 1}, "'start' must be more than 0, not 0"),
        ({"start": 1, "step": 1, "max_steps": 1, "seconds": -1}, "'seconds' must be more than 0"),
        ({"start": 1, "step": 1, "max_steps": 1, "tolerance": 2}, "'tolerance' is a share from 0 to 1"),
    ],
)
def test_a_plan_that_makes_no_sense_is_refused(given: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        plan_for("memory", None, given)


# ------------------------------------------------------------ figures


@pytest.mark.parametrize(
    ("points", "expected"),
    [
        ([(1, 100.0), (2, 101.0), (3, 99.0)], 1),
        ([(1, 100.0), (2, 199.0), (3, 297.0), (4, 395.0), (5, 398.0), (6, 390.0)], 4),
        ([(n, 100.0 * n) for n in range(1, 17)], None),
        ([(n, 100.0 * min(n, 12)) for n in range(1, 17)], 12),
        ([(1, 100.0)], None),
        ([], None),
        ([(1, 0.0), (2, 10.0), (3, 10.0)], 2),
        ([(3, 297.0), (1, 100.0), (2, 199.0), (4, 300.0)], 3),
    ],
)
def test_the_knee_is_where_one_more_worker_no_longer_pays(
    points: list[tuple[int, float]], expected: int | None
) -> None:
    assert knee([(workers, work, None) for workers, work in points]) == expected


@pytest.mark.parametrize(
    ("points", "expected"),
    [
        ([(1, 100.0, 0.99), (2, 240.0, 1.0), (3, 101.0, 1.0)], 1),  # the clock was faster during the second
        ([(1, 100.0, 0.99), (2, 199.0, 1.98), (3, 200.0, 2.0)], 2),
        ([(1, 100.0, 0.0), (2, 199.0, 0.0), (3, 200.0, 0.0)], 2),
    ],
)
def test_a_faster_clock_is_no_gain_of_the_workers(
    points: list[tuple[int, float, float | None]], expected: int
) -> None:
    assert knee(points) == expected


def test_head_room_is_taken_off_in_whole_quanta() -> None:
    assert recommended(500 * MEBIBYTE, 0.2, MEBIBYTE) == 400 * MEBIBYTE
    assert recommended(1001, 0.2, 100) == 800
    assert recommended(1, 0.2, 1) == 1


def test_the_spread_of_repetitions() -> None:
    found = spread([500.0, 490.0, 510.0])
    assert found is not None
    assert (found.median, found.low, found.high, found.share) == (500, 490, 510, 0.04)
    one = spread([3.0])
    assert one is not None
    assert one.share is None
    assert spread([]) is None


def test_a_quota_is_a_knee_with_throttling_and_no_boundary(tmp_path: Path) -> None:
    def attempt(amount: int) -> dict[str, Any]:
        throttled = 0.5 if amount == 1 else 100 * (1 - 1 / amount)
        return record(amount, limit=1, throughput=50.0 * min(amount, 1.02), throttled_pct=throttled)

    result, _ = search(tmp_path, CPU, attempt, 6)
    assert (result.knee, result.last_good, result.first_bad, result.cause) == (1, 6, None, "throttle")
    assert result.recommended == 1
    assert result.knees is not None
    assert (result.knees.n, result.knees.share) == (3, 0)


def test_a_machine_with_too_few_processors_is_not_called_throttled(tmp_path: Path) -> None:
    result, _ = search(
        tmp_path, CPU, lambda n: record(n, limit=8, throughput=50.0 * min(n, 2), throttled_pct=0.0), 6
    )
    assert (result.knee, result.cause) == (2, None)


def test_a_step_that_others_crowd_is_made_again_and_gives_no_knee(tmp_path: Path) -> None:
    """Two processes that get a quarter of what they could use, twice; then, in another search, each time."""
    crowd = [2, 2]

    def attempt(amount: int) -> dict[str, Any]:
        got = 1.0
        if amount in crowd:
            crowd.remove(amount)
            got = 0.25
        more = {
            "resource": "cpu",
            "usage": got,
            "throughput": 50.0 * got,
            "throttled_pct": 100.0 * (amount > 1),
        }
        return record(amount, limit=1) | more

    once = Plan("cpu", 1, 1, 3, repetitions=1)
    result, found = search(tmp_path / "twice", once, attempt, 3)
    assert [(step.requested, step.crowded) for step in found.steps] == [
        *((1, False), (2, True), (2, True), (2, False), (3, False))
    ]
    assert (result.knee, result.cause) == (1, "throttle")
    crowd += [2] * 10
    result, found = search(tmp_path / "always", once, attempt, 3)
    assert [step.requested for step in found.steps] == [1, 2, 2, 2, 3]
    assert (result.knee, result.cause, result.last_good, result.recommended) == (None, None, 3, None)


def test_a_machine_smaller_than_the_quota_crowds_nobody() -> None:
    head = {"event": "search", "resource": "cpu", "capacity": {"cpus": 2}}
    begin = {"event": "begin", "repetition": 1, "step": 1, "phase": "ramp", "requested": 4}
    end = {"event": "end", "record": record(4, limit=8) | {"resource": "cpu", "usage": 1.9}}
    (step,) = read_search(json.dumps(line) for line in (head, begin, end)).steps
    assert not step.crowded


@pytest.mark.parametrize(
    ("amount", "quota", "usage", "throttled", "crowded"),
    [
        (2, 1, 0.98, 0.0, True),  # another program has the second processor
        (4, 1, 1.01, 4.9, True),
        (2, 1, 0.98, 30.0, False),
        (2, 1, 0.98, None, False),  # nobody counts
        (2, 1, 1.2, 0.0, False),  # the quota does not hold
        (1, 1, 0.98, 0.0, False),
        (2, 1.95, 1.94, 0.0, False),  # too near to be throttled
        (4, 8, 1.94, 0.0, False),
        (2, None, 1.94, 0.0, False),
    ],
)
def test_who_reaches_a_quota_and_is_not_held_back_is_crowded(
    amount: int, quota: float | None, usage: float, throttled: float | None, crowded: bool
) -> None:
    head = {"event": "search", "resource": "cpu", "capacity": {"cpus": 2}}
    begin = {"event": "begin", "repetition": 1, "step": 1, "phase": "ramp", "requested": amount}
    got = {"resource": "cpu", "usage": usage, "limit": quota, "throttled_pct": throttled}
    end = {"event": "end", "record": record(amount, limit=1) | got}
    (step,) = read_search(json.dumps(line) for line in (head, begin, end)).steps
    assert step.crowded is crowded


def test_what_the_repetitions_say_together(tmp_path: Path) -> None:
    limits = iter([500 * MEBIBYTE] * 10 + [490 * MEBIBYTE] * 10 + [510 * MEBIBYTE] * 20)
    seen: list[int] = []

    def attempt(amount: int) -> dict[str, Any]:
        if amount == MEMORY.start:
            seen.append(next(limits))
            for _ in range(9):
                next(limits)
        return breaks_above(seen[-1])(amount)

    result, _ = search(tmp_path, MEMORY, attempt)
    assert seen == [500 * MEBIBYTE, 490 * MEBIBYTE, 510 * MEBIBYTE]
    assert result.last_good is not None
    assert 485 * MEBIBYTE < result.last_good <= 490 * MEBIBYTE, "what held in all of them"
    assert result.bounds is not None
    assert result.bounds.share is not None
    assert 0.02 < result.bounds.share < 0.05
    assert result.share is not None
    assert 0.98 < result.share <= 1
    assert result.recommended is not None
    assert result.recommended <= 0.8 * result.last_good
    data = result.as_data()
    assert [one["cause"] for one in data["repetitions"]] == ["oom"] * 3
    json.dumps(data)
