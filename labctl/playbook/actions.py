"""Which task type a task names, and with what arguments, in every syntax Ansible has for it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from labctl import yaml
from labctl.errors import Mark, PlaybookError, did_you_mean
from labctl.playbook import keyvalue, keywords
from labctl.playbook.kinds import is_template
from labctl.playbook.problems import Problems
from labctl.playbook.tree import ENGINE_ACTIONS
from labctl.records import dataclass
from labctl.task_types import VARIABLE, Registry, TaskType, chosen, describe, foreign, is_foreign, short_name
from labctl.yaml import Text

# The arguments of the engine's own actions; the first takes the text of `include_tasks: file`.
_ROLE_ARGUMENTS = (
    "name",
    "role",
    "tasks_from",
    "vars_from",
    "defaults_from",
    "handlers_from",
    "allow_duplicates",
    "public",
    "rolespec_validate",
)
ENGINE_ARGUMENTS: dict[str, tuple[str, ...]] = {
    "include_tasks": ("file", "apply"),
    "import_tasks": ("file",),
    "include_role": (*_ROLE_ARGUMENTS, "apply"),
    "import_role": _ROLE_ARGUMENTS,
    "include_vars": (
        "file",
        "dir",
        "name",
        "depth",
        "files_matching",
        "ignore_files",
        "extensions",
        "ignore_unknown_extensions",
        "hash_behaviour",
    ),
    "meta": ("action",),
}
META_ACTIONS = (
    "flush_handlers",
    "clear_facts",
    "clear_host_errors",
    "end_play",
    "end_host",
    "end_batch",
    "end_role",
    "noop",
    "refresh_inventory",
    "reset_connection",
)

_TO_THE_LETTER = ("shell", "raw")  # their command lines keep the newline at their end


@dataclass(frozen=True)
class Action:
    """`arguments` has positions; `task_type` is None for the engine's own actions and for unknown ones."""

    name: str
    written: str
    task_type: TaskType | None
    arguments: yaml.Mapping
    local: bool
    mark: Mark


def read(
    data: yaml.Mapping, table: Mapping[str, Any], where: str, registry: Registry, problems: Problems
) -> Action | None:
    """The one action of a task mapping, or None when what it names cannot be told (noted)."""
    chosen = _choose(data, table, where, registry, problems)
    if chosen is None:
        return None
    key, name, raw, mark = chosen
    task_type: TaskType | None = None
    if short_name(name) not in ENGINE_ACTIONS or short_name(name) in registry.names():
        task_type = _task_type(name, mark, registry, problems)
        if task_type is None:
            return None
    reader = _Arguments(short_name(name), task_type, problems)
    before = len(problems.errors)
    arguments = reader.read(raw, data.value_mark(key), mark)
    if len(problems.errors) > before:
        return None
    extra = data.get("args")
    if isinstance(extra, yaml.Mapping):
        reader.add(extra, arguments)
    elif is_template(extra):
        _put(arguments, VARIABLE, extra, data.key_mark("args"), data.value_mark("args"))
    return Action(short_name(name), name, task_type, arguments, local=key == "local_action", mark=mark)


def _task_type(name: str, mark: Mark, registry: Registry, problems: Problems) -> TaskType | None:
    if "{{" in name:
        return chosen(Text(name, mark))
    short = short_name(name)
    if short not in registry.names() and (is_foreign(name) or problems.lenient):
        if not problems.lenient:
            problems.warn(f"labctl has no task type '{name}': a host that reaches this task fails", mark)
        return foreign(name)
    with problems.catch():
        return registry.get(name, mark)
    return None


def _choose(
    data: yaml.Mapping, table: Mapping[str, Any], where: str, registry: Registry, problems: Problems
) -> tuple[str, str, Any, Mark] | None:
    """The key that names the action, the action's name, what stands under it, and where the name stands."""
    written = [key for key in ("action", "local_action") if key in data]
    others = [key for key in data if key not in table and not _is_with(key)]
    known = [key for key in others if isinstance(key, str) and _is_action(key, registry)]
    if problems.lenient and not written and not known and len(others) == 1:
        known = [str(others[0])]
    for key in others:
        if key not in known and (known or written or _is_keyword_like(key, table, registry)):
            keywords.unknown(key, data.key_mark(key), where, table, problems)
    named = [*written, *known]
    if len(named) > 1:
        second = named[1]
        problems.add(
            f"{where} has one action, and here are {len(named)}: {', '.join(map(str, named))}",
            data.key_mark(second),
            "make each a task of its own ('- name: …')",
        )
        return None
    if written:
        return _written(data, written[0], problems)
    if known:
        return known[0], known[0], data[known[0]], data.key_mark(known[0])
    rest = [key for key in others if not _is_keyword_like(key, table, registry)]
    for key in rest:
        with problems.catch():
            _find(str(key), data.key_mark(key), registry)
    if not others:
        problems.add(f"{where} must name a task type", data.mark, "for example 'command: uptime'")
    return None


def _find(name: str, mark: Mark, registry: Registry) -> None:
    try:
        registry.get(name, mark)
    except PlaybookError as error:
        error.hint = did_you_mean(short_name(name), [*registry.names(), *ENGINE_ACTIONS]) or error.hint
        raise


def _is_action(key: str, registry: Registry) -> bool:
    short = short_name(key)
    known = short in ENGINE_ACTIONS or short in registry.names() or short in registry.modules
    return known or is_foreign(key)


def _is_with(key: Any) -> bool:
    return isinstance(key, str) and key.startswith("with_")


def _is_keyword_like(key: Any, table: Mapping[str, Any], registry: Registry) -> bool:
    """Whether an unknown name looks more like a keyword than like a task type."""
    if not isinstance(key, str) or keywords.refusal(key) or keywords.levels_of(key):
        return True
    hint = did_you_mean(key, [*table, *registry.names()])
    return hint is not None and hint == did_you_mean(key, table)


def _written(data: yaml.Mapping, key: str, problems: Problems) -> tuple[str, str, Any, Mark] | None:
    """`action: copy src=a` and `action: {module: copy, src: a}`."""
    raw, mark = data[key], data.value_mark(key)
    if isinstance(raw, str) and raw.strip():
        name = keyvalue.first(raw.strip())
        return key, name, Text(raw.strip()[len(name) :].strip(), mark), mark
    if isinstance(raw, yaml.Mapping) and isinstance(raw.get("module"), str):
        name = keyvalue.first(raw["module"].strip())
        rest = raw["module"].strip()[len(name) :].strip()
        given = yaml.Mapping(raw.mark)
        for argument in raw:
            if argument != "module":
                _put(given, argument, raw[argument], raw.key_mark(argument), raw.value_mark(argument))
        if rest and not given:
            return key, name, Text(rest, raw.value_mark("module")), raw.value_mark("module")
        return key, name, given, raw.value_mark("module")
    problems.add(f"'{key}' names a task type and its arguments, not {describe(raw)}", mark)
    return None


def _put(mapping: yaml.Mapping, name: Any, value: Any, key_mark: Mark, value_mark: Mark) -> None:
    mapping[name] = value
    mapping.key_marks[name] = key_mark
    mapping.value_marks[name] = value_mark


class _Arguments:
    """Reads what stands under an action: nothing, a mapping, or text."""

    def __init__(self, action: str, task_type: TaskType | None, problems: Problems) -> None:
        self.action = action
        self.task_type = task_type
        self.problems = problems
        if task_type is not None:
            self.takes_text = task_type.free_form
            self.names = set(task_type.aliases)
            self.any_name = task_type.arguments.any_name
        else:
            self.takes_text = ENGINE_ARGUMENTS[action][0]
            self.names = set(ENGINE_ARGUMENTS[action])
            self.any_name = False

    def add(self, given: yaml.Mapping, arguments: yaml.Mapping) -> None:
        """Add arguments given by name; `_raw_params` is Ansible's name for the text of `command: text`."""
        for key in given:
            name = self.takes_text if key == "_raw_params" and self.takes_text else key
            if name in arguments:
                message = f"the argument '{key}' of '{self.action}' is given twice"
                self.problems.add(message, given.key_mark(key))
            else:
                _put(arguments, name, given[key], given.key_mark(key), given.value_mark(key))

    def read(self, raw: Any, mark: Mark, name_mark: Mark) -> yaml.Mapping:
        arguments = yaml.Mapping(name_mark)
        if isinstance(raw, yaml.Mapping):
            self.add(raw, arguments)
        elif isinstance(raw, str):
            self._read_text(raw, mark, arguments)
        elif raw is not None:
            if self.takes_text and not isinstance(raw, list):
                self._set_text(str(raw), mark, arguments)
            else:
                self._refuse(describe(raw), mark)
        return arguments

    def _read_text(self, raw: str, mark: Mark, arguments: yaml.Mapping) -> None:
        try:
            pairs, text, rest = keyvalue.split(raw, self._takes)
        except keyvalue.Unbalanced as error:
            if self.takes_text and self.task_type is not None:
                self._set_text(raw.strip(), mark, arguments)
                return
            self.problems.add(
                f"the arguments of '{self.action}' cannot be split: {error}",
                self.problems.locate(raw, error.offset) or mark,
            )
            return
        if not pairs and self.action.rsplit(".", 1)[-1] in _TO_THE_LETTER:
            text = raw
        for pair in pairs:
            at = self.problems.locate(raw, pair.value_start) or mark
            if pair.name in arguments:
                self.problems.add(f"the argument '{pair.name}' of '{self.action}' is given twice", at)
            key_mark = self.problems.locate(raw, pair.start) or mark
            _put(arguments, pair.name, Text(pair.value, at), key_mark, at)
        if not rest:
            return
        if self.takes_text:
            self._set_text(text, mark, arguments)
        elif len(rest) == 1 and rest[0].text.startswith("{{") and rest[0].text.endswith("}}"):
            _put(arguments, VARIABLE, Text(rest[0].text, mark), mark, mark)
        else:
            self._refuse(f"'{rest[0].text}'", self.problems.locate(raw, rest[0].start) or mark)

    def _takes(self, name: str) -> bool:
        """In the text of a command only its own arguments count, so that `dd if=a` stays whole."""
        if self.takes_text is None or self.any_name:
            return True
        return name in self.names and (name != self.takes_text or self.task_type is None)

    def _set_text(self, text: str, mark: Mark, arguments: yaml.Mapping) -> None:
        assert self.takes_text is not None
        if self.takes_text in arguments:
            self.problems.add(f"the argument '{self.takes_text}' of '{self.action}' is given twice", mark)
        _put(arguments, self.takes_text, Text(text, mark), mark, mark)

    def _refuse(self, found: str, mark: Mark) -> None:
        names = ", ".join(self.task_type.parameters if self.task_type else ENGINE_ARGUMENTS[self.action])
        self.problems.add(
            f"the arguments of '{self.action}' are names with values, not {found}",
            mark,
            f"its arguments: {names}" if names else None,
        )


def check_engine_arguments(action: Action, problems: Problems) -> None:
    """Unknown, missing and wrong arguments of the engine's own actions."""
    valid = ENGINE_ARGUMENTS[action.name]
    given = action.arguments
    for name in given:
        if name not in valid:
            problems.errors.append(
                PlaybookError(
                    f"'{action.name}' has no argument '{name}'",
                    mark=given.key_mark(name),
                    hint=did_you_mean(str(name), valid) or f"its arguments: {', '.join(valid)}",
                )
            )
    if any(name not in valid for name in given):
        return
    needed = ("name", "role") if action.name.endswith("_role") else (valid[0],)
    needed = ("file", "dir") if action.name == "include_vars" else needed
    found = [name for name in needed if given.get(name)]
    if not found:
        problems.add(f"'{action.name}' needs the argument '{needed[0]}'", action.mark)
    for name in found:
        if not isinstance(given[name], str):
            problems.add(
                f"'{name}' of '{action.name}' must be a string, not {describe(given[name])}",
                given.value_mark(name),
            )
    if action.name == "meta" and isinstance(what := given.get("action"), str) and what not in META_ACTIONS:
        problems.add(
            f"unknown meta action '{what}'",
            given.value_mark("action"),
            did_you_mean(what, META_ACTIONS) or f"one of: {', '.join(META_ACTIONS)}",
        )
