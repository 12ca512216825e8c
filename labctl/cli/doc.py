"""`labctl doc [TASKTYPE …]`: the task types and their arguments, from their own files."""

from __future__ import annotations

import argparse
import json
import sys
import textwrap
from pathlib import Path
from typing import Any

from labctl.cli.doc_actions import ACTIONS
from labctl.task_types import Parameter, Registry, TaskType, short_name


def add_parser(commands: Any) -> None:
    parser = commands.add_parser("doc", help="the task types and their arguments", description=__doc__)
    parser.add_argument("name", nargs="*", metavar="TASKTYPE", help="task types to describe")
    parser.add_argument("-l", "--list", action="store_true", help="name them all, a line each")
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument(
        "-M",
        "--module-path",
        action="append",
        default=[],
        metavar="FOLDERS",
        help="further folders of task types",
    )


def run(args: argparse.Namespace) -> int:
    further = [Path(name).expanduser() for given in args.module_path for name in given.split(":") if name]
    registry = Registry([*further, *(folder for folder in (Path("tasks"),) if folder.is_dir())])
    names = args.name or sorted({*registry.names(), *ACTIONS})
    types = {name: None if short_name(name) in ACTIONS else registry.get(name) for name in names}
    if args.json:
        said = {t.name if t else name: _schema(t) if t else _schema_of(name) for name, t in types.items()}
        sys.stdout.write(json.dumps(said, indent=2, default=str) + "\n")
    elif args.list or not args.name:
        width = max((len(name) for name in types), default=0)
        for name, t in types.items():
            about = _first_sentence(t.doc) if t else _first_sentence(ACTIONS[short_name(name)][0])
            sys.stdout.write(f"{name.ljust(width)}  {about}\n")
    else:
        sys.stdout.write("\n\n".join(_page(t) if t else _page_of(name) for name, t in types.items()) + "\n")
    return 0


def _page_of(name: str) -> str:
    name = short_name(name)
    about, arguments = ACTIONS[name]
    lines = [name, "=" * len(name), "", *textwrap.wrap(about, 100), "", "Arguments"]
    for argument, doc in arguments.items():
        lines += [
            f"  {argument}",
            *textwrap.wrap(doc, 92, initial_indent="      ", subsequent_indent="      "),
        ]
    return "\n".join(lines)


def _schema_of(name: str) -> dict[str, Any]:
    about, arguments = ACTIONS[short_name(name)]
    return {"doc": about, "arguments": {argument: {"doc": doc} for argument, doc in arguments.items()}}


def _first_sentence(doc: str) -> str:
    return " ".join(doc.split("\n\n", 1)[0].split()).split(". ", 1)[0].rstrip(".")


def _page(task_type: TaskType) -> str:
    lines = [task_type.name, "=" * len(task_type.name), "", task_type.doc or "", "", "Arguments"]
    for parameter in task_type.parameters.values():
        lines.append(f"  {_canonical(parameter)}  ({_traits(parameter)})")
        lines.extend(textwrap.wrap(parameter.doc, 92, initial_indent="      ", subsequent_indent="      "))
    if task_type.arguments.any_name:
        lines.append("  any other name is taken as it is")
    arguments = task_type.arguments
    lines.extend(f"One of these is needed: {', '.join(names)}" for names in arguments.required_one_of)
    lines.extend(f"Only one of these: {', '.join(names)}" for names in arguments.mutually_exclusive)
    lines.append(f"File: {task_type.path}")
    return "\n".join(lines)


def _canonical(parameter: Parameter) -> str:
    return parameter.name.rstrip("_")


def _traits(parameter: Parameter) -> str:
    traits = [parameter.type_name()]
    if parameter.choices:
        traits.append("one of " + ", ".join(map(str, parameter.choices)))
    traits.append(
        "required" if parameter.required else f"default {json.dumps(parameter.default, default=str)}"
    )
    others = [alias for alias in parameter.aliases if alias != _canonical(parameter)]
    if others:
        traits.append(f"also {', '.join(others)}")
    if parameter.free_form:
        traits.append("free form")
    return "; ".join(traits)


def _schema(task_type: TaskType) -> dict[str, Any]:
    return {
        "doc": task_type.doc,
        "file": str(task_type.path),
        "arguments": {
            _canonical(p): {
                "type": p.type_name(),
                "doc": p.doc,
                "required": p.required,
                "default": p.default,
                "aliases": [alias for alias in p.aliases if alias != _canonical(p)],
                "choices": list(p.allowed()),
                "free_form": p.free_form,
            }
            for p in task_type.parameters.values()
        },
    }
