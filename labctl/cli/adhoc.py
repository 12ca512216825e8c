"""One task on the nodes, without a playbook file: behind `exec` and `facts`."""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from labctl import yaml
from labctl.cli import common
from labctl.cli.run import registry_for
from labctl.errors import Mark, UsageError
from labctl.events import Bus, Subscriber
from labctl.playbook import Play, Playbook
from labctl.playbook.loader import Loader
from labctl.playbook.tasks import read_entries
from labctl.playbook.validate import validate
from labctl.task_types import Registry

_SOURCE = "command line"
_RECORD = ("events.jsonl", "resume.jsonl", "run.json")


def playbook(
    pattern: str,
    task: Mapping[str, Any],
    registry: Registry,
    folder: Path | None = None,
) -> Playbook:
    """A playbook of one play with one task, checked; it stands in `folder` (here). PlaybookError."""
    loader = Loader(registry)
    start = Mark(_SOURCE, 1, 1)
    here = (folder or Path.cwd()) / "command-line"
    action = next(iter(task))
    play = Play(mark=start, path=here, name=f"labctl {action}", hosts=pattern, gather_facts=False)
    entries = yaml.load(json.dumps([task]), _SOURCE)
    with loader.problems.catch():
        play.tasks = read_entries(entries, start, play, loader, "tasks", handlers=False)
    book = Playbook(path=here, plays=[play])
    validate(book, loader)
    for problem in loader.problems.errors:
        if problem.mark and problem.mark.file == _SOURCE:
            problem.mark = None  # a place in the text made above, which nobody has seen
    loader.problems.raise_all()
    return book


def _keywords(args: argparse.Namespace) -> dict[str, Any]:
    """What -B, -P and --task-timeout say of the task."""
    given = {
        "async": getattr(args, "background", None),
        "poll": getattr(args, "poll", None),
        "timeout": getattr(args, "task_timeout", None),
    }
    return {name: value for name, value in given.items() if value is not None}


def execute(
    args: argparse.Namespace, action: str, arguments: str | Mapping[str, Any] | None, subscriber: Subscriber
) -> int:
    """Run it, its events going to `subscriber`; the exit code comes back. The run's folder is kept only where the
    task has left files of its own in it."""
    from labctl.engine.run import run

    options = common.options(args, sys.argv[1:])
    sources, inventory = common.load_inventory(args)
    folder = Path(getattr(args, "playbook_dir", None) or ".")
    if not folder.is_dir():
        raise UsageError(f"--playbook-dir: there is no folder {folder}")
    registry = registry_for([folder / "command-line"], args.module_path)
    book = playbook(args.pattern, {action: arguments, **_keywords(args)}, registry, folder.resolve())
    inventory.match(args.pattern, options.limit)
    bus = Bus()
    bus.subscribe(subscriber)
    common.start_labs(inventory, bus)
    root = Path(tempfile.mkdtemp(prefix="labctl-"))
    try:
        result = run(
            book, inventory, replace(options, root=root), bus, registry=registry, inventory_sources=sources
        )
    finally:
        if left := list(_left(root)):
            sys.stderr.write("".join(f"kept: {path}\n" for path in left))
        else:
            shutil.rmtree(root, ignore_errors=True)
    return result.exit_code


def _left(root: Path) -> Iterator[Path]:
    """What is in the run's folder that is neither the engine's record of the run nor shown anyway."""
    for folder in (root / "runs").glob("[0-9]*"):
        for path in sorted(folder.rglob("*")):
            first, *rest = path.relative_to(folder).parts
            shown = first == "facts" or (first == "logs" and not path.name.startswith("crash-"))
            if path.is_file() and not shown and (rest or first not in _RECORD):
                yield path
