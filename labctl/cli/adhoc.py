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
from labctl.errors import Mark
from labctl.events import Bus, Subscriber
from labctl.playbook import Play, Playbook
from labctl.playbook.loader import Loader
from labctl.playbook.tasks import read_entries
from labctl.playbook.validate import validate
from labctl.task_types import Registry

_SOURCE = "command line"


def playbook(
    pattern: str, action: str, arguments: str | Mapping[str, Any] | None, registry: Registry
) -> Playbook:
    """A playbook of one play with one task, checked. PlaybookError."""
    loader = Loader(registry)
    start = Mark(_SOURCE, 1, 1)
    here = Path.cwd() / "command-line"
    play = Play(mark=start, path=here, name=f"labctl {action}", hosts=pattern, gather_facts=False)
    entries = yaml.load(json.dumps([{action: arguments}]), _SOURCE)
    play.tasks = read_entries(entries, start, play, loader, "tasks", handlers=False)
    book = Playbook(path=here, plays=[play])
    validate(book, loader)
    loader.problems.raise_all()
    return book


def execute(
    args: argparse.Namespace, action: str, arguments: str | Mapping[str, Any] | None, subscriber: Subscriber
) -> int:
    """Run it, its events going to `subscriber`; the exit code comes back. The journal is kept only when
    something went wrong."""
    from labctl import engine

    options = common.options(args, sys.argv[1:])
    sources, inventory = common.load_inventory(args)
    registry = Registry([folder for folder in (Path("tasks"),) if any(folder.glob("*.py"))])
    book = playbook(args.pattern, action, arguments, registry)
    inventory.match(args.pattern, options.limit)
    bus = Bus()
    bus.subscribe(subscriber)
    common.start_labs(inventory, bus)
    root = Path(tempfile.mkdtemp(prefix="labctl-"))
    code = 1
    try:
        result = engine.run(
            book, inventory, replace(options, root=root), bus, registry=registry, inventory_sources=sources
        )
        code = result.exit_code
    finally:
        if code in (0, 3):
            shutil.rmtree(root, ignore_errors=True)
        else:
            sys.stderr.write(f"journal: {root}\n")
    return code
