"""Check variables against a specification of arguments: types, choices, what is required. Roles with a
meta/argument_specs.yml get this task in front of their own.

Returns validate_args_context, and on failure argument_errors (a list of sentences) and argument_spec_data.
"""

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from labctl.errors import TaskFailed, did_you_mean
from labctl.task_types import Args, Context, arg
from labctl.task_types.coercion import coerce

ON_CONTROLLER = True

_SHIFTS = {"": 0, "k": 10, "m": 20, "g": 30, "t": 40, "p": 50, "e": 60, "z": 70, "y": 80}


@dataclass(kw_only=True)
class Arguments(Args):
    argument_spec: dict[str, Any] = arg(doc="The options by name, each with type, required, choices ….")
    provided_arguments: dict[str, Any] = arg({}, doc="Values that go before variables of the same name.")
    validate_args_context: dict[str, Any] = arg({}, doc="What is being validated, for messages.")


def run(args: Arguments, ctx: Context) -> dict[str, Any]:
    spec = args.argument_spec
    given = {name: ctx.variables[name] for name in spec if name in ctx.variables}
    errors = list(_errors(spec, given | args.provided_arguments, ""))
    values = {"validate_args_context": args.validate_args_context}
    if errors:
        text = "Validation of arguments failed:\n" + "\n".join(errors)
        raise TaskFailed(text, argument_errors=errors, argument_spec_data=spec, **values)
    return {"msg": "The arg spec validation passed", "changed": False, **values}


def _errors(spec: Mapping[str, Any], given: Mapping[str, Any], where: str) -> Iterator[str]:
    inside = f" found in {where}" if where else ""
    names = {alias: name for name, option in spec.items() for alias in (name, *_list(option, "aliases"))}
    values = {names[name]: value for name, value in given.items() if name in names}
    missing = [name for name, option in spec.items() if option.get("required") and values.get(name) is None]
    if missing:
        yield f"missing required arguments: {', '.join(missing)}{inside}"
    for name, value in values.items():
        if value is not None:
            yield from _problems(name, value, spec[name], where)
    for name in given:
        if name not in names:
            hint = did_you_mean(name, names)
            known = f"Supported parameters include: {', '.join(sorted(spec))}."
            yield f"{where}.{name}. {known}" if where else f"{name}. {known}{f' ({hint})' if hint else ''}"


def _problems(name: str, value: Any, option: Mapping[str, Any], where: str) -> Iterator[str]:
    inside = f" found in '{where}'" if where else ""
    kind = option.get("type") or "str"
    try:
        converted = _convert(value, kind)
    except (TypeError, ValueError) as error:
        said = type(value).__name__
        yield f"argument '{name}' is of type {said}{inside} and we were unable to convert to {kind}: {error}"
        return
    choices = _list(option, "choices")
    for item in converted if kind == "list" else [converted]:
        if choices and item not in choices:
            offered = ", ".join(map(str, choices))
            many = "one or more of" if kind == "list" else "one of"
            yield f"value of {name} must be {many}: {offered}, got: {item}{inside.replace(chr(39), '')}"
    path = f"{where}.{name}" if where else name
    options = option.get("options")
    elements = option.get("elements")
    if kind == "list" and elements:
        for item in converted:
            try:
                element = _convert(item, elements)
            except (TypeError, ValueError) as error:
                said = type(item).__name__
                yield (
                    f"Elements value for option '{name}'{inside} is of type {said} and we were unable to"
                    f" convert to {elements}: {error}"
                )
                continue
            if options and elements == "dict":
                yield from _errors(options, element, path)
    elif options and kind == "dict":
        yield from _errors(options, converted, path)


def _list(option: Mapping[str, Any], key: str) -> list[Any]:
    found = option.get(key) or []
    return list(found)


def _convert(value: Any, kind: str) -> Any:
    """A value as one of Ansible's argument types; TypeError or ValueError, worded for people."""
    if kind in _SIMPLE:
        try:
            return coerce(value, _SIMPLE[kind])
        except (TypeError, ValueError):
            raise TypeError(f"{value!r} cannot be converted to {kind}") from None
    return _OTHER[kind](value) if kind in _OTHER else value


def _dict(value: Any) -> dict[str, Any]:
    if isinstance(value, str) and value.lstrip().startswith("{"):
        value = json.loads(value)
    if isinstance(value, str) and "=" in value:
        value = dict(word.partition("=")[::2] for word in value.replace(",", " ").split())
    if not isinstance(value, Mapping):
        raise TypeError("dictionary requested, could not parse JSON or key=value")
    return dict(value)


def _str(value: Any) -> str:
    return value if isinstance(value, str) else str(value)


def _json(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def _size(value: Any) -> int:
    text = str(value).strip().lower().removesuffix("ib").removesuffix("b")
    number = text.rstrip("kmgtpezy")
    return int(float(number) * (1 << _SHIFTS[text[len(number) :].strip()]))


_SIMPLE: dict[str, Any] = {"int": int, "float": float, "bool": bool, "list": list}
_OTHER: dict[str, Callable[[Any], Any]] = {
    "str": _str,
    "path": _str,
    "dict": _dict,
    "json": _json,
    "jsonarg": _json,
    "bytes": _size,
    "bits": _size,
}
