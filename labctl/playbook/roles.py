"""Roles: finding one, and reading its tasks, handlers, defaults, variables and dependencies."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from labctl import configuration, yaml
from labctl.errors import Mark, PlaybookError, did_you_mean
from labctl.playbook import keywords
from labctl.playbook.argument_specs import validation
from labctl.playbook.extensions import notice
from labctl.playbook.kinds import is_template
from labctl.playbook.loader import ENDINGS, Loader
from labctl.playbook.tasks import read_file
from labctl.playbook.tree import Keywords, Play, Role
from labctl.records import dataclass, field
from labctl.task_types import describe, to_bool

_META_KEYS = ("dependencies", "allow_duplicates", "galaxy_info", "argument_specs", "collections")
_PARTS = ("tasks", "handlers", "defaults", "vars")


@dataclass(frozen=True)
class _Call:
    """How a role is called: parameters, keywords and their positions, the files it is told to take."""

    params: Mapping[str, Any] = field(default_factory=dict)
    values: Mapping[str, Any] = field(default_factory=dict)
    marks: Mapping[str, Mark] = field(default_factory=dict)
    files: Mapping[str, str] = field(default_factory=dict)
    validated: bool = True


def read_roles(raw: Any, mark: Mark, play: Play, loader: Loader) -> list[Role]:
    """The `roles:` of a play."""
    return _list(raw, mark, play, loader, "roles")


def _list(raw: Any, mark: Mark, parent: Keywords, loader: Loader, what: str) -> list[Role]:
    if raw is None:
        return []
    if not isinstance(raw, list):
        loader.problems.add(f"'{what}' must be a list of roles, not {describe(raw)}", mark)
        return []
    found: list[Role] = []
    for index, item in enumerate(raw):
        at = raw.item_mark(index) if isinstance(raw, yaml.Sequence) else mark
        if role := _entry(item, at, parent, loader):
            found.append(role)
    return found


def _entry(item: Any, mark: Mark, parent: Keywords, loader: Loader) -> Role | None:
    """One entry: a name, or a mapping with keywords, whose other keys are parameters."""
    if isinstance(item, str) and item:
        return _load(item, mark, parent, _Call(), loader)
    if not isinstance(item, yaml.Mapping):
        loader.problems.add(f"a role is a name or a mapping, not {describe(item)}", mark)
        return None
    name_key = "role" if "role" in item else "name"
    name = item.get(name_key)
    if not isinstance(name, str) or not name:
        loader.problems.add("this role has no name", item.mark, "for example '- role: common'")
        return None
    given = keywords.read(item, keywords.ROLE, loader.problems)
    params = {name: value for name, value in item.items() if name not in keywords.ROLE}
    for param in params:
        hint = did_you_mean(str(param), keywords.ROLE)
        if why := keywords.refusal(str(param)):
            loader.problems.add(f"a role cannot have '{param}'", item.key_mark(param), why)
        elif hint and abs(len(str(param)) - len(hint.split("'")[1])) < 2 and len(str(param)) > 2:
            loader.problems.warn(
                f"'{param}' is taken as a parameter of role '{name}'; {hint}", item.key_mark(param)
            )
    values = {key: value for key, value in given.values.items() if key not in ("name", "role")}
    return _load(name, item.value_mark(name_key), parent, _Call(params, values, given.marks), loader)


def import_role(arguments: yaml.Mapping, parent: Keywords, loader: Loader) -> Role | None:
    """The role an `import_role` or `include_role` names, with the files it asks for."""
    key = "name" if "name" in arguments else "role"
    name = arguments.get(key)
    if not isinstance(name, str) or not name:
        return None
    files: dict[str, str] = {}
    for part in _PARTS:
        chosen = arguments.get(f"{part}_from")
        if isinstance(chosen, str):
            mark = arguments.value_mark(f"{part}_from")
            text = loader.static_text(chosen, parent, mark, "import_role")
            if text is not None:
                files[part] = text
        elif chosen is not None:
            loader.problems.add(
                f"'{part}_from' must be a string, not {describe(chosen)}",
                arguments.value_mark(f"{part}_from"),
            )
    flags: dict[str, Any] = {"allow_duplicates": True, "rolespec_validate": True}
    for flag in ("allow_duplicates", "public", "rolespec_validate"):
        if flag in arguments and not is_template(arguments[flag]):
            try:
                flags[flag] = to_bool(arguments[flag])
            except ValueError:
                loader.problems.add(
                    f"'{flag}' must be a boolean, not {describe(arguments[flag])}", arguments.value_mark(flag)
                )
    mark = arguments.value_mark(key)
    validated = flags.pop("rolespec_validate")
    return _load(name, mark, parent, _Call(values=flags, files=files, validated=validated), loader)


def _load(raw_name: str, mark: Mark, parent: Keywords, call: _Call, loader: Loader) -> Role | None:
    name = loader.static_text(raw_name, parent, mark, "import_role")
    path = find(name, parent, mark, loader) if name else None
    if name is None or path is None:
        return None
    loader.templar.add_plugins(path)
    notice(path, loader)
    role = Role(
        mark=mark,
        parent=parent,
        marks=call.marks,
        name=path.name if Path(name).expanduser().is_absolute() else name,
        path=path,
        params=call.params,
        **call.values,
    )
    files = call.files
    role.parts = tuple(f"{part}={chosen}" for part, chosen in sorted(files.items()))
    being_read = path / "tasks" / files.get("tasks", "main")
    with loader.inside(being_read, mark, f"the role '{role.name}'") as free:
        if free:
            meta = _read_meta(role, loader)
            role.defaults = _variables(role, "defaults", files.get("defaults"), mark, loader)
            role.variables = _variables(role, "vars", files.get("vars"), mark, loader)
            if handlers := _part(role, "handlers", files.get("handlers"), mark, loader):
                role.handlers = read_file(handlers, role, loader, handlers=True)
            if tasks := _part(role, "tasks", files.get("tasks"), mark, loader):
                role.tasks = read_file(tasks, role, loader)
            if call.validated:
                checks = validation(role, files.get("tasks", "main"), meta, loader)
                role.tasks = [*checks, *role.tasks]
    return role


def find(name: str, parent: Keywords, mark: Mark, loader: Loader) -> Path | None:
    """The folder of a role: in roles/ beside the playbook, in the folders configured for roles, beside the
    roles that need it, beside the playbook; or a path. A missing one is noted."""
    plays = [node.dir for node in parent.ancestors() if isinstance(node, Play)]
    folders = [
        *(folder / "roles" for folder in plays),
        *configuration.current().role_folders(),
        *(role.path.parent for role in reversed(parent.roles_around)),
        *plays,
    ]
    folders = list(dict.fromkeys(folders))
    given = Path(name).expanduser()
    for folder in folders:
        if (folder / given).is_dir():
            return folder / given
    names = [
        entry.name
        for folder in folders
        if folder.name == "roles" and folder.is_dir()
        for entry in folder.iterdir()
    ]
    places = ", ".join(map(str, folders))
    loader.problems.add(
        f"there is no role '{name}'", mark, did_you_mean(name, names) or f"looked in: {places}"
    )
    return None


def _part(role: Role, part: str, chosen: str | None, mark: Mark, loader: Loader) -> Path | None:
    """A file of the role: `<part>/main.yml`, or the one asked for."""
    folder = role.path / part
    for ending in ENDINGS:
        path = folder / f"{chosen or 'main'}{ending}"
        if path.is_file():
            return path
    if chosen:
        hint = did_you_mean(chosen, [entry.name for entry in folder.iterdir()]) if folder.is_dir() else None
        loader.problems.add(f"the role '{role.name}' has no {part}/{chosen}", mark, hint)
    return None


def _variables(role: Role, part: str, chosen: str | None, mark: Mark, loader: Loader) -> dict[str, Any]:
    folder = role.path / part / (chosen or "main")
    if folder.is_dir():
        paths = sorted(path for path in folder.rglob("*") if path.suffix in ENDINGS[1:] and path.is_file())
    else:
        found = _part(role, part, chosen, mark, loader)
        paths = [found] if found else []
    read: list[Mapping[str, Any]] = []
    for path in paths:
        with loader.problems.catch():
            read.append(read_variables(path))
    return yaml.merged(read)


def read_variables(path: Path) -> Mapping[str, Any]:
    """The variables in a file of them. PlaybookError when it holds something else."""
    data = yaml.load_file(str(path))
    if data is None:
        return {}
    if not isinstance(data, yaml.Mapping):
        start = Mark(str(path), 1, 1)
        raise PlaybookError(
            f"a file of variables holds a mapping of names to values, not {describe(data)}",
            mark=yaml.mark_of(data, start),
        )
    return data


def _read_meta(role: Role, loader: Loader) -> yaml.Mapping | None:
    path = _part(role, "meta", None, role.mark, loader)
    data = loader.file(path) if path else None
    if data is None:
        return None
    if not isinstance(data, yaml.Mapping):
        loader.problems.add(
            f"a role's meta/main.yml holds a mapping, not {describe(data)}",
            yaml.mark_of(data, Mark(str(path), 1, 1)),
        )
        return None
    for key in data:
        if key not in _META_KEYS:
            hint = did_you_mean(str(key), _META_KEYS)
            loader.problems.add(f"unknown key '{key}' in a role's meta", data.key_mark(key), hint)
    with loader.problems.catch():
        role.allow_duplicates = role.allow_duplicates or to_bool(data.get("allow_duplicates", False))
    role.dependencies = _list(
        data.get("dependencies"), data.value_mark("dependencies"), role, loader, "dependencies"
    )
    return data
