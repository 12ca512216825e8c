"""The conformance cases: reading them from YAML, and writing them as playbooks.

A file `<area>/<topic>.yml` is a list of cases. A case has a title (`case`) and the keywords of a play; by
default `hosts: one` and `gather_facts: false`. Its other keys:

    alone: true       a process of its own: the play fails or changes the hosts' state for later plays
    again: true       run twice with labctl; the second run must change nothing
    check: true       labctl's dry run before it must predict every status, or say unknown
    nodes: true       on a real node of the embedded lab, as root, each tool on its own, named `one`
    args: [...]       words of the command line, for both (implies alone)
    ignore: [...]     keys of results that are not compared
    playbook: [...]   whole plays instead of one (implies alone)
    inventory: text   instead of the default one (implies alone)
    files: {path: text or value}   what stands beside the playbook
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

HERE = Path(__file__).parent
_OWN = {"case", "alone", "again", "check", "nodes", "args", "ignore", "playbook", "inventory", "files"}


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
    def alone(self) -> bool:
        return any(self.told.get(key) for key in ("alone", "args", "playbook", "inventory"))

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
            yield Case(topic, title, plays, told)


def bundles(cases: list[Case]) -> dict[Case, Bundle]:
    """The process each case runs in."""
    found: dict[Case, Bundle] = {}
    shared: dict[tuple[str, bool], Bundle] = {}
    for case in cases:
        if case.alone:
            bundle = Bundle(f"{case.topic}-{len(found)}".replace("/", "-"))
        else:
            key = (case.topic, bool(case.told.get("nodes")))
            name = case.topic.replace("/", "-") + ("-nodes" if key[1] else "")
            bundle = shared.setdefault(key, Bundle(name))
        bundle.cases.append(case)
        found[case] = bundle
    return found
