"""What a run is told, and what it tells at its end."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from labctl.engine.shard import Shard
from labctl.records import dataclass, field


@dataclass(frozen=True)
class RunOptions:
    """The command line's part of a run. `forks`: hosts at once. `tags` empty means all. `root` is where
    the `runs` folder goes. `argv` is only recorded. Connection defaults (`connection`: as
    variables would say them) give way to inventory variables.
    `ask(text, private, check)` asks the user, and calls `check`, which may raise, while nobody answers; None where there is
    no terminal. `step`: ask before each task.
    `resume`: the folder of the run to go on from. `shard`: the part of the hosts that this run works on."""

    forks: int = 10
    limit: str | None = None
    tags: frozenset[str] = frozenset()
    skip_tags: frozenset[str] = frozenset()
    check: bool = False
    diff: bool = False
    verbosity: int = 0
    user: str | None = None
    private_key: str | None = None
    connect_timeout: float | None = None
    connection: Mapping[str, Any] = field(default_factory=dict, repr=False)
    become: bool = False
    become_user: str | None = None
    become_method: str | None = None
    become_password: str | None = field(default=None, repr=False)
    extra_vars: Mapping[str, Any] = field(default_factory=dict)
    start_at_task: str | None = None
    force_handlers: bool = False
    step: bool = False
    resume: Path | None = None
    shard: Shard | None = None
    root: Path = field(default_factory=Path.cwd)
    argv: tuple[str, ...] = ()
    ask: Callable[[str, bool, Callable[[], object]], str] | None = None


@dataclass(frozen=True)
class RunResult:
    """`stats` holds, per host, the counts of the recap."""

    exit_code: int
    run_dir: Path
    seconds: float
    stats: Mapping[str, Mapping[str, int]]
    undone: tuple[str, ...] = ()
