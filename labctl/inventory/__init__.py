"""Inventories: sources in, hosts, groups, patterns and variables out."""

from labctl.inventory.dynamic import Additions
from labctl.inventory.model import Group, Host, Inventory, LabSpec
from labctl.inventory.sources import load

__all__ = ["Additions", "Group", "Host", "Inventory", "LabSpec", "load"]
