"""Which variables a task sees on a host: Ansible's order of precedence, and the magic ones."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from labctl import __version__
from labctl.engine.state import Frame, HostState, Run
from labctl.errors import InventoryError
from labctl.inventory.model import LOCALHOST
from labctl.playbook.tree import Keywords, Play, Role
from labctl.variables import Late, Plan, ReadyScope, Scope, SteadyScope

if TYPE_CHECKING:
    from collections.abc import Sequence

_SELF_REFERENCES = frozenset({"hostvars", "vars"})
_OWN = frozenset({"inventory", "facts", "include_vars", "registered", "magic"})
_OWN_HERE = _OWN | {"vars_prompt", "vars_files", "include_params"}


class Scopes:
    """Builds the scope of any (host, task) of one play batch."""

    def __init__(self, run: Run, play: Play, everyone: Sequence[HostState]) -> None:
        self.run = run
        self.play = play
        self.play_name = play.title()
        self.everyone = everyone
        self.matched = [
            state.name for state in everyone
        ]  # those that failed before too, as the inventory has them
        self.batch: Sequence[HostState] = everyone
        self.files: dict[str, dict[str, Any]] = {}
        self.prompted: dict[str, Any] = {}
        self._plans: dict[Keywords, Plan] = {}
        self._alive: dict[int, list[str]] = {}
        # files of the controller, by task, folder and name
        self.found: dict[tuple[Keywords, str, str], Path] = {}
        self._addresses: dict[str, dict[str, Any]] = {}
        self._own_magic: dict[str, dict[str, Any]] = {}
        self._roles = [role for role in play.static_roles() if not isinstance(role.parent, Role)]
        self._public = _chain([role for role in self._roles if role.public])
        self._play_vars = play.play_vars()
        self._hostvars = HostVars(self)
        self._common = self._common_magic()
        self._elsewhere = self._plan(play, here=False)

    def scope(self, state: HostState, node: Keywords | None = None, frame: Frame | None = None) -> Scope:
        """What `node` (None: the play itself) sees on a host."""
        return Scope(self.run.templar, self._layers(state, node or self.play, frame))

    def ready(self, state: HostState, node: Keywords, frame: Frame) -> ReadyScope:
        """The same, for the thread that must not be kept waiting."""
        return ReadyScope(self.run.templar, self._layers(state, node, frame))

    def steady(self, state: HostState, node: Keywords, frame: Frame) -> SteadyScope:
        """The same, for who asks before it is time."""
        return SteadyScope(self.run.templar, self._layers(state, node, frame))

    def _layers(self, state: HostState, node: Keywords, frame: Frame | None) -> list[Mapping[str, Any]]:
        plan = self._plans.get(node)
        if plan is None:
            plan = self._plans[node] = self._plan(node)
        params = frame.params if frame else ()
        return [self._address(state), *plan.layers(self._own(state, params))]

    def host_scope(self, state: HostState) -> Scope:
        return HostScope(self.run.templar, self._elsewhere.layers(self._own(state)))

    def _plan(self, node: Keywords, *, here: bool = True) -> Plan:
        """What is the same for every host that `node` runs on (not `here`: what another host's scope has)."""
        inside = node is not self.play and here
        around = node.roles_around if inside else []
        roles = [*self._public, *_chain(around)] if here else []
        return Plan(
            _OWN_HERE if here else _OWN,
            role_defaults=[role.defaults for role in [*roles, *around]],
            play_vars=self._play_vars if here else None,
            role_vars=_role_vars(roles, around),
            task_vars=node.block_vars() if inside else None,
            role_params=[node.role_params()] if inside else (),
            include_params=[node.include_params()] if inside else (),
            extra_vars=self.run.options.extra_vars,
            magic={**self._common, **self._node_magic(node)},
        )

    def _own(self, state: HostState, params: Sequence[Mapping[str, Any]] = ()) -> dict[str, Any]:
        """A host's own part of the layers."""
        magic = self._own_magic.get(state.name)
        if magic is None:
            magic = self._own_magic[state.name] = self._host_magic(state)
        return {
            "inventory": state.inventory,
            "facts": state.facts,
            "vars_prompt": self.prompted,
            "vars_files": self.files.get(state.name),
            "include_vars": state.included,
            "registered": state.registered,
            "include_params": params,
            "magic": magic,
        }

    def _common_magic(self) -> dict[str, Any]:
        run, options, config = self.run, self.run.options, self.run.configuration.path
        return {
            **self._role_names(),
            "hostvars": self._hostvars,
            "groups": Late(run.inventory.memberships),
            "ansible_play_batch": Late(lambda: self._living(self.batch)),
            "play_hosts": Late(lambda: self._living(self.batch)),
            "ansible_play_hosts": Late(lambda: self._living(self.everyone)),
            "ansible_play_hosts_all": Late(lambda: self.matched),  # known only once the play has begun
            "ansible_check_mode": options.check,
            "ansible_diff_mode": options.diff,
            "ansible_forks": options.forks,
            "ansible_verbosity": options.verbosity,
            "ansible_run_tags": sorted(options.tags) or ["all"],
            "ansible_skip_tags": sorted(options.skip_tags),
            "ansible_config_file": str(config) if config else None,
            "ansible_play_name": self.play_name,
            "ansible_inventory_sources": [_place(source) for source in run.inventory_sources],
            "ansible_playbook_python": sys.executable,
            "ansible_version": {"full": "2.19.0", "major": 2, "minor": 19, "revision": 0, "string": "2.19.0"},
            "playbook_dir": str(self.play.dir.resolve()),
            "run_dir": str(run.run_dir),
            "labctl_version": __version__,
            **({"ansible_limit": options.limit} if options.limit else {}),
        }

    def add_role(self, role: Role) -> None:
        """A role that a dynamic include has brought."""
        self._roles.append(role)
        self._public += _chain([role]) if role.public else []
        self._common |= self._role_names()
        self._plans.clear()
        self._elsewhere = self._plan(self.play, here=False)

    def begin_task(self) -> None:
        """A task is about to start: what it sees of hosts that have failed is what holds now."""
        self._alive.clear()

    def _living(self, hosts: Sequence[HostState]) -> list[str]:
        found = self._alive.get(id(hosts))
        if found is None:
            found = self._alive[id(hosts)] = [each.name for each in hosts if each.alive]
        return found

    def _role_names(self) -> dict[str, Any]:
        """The names of the play's roles; those that other roles depend on are apart."""
        named = [role.name for role in self._roles]
        needed = list(dict.fromkeys(r.name for r in _chain(self._roles) if isinstance(r.parent, Role)))
        return {
            "ansible_play_role_names": named,
            "role_names": named,
            "ansible_dependent_role_names": needed,
            "ansible_role_names": list(dict.fromkeys([*needed, *named])),
        }

    def _host_magic(self, state: HostState) -> dict[str, Any]:
        host = self.run.inventory.host
        return {
            "inventory_hostname": state.name,
            "inventory_hostname_short": state.name.split(".")[0],
            "group_names": Late(lambda: sorted(name for name in host(state.name).groups if name != "all")),
            "ansible_facts": Late(lambda: {_short(name): value for name, value in state.facts.items()}),
        }

    def _address(self, state: HostState) -> dict[str, Any]:
        """`ansible_host` of the host at work, which every one has; `hostvars` has what was written only."""
        found = self._addresses.get(state.name)
        if found is None:
            local = state.name == "localhost" and state.inventory.get("ansible_connection") == "local"
            found = self._addresses[state.name] = {"ansible_host": "127.0.0.1" if local else state.name}
        return found

    def _node_magic(self, node: Keywords) -> dict[str, Any]:
        magic: dict[str, Any] = {}
        if (role := node.role) is not None:
            magic["role_path"] = _resolved(role.path)
            magic["role_name"] = role.name
            magic["ansible_role_name"] = role.name
            if parents := _parents(node):
                magic["ansible_parent_role_names"] = [parent.name for parent in parents]
                magic["ansible_parent_role_paths"] = [_resolved(parent.path) for parent in parents]
        if node is not self.play:
            magic["ansible_search_path"] = _search_path(node, self._common["playbook_dir"])
        return magic


class HostScope(Scope):
    """Another host's variables (`hostvars[name]`); listing them leaves out what would lead back here."""

    def __iter__(self) -> Iterator[str]:
        return (name for name in super().__iter__() if name not in _SELF_REFERENCES)


class HostVars(Mapping[str, Any]):
    """`hostvars`: every host of the inventory, its variables rendered when they are read."""

    def __init__(self, scopes: Scopes) -> None:
        self._scopes = scopes

    def __getitem__(self, name: str) -> Scope:
        try:
            return self._scopes.host_scope(self._scopes.run.host(str(name)))
        except InventoryError:
            raise KeyError(name) from None

    def __iter__(self) -> Iterator[str]:
        return iter(self._scopes.run.inventory.hosts)

    def __len__(self) -> int:
        return len(self._scopes.run.inventory.hosts)

    def __contains__(self, name: object) -> bool:
        return name in self._scopes.run.inventory.hosts or name in LOCALHOST


def _role_vars(public: Sequence[Role], around: Sequence[Role]) -> list[Mapping[str, Any]]:
    """The variables of roles' vars/ folders, and of `vars` where a role around the task was called."""
    layers: list[Mapping[str, Any]] = [role.variables for role in public]
    for role in around:
        layers += [role.variables, role.vars]
    return layers


def _parents(node: Keywords) -> list[Role]:
    """The roles whose tasks include or import the roles this node is in, innermost first."""
    calls = [role.parent for role in reversed(node.roles_around)]
    callers = (call.role for call in calls if call is not None and not isinstance(call, Role))
    return [caller for caller in callers if caller is not None]


def _search_path(node: Keywords, playbook_dir: str) -> list[str]:
    """Where a task's files are sought: its role and those around, its own folder, the playbook's."""
    roles = [_resolved(role.path) for role in reversed(node.roles_around)]
    own = os.path.dirname(_resolved(node.mark.file))
    return list(dict.fromkeys([*roles, own, playbook_dir]))


@cache
def _resolved(path: str | Path) -> str:
    """Asked for every task on every host, and each part of a path is a look at the disk."""
    return os.path.realpath(path)


def _place(source: str) -> str:
    return source if "," in source else str(Path(source).resolve())


def _chain(roles: Sequence[Role]) -> list[Role]:
    """Each role after those it depends on."""
    return list(dict.fromkeys(each for role in roles for each in role.with_dependencies()))


def _short(name: str) -> str:
    return name.removeprefix("ansible_") if name != "ansible_local" else "ansible_local"
