"""`labctl ping [PATTERN]`: whether the nodes answer, and how fast."""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

from labctl.cli import common, flags
from labctl.errors import LabctlError, Unreachable
from labctl.events import Bus, Event, Kind

if TYPE_CHECKING:
    from labctl.ssh import Connections, ConnectionSettings

_ROUND_TRIPS = 9


def add_parser(commands: Any) -> None:
    parser = commands.add_parser(
        "ping", help="check that the nodes answer, and how fast", description=__doc__
    )
    parser.add_argument(
        "pattern", nargs="?", default="all", metavar="PATTERN", help="hosts or groups (default all)"
    )
    parser.add_argument("--json", action="store_true", help="one JSON object: host to figures")
    flags.add_inventory(parser)
    flags.add_execution(parser)
    flags.add_connection(parser)


def run(args: argparse.Namespace) -> int:
    from labctl.engine.settings import defaults
    from labctl.ssh import Connections, ConnectionSettings
    from labctl.variables import Scope, Templar

    options = common.options(args, sys.argv[1:])
    _sources, inventory = common.load_inventory(args)
    hosts = inventory.match(args.pattern, options.limit)
    bus = Bus()
    bus.subscribe(_to_stderr)
    common.start_labs(inventory, bus)
    templar = Templar()
    connections = Connections()

    def ask(name: str) -> dict[str, Any]:
        layers = [defaults(options), inventory.variables(name), options.extra_vars]
        try:
            return _ping(connections, ConnectionSettings.from_variables(name, Scope(templar, layers)))
        except LabctlError as error:
            return {
                "ok": False,
                "error": error.message,
                "hint": error.hint,
                "exit_code": Unreachable.exit_code,
            }

    names = [host.name for host in hosts]
    code = 0
    found: dict[str, Any] = {}
    try:
        with ThreadPoolExecutor(max_workers=options.forks) as pool:
            for name, answer in zip(names, pool.map(ask, names), strict=True):
                found[name] = answer
                code = max(code, int(answer.get("exit_code", 0)))
                if not args.json:
                    sys.stdout.write(_line(name, answer))
                    sys.stdout.flush()
    finally:
        connections.close()
    if args.json:
        sys.stdout.write(json.dumps(found, indent=2) + "\n")
    return code


def _ping(connections: Connections, settings: ConnectionSettings) -> dict[str, Any]:
    """Milliseconds: to a running agent from nothing, and the median of a few round trips after it."""
    began = time.perf_counter()
    node = connections.node(settings)
    connected = time.perf_counter()
    trips = []
    for _ in range(_ROUND_TRIPS):
        before = time.perf_counter()
        node.stat("/")
        trips.append(time.perf_counter() - before)
    return {
        "ok": True,
        "connect_ms": round((connected - began) * 1000, 2),
        "round_trip_ms": round(statistics.median(trips) * 1000, 3),
        "connection": settings.connection,
        "user": settings.user,
        "address": settings.address,
        "port": settings.port,
    }


def _line(host: str, answer: dict[str, Any]) -> str:
    if not answer["ok"]:
        hint = f" ({answer['hint']})" if answer["hint"] else ""
        return f"{host:<20} unreachable: {answer['error']}{hint}\n"
    where = f"{answer['user']}@{answer['address']}:{answer['port']}"
    return (
        f"{host:<20} ok  connect {answer['connect_ms']:7.1f} ms  round trip {answer['round_trip_ms']:6.2f} ms"
        f"  {'local' if answer['connection'] == 'local' else where}\n"
    )


def _to_stderr(event: Event) -> None:
    if event.kind is Kind.PROGRESS:
        sys.stderr.write(f"{event.data.get('message', '')}\n")
