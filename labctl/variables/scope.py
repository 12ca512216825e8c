"""One host's variables for one task."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import jinja2
from jinja2.utils import missing

from labctl.errors import Mark, UndefinedVariable, VariableError, did_you_mean
from labctl.variables.environment import Source, embedding
from labctl.variables.header import split_header
from labctl.variables.joined import Joined
from labctl.variables.lazy import LazyDict, LazyList, plain
from labctl.variables.omit import OMIT
from labctl.variables.problems import place, translate
from labctl.variables.templar import Templar, is_template, is_whole_template
from labctl.variables.undefined import Undefined, UndefinedUse
from labctl.variables.unknown import Unknown
from labctl.yaml import Text, mark_of

_PLAIN = frozenset({str, int, float, bool, type(None)})
_ATOMS = frozenset({str, int, float, bool, type(None), bytes, LazyDict, LazyList, Undefined, Unknown})


class Late:
    """A value of a layer that is worked out when it is read."""

    __slots__ = ("read",)

    def __init__(self, read: Callable[[], Any]) -> None:
        self.read = read


class Scope(Source, Mapping[str, Any]):
    """A mapping over raw layers (low to high) whose values are rendered when they are read.

    A value is rendered at most once in the life of a scope. Reading raises `UndefinedVariable`,
    `UnknownValue` or another `VariableError` with the position of the text at fault."""

    def __init__(self, templar: Templar, layers: Sequence[Mapping[str, Any]]) -> None:
        self.templar = templar
        self._layers = layers
        self._found: dict[str, Any] = {}
        self._active: dict[int, str] = {}

    def over(self, layer: Mapping[str, Any]) -> Scope:
        """This scope with one more layer on top."""
        return Scope(self.templar, [*self._layers, layer])

    # A Mapping of rendered values.

    def __getitem__(self, name: str) -> Any:
        if (value := self.find(name)) is missing:
            raise KeyError(name)
        return self._plain(value, mark_of(self._raw(name)))

    def __iter__(self) -> Iterator[str]:
        return iter({name: None for layer in self._layers for name in layer})

    def __len__(self) -> int:
        return len(list(iter(self)))

    def __contains__(self, name: object) -> bool:
        return any(name in layer for layer in self._layers)

    def among(self, names: frozenset[str]) -> dict[str, Any]:
        """Those of these variables that there are, rendered."""
        return {name: self[name] for name in self._written(names)}

    def written(self, names: frozenset[str]) -> tuple[tuple[str, Any], ...] | None:
        """As `among`, where none of them has anything to render."""
        found = self._written(names)
        return tuple(found.items()) if all(map(is_constant, found.values())) else None

    def _written(self, names: frozenset[str]) -> dict[str, Any]:
        """Those of these variables that there are, in the order of their names."""
        found: dict[str, Any] = {}
        for layer in self._layers:
            if not layer.keys().isdisjoint(names):  # goes through the smaller of the two
                found |= {name: layer[name] for name in layer.keys() & names}
        return {name: value.read() if type(value := found[name]) is Late else value for name in sorted(found)}

    def _raw(self, name: str) -> Any:
        for layer in reversed(self._layers):
            if name in layer:
                value = layer[name]
                return value.read() if type(value) is Late else value
        return missing

    def raw(self, name: str) -> Any:
        """The value as it was written. UndefinedVariable when there is none."""
        if (value := self._raw(name)) is missing:
            hint = did_you_mean(name, self)
            raise UndefinedVariable(f"'{name}' is undefined", hint=hint)
        return value

    # What templates read names through.

    def find(self, name: str) -> Any:
        """The value a template sees (containers are lazy), or `missing`."""
        if name in self._found:
            return self._found[name]
        raw = self._raw(name)
        if raw is missing:
            return {"omit": OMIT, "vars": self}.get(name, missing)
        value = self._found[name] = self._resolve(raw, name)
        return value

    def raw_value(self, name: str) -> Any:
        value = self._raw(name)
        return None if value is missing else value

    def names(self) -> Iterator[str]:
        return iter(self)

    def search_path(self, folder: str) -> list[str]:
        """Where a template's includes and a lookup's files are sought: beside the template, in the roles the
        task is in, beside the task's own file, beside the playbook."""
        template = self.find("template_fullpath")
        bases = [os.path.dirname(template)] if isinstance(template, str) else []
        paths = self.find("ansible_search_path")
        bases += paths if isinstance(paths, list) else [self.find(n) for n in ("role_path", "playbook_dir")]
        found: list[str] = []
        for base in (base for base in bases if isinstance(base, str)):
            above = os.path.dirname(base)  # of a task file in a folder below tasks/: its role's files as well
            more = [os.path.join(os.path.dirname(above), folder), above] if above.endswith("/tasks") else []
            found += [*more, os.path.join(base, folder), base]
        return list(dict.fromkeys(found))

    def _resolve(self, value: Any, label: str) -> Any:
        kind = type(value)
        if kind in _ATOMS:
            return value
        if kind is Text:
            return self._resolve_text(value, label)
        if isinstance(value, dict):
            return LazyDict(value, self._resolve, label)
        if isinstance(value, list | tuple):
            return LazyList(value, self._resolve, label)
        return value

    def _resolve_text(self, value: Text, label: str) -> Any:
        if value.vault:
            return self.templar.decrypt(value)
        if value.unsafe or not is_template(value):
            return str(value)
        if id(value) in self._active:
            self._refuse_cycle(value, label)
        self._active[id(value)] = label
        try:
            found = self._run(self.templar.text(value))
            return _owned(found, label, value.mark) if type(found) is Undefined else found
        except UndefinedUse as error:
            return _owned(error.undefined, label, place(error, value.mark))
        except Exception as error:
            raise self._problem(error, value.mark) from None
        finally:
            del self._active[id(value)]

    def _refuse_cycle(self, value: Text, label: str) -> None:
        labels = list(self._active.values())
        first = list(self._active).index(id(value))
        chain = " → ".join([*labels[first:], label])
        raise VariableError(f"variable '{label}' is defined by itself: {chain}", mark=value.mark)

    # What the engine and task types ask for.

    def render(self, value: Any, mark: Mark | None = None, *, keep_unknown: bool = False) -> Any:
        """The value with every template in it rendered to its native type, as plain dicts and lists;
        keys and items that are `omit` are left out. `keep_unknown` leaves `Unknown` values in place
        instead of raising UnknownValue."""
        kind = type(value)
        if kind is Text:
            return self._render_text(value, value.mark or mark, keep_unknown)
        if isinstance(value, dict):
            pairs = (
                (
                    key,
                    self.render(
                        item, getattr(value, "value_marks", {}).get(key, mark), keep_unknown=keep_unknown
                    ),
                )
                for key, item in value.items()
            )
            return {plain(key): item for key, item in pairs if item is not OMIT}
        if isinstance(value, list | tuple):
            items = (self.render(item, mark, keep_unknown=keep_unknown) for item in value)
            return [item for item in items if item is not OMIT]
        if kind in _ATOMS and kind is not Unknown:
            return value
        return self._plain(value, mark, keep_unknown=keep_unknown)

    def lazily(self, value: Any) -> Any:
        """The value as templates see it: items are rendered when they are read, and may be undefined."""
        return self._resolve(value, "")

    def _render_text(self, value: Text, mark: Mark | None, keep_unknown: bool) -> Any:
        if value.vault or value.unsafe or not is_template(value):
            return self._resolve_text(value, "")
        try:
            found = self._run(self.templar.text(value))
            return plain(found, keep_unknown=keep_unknown)
        except Exception as error:
            raise self._problem(error, mark) from None

    def template(self, text: str, mark: Mark | None = None) -> str:
        """The text of a template file: always text, and a first line `#jinja2: key:value, …` sets Jinja2's
        options. Any `str` given here is a template; the caller vouches for it."""
        at = mark_of(text, mark)
        try:
            body, options = split_header(str(text))
            if options:
                template = self.templar.variant(options).compile_text(body)
            else:
                template = self.templar.file(str(text))
            return self._run_text(template)
        except Exception as error:
            raise self._problem(error, at) from None

    def template_value(self, text: str, mark: Mark | None = None) -> Any:
        """As `template`, with the value itself where the file is nothing but one expression."""
        at = mark_of(text, mark)
        try:
            body, options = split_header(str(text))
            environment = self.templar.variant(options) if options else self.templar.environment
            return plain(self._run(environment.compile_text(body)))
        except Exception as error:
            raise self._problem(error, at) from None

    def evaluate(self, expression: str, mark: Mark | None = None) -> Any:
        """The value of a bare expression (`n == 5`), as plain data."""
        at = mark_of(expression, mark)
        try:
            return plain(self._run(self.templar.expression(str(expression))))
        except Exception as error:
            raise self._problem(error, at) from None

    def condition(self, expression: Any, mark: Mark | None = None) -> bool:
        """Whether a `when`-like condition holds. A list holds when all its parts do; None holds.
        As in ansible-core 2.19 the value must be a boolean: VariableError for anything else."""
        at = mark_of(expression, mark)
        if isinstance(expression, bool) or expression is None:
            return expression is not False
        if isinstance(expression, list | tuple):
            return all(self.condition(part, at) for part in expression)
        if not isinstance(expression, str):
            message = f"a condition must be an expression, not {_describe(expression)}"
            raise VariableError(message, mark=at)
        if not expression.strip():
            raise VariableError("a condition must not be empty", mark=at)
        if is_whole_template(expression):
            value, at = self._indirect(expression.strip(), at)
        else:
            value = self._evaluate_condition(expression, at)
        if not isinstance(value, bool):
            raise VariableError(
                f"a condition must be true or false, and '{expression}' is {_describe(value)}",
                mark=at,
                hint=_boolean_hint(expression, value),
            )
        return value

    def _evaluate_condition(self, expression: str, at: Mark | None) -> Any:
        """The value of an expression; templates among its literals are rendered at once."""
        token = embedding.set(lambda literal: self.render(Text(literal, at)))
        try:
            return self.evaluate(expression, at)
        finally:
            embedding.reset(token)

    def _indirect(self, expression: str, at: Mark | None) -> tuple[Any, Mark | None]:
        """The value of `{{ … }}`; where it is a text that an author wrote, that text is the condition."""
        found = self.templar.named(expression[2:-2], self)
        if type(found) is Text and not found.unsafe and not found.vault:
            if is_whole_template(found):
                return self._indirect(found.strip(), found.mark or at)
            return self._evaluate_condition(found, found.mark or at), found.mark or at
        return self.render(Text(expression, at)), at

    # All of a scope's templates go through these two.

    def _run_text(self, template: jinja2.Template) -> str:
        return self.templar.run_text(template, self)

    def _run(self, template: jinja2.Template | Joined) -> Any:
        return self.templar.run(template, self)

    def _plain(self, value: Any, mark: Mark | None, *, keep_unknown: bool = False) -> Any:
        try:
            return plain(value, keep_unknown=keep_unknown)
        except Exception as error:
            raise self._problem(error, mark) from None

    def _problem(self, error: Exception, mark: Mark | None) -> Exception:
        return translate(error, mark, [*self, *self.templar.environment.globals], self.templar.environment)


def is_constant(value: Any) -> bool:
    """Whether it is a single value that has nothing to render."""
    if type(value) is Text:
        return not (value.vault or is_template(value))
    return type(value) in _PLAIN


def _owned(undefined: Undefined, label: str, mark: Mark | None) -> Undefined:
    """`undefined`, remembering the innermost variable whose template met it."""
    if undefined.owner is None:
        undefined.owner = label
        undefined.origin = mark
    return undefined


def _boolean_hint(expression: str, value: Any) -> str:
    if isinstance(value, str):
        return f"convert it: {expression} | bool, or ask: {expression} | length > 0"
    if isinstance(value, list | dict):
        return f"ask for its length: {expression} | length > 0"
    return f"compare it: {expression} != 0" if value is not None else f"ask: {expression} is not none"


def _describe(value: Any) -> str:
    names = {str: "a string", int: "an integer", float: "a number", list: "a list", dict: "a mapping"}
    return names.get(type(value), "nothing" if value is None else f"of type '{type(value).__name__}'")
