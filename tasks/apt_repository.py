"""Keep a one-line package source among apt's sources, or out of them.

A new one goes to sources.list.d, to a file named after its address or `filename`. Afterwards the package lists are
fetched; when that fails, the sources are put back. Returns repo, state, sources_added, sources_removed (files).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from labctl.errors import TaskFailed
from labctl.files.attributes import mode_text
from labctl.task_types import Args, Change, Context, Steps, arg


@dataclass(kw_only=True)
class Arguments(Args):
    repo: str = arg(doc="'deb [signed-by=/…] http://… trixie main'.")
    state: str = arg("present", doc="Whether it shall be there.", choices=("present", "absent"))
    mode: int | str | None = arg(None, doc="Of the file of the source, '0644'.")
    filename: str | None = arg(None, doc="Its file in sources.list.d, without '.list'.")
    update_cache: bool = arg(True, doc="Fetch the package lists after a change.", aliases=("update-cache",))
    update_cache_retries: int = arg(5, doc="How often to try that.")
    update_cache_retry_max_delay: int = arg(12, doc="At most so many seconds between two tries.")
    install_python_apt: bool = arg(True, doc="Accepted: python3-apt is not needed.")
    validate_certs: bool = arg(True, doc="Accepted: no address is asked.")
    codename: str | None = arg(None, doc="The release an Ubuntu PPA is for.")


def run(args: Arguments, ctx: Context) -> Steps:
    if args.repo.startswith("ppa:"):
        raise TaskFailed(
            "a PPA's key has to be asked of Launchpad, which labctl does not", hint="give its deb line"
        )
    found = ctx.node.call("apt_sources", "look", line=args.repo, state=args.state, filename=args.filename)
    if "error" in found:
        raise TaskFailed(found["error"])
    values: dict[str, Any] = {
        "repo": args.repo,
        "state": args.state,
        "sources_added": found["added"],
        "sources_removed": found["removed"],
    }
    if found["files"]:
        mode = int(mode_text(args.mode), 8) if args.mode is not None else None
        yield Change(
            f"package source {args.repo}",
            lambda: _change(args, ctx, found["files"], mode),
            before="".join(one["before"] or "" for one in found["files"]),
            after="".join(one["after"] or "" for one in found["files"]),
        )
    return values


def _change(args: Arguments, ctx: Context, files: list[dict[str, Any]], mode: int | None) -> None:
    ctx.node.call("apt_sources", "save", files=files, side="after", mode=mode)
    if not args.update_cache:
        return
    said = ""
    for attempt in range(max(1, args.update_cache_retries)):
        done = ctx.node.run(
            ["apt-get", "-q", "update"], env={**ctx.environment, "LC_ALL": "C"}, output=ctx.output
        )
        said = done.error_text()
        if done.rc == 0 and "W: Failed to fetch" not in said:
            return
        if attempt + 1 < args.update_cache_retries:
            ctx.wait(min(2**attempt, args.update_cache_retry_max_delay))
    ctx.node.call("apt_sources", "save", files=files, side="before", mode=mode)
    raise TaskFailed(
        f"Failed to update apt cache after {args.update_cache_retries} retries: {said.strip()[-500:]}"
    )
