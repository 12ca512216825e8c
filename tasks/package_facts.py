"""Gather what is installed. Returns ansible_facts.packages: by name a list of versions with arch, source and more."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from labctl.errors import TaskFailed
from labctl.task_types import Args, Context, arg

_KNOWN = ("apk", "apt", "pacman", "portage", "rpm")
_SAME = {"dnf": "rpm", "dnf5": "rpm", "yum": "rpm", "zypper": "rpm"}
_ELSEWHERE = ("pkg", "pkg5", "pkgng", "pkg_info", "openbsd_pkg")


@dataclass(kw_only=True)
class Arguments(Args):
    manager: list[str] = arg(["auto"], doc=f"Which to ask: auto, {', '.join((*_KNOWN, *_SAME))}.")
    strategy: Literal["first", "all"] = arg("first", doc="Stop at the first that has packages, or ask all.")


def run(args: Arguments, ctx: Context) -> dict[str, Any]:
    asked = [name.lower() for name in args.manager]
    if unsupported := [name for name in asked if name not in ("auto", *_KNOWN, *_SAME, *_ELSEWHERE)]:
        raise TaskFailed(f"Unsupported package managers requested: {', '.join(unsupported)}")
    named = [_SAME.get(name, name) for name in asked if name != "auto" and name not in _ELSEWHERE]
    managers = list(dict.fromkeys([*named, *(_KNOWN if "auto" in asked else ())]))
    told = ctx.node.call("inventories", "packages", managers=managers, strategy=args.strategy)
    for problem in told["problems"]:
        if problem.split(":")[0] in named:
            ctx.warn(f"Requested package manager was not usable: {problem}")
    if not told["used"]:
        raise TaskFailed(f"Could not detect a supported package manager from the following list: {asked}")
    return {"ansible_facts": {"packages": told["packages"]}, "changed": False}
