"""Compiles templates and expressions once per run and runs them over a scope's names."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from types import GeneratorType
from typing import Any, cast

import jinja2

from labctl import vault
from labctl.errors import Mark
from labctl.variables import filters, lookups, tests
from labctl.variables.environment import Context, Environment, Names, Source, concat, current, guard, text
from labctl.variables.lookups.values import Lookup
from labctl.variables.omit import OMIT
from labctl.variables.problems import translate
from labctl.yaml import Text

# These say something about undefined and unknown values themselves.
_UNGUARDED_FILTERS = frozenset({"default", "d", "mandatory", "type_debug"})
_UNGUARDED_TESTS = frozenset({"defined", "undefined"})

Decrypt = Callable[[Text], str]


def is_template(value: str) -> bool:
    return "{" in value and ("{{" in value or "{%" in value or "{#" in value)


class Templar:
    """One per run, shared by all hosts and threads: filters, tests, lookups and compiled templates.

    `decrypt` turns a `!vault` text into its clear text; without it the vault passwords of this process do."""

    def __init__(
        self,
        *,
        extra_filters: Mapping[str, Callable[..., Any]] | None = None,
        extra_tests: Mapping[str, Callable[..., Any]] | None = None,
        extra_lookups: Mapping[str, Lookup] | None = None,
        decrypt: Decrypt | None = None,
    ) -> None:
        self.lookups = {**lookups.LOOKUPS, **(extra_lookups or {})}
        self._decrypt = decrypt
        self._filters = {**filters.FILTERS, **(extra_filters or {})}
        self._tests = {**tests.TESTS, **(extra_tests or {})}
        self.environment = self._environment()
        self._texts: dict[str, jinja2.Template] = {}
        self._expressions: dict[str, jinja2.Template] = {}
        self._variants: dict[tuple[tuple[str, Any], ...], Environment] = {}

    def _environment(self, **options: Any) -> Environment:
        environment = Environment(**options)
        for table, own, unguarded in (
            (environment.filters, self._filters, _UNGUARDED_FILTERS),
            (environment.tests, self._tests, _UNGUARDED_TESTS),
        ):
            table.update(own)
            for name, function in list(table.items()):
                table[name] = function if name in unguarded else guard(function)
                if "." not in name:
                    table[f"ansible.builtin.{name}"] = table[name]
        environment.globals.update(
            lookup=lookups.lookup,
            query=lookups.query,
            q=lookups.query,
            now=filters.now,
            undef=filters.undef,
            omit=OMIT,
        )
        return environment

    def variant(self, options: Mapping[str, Any]) -> Environment:
        """An environment with other delimiters or white-space rules (a template file's `#jinja2:` line)."""
        key = tuple(sorted(options.items()))
        if key not in self._variants:
            self._variants[key] = self._environment(**options)
        return self._variants[key]

    def decrypt(self, value: Text) -> str:
        return self._decrypt(value) if self._decrypt else vault.current().text(value, value.mark)

    def text(self, source: str) -> jinja2.Template:
        """The compiled template. Raises jinja2 errors."""
        found = self._texts.get(source)
        if found is None:
            found = self._texts[source] = self.environment.compile_text(source)
        return found

    def expression(self, source: str) -> jinja2.Template:
        found = self._expressions.get(source)
        if found is None:
            found = self._expressions[source] = self.environment.compile_bare(source)
        return found

    def check(self, value: Any, mark: Mark | None = None, *, expression: bool = False) -> None:
        """Compile every template in a raw value (or one bare expression) without running it.
        VariableError, with the position, for a syntax error or an unknown filter or test."""
        if isinstance(value, Text):
            at = value.mark or mark
            if value.unsafe or not (expression or is_template(value)):
                return
            try:
                if expression and not is_template(value):
                    self.expression(value)
                else:
                    self.text(value)
            except jinja2.TemplateError as error:
                raise translate(error, at, (), self.environment) from None
        elif isinstance(value, dict):
            for item in value.values():
                self.check(item, mark, expression=expression)
        elif isinstance(value, list):
            for item in value:
                self.check(item, mark, expression=expression)

    def run(self, template: jinja2.Template, source: Source) -> Any:
        """The template's native value, not yet plain. Raises whatever the template raises."""
        return self._run(template, source, concat)

    def run_text(self, template: jinja2.Template, source: Source) -> str:
        """The template's output as text."""
        return str(self._run(template, source, lambda parts: "".join(map(text, parts))))

    def _run(self, template: jinja2.Template, source: Source, join: Callable[[Iterable[Any]], Any]) -> Any:
        token = current.set(source)
        parts = cast(
            "GeneratorType[Any, None, None]", template.root_render_func(self._context(template, source))
        )
        try:
            return join(parts)
        except Exception as error:
            # A part that fails when it becomes text does so outside the template's own frame.
            if parts.gi_frame is not None and not hasattr(error, "template_line"):
                line = template.get_corresponding_lineno(parts.gi_frame.f_lineno)
                error.template_line = line  # type: ignore[attr-defined]
            raise
        finally:
            current.reset(token)

    @staticmethod
    def _context(template: jinja2.Template, source: Source) -> Context:
        names = Names({}, source, template.globals)
        return cast("Environment", template.environment).context(names, template.name, template.blocks)
