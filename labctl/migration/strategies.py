"""How a pod gets from one node to another. Each strategy is written once, over `PodRuntime`.

native          delete the pod, apply it on the target: every container starts again, completed ones too,
                and nothing is restored (the source's definition of the Kubernetes way)
native-resume   the same, but the trainer may continue from its last periodic save (RESUME=auto)
optimized       running containers save their state to the shared volume and hold; only they are made on the
                target, and resume; the source goes when the target is healthy
live            the running containers' memory is checkpointed to the shared volume and restored there

All check first, while the source still runs untouched, that the target can take the pod. Whatever fails
after that is taken back, so that a working pod is on the source again. `live` cannot be where a file of the shared volume
was being written when it was frozen, and the containers on the target have replaced it since; the error says so.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

from labctl.errors import Interrupted, LabctlError, Unreachable, UsageError, did_you_mean
from labctl.migration.recorder import Recorder
from labctl.pods.errors import CheckpointRefused, PodError
from labctl.pods.model import Pod, PodStatus
from labctl.pods.runtime import Checkpoint, Healthy, PodRuntime, Progress, Saved
from labctl.records import dataclass, field

CHECKPOINTS = ".checkpoints"


@dataclass(frozen=True)
class Job:
    """One migration to be done. Timeouts in seconds: `timeout` for the pod to be healthy on the target,
    `save_timeout` for a container to save. `url` is the service's progress, None when it has none. `env` is
    given to each container wherever it starts, before what the strategy adds."""

    pod: Pod
    source: str
    target: str
    runtime: PodRuntime
    timeout: float = 60.0
    save_timeout: float = 30.0
    url: str | None = None
    env: Mapping[str, str] = field(default_factory=dict)


@dataclass
class Moved:
    """How a migration went. `source_stopped`: when the source made no more progress and no longer answered
    (controller's clock); `moved`: what went over the shared volume, with bytes; `restarted`: containers whose
    process began anew on the target; `told`: the service's progress at the start."""

    before: PodStatus
    told: Mapping[str, Any] | None = None
    after: PodStatus | None = None
    source_stopped: float | None = None
    moved: list[tuple[str, int]] = field(default_factory=list)
    restarted: list[str] = field(default_factory=list)
    not_restarted: list[str] = field(default_factory=list)
    frozen_seconds: dict[str, float | None] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)


Strategy = Callable[[Job, Recorder, Moved], None]


def migrate(name: str, job: Job, recorder: Recorder) -> Moved:
    """Run a strategy. On any failure everything is taken back and a PodError says what failed, what was
    restored, and what could not be."""
    strategy = strategy_of(name)
    if job.source == job.target:
        raise UsageError(
            f"pod {job.pod.name} is on {job.target} already: source and target are the same node"
        )
    try:
        with recorder.phase("inspect"):
            moved = _inspect(job)
        strategy(job, recorder, moved)
    except Interrupted:
        raise
    except LabctlError as error:
        touched = recorder.pending
        restored, failed = recorder.roll_back()
        at = recorder.phases[-1].name
        raise _failure(f"migration ({name})", job, error, at, (touched, restored, failed)) from error
    recorder.settled()
    return moved


def _failure(
    what: str, job: Job, error: LabctlError, at: str, undone: tuple[bool, list[str], list[str]]
) -> PodError:
    touched, restored, failed = undone
    where = f"{what} of pod {job.pod.name} from {job.source} to {job.target}"
    words = [f"{where} failed in phase '{at}': {error.message}"]
    if not touched:
        words.append(f"The pod on {job.source} was not touched.")
    if restored:
        words.append(f"Taken back: {'; '.join(restored)}.")
    if failed:
        words.append(f"Could not be taken back: {'; '.join(failed)}.")
    kind = CheckpointRefused if isinstance(error, CheckpointRefused) else PodError
    return kind("\n".join(words), restored=restored, not_restored=failed, phase=at)


def strategy_of(name: str) -> Strategy:
    if name not in STRATEGIES:
        raise UsageError(
            f"there is no migration strategy '{name}'",
            hint=did_you_mean(name, STRATEGIES) or f"known: {', '.join(STRATEGIES)}",
        )
    return STRATEGIES[name]


def _inspect(job: Job) -> Moved:
    status = job.runtime.status(job.pod, job.source)
    if status is None:
        raise PodError(f"pod {job.pod.name} is not on {job.source}")
    if not status.running:
        raise PodError(f"no container of pod {job.pod.name} on {job.source} is running")
    told = None
    if job.url:
        healthy = job.runtime.wait(job.pod, job.source, 5.0, Progress(job.url))
        told, status = healthy.told, _settled(job, healthy)
    return Moved(status, told)


def _settled(job: Job, healthy: Healthy) -> PodStatus:
    """The status once every container that was told as completed has ended: a program tells it while its process
    is still there for some milliseconds."""
    status, ending = healthy.status, set((healthy.told or {}).get("completed") or ())
    deadline = time.monotonic() + 5.0
    while ending & set(status.running) and time.monotonic() < deadline:
        time.sleep(0.01)
        found = job.runtime.status(job.pod, job.source)
        if found is None:
            raise PodError(f"pod {job.pod.name} went away from {job.source}")
        status = found
    return status


def _completed(status: PodStatus) -> list[str]:
    return [name for name, container in status.containers.items() if container.completed]


def _to_move(moved: Moved) -> list[str]:
    """Those that run, and those that failed and so have not done their work."""
    return [name for name, container in moved.before.containers.items() if not container.completed]


# ------------------------------------------------------------ native


def _native(job: Job, recorder: Recorder, moved: Moved, extra: Mapping[str, str]) -> None:
    runtime, pod = job.runtime, job.pod
    env = {**job.env, **extra}
    with recorder.phase("prepare"):
        runtime.prepare(pod, job.target)

    def start_again() -> None:
        runtime.delete(pod, job.source, grace_seconds=0)
        runtime.apply(pod, job.source, env={**env, "RESUME": "auto"})
        runtime.wait(pod, job.source, job.timeout)

    recorder.undo_with(f"the pod runs on {job.source} again, from its last save", start_again)
    with recorder.phase("delete"):
        runtime.delete(pod, job.source)
    moved.source_stopped = time.time()
    recorder.undo_with(f"removed the pod from {job.target}", _remover(job, job.target))
    with recorder.phase("create"):
        runtime.apply(pod, job.target, env=env)
    with recorder.phase("healthy"):
        moved.after = runtime.wait(pod, job.target, job.timeout).status
    moved.restarted = [container.name for container in pod.containers]


def native(job: Job, recorder: Recorder, moved: Moved) -> None:
    _native(job, recorder, moved, {})


def native_resume(job: Job, recorder: Recorder, moved: Moved) -> None:
    _native(job, recorder, moved, {"RESUME": "auto"})


# ------------------------------------------------------------ optimized


def optimized(job: Job, recorder: Recorder, moved: Moved) -> None:
    runtime, pod = job.runtime, job.pod
    moving, completed = _to_move(moved), _completed(moved.before)
    with recorder.phase("prepare"):
        runtime.prepare(pod, job.target)
    saved: dict[str, Saved] = {}
    with recorder.phase("save"):
        for name in [name for name in pod.stateful if name in moved.before.running]:
            go_on = _signaller(job, name, "USR2")
            recorder.undo_with(f"{name} goes on, on {job.source}", go_on)
            saved[name] = runtime.save(pod, job.source, name, job.save_timeout)
    moved.moved = [(f"state of {name}", one.size) for name, one in saved.items()]
    recorder.undo_with(f"removed the pod from {job.target}", _remover(job, job.target))
    with recorder.phase("create"):
        env = {**job.env, "RESUME": "1", "COMPLETED": ",".join(completed)}
        runtime.apply(pod, job.target, only=moving, env=env, serve=False)
    with recorder.phase("healthy"):
        moved.after = runtime.wait(pod, job.target, job.timeout, _expected(job, saved, completed)).status
    recorder.undo_with(f"the address leads to {job.source} again", lambda: runtime.serve(pod, job.source))
    with recorder.phase("switch"):
        runtime.serve(pod, job.target)
    moved.source_stopped = time.time()
    _leave_source(job, recorder, moved)
    moved.restarted, moved.not_restarted = moving, completed


def _expected(job: Job, saved: Mapping[str, Saved], completed: list[str]) -> Progress | None:
    if job.url is None:
        return None
    steps = [one.step for one in saved.values() if one.step is not None]
    return Progress(job.url, max(steps, default=None), tuple(completed))


# ------------------------------------------------------------ live


def live(job: Job, recorder: Recorder, moved: Moved) -> None:
    runtime, pod = job.runtime, job.pod
    moving = moved.before.running
    with recorder.phase("prepare"):
        runtime.prepare(pod, job.target)
    with recorder.phase("probe"):
        for node in (job.source, job.target):
            if reason := runtime.checkpoint_refusal(node):
                raise CheckpointRefused(f"{node} cannot checkpoint and restore: {reason}")
    images: dict[str, Checkpoint] = {}

    def restore_here() -> None:
        if images:
            runtime.apply(pod, job.source, only=list(images), env=job.env, restore=images)
        runtime.wait(pod, job.source, job.timeout)

    recorder.undo_with(f"the containers run on {job.source} again, from where they were", restore_here)
    with recorder.phase("checkpoint"):
        folder = f"{runtime.volume_path(pod, job.source)}/{CHECKPOINTS}"
        try:
            images.update(runtime.checkpoint(pod, job.source, moving, folder))
        except CheckpointRefused as error:
            images.update(error.values.get("checkpoints", {}))
            raise
    moved.source_stopped = time.time()
    moved.moved = [(f"memory of {name}", image.size) for name, image in images.items()]
    moved.frozen_seconds = {name: image.frozen_seconds for name, image in images.items()}
    recorder.undo_with(f"removed the pod from {job.target}", _remover(job, job.target))
    with recorder.phase("restore"):
        runtime.apply(pod, job.target, only=moving, env=job.env, restore=images)
    with recorder.phase("healthy"):
        expected = Progress(job.url, None, tuple(_completed(moved.before))) if job.url else None
        moved.after = runtime.wait(pod, job.target, job.timeout, expected).status
    _leave_source(job, recorder, moved)
    moved.not_restarted = list(moved.before.containers)


# ------------------------------------------------------------ shared


def _leave_source(job: Job, recorder: Recorder, moved: Moved) -> None:
    """The target works: from here on a failure leaves something behind on the source, and no more."""
    recorder.settled()
    with recorder.phase("delete"):
        try:
            job.runtime.delete(job.pod, job.source)
        except (PodError, Unreachable) as error:
            moved.warnings.append(f"the pod on {job.source} could not be removed: {error.message}")


def _remover(job: Job, node: str) -> Callable[[], object]:
    return lambda: job.runtime.delete(job.pod, node, grace_seconds=0)


def _signaller(job: Job, container: str, name: str) -> Callable[[], object]:
    return lambda: job.runtime.signal(job.pod, job.source, container, name)


STRATEGIES: Mapping[str, Strategy] = {
    "native": native,
    "native-resume": native_resume,
    "optimized": optimized,
    "live": live,
}
