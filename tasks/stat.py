"""Look at a file of the host. Returns `stat`: exists, isreg, isdir, islnk, mode, uid, gid, pw_name, gr_name, size,
mtime, atime, ctime, inode, nlink, readable, writeable, executable, lnk_target, lnk_source, checksum, mimetype,
charset, attributes, attr_flags, version …"""

from dataclasses import dataclass
from typing import Any

from labctl.task_types import Args, Context, arg


@dataclass(kw_only=True)
class Arguments(Args):
    path: str = arg(doc="The file.", aliases=("dest", "name"))
    follow: bool = arg(False, doc="Look at what a link points to.")
    get_checksum: bool = arg(True, doc="Compute the checksum of a regular file.")
    get_mime: bool = arg(
        True, doc="Ask file(1) for its type and encoding.", aliases=("mime", "mime_type", "mime-type")
    )
    get_attributes: bool = arg(True, doc="Read its flags (lsattr).", aliases=("attr", "attributes"))
    checksum_algorithm: str = arg(
        "sha1",
        doc="Which checksum.",
        aliases=("checksum", "checksum_algo"),
        choices=("md5", "sha1", "sha224", "sha256", "sha384", "sha512"),
    )


def run(args: Arguments, ctx: Context) -> dict[str, Any]:
    found = ctx.node.call(
        "files_stat",
        "stat",
        path=args.path,
        follow=args.follow,
        algorithm=args.checksum_algorithm if args.get_checksum else None,
        mime=args.get_mime,
        flags=args.get_attributes,
    )
    return {"stat": found, "changed": False}
