"""Find where a notebook of fixed size breaks under load, and say why.

A notebook (workloads/notebook: a Jupyter kernel in a container) is made on the node and loaded in its own kernel, step by step:
processes that compute (cpu), bytes that are allocated (memory) or written to one file (disk). The amounts go up until a
step breaks, then halve what lies between good and bad. Each step is in the journal, on the disk, before it begins.
Nothing is tried that the node has no memory or disk for, and the notebook is removed at the end, however that comes.

Sizes and amounts are Kubernetes' quantities (512Mi, 2G), or processes for cpu. Left out, `start`, `step` and `max_steps`
follow from the notebook's limit.

    - find_limit: {resource: memory, memory: 512Mi}
      register: found       # last_good, first_bad, cause, recommended, knee, spread, repetitions
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from labctl.errors import LabctlError, PlaybookError, TaskFailed
from labctl.limits.caps import ceiling_of
from labctl.limits.finder import Subject, find
from labctl.limits.journal import Journal
from labctl.limits.plan import Plan, plan_for
from labctl.measure.limit_result import Result, result_of
from labctl.measure.limit_steps import Search, Tried
from labctl.pods.model import Pod
from labctl.pods.notebook import Notebook, disk_bytes, notebook_pod
from labctl.pods.quantity import quantity
from labctl.task_types import Args, Change, Context, Steps, arg

FOLDER = "limits"
CONTAINER = "notebook"
_NAMESPACE = "labctl"
MEBIBYTE = 2**20


@dataclass(kw_only=True)
class Arguments(Args):
    resource: Literal["cpu", "memory", "disk"] = arg(doc="whose limit")
    cpu: str | None = arg(None, doc="the notebook's CPU limit (default: the manifest's)")
    memory: str | None = arg(None, doc="its memory limit")
    disk: str | None = arg(None, doc="what it can write below /work")
    name: str = arg("notebook", doc="the pod's name")
    manifest: str | None = arg(None, doc="the pod's manifest (default: labctl's own notebook)")
    patch: dict[str, Any] = arg({}, doc="a strategic merge patch of the manifest")
    server: bool = arg(False, doc="the kernel is a Jupyter Server's")
    oom_group: bool = arg(
        False,
        doc="one kill for lack of memory ends the whole container, as kubelet ≥ 1.28 has it on cgroup v2",
    )
    start: str | None = arg(None, doc="the first amount")
    step: str | None = arg(None, doc="how far the ramp's amounts are apart")
    max_steps: int | None = arg(
        None, doc="steps of the ramp; where nothing broke, memory and disk go on in doubling steps"
    )
    seconds: float = arg(2.0, doc="how long a step holds its load")
    tolerance: float = arg(
        0.01, doc="how near the last good and the first bad amount are at the end, as a share"
    )
    repetitions: int = arg(3, doc="how often the whole search is made")
    headroom: float = arg(0.2, doc="the share of the last good amount that is not recommended")
    timeout: float = arg(60.0, doc="seconds for the notebook to be there")
    profile: str | None = arg(None, doc="a name for the journal and the report")
    dest: str | None = arg(
        None, doc="the journal, within the run's folder unless absolute (default: limits/HOST-RESOURCE.jsonl)"
    )


def run(args: Arguments, ctx: Context) -> Steps:
    try:
        manifest = ctx.find("files", args.manifest) if args.manifest else None
        pod = notebook_pod(
            args.name,
            cpu=args.cpu,
            memory=args.memory,
            disk=args.disk,
            server=args.server,
            patch=args.patch,
            manifest=manifest,
        )
        plan = _plan(args, pod)
    except ValueError as error:
        raise PlaybookError(f"find_limit: {error}", mark=ctx.mark) from None
    values = yield Change(
        f"limit of {args.resource} of notebook {pod.name}",
        lambda: _Finding(args, ctx, pod, plan).run(),
        unknown="only a real run can find where it breaks",
    )
    return values or {"resource": args.resource}


def _plan(args: Arguments, pod: Pod) -> Plan:
    given = {
        name: getattr(args, name) for name in ("max_steps", "seconds", "tolerance", "repetitions", "headroom")
    }
    for name in ("start", "step"):
        text = getattr(args, name)
        given[name] = None if text is None else int(quantity(text))
    return plan_for(args.resource, limits_of(pod)[args.resource], given)


def limits_of(pod: Pod) -> dict[str, float | None]:
    """The notebook's limits as its manifest has them: cores, bytes, bytes."""
    container = next((one for one in pod.containers if one.name == CONTAINER), None)
    if container is None:
        raise PlaybookError(f"pod {pod.name} has no container '{CONTAINER}'")
    limits = container.resources
    cores = None if limits.cpu_limit is None else limits.cpu_limit / 1000
    return {"cpu": cores, "memory": limits.memory_limit, "disk": disk_bytes(pod)}


class _Finding:
    """One search on one node, from the notebook's start to its removal."""

    def __init__(self, args: Arguments, ctx: Context, pod: Pod, plan: Plan) -> None:
        self.args, self.ctx, self.pod, self.plan = args, ctx, pod, plan
        self.notebook = Notebook(ctx.node, pod)
        self.path = ctx.run_dir / (args.dest or f"{FOLDER}/{ctx.host}-{args.resource}.jsonl")
        self.gone = False

    def run(self) -> dict[str, Any]:
        _bring_along(self.ctx.run_dir, self.path)
        with Journal(self.path) as journal:
            search = journal.read()
            self._same(search)
            if search.note("done") is None:
                self.ctx.on_close(self._close)
                try:
                    search = self._search(journal, search)
                finally:
                    self._stop()
                journal.write("done")
        return self._values(result_of(search))

    def _same(self, search: Search) -> None:
        """A journal can only be gone on with by the same search."""
        known = search.head.get("plan")
        if known is not None and known != json.loads(json.dumps(self.plan.as_data())):
            raise TaskFailed(
                f"{self.path} is the journal of another search",
                hint="give 'dest', or take that file away",
                mark=self.ctx.mark,
            )

    def _search(self, journal: Journal, known: Search) -> Search:
        self.ctx.progress(f"making notebook {self.pod.name}")
        state = self.notebook.ready(oom_group=self.args.oom_group, timeout=self.args.timeout)
        if self.args.oom_group and not state.get("oom_group"):
            self.ctx.warn(
                f"{self.ctx.host} cannot kill a container as a whole (cgroup v2 can): its processes die one by one"
            )
        if not known.head:
            journal.write("search", **self._head(state))
        journal.write("neighbours", when="before", **self._neighbours())
        subject = Subject(self._attempt, lambda: ceiling_of(self.plan, self.notebook.capacity()))
        search = find(self.plan, subject, journal, self._tell)
        journal.write("neighbours", when="after", **self._neighbours())
        return journal.read() if search else known

    def _head(self, state: Mapping[str, Any]) -> dict[str, Any]:
        return {
            "resource": self.plan.resource,
            "host": self.ctx.host,
            "pod": self.pod.name,
            "container": CONTAINER,
            "profile": self.args.profile,
            "plan": self.plan.as_data(),
            "limits": state.get("limits") or limits_of(self.pod),
            "server": self.args.server,
            "oom_group": bool(state.get("oom_group")),
            "oom_group_asked": self.args.oom_group,
            "swap": state.get("swap"),
            "capacity": {
                key: value
                for key, value in state.items()
                if key not in ("limits", "kernel", "swap", "oom_group")
            },
        }

    def _attempt(self, amount: int) -> Mapping[str, Any]:
        return self.notebook.step(self.plan.resource, amount, self.plan.seconds)

    def _neighbours(self) -> dict[str, Any]:
        found: dict[str, Any] = self.ctx.node.call(
            "neighbours", "neighbours", namespace=_NAMESPACE, without=[f"{self.pod.name}.{CONTAINER}"]
        )
        return found

    def _tell(self, step: Tried) -> None:
        share = step.value("pct_of_limit")
        used = f", {share:.0f} % of the limit in use" if share is not None else ""
        outcome = "held" if step.good else f"broke: {step.cause}"
        self.ctx.progress(
            f"{self.plan.resource}, repetition {step.repetition} of {self.plan.repetitions}: {self._amount(step.requested)} {outcome}{used}"
        )

    def _amount(self, value: int | None) -> str:
        if value is None:
            return "nothing"
        if self.plan.resource == "cpu":
            return f"{value} process{'es' * (value != 1)}"
        return f"{value / MEBIBYTE:.0f} MiB"

    def _values(self, result: Result) -> dict[str, Any]:
        broke = f"{self._amount(result.first_bad)} broke" if result.first_bad is not None else "nothing broke"
        knee = f", knee {self._amount(result.knee)}" if result.knee is not None else ""
        cause = f" ({result.cause})" if result.cause else ""
        msg = f"{result.resource}: {self._amount(result.last_good)} held, {broke}{cause}{knee}"
        return {**result.as_data(), "journal": str(self.path), "msg": msg}

    # ------------------------------------------------------------ its end

    def _stop(self) -> None:
        if not self.gone:
            self.notebook.stop()
            self.gone = True

    def _close(self) -> str | None:
        """The run ends while the notebook is there."""
        if self.gone:
            return None
        try:
            self._stop()
        except LabctlError as error:
            return f"notebook {self.pod.name} on {self.ctx.host} could not be removed: {error.message}"
        return f"removed notebook {self.pod.name} from {self.ctx.host}"


def _bring_along(folder: Path, path: Path) -> None:
    """The journals of the run that this one goes on from (--resume), where it has none of that name yet."""
    try:
        earlier = json.loads((folder / "run.json").read_text(encoding="utf-8")).get("resumes")
    except (OSError, ValueError):
        return
    if not earlier or path.exists():
        return
    for source in sorted((Path(earlier) / FOLDER).glob("*.jsonl")):
        target = folder / FOLDER / source.name
        if not target.exists():
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source, target)
