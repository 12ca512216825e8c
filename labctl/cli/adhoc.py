"""One task on the nodes, without a playbook file: behind `exec` and `facts`."""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import tempfile
from collections.abc import Mapping
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
    play.tasks = read_entries(entries, start, play, loader, "tasks", handlers=False)
    book = Playbook(path=here, plays=[play])
    validate(book, loader)
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
    """Run it, its events going to `subscriber`; the exit code comes back. The journal is kept only when
    something went wrong."""
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
    code = 1
    try:
        result = run(
            book, inventory, replace(options, root=root), bus, registry=registry, inventory_sources=sources
        )
        code = result.exit_code
    finally:
        if code in (0, 3):
            shutil.rmtree(root, ignore_errors=True)
        else:
            sys.stderr.write(f"journal: {root}\n")
    return code
