"""What every part of the parser shares: the registry, the problems found, files being read."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from labctl import yaml
from labctl.errors import LabctlError, Mark, PlaybookError
from labctl.playbook.kinds import is_template
from labctl.playbook.problems import Problems
from labctl.playbook.tree import Keywords, Play, Role
from labctl.records import dataclass, field
from labctl.task_types import Registry

if TYPE_CHECKING:
    from labctl.variables.templar import Templar

ENDINGS = ("", ".yml", ".yaml", ".json")


@dataclass
class Loader:
    """One reading of a playbook. `extra_vars` are known before the run and may name imported files."""

    registry: Registry
    problems: Problems = field(default_factory=Problems)
    extra_vars: Mapping[str, Any] = field(default_factory=dict)
    reading: list[Path] = field(default_factory=list)

    @property
    def templar(self) -> Templar:
        return shared_templar()

    def file(self, path: Path) -> Any:
        """The YAML in a file; None when it cannot be read (noted)."""
        with self.problems.catch():
            return yaml.load_file(str(path))
        return None

    @contextmanager
    def inside(self, path: Path, mark: Mark, what: str) -> Iterator[bool]:
        """Read a file once at a time; False, and a problem noted, when it is being read already."""
        key = path.resolve()
        if key in self.reading:
            self.problems.add(f"{what} imports itself", mark, "what is included during the run can end")
            yield False
            return
        self.reading.append(key)
        try:
            yield True
        finally:
            self.reading.pop()

    def static_text(self, text: str, node: Keywords, mark: Mark, what: str) -> str | None:
        """A file or role name that must be known before the run, rendered; None when it is not (noted)."""
        if not is_template(text):
            return str(text)
        from labctl.variables.scope import Scope

        try:
            return str(Scope(self.templar, self.static_layers(node)).render(text, mark))
        except LabctlError as error:
            dynamic = what.replace("import", "include") if "playbook" not in what else None
            hint = f"only extra variables and vars of plays and roles can be used; {dynamic} reads it during the run"
            self.problems.add(
                f"'{what}' needs its name before the run: {error.message}",
                error.mark or mark,
                hint if dynamic else None,
            )
        return None

    def static_layers(self, node: Keywords) -> list[Mapping[str, Any]]:
        plays = [owner for owner in node.ancestors() if isinstance(owner, Play)]
        roles = node.roles_around
        return [
            *(role.defaults for role in roles),
            *(play.play_vars() for play in plays),
            *(layer for role in roles for layer in (role.variables, role.vars)),
            node.block_vars(),
            node.role_params(),
            self.extra_vars,
            *(
                {"playbook_dir": str(play.dir), "role_path": str(r.path)}
                for play in plays
                for r in roles[-1:]
            ),
            *({"playbook_dir": str(play.dir)} for play in plays),
        ]


@cache
def shared_templar() -> Templar:
    """One for all readings: making it costs more than checking a small file of tasks."""
    from labctl.variables.templar import Templar

    return Templar()


def find_file(name: str, folders: list[Path]) -> Path | None:
    """The first existing file of that name; an absolute name stands for itself."""
    expanded = Path(name).expanduser()
    for candidate in [expanded] if expanded.is_absolute() else [folder / expanded for folder in folders]:
        if candidate.is_file():
            return candidate
    return None


def not_found(what: str, name: str, folders: list[Path], mark: Mark) -> PlaybookError:
    """The error for a missing file: where it was looked for, and the nearest name there."""
    folders = list(dict.fromkeys(folders))
    for folder in folders:
        if hint := nearest_file((folder / name).parent, Path(name).name):
            return PlaybookError(f"{what} '{name}' does not exist", mark=mark, hint=hint)
    places = ", ".join(str(folder) for folder in folders)
    return PlaybookError(f"{what} '{name}' does not exist", mark=mark, hint=f"looked in: {places}")


def nearest_file(folder: Path, name: str) -> str | None:
    """A hint at the file in a folder whose name, its ending aside, is nearest."""
    stems = {entry.stem: entry.name for entry in sorted(folder.iterdir())} if folder.is_dir() else {}
    near = difflib.get_close_matches(Path(name).stem, stems, n=1)
    return f"did you mean '{stems[near[0]]}'?" if near else None


def search_folders(node: Keywords) -> list[Path]:
    """Where a task file named by `node` is looked for: beside the file it stands in, in its roles' tasks/
    folders, beside the playbook."""
    roles: list[Role] = list(reversed(node.roles_around))
    beside = Path(node.mark.file).parent
    return list(dict.fromkeys([beside, *(role.path / "tasks" for role in roles), *_play_folder(node)]))


def _play_folder(node: Keywords) -> list[Path]:
    return [owner.dir for owner in node.ancestors() if isinstance(owner, Play)]
