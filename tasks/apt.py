"""Install, upgrade or remove Debian packages.

What is installed is read from dpkg's records, so a task with nothing to do costs one round trip. What is to
be done is done by one apt-get call, which asks no questions and waits for other users of dpkg's lock. A dry
run lists what apt itself says it would install and remove.
"""

from __future__ import annotations

import fnmatch
import re
import time
from dataclasses import dataclass
from typing import Any, Literal

from labctl.errors import TaskFailed
from labctl.task_types import Args, Change, Context, Steps, arg

_ENVIRONMENT = {"DEBIAN_FRONTEND": "noninteractive", "LC_ALL": "C.UTF-8", "APT_LISTCHANGES_FRONTEND": "none"}
_NO_PACKAGE = re.compile(r"E: (?:Unable to locate package (\S+)|Package '([^']+)' has no installation cand)")
_NO_VERSION = re.compile(r"E: Version '([^']+)' for '([^']+)' was not found")


@dataclass(kw_only=True)
class Arguments(Args):
    name: list[str] = arg(
        [],
        doc="Packages: 'nfs-common', 'containerd=1.7.*' (a version, with wildcards), 'libc6:arm64'.",
        aliases=("pkg", "package"),
    )
    deb: list[str] = arg(
        [], doc="Package files on the node (or addresses) to install, with what they depend on."
    )
    state: Literal["present", "latest", "absent", "build-dep", "fixed", "installed", "removed"] = arg(
        "present",
        doc="'latest' also upgrades what is installed, 'build-dep' installs what a package is built with, "
        "'fixed' mends broken dependencies.",
    )
    update_cache: bool | None = arg(
        None,
        doc="Fetch the package lists first (the default with `cache_valid_time`).",
        aliases=("update-cache",),
    )
    update_cache_retries: int = arg(5, doc="How often to try that.")
    update_cache_retry_max_delay: int = arg(12, doc="At most so many seconds between two tries.")
    cache_valid_time: int = arg(0, doc="Do not fetch lists younger than this many seconds.")
    install_recommends: bool | None = arg(
        None,
        doc="Install recommended packages too (default: as apt is set).",
        aliases=("install-recommends",),
    )
    default_release: str | None = arg(
        None, doc="Prefer this release ('trixie-backports').", aliases=("default-release",)
    )
    force: bool = arg(False, doc="Force what apt warns of: unsigned packages, downgrades, held packages.")
    allow_unauthenticated: bool = arg(
        False, doc="Install packages that are not signed.", aliases=("allow-unauthenticated",)
    )
    allow_downgrade: bool = arg(
        False,
        doc="Install an older version than there is.",
        aliases=("allow-downgrade", "allow_downgrades", "allow-downgrades"),
    )
    allow_change_held_packages: bool = arg(False, doc="Change packages that are on hold.")
    dpkg_options: str = arg("force-confdef,force-confold", doc="Options for dpkg, with commas between.")
    policy_rc_d: int | None = arg(
        None, doc="Exit status of policy-rc.d meanwhile (101: no service is started)."
    )
    autoclean: bool = arg(False, doc="Remove package files that can no longer be fetched.")
    clean: bool = arg(False, doc="Remove all fetched package files.")
    fail_on_autoremove: bool = arg(False, doc="Fail when packages would be removed automatically.")
    force_apt_get: bool = arg(False, doc="Accepted: apt-get is what is always used.")
    auto_install_module_deps: bool = arg(True, doc="Accepted: there is nothing to install.")
    only_upgrade: bool = arg(False, doc="Upgrade what is installed; install nothing new.")
    purge: bool = arg(False, doc="With 'absent': remove configuration files too.")
    autoremove: bool = arg(False, doc="Also remove packages nothing needs any more.")
    upgrade: Literal["no", "yes", "safe", "full", "dist"] = arg(
        "no", doc="Upgrade every package of the node; 'full' and 'dist' may remove some."
    )
    lock_timeout: int = arg(60, doc="Seconds to wait for another user of apt or dpkg.")


def run(args: Arguments, ctx: Context) -> Steps:
    wanted = _wanted(args, ctx)
    if args.update_cache is None:
        args.update_cache = args.cache_valid_time > 0
    if args.force:
        args.allow_unauthenticated = args.allow_downgrade = args.allow_change_held_packages = True
    removing = args.state in ("absent", "removed")
    latest = args.state == "latest"
    values: dict[str, Any] = {"cache_updated": False}
    before = _state(ctx, wanted, latest and not args.update_cache)
    changed = False
    stale = args.update_cache and _is_stale(before["lists_age"], args.cache_valid_time)
    if stale:
        alone = not (wanted or args.deb or args.upgrade != "no")
        why = "only the archive knows whether there is news" if alone else None
        updated = yield Change("package lists", lambda: _apt(ctx, args, ["update"]), unknown=why)
        if updated is not None:
            lists = _state(ctx, [], candidates=False)
            values["cache_updated"] = lists["lists_time"] != before["lists_time"]
            before |= {"lists_age": lists["lists_age"]}
        changed = alone and values["cache_updated"]
    if latest and args.update_cache:
        before = _state(ctx, wanted, candidates=True)
    commands = [
        _upgrade(args),
        _removal(args, wanted, before) if removing else _installation(args, wanted, before, _debs(ctx, args)),
        ["autoremove", *(["--purge"] if args.purge else [])] if args.autoremove else None,
        ["autoclean"] if args.autoclean else None,
        ["clean"] if args.clean else None,
    ]
    for command in filter(None, commands):
        plan = _plan(ctx, args, command) if _must_simulate(ctx, command) else None
        if plan is not None and plan["rc"]:
            if not stale:
                if missing := _missing(plan["error"]):
                    raise TaskFailed(missing)
                raise TaskFailed(_reason(plan["error"], ctx.host), stderr=plan["error"], rc=plan["rc"])
            yield Change(
                _what(command, wanted), lambda: None, unknown="the package lists would be fetched first"
            )
            continue
        if plan is not None and not (
            plan["install"] or plan["remove"] or command[0] in ("autoclean", "clean")
        ):
            continue
        if command[0] in ("autoclean", "clean"):
            found = ctx.node.call("packages", "cached", obsolete=command[0] == "autoclean")
            if not found:
                continue
        done = yield Change(
            _what(command, wanted),
            lambda command=command: _apt(ctx, args, command),
            before=_listing(plan, 1) if plan else None,
            after=_listing(plan, 2) if plan else None,
        )
        changed = True
        if done is not None:
            values.update(stdout=done.text(), stderr=done.error_text())
            if command[0] in ("upgrade", "dist-upgrade"):
                values["msg"] = done.text()
    others = args.deb or args.upgrade != "no" or ((args.autoremove or args.autoclean) and not wanted)
    if (removing and wanted) or others:
        del values["cache_updated"]
    elif before["lists_age"] is not None:
        values["cache_update_time"] = int(time.time() - before["lists_age"])
    return {**values, "changed": changed}


def _wanted(args: Arguments, ctx: Context) -> list[_Wanted]:
    """The packages to manage; a name with a wildcard stands for all it matches."""
    wanted = []
    for text in args.name:
        name, equals, version = text.partition("=")
        if any(character in name for character in "*?[") and args.state != "build-dep":
            installed = args.state in ("absent", "removed") or args.only_upgrade
            names = ctx.node.call("packages", "matching", pattern=name.strip(), installed=installed)
            wanted += [_Wanted.parse(one + equals + version) for one in names]
        else:
            wanted.append(_Wanted.parse(text))
    return wanted


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
    if args.state == "build-dep":
        return ["build-dep", *[w.text for w in wanted]] if wanted else None
    unmet = [
        w.text
        for w in wanted
        if not w.is_met(before["packages"][w.name], latest=latest)
        and not (args.only_upgrade and before["packages"][w.name]["version"] is None)
    ]
    if unmet or debs or args.state == "fixed":
        return ["install", *(["--fix-broken"] if args.state == "fixed" else []), *unmet, *debs]
    return None


def _removal(args: Arguments, wanted: list[_Wanted], before: dict[str, Any]) -> list[str] | None:
    there = [w.name for w in wanted if before["packages"][w.name]["version"] is not None]
    return ["purge" if args.purge else "remove", *there] if there else None


def _upgrade(args: Arguments) -> list[str] | None:
    commands = {"yes": "upgrade", "safe": "upgrade", "full": "dist-upgrade", "dist": "dist-upgrade"}
    return [commands[args.upgrade]] if args.upgrade in commands else None


def _must_simulate(ctx: Context, command: list[str]) -> bool:
    """Whether only apt itself knows if there is something to do, or the user wants to see all of it."""
    return (
        ctx.check
        or ctx.diff
        or command[0] in (*("upgrade", "dist-upgrade", "autoremove", "build-dep"),)
        or "--fix-broken" in command
    )


def _is_stale(age: float | None, valid: int) -> bool:
    return age is None or age > valid


def _plan(ctx: Context, args: Arguments, command: list[str]) -> dict[str, Any]:
    return dict(ctx.node.call("packages", "simulate", argv=_argv(args, command)))


def _argv(args: Arguments, command: list[str]) -> list[str]:
    options = [f"DPkg::Lock::Timeout={args.lock_timeout}", "Dpkg::Use-Pty=0"]
    options += [
        f"Dpkg::Options::=--{word.strip().lstrip('-')}"
        for word in args.dpkg_options.split(",")
        if word.strip()
    ]
    if args.install_recommends is not None:
        options.append(f"APT::Install-Recommends={'true' if args.install_recommends else 'false'}")
    if args.default_release:
        options.append(f"APT::Default-Release={args.default_release}")
    argv = ["apt-get", "-y", "-q", *(word for option in options for word in ("-o", option))]
    if args.allow_downgrade:
        argv.append("--allow-downgrades")
    if args.allow_unauthenticated:
        argv.append("--allow-unauthenticated")
    if args.allow_change_held_packages:
        argv.append("--allow-change-held-packages")
    if args.fail_on_autoremove and command[0] in ("install", "upgrade", "dist-upgrade"):
        argv.append("--no-remove")
    if args.autoremove and command[0] in ("install", "remove", "purge", "upgrade", "dist-upgrade"):
        argv.append("--auto-remove")
    return [*argv, *command]


def _apt(ctx: Context, args: Arguments, command: list[str]) -> Any:
    """Run apt-get, under the wanted policy-rc.d; package lists are tried several times."""
    if command == ["update"]:
        for attempt in range(1, args.update_cache_retries):
            try:
                return _locked(ctx, args, command)
            except TaskFailed as error:
                ctx.warn(f"{error.message}; attempt {attempt} of {args.update_cache_retries}")
                ctx.wait(min(2**attempt, args.update_cache_retry_max_delay))
        return _locked(ctx, args, command)
    if args.policy_rc_d is None:
        return _locked(ctx, args, command)
    kept = ctx.node.call("packages", "set_policy", status=args.policy_rc_d)
    try:
        return _locked(ctx, args, command)
    finally:
        ctx.node.call("packages", "restore_policy", kept=kept)


def _locked(ctx: Context, args: Arguments, command: list[str]) -> Any:
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
        if missing := _missing(said):
            raise TaskFailed(missing)
        raise TaskFailed(
            _reason(said, ctx.host), rc=done.rc, stdout=done.text(), stderr=said, cmd=" ".join(argv)
        )


def _missing(said: str) -> str | None:
    """What Ansible says of a package, or a version of it, that no source offers."""
    for line in said.splitlines():
        if found := _NO_PACKAGE.match(line):
            return f"No package matching '{found[1] or found[2]}' is available"
        if found := _NO_VERSION.match(line):
            return f"no available installation candidate for {found[2]}={found[1]}"
    return None


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
