"""Keep keys that may log in as a user: lines of authorized_keys. Returns the arguments, and keyfile."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, Literal

from labctl.errors import TaskFailed
from labctl.task_types import Args, Change, Context, Steps, arg


@dataclass(kw_only=True)
class Arguments(Args):
    user: str = arg(doc="Who may log in with them.")
    key: str = arg(doc="The keys, a line each; or a URL, or file:///path of the host, that has them.")
    path: str | None = arg(None, doc="The file, else ~USER/.ssh/authorized_keys.")
    manage_dir: bool = arg(True, doc="Make the file's folder, and set its owner and mode.")
    state: Literal["present", "absent"] = arg("present", doc="Whether they are to be there.")
    key_options: str | None = arg(None, doc="Options in front of the keys: 'no-pty,from=\"10.0.0.0/8\"'.")
    exclusive: bool = arg(False, doc="Take all other keys away.")
    comment: str | None = arg(None, doc="The keys' comment in place of their own.")
    validate_certs: bool = arg(True, doc="Check the certificate of the URL's server.")
    follow: bool = arg(False, doc="Follow a link to the file.")


def run(args: Arguments, ctx: Context) -> Steps:
    found = ctx.node.call(
        "authorized_keys",
        "look",
        user=args.user,
        path=args.path,
        key=args.key,
        follow=args.follow,
        validate_certs=args.validate_certs,
    )
    if found["problem"]:
        if ctx.check and found["home"] is None and args.path is None:
            yield Change(f"keys of {args.user}", lambda: None, unknown=f"{found['problem']} before this run")
            return _values(args, None)
        raise TaskFailed(found["problem"])
    before = found["text"] or ""
    after = _edited(args, before, found["key"])
    if after != before:
        yield Change(
            f"keys of {args.user} in {found['keyfile']}",
            lambda: ctx.node.call(
                "authorized_keys",
                "keep",
                user=args.user,
                path=found["keyfile"],
                text=after,
                manage_dir=args.manage_dir,
                follow=args.follow,
            ),
            before=before,
            after=after,
        )
    return _values(args, found["keyfile"])


def _values(args: Arguments, keyfile: str | None) -> dict[str, Any]:
    names = "user key path manage_dir state key_options exclusive comment validate_certs follow"
    return {**{name: getattr(args, name) for name in names.split()}, "keyfile": keyfile}


_TYPE = re.compile(
    r"(?:^|(?<=\s))((?:webauthn-)?(?:sk-)?(?:ssh-(?:rsa|dss|ed25519|xmss)|ecdsa-sha2-nistp\d+|rsa-sha2-\d+)"
    r"(?:-cert-v01)?(?:@openssh\.com)?)\s+(\S+)\s*(.*)$"
)
Key = tuple[str, str, tuple[tuple[str, str | None], ...], str]


def _parsed(line: str) -> Key | None:
    """A line's key, its type, options and comment; None for a line that is no key."""
    if line.lstrip().startswith("#"):
        return None
    found = _TYPE.search(line.strip())
    if not found:
        return None
    return found[2], found[1], _options(line.strip()[: found.start()].strip()), " ".join(found[3].split())


def _options(text: str) -> tuple[tuple[str, str | None], ...]:
    known: dict[str, str | None] = {}
    for part in re.findall(r"""(?:[^,"']|"[^"]*"|'[^']*')+""", text):
        name, equals, value = part.partition("=")
        known[name] = value if equals else None
    return tuple(known.items())


def _line(key: Key) -> str:
    options = ",".join(name if value is None else f"{name}={value}" for name, value in key[2])
    return f"{options} {key[1]} {key[0]} {key[3]}\n".lstrip()


def _edited(args: Arguments, text: str, given: str) -> str:
    """The file with the keys as asked. Lines that are as asked stay as they are written."""
    wanted: dict[str, Key] = {}
    for line in given.splitlines():
        if not line or line.startswith("#"):
            continue
        key = _parsed(line)
        if key is None:
            raise TaskFailed(f"invalid key specified: {line}")
        options = key[2] if args.key_options is None else _options(args.key_options)
        wanted[key[0]] = (key[0], key[1], options, key[3] if args.comment is None else args.comment)
    lines: dict[str, tuple[str, Key | None]] = {}
    for line in text.splitlines(keepends=True):
        there = _parsed(line)
        lines[there[0] if there else line] = (line, there)
    changed = False
    for name, key in wanted.items():
        known = lines.get(name, ("", None))[1]
        if args.state == "absent":
            changed |= lines.pop(name, None) is not None
        elif known is None or (*known[:2], dict(known[2]), known[3]) != (*key[:2], dict(key[2]), key[3]):
            lines.pop(name, None)
            lines[name] = (_line(key), key)
            changed = True
    if args.exclusive and args.state == "present":
        changed |= any(name not in wanted for name in lines)
        lines = {name: lines[name] for name in wanted}
    if not changed:
        return text
    return "".join(line if key is None else _line(key) for line, key in lines.values())
