"""What is known of a play's `vars_files` before the run: those that are named outright."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from labctl import yaml
from labctl.errors import PlaybookError, VaultError
from labctl.playbook.kinds import is_template
from labctl.playbook.loader import Loader, find_file, not_found
from labctl.playbook.tree import Play
from labctl.variables import load_vars_file


def check(play: Play, loader: Loader) -> None:
    """That they are there, and hold variables; whether they can be decrypted is for who runs the play."""
    for names in _named(play):
        if (path := _found(names, play)) is None:
            mark = yaml.mark_of(names[-1], play.mark_of("vars_files"))
            assert mark is not None
            loader.problems.errors.append(
                not_found("the file of variables", names[-1], [play.dir, play.dir / "vars"], mark)
            )
            continue
        try:
            load_vars_file(path)
        except VaultError:
            continue
        except PlaybookError as error:
            loader.problems.errors.append(error)


def files(play: Play) -> Iterator[Path]:
    """Those that are there."""
    for names in _named(play):
        if path := _found(names, play):
            yield path


def _named(play: Play) -> Iterator[list[str]]:
    """Each entry; of one with several names the first that exists counts."""
    for item in play.vars_files:
        names = item if isinstance(item, list) else [item]
        if not any(is_template(name) for name in names):
            yield names


def _found(names: list[str], play: Play) -> Path | None:
    folders = [play.dir, play.dir / "vars"]
    return next((path for name in names if (path := find_file(str(name), folders))), None)
