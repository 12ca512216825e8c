"""Hosts and groups that a run adds while it goes on: add_host and group_by."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from labctl.errors import InventoryError
from labctl.inventory.model import Group, Host, Inventory


class Additions:
    """What a run adds to its inventory, kept so that it can be added again after the sources were read
    anew. Not thread-safe for writers; readers in other threads always see whole dictionaries."""

    def __init__(self, inventory: Inventory) -> None:
        self._inventory = inventory
        self._hosts: list[tuple[str, Sequence[str], Mapping[str, Any]]] = []
        self._groupings: list[tuple[str, str, Sequence[str]]] = []

    def host(self, name: str, groups: Sequence[str], variables: Mapping[str, Any]) -> bool:
        """Add a host, or give one more groups and variables; whether that changed anything."""
        self._hosts.append((name, groups, variables))
        nested, changed = self._host(name, groups, variables)
        if nested:
            self._inventory.settle()
        elif changed:
            self._inventory.settle_host(name)
        return nested or changed

    def grouping(self, host: str, group: str, parents: Sequence[str]) -> list[str]:
        """Put a host into a group below `parents`; the hosts that are in other groups now than before."""
        self._groupings.append((host, group, parents))
        nested, joined = self._grouping(host, group, parents)
        if nested:
            self._inventory.settle()
            return self._inventory.members(group)
        if joined:
            self._inventory.settle_host(host)
        return [host] if joined else []

    def again(self) -> None:
        """After the sources were read anew: everything once more, but groupings of hosts that are gone."""
        for name, groups, variables in self._hosts:
            self._host(name, groups, variables)
        for host, group, parents in self._groupings:
            if self._known(host):
                self._grouping(host, group, parents)
        self._inventory.settle()

    def _known(self, host: str) -> bool:
        try:
            return self._inventory.host(host) is not None
        except InventoryError:
            return False

    def _host(self, name: str, groups: Sequence[str], variables: Mapping[str, Any]) -> tuple[bool, bool]:
        """Whether there are new groups, and whether anything of the host is new."""
        inventory = self._inventory
        changed = name not in inventory.hosts
        if changed:
            inventory.hosts = {**inventory.hosts, name: Host(name)}
            self._join(name, "all")
        host = inventory.hosts[name]
        if any(key not in host.vars or host.vars[key] != value for key, value in variables.items()):
            host.vars = {**host.vars, **variables}
            changed = True
        nested = False
        for group in groups:
            nested = self._group(group) or nested
            if name not in inventory.groups[group].hosts:
                self._join(name, group)
                changed = True
        return nested, changed

    def _grouping(self, host: str, group: str, parents: Sequence[str]) -> tuple[bool, bool]:
        """Whether groups nest in a new way, and whether the host is newly in the group."""
        inventory = self._inventory
        inventory.host(host)
        nested = self._group(group)
        for parent in parents:
            nested = self._group(parent) or nested
            if group not in inventory.groups[parent].children:
                inventory.add_child(parent, group)
                nested = True
        if inventory.is_in(host, group):
            return nested, False
        self._join(host, group)
        return nested, True

    def _join(self, host: str, group: str) -> None:
        entry = self._inventory.groups[group]
        entry.hosts = {**entry.hosts, host: None}

    def _group(self, name: str) -> bool:
        groups = self._inventory.groups
        if name in groups:
            return False
        self._inventory.groups = {**groups, name: Group(name)}
        return True
