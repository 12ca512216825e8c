"""Install, upgrade or remove Debian packages.

What is installed is read from dpkg's records, so a task with nothing to do costs one round trip. What is to
be done is done by one apt-get call, which asks no questions and waits for other users of dpkg's lock. A dry
run lists what apt itself says it would install and remove.
"""

from __future__ import annotations

import fnmatch
import time
from dataclasses import dataclass
from typing import Any, Literal

from labctl.errors import TaskFailed
from labctl.task_types import Args, Change, Context, Steps, arg

_ENVIRONMENT = {"DEBIAN_FRONTEND": "noninteractive", "LC_ALL": "C.UTF-8", "APT_LISTCHANGES_FRONTEND": "none"}


@dataclass(kw_only=True)
class Arguments(Args):
    name: list[str] = arg(
        [],
        doc="Packages: 'nfs-common', 'containerd=1.7.*' (a version, with wildcards), 'libc6:arm64'.",
        aliases=("pkg", "package"),
    )
    deb: list[str] = arg([], doc="Package files on the node to install, with what they depend on.")
    state: Literal["present", "latest", "absent", "installed", "removed"] = arg(
        "present", doc="'latest' also upgrades what is installed."
    )
    update_cache: bool = arg(False, doc="Fetch the package lists first.", aliases=("update-cache",))
    cache_valid_time: int = arg(0, doc="Do not fetch lists younger than this many seconds.")
    install_recommends: bool | None = arg(
        None, doc="Install recommended packages too (default: as apt is set)."
    )
    default_release: str | None = arg(None, doc="Prefer this release ('trixie-backports').")
    only_upgrade: bool = arg(False, doc="Upgrade what is installed; install nothing new.")
    purge: bool = arg(False, doc="With 'absent': remove configuration files too.")
    autoremove: bool = arg(False, doc="Also remove packages nothing needs any more.")
    upgrade: Literal["no", "yes", "safe", "full", "dist"] = arg(
        "no", doc="Upgrade every package of the node; 'full' and 'dist' may remove some."
    )
    lock_timeout: int = arg(120, doc="Seconds to wait for another user of apt or dpkg.")


def run(args: Arguments, ctx: Context) -> Steps:
    wanted = [_Wanted.parse(name) for name in args.name]
    removing = args.state in ("absent", "removed")
    latest = args.state == "latest"
    values: dict[str, Any] = {"cache_updated": False, "packages": {}}
    before = _state(ctx, wanted, latest and not args.update_cache)
    changed = False
    stale = args.update_cache and _is_stale(before["lists_age"], args.cache_valid_time)
    if stale:
        updated = yield Change("package lists", lambda: _apt(ctx, args, ["update"]))
        values["cache_updated"] = updated is not None
        changed = not (wanted or args.deb or args.upgrade != "no")
    if latest and args.update_cache:
        before = _state(ctx, wanted, candidates=True)
    commands = [
        _upgrade(args),
        _removal(args, wanted, before) if removing else _installation(args, wanted, before, _debs(ctx, args)),
        ["autoremove", *(["--purge"] if args.purge else [])] if args.autoremove else None,
    ]
    for command in filter(None, commands):
        plan = _plan(ctx, args, command) if _must_simulate(ctx, command) else None
        if plan is not None and plan["rc"]:
            if not stale:
                raise TaskFailed(_reason(plan["error"], ctx.host), stderr=plan["error"], rc=plan["rc"])
            yield Change(
                _what(command, wanted), lambda: None, unknown="the package lists would be fetched first"
            )
            continue
        if plan is not None and not (plan["install"] or plan["remove"]):
            continue
        done = yield Change(
            _what(command, wanted),
            lambda command=command: _apt(ctx, args, command),
            before=_listing(plan, 1) if plan else None,
            after=_listing(plan, 2) if plan else None,
        )
        changed = True
        if done is not None:
            values.update(rc=done.rc, stdout=done.text(), stderr=done.error_text())
        if plan is not None:
            values["planned"] = {"install": plan["install"], "remove": plan["remove"]}
    after = _state(ctx, wanted, candidates=False) if changed and wanted and not ctx.check else before
    values["packages"] = {name: about["version"] for name, about in after["packages"].items()}
    return {**values, "changed": changed}


@dataclass(frozen=True)
class _Wanted:
    text: str
    name: str
    version: str | None

    @classmethod
    def parse(cls, text: str) -> _Wanted:
        name, _, version = text.strip().partition("=")
        if not name or any(character in name for character in " *?/"):
            raise TaskFailed(f"'{text}' is not a package's name", hint="a package file goes into 'deb:'")
        return cls(text.strip(), name, version or None)

    def is_met(self, about: dict[str, Any], *, latest: bool) -> bool:
        installed = about["version"]
        if installed is None:
            return False
        if self.version is not None:
            return fnmatch.fnmatchcase(installed, self.version)
        return not (latest and about["candidate"] not in (None, installed))


def _state(ctx: Context, wanted: list[_Wanted], candidates: bool) -> dict[str, Any]:
    found = ctx.node.call("packages", "state", names=[w.name for w in wanted], candidates=candidates)
    if not found["apt"]:
        raise TaskFailed(f"{ctx.host} has no apt: it is not a Debian or Ubuntu machine")
    return dict(found)


def _debs(ctx: Context, args: Arguments) -> list[str]:
    """The package files that are not installed yet in their version."""
    if not args.deb:
        return []
    described = ctx.node.call("packages", "describe_debs", paths=args.deb)
    for about in described:
        if "error" in about:
            raise TaskFailed(f"{about['path']} cannot be installed: {about['error']}")
    installed = ctx.node.call("packages", "state", names=[about["name"] for about in described])["packages"]
    return [
        about["path"] if "/" in about["path"] else f"./{about['path']}"
        for about in described
        if installed[about["name"]]["version"] != about["version"]
    ]


def _installation(
    args: Arguments, wanted: list[_Wanted], before: dict[str, Any], debs: list[str]
) -> list[str] | None:
    latest = args.state == "latest"
    unmet = [
        w.text
        for w in wanted
        if not w.is_met(before["packages"][w.name], latest=latest)
        and not (args.only_upgrade and before["packages"][w.name]["version"] is None)
    ]
    return ["install", *unmet, *debs] if unmet or debs else None


def _removal(args: Arguments, wanted: list[_Wanted], before: dict[str, Any]) -> list[str] | None:
    there = [w.name for w in wanted if before["packages"][w.name]["version"] is not None]
    return ["purge" if args.purge else "remove", *there] if there else None


def _upgrade(args: Arguments) -> list[str] | None:
    commands = {"yes": "upgrade", "safe": "upgrade", "full": "dist-upgrade", "dist": "dist-upgrade"}
    return [commands[args.upgrade]] if args.upgrade in commands else None


def _must_simulate(ctx: Context, command: list[str]) -> bool:
    """Whether only apt itself knows if there is something to do, or the user wants to see all of it."""
    return ctx.check or ctx.diff or command[0] in ("upgrade", "dist-upgrade", "autoremove")


def _is_stale(age: float | None, valid: int) -> bool:
    return age is None or age > valid


def _plan(ctx: Context, args: Arguments, command: list[str]) -> dict[str, Any]:
    return dict(ctx.node.call("packages", "simulate", argv=_argv(args, command)))


def _argv(args: Arguments, command: list[str]) -> list[str]:
    options = [f"DPkg::Lock::Timeout={args.lock_timeout}", "Dpkg::Use-Pty=0"]
    options += ["Dpkg::Options::=--force-confdef", "Dpkg::Options::=--force-confold"]
    if args.install_recommends is not None:
        options.append(f"APT::Install-Recommends={'true' if args.install_recommends else 'false'}")
    if args.default_release:
        options.append(f"APT::Default-Release={args.default_release}")
    argv = ["apt-get", "-y", "-q", *(word for option in options for word in ("-o", option))]
    if any("=" in word for word in command[1:]):
        argv.append("--allow-downgrades")
    return [*argv, *command]


def _apt(ctx: Context, args: Arguments, command: list[str]) -> Any:
    """Run apt-get; once more when somebody else held a lock, after waiting for it."""
    argv = _argv(args, command)
    deadline = time.monotonic() + args.lock_timeout
    while True:
        done = ctx.node.run(
            argv, env={**_ENVIRONMENT, **ctx.environment}, timeout=ctx.timeout, output=ctx.output
        )
        said = done.error_text()
        # A source that cannot be fetched is only a warning to apt-get update.
        ok = done.rc == 0 and "W: Failed to fetch" not in said
        if ok:
            return done
        left = deadline - time.monotonic()
        if "Could not get lock" in said and left > 0:
            ctx.progress("waiting for another user of apt", None)
            if ctx.node.call("packages", "wait_for_locks", timeout=left):
                continue
        raise TaskFailed(
            _reason(said, ctx.host), rc=done.rc, stdout=done.text(), stderr=said, cmd=" ".join(argv)
        )


def _reason(said: str, host: str) -> str:
    errors = [line[2:].strip() for line in said.splitlines() if line.startswith("E:")]
    failed = errors or [line.strip() for line in said.splitlines() if line.startswith("W:")]
    return f"apt on {host}: {'; '.join(failed[:3]) or said.strip()[-300:] or 'it said nothing'}"


def _what(command: list[str], wanted: list[_Wanted]) -> str:
    names = [word for word in command[1:] if not word.startswith("-")]
    subject = ", ".join(names) if names else "packages"
    return f"{command[0]} {subject}"


def _listing(plan: dict[str, Any], version: int) -> str:
    lines = [f"{entry[0]} {entry[version]}" for entry in plan["install"] if entry[version]]
    if version == 1:
        lines += plan["remove"]
    return "".join(f"{line}\n" for line in sorted(lines))
