"""Lookups: values from the controller. `lookup()` gives one value, `query()` a list."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from jinja2 import pass_context

from labctl.errors import LabctlError, UndefinedVariable, UnknownValue, VariableError, did_you_mean
from labctl.variables.embedded import render_embedded
from labctl.variables.environment import Context
from labctl.variables.lookups import commands, files, hosts, password, settings, tables, urls, values
from labctl.variables.lookups.values import Lookup
from labctl.variables.undefined import Undefined, UndefinedUse

if TYPE_CHECKING:
    from labctl.variables.scope import Scope

LOOKUPS: dict[str, Lookup] = {
    **values.LOOKUPS,
    **files.LOOKUPS,
    **tables.LOOKUPS,
    **commands.LOOKUPS,
    **hosts.LOOKUPS,
    **password.LOOKUPS,
    **settings.LOOKUPS,
    **urls.LOOKUPS,
}
_PREFIXES = ("ansible.builtin.", "ansible.legacy.")


def short_name(name: str) -> str:
    for prefix in _PREFIXES:
        name = name.removeprefix(prefix)
    return name


def run(scope: Scope, name: str, terms: list[Any], options: dict[str, Any]) -> list[Any]:
    """A lookup's list of values. VariableError for an unknown one, or for arguments it does not take."""
    short = short_name(name)
    found = scope.templar.find_lookup(short)
    if found is None:
        raise unknown(scope, name)
    if (undefined := _undefined(short, terms, options)) is not None:
        raise UndefinedUse(undefined)
    try:
        return found(scope, terms, **options)
    except TypeError as error:
        raise VariableError(f"lookup '{short}': {error}") from None
    except LabctlError as error:
        if not isinstance(error, UndefinedVariable | UnknownValue) and not error.message.startswith("lookup"):
            error.message = f"lookup '{short}': {error.message}"
        raise


def unknown(scope: Scope, name: str) -> VariableError:
    """The error for a lookup that does not exist."""
    table = scope.templar.lookups
    if "." in short_name(name):
        collection = name.rpartition(".")[0]
        hint = (
            f"lookups of your own go into lookup_plugins/; labctl does not read the collection {collection}"
        )
    else:
        hint = did_you_mean(name, table) or ", ".join(sorted(table))
    return VariableError(f"no lookup named '{name}'", hint=hint)


def _undefined(short: str, terms: list[Any], options: dict[str, Any]) -> Undefined | None:
    """The first undefined argument of a lookup that does not say itself what that means."""
    given = {"first_found": (), "env": tuple(terms)}.get(short, (*terms, *options.values()))
    return next((value for value in given if type(value) is Undefined), None)


@pass_context
def query(context: Context, name: str, *terms: Any, errors: str = "strict", **options: Any) -> Any:
    return lookup(context, name, *terms, errors=errors, **{**options, "wantlist": True})


@pass_context
def lookup(context: Context, name: str, *terms: Any, errors: str = "strict", **options: Any) -> Any:
    wantlist = options.pop("wantlist", False)
    scope = cast("Scope", context.source)
    given = [render_embedded(term, scope.render) for term in terms]
    if (undefined := _undefined(short_name(name), given, options)) is not None:
        return undefined
    try:
        found = run(scope, name, given, options)
    except VariableError as error:
        if errors not in ("ignore", "warn") or isinstance(error, UnknownValue):
            raise
        if errors == "warn":
            scope.templar.warn(str(error.message), error.mark)
        return [] if wantlist else None
    if wantlist:
        return found
    if len(found) == 1:
        return found[0]
    return ",".join(found) if found and all(isinstance(value, str) for value in found) else found
