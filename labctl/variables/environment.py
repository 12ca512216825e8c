"""The Jinja2 environment: native types, lazily resolved names, guarded filters and tests."""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextvars import ContextVar
from functools import cached_property, wraps
from typing import Any, cast

import jinja2
from jinja2 import nodes
from jinja2.compiler import Frame
from jinja2.nativetypes import NativeCodeGenerator
from jinja2.runtime import Context as _Context
from jinja2.utils import missing

from labctl.variables.embedded import Embedded, is_embedded
from labctl.variables.lazy import plain
from labctl.variables.lexing import BackslashLexer, backslashes
from labctl.variables.undefined import Undefined, UndefinedUse
from labctl.variables.unknown import Unknown
from labctl.variables.waiting import may_vary, may_wait

TEMPLATE = "<template>"
_BITWISE = frozenset({"__and__", "__lshift__", "__or__", "__rshift__", "__xor__"})


class Source(ABC):
    """Where a template's names come from (a `Scope`)."""

    @abstractmethod
    def find(self, name: str) -> Any:
        """The value as templates see it, or `missing`."""

    @abstractmethod
    def raw_value(self, name: str) -> Any:
        """The value as it was written; None when there is none."""

    @abstractmethod
    def names(self) -> Iterable[str]: ...

    @abstractmethod
    def search_path(self, folder: str) -> Sequence[str]:
        """Folders in which a controller file is sought, nearest first."""


# The scope whose template is being rendered: an `{% include %}` is searched for beside it.
current: ContextVar[Source | None] = ContextVar("current", default=None)


# In a condition: what renders the templates among its literals.
embedding: ContextVar[Callable[[str], Any] | None] = ContextVar("embedding", default=None)


class Names(Mapping[str, Any]):
    """A template's names: those it set itself, then the scope's, then the globals."""

    __slots__ = ("base", "globals", "own")

    def __init__(
        self, own: Mapping[str, Any], base: Names | Source | None, globals_: Mapping[str, Any]
    ) -> None:
        self.own = own
        self.base = base
        self.globals = globals_

    def find(self, name: str) -> Any:
        if name in self.own:
            return self.own[name]
        if self.base is not None and (value := self.base.find(name)) is not missing:
            return value
        return self.globals.get(name, missing)

    def scope(self) -> Source | None:
        return self.base.scope() if isinstance(self.base, Names) else self.base

    def __getitem__(self, name: str) -> Any:
        if (value := self.find(name)) is missing:
            raise KeyError(name)
        return value

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and self.find(name) is not missing

    def __iter__(self) -> Iterator[str]:
        below = self.base if isinstance(self.base, Names) else self.base.names() if self.base else ()
        return iter({**dict.fromkeys(self.own), **dict.fromkeys(below)})

    def __len__(self) -> int:
        return len(list(iter(self)))


class Context(_Context):
    """A Jinja2 context over `Names`: nothing is copied, so nothing is rendered before it is used."""

    parent: Names  # type: ignore[assignment]

    @property
    def source(self) -> Source | None:
        return self.parent.scope()

    def resolve_or_missing(self, key: str) -> Any:
        if key in self.vars:
            return self.vars[key]
        return self.parent.find(key)

    def get_all(self) -> Any:
        return Names(self.vars, self.parent, self.parent.globals) if self.vars else self.parent

    def derived(self, locals: dict[str, Any] | None = None) -> Context:
        names = Names(_locals(locals), self.get_all(), self.parent.globals)
        context = cast("Environment", self.environment).context(names, self.name, {})
        context.eval_ctx = self.eval_ctx
        context.blocks.update((name, list(block)) for name, block in self.blocks.items())
        return context


def _locals(values: Mapping[str, Any] | None) -> dict[str, Any]:
    return {name: value for name, value in (values or {}).items() if value is not missing}


class Template(jinja2.Template):
    """`waits`: rendering it may take its time. `varies`: that, or it may say something else when it is rendered again
    (`labctl.variables.waiting`)."""

    waits: bool
    varies: bool

    @classmethod
    def _from_namespace(cls, environment: Any, namespace: Any, globals: Any) -> Any:
        template: Any = super()._from_namespace(environment, namespace, globals)
        template.waits, template.varies = namespace["waits"], namespace["varies"]
        return template

    def new_context(
        self,
        vars: Any = None,
        shared: bool = False,  # noqa: ARG002 - Jinja2's interface
        locals: Mapping[str, Any] | None = None,
    ) -> Context:
        base = vars if isinstance(vars, Names) else Names(vars or {}, None, self.globals)
        names = Names(_locals(locals), base, self.globals) if locals else base
        return cast("Environment", self.environment).context(names, self.name, self.blocks)


class _CodeGenerator(NativeCodeGenerator):
    """Only literals are computed when a template is compiled: filters such as `random` are not pure.
    A literal that holds a template stays recognisable: lookups and conditions render it."""

    def visit_Template(self, node: nodes.Template, frame: Frame | None = None) -> None:  # noqa: N802
        super().visit_Template(node, frame)
        waits = may_wait(node, self.environment)
        self.writeline(f"waits, varies = {waits!r}, {waits or may_vary(node, self.environment)!r}")

    def visit_Const(self, node: nodes.Const, frame: Frame) -> None:  # noqa: N802 - Jinja2's name
        value = node.as_const(frame.eval_ctx)
        self.write(f"environment.embedded({value!r})" if is_embedded(value) else repr(value))

    def _output_child_to_const(self, node: nodes.Expr, frame: Frame, _finalize: Any) -> Any:
        if isinstance(node, nodes.TemplateData):
            return node.as_const(frame.eval_ctx)
        raise nodes.Impossible

    def _output_const_repr(self, group: Iterable[Any]) -> str:
        values = list(group)
        return repr(values[0] if len(values) == 1 else "".join(map(text, values)))


def text(value: Any) -> str:
    """How a value reads inside a longer text: nothing for None, Python's form for containers."""
    if type(value) is str:
        return value
    if value is None or type(value) is jinja2.Undefined:  # the latter: an 'if' without 'else'
        return ""
    return str(value if isinstance(value, range) else plain(value))


def concat(values: Iterable[Any]) -> Any:
    """A template's value: that of its only part, else the text of all parts; None when it has none.
    A part that is None counts for nothing."""
    only: Any = None
    texts: list[str] = []
    for value in values:
        if value is None:
            continue
        if texts:
            texts.append(text(value))
        elif only is None:
            only = value
        else:
            texts += text(only), text(value)
    return "".join(texts) if texts else only


class Environment(jinja2.Environment):
    code_generator_class = _CodeGenerator
    concat = staticmethod(concat)
    context_class = Context
    template_class = Template

    def __init__(self, **options: Any) -> None:
        super().__init__(
            **{"trim_blocks": True, **options},
            undefined=Undefined,
            optimized=False,
            extensions=["jinja2.ext.do", "jinja2.ext.loopcontrols"],
            loader=jinja2.FunctionLoader(_load),
            cache_size=200,
        )

    @cached_property
    def lexer(self) -> BackslashLexer:
        return BackslashLexer(self)

    def embedded(self, value: str) -> Any:
        """A literal of an expression that is itself a template: rendered at once in a condition, on
        demand in a lookup."""
        render = embedding.get()
        return Embedded(value) if render is None else render(value)

    def context(self, names: Names, name: str | None, blocks: dict[str, Any]) -> Context:
        return Context(self, cast("dict[str, Any]", names), name or TEMPLATE, blocks)

    def getattr(self, obj: Any, attribute: str) -> Any:
        if type(obj) is Unknown or isinstance(obj, Source):
            return self.getitem(obj, attribute)
        if attribute.startswith("__") and not (isinstance(obj, int) and attribute in _BITWISE):
            # What Python keeps for itself is no part of a value; a key of that name is.
            found = isinstance(obj, Mapping) and attribute in obj
            return obj[attribute] if found else self._hidden(obj, attribute)
        return super().getattr(obj, attribute)

    @staticmethod
    def _hidden(obj: Any, attribute: str) -> Undefined:
        return Undefined(hint=f"access to attribute '{attribute}' of '{type(obj).__name__}' object is unsafe")

    def getitem(self, obj: Any, argument: Any) -> Any:
        if isinstance(obj, Source):
            value = obj.find(argument)
            return super().getattr(obj, argument) if value is missing else value
        return super().getitem(obj, argument)

    def join_path(self, template: str, parent: str) -> str:
        scope = current.get()
        beside = [os.path.dirname(parent)] if os.path.isabs(parent) else []
        folders = [*beside, *(scope.search_path("templates") if scope else ())]
        for path in (os.path.join(folder, template) for folder in folders):
            if os.path.isfile(path):
                return os.path.abspath(path)
        return template

    def compile_text(self, source: str, *, escaped: bool = False) -> jinja2.Template:
        """`escaped`: a backslash in a string of `{{ … }}` is a plain character, as in YAML values."""
        token = backslashes.set(escaped)
        try:
            code = self.compile(source, TEMPLATE, TEMPLATE)
        finally:
            backslashes.reset(token)
        template = self._template(code)
        # Jinja2 drops the last newline: what a text ended with, its value ends with.
        template.newlines = len(source) - len(source.rstrip("\n"))  # type: ignore[attr-defined]
        return template

    def compile_bare(self, expression: str) -> jinja2.Template:
        parser = jinja2.parser.Parser(self, expression, state="variable")
        node = parser.parse_expression()
        if not parser.stream.eos:
            token = parser.stream.current
            raise jinja2.TemplateSyntaxError(f"unexpected '{token.value}'", token.lineno)
        node.set_environment(self)
        tree = nodes.Template([nodes.Output([node], lineno=1)], lineno=1)
        return self._template(self.compile(tree, TEMPLATE, TEMPLATE))

    def _template(self, code: Any) -> jinja2.Template:
        return self.template_class.from_code(self, code, self.globals)


def _load(name: str) -> tuple[str, str, Callable[[], bool]] | None:
    try:
        changed = os.stat(name).st_mtime_ns
        with open(name, encoding="utf-8") as stream:
            source = stream.read()
    except OSError:
        return None
    return source, name, lambda: os.path.exists(name) and os.stat(name).st_mtime_ns == changed


def guard(function: Callable[..., Any]) -> Callable[..., Any]:
    """A filter or test that hands an undefined argument on, refuses an unknown one, and whose
    iterator comes back as a list."""

    @wraps(function)
    def guarded(*args: Any, **kwargs: Any) -> Any:
        for argument in (*args, *kwargs.values()) if kwargs else args:
            kind = type(argument)
            if kind is Undefined:
                return argument
            if kind is Unknown:
                bool(argument)
        result = function(*args, **kwargs)
        return list(result) if hasattr(type(result), "__next__") else result

    return guarded


def refuse_undefined(value: Any) -> None:
    if type(value) is Undefined:
        raise UndefinedUse(value)
