"""A task's keywords, inherited and rendered for one host; and how that host is reached."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from labctl import vault
from labctl.engine.options import RunOptions
from labctl.errors import LabctlError, Mark, PlaybookError, UndefinedVariable
from labctl.playbook.tree import Keywords
from labctl.records import dataclass
from labctl.ssh import VARIABLES, Become, ConnectionSettings
from labctl.task_types import describe, to_bool
from labctl.variables import Scope

_NAMED = {"remote_user": "ansible_user", "port": "ansible_port", "connection": "ansible_connection"}
_VARIABLES = VARIABLES | {"ansible_become"}
_BECOME_KEYWORDS = ("become_method", "become_user", "become_flags", "become_exe")
_BECOME_VARIABLES = frozenset(
    {
        *(f"ansible_{name}" for name in (*_BECOME_KEYWORDS, "become_password", "become_pass")),
        *(f"ansible_{method}_{what}" for method in ("sudo", "su") for what in ("pass", "exe", "flags")),
    }
)
_ALL_KEYWORDS = ("become", *_NAMED, *_BECOME_KEYWORDS)
_ALL_VARIABLES = _VARIABLES | _BECOME_VARIABLES


@dataclass(frozen=True)
class Access:
    """How a task reaches its host, and as whom."""

    settings: ConnectionSettings
    become: Become | None


def boolean(node: Keywords, keyword: str, scope: Scope, *, default: bool = False) -> bool:
    """The inherited value of a yes/no keyword. PlaybookError for anything else."""
    value = node.inherited(keyword)
    if value is None:
        return default
    if value is True or value is False:
        return bool(value)
    mark = node.inherited_mark(keyword)
    value = _rendered(value, scope, mark)
    try:
        return default if value is None else to_bool(value)
    except ValueError:
        raise PlaybookError(f"'{keyword}' must be true or false, not {describe(value)}", mark=mark) from None


def number(node: Keywords, keyword: str, scope: Scope, default: float | None = None) -> float | None:
    """The inherited value of a numeric keyword. PlaybookError for anything else."""
    raw = node.inherited(keyword)
    if raw is None:
        return default
    mark = node.inherited_mark(keyword)
    value = _rendered(raw, scope, mark)
    if value is None:
        return default
    try:
        return float(value) if not isinstance(value, bool) else _refuse(value)
    except (TypeError, ValueError):
        raise PlaybookError(f"'{keyword}' must be a number, not {describe(value)}", mark=mark) from None


def _refuse(value: object) -> float:
    raise TypeError(value)


def text(node: Keywords, keyword: str, scope: Scope) -> str | None:
    """The inherited value of a keyword that is a name; None when not given, empty or `omit`."""
    raw = node.inherited(keyword)
    if raw is None:
        return None
    value = _rendered(raw, scope, node.inherited_mark(keyword))
    return None if value in (None, "") else str(value)


def _rendered(raw: Any, scope: Scope, mark: Mark | None) -> Any:
    """The value of a keyword; None when it is `omit`."""
    value = scope.render([raw], mark)
    return value[0] if value else None


def environment(node: Keywords, scope: Scope) -> dict[str, str]:
    """Every `environment` around the task, rendered, inner ones winning. What needs the facts' environment is left
    out of the task that gathers the facts."""
    merged: dict[str, str] = {}
    gathers = getattr(node, "action", None) in ("setup", "gather_facts")
    for given in node.environments:
        raw: Any = given
        if gathers and isinstance(given, Mapping):
            raw = {name: item for name, item in given.items() if _known(item, scope)}
        value = scope.render(raw, node.inherited_mark("environment"))
        if value in (None, ""):
            continue
        if not isinstance(value, Mapping):
            mark = node.inherited_mark("environment")
            raise PlaybookError(f"'environment' must be a mapping, not {describe(value)}", mark=mark)
        merged |= {str(key): _environment_text(item) for key, item in value.items() if item is not None}
    return merged


def _known(item: Any, scope: Scope) -> bool:
    try:
        scope.render(item)
    except UndefinedVariable as error:
        return not any(name in error.message for name in ("ansible_env", "'env'"))
    return True


def _environment_text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def lenient(node: Keywords, keyword: str, scope: Scope, *, default: bool = False) -> bool:
    """As `boolean`, for what must be known while a task is already failing: a bad value is the default."""
    try:
        return boolean(node, keyword, scope, default=default)
    except LabctlError:
        return default


def defaults(options: RunOptions) -> dict[str, Any]:
    """What the command line says of connections, as the variables that would say it."""
    given = {
        "ansible_user": options.user,
        "ansible_ssh_private_key_file": options.private_key,
        "ansible_timeout": options.connect_timeout,
        **options.connection,
    }
    return {name: value for name, value in given.items() if value is not None}


class Accesses:
    """How each host is reached. What follows from the same variables and keywords is worked out once,
    unless they have templates."""

    def __init__(self, options: RunOptions) -> None:
        self._options = options
        self._known: dict[tuple[Any, ...], Access] = {}
        self._keywords: dict[
            Keywords, tuple[Any, ...] | None
        ] = {}  # of a node, where they have nothing to render

    def to(self, node: Keywords, host: str, scope: Scope) -> Access:
        """How to reach `host`, whose variables are `scope`: its variables first, then the keywords of task and
        play, then the command line."""
        found = self.plain(node, host, scope)
        return self._rendered(node, host, scope) if found is None else found

    def plain(self, node: Keywords, host: str, scope: Scope) -> Access | None:
        """As `to`, where there is nothing to render."""
        if node not in self._keywords:
            raw = tuple(node.inherited(name) for name in _ALL_KEYWORDS)
            self._keywords[node] = raw if all(map(_is_plain, raw)) else None
        if (keywords := self._keywords[node]) is None or (written := scope.written(_ALL_VARIABLES)) is None:
            return None
        key = (host, node.play, keywords, written)
        found = self._known.get(key)
        if found is None:
            found = self._known[key] = self._rendered(node, host, scope)
        return found

    def _rendered(self, node: Keywords, host: str, scope: Scope) -> Access:
        variables = scope.among(_VARIABLES)
        keywords = _texts(node, _NAMED, scope)
        settings = _connection(node, host, variables, keywords, self._options)
        if not self._becomes(node, scope, variables):
            return Access(settings, None)
        variables |= scope.among(_BECOME_VARIABLES)
        keywords |= _texts(node, _BECOME_KEYWORDS, scope)
        return Access(settings, _become(node, variables, keywords, self._options))

    def _becomes(self, node: Keywords, scope: Scope, variables: Mapping[str, Any]) -> bool:
        wanted = variables.get("ansible_become")
        if wanted is None:
            return boolean(node, "become", scope, default=self._options.become)
        try:
            return to_bool(wanted)
        except ValueError:
            message = f"ansible_become must be true or false, not {describe(wanted)}"
            raise PlaybookError(message) from None


def _is_plain(value: Any) -> bool:
    """Whether it has nothing to render."""
    return "{" not in value if isinstance(value, str) else value is None or isinstance(value, int)


def _texts(node: Keywords, names: Iterable[str], scope: Scope) -> dict[str, str | None]:
    return {name: text(node, name, scope) for name in names if node.inherited(name) is not None}


def _connection(
    node: Keywords, host: str, variables: Mapping[str, Any], keywords: Mapping[str, Any], options: RunOptions
) -> ConnectionSettings:
    named = {variable: keywords.get(name) for name, variable in _NAMED.items()}
    given = {**defaults(options), **{name: value for name, value in named.items() if value is not None}}
    settings = ConnectionSettings.from_variables(host, {**given, **variables})
    vault.current().masks.add(settings.password)
    if settings.connection == "local" and (folder := node.play.dir.resolve()).is_dir():
        settings = replace(settings, folder=str(folder))
    return settings


def _become(
    node: Keywords, variables: Mapping[str, Any], keywords: Mapping[str, Any], options: RunOptions
) -> Become:
    method = variables.get("ansible_become_method") or keywords.get("become_method") or options.become_method
    method = str(method or "sudo").removeprefix("ansible.builtin.")
    if method not in ("sudo", "su"):
        mark = node.inherited_mark("become_method")
        raise PlaybookError(f"become_method '{method}': labctl has 'sudo' and 'su'", mark=mark)
    password = next(
        (
            str(value)
            for name in ("ansible_become_password", "ansible_become_pass", f"ansible_{method}_pass")
            if (value := variables.get(name)) not in (None, "")
        ),
        options.become_password,
    )
    vault.current().masks.add(password)
    user = variables.get("ansible_become_user") or keywords.get("become_user") or options.become_user
    program = variables.get("ansible_become_exe") or variables.get(f"ansible_{method}_exe")
    flags = variables.get("ansible_become_flags") or variables.get(f"ansible_{method}_flags")
    flags = flags if flags is not None else keywords.get("become_flags")
    try:
        words = shlex.split(str(flags or ""))
    except ValueError as error:
        mark = node.inherited_mark("become_flags")
        raise PlaybookError(f"become_flags cannot be split: {str(error).lower()}", mark=mark) from None
    return Become(
        str(user or "root"),
        "su" if method == "su" else "sudo",
        password,
        str(program or keywords.get("become_exe") or method),
        tuple(words),
    )
