"""Ask how a job stands that a task with `async` has started.

`mode: cleanup` removes the job's file; the job itself goes on. Use the same become user as the task that
started it. Returns ansible_job_id, started, finished, results_file, stdout, stdout_lines, stderr, stderr_lines, once
the job has ended everything it returned, and with `cleanup` erased.
"""

from dataclasses import dataclass
from typing import Any

from labctl import jobs
from labctl.errors import TaskFailed, UnknownValue
from labctl.task_types import Args, Context, arg


@dataclass(kw_only=True)
class Arguments(Args):
    jid: str = arg(doc="The job's id: `ansible_job_id` of what the task with `async` returned.")
    mode: str = arg("status", doc="Ask, or remove the job's file.", choices=("status", "cleanup"))


def run(args: Arguments, ctx: Context) -> dict[str, Any]:
    folder = jobs.folder_of(ctx.variables, ctx.environment)
    if args.mode == "cleanup":
        return _clean_up(args.jid, folder, ctx)
    found = ctx.node.call("jobs", "status", folder=folder, jid=args.jid)
    if ctx.check and not found["found"]:
        raise UnknownValue(f"the job {args.jid} may be one that only a real run starts")
    return jobs.values(found, args.jid)


def _clean_up(jid: str, folder: str, ctx: Context) -> dict[str, Any]:
    values: dict[str, Any] = {"ansible_job_id": jid, "started": False, "finished": False, "changed": False}
    values |= {"stdout": "", "stdout_lines": [], "stderr": "", "stderr_lines": []}
    if ctx.check:
        found = ctx.node.call("jobs", "status", folder=folder, jid=jid)
        return {**values, "erased": found["path"]}
    found = ctx.node.call("jobs", "clean_up", folder=folder, jid=jid)
    if not found["found"]:
        there = {"erased": found["path"], "started": True, "finished": True}
        raise TaskFailed("could not find job", **{**values, **there})
    return {**values, "erased": found["path"]}
