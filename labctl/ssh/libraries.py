"""fabric and paramiko, loaded without what labctl never uses of what they bring: a copy of PyYAML, contexts for
tests, asyncio, the library that looks up a package's version. That is two fifths of the time they take to load, so
every module has them from here."""

from __future__ import annotations

from pathlib import Path

import yaml

from labctl import lean


def _version(package: str) -> str:
    """As the folder beside the package's own has it; paramiko tells it to servers."""
    found = Path(yaml.__file__).parents[1].glob(f"{package}-*.dist-info")
    return next((folder.stem.partition("-")[2] for folder in found), "unknown")


with lean.standing_in(
    unittest__mock={"Mock": object},
    asyncio={},
    invoke__vendor__yaml=vars(yaml),
    invoke__program={"Program": object},
    importlib__metadata={"version": _version},
):
    import fabric
    import paramiko

__all__ = ["fabric", "paramiko"]
