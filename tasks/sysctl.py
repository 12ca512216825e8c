"""Keep a kernel parameter in a file of sysctl's, and have it hold.

Returns changed. `sysctl_set` sets the parameter itself too; `reload` has sysctl read the file after a change.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, Literal

from labctl import commands
from labctl.errors import NodeError, TaskFailed
from labctl.node.api import Completed
from labctl.task_types import Args, Change, Context, Steps, arg

_YES = {"yes", "on", "true", "t", "y", "1"}
_NO = {"no", "off", "false", "f", "n", "0"}
# sysctl may end well and yet have failed.
_REFUSED = re.compile(
    r'^sysctl: setting key "[^"]+".*: (Invalid argument|Read-only file system)$', re.MULTILINE
)


@dataclass(kw_only=True)
class Arguments(Args):
    name: str = arg(doc="The parameter: 'net.ipv4.ip_forward'.", aliases=("key",))
    value: str | None = arg(None, doc="Its value.", aliases=("val",))
    state: Literal["present", "absent"] = arg("present", doc="Whether its line is to be in the file.")
    reload: bool = arg(True, doc="Run 'sysctl -p' on the file when something changed.")
    sysctl_set: bool = arg(False, doc="Set the parameter by sysctl as well.")
    ignoreerrors: bool = arg(False, doc="Pass over parameters this kernel has not.")
    sysctl_file: str = arg("/etc/sysctl.conf", doc="The file.")


def run(args: Arguments, ctx: Context) -> Steps:
    name, value = args.name.strip(), _value(args.value)
    if not name:
        raise TaskFailed("name cannot be blank")
    if args.state == "present" and not value:
        raise TaskFailed(
            "value cannot be blank" if args.value is not None else "state is present but value is missing"
        )
    found = ctx.node.call("kernel", "parameter", name=name, path=args.sysctl_file)
    text, lines = found["text"] or "", (found["text"] or "").splitlines()
    old = next((pair[1] for pair in reversed(_pairs(lines)) if pair[0] == name), None)
    wanted = _edited(lines, name, value if args.state == "present" else None)
    edited = old != value if args.state == "present" else old is not None
    differs = args.state == "present" and (found["value"] is None or found["value"].split() != value.split())
    changed = edited or (
        (args.reload or args.sysctl_set) and differs and (old is not None or args.sysctl_set)
    )
    if args.sysctl_set and differs and found["value"] is not None:
        yield Change(
            name,
            lambda: _sysctl(ctx, [*_lenient(args), "-w", f"{name}={value}"], f"setting {name} failed"),
            before=f"{found['value']}\n",
            after=f"{value}\n",
        )
    if edited:
        after = "".join(f"{line}\n" for line in wanted)
        yield Change(
            args.sysctl_file,
            lambda: ctx.node.write(found["path"], after.encode(errors="surrogateescape")),
            before=text,
            after=after,
        )
    if changed and args.reload:
        argv = [*_lenient(args), "-p", args.sysctl_file]
        yield Change("kernel parameters", lambda: _sysctl(ctx, argv, "Failed to reload sysctl"))
    return {"changed": bool(changed)}


def _lenient(args: Arguments) -> list[str]:
    return ["-e"] if args.ignoreerrors else []


def _value(given: Any) -> str:
    text = str(given).strip() if given is not None else ""
    return "1" if text.lower() in _YES else "0" if text.lower() in _NO else text


def _pairs(lines: list[str]) -> list[tuple[str, str]]:
    pairs = (line.split("=", 1) for line in lines if "=" in line and not line.lstrip().startswith(("#", ";")))
    return [(key.strip(), value.strip()) for key, value in pairs]


def _edited(lines: list[str], name: str, value: str | None) -> list[str]:
    """The file's lines with one line of each parameter, and this one's with `value` (None: without)."""
    seen: set[str] = set()
    new: list[str] = []
    for line in lines:
        pair = _pairs([line])
        if not pair:
            new.append(line.strip())
            continue
        key, old = pair[0]
        if key in seen:
            continue
        seen.add(key)
        if key != name:
            new.append(f"{key}={old}")
        elif value is not None:
            new.append(f"{key}={value}")
    if name not in seen and value is not None:
        new.append(f"{name}={value}")
    return new


def _sysctl(ctx: Context, arguments: list[str], problem: str) -> Completed:
    try:
        done = ctx.node.run(["sysctl", *arguments], env={"LC_ALL": "C"}, timeout=ctx.timeout)
    except NodeError as error:
        if error.errno_name != "ENOENT":
            raise
        return commands.must(ctx, ["sysctl"])  # says that it is not there
    if done.rc or _REFUSED.search(done.error_text()):
        raise TaskFailed(f"{problem}: {(done.text() + done.error_text()).strip()}", rc=done.rc)
    return done
