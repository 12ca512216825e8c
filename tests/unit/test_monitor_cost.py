"""What a run says of the controller's own processes."""

import subprocess
import time

import pytest

from labctl.monitor import CostMeter, cost


@pytest.fixture
def meter(monkeypatch):
    monkeypatch.setattr(cost, "_INTERVAL", 0.01)
    meter = CostMeter()
    yield meter
    meter.close()


def seen(meter: CostMeter, number: int) -> bool:
    until = time.monotonic() + 10
    while meter.report()["peak_children"] != number and time.monotonic() < until:
        time.sleep(0.01)
    return meter.report()["peak_children"] == number


def test_children_and_theirs_are_counted(meter):
    with subprocess.Popen(
        ["sh", "-c", "sleep 30 & echo; wait"], stdout=subprocess.PIPE, process_group=0
    ) as shell:
        shell.stdout.readline()
        try:
            assert seen(meter, 2)
        finally:
            subprocess.run(["pkill", "-g", str(shell.pid)], check=True)


def test_without_children_there_is_nothing_to_count(meter):
    assert seen(meter, 0)
