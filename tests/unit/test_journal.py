"""The run's folder: what each host printed, however many hosts there are."""

from __future__ import annotations

import os
import subprocess

from labctl.engine.journal import Journal, commit
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


def git(folder, *words: str) -> str:
    command = ["git", "-C", str(folder), "-c", "user.name=n", "-c", "user.email=e@localhost", *words]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


def test_a_checkouts_commit_is_what_git_says(tmp_path):
    assert commit(tmp_path) is None
    git(tmp_path, "init", "-q")
    assert commit(tmp_path) is None
    for number in range(2):
        git(tmp_path, "commit", "-q", "--allow-empty", "-m", str(number))
        assert commit(tmp_path) == git(tmp_path, "rev-parse", "HEAD")
    git(tmp_path, "pack-refs", "--all")
    assert commit(tmp_path) == git(tmp_path, "rev-parse", "HEAD")
    git(tmp_path, "checkout", "-q", "HEAD~1")
    assert commit(tmp_path) == git(tmp_path, "rev-parse", "HEAD")
