"""What an inventory is once read: hosts, groups and how they nest."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from labctl.errors import InventoryError, Mark, did_you_mean
from labctl.inventory.patterns import Warn, match
from labctl.inventory.varfiles import VariableFolder
from labctl.records import dataclass, field

LOCALHOST = ("localhost", "127.0.0.1", "::1")


class _Named:
    """What has variables of its own; `marks` says where each stands, as far as it does in a file."""

    vars: dict[str, Any]
    marks: dict[str, Mark]

    def take(self, given: Mapping[str, Any]) -> None:
        """Variables that go before those there were."""
        self.vars.update(given)
        marks: Mapping[str, Mark] = getattr(given, "value_marks", {})
        for name in given:
            if name in marks:
                self.marks[name] = marks[name]
            else:
                self.marks.pop(name, None)


@dataclass(eq=False)
class Host(_Named):
    """One host. `groups` names every group it is in, through nesting too and without `all`, in the
    order their variables are merged (later wins). `source` is the file that named it first, None where the
    run has added it; `implicit`: no source names it, as localhost, which is always there."""

    name: str
    vars: dict[str, Any] = field(default_factory=dict)
    marks: dict[str, Mark] = field(default_factory=dict, repr=False)
    groups: list[str] = field(default_factory=list)
    mark: Mark | None = None
    implicit: bool = False
    source: str | None = None

    def magic(self) -> dict[str, Any]:
        """`inventory_file` and `inventory_dir`: the source that named the host first."""
        folder = os.path.dirname(self.source) if self.source and "," not in self.source else None
        return {} if self.implicit else {"inventory_file": self.source, "inventory_dir": folder}


@dataclass(eq=False)
class Group(_Named):
    """One group. `hosts` (an ordered set) and `children` are the direct ones, `depth` the longest way down from
    `all`."""

    name: str
    vars: dict[str, Any] = field(default_factory=dict)
    marks: dict[str, Mark] = field(default_factory=dict, repr=False)
    hosts: dict[str, None] = field(default_factory=dict)
    children: list[str] = field(default_factory=list)
    priority: int = 1
    depth: int = 0
    mark: Mark | None = None

    @property
    def merge_key(self) -> tuple[int, int, str]:
        return (self.depth, self.priority, self.name)


@dataclass(frozen=True)
class LabSpec:
    """A lab inventory (`plugin: lab`): the nodes to make, each with its settings as written."""

    path: Path
    name: str
    nodes: Mapping[str, Mapping[str, Any]]
    mark: Mark


class Inventory:
    """Hosts and groups of all sources together. `warnings` holds (message, position) for the user."""

    def __init__(self) -> None:
        self.hosts: dict[str, Host] = {}
        self.groups: dict[str, Group] = {
            "all": Group("all", children=["ungrouped"]),
            "ungrouped": Group("ungrouped", depth=1),
        }
        self.labs: list[LabSpec] = []
        self.warnings: list[tuple[str, Mark | None]] = []
        self.folders: list[Path] = []
        self.source: str | None = None
        self.read_again: Callable[[], Inventory] | None = None
        self._implicit: dict[str, Host] = {}
        self._told: dict[str, dict[str, Any]] = {}
        self._memberships: dict[str, list[str]] | None = None
        self._variable_folders: dict[Path, VariableFolder] = {}

    def add_host(self, name: str, group: str | None = None, mark: Mark | None = None) -> Host:
        """The host of that name, made if need be, and put into `group`. Call `settle` when done."""
        host = self.hosts.setdefault(name, Host(name, mark=mark, source=self.source))
        if group:
            self.add_group(group, mark).hosts[name] = None
        return host

    def add_group(self, name: str, mark: Mark | None = None) -> Group:
        return self.groups.setdefault(name, Group(name, mark=mark))

    def add_child(self, parent: str, child: str, mark: Mark | None = None) -> None:
        """Nest one group in another; InventoryError when that would close a circle."""
        self.add_group(parent, mark)
        self.add_group(child, mark)
        if parent == child or parent in self._descendants(child):
            raise InventoryError(f"group '{child}' cannot hold '{parent}' and be held by it", mark=mark)
        if child not in self.groups[parent].children:
            self.groups[parent].children.append(child)

    def set_group_variables(self, name: str, variables: Mapping[str, Any], mark: Mark | None = None) -> None:
        """Add variables to a group; `ansible_group_priority` sets its rank among groups of equal depth."""
        group = self.add_group(name, mark)
        group.take(variables)
        if "ansible_group_priority" not in group.vars:
            return
        value = group.vars.pop("ansible_group_priority")
        try:
            group.priority = int(value)
        except (TypeError, ValueError):
            raise InventoryError(
                f"ansible_group_priority of group '{name}' must be an integer, not {value!r}",
                mark=group.marks.pop("ansible_group_priority", None) or mark,
            ) from None

    def settle(self) -> None:
        """Work out what follows from the declarations: `ungrouped`, the children of `all`, depths, and
        each host's groups. To be called after hosts or groups were added."""
        every, ungrouped = self.groups["all"], self.groups["ungrouped"]
        nested = {child for g in self.groups.values() if g is not every for child in g.children}
        for name in self.groups:
            if name not in nested and name != "all" and name not in every.children:
                every.children.append(name)
        grouped = {h for g in self.groups.values() if g is not every and g is not ungrouped for h in g.hosts}
        ungrouped.hosts = {h: None for h in (*ungrouped.hosts, *self.hosts) if h not in grouped}
        self._set_depths()
        groups: dict[str, list[str]] = {name: [] for name in (*self.hosts, *self._implicit)}
        for group in sorted(self.groups.values(), key=lambda g: g.merge_key):
            if group is not every:
                for name in self.members(group.name):
                    groups[name].append(group.name)
        for host in (*self.hosts.values(), *self._implicit.values()):
            host.groups = groups[host.name]
        self._memberships = None

    def settle_host(self, name: str) -> None:
        """As `settle`, when nothing was added but this host, or its membership in groups there were."""
        every, ungrouped = self.groups["all"], self.groups["ungrouped"]
        others = [group for group in self.groups.values() if group is not every and group is not ungrouped]
        within = [group for group in others if name in group.hosts]
        if name in self.hosts and (name in ungrouped.hosts) == bool(within):
            rest = (host for host in ungrouped.hosts if host != name)
            ungrouped.hosts = dict.fromkeys(rest if within else (*ungrouped.hosts, name))
        around = within = within or [group for group in (ungrouped,) if name in group.hosts]
        while around:
            names = {group.name for group in around}
            around = [g for g in others if g not in within and not names.isdisjoint(g.children)]
            within += around
        self.host(name).groups = [group.name for group in sorted(within, key=lambda g: g.merge_key)]
        self._memberships = None

    def refresh(self) -> None:
        """Read every source anew; what `tell` said of hosts stays. InventoryError, and then nothing is
        changed."""
        if self.read_again is None:
            return
        fresh = self.read_again()
        self.hosts, self.groups, self.labs = fresh.hosts, fresh.groups, fresh.labs
        self.folders, self._variable_folders, self._implicit = fresh.folders, {}, {}
        for host, variables in self._told.items():
            if host in self.hosts:
                self.hosts[host].take(variables)
        self._memberships = None

    def tell(self, host: str, variables: Mapping[str, Any]) -> None:
        """Variables of a host that no source holds: where a lab has put it."""
        self._told[host] = dict(variables)
        self.hosts[host].take(variables)

    def _set_depths(self) -> None:
        for group in self.groups.values():
            group.depth = 0
        pending = ["all"]
        while pending:
            group = self.groups[pending.pop()]
            for child in group.children:
                if self.groups[child].depth <= group.depth:
                    self.groups[child].depth = group.depth + 1
                    pending.append(child)

    def _descendants(self, name: str) -> list[str]:
        """The groups below one, nearest first."""
        found: dict[str, None] = {}
        level = [name]
        while level:
            level = [c for g in level for c in self.groups[g].children if c not in found and c != name]
            found.update(dict.fromkeys(level))
        return list(found)

    def members(self, group: str) -> list[str]:
        """The names of every host in a group, nested ones included, in the inventory's order."""
        below = [group, *self._descendants(group)]
        names = dict.fromkeys(host for name in below for host in self.groups[name].hosts)
        return [name for name in names if group != "all" or name in self.hosts]

    def is_in(self, host: str, group: str) -> bool:
        """Whether a host is in a group or one below it."""
        return any(host in self.groups[name].hosts for name in (group, *self._descendants(group)))

    def memberships(self) -> dict[str, list[str]]:
        """Every group's hosts, for templates (`groups`)."""
        if self._memberships is None:
            self._memberships = {name: self.members(name) for name in self.groups}
        return self._memberships

    def host(self, name: str) -> Host:
        """The host of that name; `localhost` is always one. InventoryError otherwise."""
        if name in self.hosts:
            return self.hosts[name]
        if name in self._implicit:
            return self._implicit[name]
        if name in LOCALHOST:
            if named := next((other for other in LOCALHOST if other in self.hosts), None):
                return self.hosts[named]
            local = {"ansible_connection": "local", "ansible_python_interpreter": sys.executable}
            return self._implicit.setdefault(name, Host(name, vars=dict(local), implicit=True))
        raise InventoryError(f"no host '{name}' in the inventory", hint=did_you_mean(name, self.hosts))

    def outside(self, name: str) -> Host:
        """The host of that name; one that no source names has no variables but those of `all`."""
        try:
            return self.host(name)
        except InventoryError:
            return self._implicit.setdefault(name, Host(name, implicit=True))

    def match(
        self, pattern: str | Sequence[str], limit: str | None = None, *, warn: Warn | None = None
    ) -> list[Host]:
        """The hosts a pattern names, in its order, less those outside `limit`. A name that is neither host
        nor group, and a wildcard that matches nothing, goes to `warn`, or without one is an InventoryError;
        so is a limit that matches nothing at all."""
        names = match(self, pattern, warn)
        if limit is not None:
            try:
                allowed = set(match(self, limit, warn))
                if not allowed and warn:
                    match(self, limit)
            except InventoryError as error:
                error.message = f"--limit: {error.message}"
                raise
            names = [name for name in names if name in allowed]
        return list(dict.fromkeys(self.host(name) for name in names))

    def variables(self, host: str, playbook_dir: Path | None = None) -> dict[str, Any]:
        """A host's variables, unrendered, merged in Ansible's order: those of `all`, of its groups (by
        depth, priority, name), group_vars beside the inventory and then beside the playbook (for `all`,
        then for the groups), the host's own, host_vars beside inventory and playbook. Later wins."""
        merged: dict[str, Any] = {}
        for _what, layer, _marks in self.layers(host, playbook_dir):
            merged |= layer
        return merged

    def seen(self, host: str, playbook_dir: Path | None = None) -> dict[str, Any]:
        """What a play sees of the inventory on a host, which no source need name: its magic names and `variables`."""
        return self.outside(host).magic() | self.variables(host, playbook_dir)

    def layers(
        self, host: str, playbook_dir: Path | None = None
    ) -> list[tuple[str, Mapping[str, Any], Mapping[str, Mark]]]:
        """What `variables` merges, low to high, each with what it is in words and where its variables stand."""
        entry = self.host(host)
        groups = [self.groups[name] for name in entry.groups]
        folders = [(self._variable_folder(folder), "the inventory") for folder in self.folders]
        if playbook_dir:
            folders.append((self._variable_folder(playbook_dir), "the playbook"))
        found: list[tuple[str, Mapping[str, Any], Mapping[str, Mark]]] = [
            (f"variable of group {group.name} in the inventory", group.vars, group.marks)
            for group in (self.groups["all"], *groups)
        ]
        for names in (["all"], [group.name for group in groups]):
            found += [
                (f"group_vars of {name} beside {what}", folder.group(name), {})
                for folder, what in folders
                for name in names
            ]
        found.append((f"variable of host {entry.name} in the inventory", entry.vars, entry.marks))
        found += [
            (f"host_vars of {entry.name} beside {what}", folder.host(entry.name), {})
            for folder, what in folders
        ]
        return found

    def own_variables(self, host: str, playbook_dir: Path | None = None) -> dict[str, Any]:
        """What sources and host_vars say of a host itself."""
        merged = dict(self.host(host).vars)
        for folder in (*self.folders, *([playbook_dir] if playbook_dir else [])):
            merged |= self._variable_folder(folder).host(host)
        return merged

    def own_group_variables(self, group: str, playbook_dir: Path | None = None) -> dict[str, Any]:
        """What sources and group_vars say of a group itself."""
        merged = dict(self.groups[group].vars)
        for folder in (*self.folders, *([playbook_dir] if playbook_dir else [])):
            merged |= self._variable_folder(folder).group(group)
        return merged

    def _variable_folder(self, folder: Path) -> VariableFolder:
        if folder not in self._variable_folders:
            self._variable_folders[folder] = VariableFolder(folder, self.warnings)
        return self._variable_folders[folder]
