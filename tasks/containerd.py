"""Have containerd installed, recent enough, configured, running and answering.

`config` is merged into the node's configuration file: what it names gets its value, everything else stays.
The service is restarted when the file changed. On a node whose root may not lower OOM scores (a container
without CAP_SYS_RESOURCE) `restrict_oom_score_adj` of the CRI plugin is set: pods would not start otherwise.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from labctl.errors import TaskFailed
from labctl.task_types import Args, Change, Context, Steps, arg, load

_apt = load(Path(__file__).with_name("apt.py"))
_service = load(Path(__file__).with_name("service.py"))


@dataclass(kw_only=True)
class Arguments(Args):
    state: Literal["present"] = arg("present", doc="Installed, configured, running.")
    version: str = arg("1.7", doc="The oldest version that will do.")
    config: dict[str, Any] = arg({}, doc="Settings to merge into the configuration, as in its TOML file.")
    config_path: str = arg("/etc/containerd/config.toml", doc="The configuration file.")
    package: str = arg("containerd", doc="The package that brings it.")
    service: str = arg("containerd", doc="Its service.")
    update_cache: bool = arg(
        True, doc="Fetch the package lists before installing (when it is not installed)."
    )


def run(args: Arguments, ctx: Context) -> Steps:
    if not re.fullmatch(r"\d+(\.\d+)*", args.version):
        raise TaskFailed(f"'{args.version}' is not a version", hint="for example '1.7'")
    found = _look(ctx, args)
    if found["version"] is None:
        install = _apt.arguments(name=[args.package], update_cache=args.update_cache)  # type: ignore[call-arg]
        yield from _apt.run(install, ctx)
        if ctx.check:
            unknown = "what the package brings is known when it is installed"
            yield Change(f"configuration {args.config_path}", lambda: None, unknown=unknown)
            return {"version": None}
        found = _look(ctx, args)
    if found["version"] is None or _older(found["version"], args.version):
        has = f"containerd {found['version']}" if found["version"] else "no containerd"
        raise TaskFailed(
            f"{ctx.host} has {has}, and {args.version} or newer is required",
            hint=f"a newer '{args.package}' must be in one of its package sources",
            version=found["version"],
        )
    edited = yield from _configure(args, ctx, found)
    if edited or not found["answers"]:
        # A restart also starts what is down, and helps one that runs and does not answer.
        restart = _service.arguments(name=args.service, state="restarted")  # type: ignore[call-arg]
        yield from _service.run(restart, ctx)
        if not ctx.check:
            found = _look(ctx, args)
            if not found["answers"]:
                raise TaskFailed(f"containerd on {ctx.host} does not answer after its service was restarted")
    return {"version": found["version"], "server": found["server"], "config_path": args.config_path}


def _look(ctx: Context, args: Arguments) -> dict[str, Any]:
    found = ctx.node.call("capacity", "containerd", config=args.config_path)
    return dict(found)


def _configure(args: Arguments, ctx: Context, found: dict[str, Any]) -> Any:
    text = found["config"] or ""
    try:
        actual = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise TaskFailed(f"{args.config_path} on {ctx.host} is not TOML: {error}") from None
    wanted = _merged(actual, _defaults(actual, found))
    wanted = _merged(wanted, args.config)
    if wanted == actual:
        return False
    rendered = to_toml(wanted)
    yield Change(
        f"configuration {args.config_path}",
        lambda: _write(ctx, args.config_path, rendered),
        before=text,
        after=rendered,
    )
    return True


def _write(ctx: Context, path: str, text: str) -> None:
    ctx.node.mkdir(str(Path(path).parent))
    ctx.node.write(path, text.encode(), mode=0o644)


def _defaults(actual: dict[str, Any], found: dict[str, Any]) -> dict[str, Any]:
    """What the file must say whoever wrote it. Version 3 of the file (containerd 2) renamed the CRI plugin."""
    number = actual.get("version") or (3 if not _older(found["version"], "2.0") else 2)
    plugin = "io.containerd.cri.v1.runtime" if number >= 3 else "io.containerd.grpc.v1.cri"
    wanted: dict[str, Any] = {"version": number}
    if not found["may_lower_oom_score"]:
        wanted["plugins"] = {plugin: {"restrict_oom_score_adj": True}}
    return wanted


def _merged(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    result = dict(base)
    for key, value in over.items():
        below = result.get(key)
        result[str(key)] = (
            _merged(below, value) if isinstance(value, Mapping) and isinstance(below, Mapping) else value
        )
    return result


def _older(version: str, than: str) -> bool:
    return [int(n) for n in version.split(".")] < [int(n) for n in than.split(".")]


def to_toml(data: Mapping[str, Any], path: tuple[str, ...] = ()) -> str:
    """TOML text of nested mappings, lists and plain values; tables after the values of their parent."""
    lines = [f"{_key(k)} = {_value(v)}\n" for k, v in data.items() if not isinstance(v, Mapping)]
    indent = "  " * max(0, len(path) - 1)
    text = "".join(indent + line for line in lines)
    if path and (lines or not data):
        text = f"{indent}[{'.'.join(map(_key, path))}]\n{text}"
    for key, value in data.items():
        if isinstance(value, Mapping):
            below = to_toml(value, (*path, str(key)))
            text += f"\n{below}" if text and below else below
    return text


def _key(key: str) -> str:
    return key if re.fullmatch(r"[A-Za-z0-9_-]+", key) else _string(key)


def _value(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return str(value)
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(_value, value)) + "]"
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{_key(str(k))} = {_value(v)}" for k, v in value.items()) + "}"
    if isinstance(value, str):
        return _string(value)
    raise TaskFailed(f"{value!r} cannot stand in a containerd configuration")


def _string(text: str) -> str:
    escapes = {"\\": "\\\\", '"': '\\"', "\n": "\\n", "\t": "\\t", "\r": "\\r"}
    body = "".join(
        escapes.get(c) or (c if ord(c) >= 32 and ord(c) != 127 else f"\\u{ord(c):04x}") for c in text
    )
    return f'"{body}"'
