"""Move a pod to another node by a strategy, and write down all that is needed to judge it.

    native          delete it, apply it on the target: all begins again
    native-resume   the same, but the trainer continues from its last periodic save
    optimized       running containers save their state and hold; only they are made on the target, and resume
    live            the running containers' memory goes to the target (CRIU)

A migration that fails ends with a working pod on the source. With `dest` the trial's raw files are written
there (trial.json, steps.jsonl, logs/; docs/architecture.md). With `window` the source's method gets its two
windows: `window` seconds before the migration, and as long after it, `settle` seconds after its end.

    - migrate: {manifest: pod.yml, to: worker2, strategy: optimized}
"""

from __future__ import annotations

import json
import threading
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from labctl.errors import LabctlError, PlaybookError, TaskFailed
from labctl.manifests import pod_of, volume
from labctl.measure.migration import read_probes, regained
from labctl.migration.recorder import Recorder
from labctl.migration.strategies import STRATEGIES, Job, Moved, migrate, strategy_of
from labctl.migration.trial import describe_containers, log_events, proof, trial_json, write_trial
from labctl.pods.containerd import Containerd
from labctl.pods.model import STATEFUL
from labctl.pods.runtime import Progress
from labctl.task_types import Args, Change, Context, Steps, arg


@dataclass(kw_only=True)
class Arguments(Args):
    manifest: str = arg(doc="the pod's manifest", aliases=["pod"])
    to: str = arg(doc="the target node")
    strategy: str = arg("optimized", doc="how", choices=list(STRATEGIES))
    from_: str | None = arg(None, doc="the source node (default: where the pod is found)")
    nodes: str = arg("all", doc="pattern of the nodes the pod may be on")
    patch: dict[str, Any] = arg({}, doc="a strategic merge patch of the manifest, as it was deployed with")
    env: dict[str, Any] = arg({}, doc="environment for every container, as it was deployed with")
    stateful: list[str] = arg([], doc="containers that save when asked (default: the manifest's annotation)")
    progress: str = arg("/progress", doc="path of the service's progress, on the pod's first port")
    timeout: float = arg(60.0, doc="seconds for the pod to be healthy on the target")
    until_regained: bool = arg(True, doc="wait until the work done before the migration is regained")
    regained_timeout: float = arg(120.0, doc="seconds to wait for that")
    window: float = arg(0.0, doc="length in seconds of the windows before and after")
    settle: float = arg(0.0, doc="seconds between the migration and the window after it")
    dest: str | None = arg(None, doc="the trial's folder, within the run's folder unless absolute")
    probe: str | None = arg(None, doc="file of the running probe collector (default: probe.jsonl in `dest`)")
    trial: dict[str, Any] = arg({}, doc="what trial.json says of this trial besides: trial, pair, profile, …")


def run(args: Arguments, ctx: Context) -> Steps:
    strategy_of(args.strategy)
    pod = pod_of(ctx, args.manifest, args.patch, args.env)
    if args.stateful:
        pod = replace(pod, annotations={**pod.annotations, STATEFUL: ",".join(args.stateful)})
    nodes = ctx.hosts(args.nodes)
    for name in (args.to, args.from_):
        if name and name not in nodes:
            raise PlaybookError(f"'{name}' is not among the nodes '{args.nodes}'", mark=ctx.mark)
    runtime = Containerd(ctx.node_of, nodes, lambda host: volume(ctx, host))
    source = args.from_
    if source is None:
        found = runtime.find(pod.name)
        if found is None:
            raise TaskFailed(f"pod {pod.name} is on none of {', '.join(nodes)}", mark=ctx.mark)
        source = found.node
    job = Job(pod, source, args.to, runtime, timeout=args.timeout, url=pod.url(args.progress))
    values = yield Change(
        f"node of pod {pod.name}", lambda: _Trial(args, ctx, job).run(), before=source, after=args.to
    )
    return values or {"pod": pod.name, "source": source, "target": args.to}


class _Trial:
    """One migration with its measuring windows and files."""

    def __init__(self, args: Arguments, ctx: Context, job: Job) -> None:
        self.args, self.ctx, self.job = args, ctx, job
        self.runtime: Any = job.runtime
        self.folder = ctx.run_dir / args.dest if args.dest else None
        self.recorder = Recorder(
            lambda phase: ctx.phase(job.pod.name, phase.name, phase.seconds, strategy=args.strategy)
        )
        self.windows: dict[str, list[float]] = {}
        self.interrupted = threading.Event()

    def run(self) -> dict[str, Any]:
        self.ctx.on_close(self._close)
        if self.args.window:
            self.windows["before"] = self._window()
        started, moved, error = time.time(), None, None
        try:
            moved = migrate(self.args.strategy, self.job, self.recorder)
        except LabctlError as problem:
            error = problem
        ended = time.time()
        gained: tuple[float | None, str | None] = (None, "the migration failed")
        if moved:
            for warning in moved.warnings:
                self.ctx.warn(warning)
            gained = self._after(moved, ended)
        values = self._write(started, ended, moved, gained, error)
        if error:
            raise TaskFailed(str(error), hint=error.hint, **values) from error
        if not moved or (self.args.until_regained and gained[0] is None):
            raise TaskFailed(f"progress was not regained: {gained[1]}", **values)
        self.recorder.settled()
        return values

    # ------------------------------------------------------------ windows and progress

    def _window(self) -> list[float]:
        start = time.time()
        self._sleep(self.args.window)
        return [start, start + self.args.window]

    def _sleep(self, seconds: float) -> None:
        if self.interrupted.wait(seconds):
            raise TaskFailed("interrupted while measuring")

    def _after(self, moved: Moved, ended: float) -> tuple[float | None, str | None]:
        """Let the window after pass, and meanwhile wait until the progress is regained."""
        waiting = threading.Thread(target=lambda: found.append(self._regained(moved)), daemon=True)
        found: list[tuple[float | None, str | None]] = []
        waiting.start()
        if self.args.window:
            self._sleep(max(0.0, ended + self.args.settle - time.time()))
            self.windows["after"] = self._window()
        waiting.join()
        return found[0]

    def _regained(self, moved: Moved) -> tuple[float | None, str | None]:
        told = moved.told or {}
        step = told.get("step")
        if not self.args.until_regained or self.job.url is None or step is None:
            return None, "the service tells no progress"
        wanted = tuple(told.get("completed") or ())
        file = self._probe_file()
        if file:
            return self._read_probe(file, int(step), wanted, moved.source_stopped or 0.0)
        try:
            healthy = self.runtime.wait(
                self.job.pod,
                self.job.target,
                self.args.regained_timeout,
                Progress(self.job.url, int(step), wanted),
            )
        except LabctlError as error:
            return None, error.message
        return healthy.wall - self._offset(self.job.target), None

    def _probe_file(self) -> Path | None:
        if self.args.probe:
            return self.ctx.run_dir / self.args.probe
        beside = self.folder / "probe.jsonl" if self.folder else None
        return beside if beside and beside.exists() else None

    def _read_probe(
        self, file: Path, step: int, completed: tuple[str, ...], since: float
    ) -> tuple[float | None, str | None]:
        deadline = time.monotonic() + self.args.regained_timeout
        while True:
            lines = file.read_text(errors="replace").splitlines()
            offset = next((self._offset(host) for host in _header_host(lines)), 0.0)
            try:
                found = regained(read_probes(lines, offset=offset), step, completed, since)
            except (ValueError, KeyError):
                found = None
            if found and found.value is not None:
                return found.value, None
            if time.monotonic() > deadline:
                return None, f"timed out: {found.reason if found else 'the probe wrote nothing'}"
            if self.interrupted.wait(0.2):
                return None, "interrupted"

    def _offset(self, host: str) -> float:
        return self.ctx.node_of(host).clock_offset()

    # ------------------------------------------------------------ what it leaves

    def _write(
        self,
        started: float,
        ended: float,
        moved: Moved | None,
        gained: tuple[float | None, str | None],
        error: LabctlError | None,
    ) -> dict[str, Any]:
        job = self.job
        logs = self._logs(job.target if moved else None)
        stateful = job.pod.stateful or tuple(c.name for c in job.pod.containers)
        events = {
            node: [event for name in stateful for event in log_events(texts.get(name, ""), node)]
            for node, texts in logs.items()
        }
        shown = proof(events.get(job.source, []), events.get(job.target, []))
        head = {
            "trial": 1,
            "pair": 1,
            "profile": None,
            "seed": None,
            "volume": None,
            **self.args.trial,
            "strategy": self.args.strategy,
            "pod": job.pod.name,
            "source": job.source,
            "target": job.target,
            "runtime": job.runtime.kind(),
            "offset": self._offsets(),
            "started": started,
            "ended": ended,
            "windows": self.windows,
        }
        trial = trial_json(
            head,
            self.recorder.phases,
            moved,
            shown,
            regained=gained,
            error=error.message if error else None,
        )
        if self.folder:
            write_trial(self.folder, trial, logs, stateful)
        keep = ("strategy", "pod", "source", "target", "moved_bytes", "steps_redone", "state", "restarted")
        values = {key: trial[key] for key in keep}
        values["seconds"] = ended - started
        values["regained_seconds"] = gained[0] - started if gained[0] else None
        values["phases"] = {phase.name: phase.seconds for phase in self.recorder.phases}
        values["containers"] = describe_containers(moved.after) if moved else {}
        return values

    def _logs(self, target: str | None) -> dict[str, dict[str, str]]:
        found = {}
        for node in (self.job.source, target):
            if node:
                try:
                    found[node] = self.runtime.all_logs(self.job.pod, node)
                except LabctlError as error:
                    self.ctx.warn(f"no logs from {node}: {error.message}")
        return found

    def _offsets(self) -> dict[str, float]:
        found = {}
        for host in {self.job.source, self.job.target, *self._probing()}:
            try:
                found[host] = self._offset(host)
            except LabctlError as error:
                self.ctx.warn(f"the clock of {host} could not be compared: {error.message}")
        return found

    def _probing(self) -> list[str]:
        file = self._probe_file()
        return _header_host(file.read_text(errors="replace").splitlines()[:1]) if file else []

    def _close(self) -> str | None:
        """The run ends: a migration that is under way is taken back."""
        self.interrupted.set()
        self.recorder.cancel()
        if not self.recorder.pending:
            return None
        restored, failed = self.recorder.roll_back()
        pod = self.job.pod.name
        words = [f"migration of pod {pod} was taken back: {'; '.join(restored)}"] if restored else []
        words += (
            [f"of the migration of pod {pod} could not be taken back: {'; '.join(failed)}"] if failed else []
        )
        return "; ".join(words) or None


def _header_host(lines: list[str]) -> list[str]:
    try:
        return [str(json.loads(lines[0])["host"])] if lines else []
    except (ValueError, KeyError):
        return []
