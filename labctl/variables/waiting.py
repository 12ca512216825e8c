"""What rendering a template may take and say, as its tree tells when it is compiled."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping
from typing import Any

import jinja2
from jinja2 import nodes

from labctl.variables.filters import FILTERS
from labctl.variables.tests import TESTS

# Functions that only compute; every other, `lookup` first of all, may wait.
_COMPUTES = frozenset({"range", "dict", "now", "undef", "cycler", "joiner", "namespace", "lipsum"})
# What is random, of the moment, or of the controller's files.
_VARYING = frozenset({"now", "lipsum"})
_VARYING_FILTERS = ("random", "shuffle", "password_hash", "vault", "strftime", "fileglob", "realpath")
_VARYING_TESTS = ("file", "directory", "link", "link_exists", "exists", "mount", "same_file", "vaulted_file")
_VARYING_FUNCTIONS: frozenset[Any] = frozenset(
    [*(FILTERS[name] for name in _VARYING_FILTERS), *(TESTS[name] for name in _VARYING_TESTS)]
)
# Other hosts' variables, and all of one's own: templates that nobody has looked at.
_ANYTHING = frozenset({"hostvars", "vars"})
_OTHER_TEXTS: tuple[type[nodes.Node], ...] = (
    *(nodes.Include, nodes.Import, nodes.FromImport, nodes.Extends, nodes.Block, nodes.Macro),
    *(nodes.CallBlock, nodes.EnvironmentAttribute, nodes.ExtensionAttribute),
)
_TELLING: tuple[type[nodes.Node], ...] = (nodes.Name, nodes.Call, nodes.Filter, nodes.Test, *_OTHER_TEXTS)
_TABLES: tuple[Mapping[str, Any], ...] = (jinja2.filters.FILTERS, jinja2.tests.TESTS, FILTERS, TESTS)
_OWN: frozenset[Any] = frozenset(inspect.unwrap(function) for table in _TABLES for function in table.values())
# Filters that apply a filter or test which one of their arguments, here by its index, names.
_APPLY_FILTER = {"map": 0}
_APPLY_TEST = {"select": 0, "reject": 0, "selectattr": 1, "rejectattr": 1}


def may_wait(tree: nodes.Template, environment: jinja2.Environment) -> bool:
    """Whether rendering it may take its time: look-ups, plugins, other files and other hosts' variables."""
    return not all(_computes(node, environment) for node in tree.find_all(_TELLING))


def may_vary(tree: nodes.Template, environment: jinja2.Environment) -> bool:
    """Whether one that never waits may say something else when it is rendered again, its variables being the same."""
    return any(_varies(node, environment) for node in tree.find_all((nodes.Call, nodes.Filter, nodes.Test)))


def _computes(node: nodes.Node, environment: jinja2.Environment) -> bool:
    if isinstance(node, nodes.Name):
        return node.name not in _ANYTHING
    if isinstance(node, nodes.Call):
        return isinstance(node.node, nodes.Getattr) or getattr(node.node, "name", None) in _COMPUTES
    if isinstance(node, nodes.Filter | nodes.Test):
        return _OWN.issuperset(_applied(node, environment))
    return False


def _varies(node: nodes.Node, environment: jinja2.Environment) -> bool:
    if isinstance(node, nodes.Call):
        return getattr(node.node, "name", None) in _VARYING
    return isinstance(node, nodes.Filter | nodes.Test) and not _VARYING_FUNCTIONS.isdisjoint(
        _applied(node, environment)
    )


def _applied(node: nodes.Filter | nodes.Test, environment: jinja2.Environment) -> Iterator[Any]:
    """The functions that a filter or test stands for; None for one that only its rendering tells."""
    if isinstance(node, nodes.Test):
        yield _function(environment.tests, node.name)
        return
    yield _function(environment.filters, node.name)
    for applying, table in ((_APPLY_FILTER, environment.filters), (_APPLY_TEST, environment.tests)):
        at = applying.get(node.name.rpartition(".")[2])
        if at is not None and at < len(node.args):
            name = node.args[at]
            yield _function(table, name.value) if isinstance(name, nodes.Const) else None


def _function(table: Mapping[str, Any], name: Any) -> Any:
    return inspect.unwrap(table[name]) if name in table else None
