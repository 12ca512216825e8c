"""Gather facts: what a node is and has, under Ansible's names (`ansible_facts.kernel`, `ansible_kernel`).

Besides Ansible's: `cgroup` (version, controllers, path), `containerd_version`, `runc_version`,
`criu_version`, `nfs` (kernel_client, kernel_server), `clock`, `boot_id`, and `clock_offset`, the node's clock less the
controller's in seconds. What could not be learnt is null; `facts_missing` says why. A run gathers each
subset once per host and keeps it in `facts/<host>.json` of its folder.
"""

from __future__ import annotations

import fnmatch
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from labctl.errors import PlaybookError, TaskFailed, TaskTimeout, did_you_mean
from labctl.paths import builtin
from labctl.task_types import Args, Context, arg

SUBSETS = ("min", "hardware", "network", "runtime")
# Ansible's finer names, and the subset here that holds their facts.
ANSIBLE = {
    "virtual": "hardware",
    "processor": "hardware",
    "mounts": "hardware",
    "devices": "hardware",
    "interfaces": "network",
    "default_ipv4": "network",
    **dict.fromkeys(
        (
            "distribution",
            "date_time",
            "env",
            "machine",
            "pkg_mgr",
            "platform",
            "python",
            "service_mgr",
            "user",
        ),
        "min",
    ),
}


@dataclass(kw_only=True)
class Arguments(Args):
    gather_subset: list[str] = arg(
        ["all"], doc="all, min, hardware, network, runtime; '!' before a name leaves it out"
    )
    filter: list[str] = arg([], doc="return only facts whose names match one of these patterns")
    cached: bool = arg(True, doc="no: ask the node again, even if this run has asked it before")
    gather_timeout: float = arg(10.0, doc="seconds until gathering has failed")


def run(args: Arguments, ctx: Context) -> dict[str, Any]:
    wanted = subsets(args.gather_subset, ctx)
    known: dict[str, Any] = ctx.shared.setdefault("setup", {}).setdefault(
        ctx.host, {"subsets": [], "facts": {}}
    )
    missing = [name for name in wanted if not args.cached or name not in known["subsets"]]
    if missing:
        found = gather(ctx, missing, args.gather_timeout)
        reasons = {**known["facts"].get("facts_missing", {}), **found["facts_missing"]}
        known["facts"].update(found)
        known["facts"]["facts_missing"] = {
            name: why for name, why in reasons.items() if known["facts"].get(name) is None
        }
        known["subsets"] = sorted({*known["subsets"], *missing})
        path = ctx.run_dir / "facts" / f"{ctx.host}.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(known["facts"], indent=1, sort_keys=True) + "\n", encoding="utf-8")
    return {"ansible_facts": chosen(known["facts"], args.filter)}


def subsets(names: list[str], ctx: Context) -> list[str]:
    """The subsets to gather, by Ansible's rules: what is named is gathered, `min` always unless '!min' is there; names
    that are only left out are left out of all, so '!all' leaves `min`."""
    valid = {"all": SUBSETS, **{name: (name,) for name in SUBSETS}}
    valid.update({name: (of,) for name, of in ANSIBLE.items()})
    named: set[str] = set()
    removed: set[str] = set()
    for name in names:
        bare = name.removeprefix("!")
        if bare not in valid:
            hint = did_you_mean(bare, valid) or f"there are: all, {', '.join(SUBSETS)}"
            raise PlaybookError(f"there is no facts subset '{bare}'", mark=ctx.mark, hint=hint)
        if name.startswith("!"):
            removed.update(valid[bare])
        elif name != "all":
            named.update(valid[bare])
    if "!min" not in names:
        named.add("min")
    everything = "all" in names or all(name.startswith("!") for name in names)
    return [name for name in SUBSETS if name in named or (everything and name not in removed)]


def gather(ctx: Context, wanted: list[str], timeout: float) -> dict[str, Any]:
    """Run the facts program on the node: one round trip, and the remembered clock offset."""
    lines: list[str] = []
    program = (builtin("collectors") / "facts.py").read_bytes()
    stream = ctx.node.start(program, ["--subset", ",".join(wanted)], line=lines.append, name="facts")
    try:
        ended = stream.wait(timeout)
    except TaskTimeout:
        stream.stop(timeout=1.0)
        raise
    try:
        facts: dict[str, Any] = json.loads("".join(lines))
    except ValueError:
        errors = ended.error_text().strip()
        last = errors.splitlines()[-1] if errors else f"exit status {ended.rc}"
        raise TaskFailed(f"facts of {ctx.host} could not be gathered: {last}", stderr=errors) from None
    facts["clock_offset"] = ctx.node.clock_offset()
    return facts


def chosen(facts: Mapping[str, Any], patterns: list[str]) -> dict[str, Any]:
    if not patterns:
        return dict(facts)
    bare = [pattern.removeprefix("ansible_") for pattern in patterns]
    return {
        name: value
        for name, value in facts.items()
        if any(fnmatch.fnmatch(name, pattern) for pattern in bare)
    }
