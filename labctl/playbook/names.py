"""The variables a playbook uses and gives: names that nothing gives, and values that nothing uses.

Only what is certain enough is said. A name some place asks about first (`x is defined`, `x | default(…)`)
may be missing; where variables come from files whose names are known only during the run, no name is
called unknown."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jinja2 import TemplateError, meta, nodes

from labctl.errors import LabctlError, Mark, did_you_mean
from labctl.paths import builtin
from labctl.playbook.kinds import is_template
from labctl.playbook.loader import find_file, shared_templar
from labctl.playbook.roles import read_variables
from labctl.playbook.strings import Place, strings
from labctl.playbook.tree import Entry, Keywords, Play, Playbook, Repeatable, Role, Task, walk
from labctl.variables.joined import Joined
from labctl.yaml import Mapping, Text

if TYPE_CHECKING:
    from labctl.inventory import Inventory

Said = tuple[str, Mark | None]

_WORD = re.compile(r"[A-Za-z_]\w*")
_MAGIC = frozenset(
    {
        *("environment", "group_names", "groups", "hostvars", "inventory_dir", "inventory_file"),
        *("inventory_hostname", "inventory_hostname_short", "item", "labctl_version", "omit", "packages"),
        *("play_hosts", "playbook_dir", "role_name", "role_names", "role_path", "run_dir", "services"),
        *("template_destpath", "template_fullpath", "template_host", "template_mtime", "template_path"),
        *("template_run_date", "template_uid", "vars"),
    }
)


class Names:
    """What one playbook uses and gives. `inventory` may give names too; its hosts are asked only when one
    is missing."""

    def __init__(self, playbook: Playbook, inventory: Inventory, extra: Iterable[str] = ()) -> None:
        templar = shared_templar()
        self._playbook = playbook
        self._inventory = inventory
        self._environment = templar.environment
        self._given = {*_MAGIC, *templar.environment.globals, *extra}
        self._optional: set[str] = set()
        self._used: dict[str, Mark | None] = {}
        self._words: set[str] = set()
        self._asides: list[tuple[str, Mark]] = []
        self._open_ended = False
        nodes_seen: dict[Keywords, None] = {}
        for text, place in strings(playbook):
            self._read(text, place)
            nodes_seen.update(dict.fromkeys(place.node.ancestors()))
        for play in playbook.plays:
            for entry in _entries(play):
                nodes_seen.update(dict.fromkeys(entry.ancestors()))
        for node in nodes_seen:
            self._give(node)

    # what is used

    def _read(self, text: Text, place: Place) -> None:
        if text.unsafe or not (place.expression or is_template(text)):
            return
        self._words.update(_WORD.findall(text))
        source = str(text) if is_template(text) else f"{{{{ {text} }}}}"
        if (joined := Joined.of(source, self._environment)) is not None:
            for name in joined.names:
                self._used.setdefault(name, text.mark)
            return
        try:
            tree = self._environment.parse(source)
            used = meta.find_undeclared_variables(tree)
        except TemplateError:
            return  # said elsewhere
        for name in used:
            self._used.setdefault(name, text.mark)
        self._optional.update(_asked_about(tree))

    # what is given

    def _give(self, node: Keywords) -> None:
        self._given.update(map(str, node.vars))
        if isinstance(node, Play):
            if isinstance(node.vars, Mapping):
                self._asides += [(str(name), node.vars.key_mark(name)) for name in node.vars]
            self._given.update(str(question.get("name")) for question in node.vars_prompt)
            for item in node.vars_files:
                for name in item if isinstance(item, list) else [item]:
                    self._give_file(name, [node.dir, node.dir / "vars"])
        if isinstance(node, Role):
            for layer in (node.params, node.defaults, node.variables):
                self._given.update(map(str, layer))
        if isinstance(node, Repeatable) and node.loop_control is not None:
            control = node.loop_control
            named = [name for name in (control.loop_var, control.index_var) if name]
            self._given.update(map(str, named))
            self._open_ended |= any(is_template(name) for name in named)
        if isinstance(node, Task):
            self._give_task(node)

    def _give_task(self, task: Task) -> None:
        if task.register:
            self._given.add(task.register)
        if task.action == "set_fact":
            names = [str(name) for name in task.args if name != "cacheable"]
            self._open_ended |= any(is_template(name) for name in names)
            self._given.update(names)
            self._asides += [(name, task.args.key_mark(name)) for name in names if not is_template(name)]
        elif task.action == "add_host":
            self._given.update(map(str, task.args))
        elif task.action == "include_vars":
            self._given.add(str(task.args.get("name")))
            self._give_file(task.args.get("file"), [])
        elif (task.dynamic and not task.preview) or _is_of_user(task):
            self._open_ended = True

    def _give_file(self, name: Any, folders: list[Path]) -> None:
        path = None if not isinstance(name, str) or is_template(name) else find_file(name, folders)
        if path is None:
            self._open_ended = True
            return
        try:
            self._given.update(map(str, read_variables(path)))
        except LabctlError:
            self._open_ended = True

    def _of_inventory(self) -> set[str]:
        found: set[str] = set()
        for play in self._playbook.plays:
            for host in self._inventory.hosts:
                found.update(self._inventory.variables(host, play.dir))
        return found

    # what is wrong

    def unknown(self) -> Iterator[Said]:
        """Names that are used and that nothing gives, each where it is first used."""
        missing = {
            name: mark
            for name, mark in self._used.items()
            if name not in self._given and name not in self._optional and not name.startswith("ansible_")
        }
        if not missing or self._open_ended:
            return
        given = self._given | self._of_inventory()
        for name, mark in missing.items():
            if name not in given:
                hint = did_you_mean(name, given)
                yield f"nothing gives the variable '{name}' a value{f'; {hint}' if hint else ''}", mark

    def unused(self) -> Iterator[Said]:
        """Variables of plays and of set_fact that no text of the playbook and no template names."""
        if self._open_ended:
            return
        silent = [(name, mark) for name, mark in self._asides if name not in self._words]
        if not silent:
            return
        elsewhere = set(self._words_of_files())
        for name, mark in silent:
            if name not in elsewhere and not name.startswith(("ansible_", "labctl_")):
                yield f"the variable '{name}' is given a value that nothing uses", mark

    def _words_of_files(self) -> Iterator[str]:
        """Every word of the templates beside the playbook and its roles, and of the inventory's texts."""
        bases = {play.dir for play in self._playbook.plays}
        bases |= {role.path for play in self._playbook.plays for role in play.static_roles()}
        for base in bases:
            for path in (base / "templates").rglob("*"):
                if path.is_file() and path.stat().st_size < 1_000_000:
                    yield from _WORD.findall(path.read_text(errors="replace"))
        for host in self._inventory.hosts:
            for value in self._inventory.variables(host, self._playbook.dir).values():
                yield from _WORD.findall(str(value))


def _is_of_user(task: Task) -> bool:
    """Whether its task type is none of labctl's own, so that what it gives is not known."""
    return task.task_type is not None and task.task_type.path.parent != builtin("tasks")


def _entries(play: Play) -> Iterator[Entry]:
    for _section, entries in play.sections():
        yield from _with_previews(entries)
    yield from _with_previews(play.handlers())


def _with_previews(entries: Iterable[Entry]) -> Iterator[Entry]:
    for entry in walk([*entries]):
        yield entry
        if isinstance(entry, Task) and entry.preview:
            yield from _with_previews(entry.preview)


def _asked_about(tree: nodes.Template) -> Iterator[str]:
    """Names that `is defined`, `is undefined` or `default` says may be missing."""
    for test in tree.find_all(nodes.Test):
        if test.name.rsplit(".", 1)[-1] in ("defined", "undefined"):
            yield from _root(test.node)
    for applied in tree.find_all(nodes.Filter):
        if applied.name.rsplit(".", 1)[-1] in ("default", "d") and applied.node is not None:
            yield from _root(applied.node)


def _root(node: nodes.Node) -> Iterator[str]:
    while isinstance(node, nodes.Getattr | nodes.Getitem):
        node = node.node
    if isinstance(node, nodes.Name):
        yield node.name
