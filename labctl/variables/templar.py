"""Compiles templates and expressions once per run and runs them over a scope's names."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from types import GeneratorType
from typing import Any, cast

import jinja2
from jinja2.utils import missing

from labctl import vault
from labctl.errors import Mark
from labctl.variables import filters, lookups, tests
from labctl.variables.embedded import Decrypted
from labctl.variables.environment import (
    Context,
    Environment,
    Names,
    Source,
    concat,
    current,
    guard,
    text,
)
from labctl.variables.joined import Joined
from labctl.variables.lookups.values import Lookup
from labctl.variables.omit import OMIT
from labctl.variables.plugins import Plugins
from labctl.variables.problems import translate
from labctl.yaml import Text

# These say something about undefined and unknown values themselves.
_UNGUARDED_FILTERS = frozenset({"default", "d", "mandatory", "ternary", "type_debug"})
_UNGUARDED_TESTS = frozenset({"defined", "undefined"})

Decrypt = Callable[[Text], str]
Warn = Callable[[str, Mark | None], None]


def is_template(value: str) -> bool:
    return "{" in value and ("{{" in value or "{%" in value or "{#" in value)


def is_whole_template(value: str) -> bool:
    """Whether a text is, from its first to its last character, something in template delimiters."""
    text = value.strip()
    return text.startswith(("{{", "{%", "{#")) and text.endswith(("}}", "%}", "#}"))


def _ended(value: Any, template: jinja2.Template | Joined) -> Any:
    """A text with as many newlines at its end as its template had."""
    wanted = getattr(template, "newlines", 0)
    if not wanted or not isinstance(value, str):
        return value
    missing_ = wanted - (len(value) - len(value.rstrip("\n")))
    return value + template.environment.newline_sequence * missing_ if missing_ > 0 else value


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
        warn: Warn | None = None,
    ) -> None:
        self.lookups = {**lookups.LOOKUPS, **(extra_lookups or {})}
        self._decrypt = decrypt
        self._warn = warn
        self.plugins = Plugins()
        self._filters = {**filters.FILTERS, **(extra_filters or {})}
        self._tests = {**tests.TESTS, **(extra_tests or {})}
        self._adding = threading.Lock()
        self.environment = self._environment()
        self._texts: dict[str, jinja2.Template | Joined] = {}
        self._files: dict[str, jinja2.Template] = {}
        self._expressions: dict[str, jinja2.Template] = {}
        self._variants: dict[tuple[tuple[str, Any], ...], Environment] = {}

    def _environment(self, **options: Any) -> Environment:
        environment = Environment(**options)
        filters_: dict[str, Any] = environment.filters
        tests_: dict[str, Any] = environment.tests
        self._install(filters_, {**filters_, **self._filters}, _UNGUARDED_FILTERS)
        self._install(tests_, {**tests_, **self._tests}, _UNGUARDED_TESTS)
        environment.globals.update(
            lookup=lookups.lookup,
            query=lookups.query,
            q=lookups.query,
            now=filters.now,
            undef=filters.undef,
            omit=OMIT,
        )
        return environment

    def warn(self, message: str, mark: Mark | None = None) -> None:
        """Tell the user of something that went wrong and does no harm."""
        if self._warn is not None:
            self._warn(message, mark)

    def tell(self, warn: Warn) -> None:
        """Warn by `warn` from now on, first of the plugins that could not be loaded."""
        self._warn = warn
        for message in self.plugins.problems:
            warn(message, None)

    def add_plugins(self, folder: Path) -> None:
        """Make known what is in the folders filter_plugins/, test_plugins/ and lookup_plugins/ of a playbook
        or role. Done once for a folder."""
        with self._adding:
            added = self.plugins.add(folder)
            if added is None:
                return
            self._filters |= added.filters
            self._tests |= added.tests
            self.lookups |= added.lookups
            for environment in (self.environment, *self._variants.values()):
                self._install(environment.filters, added.filters, _UNGUARDED_FILTERS)
                self._install(environment.tests, added.tests, _UNGUARDED_TESTS)
            for message in added.problems:
                self.warn(message)

    def find_lookup(self, name: str) -> Lookup | None:
        return self.lookups.get(name)

    @staticmethod
    def _install(
        table: dict[str, Any], own: Mapping[str, Callable[..., Any]], unguarded: frozenset[str]
    ) -> None:
        for name, function in own.items():
            table[name] = function if name in unguarded else guard(function)
            if "." not in name:
                table[f"ansible.builtin.{name}"] = table[f"ansible.legacy.{name}"] = table[name]

    def variant(self, options: Mapping[str, Any]) -> Environment:
        """An environment with other delimiters or white-space rules (a template file's `#jinja2:` line)."""
        key = tuple(sorted(options.items()))
        if key not in self._variants:
            self._variants[key] = self._environment(**options)
        return self._variants[key]

    def decrypt(self, value: Text) -> str:
        return Decrypted(self._decrypt(value) if self._decrypt else vault.current().text(value, value.mark))

    def text(self, source: str) -> jinja2.Template | Joined:
        """The compiled template of a value. Raises jinja2 errors."""
        found = self._texts.get(source)
        if found is None:
            found = Joined.of(source, self.environment) or self.environment.compile_text(source, escaped=True)
            self._texts[source] = found
        return found

    def file(self, source: str) -> jinja2.Template:
        """The compiled template of a template file, in whose strings a backslash escapes."""
        found = self._files.get(source)
        if found is None:
            found = self._files[source] = self.environment.compile_text(source)
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
            except (jinja2.TemplateError, SyntaxError) as error:
                raise translate(error, at, (), self.environment) from None
        elif isinstance(value, dict):
            for item in value.values():
                self.check(item, mark, expression=expression)
        elif isinstance(value, list):
            for item in value:
                self.check(item, mark, expression=expression)

    def named(self, expression: str, source: Source) -> Any:
        """The raw value that a name, or a path of keys such as `item.when`, leads to; None for anything else."""
        path = expression.strip().split(".")
        if not all(name.isidentifier() for name in path):
            return None
        value = source.raw_value(path[0])
        for name in path[1:]:
            value = value.get(name) if isinstance(value, dict) else None
        return value

    def run(self, template: jinja2.Template | Joined, source: Source) -> Any:
        """The template's native value, not yet plain. Raises whatever the template raises."""
        if type(template) is Joined:
            if (found := template.value(source)) is not missing:
                return _ended(found, template) if template.newlines else found
            return self._run(template.whole, source, concat)
        return self._run(cast("jinja2.Template", template), source, concat)

    def run_text(self, template: jinja2.Template, source: Source) -> str:
        """The template's output as text."""
        return str(self._run(template, source, lambda parts: "".join(map(text, parts))))

    def _run(self, template: jinja2.Template, source: Source, join: Callable[[Iterable[Any]], Any]) -> Any:
        token = current.set(source)
        parts = cast(
            "GeneratorType[Any, None, None]", template.root_render_func(self._context(template, source))
        )
        try:
            return _ended(join(parts), template)
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
