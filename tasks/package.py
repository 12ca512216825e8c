"""Install, upgrade or remove packages with the node's own package manager.

On Debian and Ubuntu, the systems labctl provisions, that is apt: see `apt` for the arguments.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from labctl.errors import TaskFailed
from labctl.task_types import Context, Steps, arg, load

_apt = load(Path(__file__).with_name("apt.py"))
_Apt: Any = _apt.arguments
_OF_DNF = ("enablerepo", "disablerepo", "disable_gpg_check", "exclude")


@dataclass(kw_only=True)
class Arguments(_Apt):
    use: str = arg("auto", doc="The package manager: auto or apt.")
    enablerepo: list[str] | None = arg(None, doc="Of dnf alone; apt refuses it, but not `omit`.")
    disablerepo: list[str] | None = arg(None, doc="Of dnf alone, as enablerepo.")
    disable_gpg_check: bool | None = arg(None, doc="Of dnf alone, as enablerepo.")
    exclude: list[str] | None = arg(None, doc="Of dnf alone, as enablerepo.")


def run(args: Arguments, ctx: Context) -> Steps:
    if args.use not in ("auto", "apt", "ansible.builtin.apt"):
        raise TaskFailed(f"labctl has no package manager '{args.use}'", hint="use: apt")
    of_dnf = [name for name in _OF_DNF if getattr(args, name) is not None]
    if of_dnf:
        raise TaskFailed(f"Unsupported parameters for apt: {', '.join(of_dnf)}", hint="only dnf has them")
    steps: Steps = _apt.run(args, ctx)  # type: ignore[assignment]
    return steps
