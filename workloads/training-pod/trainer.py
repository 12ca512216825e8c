"""tensorflow-trainer: trains a model step by step, and can be stopped and continued without loss.

Signals: USR1 saves the whole state after the current step and holds; USR2 goes on; TERM stops.
Exit codes: 0 all steps done, 2 nonsense in the environment, 3 no usable state to resume from,
143 stopped by TERM (its work is not done, so it has not completed).

Environment: TRAINER_ENGINE numpy|tensorflow; TRAINER_SEED; TRAINER_BATCH rows per step (the work of a
step); TRAINER_STEPS (0: no end); SAVE_EVERY steps (0: never); RESUME 1 (must resume), auto (resumes when
a state is there) or 0; STATE_DIR; POD_DIR.

Files: STATE_DIR/trainer.state; STATE_DIR/saved.json and POD_DIR/saved.json, which tell how the save went
that USR1 asked for, with the text of STATE_DIR/save.request as its `request`; POD_DIR/progress.json.
"""

from __future__ import annotations

import os
import select
import signal
import sys
import time
from typing import Any

# Before numpy is imported: one thread, so that a step is the same sum in the same order everywhere.
for _variable in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(_variable, "1")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

from podfiles import POD_DIR, STATE_DIR, BOOT, number, read_json, say, write_json  # noqa: E402, I001


class Signals:
    """Signals as flags, read between two steps. Made before numpy is imported, which takes a while."""

    def __init__(self) -> None:
        self.save = self.hold = self.stop = False
        self._reader, writer = os.pipe()
        for end in (self._reader, writer):
            os.set_blocking(end, False)
        signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
        signal.signal(signal.SIGUSR1, self._on_save)
        signal.signal(signal.SIGUSR2, self._on_go_on)
        signal.signal(signal.SIGTERM, self._on_stop)

    def _on_save(self, *_: object) -> None:
        self.save = self.hold = True

    def _on_go_on(self, *_: object) -> None:
        self.hold = False

    def _on_stop(self, *_: object) -> None:
        self.stop = True

    def wait(self) -> None:
        """Until a signal comes, or came since the last wait."""
        select.select([self._reader], [], [])
        try:
            os.read(self._reader, 512)
        except BlockingIOError:
            pass


class Trainer:
    def __init__(self, signals: Signals) -> None:
        from state import State

        self.signals = signals
        self.saves = 0
        self.state_path = os.path.join(STATE_DIR, "trainer.state")
        engine = os.environ.get("TRAINER_ENGINE") or "numpy"
        if engine not in ("numpy", "tensorflow"):
            say("error", error="TRAINER_ENGINE must be numpy or tensorflow, not %r" % engine)
            sys.exit(2)
        seed, batch = number("TRAINER_SEED", 1), number("TRAINER_BATCH", 2560)
        resume = os.environ.get("RESUME") or "0"
        if resume == "1" or (resume == "auto" and os.path.exists(self.state_path)):
            self.state = State.load(self.state_path, engine)
            event = "resume"
        else:
            self.state = State.initial(seed, batch, engine)
            event = "start"
        digest = self.state.digest()
        say(event, step=self.state.step, sha256=digest, engine=engine, seed=self.state.seed, wall=time.time())
        self.publish(digest)

    def publish(self, digest: str, held: bool = False) -> None:
        write_json(
            os.path.join(POD_DIR, "progress.json"),
            {"step": self.state.step, "to": digest, "wall": time.time(), "boot": BOOT, "held": held},
        )

    def step(self) -> None:
        # Hashed again, not remembered: it shows that memory restored on another node is what it was.
        before = self.state.digest()
        loss = self.state.advance()
        after = self.state.digest()
        say("step", step=self.state.step, **{"from": before}, to=after, loss=round(loss, 6), wall=time.time())
        self.publish(after)

    def save(self, request: Any = None) -> dict[str, Any]:
        """How it went; with an `error` when the state could not be saved."""
        started = time.monotonic()
        self.saves += 1
        report = {"request": request, "n": self.saves, "step": self.state.step, "path": self.state_path}
        try:
            report["sha256"], report["bytes"], report["file_sha256"] = self.state.save(self.state_path)
        except OSError as error:
            report["error"] = str(error)
        report["seconds"] = round(time.monotonic() - started, 6)
        report["wall"] = time.time()
        say("save-failed" if "error" in report else "save", **report)
        return report

    def save_and_hold(self) -> None:
        self.signals.save = False
        report = self.save(self._request())
        self._answer(report)
        if "error" in report:
            self.signals.hold = False
            return
        digest = self.state.digest()
        self.publish(digest, held=True)
        say("hold", step=self.state.step, to=digest, wall=time.time())
        while self.signals.hold and not self.signals.stop:
            self.signals.wait()
            if self.signals.save:
                return
        if not self.signals.stop:
            say("go-on", step=self.state.step, wall=time.time())

    def _answer(self, report: dict[str, Any]) -> None:
        for folder, durable in ((STATE_DIR, True), (POD_DIR, False)):
            try:
                write_json(os.path.join(folder, "saved.json"), {**report, "boot": BOOT}, durable)
            except OSError as error:
                say("error", error="saved.json: %s" % error)

    def _request(self) -> Any:
        found = read_json(os.path.join(STATE_DIR, "save.request"))
        return found.get("request") if isinstance(found, dict) else found

    def run(self) -> int:
        last, every = number("TRAINER_STEPS", 0), number("SAVE_EVERY", 0)
        while not (last and self.state.step >= last):
            if self.signals.stop:
                say("stop", step=self.state.step, to=self.state.digest(), signal=15, wall=time.time())
                return 128 + signal.SIGTERM
            if self.signals.save:
                self.save_and_hold()
                continue
            self.step()
            if every and self.state.step % every == 0:
                self.save()
        say("stop", step=self.state.step, to=self.state.digest(), signal=None, wall=time.time())
        return 0


def main() -> int:
    signals = Signals()
    from state import DamagedState

    try:
        return Trainer(signals).run()
    except DamagedState as error:
        say("error", error=str(error), wall=time.time())
        return 3
    except OSError as error:
        say("error", error="%s: %s" % (type(error).__name__, error), wall=time.time())
        return 1


if __name__ == "__main__":
    sys.exit(main())
