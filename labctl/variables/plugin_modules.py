"""What plugins import of Ansible: the few names that filters, tests and lookups use, and nothing more.

An `import ansible…` in a plugin's file goes through `importing`, which finds these modules and leaves
every other import, and every other file, as it is.
"""

from __future__ import annotations

import builtins
import json
import types
import urllib.error
import urllib.parse
import urllib.request
from collections import abc
from functools import cache
from typing import Any, NoReturn

from labctl.errors import did_you_mean
from labctl.variables.plugin_errors import ERRORS
from labctl.variables.plugin_text import to_bytes, to_native, to_text
from labctl.yaml import Text


def importing(
    name: str,
    globals: Any = None,
    locals: Any = None,
    fromlist: Any = (),
    level: int = 0,
) -> Any:
    """`__import__` as a plugin's code sees it."""
    if level or name.partition(".")[0] != "ansible":
        return builtins.__import__(name, globals, locals, fromlist, level)
    table = _modules()
    if name not in table:
        _missing(name, table)
    module = table[name]
    for wanted in fromlist or ():
        if wanted != "*" and not hasattr(module, wanted):
            if f"{name}.{wanted}" not in table:
                _missing(f"{name}.{wanted}", table)
            setattr(module, wanted, table[f"{name}.{wanted}"])
    return module if fromlist else table["ansible"]


def _missing(name: str, table: dict[str, Any]) -> NoReturn:
    near = did_you_mean(name, table)
    reason = f"it imports '{name}', which labctl does not provide to plugins"
    raise ImportError(reason + (f" ({near})" if near else ""))


@cache
def _modules() -> dict[str, Any]:
    """Dotted names and their modules, each an attribute of the one above it."""
    contents: dict[str, dict[str, Any]] = {name: {} for name in _PACKAGES}
    contents |= _contents()
    found: dict[str, Any] = {}
    for name in sorted(contents):
        module = types.ModuleType(name)
        vars(module).update(contents[name])
        found[name] = module
    six = "ansible.module_utils.six.moves"
    found |= {
        f"{six}.urllib": urllib,
        f"{six}.urllib.parse": urllib.parse,
        f"{six}.urllib.error": urllib.error,
        f"{six}.urllib.request": urllib.request,
    }
    for name, module in found.items():
        above, _, last = name.rpartition(".")
        if isinstance(found.get(above), types.ModuleType) and not above.startswith(f"{six}.urllib"):
            setattr(found[above], last, module)
    return found


_PACKAGES = (
    "ansible",
    "ansible.module_utils",
    "ansible.module_utils.common",
    "ansible.module_utils.common.text",
    "ansible.module_utils.parsing",
    "ansible.parsing",
    "ansible.plugins",
    "ansible.utils",
)


def _contents() -> dict[str, dict[str, Any]]:
    from labctl.variables.plugin_lookup import LookupBase
    from labctl.variables.plugin_tools import Display, boolean, is_iterable, is_sequence, merge, parse_kv

    text = {"to_text": to_text, "to_native": to_native, "to_bytes": to_bytes}
    collections = {name: getattr(abc, name) for name in _COLLECTIONS}
    sequences = {
        "is_sequence": is_sequence,
        "is_iterable": is_iterable,
        "is_string": lambda value: isinstance(value, str | bytes),
    }
    converters = {**text, "jsonify": json.dumps}
    return {
        "ansible.errors": dict(ERRORS),
        "ansible.plugins.lookup": {"LookupBase": LookupBase, "display": Display()},
        "ansible.module_utils._text": text,
        "ansible.module_utils.common.text.converters": converters,
        "ansible.module_utils.common.collections": {**collections, **sequences},
        "ansible.module_utils.common._collections_compat": collections,
        "ansible.module_utils.common.dict_transformations": {"dict_merge": merge},
        "ansible.module_utils.parsing.convert_bool": {"boolean": boolean},
        "ansible.module_utils.six": _SIX,
        "ansible.module_utils.six.moves": {"range": range, "zip": zip, "map": map, "filter": filter},
        "ansible.parsing.splitter": {"parse_kv": parse_kv},
        "ansible.release": {"__version__": "2.19.0"},
        "ansible.template": {
            "accept_args_markers": lambda function: function,
            "accept_lazy_markers": lambda function: function,
            "trust_as_template": Text,
        },
        "ansible.utils.display": {"Display": Display},
        "ansible.utils.listify": {
            "listify_lookup_plugin_terms": lambda terms, *_, **__: (
                terms if isinstance(terms, list) else [terms]
            )
        },
        "ansible.utils.unsafe_proxy": {"wrap_var": lambda value: value, "AnsibleUnsafeText": str},
        "ansible.utils.vars": {"merge_hash": merge, "combine_vars": lambda a, b, **_: {**a, **b}},
        **_filters(),
    }


def _filters() -> dict[str, dict[str, Any]]:
    """Ansible's own filters and tests, which plugins build upon."""
    from labctl.variables.filters import FILTERS
    from labctl.variables.tests import TESTS

    class FilterModule:
        def filters(self) -> dict[str, Any]:
            return dict(FILTERS)

    class TestModule:
        def tests(self) -> dict[str, Any]:
            return dict(TESTS)

    filters = {**FILTERS, "FilterModule": FilterModule}
    return {
        "ansible.plugins.filter": {},
        "ansible.plugins.filter.core": filters,
        "ansible.plugins.filter.mathstuff": filters,
        "ansible.plugins.test": {},
        "ansible.plugins.test.core": {**TESTS, "TestModule": TestModule},
    }


_COLLECTIONS = (
    *("Mapping", "MutableMapping", "Sequence", "MutableSequence", "Set", "MutableSet", "Iterable"),
    *("Iterator", "Hashable", "Container", "Sized", "Callable", "ItemsView", "KeysView", "ValuesView"),
)
_SIX = {
    "PY2": False,
    "PY3": True,
    "string_types": (str,),
    "integer_types": (int,),
    "text_type": str,
    "binary_type": bytes,
    "iteritems": lambda mapping: iter(mapping.items()),
    "iterkeys": lambda mapping: iter(mapping.keys()),
    "itervalues": lambda mapping: iter(mapping.values()),
    "u": lambda value: value,
    "b": lambda value: value.encode("latin-1"),
    "with_metaclass": lambda meta, *bases: meta("base", bases, {}),
}
