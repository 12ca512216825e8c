"""The run's folder: what each host printed, however many hosts there are."""

from __future__ import annotations

import os

from labctl.engine.journal import Journal
from labctl.events import Event, Kind


def spoken(journal: Journal, host: str, text: str, task: str = "t") -> None:
    journal(Event(Kind.OUTPUT, {"stream": "stdout", "text": text}, "p", task, host))


def log_of(folder, name: str) -> list[str]:
    lines = (folder / f"logs/{name}.log").read_text(encoding="utf-8", errors="surrogateescape").splitlines()
    return [line.split()[-1] if line.startswith("---") else line for line in lines]


def test_a_log_is_added_to_and_no_file_is_kept_open_for_a_host(tmp_path):
    (tmp_path / "logs").mkdir()
    journal = Journal(tmp_path)
    journal.flush()
    before = len(os.listdir("/proc/self/fd"))
    for turn in ("one", "two"):
        for number in range(50):
            spoken(journal, f"h{number}", f"{turn}\n", turn)
        journal.flush()
        assert len(os.listdir("/proc/self/fd")) == before
    assert log_of(tmp_path, "h0") == log_of(tmp_path, "h49") == ["one", "one", "two", "two"]
    journal.close()


def test_what_was_not_flushed_is_there_after_the_end(tmp_path):
    (tmp_path / "logs").mkdir()
    journal = Journal(tmp_path)
    journal(Event(Kind.RESULT, {"result": {"stdout": "out", "stderr": "\udcff"}}, "p", "t", "a/b"))
    journal.close()
    assert log_of(tmp_path, "a_b") == ["t", "out", "\udcff"]
