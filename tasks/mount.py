"""Mount and unmount file systems, and keep their lines in /etc/fstab.

The file is replaced atomically and other lines are left as they are. A mount whose source differs from the
one asked for is replaced; one whose options changed is remounted.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from labctl.errors import PlaybookError, TaskFailed
from labctl.task_types import Args, Change, Context, Steps, arg


@dataclass(kw_only=True)
class Arguments(Args):
    path: str = arg(doc="The mount point, an absolute path.", aliases=("name",))
    state: Literal[
        "mounted", "present", "unmounted", "absent", "remounted", "ephemeral", "absent_from_fstab"
    ] = arg(
        doc="'mounted': mounted and in fstab; 'present': in fstab only; 'unmounted': not mounted, fstab as it is;"
        " 'absent': neither, and the empty mount point removed; 'remounted': mounted anew every time;"
        " 'ephemeral': mounted, fstab as it is; 'absent_from_fstab': not in fstab, mounted or not."
    )
    src: str | None = arg(
        None, doc="What is mounted: a device, 'UUID=…', 'server:/path', 'tmpfs', a directory."
    )
    fstype: str | None = arg(None, doc="The file system: 'ext4', 'nfs', 'tmpfs', 'none' with opts 'bind'.")
    opts: str = arg("defaults", doc="Mount options, comma-separated.")
    opts_no_log: bool = arg(False, doc="The options hold a secret: show them nowhere.")
    dump: str = arg("0", doc="fstab's fifth field.")
    passno: str = arg("0", doc="fstab's sixth field: the order of checks at boot.")
    fstab: str = arg("/etc/fstab", doc="Another fstab.")
    boot: bool = arg(True, doc="Mount it at boot; no adds the option 'noauto'.")
    backup: bool = arg(False, doc="Keep the old fstab; `backup_file` says where.")


def run(args: Arguments, ctx: Context) -> Steps:
    _check(args, ctx)
    if not args.boot and "noauto" not in args.opts.split(","):
        args.opts += ",noauto"
    kept: list[str] = []
    actual = ctx.node.call("mounts", "state", path=args.path, src=args.src, fstab=args.fstab)
    text, mounted = actual["fstab"] or "", actual["mounted"]
    old = _find(text, args.path)
    new = _line(args)
    if args.state in ("mounted", "present"):
        wanted = _with(text, args.path, new)
    else:
        wanted = _with(text, args.path, None) if args.state.startswith("absent") else text
    edited = wanted != text
    if mounted and args.state in ("unmounted", "absent", "remounted"):
        yield Change(f"unmount {args.path}", lambda: _unmount(ctx, args), before=_describe(mounted), after="")
    if edited:
        yield Change(
            f"line of {args.path} in {args.fstab}",
            lambda: kept.append(_write(args, ctx, wanted, new=actual["fstab"] is None)),
            before=None if args.opts_no_log else text,
            after=None if args.opts_no_log else wanted,
        )
    if args.state == "remounted":
        yield Change(f"mount {args.path}", lambda: _mount(ctx, args))
    elif args.state in ("mounted", "ephemeral"):
        wrong = bool(mounted) and (
            actual["same"] is False
            or (args.fstype not in (None, "none", "auto") and not _is_type(args, mounted))
        )
        if mounted and wrong:
            yield Change(f"unmount {args.path}", lambda: _unmount(ctx, args), before=_describe(mounted))
        if not mounted or wrong:
            yield Change(
                f"mount {args.path}",
                lambda: _mount_fresh(ctx, args, actual["directory"]),
                before=_describe(mounted),
                after=f"{args.src} {args.fstype}\n",
            )
        elif edited and old is not None and old.split()[3:4] != new.split()[3:4]:
            yield Change(f"options of {args.path}", lambda: _remount(ctx, args))
    elif args.state == "absent" and actual["directory"]:
        empty = bool(actual["mounted"]) or not ctx.node.list(args.path)
        if empty and (actual["mounted"] or old):
            yield Change(
                f"directory {args.path}",
                lambda: _run(ctx, ["rmdir", "--ignore-fail-on-non-empty", args.path]),
            )
    values: dict[str, Any] = {
        name: getattr(args, name) for name in ("src", "fstype", "dump", "passno", "fstab")
    }
    values = {name: value for name, value in values.items() if value is not None}
    options = {} if args.opts_no_log else {"opts": args.opts}
    boot = "yes" if args.boot else "no"
    return {"name": args.path, **values, **options, "boot": boot, "backup_file": "".join(kept)}


def _write(args: Arguments, ctx: Context, text: str, *, new: bool) -> str:
    kept = ctx.node.write(
        args.fstab, text.encode(), mode=0o644 if new else None, backup=args.backup and not new
    )
    return kept or ""


def _check(args: Arguments, ctx: Context) -> None:
    if not args.path.startswith("/"):
        raise PlaybookError(f"'path' of 'mount' must be absolute, not '{args.path}'", mark=ctx.mark)
    if args.state in ("mounted", "present", "ephemeral"):
        for name in ("src", "fstype"):
            if not getattr(args, name):
                raise PlaybookError(
                    f"'mount' with state '{args.state}' needs the argument '{name}'", mark=ctx.mark
                )


def _escape(text: str) -> str:
    for character in "\\ \t#":
        text = text.replace(character, f"\\{ord(character):03o}")
    return text


def _line(args: Arguments) -> str:
    fields = [_escape(args.src or ""), _escape(args.path), args.fstype or "", args.opts]
    return " ".join([*fields, args.dump, args.passno])


def _is_line_of(line: str, path: str) -> bool:
    words = line.split()
    return len(words) > 1 and not words[0].startswith("#") and words[1] == _escape(path)


def _find(text: str, path: str) -> str | None:
    return next((line for line in text.splitlines() if _is_line_of(line, path)), None)


def _with(text: str, path: str, line: str | None) -> str:
    """The fstab with this line for `path` (None: without one). A line that says the same stays as it was
    written, spaces and all."""
    found, lines = False, []
    for old in text.splitlines():
        if not _is_line_of(old, path):
            lines.append(old)
        elif line is not None and not found:
            found = True
            same = [*old.split(), "0", "0"][:6] == line.split() if len(old.split()) >= 4 else False
            lines.append(old if same else line)
    if line is not None and not found:
        lines.append(line)
    joined = "".join(f"{entry}\n" for entry in lines)
    return text if joined.rstrip("\n") == text.rstrip("\n") else joined


def _is_type(args: Arguments, mounted: dict[str, Any]) -> bool:
    if "bind" in args.opts.split(","):
        return True
    return mounted["fstype"] == args.fstype or {mounted["fstype"], args.fstype} == {"nfs", "nfs4"}


def _describe(mounted: dict[str, Any] | None) -> str:
    return f"{mounted['source']} {mounted['fstype']}\n" if mounted else ""


def _mount_fresh(ctx: Context, args: Arguments, there: bool) -> None:
    if not there:
        ctx.node.mkdir(args.path)
    _mount(ctx, args)


def _mount(ctx: Context, args: Arguments) -> None:
    if args.state == "ephemeral":
        _run(ctx, ["mount", "-t", str(args.fstype), "-o", args.opts, str(args.src), args.path])
    elif args.fstab == "/etc/fstab":
        _run(ctx, ["mount", args.path])
    else:
        _run(ctx, ["mount", "--fstab", args.fstab, args.path])


def _remount(ctx: Context, args: Arguments) -> None:
    _run(ctx, ["mount", "-o", f"remount,{args.opts}", args.path])


def _unmount(ctx: Context, args: Arguments) -> None:
    _run(ctx, ["umount", args.path])


def _run(ctx: Context, argv: list[str]) -> None:
    done = ctx.node.run(argv, timeout=ctx.timeout, output=ctx.output)
    if done.rc or done.timed_out:
        said = "; ".join(line.strip() for line in done.error_text().splitlines() if line.strip())
        reason = f"no answer within {ctx.timeout:g} s" if done.timed_out and ctx.timeout else said
        raise TaskFailed(
            f"'{' '.join(argv)}' failed on {ctx.host}: {reason or f'exit status {done.rc}'}", rc=done.rc
        )
