"""fabric and paramiko, loaded without what labctl never uses of what they bring: a copy of PyYAML, contexts for
tests, asyncio. That is a third of the time they take to load, so every module has them from here."""

from __future__ import annotations

import yaml

from labctl import lean

with lean.standing_in(unittest__mock={"Mock": object}, asyncio={}, invoke__vendor__yaml=vars(yaml)):
    import fabric
    import paramiko

__all__ = ["fabric", "paramiko"]
