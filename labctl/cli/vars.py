"""`labctl vars HOST`: the variables of a host, and with --why where one comes from and what it went before."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from labctl.cli import common, flags
from labctl.errors import LabctlError, UndefinedVariable, UsageError, did_you_mean
from labctl.paths import own_or_builtin

if TYPE_CHECKING:
    from labctl.inventory import Inventory
    from labctl.playbook import Keywords, Playbook
    from labctl.playbook.origins import Origin, Setter
    from labctl.variables import Scope


def add_parser(commands: Any) -> None:
    parser = commands.add_parser("vars", help="where a host's variables come from", description=__doc__)
    parser.add_argument("host", metavar="HOST", help="a host of the inventory")
    parser.add_argument("--why", metavar="NAME", help="where this variable comes from, and what it overrode")
    parser.add_argument("-p", "--playbook", metavar="FILE", help="with what this playbook gives as well")
    parser.add_argument("--task", metavar="NAME", help="as this task of the playbook sees it")
    parser.add_argument("--json", action="store_true", help="one JSON object")
    parser.add_argument(
        "-e", "--extra-vars", action="append", default=[], metavar="VARS", help="k=v, JSON, YAML or @file"
    )
    flags.add_inventory(parser)


def run(args: argparse.Namespace) -> int:
    from labctl.playbook import load_playbook
    from labctl.playbook.origins import origins, setters
    from labctl.task_types import Registry
    from labctl.variables import Scope, Templar, parse_extra_vars
    from labctl.vault.keyring import hide

    if args.task and not args.playbook:
        raise UsageError("--task is a task of a playbook", hint="name it with -p FILE")
    _sources, inventory = common.load_inventory(args)
    extra = parse_extra_vars(args.extra_vars)
    node: Keywords | None = None
    later: list[Setter] = []
    if args.playbook:
        path = Path(own_or_builtin(args.playbook))
        folders = [folder / "tasks" for folder in (path.parent, path.parent.parent)]
        book = load_playbook(str(path), Registry([f for f in folders if f.is_dir()]), extra_vars=extra)
        node = _node(book, args.task, {host.name for host in inventory.match(args.host)}, inventory)
        later = [setter for play in book.plays for setter in setters(play, args.why or "")]
    templar = Templar()
    found = origins(inventory, args.host, templar, node=node, extra_vars=extra)
    magic = _magic(inventory, args.host, node)
    scope = Scope(templar, [*(origin.values for origin in found), magic])
    if args.why:
        said = _why(args.why, found, scope, later)
    else:
        said = {name: hide(_value(scope, name)) for name in sorted(scope) if name not in magic}
    if args.json:
        sys.stdout.write(json.dumps(said, indent=2, default=str, ensure_ascii=False) + "\n")
    elif args.why:
        sys.stdout.write("\n".join(_lines(args.why, args.host, said)) + "\n")
    else:
        for name, value in said.items():
            origin = next(origin for origin in reversed(found) if name in origin.values)
            sys.stdout.write(f"{name}: {_short(value)}\n    {_place(origin, name)}\n")
    return 0


def _magic(inventory: Inventory, name: str, node: Keywords | None) -> dict[str, Any]:
    """What labctl itself gives a host in a play, as far as it is known before a run."""
    host = inventory.host(name)
    return {
        "inventory_hostname": name,
        "inventory_hostname_short": name.split(".", maxsplit=1)[0],
        "group_names": sorted(group for group in host.groups if group != "all"),
        "groups": inventory.memberships(),
        "playbook_dir": str((node.play.dir if node else Path()).resolve()),
        **host.magic(),
    }


def _node(book: Playbook, task: str | None, hosts: set[str], inventory: Inventory) -> Keywords:
    """The task of that name, or else the first play that is for the host."""
    from labctl.playbook import Task, walk

    tasks = [
        entry
        for play in book.plays
        for _section, entries in play.sections()
        for entry in walk(entries)
        if isinstance(entry, Task)
    ]
    if task is not None:
        for entry in tasks:
            if task in (entry.label(), entry.name):
                return entry
        names = [entry.label() for entry in tasks]
        hint = did_you_mean(task, names) or "tasks of an include_tasks are read only during a run"
        raise UsageError(f"there is no task '{task}' in {book.path}", hint=hint)
    for play in book.plays:
        if "{{" in str(play.hosts) or hosts & {host.name for host in inventory.match(play.hosts)}:
            return play
    raise UsageError(f"no play of {book.path} is for {', '.join(sorted(hosts))}")


def _why(name: str, found: Sequence[Origin], scope: Scope, later: Sequence[Setter]) -> dict[str, Any]:
    giving = [origin for origin in reversed(found) if name in origin.values]
    if not giving and not later:
        raise UndefinedVariable(f"nothing gives '{name}' a value", hint=did_you_mean(name, scope))
    places: list[dict[str, Any]] = [
        {"what": origin.what, "at": str(origin.mark(name) or ""), "value": _raw(origin.values[name])}
        for origin in giving
    ]
    first: dict[str, dict[str, Any]] = {}
    for place in places:
        first.setdefault(_same(place), place)
    places = [*first.values()]
    return {
        "name": name,
        "value": _value(scope, name) if giving else None,
        "from": places[0] if places else None,
        "over": places[1:],
        "later": [{"what": setter.what, "at": str(setter.mark)} for setter in later],
    }


def _same(place: Mapping[str, str]) -> str:
    """What tells places apart: one file may stand beside the inventory and beside the playbook."""
    return os.path.realpath(place["at"]) if place["at"] else place["what"]


def _value(scope: Scope, name: str) -> Any:
    try:
        return scope[name]
    except LabctlError as error:
        return f"({error.message})"


def _raw(value: Any) -> Any:
    return "(encrypted)" if getattr(value, "vault", False) else value


def _lines(name: str, host: str, said: dict[str, Any]) -> Iterator[str]:
    if said["from"] is None:
        yield f"{name} has no value on {host} before a run"
    else:
        yield f"{name} = {_short(said['value'])}   (on {host})"
        written = said["from"]["value"]
        if written != said["value"]:
            yield f"  written  {_short(written)}"
        yield f"  from     {_at(said['from'])}"
    for place in said["over"]:
        yield f"  over     {_short(place['value'])}   {_at(place)}"
    for setter in said["later"]:
        yield f"  later    {setter['what']}   {setter['at']}"


def _at(place: dict[str, Any]) -> str:
    return f"{place['at']}   {place['what']}" if place["at"] else str(place["what"])


def _place(origin: Origin, name: str) -> str:
    return _at({"at": str(origin.mark(name) or ""), "what": origin.what})


def _short(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value, default=str, ensure_ascii=False)
    return (
        text if len(text) <= 200 and "\n" not in text else json.dumps(text[:200], ensure_ascii=False) + " …"
    )
