"""Load one node with several stressors and write what they do as JSON lines.

    main.py --plan '{"cpu": {"workers": 2, "load": 0.5, "method": "integer"}}' [--seconds 10] [--inside PID]

Each worker is a process of its own, of any stressor in the plan: cpu, memory, disk, network, sink, pids, fds. With
`--inside` they join the cgroups of that process, a container's, before they begin; this program stays outside, so that it
lives to tell what became of them. It ends on SIGTERM, with its parent, when the time is over, when the container ends
or no worker is left; its workers end with it, however it ends, and their files have no names. A header line, a work line for each
interval, a line for each error and each worker that died, an end line; docs/architecture.md has their fields.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
import time

from stress.cgroups import Cgroups, NoContainer
from stress.guard import refusal
from stress.processes import end_with
from stress.team import KINDS, Team, Watched, write

LEAVE = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


def arguments(argv: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="stress", description=__doc__.split("\n", 1)[0])
    parser.add_argument("--plan", type=json.loads, required=True, help="{stressor: its options}, as JSON")
    parser.add_argument("--asked", type=json.loads, default={}, help="what to repeat in the header, as JSON")
    parser.add_argument("--engine", choices=("own", "stress-ng"), default="own")
    parser.add_argument("--seconds", type=float, help="end after so long")
    parser.add_argument("--interval", type=float, default=0.5, help="seconds between two work lines")
    parser.add_argument("--inside", type=int, metavar="PID", help="a process of the container to join")
    parser.add_argument("--reserve", type=float, default=0.05, help="share of memory and disk to leave alone")
    parser.add_argument("--host", default=os.uname().nodename, help="the name to write in the header")
    options = parser.parse_args(argv)
    unknown = sorted(set(options.plan) - set(KINDS))
    if unknown or not options.plan:
        parser.error("--plan: expected %s, not %s" % (", ".join(KINDS), ", ".join(unknown) or "nothing"))
    return options


def prepared(options: argparse.Namespace) -> Cgroups | None:
    """The container to join; the plan gets its numbers and paths as they are here. Ends with one sentence when that
    cannot be."""
    try:
        inside = Cgroups(options.inside) if options.inside else None
    except NoContainer as error:
        sys.exit(str(error))
    root = "/proc/%d/root" % options.inside if options.inside else ""
    for wanted in options.plan.values():
        wanted["workers"] = wanted["workers"] or len(os.sched_getaffinity(0))
        if "path" in wanted:
            wanted["folder"] = root + wanted["path"]
            if not os.path.isdir(wanted["folder"]):
                sys.exit(
                    "disk: there is no folder %s%s" % (wanted["path"], " in the container" if root else "")
                )
    reason = refusal(options.plan, inside, options.reserve)
    if reason:
        sys.exit(reason)
    return inside


def main(argv: list[str]) -> None:
    options = arguments(argv)
    end_with(os.getppid(), signal.SIGTERM)
    wake, waker = os.pipe()
    for fd in (wake, waker):
        os.set_blocking(fd, False)
    signal.set_wakeup_fd(waker, warn_on_full_buffer=False)
    leaving = []
    for number in LEAVE:
        signal.signal(number, lambda got, _frame: leaving.append(got))
    signal.signal(signal.SIGCHLD, lambda _number, _frame: None)
    inside = prepared(options)
    watched = Watched(options.inside) if options.inside else None
    team = Team(options.plan, options.engine, inside)
    try:
        refused = team.assemble(leaving)
        if refused:
            sys.exit(refused)
        write(header(options, team, inside))
        reason = team.work(options.seconds, options.interval, wake, leaving, watched)
    finally:
        team.dismiss()
    write(team.end_line(reason))


def header(options: argparse.Namespace, team: Team, inside: Cgroups | None) -> dict[str, object]:
    container = None
    if inside:
        limits = {name: inside.limit(name) for name in ("memory", "pids")}
        container = {"pid": options.inside, "cgroups": inside.directories(), "limits": limits}
    return {
        "type": "header",
        "program": "stress",
        "host": options.host,
        "mono": time.monotonic(),
        "wall": time.time(),
        "pid": os.getpid(),
        "cpus": len(os.sched_getaffinity(0)),
        "interval": options.interval,
        "engine": options.engine,
        "asked": options.asked,
        "seconds": options.seconds,
        "container": container,
        "stressors": team.described(),
    }


if __name__ == "__main__":
    main(sys.argv[1:])
