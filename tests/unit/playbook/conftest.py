"""Playbooks from text, with a few small task types beside them."""

from collections.abc import Callable
from pathlib import Path

import pytest

from labctl.errors import PlaybookError
from labctl.playbook import Playbook, PlaybookErrors, load_playbook
from labctl.task_types import Registry

HEAD = '''"""A task type."""
from dataclasses import dataclass
from typing import Any, Literal
from labctl.task_types import Args, arg

@dataclass(kw_only=True)
class Arguments(Args):
'''
TASK_TYPES = {
    "copy": """
    src: str | None = arg(None, doc="-")
    dest: str = arg(doc="-", aliases=["path"])
    content: str | None = arg(None, doc="-")
    force: bool = arg(True, doc="-")
    owners: list[str] = arg([], doc="-")
    size: int = arg(0, doc="-")
    state: Literal["present", "absent"] = arg("present", doc="-", choices=["present", "absent"])
    mutually_exclusive = (("src", "content"),)
""",
    "command": """
    cmd: str | None = arg(None, doc="-", free_form=True)
    argv: list[str] | None = arg(None, doc="-")
    chdir: str | None = arg(None, doc="-")
    required_one_of = (("cmd", "argv"),)
""",
    "debug": """
    msg: Any = arg("Hello", doc="-")
    var: str | None = arg(None, doc="-", raw=True)
""",
    "set_fact": """
    any_name = True
    cacheable: bool = arg(False, doc="-")
""",
}


class Book:
    """Writes files into a folder of its own and loads playbooks from it, the current folder being that."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.registry = Registry([folder / "tasks"])
        self.registry.folders = [folder / "tasks"]

    def file(self, name: str, text: str) -> Path:
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        return path

    def load(self, text: str | None = None, **options) -> Playbook:
        if text is not None:
            self.file("p.yml", text)
        return load_playbook("p.yml", self.registry, **options)

    def tasks(self, text: str, play: str = "") -> Playbook:
        """A playbook with one play of these tasks."""
        indented = "".join(f"    {line}\n" if line else "\n" for line in text.splitlines())
        return self.load(f"- hosts: all\n{play}  tasks:\n{indented}")

    def problems(self, load: Callable[[], object]) -> list[PlaybookError]:
        with pytest.raises(PlaybookError) as caught:
            load()
        error = caught.value
        assert error.exit_code == 6
        return error.problems if isinstance(error, PlaybookErrors) else [error]


@pytest.fixture
def book(tmp_path, monkeypatch) -> Book:
    monkeypatch.chdir(tmp_path)
    found = Book(tmp_path)
    for name, fields in TASK_TYPES.items():
        found.file(f"tasks/{name}.py", f"{HEAD}{fields}\ndef run(args, ctx):\n    return {{}}\n")
    return found
