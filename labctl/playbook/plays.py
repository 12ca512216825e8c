"""Reading a playbook: its plays, and the playbooks it imports."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from labctl import yaml
from labctl.errors import Mark, PlaybookError, did_you_mean
from labctl.playbook import keywords
from labctl.playbook.extensions import notice
from labctl.playbook.kinds import is_identifier
from labctl.playbook.loader import Loader, find_file, nearest_file, not_found
from labctl.playbook.roles import import_role, read_roles
from labctl.playbook.tagging import render_tags, render_tags_of
from labctl.playbook.tasks import apply_block, read_entries, read_file
from labctl.playbook.tree import Block, Entry, Keywords, Play, Playbook, PlaybookImport, Role, Task
from labctl.playbook.validate import validate, validate_entries
from labctl.task_types import Registry, describe

_TASK_LISTS = ("pre_tasks", "tasks", "post_tasks", "handlers")
_PROMPT_KEYS = ("name", "prompt", "default", "private", "confirm", "encrypt", "salt", "salt_size", "unsafe")


def load_playbook(path: str, registry: Registry, *, extra_vars: Mapping[str, Any] | None = None) -> Playbook:
    """Read and check a playbook. Raises PlaybookError: one problem as itself, several as PlaybookErrors.

    `extra_vars` (those of `-e`) may name imported files. Undefined variables are not looked for."""
    loader = Loader(registry, extra_vars=extra_vars or {})
    file = Path(path)
    if not file.is_file():
        if file.is_dir():
            raise PlaybookError(f"the playbook '{path}' is a folder")
        raise PlaybookError(
            f"the playbook '{path}' does not exist", hint=nearest_file(file.parent, file.name)
        )
    loader.templar.add_plugins(file.parent)
    notice(file.parent, loader)
    with loader.inside(file, Mark(path, 1, 1), f"the playbook '{file}'"):
        playbook = Playbook(path=file, plays=_plays(file, None, loader))
    render_tags(playbook, loader)
    validate(playbook, loader)
    loader.problems.raise_all()
    playbook.warnings = loader.problems.warnings
    return playbook


def load_tasks(
    path: str | Path, registry: Registry, *, parent: Task, params: Mapping[str, Any] | None = None
) -> list[Entry]:
    """The tasks an `include_tasks` names, at run time, checked like a playbook. `params` (a loop's item)
    are block variables of what is included. The include's `apply` is in effect."""
    loader = Loader(registry)
    file = find_include(str(path), parent)
    top = _include_parent(parent, params, loader)
    entries = read_file(file, top, loader)
    render_tags_of(entries, loader)
    validate_entries(entries, loader)
    loader.problems.raise_all()
    if isinstance(top, Block):
        top.block = entries
        return [top]
    return entries


def find_include(name: str, parent: Task) -> Path:
    """The file an `include_tasks` names. PlaybookError when there is none."""
    from labctl.playbook.loader import search_folders

    folders = search_folders(parent)
    found = find_file(name, folders)
    if found is None:
        raise not_found("the task file", name, folders, parent.arg_mark("file"))
    return found


def load_role(
    arguments: yaml.Mapping, registry: Registry, *, parent: Task, params: Mapping[str, Any] | None = None
) -> tuple[Role, list[Entry]]:
    """The role an `include_role` names, at run time, and the tasks to run, dependencies first. `arguments`
    are the include's, rendered. Its handlers are `role.handlers`."""
    loader = Loader(registry)
    top = _include_parent(parent, params, loader)
    role = import_role(arguments, top, loader)
    if role is not None:
        for each in role.with_dependencies():
            render_tags_of(each.tasks, loader)
            validate_entries([*each.tasks, *each.handlers], loader)
    loader.problems.raise_all()
    assert role is not None
    if isinstance(top, Block):
        top.block = role.entries()
        return role, [top]
    return role, role.entries()


def _include_parent(parent: Task, params: Mapping[str, Any] | None, loader: Loader) -> Keywords:
    top = apply_block(parent, loader)
    return Block(mark=parent.mark, parent=top, vars=params) if params else top


def _plays(path: Path, parent: Keywords | None, loader: Loader) -> list[Play]:
    raw = loader.file(path)
    start = Mark(str(path), 1, 1)
    mark = yaml.mark_of(raw, start) or start
    if not isinstance(raw, yaml.Sequence):
        if not loader.problems.errors or raw is not None:
            what = "nothing" if raw is None else describe(raw)
            loader.problems.add(
                f"a playbook is a list of plays, not {what}", mark, "start each with '- hosts:'"
            )
        return []
    if not raw:
        loader.problems.add("this playbook holds no plays", mark)
    found: list[Play] = []
    for index, item in enumerate(raw):
        if not isinstance(item, yaml.Mapping):
            loader.problems.add(f"a play must be a mapping, not {describe(item)}", raw.item_mark(index))
        elif any(str(key).removeprefix("ansible.builtin.") == "import_playbook" for key in item):
            found.extend(_imported(item, path, parent, loader))
        else:
            found.append(_play(item, path, parent, loader))
    return found


def _imported(data: yaml.Mapping, path: Path, parent: Keywords | None, loader: Loader) -> list[Play]:
    key = next(key for key in data if str(key).endswith("import_playbook"))
    for name in data:
        if name not in keywords.PLAYBOOK_IMPORT and name != key:
            table = keywords.PLAYBOOK_IMPORT
            keywords.unknown(name, data.key_mark(name), "import_playbook", table, loader.problems)
    given = keywords.read(data, keywords.PLAYBOOK_IMPORT, loader.problems)
    given.values.pop("import_playbook", None)
    node = PlaybookImport(mark=data.mark, parent=parent, marks=given.marks, **given.values)
    raw, mark = data[key], data.value_mark(key)
    if not isinstance(raw, str) or not raw:
        loader.problems.add(f"'import_playbook' must be a string, not {describe(raw)}", mark)
        return []
    name = loader.static_text(raw, node, mark, "import_playbook")
    if name is None:
        return []
    file = find_file(name, [path.parent])
    if file is None:
        loader.problems.errors.append(not_found("the playbook", name, [path.parent], mark))
        return []
    with loader.inside(file, mark, f"the playbook '{file}'") as free:
        return _plays(file, node, loader) if free else []


def _play(data: yaml.Mapping, path: Path, parent: Keywords | None, loader: Loader) -> Play:
    problems = loader.problems
    for key in data:
        if key not in keywords.PLAY:
            keywords.unknown(key, data.key_mark(key), "a play", keywords.PLAY, problems)
    given = keywords.read(data, keywords.PLAY, problems)
    if data.get("hosts") is None:
        problems.add("this play names no hosts", data.mark, "for example 'hosts: all'")
    lists = {name: given.values.pop(name, None) for name in (*_TASK_LISTS, "roles")}
    given.values.setdefault("hosts", "")
    play = Play(mark=data.mark, parent=parent, marks=given.marks, path=path, **given.values)
    play.vars_files = _vars_files(play.vars_files, data.value_mark("vars_files"), loader)
    _check_prompts(play, loader)
    play.roles = read_roles(lists["roles"], data.value_mark("roles"), play, loader)
    for name in _TASK_LISTS:
        handlers = name == "handlers"
        entries = read_entries(lists[name], data.value_mark(name), play, loader, name, handlers=handlers)
        setattr(play, "own_handlers" if handlers else name, entries)
    return play


def _vars_files(raw: Any, mark: Mark, loader: Loader) -> list[Any]:
    """A file, or a list of files; a list within it means the first that exists."""
    items = list(raw) if isinstance(raw, list | tuple) else [raw]
    for item in items:
        for name in item if isinstance(item, list) and item else [item]:
            if not isinstance(name, str) or not name:
                loader.problems.add(f"'vars_files' must be a list of files, not {describe(name)}", mark)
                return []
    return items


def _check_prompts(play: Play, loader: Loader) -> None:
    for prompt in play.vars_prompt:
        assert isinstance(prompt, yaml.Mapping)
        for key in prompt:
            if key not in _PROMPT_KEYS:
                hint = did_you_mean(str(key), _PROMPT_KEYS)
                loader.problems.add(f"unknown key '{key}' in vars_prompt", prompt.key_mark(key), hint)
        if prompt.get("encrypt"):
            _check_scheme(prompt, loader)
        if not is_identifier(prompt.get("name")):
            loader.problems.add("a prompt must name its variable", prompt.mark, "for example 'name: release'")


def _check_scheme(prompt: yaml.Mapping, loader: Loader) -> None:
    from labctl.variables.filters.passwords import KNOWN

    scheme = prompt["encrypt"]
    if scheme not in KNOWN:
        hint = did_you_mean(str(scheme), KNOWN) or f"there are {', '.join(KNOWN)}"
        loader.problems.add(f"unknown scheme '{scheme}' to encrypt with", prompt.value_mark("encrypt"), hint)
