"""`benchmarks/scale.py`: its work is really done, and its arithmetic is right."""

from __future__ import annotations

import json

import pytest

from benchmarks import scale


def test_a_hundred_hosts_do_their_tasks(tmp_path):
    done = scale._once(2 * scale.RACK, 5, 10, tmp_path / "run")
    assert done.cpu > 0
    run = (tmp_path / "run/runs/latest").resolve()
    recap = json.loads((run / "run.json").read_text())["recap"]
    assert len(recap) == 100
    assert {counts["ok"] for counts in recap.values()} == {5}
    assert done.written > (run / "events.jsonl").stat().st_size
    assert "up 4 weeks" in (run / "logs/host00101.log").read_text()


def point(hosts: int, cpu: float) -> scale.Point:
    return scale.Point(hosts, 100, cpu, cpu, 0.1, 50 << 20, (50 << 20) + hosts * 10_240, 0)


def test_growth_is_told_from_linear():
    said, linear = scale.summary([point(n, n / 20) for n in scale.SIZES])
    assert linear
    assert "50.00 ms for each host (+ 0.00 s), R² 1.0000, grows with hosts^1.00" in said
    assert "10.0 KiB for each host" in said
    said, linear = scale.summary([point(n, n * n / 1e6) for n in scale.SIZES])
    assert not linear
    assert "hosts^2.00" in said


def test_a_point_in_its_units():
    one = point(1000, 50.0)
    assert one.per_task == pytest.approx(500)
    assert one.per_host == pytest.approx(10)
    assert "| 1000 | 50.0 | 500 | 50.0 | 60 | 10.0 |" in scale.table([one])
