"""Tasks under `async`: they start, and the play goes on or asks every `poll` seconds how they stand.

A job's file on its host (`~/.ansible_async/<jid>`, or below `ansible_async_dir`) tells how it stands, to
`async_status` in this run or a later one, and to Ansible's. The command of `command` and `shell` becomes a process
of its own on the host: it outlives connection, run and controller. Every other task type goes on in a thread of
this run, which waits for it before it ends.
"""

from __future__ import annotations

import os
import secrets
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import labctl.node
from labctl import jobs
from labctl.engine import driver, results
from labctl.engine.results import Result
from labctl.engine.session import SessionNode
from labctl.errors import Interrupted, LabctlError, TaskTimeout, Unreachable
from labctl.events import Status
from labctl.node.api import Completed, Node, Output
from labctl.records import dataclass, field
from labctl.task_types import Args, Job, TaskType

if TYPE_CHECKING:
    from labctl.engine.context import RunContext

POLL = 15.0  # seconds between two looks, where the task does not say
_GRACE = 5.0  # seconds past its limit in which a node must report that a job has ended
_LOOK = 0.05  # seconds between two looks at the run's own threads


@dataclass(frozen=True)
class Async:
    """`async` and `poll` of a task, in seconds; `poll` 0: start it and go on."""

    limit: float
    poll: float


class Jobs:
    """The jobs of a run that go on in its own threads."""

    def __init__(self) -> None:
        self._running: dict[str, str] = {}
        self._lock = threading.Lock()

    def begin(self, jid: str, what: str, work: Callable[[], None]) -> None:
        """Run `work` in a thread; `what` names the job for people."""

        def job() -> None:
            try:
                work()
            finally:
                with self._lock:
                    del self._running[jid]

        with self._lock:
            self._running[jid] = what
        threading.Thread(target=job, name=f"labctl-{jid}", daemon=True).start()

    def running(self) -> list[str]:
        """What goes on right now, in the order it began."""
        with self._lock:
            return list(self._running.values())

    def wait(self, pause: Callable[[float], None]) -> None:
        """Until none goes on; `pause` sleeps, and may raise to give up."""
        while self.running():
            pause(_LOOK)

    def drain(self, seconds: float) -> bool:
        """Wait that long for those that have been told to end; False when one has not."""
        until = time.monotonic() + seconds
        while self.running() and time.monotonic() < until:
            time.sleep(_LOOK)
        return not self.running()


def run(wanted: Async, task_type: TaskType, args: Args, ctx: RunContext, threads: Jobs) -> Result:
    """Start a task as a job; with a `poll` also wait for its result."""
    if task_type.on_controller:
        return results.failed(
            f"'{task_type.name}' does nothing on a host, so it cannot go on there: no async"
        )
    job = _Job(wanted, ctx)
    try:
        if task_type.detaches:
            return job.detached(task_type, args)
        return job.threaded(task_type, args, threads)
    except Interrupted:
        raise
    except LabctlError as error:
        return results.of_error(error)


class DetachingNode(SessionNode):
    """A host on which `run` starts a command that goes on by itself, and then raises Detached."""

    def attach(self, job: Job, folder: str, limit: float) -> None:
        self._job = job
        self._folder = folder
        self._limit = limit

    def run(
        self,
        argv: Sequence[str],
        *,
        stdin: bytes = b"",
        env: Mapping[str, str] | None = None,
        cwd: str | None = None,
        timeout: float | None = None,  # noqa: ARG002 - the job has a limit of its own
        output: Output | None = None,  # noqa: ARG002 - what it says comes with its result
        creates: str | None = None,
        removes: str | None = None,
    ) -> Completed:
        program = Path(labctl.node.__file__).with_name("agent_watcher.py").read_text(encoding="utf-8")
        job, named = self._job, {"folder": self._folder, "jid": self._job.jid}
        asked = []

        def start(node: Node) -> Any:
            asked.append(node)
            return node.call(
                "jobs",
                "start",
                **named,
                program=program,
                argv=list(argv),
                environment={**self._environment, **(env or {})},
                cwd=cwd,
                stdin=stdin.decode(),
                limit=self._limit,
                report={"cmd": job.command},
                strip=job.strip,
                creates=creates,
                removes=removes,
            )

        try:
            answer = self._do(start)
        except (Interrupted, TaskTimeout):
            if asked:  # it may have begun, and nobody will ever hear of it
                self._deadline.begin_clean_up()
                self.call("jobs", "end", **named)
            raise
        if reason := answer.get("skipped"):
            return Completed(tuple(argv), 0, b"", b"", 0.0, 0.0, skipped=reason)
        raise driver.Detached(answer["results_file"])


@dataclass
class _Job:
    """One task under `async` on one host."""

    wanted: Async
    ctx: RunContext
    jid: str = field(default_factory=lambda: f"j{secrets.randbelow(10**12)}.{os.getpid()}")

    def _call(self, function: str, **arguments: Any) -> Any:
        ctx = self.ctx
        folder = jobs.folder_of(ctx.host_scope, ctx.environment)
        return ctx.node.call("jobs", function, folder=folder, jid=self.jid, **arguments)

    def _started(self, path: str) -> Result:
        values = {
            "started": True,
            "finished": False,
            "ansible_job_id": self.jid,
            "results_file": path,
            "changed": True,
        }
        return Result(Status.CHANGED, values).complete()

    # a command of its own on the host

    def detached(self, task_type: TaskType, args: Args) -> Result:
        try:
            result = driver.execute(task_type, args, self.ctx.detaching(self.jid, self.wanted.limit))
        except driver.Detached as job:
            return self._polled() if self.wanted.poll else self._started(job.path)
        if result.failed or result.unreachable:
            return result
        path = self._call("create")  # creates or removes made it unnecessary: the job has ended at once
        self._call("finish", values=result.values)
        return self._started(path) if not self.wanted.poll else self._ended()

    def _polled(self) -> Result:
        """Look until it has ended. A connection lost meanwhile is made again: the command goes on without it."""
        until = time.monotonic() + self.wanted.limit + _GRACE
        seen = [0, 0]
        try:
            while True:
                self.ctx.wait(self.wanted.poll)
                late = time.monotonic() > until
                try:
                    found = self._call("status", seen=seen)
                except Unreachable:
                    if late:
                        raise
                    continue
                seen = found["seen"]
                self._show(found["output"])
                values = jobs.values(found, self.jid)
                if values["finished"]:
                    return self._ended(values)
                if late:
                    message = (
                        f"async task did not complete within the requested time - {self.wanted.limit:g}s"
                    )
                    return results.failed(message, async_result=values)
        except Interrupted:
            self.ctx.deadline.begin_clean_up()
            self._call("end")
            raise

    def _show(self, output: Sequence[str]) -> None:
        if output[0]:
            self.ctx.output("stdout", output[0])
        if output[1]:
            self.ctx.output("stderr", output[1])

    def _ended(self, values: dict[str, Any] | None = None) -> Result:
        values = values or jobs.values(self._call("status"), self.jid)
        self._call("clean_up")
        bad = values.get("failed")
        return Result(
            Status.FAILED if bad else Status.CHANGED if values["changed"] else Status.OK, values
        ).complete()

    # a thread of the run

    def threaded(self, task_type: TaskType, args: Args, threads: Jobs) -> Result:
        path = self._call("create")
        if self.wanted.poll:
            self._finish(self._executed(task_type, args))
            return self._ended()

        def work() -> None:
            try:
                result = self._executed(task_type, args)
            except Interrupted as error:
                result = results.failed(error.message)
            try:
                self._finish(result)
            except LabctlError as error:
                self.ctx.warn(f"how the job {self.jid} ended cannot be written down: {error.message}")

        threads.begin(self.jid, f"{self.ctx.label} on {self.ctx.host}", work)
        return self._started(path)

    def _executed(self, task_type: TaskType, args: Args) -> Result:
        with self.ctx.scopes.run.watchdog.watching(self.ctx.deadline, [self.ctx.host]):
            result = driver.execute(task_type, args, self.ctx)
            self.ctx.end_output()
        if result.values.get("timedout"):
            return results.failed("Timeout exceeded")
        return result

    def _finish(self, result: Result) -> None:
        self.ctx.deadline.begin_clean_up()
        values = {**result.values, "failed": result.failed or result.unreachable}
        self._call("finish", values=values)
