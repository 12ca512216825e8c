"""A whole run: playbooks in, a folder with everything that happened out."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

from labctl import __version__, vault
from labctl.engine import play as plays
from labctl.engine.interrupt import Stop
from labctl.engine.journal import Journal, make_run_dir
from labctl.engine.options import RunOptions, RunResult
from labctl.engine.resume import History, Past
from labctl.engine.state import Run
from labctl.errors import Interrupted, LabctlError, PlaybookError
from labctl.events import Bus, Kind
from labctl.inventory import Inventory
from labctl.monitor import CostMeter
from labctl.playbook import Playbook
from labctl.playbook.loader import shared_templar
from labctl.ssh import Connections
from labctl.task_types import Registry

_CLEAN_UP = 20.0  # seconds tasks in flight have, after an interrupt, to put back what they were changing


def run(
    playbooks: Playbook | Sequence[Playbook],
    inventory: Inventory,
    options: RunOptions,
    bus: Bus,
    *,
    registry: Registry,
    connections: Connections | None = None,
    inventory_sources: Sequence[str] = (),
    stop: Stop | None = None,
) -> RunResult:
    """Run playbooks one after the other against an inventory.

    Everything that happens goes to `bus`, and to a new folder below `options.root`. A fault of playbook,
    inventory or variables that ends the whole run is raised, after RUN_END. Signals are caught when this
    is the main thread; `stop` lets a caller end the run otherwise."""
    books = [playbooks] if isinstance(playbooks, Playbook) else list(playbooks)
    all_plays = [play for book in books for play in book.plays]
    past = Past(options.resume, all_plays)
    folder = make_run_dir(options.root, books[0].path.name)
    meter = CostMeter()
    journal = Journal(folder)
    bus.mask = vault.masked
    bus.subscribe(journal)
    shared = Run(
        inventory,
        options,
        bus,
        folder,
        registry=registry,
        templar=shared_templar(),
        connections=connections or Connections(),
        stop=stop or Stop(),
    )
    shared.inventory_sources = tuple(inventory_sources)
    shared.history = History(folder, past, all_plays)
    session = _Session(shared, journal, meter)
    names = [str(book.path) for book in books]
    journal.start(
        argv=list(options.argv),
        playbooks=names,
        inventory=list(inventory_sources),
        check=options.check,
        limit=options.limit,
        tags=sorted(options.tags),
        skip_tags=sorted(options.skip_tags),
        start_at_task=options.start_at_task,
        resumes=str(options.resume) if options.resume else None,
        **({"shard": options.shard.record()} if options.shard else {}),
    )
    bus.emit(
        Kind.RUN_START,
        playbook=", ".join(names),
        inventory=list(inventory_sources),
        run_dir=str(folder),
        argv=list(options.argv),
        check=options.check,
        labctl=__version__,
    )
    shared.templar.tell(
        lambda message, mark: bus.emit(Kind.WARNING, message=message, mark=str(mark) if mark else None)
    )
    if options.resume:
        done = past.summary() or "no host had done anything"
        bus.emit(Kind.MESSAGE, message=f"going on from {options.resume.name}: {done}")
    with shared.stop.signals():
        return session.run(books)


class _Session:
    """From the first play to the last line of run.json, whatever happens in between."""

    def __init__(self, shared: Run, journal: Journal, meter: CostMeter) -> None:
        self.shared = shared
        self.journal = journal
        self.meter = meter
        self.began = time.monotonic()

    def run(self, books: Sequence[Playbook]) -> RunResult:
        shared = self.shared
        try:
            for book in books:
                for message, mark in book.warnings:
                    self._warn(message, mark)
            for message, mark in shared.inventory.warnings:
                self._warn(message, mark)
            for play in [play for book in books for play in book.plays]:
                if not plays.run(shared, play):
                    break
            self._check_start(books)
            if jobs := shared.jobs.running():
                shared.bus.emit(Kind.MESSAGE, message=f"waiting for what still runs: {', '.join(jobs)}")
                shared.jobs.wait(shared.stop.wait)
        except Interrupted as error:
            shared.bus.emit(Kind.MESSAGE, message=f"{error.message}: ending what is under way on the nodes")
            return self._end(130, interrupted=True)
        except LabctlError as error:
            self._end(error.exit_code, interrupted=shared.stop.asked, error=error.report())
            raise
        except BaseException:
            self._end(1, interrupted=True, error="an unexpected fault of labctl")
            raise
        return self._end(_exit_code(shared), interrupted=False)

    def _warn(self, message: str, mark: Any) -> None:
        self.shared.bus.emit(Kind.WARNING, message=message, mark=str(mark) if mark else None)

    def _check_start(self, books: Sequence[Playbook]) -> None:
        wanted = self.shared.options.start_at_task
        if wanted is not None and not self.shared.started:
            raise PlaybookError(f"no task is called '{wanted}' (--start-at-task)", hint=f"in {books[0].path}")

    def _end(self, code: int, *, interrupted: bool, error: str | None = None) -> RunResult:
        shared = self.shared
        if interrupted:
            # Their agents end what they run; the tasks in flight see it and put back what they can.
            for name in shared.calls.hosts():
                shared.connections.drop(name)
            if not (shared.pool.drain(_CLEAN_UP) and shared.jobs.drain(_CLEAN_UP)):
                shared.bus.emit(Kind.WARNING, message="a task did not end in time and was left", mark=None)
        undone = list(shared.undo())
        shared.connections.close()
        shared.pool.close()
        shared.watchdog.close()
        seconds = time.monotonic() - self.began
        stats = shared.stats()
        custom: dict[str, Any] = shared.shared.get("set_stats") or {}
        shared.bus.emit(Kind.STATS, hosts=stats, custom=custom)
        self.meter.close()
        cost = self.meter.report()
        tail: dict[str, Any] = {
            "exit_code": code,
            "seconds": round(seconds, 3),
            "undone": undone,
            "self": cost,
        }
        shared.bus.emit(Kind.RUN_END, run_dir=str(shared.run_dir), **tail)
        figures = {"custom_stats": vault.hide(custom)} if custom else {}
        self.journal.end({**tail, "recap": stats, **figures, "error": vault.hide(error)})
        self.journal.close()
        shared.history.progress.close()
        return RunResult(code, shared.run_dir, seconds, stats, tuple(undone))


def _exit_code(shared: Run) -> int:
    """0; 4 when a host could not be reached; else what the failures agree on, or 2. 3: a dry run in which
    nothing failed and something would change, or may."""
    codes = {code for host in shared.hosts.values() for code in host.codes}
    if not codes and any(host.failed for host in shared.hosts.values()):
        return 2  # hosts that a failure of another has taken along, rescued though that one was
    if not codes:
        moved = any(host.stats["changed"] or host.may_change for host in shared.hosts.values())
        return 3 if shared.options.check and moved else 0
    if 4 in codes:
        return 4
    return codes.pop() if len(codes) == 1 else 2
