"""Lookups: values from the controller. `lookup()` gives one value, `query()` a list."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from jinja2 import pass_context

from labctl.errors import LabctlError, UndefinedVariable, UnknownValue, VariableError, did_you_mean
from labctl.variables.environment import Context, refuse_undefined
from labctl.variables.lookups import files, values
from labctl.variables.lookups.values import Lookup

if TYPE_CHECKING:
    from labctl.variables.scope import Scope

LOOKUPS: dict[str, Lookup] = {**values.LOOKUPS, **files.LOOKUPS}


def run(scope: Scope, name: str, terms: list[Any], options: dict[str, Any]) -> list[Any]:
    """A lookup's list of values. VariableError for an unknown one, or for arguments it does not take."""
    short = name.removeprefix("ansible.builtin.")
    table = scope.templar.lookups
    if short not in table:
        raise VariableError(f"no lookup named '{name}'", hint=did_you_mean(short, table) or ", ".join(table))
    for value in (*terms, *options.values()):
        refuse_undefined(value)
    try:
        return table[short](scope, terms, **options)
    except TypeError as error:
        raise VariableError(f"lookup '{short}': {error}") from None
    except LabctlError as error:
        if not isinstance(error, UndefinedVariable | UnknownValue) and not error.message.startswith("lookup"):
            error.message = f"lookup '{short}': {error.message}"
        raise


@pass_context
def query(context: Context, name: str, *terms: Any, errors: str = "strict", **options: Any) -> list[Any]:
    options.pop("wantlist", None)
    try:
        return run(cast("Scope", context.source), name, list(terms), options)
    except VariableError as error:
        if errors == "strict" or isinstance(error, UnknownValue):
            raise
        return []


@pass_context
def lookup(context: Context, name: str, *terms: Any, errors: str = "strict", **options: Any) -> Any:
    wantlist = options.pop("wantlist", False)
    found = query(context, name, *terms, errors=errors, **options)
    if wantlist:
        return found
    if len(found) == 1:
        return found[0]
    if found and all(isinstance(value, str) for value in found):
        return ",".join(found)
    return found or (None if errors != "strict" else found)
