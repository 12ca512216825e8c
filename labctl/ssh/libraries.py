"""fabric and paramiko, loaded without what labctl never uses of what they bring: a copy of PyYAML, programs that run
fabfiles, contexts for tests, asyncio, the library that looks up a package's version. That is half of the time they take
to load, so every module has them from here."""

from __future__ import annotations

from pathlib import Path

import yaml

from labctl import lean


def _version(package: str) -> str:
    """As the folder beside the package's own has it; paramiko tells it to servers."""
    found = Path(yaml.__file__).parents[1].glob(f"{package}-*.dist-info")
    return next((folder.stem.partition("-")[2] for folder in found), "unknown")


# What fabric and invoke have to run fabfiles and to test them.
_PROGRAMS = {
    "fabric__auth": None,
    "fabric__executor": ("Executor",),
    "fabric__group": ("Group", "SerialGroup", "ThreadingGroup", "GroupResult"),
    "fabric__tasks": ("task", "Task"),
    "invoke__collection": ("Collection",),
    "invoke__executor": ("Executor",),
    "invoke__loader": ("FilesystemLoader",),
    "invoke__parser": ("Argument", "Parser", "ParserContext", "ParseResult"),
    "invoke__program": ("Program",),
    "invoke__tasks": ("task", "call", "Call", "Task"),
    "unittest__mock": ("Mock",),
}

with lean.standing_in(
    **{module: names and dict.fromkeys(names, object) for module, names in _PROGRAMS.items()},
    asyncio={},
    invoke__vendor__yaml=vars(yaml),
    importlib__metadata={"version": _version},
):
    import fabric
    import paramiko

__all__ = ["fabric", "paramiko"]
