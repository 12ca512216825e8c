"""What a run knows of each host, and what is shared by all of it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from labctl import configuration
from labctl.engine.background import Jobs
from labctl.engine.deadline import Calls, Watchdog
from labctl.engine.expected import Expected
from labctl.engine.interrupt import Stop
from labctl.engine.options import RunOptions
from labctl.engine.pool import Pool
from labctl.engine.resume import History
from labctl.engine.settings import Accesses
from labctl.engine.step import Stepper
from labctl.errors import LabctlError, Mark
from labctl.events import Bus
from labctl.inventory import Additions
from labctl.records import dataclass, field
from labctl.task_types import VARIABLE

if TYPE_CHECKING:
    from labctl.inventory import Inventory
    from labctl.playbook import Task
    from labctl.playbook.tree import Keywords, Role
    from labctl.ssh import Connections
    from labctl.task_types import Registry, TaskType
    from labctl.variables import Templar

COUNTS = ("ok", "changed", "unreachable", "failed", "skipped", "rescued", "ignored", "unknown")


@dataclass(eq=False)
class HostState:
    """One host over the whole run. `facts` is the content of `ansible_facts`; `registered` holds what
    `register` and `set_fact` made; `included` what `include_vars` read. `ended`: left the play by
    `meta: end_host`. `cleared`: how often `meta: clear_host_errors` forgave it. `left`:
    uses of roles it has left by `meta: end_role`. `codes`: the exit codes its failures stand for. `dragged`:
    failed by the `run_once` of another host, and past the first refuge of its block. `may_change`: a dry run
    does not know of some task whether it would change something here."""

    name: str
    inventory: Mapping[str, Any]
    facts: dict[str, Any] = field(default_factory=dict)
    included: dict[str, Any] = field(default_factory=dict)
    registered: dict[str, Any] = field(default_factory=dict)
    notified: dict[str, None] = field(default_factory=dict)
    stats: dict[str, int] = field(default_factory=lambda: dict.fromkeys(COUNTS, 0))
    failed: bool = False
    unreachable: bool = False
    ended: bool = False
    dragged: bool = False
    may_change: bool = False
    gathered: bool = False
    cleared: int = 0
    left: set[Role] = field(default_factory=set)
    codes: set[int] = field(default_factory=set)

    @property
    def alive(self) -> bool:
        return not (self.failed or self.unreachable or self.ended)

    def takes_part(self, node: Keywords) -> bool:
        """Whether it is there to run a task or block."""
        return self.alive and not (self.left and any(role in self.left for role in node.roles_around))

    def count(self, *names: str) -> None:
        for name in names:
            self.stats[name] += 1


@dataclass(frozen=True)
class Frame:
    """Where in the tree a list of tasks runs. `params`: variables given by dynamic includes and by loops
    over blocks, outermost first. `rescuable`: a failure here is caught by a block around it."""

    params: tuple[Mapping[str, Any], ...] = ()
    rescuable: bool = False

    def inside(self, *params: Mapping[str, Any], rescuable: bool = False) -> Frame:
        return Frame((*self.params, *params), self.rescuable or rescuable)


@dataclass
class Step:
    """One task where it stands in the walk; `label` is its name as shown. `checked`: the names of all its
    arguments were found right."""

    task: Task
    label: str
    frame: Frame
    checked: bool = False

    @cached_property
    def quick(self) -> bool:
        """Whether it computes and hardly waits."""
        task_type = self.task.task_type
        return task_type is None or (task_type.on_controller and not task_type.waits)

    @cached_property
    def arguments(self) -> list[Argument] | None:
        """The task's arguments as written; None where only a host tells which there are, or of which task type."""
        task_type, given = self.task.task_type, self.task.args
        if task_type is None or task_type.expression is not None or VARIABLE in given:
            return None
        return [
            Argument.of(task_type, name, value, self.task.arg_mark(name)) for name, value in given.items()
        ]


@dataclass(slots=True)
class Argument:
    """One argument of a task. `raw`: the task type wants it unrendered; `secret`: its value must not be shown."""

    name: str
    value: Any
    mark: Mark | None
    raw: bool
    secret: bool

    @classmethod
    def of(cls, task_type: TaskType, name: str, value: Any, mark: Mark | None) -> Argument:
        if name not in task_type.aliases:
            return cls(name, value, mark, raw=False, secret=False)
        parameter = task_type.parameters[task_type.aliases[name]]
        return cls(name, value, mark, parameter.raw, parameter.secret)


class Run:
    """Everything the plays of one run share. Made by `engine.run`, closed by it."""

    def __init__(
        self,
        inventory: Inventory,
        options: RunOptions,
        bus: Bus,
        run_dir: Path,
        *,
        registry: Registry,
        templar: Templar,
        connections: Connections,
        stop: Stop,
    ) -> None:
        self.inventory = inventory
        self.options = options
        self.bus = bus
        self.run_dir = run_dir
        self.registry = registry
        self.templar = templar
        self.connections = connections
        self.stop = stop
        self.configuration = configuration.current()
        self.pool = Pool(options.forks, stop, self.settle)
        self.watchdog = Watchdog(connections.drop)
        self.calls = Calls()
        self.accesses = Accesses(options)
        self.jobs = Jobs()
        self.hosts: dict[str, HostState] = {}
        self.shared: dict[str, Any] = {}
        self.started = options.start_at_task is None
        self.stepper = Stepper(options, stop)
        self.expected = Expected()
        self.history: History
        self.playbook_dir = Path.cwd()
        self.inventory_sources: tuple[str, ...] = ()
        self._additions = Additions(inventory)
        self._closers: list[Callable[[], str | None]] = []
        self._lock = threading.Lock()

    def settle(self) -> None:
        """Have written what has happened so far, because the walk is about to wait."""
        self.bus.settle()
        self.history.progress.flush()

    def host(self, name: str) -> HostState:
        """The state of a host of the inventory, made on first use. InventoryError for any other name."""
        with self._lock:
            if name not in self.hosts:
                name = self.inventory.host(name).name
            if name not in self.hosts:
                self.hosts[name] = HostState(name, self._variables(name))
            return self.hosts[name]

    def target(self, name: str) -> HostState:
        """The state of a host that a task is delegated to, which no inventory need name."""
        with self._lock:
            self.inventory.outside(name)
        return self.host(name)

    def add_host(self, name: str, groups: Sequence[str], variables: Mapping[str, Any]) -> bool:
        """See `labctl.inventory.Additions.host`; tasks in flight see the host as well."""
        with self._lock:
            changed = self._additions.host(name, groups, variables)
            self._refresh([name] if changed else [])
            return changed

    def add_group(self, host: str, group: str, parents: Sequence[str]) -> bool:
        """See `labctl.inventory.Additions.grouping`."""
        with self._lock:
            moved = self._additions.grouping(host, group, parents)
            self._refresh(moved)
            return bool(moved)

    def refresh_inventory(self) -> None:
        """Read the inventory's sources anew, and add what this run has added. InventoryError."""
        with self._lock:
            self.inventory.refresh()
            self._additions.again()
            self._refresh(list(self.hosts))

    def _refresh(self, names: Sequence[str]) -> None:
        for name in names:
            if name in self.hosts:
                self.hosts[name].inventory = self._variables(name)

    def _variables(self, name: str) -> dict[str, Any]:
        return self.inventory.seen(name, self.playbook_dir)

    def enter_playbook(self, folder: Path) -> None:
        """The next plays belong to a playbook in `folder`: its group_vars and host_vars apply."""
        with self._lock:
            if folder == self.playbook_dir:
                return
            self.playbook_dir = folder
            self._refresh(list(self.hosts))

    def on_close(self, close: Callable[[], str | None]) -> None:
        with self._lock:
            self._closers.append(close)

    def undo(self) -> Iterator[str]:
        """Run what was registered by `on_close`, last first; what each undid, or why it could not."""
        while True:
            with self._lock:
                if not self._closers:
                    return
                close = self._closers.pop()
            try:
                done = close()
            except LabctlError as error:
                done = f"could not be undone: {error.message}"
            except Exception as error:
                done = f"could not be undone: {type(error).__name__}: {error}"
            if done:
                yield done

    def stats(self) -> dict[str, dict[str, int]]:
        """The recap: hosts that took part, in the inventory's order."""
        order = {name: n for n, name in enumerate(self.inventory.hosts)}
        taken = [state for state in self.hosts.values() if any(state.stats.values())]
        taken.sort(key=lambda state: order.get(state.name, len(order)))
        return {state.name: dict(state.stats) for state in taken}
