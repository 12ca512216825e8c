"""The trainer is run as a process, as its container runs it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("numpy")
PROGRAMS = Path(__file__).resolve().parents[2] / "workloads" / "training-pod"
Start = Callable[..., "Trainer"]


class Trainer:
    def __init__(self, folder: Path, **env: object) -> None:
        for name in ("state", "pod"):
            (folder / name).mkdir(parents=True, exist_ok=True)
        self.folder = folder
        settings = {"STATE_DIR": folder / "state", "POD_DIR": folder / "pod", "TRAINER_BATCH": 64, **env}
        self.process = subprocess.Popen(
            [sys.executable, "-u", str(PROGRAMS / "trainer.py")],
            env={**os.environ, **{key: str(value) for key, value in settings.items()}},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.lines: list[dict[str, Any]] = []

    def until(self, event: str, step: int = 0) -> dict[str, Any]:
        assert self.process.stdout
        for text in self.process.stdout:
            self.lines.append(json.loads(text))
            if self.lines[-1]["event"] == event and self.lines[-1].get("step", 0) >= step:
                return self.lines[-1]
        raise AssertionError(f"ended with {self.process.wait()} before '{event}': {self.lines[-1:]}")

    def end(self) -> int:
        out, _ = self.process.communicate(timeout=60)
        self.lines += [json.loads(text) for text in out.splitlines()]
        return self.process.returncode

    def signal(self, number: int) -> None:
        self.process.send_signal(number)

    @property
    def steps(self) -> list[dict[str, Any]]:
        return [line for line in self.lines if line["event"] == "step"]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    started: list[Trainer] = []

    def make(name: str = "a", **env: object) -> Trainer:
        started.append(Trainer(tmp_path / name, **env))
        return started[-1]

    yield make
    for trainer in started:
        trainer.process.kill()
        trainer.process.communicate()


def test_it_learns_and_its_states_are_a_chain(start: Start) -> None:
    trainer = start(TRAINER_STEPS=60, TRAINER_BATCH=1024)
    assert trainer.end() == 0
    begin, steps = trainer.lines[0], trainer.steps
    assert begin["event"] == "start"
    assert [line["step"] for line in steps] == list(range(1, 61))
    hashes = [begin["sha256"], *(line["to"] for line in steps)]
    assert [line["from"] for line in steps] == hashes[:-1]
    assert len(set(hashes)) == 61
    assert sum(s["loss"] for s in steps[-10:]) < 0.7 * sum(s["loss"] for s in steps[:10])
    published = json.loads((trainer.folder / "pod" / "progress.json").read_text())
    assert (published["step"], published["to"]) == (60, hashes[-1])


def test_the_same_seed_gives_the_same_training_and_another_seed_another(start: Start) -> None:
    same, again, other = (
        start("a", TRAINER_STEPS=5),
        start("b", TRAINER_STEPS=5),
        start("c", TRAINER_STEPS=5, TRAINER_SEED=2),
    )
    assert [trainer.end() for trainer in (same, again, other)] == [0, 0, 0]
    assert [s["to"] for s in same.steps] == [s["to"] for s in again.steps]
    assert {s["to"] for s in same.steps}.isdisjoint(s["to"] for s in other.steps)


def test_saved_held_and_resumed_elsewhere_it_is_the_training_that_never_moved(start: Start) -> None:
    source = start("a")
    source.until("step", 7)
    (source.folder / "state" / "save.request").write_text('{"request": "m-17"}')
    source.signal(signal.SIGUSR1)
    saved, held = source.until("save"), source.until("hold")
    marker = json.loads((source.folder / "state" / "saved.json").read_text())
    assert marker["request"] == saved["request"] == "m-17"
    assert (
        (marker["sha256"], marker["step"]) == (saved["sha256"], saved["step"]) == (held["to"], held["step"])
    )
    assert (source.folder / "state" / "trainer.state").stat().st_size == saved["bytes"]
    assert json.loads((source.folder / "pod" / "progress.json").read_text())["held"] is True

    source.signal(signal.SIGTERM)
    assert source.end() == 143, "work that is not done has not completed"
    assert source.lines[-1]["event"] == "stop"
    assert source.lines[-1]["step"] == saved["step"], "nothing was done between the save and the end"

    target = start("a", RESUME=1, TRAINER_STEPS=saved["step"] + 5)
    assert target.end() == 0
    assert target.lines[0]["event"] == "resume"
    assert (target.lines[0]["step"], target.lines[0]["sha256"]) == (saved["step"], saved["sha256"])
    assert target.lines[0]["boot"] != source.lines[0]["boot"]

    unmoved = start("b", TRAINER_STEPS=saved["step"] + 5)
    assert unmoved.end() == 0
    assert [s["to"] for s in source.steps + target.steps] == [s["to"] for s in unmoved.steps]


def test_a_rolled_back_migration_goes_on_where_it_held(start: Start) -> None:
    trainer = start()
    trainer.until("step", 3)
    trainer.signal(signal.SIGUSR1)
    held = trainer.until("hold")
    trainer.signal(signal.SIGUSR2)
    following = trainer.until("step")
    assert (following["step"], following["from"]) == (held["step"] + 1, held["to"])
    trainer.signal(signal.SIGUSR1)
    assert trainer.until("save")["n"] == 2


def test_periodic_saves_do_not_hold(start: Start) -> None:
    trainer = start(SAVE_EVERY=4, TRAINER_STEPS=10)
    assert trainer.end() == 0
    assert [line["step"] for line in trainer.lines if line["event"] == "save"] == [4, 8]
    resumed = start(RESUME="auto", TRAINER_STEPS=10)
    assert resumed.end() == 0
    assert resumed.lines[0]["step"] == 8
    assert [s["to"] for s in resumed.steps] == [s["to"] for s in trainer.steps[8:]]


def test_without_a_save_auto_starts_and_a_demanded_resume_is_an_error(start: Start) -> None:
    trainer = start("a", RESUME="auto", TRAINER_STEPS=1)
    assert trainer.end() == 0
    assert trainer.lines[0]["event"] == "start"
    refused = start("b", RESUME=1)
    assert refused.end() == 3
    assert "no saved state" in refused.lines[-1]["error"]


@pytest.mark.parametrize("damage", ["cut", "flipped", "empty", "foreign"])
@pytest.mark.parametrize("resume", ["1", "auto"])
def test_a_damaged_state_is_an_error_and_nothing_is_invented(start: Start, damage: str, resume: str) -> None:
    trainer = start(SAVE_EVERY=2, TRAINER_STEPS=2)
    assert trainer.end() == 0
    path = trainer.folder / "state" / "trainer.state"
    data = bytearray(path.read_bytes())
    if damage == "flipped":
        data[len(data) // 2] ^= 1
    path.write_bytes({"cut": data[:-4], "flipped": data, "empty": b"", "foreign": b'{"magic": 1}\n'}[damage])
    refused = start(RESUME=resume)
    assert refused.end() == 3
    assert refused.lines[-1]["event"] == "error"
    assert str(path) in refused.lines[-1]["error"]
    assert not refused.steps


def test_killed_at_any_moment_of_saving_the_last_whole_state_remains(start: Start) -> None:
    for attempt in range(4):
        trainer = start(SAVE_EVERY=1, RESUME="auto")
        trainer.until("save")
        time.sleep(0.01 * attempt)  # another moment each time, not a wait for something
        trainer.signal(signal.SIGKILL)
        trainer.end()
        saved = [line for line in trainer.lines if line["event"] == "save"][-1]
        resumed = start(RESUME=1, TRAINER_STEPS=1)
        assert resumed.end() == 0
        assert resumed.lines[0]["event"] == "resume"
        # The kill may have come between the rename and the line that tells of it.
        assert resumed.lines[0]["step"] in (saved["step"], saved["step"] + 1)


def test_a_volume_without_room_keeps_the_old_state_and_training_goes_on(start: Start, tmp_path: Path) -> None:
    volume = tmp_path / "a" / "state"
    volume.mkdir(parents=True)
    if subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=700k", "none", str(volume)], check=False, capture_output=True
    ).returncode:
        pytest.skip("needs the right to mount a tmpfs")
    try:
        trainer = start(SAVE_EVERY=0)
        trainer.until("step", 2)
        trainer.signal(signal.SIGUSR1)
        first = trainer.until("save")
        trainer.signal(signal.SIGUSR2)
        trainer.until("step")
        trainer.signal(signal.SIGUSR1)
        failed = trainer.until("save-failed")
        assert "No space left" in failed["error"]
        assert trainer.until("step")["step"] == failed["step"] + 1, "it does not hold on a state nobody has"
        assert json.loads((trainer.folder / "pod" / "saved.json").read_text())["error"] == failed["error"]
        trainer.signal(signal.SIGKILL)
        trainer.end()
        assert sorted(p.name for p in volume.iterdir() if "tmp" in p.name) == []
        resumed = start(RESUME=1, TRAINER_STEPS=1)
        resumed.end()
        assert resumed.lines[0]["sha256"] == first["sha256"]
    finally:
        subprocess.run(["umount", "-l", str(volume)], check=True)


def test_the_answer_to_a_request_outlives_saves_nobody_asked_for(start: Start, tmp_path: Path) -> None:
    (tmp_path / "a" / "state" / "trainer.state.tmp").mkdir(parents=True)  # it cannot be saved
    trainer = start(SAVE_EVERY=1)
    trainer.until("step", 2)
    (trainer.folder / "state" / "save.request").write_text('{"request": "m-17"}')
    trainer.signal(signal.SIGUSR1)
    answered = next(line for line in iter(lambda: trainer.until("save-failed"), None) if line["request"])
    trainer.until("save-failed")
    trainer.until("save-failed")
    for folder in ("state", "pod"):
        told = json.loads((trainer.folder / folder / "saved.json").read_text())
        assert (told["request"], told["n"], told["error"]) == ("m-17", answered["n"], answered["error"])


@pytest.mark.parametrize(("name", "value"), [("TRAINER_BATCH", "many"), ("TRAINER_ENGINE", "abacus")])
def test_nonsense_in_the_environment_is_said(start: Start, name: str, value: str) -> None:
    trainer = start(**{name: value})
    assert trainer.end() == 2
    assert value in trainer.lines[-1]["error"]
