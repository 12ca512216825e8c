"""Recordings and series against answers worked out by hand."""

from __future__ import annotations

import json
from typing import Any

import pytest

from labctl.measure.estimators import source_cpu_samples, source_memory_samples
from labctl.measure.noise import Thresholds, noise
from labctl.measure.recording import Counters, Recording, read_recording
from labctl.measure.series import (
    Window,
    cpu_seconds,
    gaps,
    increases,
    lives,
    memory_at,
    memory_curve,
    millicores,
    node_seconds,
)

MIB = 2**20


def recording(
    samples: list[tuple[float, dict[str, Any]]],
    gone: list[tuple[float, str, int | None]] = (),
    *,
    host: str = "worker1",
    offset: float = 0.0,
    ticks: dict[float, list[int]] | None = None,
    late: int = 0,
    cut: str = "",
    wall: float = 1000.0,
    own: dict[float, int] | None = None,
) -> Recording:
    """Samples at monotonic times, containers as {name: cpu_usec or a dict of counters}; wall = mono + 1000."""
    lines = [
        {"type": "header", "host": host, "version": 2, "interval": 1.0, "cpus": 2, "clock_ticks": 100, "pid": 1}
    ]  # fmt: skip
    for mono, containers in samples:
        filled = {
            name: values if isinstance(values, dict) else {"cpu_usec": values}
            for name, values in containers.items()
        }
        cpu = (ticks or {}).get(mono, [0] * 8)
        node = {"cpu": cpu, "own_usec": (own or {}).get(mono), "mem_available": 1, "pswpin": 0, "pswpout": 0}
        lines.append(
            {
                "type": "sample",
                "mono": mono,
                "wall": mono + wall,
                "took": 0.0,
                "node": node,
                "containers": filled,
            }
        )
    for mono, name, missed in gone:
        lines.append(
            {
                "type": "gone",
                "mono": mono,
                "wall": mono + wall,
                "container": name,
                "last": {},
                "missed_usec": missed,
            }
        )
    lines[1:] = sorted(lines[1:], key=lambda line: (line["mono"], line["type"] != "gone"))
    lines.append(
        {"type": "end", "mono": 0, "wall": 0, "samples": len(samples), "late": late, "missed": 0, "cpu_seconds": 0,
         "wall_seconds": 1}
    )  # fmt: skip
    return read_recording([*map(json.dumps, lines), cut], offset=offset)


def at(mono: float) -> float:
    """The controller's time of a monotonic time."""
    return mono + 1000.0


def test_a_line_cut_in_two_at_the_end_is_left_out() -> None:
    assert len(recording([(1, {})], cut='{"type": "sam').samples) == 1


def test_a_broken_line_in_the_middle_is_an_error() -> None:
    with pytest.raises(ValueError, match="line 1 is not JSON"):
        read_recording(["{", "{}"])


def test_without_a_header_it_is_no_recording() -> None:
    with pytest.raises(ValueError, match="no header"):
        read_recording([])


def test_times_are_put_on_the_controllers_clock() -> None:
    assert recording([(1, {}), (2, {})], offset=5.0).samples[0].t == 996.0


def test_a_clock_that_was_set_does_not_bend_the_series() -> None:
    lines = [
        '{"type":"header","host":"h","version":2,"interval":1,"cpus":1,"clock_ticks":100,"pid":1}',
        *(
            json.dumps(
                {
                    "type": "sample",
                    "mono": mono,
                    "wall": wall,
                    "took": 0,
                    "node": {"cpu": [0] * 8},
                    "containers": {},
                }
            )
            for mono, wall in [(1, 1001), (2, 1002), (3, 1003), (4, 1504)]
        ),
    ]
    read = read_recording(lines)
    assert [sample.t for sample in read.samples] == [1001, 1002, 1003, 1004]
    assert read.clock_range == 500
    assert read.end is None


def test_cpu_is_the_difference_of_the_counter() -> None:
    read = recording([(0, {"p/a": 1_000_000}), (1, {"p/a": 1_500_000}), (2, {"p/a": 2_500_000})])
    used = cpu_seconds([read], ["p/a"], Window(at(0), at(2)))
    assert (used.value, used.bound) == (1.5, 0.0)


def test_between_samples_the_counter_is_interpolated_and_the_error_bounded() -> None:
    read = recording([(0, {"p/a": 0}), (1, {"p/a": 1_000_000}), (2, {"p/a": 1_000_000})])
    used = cpu_seconds([read], ["p/a"], Window(at(0.25), at(2)))
    assert used.value == pytest.approx(0.75)
    assert used.bound == pytest.approx(0.75)  # it may all have been used before 0.25, or all after


def test_a_container_that_appears_starts_from_nothing() -> None:
    read = recording([(0, {}), (1, {}), (2, {"p/a": 300_000}), (3, {"p/a": 700_000})])
    (life,) = lives(read, "p/a")
    assert (life.born, life.t, life.usec) == (True, (at(1), at(2), at(3)), (0, 300_000, 700_000))
    assert cpu_seconds([read], ["p/a"], Window(at(0), at(3))).value == pytest.approx(0.7)


def test_what_a_container_had_used_before_the_recording_does_not_count() -> None:
    read = recording([(0, {"p/a": 9_000_000}), (1, {"p/a": 9_100_000})])
    assert cpu_seconds([read], ["p/a"], Window(at(0), at(1))).value == pytest.approx(0.1)


def test_a_vanished_container_keeps_what_its_parent_counted() -> None:
    read = recording([(0, {"p/a": 0}), (1, {"p/a": 400_000}), (2, {}), (5, {})], [(2, "p/a", 50_000)])
    (life,) = lives(read, "p/a")
    assert life.vanished
    used = cpu_seconds([read], ["p/a"], Window(at(0), at(5)))
    assert (used.value, used.bound) == (pytest.approx(0.45), 0.0)


def test_an_unknown_end_widens_the_bound_by_interval_times_cpus() -> None:
    read = recording([(0, {"p/a": 0}), (1, {"p/a": 400_000}), (2, {}), (5, {})], [(2, "p/a", None)])
    used = cpu_seconds([read], ["p/a"], Window(at(0), at(5)))
    assert (used.value, used.bound) == (pytest.approx(0.4), 2.0)


def test_an_unknown_end_is_unknown_also_when_nothing_was_recorded_after_it() -> None:
    read = recording([(0, {"p/a": 0}), (1, {"p/a": 400_000})], [(2, "p/a", None)])
    used = cpu_seconds([read], ["p/a"], Window(at(0), at(2)))
    assert (used.value, used.bound) == (pytest.approx(0.4), 2.0)


def test_a_nodes_own_cpu_is_counted_over_all_nodes_or_not_at_all() -> None:
    samples = [(0, {}), (1, {}), (2, {})]
    first = recording(samples, own={0: 0, 1: 300_000, 2: 500_000})
    other = recording(samples, own={0: 100_000, 1: 100_000, 2: 200_000}, host="worker2")
    used = node_seconds([first, other], Window(at(0.5), at(2)))
    assert (used.value, used.bound) == (pytest.approx(0.35 + 0.1), pytest.approx(0.15))
    assert "not recorded throughout" in str(node_seconds([first, other], Window(at(1), at(3))).reason)
    silent = recording(samples, host="worker3")
    assert "worker3 does not tell" in str(node_seconds([first, silent], Window(at(0), at(1))).reason)


def test_a_counter_that_fell_is_a_new_life() -> None:
    read = recording([(0, {"p/a": 0}), (1, {"p/a": 900_000}), (2, {"p/a": 100_000}), (3, {"p/a": 200_000})])
    first, second = lives(read, "p/a")
    assert (first.usec[-1], second.usec) == (900_000, (0, 100_000, 200_000))
    used = cpu_seconds([read], ["p/a"], Window(at(0), at(3)))
    assert used.value == pytest.approx(1.1)
    assert used.bound == 2.0  # what the first used at its end was seen by nobody


def test_vanished_and_made_again_is_two_lives() -> None:
    read = recording(
        [(0, {"p/a": 0}), (1, {"p/a": 100_000}), (2, {}), (3, {"p/a": 50_000})], [(2, "p/a", 10_000)]
    )
    assert [life.usec for life in lives(read, "p/a")] == [(0, 100_000, 110_000), (0, 50_000)]


def test_source_and_target_add_up() -> None:
    source = recording([(0, {"p/a": 0}), (1, {"p/a": 500_000}), (2, {}), (3, {})], [(2, "p/a", 0)])
    target = recording([(0, {}), (1, {}), (2, {"p/a": 200_000}), (3, {"p/a": 300_000})], host="worker2")
    assert cpu_seconds([source, target], ["p/a"], Window(at(0), at(3))).value == pytest.approx(0.8)


def test_a_window_that_was_not_recorded_has_a_reason_and_no_value() -> None:
    read = recording([(10, {"p/a": 0}), (11, {"p/a": 1})])
    before = cpu_seconds([read], ["p/a"], Window(at(0), at(11)))
    after = cpu_seconds([read], ["p/a"], Window(at(10), at(30)))
    assert (before.value, after.value) == (None, None)
    assert before.reason == "worker1 was recorded only 10.00 s after the window began"
    assert after.reason == "the recording of worker1 ends 19.00 s before the window"


def test_parts_of_a_window_add_up_to_the_whole() -> None:
    read = recording([(t, {"p/a": 100_000 * t * t}) for t in range(20)])
    edges = [at(0.3 + 1.7 * i) for i in range(11)]
    parts = millicores([read], ["p/a"], edges)
    whole = cpu_seconds([read], ["p/a"], Window(edges[0], edges[-1])).value
    assert sum(part * 1.7 / 1000 for part in parts) == pytest.approx(whole)


def test_working_set_is_memory_without_inactive_file_and_never_negative() -> None:
    assert Counters(0, memory=100, inactive_file=30).working_set == 70
    assert Counters(0, memory=20, inactive_file=30).working_set == 0
    assert Counters(0, memory=20).working_set is None


def test_memory_is_the_sum_of_the_latest_samples() -> None:
    one = recording(
        [(0, {"p/a": {"cpu_usec": 0, "memory": 10}, "p/b": {"cpu_usec": 0, "memory": 5}}), (1, {})]
    )
    two = recording([(0, {}), (1, {"p/a": {"cpu_usec": 0, "memory": 7}})], host="worker2")
    assert memory_at([one, two], ["p/a", "p/b"], at(0.9)) == 15
    assert memory_at([one, two], ["p/a", "p/b"], at(1.0)) == 7
    assert memory_at([one, two], ["p/a"], at(-1)) is None
    assert memory_at([one, two], ["p/a"], at(99)) is None
    assert memory_at([one], ["p/a"], at(0), "anon") is None
    assert memory_at([one, recording([(9, {})], host="late")], ["p/a"], at(0)) is None
    assert memory_at([], ["p/a"], at(0)) is None


def test_curves_break_where_a_container_vanished() -> None:
    held = {"cpu_usec": 0, "memory": 10}
    read = recording(
        [(0, {"p/a": held}), (1, {"p/a": {**held, "cpu_usec": 500_000}}), (2, {})], [(2, "p/a", 0)]
    )
    assert memory_curve(read, "p/a") == [(at(0), 10), (at(1), 10), (at(2), None)]


def test_gaps_are_found() -> None:
    assert gaps(recording([(0, {}), (1, {}), (4, {}), (5, {})])) == [Window(at(1), at(4))]


def test_counters_rise_only_within_the_window_and_new_ones_from_zero() -> None:
    def kills(n: int) -> dict[str, Any]:
        return {"p/a": {"cpu_usec": 0, "oom_kills": n}}

    read = recording([(0, kills(3)), (1, kills(4)), (2, {}), (3, kills(2)), (4, kills(2))])
    assert increases([read], ["p/a"], "oom_kills", Window(at(0), at(4))) == 3
    assert increases([read], ["p/a"], "oom_kills", Window(at(3.5), at(4))) == 0
    assert increases([read], ["p/a"], "throttled_usec", Window(at(0), at(4))) is None


def test_a_sample_that_does_not_say_hides_no_rise() -> None:
    def kills(n: int | None) -> dict[str, Any]:
        return {"p/a": {"cpu_usec": 0, "oom_kills": n}}

    read = recording([(0, kills(None)), (1, kills(3)), (2, kills(None)), (3, kills(5)), (4, kills(None))])
    assert increases([read], ["p/a"], "oom_kills", Window(at(0), at(4))) == 2
    assert increases([read], ["p/b"], "oom_kills", Window(at(0), at(4))) == 0


def test_the_sources_samples_sum_containers_in_millicores_and_mebibytes() -> None:
    read = recording(
        [
            (t, {"p/a": {"cpu_usec": 500_000 * t, "memory": 10 * MIB}, "p/b": {"cpu_usec": 250_000 * t, "memory": 2 * MIB}})
            for t in range(21)
        ]
    )  # fmt: skip
    window = Window(at(0), at(20))
    assert source_cpu_samples([read], ["p/a", "p/b"], window) == pytest.approx([750.0] * 20)
    assert source_memory_samples([read], ["p/a", "p/b"], window) == pytest.approx([12.0] * 20)


def flags(
    recordings: list[Recording], window: Window, thresholds: Thresholds | None = None
) -> dict[str, Any]:
    return {flag.name: flag for flag in noise(recordings, ["p/a"], window, thresholds)}


def test_noise_shares_are_of_all_cpu_time() -> None:
    quota = {"cpu_usec": 0, "throttled_usec": 0, "oom_kills": 0}
    used = {"cpu_usec": 3_000_000, "throttled_usec": 2_000_000, "oom_kills": 1}
    # 10 s of 2 CPUs are 2000 ticks: 400 user, 100 system, 60 stolen, the rest idle; the container used 3 s.
    spent = {0.0: [0] * 8, 10.0: [400, 0, 100, 1440, 0, 0, 0, 60]}
    read = recording([(0.0, {"p/a": quota}), (10.0, {"p/a": used})], ticks=spent, late=1)
    found = flags([read], Window(at(0), at(10)))
    assert found["steal"].value == pytest.approx(0.03)
    assert found["foreign"].value == pytest.approx((5.0 - 3.0) / 20)
    assert found["throttled"].value == pytest.approx(0.2)
    assert found["late"].value == 0.5
    assert {name for name, flag in found.items() if flag.raised} == {"steal", "late", "oom"}
    assert flags([read], Window(at(0), at(10)), Thresholds(throttled=0.1, steal=None))["throttled"].raised


def test_nodes_of_one_kernel_are_one_machine() -> None:
    spent = {0.0: [0] * 8, 10.0: [1000, 0, 0, 1000, 0, 0, 0, 0]}

    def node(host: str, wall: float = 1000.0) -> Recording:
        samples = [(0.0, {"p/a": 0}), (10.0, {"p/a": 5_000_000})]
        return recording(samples, ticks=spent, host=host, wall=wall)

    window = Window(at(0), at(10))
    assert flags([node("a"), node("b")], window)["foreign"].value == pytest.approx(0.0)
    assert flags([node("a"), node("b", wall=1000.5)], window)["foreign"].value == pytest.approx(0.25)


def test_what_runs_in_the_nodes_of_one_kernel_is_known() -> None:
    spent = {0.0: [0] * 8, 10.0: [1000, 0, 0, 1000, 0, 0, 0, 0]}

    def node(host: str, seconds: int) -> Recording:
        own = {0.0: 7_000_000, 10.0: 7_000_000 + seconds * 1_000_000}
        return recording([(0.0, {"p/a": 0}), (10.0, {"p/a": 1_000_000})], ticks=spent, host=host, own=own)

    found = flags([node("a", 3), node("b", 5)], Window(at(0), at(10)))
    assert found["foreign"].value == pytest.approx((10.0 - 8.0) / 20)


def test_noise_that_was_not_recorded_is_unknown_and_not_raised() -> None:
    found = flags([recording([(0, {})])], Window(at(50), at(60)))
    assert found["steal"].value is None
    assert found["steal"].reason == "not recorded in this window"
    assert not found["steal"].raised
