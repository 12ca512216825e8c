"""Role argument specifications: the task that checks a role's variables before the role's own tasks run."""

from __future__ import annotations

from typing import Any

from labctl import yaml
from labctl.errors import Mark
from labctl.playbook.loader import Loader
from labctl.playbook.tasks import read_entries
from labctl.playbook.tree import Entry, Role
from labctl.task_types import describe

_FILES = ("argument_specs.yml", "argument_specs.yaml")


def validation(role: Role, entry_point: str, meta: yaml.Mapping | None, loader: Loader) -> list[Entry]:
    """The task that validates a role's entry point (the name of its task file); none without a
    specification. meta/argument_specs.yml goes before `argument_specs` of meta/main.yml (`meta`)."""
    specs = _specifications(role, meta, loader)
    spec = specs.get(entry_point) if specs else None
    if not isinstance(spec, yaml.Mapping):
        return []
    name = f"Validating arguments against arg spec '{entry_point}'"
    if summary := spec.get("short_description"):
        name = f"{name} - {summary}"
    arguments = {
        "argument_spec": spec.get("options") or yaml.Mapping(spec.mark),
        "provided_arguments": role.params,
        "validate_args_context": {
            "type": "role",
            "name": role.name,
            "argument_spec_name": entry_point,
            "path": str(role.path.resolve()),
        },
    }
    task = {"name": yaml.Text(name, spec.mark), "validate_argument_spec": arguments, "tags": ["always"]}
    return read_entries([_placed(task, spec.mark)], spec.mark, role, loader, "tasks")


def _specifications(role: Role, meta: yaml.Mapping | None, loader: Loader) -> yaml.Mapping | None:
    paths = [role.path / "meta" / name for name in _FILES]
    path = next((path for path in paths if path.is_file()), None)
    data: Any = loader.file(path) if path else meta
    specs = data.get("argument_specs") if isinstance(data, yaml.Mapping) else None
    if specs is not None and not isinstance(specs, yaml.Mapping):
        mark = yaml.mark_of(specs, Mark(str(path or role.path / "meta/main.yml"), 1, 1))
        loader.problems.add(f"'argument_specs' must be a mapping, not {describe(specs)}", mark)
        return None
    return specs


def _placed(value: Any, mark: Mark) -> Any:
    """Plain mappings as the parser has them, with `mark` for a position."""
    if isinstance(value, yaml.Mapping) or not isinstance(value, dict):
        return value
    placed = yaml.Mapping(mark)
    for key, item in value.items():
        placed[key] = _placed(item, mark)
    return placed
