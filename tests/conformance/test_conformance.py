"""Every case, run by ansible-core and by labctl in this session: equal tasks, outcomes and returned values."""

from __future__ import annotations

import difflib

import pytest

from tests.conformance.cases import Bundle, Case, load
from tests.conformance.compare import lines, mispredicted, of_case
from tests.conformance.conftest import Outcome, Sessions

CASES = list(load())
pytestmark = pytest.mark.timeout(1800)  # the first case waits for the whole bundle, and for those before it


def _same(case: Case, theirs: Outcome, ours: Outcome, *, shared: bool) -> None:
    expected, found = theirs.run, ours.run
    wanted = of_case(expected.records, case, theirs.folder, shared=shared)
    got = of_case(found.records, case, ours.folder, shared=shared)
    if not wanted and shared:
        pytest.fail(f"ansible-core did nothing here:\n{expected.output[-3000:]}", pytrace=False)
    difference = "\n".join(
        difflib.unified_diff(lines(wanted), lines(got), "ansible-core", "labctl", lineterm="", n=4)
    )
    if not got or not shared:
        difference += f"\nlabctl printed:\n{found.output[-2000:]}" if difference else ""
    if difference:
        pytest.fail(f"\n{difference}", pytrace=False)
    if found.kind != expected.kind:
        said = f"{found.output[-2000:]}\n--- ansible-core ({expected.kind}):\n{expected.output[-2000:]}"
        pytest.fail(f"--- labctl ({found.kind}):\n{said}", pytrace=False)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_same_as_ansible(case: Case, bundle_of: dict[Case, Bundle], sessions: Sessions) -> None:
    bundle = bundle_of[case]
    ours, theirs = sessions.labctl(bundle), sessions.oracle(bundle)
    _same(case, theirs, ours, shared=bundle.shared)
    if case.told.get("again"):
        changed = [
            f"{host}: {task['task']}"
            for host, tasks in of_case(ours.again.records, case, ours.folder, shared=bundle.shared).items()
            for task in tasks
            if task["status"] == "changed"
        ]
        assert not changed, f"the second run changed something: {changed}"
    if case.told.get("check"):
        dry = of_case(ours.check.records, case, ours.folder, shared=bundle.shared)
        assert dry, f"the dry run did nothing: {ours.check.output[-2000:]}"
        assert not mispredicted(dry, of_case(ours.run.records, case, ours.folder, shared=bundle.shared))


def test_there_are_enough_cases() -> None:
    assert len(CASES) >= 650
