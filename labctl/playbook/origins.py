"""Where a variable's value comes from: every place that gives it, in Ansible's order, with positions."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from labctl import yaml
from labctl.errors import Mark
from labctl.inventory import Inventory
from labctl.playbook.loader import find_file
from labctl.playbook.tree import Block, Keywords, Play, Task, walk
from labctl.records import dataclass, field
from labctl.variables import Scope, Templar, load_vars_files
from labctl.variables.precedence import ORDER, ranked_layers

COMMAND_LINE = dict(ORDER)["extra_vars"]


@dataclass(frozen=True)
class Origin:
    """One place that gives variables. `what` says in words which, `marks` where they stand if `values` does not."""

    what: str
    values: Mapping[str, Any]
    marks: Mapping[str, Mark] = field(default_factory=dict)

    def mark(self, name: str) -> Mark | None:
        """Where a variable's value stands here; None where that was not in a file."""
        if self.what == COMMAND_LINE:
            return None
        if name in self.marks:
            return self.marks[name]
        if isinstance(self.values, yaml.Mapping) and name in self.values.value_marks:
            return self.values.value_marks[name]
        return yaml.mark_of(self.values[name])


@dataclass(frozen=True)
class Setter:
    """A task that gives a variable its value during a run."""

    what: str
    mark: Mark


def origins(
    inventory: Inventory,
    host: str,
    templar: Templar,
    *,
    node: Keywords | None = None,
    extra_vars: Mapping[str, Any] | None = None,
) -> list[Origin]:
    """Everything that gives variables to a host before a run, low to high; with `node` (a play or a task)
    what its playbook gives as well. Facts, registers and set_fact come with a run: see `setters`."""
    play = node.play if node is not None else None
    of_inventory = [
        Origin(what, layer, marks)
        for what, layer, marks in inventory.layers(host, play.dir if play else None)
        if layer
    ]
    if node is None or play is None:
        return [*of_inventory, *_ranked(extra_vars=extra_vars)]
    roles = list(dict.fromkeys([*play.static_roles(), *node.roles_around]))
    low = [Origin(f"default of role {role.name}", role.defaults) for role in roles if role.defaults]
    below = [*low, *of_inventory, *_ranked(play_vars=_vars(play.ancestors()))]
    files = _files(play, Scope(templar, [*(origin.values for origin in below), extra_vars or {}]))
    return [
        *below,
        *(Origin("vars_files of the play", layer) for layer in files),
        *(Origin(f"vars of role {role.name}", role.variables) for role in roles if role.variables),
        *_ranked(
            task_vars=_vars(n for n in node.ancestors() if isinstance(n, Block) or n is node)
            if node is not play
            else None,
            role_params=[role.params for role in node.roles_around],
            include_params=[_vars(n for n in node.ancestors() if isinstance(n, Task) and n is not node)],
            extra_vars=extra_vars,
        ),
    ]


def _vars(nodes: Iterable[Keywords]) -> Mapping[str, Any]:
    """`vars` of nodes given from the innermost out, with their positions."""
    return yaml.merged(node.vars for node in reversed([*nodes]))


def _ranked(**parts: Any) -> list[Origin]:
    return [Origin(rank, layer) for rank, layer in ranked_layers(**parts)]


def _files(play: Play, scope: Scope) -> list[dict[str, Any]]:
    folders = [play.dir, play.dir / "vars"]
    mark = play.mark_of("vars_files")
    return load_vars_files(list(play.vars_files), scope, lambda name: find_file(name, folders), mark)


def setters(play: Play, name: str) -> Iterator[Setter]:
    """What may set a variable while the play runs, in the order written."""
    for question in play.vars_prompt:
        if question.get("name") == name:
            yield Setter("vars_prompt", yaml.mark_of(question, play.mark_of("vars_prompt")) or play.mark)
    if name.startswith("ansible_") and play.gather_facts is not False:
        yield Setter("a fact of this name, once facts are gathered", play.mark)
    for _section, entries in play.sections():
        for task in walk(entries):
            if not isinstance(task, Task):
                continue
            if task.register == name:
                yield Setter(f"register of '{task.label()}'", task.mark_of("register"))
            if task.action == "set_fact" and name in task.args:
                yield Setter(f"set_fact in '{task.label()}'", task.arg_mark(name))
            if task.action == "include_vars":
                yield Setter(f"include_vars in '{task.label()}', if its file holds it", task.mark)
