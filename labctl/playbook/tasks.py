"""Lists of tasks: tasks, blocks, handlers, and the task files they import."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from labctl import yaml
from labctl.errors import Mark, did_you_mean
from labctl.playbook import actions, keywords
from labctl.playbook.actions import Action
from labctl.playbook.keywords import Given
from labctl.playbook.kinds import Kind
from labctl.playbook.loader import Loader, find_file, not_found, search_folders
from labctl.playbook.tree import INCLUDES, Block, Entry, Handler, Keywords, LoopControl, Task
from labctl.task_types import describe, short_name


def read_entries(
    raw: Any, mark: Mark, parent: Keywords, loader: Loader, what: str, *, handlers: bool = False
) -> list[Entry]:
    """The tasks and blocks of one list. `what` names it in messages ("tasks", "rescue")."""
    if raw is None:
        return []
    if not isinstance(raw, list):
        loader.problems.add(
            f"'{what}' must be a list of tasks, not {describe(raw)}", mark, "start each with '- '"
        )
        return []
    found: list[Entry] = []
    for index, item in enumerate(raw):
        at = raw.item_mark(index) if isinstance(raw, yaml.Sequence) else mark
        if item is None:
            loader.problems.add("this task is empty", at)
        elif not isinstance(item, yaml.Mapping):
            loader.problems.add(f"a task must be a mapping, not {describe(item)}", at)
        elif "block" in item or "rescue" in item or "always" in item:
            found.extend(_block(item, parent, loader, handlers=handlers))
        else:
            found.extend(_task(item, parent, loader, handlers=handlers))
    return found


def read_file(path: Path, parent: Keywords, loader: Loader, *, handlers: bool = False) -> list[Entry]:
    """The tasks of a task file."""
    raw = loader.file(path)
    start = Mark(str(path), 1, 1)
    mark = yaml.mark_of(raw, start) or start
    if isinstance(raw, list) and any(isinstance(item, dict) and "hosts" in item for item in raw):
        loader.problems.add(
            "this file holds plays, and a list of tasks is needed", mark, "see import_playbook"
        )
        return []
    return read_entries(raw, mark, parent, loader, str(path), handlers=handlers)


def _block(data: yaml.Mapping, parent: Keywords, loader: Loader, *, handlers: bool) -> list[Entry]:
    problems = loader.problems
    if handlers:
        problems.add("a handler cannot be a block", data.mark, "put the tasks in a file and include_tasks it")
        return []
    if "block" not in data:
        key = "rescue" if "rescue" in data else "always"
        problems.add(f"'{key}' without a 'block'", data.key_mark(key))
    kinds = _unknown_keys(data, keywords.BLOCK, "a block", loader)
    given = keywords.read(data, keywords.BLOCK, problems)
    _loop(data, given, kinds, loader)
    lists = {name: given.values.pop(name, None) for name in ("block", "rescue", "always")}
    block = Block(mark=data.mark, parent=parent, marks=given.marks, **given.values)
    for name, raw in lists.items():
        entries = read_entries(raw, data.value_mark(name), block, loader, name)
        setattr(block, name, entries)
    return [block]


def _unknown_keys(data: yaml.Mapping, table: Mapping[str, Kind], where: str, loader: Loader) -> list[str]:
    """Note keys that are no keywords; the `with_X` among them come back."""
    loops = [key for key in data if isinstance(key, str) and key.startswith("with_")]
    for key in data:
        if key in table or key in loops:
            continue
        if isinstance(key, str) and short_name(key) in loader.registry.names():
            loader.problems.add(
                f"a block cannot have the action '{key}'", data.key_mark(key), "make it a task"
            )
        else:
            keywords.unknown(key, data.key_mark(key), where, table, loader.problems)
    return loops


def _loop(data: yaml.Mapping, given: Given, kinds: list[str], loader: Loader) -> None:
    """`with_X` as a loop of kind X, and `loop_control` as an object."""
    problems = loader.problems
    if isinstance(control := given.values.get("loop_control"), yaml.Mapping):
        given.values["loop_control"] = _loop_control(control, loader)
    if "loop" in data and kinds:
        problems.add(f"'loop' and '{kinds[0]}' in one task", data.key_mark(kinds[0]))
    elif len(kinds) > 1:
        problems.add(f"'{kinds[0]}' and '{kinds[1]}' in one task", data.key_mark(kinds[1]))
    for key in kinds[:1]:
        kind = key.removeprefix("with_").removeprefix("ansible.builtin.")
        if loader.templar.find_lookup(kind) is None:
            hint = did_you_mean(kind, loader.templar.lookups)
            hint = hint.replace("'", "'with_", 1) if hint else "write 'loop: \"{{ … }}\"'"
            problems.add(f"unknown kind of loop '{key}'", data.key_mark(key), hint)
        if data[key] is None:
            problems.add(f"'{key}' needs a value", data.key_mark(key))
        given.values.update(loop=data[key], loop_kind=kind)
        given.marks["loop"] = data.value_mark(key)
    if "loop" in data and data["loop"] is None:
        problems.add("'loop' needs a list", data.key_mark("loop"))


def _loop_control(data: yaml.Mapping, loader: Loader) -> LoopControl:
    for key in data:
        if key not in keywords.LOOP_CONTROL:
            keywords.unknown(key, data.key_mark(key), "loop_control", keywords.LOOP_CONTROL, loader.problems)
    given = keywords.read(data, keywords.LOOP_CONTROL, loader.problems)
    return LoopControl(mark=data.mark, **given.values)


def _task(data: yaml.Mapping, parent: Keywords, loader: Loader, *, handlers: bool) -> list[Entry]:
    problems = loader.problems
    table = keywords.HANDLER if handlers else keywords.TASK
    where = "a handler" if handlers else "a task"
    given = keywords.read(data, table, problems)
    _loop(data, given, [key for key in data if isinstance(key, str) and key.startswith("with_")], loader)
    action = actions.read(data, table, where, loader.registry, problems)
    if action is None:
        return []
    if action.task_type is None:
        actions.check_engine_arguments(action, problems)
    if action.name.startswith("import_") and action.task_type is None:
        return _import(data, action, given, parent, loader, handlers=handlers)
    if action.task_type is None and action.name in INCLUDES:
        _check_include(data, action, loader)
    for name in ("action", "local_action", "args"):
        given.values.pop(name, None)
    if action.local:
        if "delegate_to" in given.values:
            problems.add("'local_action' and 'delegate_to' in one task", data.key_mark("delegate_to"))
        given.values["delegate_to"] = "localhost"
    kind = Handler if handlers else Task
    task = kind(
        mark=data.mark,
        parent=parent,
        marks=given.marks,
        action=action.name,
        written=action.written,
        task_type=action.task_type,
        args=action.arguments,
        **given.values,
    )
    add_module_defaults(task)
    return [task]


def add_module_defaults(task: Task) -> None:
    """Give a task the arguments that module_defaults around it hold and that it has not itself."""
    own = task.task_type.aliases if task.task_type else {}  # an argument may be given under another name
    given = {own.get(name, name) for name in task.args}
    nearest: yaml.Mapping | None = None  # what stands nearer replaces what stands around it, as a whole
    for node in reversed([*task.lineage()]):
        for defaults in node.module_defaults:
            for name, arguments in defaults.items():
                if short_name(str(name)) == task.action and isinstance(arguments, yaml.Mapping):
                    nearest = arguments
    if nearest is None:
        return
    for argument in nearest:
        if own.get(argument, argument) not in given:
            task.args[argument] = nearest[argument]
            task.args.key_marks[argument] = nearest.key_mark(argument)
            task.args.value_marks[argument] = nearest.value_mark(argument)


def _check_include(data: yaml.Mapping, action: Action, loader: Loader) -> None:
    for key in data:
        if key in keywords.TASK and key not in keywords.DYNAMIC_INCLUDE and key != "listen":
            loader.problems.add(
                f"'{key}' has no effect on '{action.name}'",
                data.key_mark(key),
                f"write 'apply: {{{key}: …}}' among its arguments, or use a block around it",
            )
    apply = action.arguments.get("apply")
    if apply is None:
        return
    if not isinstance(apply, yaml.Mapping):
        loader.problems.add(
            f"'apply' must be a mapping of keywords, not {describe(apply)}",
            action.arguments.value_mark("apply"),
        )
        return
    for key in apply:
        if key not in keywords.APPLY:
            keywords.unknown(key, apply.key_mark(key), "apply", keywords.APPLY, loader.problems)
    keywords.read(apply, keywords.APPLY, loader.problems)


def _import(
    data: yaml.Mapping, action: Action, given: Given, parent: Keywords, loader: Loader, *, handlers: bool
) -> list[Entry]:
    """`import_tasks` and `import_role`: a block in its place, holding what was imported."""
    for key in data:
        if key in keywords.NOT_ON_IMPORTS or (isinstance(key, str) and key.startswith("with_")):
            loader.problems.add(
                f"'{key}' has no effect on '{action.name}'",
                data.key_mark(key),
                f"{action.name.replace('import', 'include')} can have it",
            )
    if action.name == "import_playbook":
        loader.problems.add("'import_playbook' stands among plays, not among tasks", action.mark)
        return []
    values = {key: value for key, value in given.values.items() if key in keywords.BLOCK}
    for key in keywords.NOT_ON_IMPORTS | {"loop_kind"}:
        values.pop(key, None)
    block = Block(mark=data.mark, parent=parent, marks=given.marks, **values)
    if action.name == "import_role":
        from labctl.playbook.roles import import_role

        block.imported_role = import_role(action.arguments, block, loader)
        if block.imported_role is not None:
            block.source = str(block.imported_role.path)
            block.block = block.imported_role.entries()
        return [block]
    path = _imported_file(action, block, loader)
    if path is None:
        return []
    with loader.inside(path, action.mark, f"the task file '{path}'") as free:
        if free:
            block.source = str(path)
            block.block = read_file(path, block, loader, handlers=handlers)
    return [block]


def _imported_file(action: Action, node: Block, loader: Loader) -> Path | None:
    raw = action.arguments.get("file")
    if not isinstance(raw, str) or not raw:
        return None
    mark = action.arguments.value_mark("file")
    name = loader.static_text(raw, node, mark, action.name)
    if name is None:
        return None
    folders = search_folders(node)
    path = find_file(name, folders)
    if path is None:
        loader.problems.errors.append(not_found("the task file", name, folders, mark))
    return path


def apply_block(task: Task, loader: Loader) -> Keywords:
    """What tasks included by `task` get as parent: the include itself, or a block with its `apply`."""
    apply = task.args.get("apply")
    if not isinstance(apply, yaml.Mapping):
        return task
    given = keywords.read(apply, keywords.APPLY, loader.problems)
    return Block(mark=apply.mark, parent=task, marks=given.marks, **given.values)
