"""Playbooks: text in, a typed and checked tree out."""

from labctl.playbook.handlers import select_handlers
from labctl.playbook.listing import ListedPlay, ListedTask, adds_hosts, list_hosts, list_tags, list_tasks
from labctl.playbook.plays import find_include, load_playbook, load_role, load_tasks
from labctl.playbook.problems import PlaybookErrors
from labctl.playbook.roles import read_variables
from labctl.playbook.strings import Place, strings
from labctl.playbook.tags import selected
from labctl.playbook.tree import (
    ENGINE_ACTIONS,
    Block,
    Entry,
    Handler,
    Keywords,
    LoopControl,
    Play,
    Playbook,
    PlaybookImport,
    Role,
    Section,
    Task,
    walk,
)

__all__ = [
    "ENGINE_ACTIONS",
    "Block",
    "Entry",
    "Handler",
    "Keywords",
    "ListedPlay",
    "ListedTask",
    "LoopControl",
    "Place",
    "Play",
    "Playbook",
    "PlaybookErrors",
    "PlaybookImport",
    "Role",
    "Section",
    "Task",
    "adds_hosts",
    "find_include",
    "list_hosts",
    "list_tags",
    "list_tasks",
    "load_playbook",
    "load_role",
    "load_tasks",
    "read_variables",
    "select_handlers",
    "selected",
    "strings",
    "walk",
]
