"""The arguments that every task type which makes a file has in common."""

from __future__ import annotations

from labctl.files.attributes import Attributes
from labctl.records import dataclass
from labctl.task_types import Args, arg


@dataclass(kw_only=True)
class FileArgs(Args):
    """Mode, owner and further attributes of the file a task manages."""

    mode: int | str | None = arg(None, doc="'0644' or 'u=rwX,g=rX,o='; 'preserve' where a source has one.")
    owner: str | None = arg(None, doc="User it belongs to, a name or number.")
    group: str | None = arg(None, doc="Group it belongs to, a name or number.")
    attributes: str | None = arg(
        None,
        doc="Flags as chattr(1) takes them: '+i', '-a', '=di'; without a sign: exactly these.",
        aliases=("attr",),
    )
    seuser: str | None = arg(None, doc="SELinux user; ignored where SELinux is off.")
    serole: str | None = arg(None, doc="SELinux role; ignored where SELinux is off.")
    setype: str | None = arg(None, doc="SELinux type; ignored where SELinux is off.")
    selevel: str | None = arg(None, doc="SELinux level; ignored where SELinux is off.")
    unsafe_writes: bool = arg(
        False, doc="Accepted; files are replaced in one step wherever that is possible."
    )

    def wanted(self, mode: str | None = None) -> Attributes:
        """The attributes these arguments ask for (with another `mode`). TaskFailed for what is no mode."""
        context = (self.seuser, self.serole, self.setype, self.selevel)
        return Attributes.of(
            self.mode if mode is None else mode,
            self.owner,
            self.group,
            flags=self.attributes,
            context=context if any(context) else None,
        )
