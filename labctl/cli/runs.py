"""`labctl runs`: the runs made in this directory, and joining those of shards."""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from labctl.cli.flags import count
from labctl.console.text import duration
from labctl.engine.resume import Earlier


def add_parser(commands: Any) -> None:
    parser = commands.add_parser(
        "runs",
        help="list the runs made here, join those of shards",
        description="The runs made here: when, how they ended, how long they took, their folders. One with"
        " '--resume' after it can be gone on with: labctl run --resume ID",
    )
    parser.add_argument("-n", "--number", type=count, default=20, help="how many of the newest (default 20)")
    actions = parser.add_subparsers(dest="action", metavar="ACTION")
    merge = actions.add_parser(
        "merge",
        help="join the runs of all shards into one",
        description="Join the runs that 'labctl run --shard 1/N' to N/N have left into one run folder. The exit"
        " code is the one that the whole run would have had.",
    )
    merge.add_argument("runs", nargs="+", metavar="RUN", help="the run folder of each shard, or its id")
    merge.add_argument(
        "-o",
        "--output-folder",
        metavar="FOLDER",
        help="where the whole goes (default: a new folder below ./runs)",
    )
    merge.add_argument(
        "--partial",
        action="store_true",
        help="join what there is, though shards are missing or have not ended",
    )


def run(args: argparse.Namespace) -> int:
    return _merge(args) if args.action == "merge" else _list(args)


def _merge(args: argparse.Namespace) -> int:
    from labctl.engine.merge import merge

    output = Path(args.output_folder) if args.output_folder else None
    merged = merge(args.runs, Path.cwd(), output, partial=args.partial)
    recap: Mapping[str, Mapping[str, int]] = merged.head["recap"]
    unreachable = sum(bool(counts["unreachable"]) for counts in recap.values())
    failed = sum(bool(counts["failed"]) and not counts["unreachable"] for counts in recap.values())
    hosts = f"{len(recap)} hosts: {len(recap) - failed - unreachable} well, {failed} failed, {unreachable} unreachable"
    sys.stdout.write(f"{len(merged.head['shards'])} shards, {hosts}\n")
    if merged.missing:
        names = ", ".join(f"{index}/{merged.head['shards'][0]['of']}" for index in merged.missing)
        sys.stdout.write(f"not all of it: shard {names}\n")
    sys.stdout.write(f"run folder: {merged.folder}\n")
    return int(merged.head["exit_code"])


def _list(args: argparse.Namespace) -> int:
    folders = sorted(path.parent for path in Path("runs").glob("*/run.json") if not path.parent.is_symlink())
    if not folders:
        sys.stdout.write("no runs below ./runs\n")
        return 0
    for folder in folders[-args.number :]:
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
    return f"{when}  {how:<12} {took:>12}  {folder}{_shards(head)}{report}{resumable}"


def _shards(head: Mapping[str, Any]) -> str:
    if shard := head.get("shard"):
        return f"  shard {shard['index']}/{shard['of']}"
    return f"  {len(head['shards'])} shards" if head.get("shards") else ""
