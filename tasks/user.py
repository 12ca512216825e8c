"""Keep a user account, its home directory, groups, password and SSH key.

Returns name, state, uid, group (the primary one's number), groups, comment, home, shell; with `generate_ssh_key`
ssh_key_file, ssh_fingerprint, ssh_public_key.
"""

from __future__ import annotations

import os
import re
import time
from dataclasses import dataclass
from typing import Any, Literal

from labctl import commands
from labctl.errors import TaskFailed
from labctl.task_types import Args, Change, Context, Steps, arg

_PLAIN = (
    "The input password appears not to have been hashed. The 'password' argument must be encrypted for this module"
    " to work properly."
)


@dataclass(kw_only=True)
class Arguments(Args):
    name: str = arg(doc="The user's name.", aliases=("user",))
    state: Literal["present", "absent"] = arg("present", doc="Whether it is to be there.")
    uid: int | None = arg(None, doc="Its number.")
    non_unique: bool = arg(False, doc="Let another user have the same number.")
    comment: str | None = arg(None, doc="Its description (GECOS).")
    group: str | None = arg(None, doc="The primary group, by name or number.")
    groups: list[str] | None = arg(None, doc="Supplementary groups; others are left unless `append`.")
    append: bool = arg(False, doc="Keep the groups that are not in `groups`.")
    shell: str | None = arg(None, doc="The login shell.")
    home: str | None = arg(None, doc="The home directory.")
    create_home: bool = arg(True, doc="Make the home directory when it is missing.", aliases=("createhome",))
    move_home: bool = arg(False, doc="Move the old home directory to the new `home`.")
    skeleton: str | None = arg(None, doc="What a new home directory is a copy of, else /etc/skel.")
    umask: str | None = arg(None, doc="What a new home directory's mode lacks, octal.")
    password: str | None = arg(None, doc="The password's hash; '!' or '*' for none.", secret=True)
    update_password: Literal["always", "on_create"] = arg("always", doc="Whether to change one that differs.")
    password_lock: bool | None = arg(None, doc="Lock the password, or unlock it.")
    password_expire_max: int | None = arg(None, doc="Days after which it must be changed.")
    password_expire_min: int | None = arg(None, doc="Days before which it may not be changed.")
    password_expire_warn: int | None = arg(None, doc="Days of warning before it expires.")
    password_expire_account_disable: int | None = arg(None, doc="Days from its end to the account's.")
    expires: float | None = arg(None, doc="When the account ends, in seconds since 1970; below 0: never.")
    system: bool = arg(False, doc="Make it a system account.")
    remove: bool = arg(False, doc="With 'absent': its home directory and mail too.")
    force: bool = arg(
        False, doc="With 'absent': even while logged in. Make an SSH key over one that is there."
    )
    local: bool | None = arg(None, doc="Use libuser's programs, where accounts are kept centrally.")
    seuser: str | None = arg(None, doc="The SELinux user.")
    uid_min: int | None = arg(None, doc="The lowest number to choose; over login.defs' UID_MIN.")
    uid_max: int | None = arg(None, doc="The highest number to choose; over login.defs' UID_MAX.")
    generate_ssh_key: bool | None = arg(None, doc="Make an SSH key pair when there is none.")
    ssh_key_bits: int = arg(0, doc="Its length; 0: as ssh-keygen chooses.")
    ssh_key_type: str = arg("rsa", doc="Its type.")
    ssh_key_file: str | None = arg(None, doc="Its file, else .ssh/id_TYPE in the home directory.")
    ssh_key_comment: str | None = arg(None, doc="Its comment, else 'ansible-generated on HOSTNAME'.")
    ssh_key_passphrase: str | None = arg(None, doc="Its passphrase.", secret=True)
    login_class: str | None = arg(None, doc="For BSD; nothing on Linux.")
    hidden: bool | None = arg(None, doc="For macOS; nothing on Linux.")
    profile: str | None = arg(None, doc="For Solaris; nothing on Linux.")
    authorization: str | None = arg(None, doc="For Solaris; nothing on Linux.")
    role: str | None = arg(None, doc="For Solaris; nothing on Linux.")


def run(args: Arguments, ctx: Context) -> Steps:
    found = _look(args, ctx)
    for name, path in found.get("paths", {}).items():
        setattr(args, name, path)
    values: dict[str, Any] = {"name": args.name, "state": args.state}
    if args.password and not _is_hash(args.password):
        ctx.warn(_PLAIN)
        values["warnings"] = [_PLAIN]
    if args.state == "absent":
        if found["user"]:
            values |= yield from _delete(args, ctx, found["user"])
        return values
    if missing := [name for name, known in found["groups"].items() if known is None]:
        if not ctx.check:
            raise TaskFailed(f"Group {missing[0]} does not exist")
        reason = f"there is no group {missing[0]} before this run"
        yield Change(f"user {args.name}", lambda: None, unknown=reason)
        return values
    if found["user"] is None:
        values |= yield from _create(args, ctx, found)
        values |= {"system": args.system, "create_home": args.create_home}
    else:
        values |= yield from _modify(args, ctx, found)
        values |= {"append": args.append, "move_home": args.move_home}
    if args.password is not None:
        values["password"] = "NOT_LOGGING_PASSWORD"  # noqa: S105
    if not ctx.check and (found["user"] is None or values.get("changed")):
        found = _look(args, ctx)
    account = found["user"]
    if account is None:  # a dry run: it would be made
        return values
    values |= {"uid": account["uid"], "group": account["gid"], "comment": account["comment"]}
    values |= {"home": account["home"], "shell": account["shell"]}
    if args.groups is not None:
        values["groups"] = ",".join(args.groups)
    yield from _home(args, ctx, account)
    if args.generate_ssh_key:
        values |= yield from _ssh_key(args, ctx, account)
    yield from _age(args, ctx, account["shadow"] or {})
    return values


def _is_hash(password: str) -> bool:
    """Whether it has the form of a crypt(3) hash, or stands for no password."""
    if password in ("*", "!", "*************"):
        return True
    fields = password.split("$")
    length = {"1": 22, "5": 43, "6": 86, "y": 43}.get(fields[1], 0) if len(fields) >= 3 else 0
    odd = any(sign in password for sign in ":*!") or not re.fullmatch(r"[a-zA-Z0-9./]+", fields[-1])
    return len(fields) >= 3 and not odd and length in (0, len(fields[-1]))


def _look(args: Arguments, ctx: Context) -> dict[str, Any]:
    groups = [name for name in [args.group, *(args.groups or ())] if name]
    given = {name: getattr(args, name) for name in ("home", "shell", "ssh_key_file")}
    paths = {name: path for name, path in given.items() if path is not None and ("~" in path or "$" in path)}
    more = {"paths": paths} if paths else {}
    found: dict[str, Any] = ctx.node.call(
        "accounts", "user", name=args.name, groups=groups, local=bool(args.local), **more
    )
    return found


def _program(args: Arguments, verb: str) -> str:
    return f"{'luser' if args.local else 'user'}{verb}"


def _delete(args: Arguments, ctx: Context, account: dict[str, Any]) -> Steps:
    force = ["-f"] if args.force and not args.local else []
    argv = [_program(args, "del"), *force, *(["-r"] if args.remove else []), args.name]
    done = yield Change(
        f"user {args.name}",
        lambda: commands.must(ctx, argv, name=args.name),
        before=f"{args.name} {account['uid']}\n",
        after="",
    )
    return {"force": args.force, "remove": args.remove, **commands.spoken(done)}


def _create(args: Arguments, ctx: Context, found: dict[str, Any]) -> Steps:
    argv = [_program(args, "add"), *_options(args)]
    if args.group is not None:
        argv += ["-g", args.group]
    elif found["namesake"]:
        argv.append("-n" if args.local else "-N")
    if args.groups and not args.local:
        argv += ["-G", ",".join(args.groups)]
    for option, value in (("-c", args.comment), ("-d", args.home), ("-s", args.shell)):
        argv += [option, value] if value is not None else []
    if args.expires is not None and not args.local:
        argv += ["-e", "" if args.expires < 0 else _date(args.expires)]
    if args.password_expire_account_disable is not None:
        argv += ["-f", str(args.password_expire_account_disable)]
    if args.create_home:
        argv += [] if args.local else ["-m"]
        argv += ["-k", args.skeleton] if args.skeleton is not None else []
        argv += ["-K", f"UMASK={args.umask}"] if args.umask is not None else []
    else:
        argv.append("-M")
    for name, limit in (("UID_MIN", args.uid_min), ("UID_MAX", args.uid_max)):
        argv += ["-K", f"{name}={limit}"] if limit is not None else []
    argv += ["-r"] if args.system else []
    after = f"{args.name} {'' if args.uid is None else args.uid}".rstrip() + "\n"
    done = yield Change(
        f"user {args.name}", lambda: _make(args, ctx, [*argv, args.name]), before="", after=after
    )
    return commands.spoken(done)


def _make(args: Arguments, ctx: Context, argv: list[str]) -> Any:
    if args.home is not None and args.create_home:
        parent = os.path.dirname(args.home.rstrip("/"))
        if parent and ctx.node.stat(parent, follow=True) is None:
            ctx.node.mkdir(parent, mode=0o755)
    done = commands.must(ctx, argv, name=args.name)
    if args.local and args.groups:
        for group in args.groups:
            commands.must(ctx, ["lgroupmod", "-M", args.name, group], name=args.name)
    if args.password is not None:
        _set_password(args, ctx, locked=bool(args.password_lock))
    elif args.password_lock:
        commands.must(ctx, [_program(args, "mod"), "-L", args.name], name=args.name)
    return done


def _set_password(args: Arguments, ctx: Context, *, locked: bool) -> Any:
    """On standard input: an argument would be there for all to see."""
    line = f"{args.name}:{'!' if locked else ''}{args.password}\n"
    return commands.must(ctx, ["chpasswd", "-e"], stdin=line.encode(), name=args.name)


def _options(args: Arguments) -> list[str]:
    number = [] if args.uid is None else ["-u", str(args.uid), *(["-o"] if args.non_unique else [])]
    return [*number, *(["-Z", args.seuser] if args.seuser is not None else [])]


def _modify(args: Arguments, ctx: Context, found: dict[str, Any]) -> Steps:
    """One usermod for all that differs; what differs is shown line by line."""
    account = found["user"]
    shadow = account["shadow"] or {}
    argv: list[str] = []
    before: list[str] = []
    after: list[str] = []

    def differs(name: str, old: Any, new: Any, *words: str) -> None:
        if old != new:
            argv.extend(words)
            before.append(f"{name}: {old}\n")
            after.append(f"{name}: {new}\n")

    if args.uid is not None:
        differs("uid", account["uid"], args.uid, *_options(args)[: 3 if args.non_unique else 2])
    if args.group is not None:
        gid = found["groups"][args.group]["gid"]
        differs("group", account["gid"], gid, "-g", str(gid))
    if args.groups is not None and not args.local:
        have, want = set(account["groups"]), {found["groups"][name]["name"] for name in args.groups if name}
        want |= have if args.append else set()
        differs("groups", sorted(have), sorted(want), "-G", ",".join(sorted(want)))
    for name, option in (("comment", "-c"), ("home", "-d"), ("shell", "-s")):
        value = getattr(args, name)
        if value is not None:
            move = ["-m"] if name == "home" and args.move_home else []
            differs(name, account[name], value, option, value, *move)
    if args.expires is not None and not args.local:
        old = shadow.get("expires")
        was = "never" if old is None or old < 0 else _date(old * 86400)
        if account["shadow"] is None:  # no such line yet: usermod makes one
            was = "nothing"
        new = "never" if args.expires < 0 else _date(args.expires)
        differs("expires", was, new, "-e", "" if new == "never" else new)
    if (days := args.password_expire_account_disable) is not None:
        differs("inactive", shadow.get("inactive"), days, "-f", str(days))
    password = shadow.get("password", "")
    locked = password.startswith("!")
    fresh = (
        args.password is not None
        and args.update_password == "always"  # noqa: S105
        and password.lstrip("!") != args.password.lstrip("!")
    )
    if args.password_lock is not None and not fresh:
        differs("locked", locked, args.password_lock, "-L" if args.password_lock else "-U")
    if not (argv or fresh):
        return (yield from _libuser_groups(args, ctx, account)) if args.local else {}
    if fresh:
        before.append("password: …\n")
        after.append("password: another\n")

    def apply() -> Any:
        done = commands.must(ctx, [_program(args, "mod"), *argv, args.name], name=args.name) if argv else None
        if fresh:
            done = _set_password(args, ctx, locked=bool(args.password_lock)) if done is None else done
            if argv:
                _set_password(args, ctx, locked=bool(args.password_lock))
        return done

    done = yield Change(f"user {args.name}", apply, before="".join(before), after="".join(after))
    said = commands.spoken(done)
    return {
        **said,
        **((yield from _libuser_groups(args, ctx, account)) if args.local else {}),
        "changed": True,
    }


def _libuser_groups(args: Arguments, ctx: Context, account: dict[str, Any]) -> Steps:
    have, want = set(account["groups"]), set(args.groups or ())
    lines = [("-M", group) for group in sorted(want - have)]
    if not args.append and args.groups is not None:
        lines += [("-m", group) for group in sorted(have - want)]
    for option, group in lines:
        argv = ["lgroupmod", option, args.name, group]
        yield Change(
            f"group {group} of {args.name}", lambda argv=argv: commands.must(ctx, argv, name=args.name)
        )
    return {"changed": True} if lines else {}


def _home(args: Arguments, ctx: Context, account: dict[str, Any]) -> Steps:
    if args.create_home and not account["home_exists"]:
        path = args.home or account["home"]
        yield Change(
            f"home directory {path}",
            lambda: ctx.node.call(
                "accounts",
                "make_home",
                path=path,
                skeleton=args.skeleton,
                umask=args.umask,
                uid=account["uid"],
                gid=account["gid"],
            ),
        )
    return {}


def _ssh_key(args: Arguments, ctx: Context, account: dict[str, Any]) -> Steps:
    path = os.path.join(account["home"], args.ssh_key_file or f".ssh/id_{args.ssh_key_type}")
    key = ctx.node.call("accounts", "ssh_key", path=path)
    if key is None or args.force:
        yield Change(f"SSH key {path}", lambda: _make_key(args, ctx, account, path))
        key = None if ctx.check else ctx.node.call("accounts", "ssh_key", path=path)
    return {
        "ssh_key_file": path,
        "ssh_fingerprint": key["fingerprint"] if key else None,
        "ssh_public_key": key["public"] if key else None,
    }


def _make_key(args: Arguments, ctx: Context, account: dict[str, Any], path: str) -> None:
    told = ctx.node.call(
        "accounts",
        "make_ssh_key",
        path=path,
        kind=args.ssh_key_type,
        bits=args.ssh_key_bits,
        comment=args.ssh_key_comment,
        passphrase=args.ssh_key_passphrase,
        uid=account["uid"],
        gid=account["gid"],
    )
    if told["rc"] != 0:
        raise TaskFailed(f"ssh-keygen failed: {told['output'].strip()}", rc=told["rc"], name=args.name)


def _age(args: Arguments, ctx: Context, shadow: dict[str, Any]) -> Steps:
    argv: list[str] = []
    for option, name in (("-m", "min"), ("-M", "max"), ("-W", "warn")):
        days = getattr(args, f"password_expire_{name}")
        if days is not None and days != shadow.get(name):
            argv += [option, str(days)]
    if argv:
        yield Change(
            f"password age of {args.name}",
            lambda: commands.must(ctx, ["chage", *argv, args.name], name=args.name),
        )
    return {}


def _date(seconds: float) -> str:
    return time.strftime("%Y-%m-%d", time.gmtime(seconds))
