"""Bring a git checkout of the host to a version: cloned, updated and checked out by the host's git.

What the remote has is asked first; a checkout that is there already costs one round trip and is left alone.
Local changes are a failure unless `force`. Returns before, after (commits), remote_url_changed, submodules_changed.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from labctl.errors import TaskFailed
from labctl.files.paths import on_node
from labctl.task_types import Args, Change, Context, Steps, arg


@dataclass(kw_only=True)
class Arguments(Args):
    repo: str = arg(doc="Where the repository is: an address or a path of the host.", aliases=("name",))
    dest: str | None = arg(None, doc="The checkout; needed unless `clone` is false.")
    version: str = arg("HEAD", doc="A branch, tag or commit.")
    remote: str = arg("origin", doc="What the remote is called.")
    refspec: str | None = arg(None, doc="Another refspec to fetch.")
    reference: str | None = arg(None, doc="A repository of the host to borrow objects from.")
    force: bool = arg(False, doc="Throw local changes away.")
    depth: int | None = arg(None, doc="Fetch only so many commits.")
    clone: bool = arg(True, doc="Clone what is not there; if not, only say what the remote has.")
    update: bool = arg(True, doc="Update what is there.")
    verify_commit: bool = arg(False, doc="Check the signature of the commit or tag.")
    gpg_allowlist: list[str] = arg([], doc="Accepted.", aliases=("gpg_whitelist",))
    accept_hostkey: bool = arg(False, doc="ssh: accept any host key.")
    accept_newhostkey: bool = arg(False, doc="ssh: accept the key of a host that is not known yet.")
    key_file: str | None = arg(None, doc="ssh: the private key, a file of the host.")
    ssh_opts: str | None = arg(None, doc="ssh: further options.")
    executable: str | None = arg(None, doc="The git to use.")
    bare: bool = arg(False, doc="A repository without a work tree.")
    recursive: bool = arg(True, doc="Bring submodules as well.")
    single_branch: bool = arg(False, doc="Clone only the branch of `version`.")
    track_submodules: bool = arg(False, doc="Submodules at the newest commit of their branch.")
    umask: str | None = arg(None, doc="For the files of the checkout: a quoted octal number.")
    archive: str | None = arg(None, doc="Also make an archive of the version (zip, tar, tar.gz, tgz).")
    archive_prefix: str | None = arg(None, doc="What every name in the archive begins with.")
    separate_git_dir: str | None = arg(None, doc="Where the repository itself is kept.")

    mutually_exclusive = (("separate_git_dir", "bare"), ("accept_hostkey", "accept_newhostkey"))


def run(args: Arguments, ctx: Context) -> Steps:
    if args.dest is None and args.clone:
        raise TaskFailed("the destination directory must be specified unless clone=no")
    given = _given(args, ctx)
    found = _said(ctx.node.call("git", "look", **given, ask=ctx.check or not args.clone))
    values: dict[str, Any] = {"before": found["before"]}
    if not found["there"] and not args.clone:
        return {**values, "after": found["head"], "changed": True}
    if found["there"] and not args.update:
        values["after"] = found["before"]
        return (yield from _archive(args, ctx, given, values))
    if found["there"]:
        if found["modified"] and not args.force:
            raise TaskFailed(
                f"Local modifications exist in the destination: {args.dest} (force=no).", **values
            )
        values["remote_url_changed"] = found["url_changed"]
    reason = _reason(args, found)
    if reason is None:
        return (yield from _archive(args, ctx, given, {**values, "after": found["before"]}))
    certain = not found["there"] or found["modified"] or found["url_changed"] or found["head"] is not None
    done = yield Change(
        f"{args.dest}: {reason}",
        lambda: _said(ctx.node.call("git", "bring", **given)),
        before=f"{found['before'] or 'absent'}\n",
        after=f"{found['head'] or args.version}\n",
        unknown=None if certain else f"the remote does not say which commit '{args.version}' is",
    )
    if done is None:
        return {**values, "after": found["head"]}
    values["after"] = done["after"]
    if done["submodules_changed"]:
        values["submodules_changed"] = True
    values["changed"] = bool(
        done["before"] != done["after"]
        or found["modified"]
        or found["url_changed"]
        or done["submodules_changed"]
    )
    if found["modified"]:
        values["msg"] = f"Local modifications exist in the destination: {args.dest}"
    return (yield from _archive(args, ctx, given, values))


def _said(answer: dict[str, Any]) -> dict[str, Any]:
    if "error" in answer:
        raise TaskFailed(answer["error"], **answer["values"])
    return answer


def _reason(args: Arguments, found: dict[str, Any]) -> str | None:
    """Why something is to be done."""
    if not found["there"]:
        return f"clone of {args.repo}"
    if found["modified"]:
        return "local changes thrown away"
    if found["url_changed"]:
        return f"remote {args.remote} is {args.repo}"
    if found["head"] is None or found["head"] != found["before"]:
        return f"version {args.version}"
    if found.get("branch") is not None:
        return f"branch {args.version}"
    if found["submodules"] or (args.track_submodules and args.recursive):
        return f"submodules {', '.join(found['submodules'])}".strip()
    return None


def _given(args: Arguments, ctx: Context) -> dict[str, Any]:
    names = (
        *("repo", "version", "remote", "refspec", "reference", "force", "depth", "update", "verify_commit"),
        *("key_file", "executable", "bare", "recursive", "single_branch", "track_submodules", "umask"),
        "separate_git_dir",
    )
    options = args.ssh_opts or ""
    if args.accept_hostkey and "StrictHostKeyChecking" not in options:
        options += " -o StrictHostKeyChecking=no"
    if args.accept_newhostkey and "StrictHostKeyChecking" not in options:
        options += " -o StrictHostKeyChecking=accept-new"
    return {
        **{name: getattr(args, name) for name in names},
        "dest": None if args.dest is None else on_node(ctx, args.dest).rstrip("/"),
        "ssh_opts": options.strip(),
        "environment": dict(ctx.environment),
    }


def _archive(args: Arguments, ctx: Context, given: dict[str, Any], values: dict[str, Any]) -> Steps:
    if args.archive is None:
        return values
    path = on_node(ctx, args.archive)
    wanted = {**given, "path": path, "prefix": args.archive_prefix}
    differs = (
        True
        if ctx.check and values.get("before") is None
        else ctx.node.call("git", "archive", **wanted, apply=False)
    )
    if differs:
        yield Change(f"archive {path}", lambda: ctx.node.call("git", "archive", **wanted, apply=True))
        return {**values, "archive": path, "changed": True}
    return values
