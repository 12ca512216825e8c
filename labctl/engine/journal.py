"""The run's folder: events as they happen, what each host printed, and run.json.

Each event is one line. What a burst of results leaves in memory is written before the engine waits, so that a
crash loses nothing of what was done before.
"""

from __future__ import annotations

import json
import os
import re
import threading
import time
from collections.abc import Callable, Mapping, MutableMapping, Sequence
from pathlib import Path
from typing import Any, TextIO

from labctl import __version__, lean
from labctl.errors import EnvironmentProblem
from labctl.events import Event, Kind

_CHECKOUT = Path(__file__).resolve().parents[2]
_TEXTS = 10_000  # names of tasks and hosts kept in their encoded form
_SPOKEN = frozenset({Kind.OUTPUT, Kind.RESULT, Kind.ITEM})


def make_run_dir(root: Path, playbook: str) -> Path:
    """`root/runs/<YYYYmmdd-HHMMSS>-<playbook>`, unique, with `runs/latest` pointing at it."""
    name = re.sub(r"[^\w.-]+", "-", Path(playbook).stem).strip("-.") or "run"
    stem = f"{time.strftime('%Y%m%d-%H%M%S')}-{name}"
    runs = root / "runs"
    try:
        runs.mkdir(parents=True, exist_ok=True)
        for number in range(1, 10_000):
            folder = runs / (stem if number == 1 else f"{stem}-{number}")
            try:
                folder.mkdir()
            except FileExistsError:
                continue
            (folder / "logs").mkdir()
            _point_latest(runs, folder)
            return folder
    except OSError as error:
        raise EnvironmentProblem(
            f"the run's folder cannot be made below {runs}: {error.strerror}",
            hint="start labctl in a directory you can write to",
        ) from None
    raise EnvironmentProblem(f"no free name left for {stem} below {runs}")


def _point_latest(runs: Path, folder: Path) -> None:
    temporary = runs / f".latest-{os.getpid()}-{threading.get_ident()}"
    try:
        temporary.symlink_to(folder.name)
        temporary.replace(runs / "latest")
    except OSError:
        temporary.unlink(missing_ok=True)  # a convenience: some shared folders have no links


def write_json(path: Path, value: Any) -> None:
    """Write a JSON file atomically."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    temporary.write_text(json.dumps(value, indent=2, default=plain) + "\n", encoding="utf-8")
    temporary.replace(path)


def encoder(default: Callable[[Any], Any] | None = None) -> Callable[[Any], str]:
    """As `json.dumps`: what it prepares anew for each value is kept."""
    usual = json.JSONEncoder(default=default)
    made = getattr(json.encoder, "c_make_encoder", None)
    if made is None:
        return usual.encode
    chunks = made(
        *(None, usual.default, json.encoder.encode_basestring_ascii, None),
        *(usual.key_separator, usual.item_separator, False, False, True),
    )
    return lambda value: "".join(chunks(value, 0))


def plain(value: Any) -> Any:
    """What JSON has no word for, as text or list."""
    if isinstance(value, bytes):
        return value.decode(errors="replace")
    if isinstance(value, Mapping):
        return dict(value)
    if isinstance(value, set | frozenset | tuple):
        return list(value)
    return str(value)


def commit(checkout: Path) -> str | None:
    """The git commit of a checkout. Git itself is not asked: its start takes longer than all that is written here."""
    git = checkout / ".git"
    try:
        head = (git / "HEAD").read_text().strip()
        if not head.startswith("ref: "):
            return head
        name = head.removeprefix("ref: ")
        if (git / name).exists():
            return (git / name).read_text().strip()
        packed = (git / "packed-refs").read_text().splitlines()
    except OSError:  # none, or one whose repository is elsewhere
        return None
    return next((line.split()[0] for line in packed if line.endswith(f" {name}")), None)


def _import_structlog() -> Any:
    """Without what the journal has no use for, and which takes most of its time to load: a console, tracebacks, loggers
    for tests, for asyncio and of the standard library."""

    def none(**_: Any) -> None:
        return None

    with lean.standing_in(
        asyncio={},
        structlog__dev={"ConsoleRenderer": none, "_has_colors": False, "set_exc_info": none},
        structlog__stdlib={},
        structlog__testing={"ReturnLogger": none, "ReturnLoggerFactory": none},
        structlog__threadlocal={},
        structlog__tracebacks={"ExceptionDictTransformer": none},
    ):
        import structlog
    return structlog


class _Lines:
    """What structlog writes to. It leaves flushing to the journal."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def info(self, line: str) -> None:
        self._stream.write(line + "\n")


class _Json:
    """Renders the events of a record as lines of JSON. The encoder is made once, and a text that comes with every
    event of a task is encoded once."""

    def __init__(self) -> None:
        self._encode = encoder(plain)
        self._texts: dict[str | None, str] = {}

    def __call__(self, _logger: object, _method: str, record: MutableMapping[str, Any]) -> str:
        lines: list[str] = []
        first: Event = record["events"][0]
        where = self._named("play", first.play) + self._named("task", first.task)
        for event in record["events"]:
            if event.task is not first.task or event.play is not first.play:
                where = self._named("play", event.play) + self._named("task", event.task)
                first = event
            head = f'{{"event": "{event.kind}", "time": {round(event.time, 6)}{where}'
            lines.append(f'{head}{self._named("host", event.host)}, "data": {self._encode(event.data)}}}')
        return "\n".join(lines)

    def _named(self, name: str, value: str | None) -> str:
        return "" if value is None else f', "{name}": {self._texts.get(value) or self._text(value)}'

    def _text(self, value: str) -> str:
        if len(self._texts) > _TEXTS:
            self._texts.clear()
        found = self._texts[value] = self._encode(str(value))
        return found


class Journal:
    """Subscriber that keeps events.jsonl and logs/<host>.log; `start` and `end` write run.json."""

    def __init__(self, folder: Path) -> None:
        structlog = _import_structlog()
        self.folder = folder
        self._stream = (folder / "events.jsonl").open("a", encoding="utf-8")
        self._log = structlog.wrap_logger(
            _Lines(self._stream),
            processors=[_Json()],
            wrapper_class=structlog.BoundLogger,
        ).bind()
        self._spoken: dict[str, list[str]] = {}  # by each host since the last flush
        self._live: set[tuple[str, str | None]] = set()
        self._head: dict[str, Any] = {}
        self._lock = threading.Lock()
        self._lost = False

    def __call__(self, event: Event) -> None:
        self.burst((event,))

    def burst(self, events: Sequence[Event]) -> None:
        # A task's start names its hosts, and a result says how long it took.
        told = [event for event in events if event.kind is not Kind.HOST_START]
        if not told:
            return
        try:
            with self._lock:
                self._log.info("", events=told)
                for event in told:
                    if event.host and event.kind in _SPOKEN:
                        self._host_log(event, event.host)
        except (OSError, ValueError, RecursionError):
            self._lost = True  # the controller's disk is full: the run goes on, run.json says so

    def flush(self) -> None:
        try:
            with self._lock:
                self._stream.flush()
                while self._spoken:
                    self._append(*self._spoken.popitem())
        except (OSError, ValueError):
            self._lost = True

    def start(self, **head: Any) -> None:
        self._head = {"labctl": __version__, "commit": commit(_CHECKOUT), "started": time.time(), **head}
        write_json(self.folder / "run.json", {**self._head, "ended": None, "exit_code": None})

    def end(self, tail: Mapping[str, Any]) -> None:
        whole = {**self._head, "ended": time.time(), **tail}
        if self._lost:
            whole["journal"] = "incomplete: the disk was full"
        try:
            write_json(self.folder / "run.json", whole)
        except OSError:
            self._lost = True

    def close(self) -> None:
        self.flush()
        try:
            with self._lock:
                self._stream.close()
        except OSError:
            self._lost = True

    def _host_log(self, event: Event, host: str) -> None:
        key = (host, event.task)
        if event.kind is Kind.OUTPUT:
            if key not in self._live:
                self._live.add(key)
                self._header(event, host)
            self._log_of(host).append(str(event.data.get("text", "")))
        else:
            result = event.data.get("result")
            if key in self._live:
                self._live.discard(key)
            elif isinstance(result, Mapping) and (result.get("stdout") or result.get("stderr")):
                self._header(event, host)
                for name in ("stdout", "stderr"):
                    if text := result.get(name):
                        self._log_of(host).append(f"{text}\n")

    def _header(self, event: Event, host: str) -> None:
        clock = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(event.time))
        self._log_of(host).append(f"--- {clock} {event.task or ''}\n")

    def _log_of(self, host: str) -> list[str]:
        return self._spoken.setdefault(host, [])

    def _append(self, host: str, texts: Sequence[str]) -> None:
        """Not kept open: there may be more hosts than a process may have files."""
        name = re.sub(r"[^\w.@:-]+", "_", host)
        file = os.open(f"{self.folder}/logs/{name}.log", os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o666)
        try:
            whole = memoryview("".join(texts).encode("utf-8", "surrogateescape"))
            while whole:
                whole = whole[os.write(file, whole) :]
        finally:
            os.close(file)
