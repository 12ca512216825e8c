"""Every keyword of plays, roles, blocks and tasks: where it may stand and what it takes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from labctl import yaml
from labctl.errors import Mark, did_you_mean
from labctl.playbook import kinds
from labctl.playbook.kinds import Kind, Refused, describe_refusal
from labctl.playbook.problems import Problems
from labctl.records import dataclass

_SHARED: dict[str, Kind] = {
    "name": kinds.title,
    "vars": kinds.variables,
    "tags": kinds.comma_strings,
    "become": kinds.boolean,
    "become_user": kinds.string,
    "become_method": kinds.one_of("sudo", "su"),
    "become_exe": kinds.string,
    "become_flags": kinds.string,
    "connection": kinds.one_of("ssh", "local", "smart", "paramiko", "paramiko_ssh"),
    "collections": kinds.strings,
    "debugger": kinds.one_of("always", "never", "on_failed", "on_unreachable", "on_skipped"),
    "port": kinds.integer,
    "remote_user": kinds.string,
    "environment": kinds.environment,
    "no_log": kinds.boolean,
    "ignore_errors": kinds.boolean,
    "ignore_unreachable": kinds.boolean,
    "check_mode": kinds.boolean,
    "diff": kinds.boolean,
    "any_errors_fatal": kinds.boolean,
    "run_once": kinds.boolean,
    "throttle": kinds.integer,
    "timeout": kinds.number,
    "module_defaults": kinds.mappings,
}
_WHEN: dict[str, Kind] = {"when": kinds.conditions}
_DELEGATION: dict[str, Kind] = {"delegate_to": kinds.string, "delegate_facts": kinds.boolean}
_NOTIFY: dict[str, Kind] = {"notify": kinds.strings}
_REPETITION: dict[str, Kind] = {
    "loop": kinds.loop,
    "loop_control": kinds.mapping,
    "until": kinds.conditions,
    "retries": kinds.integer,
    "delay": kinds.number,
}

PLAY: dict[str, Kind] = _SHARED | {
    "hosts": kinds.pattern,
    "user": kinds.string,
    "gather_facts": kinds.boolean,
    "gather_subset": kinds.strings,
    "gather_timeout": kinds.integer,
    "fact_path": kinds.string,
    "vars_files": kinds.anything,
    "vars_prompt": kinds.mappings,
    "serial": kinds.batches,
    "strategy": kinds.one_of("linear", "free", "host_pinned"),
    "order": kinds.one_of("inventory", "sorted", "reverse_sorted", "reverse_inventory", "shuffle"),
    "max_fail_percentage": kinds.percent,
    "force_handlers": kinds.boolean,
    "pre_tasks": kinds.anything,
    "roles": kinds.anything,
    "tasks": kinds.anything,
    "post_tasks": kinds.anything,
    "handlers": kinds.anything,
}
ROLE: dict[str, Kind] = _SHARED | _WHEN | _DELEGATION | {"role": kinds.string}
BLOCK: dict[str, Kind] = (
    _SHARED
    | _WHEN
    | _DELEGATION
    | _NOTIFY
    | _REPETITION
    | {"block": kinds.anything, "rescue": kinds.anything, "always": kinds.anything}
)
TASK: dict[str, Kind] = (
    _SHARED
    | _WHEN
    | _DELEGATION
    | _NOTIFY
    | _REPETITION
    | {
        "action": kinds.anything,
        "local_action": kinds.anything,
        "args": kinds.arguments,
        "register": kinds.identifier,
        "changed_when": kinds.conditions,
        "failed_when": kinds.conditions,
        "async": kinds.integer,
        "poll": kinds.number,
    }
)
HANDLER: dict[str, Kind] = TASK | {"listen": kinds.strings}
PLAYBOOK_IMPORT: dict[str, Kind] = _SHARED | _WHEN | {"import_playbook": kinds.string}
APPLY: dict[str, Kind] = _SHARED | _WHEN | _DELEGATION
LOOP_CONTROL: dict[str, Kind] = {
    "loop_var": kinds.identifier_or_template,
    "index_var": kinds.identifier_or_template,
    "label": kinds.anything,
    "pause": kinds.number,
    "extended": kinds.boolean,
    "extended_allitems": kinds.boolean,
    "break_when": kinds.conditions,
}
DYNAMIC_INCLUDE = frozenset(
    {
        "action",
        "args",
        "ignore_errors",
        "loop",
        "loop_control",
        "name",
        "no_log",
        "register",
        "run_once",
        "tags",
        "timeout",
        "vars",
        "when",
    }
)
NOT_ON_IMPORTS = frozenset(
    {
        "loop",
        "loop_control",
        "until",
        "retries",
        "delay",
        "register",
        "changed_when",
        "failed_when",
        "async",
        "poll",
    }
)

_REFUSED = {
    "validate_argspec": "a task 'validate_argument_spec' does it",
    "sudo": "write 'become: true'",
    "sudo_user": "it is called 'become_user'",
    "include": "write 'import_tasks' (read before the run) or 'include_tasks' (read during it)",
    "static": "write 'import_tasks' or 'include_tasks'",
    "always_run": "write 'check_mode: false'",
}
_FIELDS = {"async": "async_", "user": "remote_user"}


@dataclass(frozen=True)
class Given:
    """The keywords one mapping gives: field values for the tree, and where each value stands."""

    values: dict[str, Any]
    marks: dict[str, Mark]


def refusal(name: str) -> str | None:
    """Why labctl has no such keyword though others do."""
    return _REFUSED.get(name)


def read(data: yaml.Mapping, table: Mapping[str, Kind], problems: Problems) -> Given:
    """Check and convert the keywords of `table` that `data` gives; other names are not looked at. A
    keyword without a value counts as not given."""
    given = Given({}, {})
    for name, kind in table.items():
        if name not in data:
            continue
        given.marks[name] = data.value_mark(name)
        if data[name] is None:
            continue
        try:
            given.values[_FIELDS.get(name, name)] = kind(data[name])
        except Refused as refused:
            mark = refused.mark or data.value_mark(name)
            problems.add(describe_refusal(name, refused), mark, refused.hint)
    return given


def unknown(name: Any, mark: Mark, where: str, valid: Mapping[str, Any], problems: Problems) -> None:
    """Note a name that is no keyword of `where` ("a play")."""
    if not isinstance(name, str):
        problems.add(f"a keyword is a string, not {name!r}", mark)
        return
    if (why := refusal(name)) and name not in valid:
        problems.add(f"{where} cannot have '{name}'", mark, why)
        return
    hint = did_you_mean(name, valid)
    if owners := levels_of(name):
        hint = f"'{name}' belongs to {' or '.join(owners)}"
    problems.add(f"unknown keyword '{name}' in {where}", mark, hint)


def levels_of(name: str) -> list[str]:
    """Where a keyword may stand."""
    levels = {"a play": PLAY, "a block": BLOCK, "a task": TASK, "a handler": HANDLER}
    return [
        level
        for level, table in levels.items()
        if name in table and not (level == "a handler" and name in TASK)
    ]
