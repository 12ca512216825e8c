"""What a run says of the controller's own processes. In processes of their own: a test run has children of its own."""

import subprocess
import sys

import pytest

SCRIPT = """
import os, signal, subprocess, sys, time
from labctl.monitor import CostMeter, cost
cost._INTERVAL = 0.01
meter, wanted = CostMeter(), int(sys.argv[1])
shell = subprocess.Popen(["sh", "-c", "sleep 30 & echo; wait"], stdout=subprocess.PIPE, process_group=0) if wanted else None
if shell:
    shell.stdout.readline()
until = time.monotonic() + 10
while meter.report()["peak_children"] != wanted and time.monotonic() < until:
    time.sleep(0.01)
print(meter.report()["peak_children"])
if shell:
    os.killpg(shell.pid, signal.SIGKILL)
"""


@pytest.mark.parametrize("wanted", [0, 2])
def test_children_and_theirs_are_counted(wanted):
    done = subprocess.run(
        [sys.executable, "-P", "-c", SCRIPT, str(wanted)], capture_output=True, text=True, check=False
    )
    assert (done.stdout, done.stderr) == (f"{wanted}\n", "")
