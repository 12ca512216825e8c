"""`labctl report`: print a run's report, or make it again from the raw files."""

from __future__ import annotations

import argparse
import sys
from typing import Any

from labctl.errors import UsageError

FORMATS = ("summary", "json", "csv", "md", "html")


def add_parser(commands: Any) -> None:
    parser = commands.add_parser(
        "report",
        help="print a run's report, or make it again from the raw files",
        description="Reduce a run's raw files again, write report.json, .csv, .md and .html into its folder"
        " and print the summary.",
    )
    parser.add_argument("run_folder", metavar="RUN", nargs="?", default="latest", help="folder, or 'latest'")
    parser.add_argument(
        "--format", choices=FORMATS, default="summary", help="what to print (default: the summary)"
    )
    parser.add_argument("--kind", help="the kind of report; found out when not given")
    parser.add_argument(
        "--target", type=float, metavar="SHARE", help="the reduction to judge against (0.2 is 20 %%)"
    )
    parser.add_argument("--no-write", action="store_true", help="print only, leave the folder as it is")


def run(args: argparse.Namespace) -> int:
    from labctl import report
    from labctl.report.rawfiles import find_run

    if args.target is not None and not 0 < args.target < 1:
        raise UsageError(f"--target is a share between 0 and 1, not {args.target:g}", hint="20 % is 0.2")
    folder = find_run(args.run_folder)
    model = report.reduce(folder, target=args.target, kind=args.kind)
    written = [] if args.no_write else report.write(model, folder)
    sys.stdout.write(report.render(model, args.format))
    if args.format == "summary" and written:
        sys.stdout.write(f"\nreport: {written[-1]}\n")
    return 0
