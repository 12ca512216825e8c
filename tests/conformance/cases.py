"""The conformance cases: reading them from YAML, and writing them as playbooks.

A file `<area>/<topic>.yml` is a list of cases. A case has a title (`case`) and the keywords of a play; by
default `hosts: one` and `gather_facts: false`. Its other keys:

    fails: true       some hosts fail in its last play, never all of a batch: they are back in the next case
    last: true        it ends the run: it stands last in its process, which has one such case
    alone: true       a process of its own: it alters what no later case could stand
    again: true       run twice with labctl; the second run must change nothing
    check: true       labctl's dry run before it must predict every status, or say unknown
    nodes: true       on a real node of the embedded lab, as root, each tool on its own, named `one`
    args: [...]       words of the command line, for both
    ignore: [...]     keys of results that are not compared
    playbook: [...]   whole plays instead of one, named after the case if they have no name (and are not alone)
    inventory: text   instead of the default one
    files: {path: text or value}   what stands beside the playbook

Cases of one file with equal `args`, `inventory` and `nodes` are plays of one process.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

HERE = Path(__file__).parent
_OWN = {
    *("case", "fails", "last", "alone", "again", "check", "nodes"),
    *("args", "ignore", "playbook", "inventory", "files"),
}


@dataclass(frozen=True)
class Tagged:
    """A value with a YAML tag of its own (!vault, !unsafe)."""

    tag: str
    value: Any


class _Loader(yaml.SafeLoader):
    pass


class _Dumper(yaml.SafeDumper):
    def ignore_aliases(self, data: Any) -> bool:
        return True


def _tagged(loader: yaml.Loader, suffix: str, node: yaml.Node) -> Tagged:
    if isinstance(node, yaml.MappingNode):
        return Tagged(f"!{suffix}", loader.construct_mapping(node, deep=True))
    if isinstance(node, yaml.SequenceNode):
        return Tagged(f"!{suffix}", loader.construct_sequence(node, deep=True))
    return Tagged(f"!{suffix}", loader.construct_scalar(node))


def _represent(dumper: yaml.Dumper, tagged: Tagged) -> yaml.Node:
    node = dumper.represent_data(tagged.value)
    node.tag = tagged.tag
    if isinstance(node, yaml.ScalarNode):
        node.style = "|" if "\n" in node.value else '"'
    return node


_Loader.add_multi_constructor("!", _tagged)
_Dumper.add_representer(Tagged, _represent)


def dump(value: Any) -> str:
    return yaml.dump(value, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=10_000)


@dataclass(frozen=True, eq=False)
class Case:
    """One case: its title, its file's `<area>/<topic>`, its plays, and what the harness is told of it."""

    topic: str
    title: str
    plays: list[dict[str, Any]]
    told: dict[str, Any]

    @property
    def names(self) -> set[str]:
        return {str(play["name"]) for play in self.plays if "name" in play}

    def __str__(self) -> str:
        return f"{self.topic}: {self.title}"


@dataclass(eq=False)
class Bundle:
    """Cases that run in one process."""

    name: str
    cases: list[Case] = field(default_factory=list)

    @property
    def nodes(self) -> bool:
        return bool(self.cases[0].told.get("nodes"))

    @property
    def shared(self) -> bool:
        return len(self.cases) > 1

    def add(self, case: Case) -> None:
        for other in self.cases:
            names = case.names & other.names
            assert not names, f"{case} and {other} both have plays named {names}: name them differently"
            files, others = case.told.get("files") or {}, other.told.get("files") or {}
            unlike = [path for path in files.keys() & others.keys() if files[path] != others[path]]
            assert not unlike, f"{case} and {other} both write {unlike}"
        place = -1 if self.cases and self.cases[-1].told.get("last") else len(self.cases)
        self.cases.insert(place, case)

    def chosen(self, key: str) -> list[Case]:
        return [case for case in self.cases if case.told.get(key)]


def load() -> Iterator[Case]:
    for path in sorted(HERE.glob("*/*.yml")):
        topic = str(path.relative_to(HERE).with_suffix(""))
        seen = set()
        for given in yaml.load(path.read_text(), Loader=_Loader):
            title = given["case"]
            assert title not in seen, f"{path}: two cases named {title!r}"
            seen.add(title)
            told = {key: value for key, value in given.items() if key in _OWN}
            play = {key: value for key, value in given.items() if key not in _OWN}
            plays = told.get("playbook") or [{"name": title, "hosts": "one", "gather_facts": False, **play}]
            if not told.get("alone"):
                plays = [{"name": title, **play} for play in plays]
            if told.get("fails"):
                plays[-1]["post_tasks"] = [*plays[-1].get("post_tasks", ()), {"meta": "clear_host_errors"}]
            yield Case(topic, title, plays, told)


def bundles(cases: list[Case]) -> dict[Case, Bundle]:
    """The process each case runs in."""
    found: dict[Case, Bundle] = {}
    shared: dict[str, Bundle] = {}
    for case in cases:
        key = dump([case.topic, *(case.told.get(key) for key in ("nodes", "args", "inventory"))])
        bundle = shared.get(key)
        taken = bundle is not None and case.told.get("last") and bundle.chosen("last")
        if bundle is None or taken or case.told.get("alone"):
            bundle = Bundle(f"{case.topic}-{len(found)}".replace("/", "-"))
            if not case.told.get("alone") and not taken:
                shared[key] = bundle
        bundle.add(case)
        found[case] = bundle
    return found
