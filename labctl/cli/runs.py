"""`labctl runs`: the runs made in this directory."""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path
from typing import Any

from labctl.console.text import duration
from labctl.engine.resume import Earlier


def add_parser(commands: Any) -> None:
    parser = commands.add_parser(
        "runs",
        help="list the runs made here",
        description="The runs made here: when, how they ended, how long they took, their folders. One with"
        " '--resume' after it can be gone on with: labctl run --resume ID",
    )
    parser.add_argument("-n", "--number", type=int, default=20, help="how many of the newest (default 20)")


def run(args: argparse.Namespace) -> int:
    folders = sorted(path.parent for path in Path("runs").glob("*/run.json") if not path.parent.is_symlink())
    if not folders:
        sys.stdout.write("no runs below ./runs\n")
        return 0
    for folder in folders[-max(1, args.number) :]:
        sys.stdout.write(_line(folder) + "\n")
    return 0


def _line(folder: Path) -> str:
    try:
        head = json.loads((folder / "run.json").read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        return f"{folder}  unreadable: {error}"
    started, ended, code = head.get("started"), head.get("ended"), head.get("exit_code")
    when = time.strftime("%Y-%m-%d %H:%M", time.localtime(started)) if started else "?"
    took = duration(ended - started) if started and ended else "not ended"
    how = {0: "ok", 2: "failed", 4: "unreachable", 130: "interrupted", None: "-"}.get(code, f"exit {code}")
    resumable = "  --resume" if Earlier.of(folder).reason is None else ""
    report = "  report" if (folder / "report.json").exists() else ""
    return f"{when}  {how:<12} {took:>12}  {folder}{report}{resumable}"
