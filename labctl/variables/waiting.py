"""Whether rendering a template may wait for anything, as its tree tells when it is compiled."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

import jinja2
from jinja2 import nodes

from labctl.variables.filters import FILTERS
from labctl.variables.tests import TESTS

# Functions that only compute; every other, `lookup` first of all, may wait.
_COMPUTES = frozenset({"range", "dict", "now", "undef", "cycler", "joiner", "namespace", "lipsum"})
# Other hosts' variables, and all of one's own: templates that nobody has looked at.
_ANYTHING = frozenset({"hostvars", "vars"})
_OTHER_TEXTS: tuple[type[nodes.Node], ...] = (
    *(nodes.Include, nodes.Import, nodes.FromImport, nodes.Extends, nodes.Block, nodes.Macro),
    *(nodes.CallBlock, nodes.EnvironmentAttribute, nodes.ExtensionAttribute),
)
_TELLING: tuple[type[nodes.Node], ...] = (nodes.Name, nodes.Call, nodes.Filter, nodes.Test, *_OTHER_TEXTS)
_OWN_FILTERS: frozenset[Any] = frozenset({*jinja2.filters.FILTERS.values(), *FILTERS.values()})
_OWN_TESTS: frozenset[Any] = frozenset({*jinja2.tests.TESTS.values(), *TESTS.values()})


def may_wait(tree: nodes.Template, environment: jinja2.Environment) -> bool:
    """Whether rendering it may take its time: look-ups, plugins, other files and other hosts' variables."""
    return not all(_computes(node, environment) for node in tree.find_all(_TELLING))


def _computes(node: nodes.Node, environment: jinja2.Environment) -> bool:
    if isinstance(node, nodes.Name):
        return node.name not in _ANYTHING
    if isinstance(node, nodes.Call):
        return isinstance(node.node, nodes.Getattr) or getattr(node.node, "name", None) in _COMPUTES
    if isinstance(node, nodes.Filter):
        return _own(environment.filters, node.name, _OWN_FILTERS)
    if isinstance(node, nodes.Test):
        return _own(environment.tests, node.name, _OWN_TESTS)
    return False


def _own(table: Mapping[str, Any], name: str, own: frozenset[Any]) -> bool:
    """Whether what a name stands for is labctl's or Jinja2's, and no plugin's."""
    return name in table and inspect.unwrap(table[name]) in own
