"""Look at a file of the host. Returns `stat`: exists, isreg, isdir, islnk, mode, uid, gid, pw_name, gr_name, size,
mtime, atime, ctime, inode, nlink, readable, writeable, executable, lnk_target, lnk_source, checksum …"""

from dataclasses import dataclass
from typing import Any

from labctl.task_types import Args, Context, arg


@dataclass(kw_only=True)
class Arguments(Args):
    path: str = arg(doc="The file.", aliases=("dest", "name"))
    follow: bool = arg(False, doc="Look at what a link points to.")
    get_checksum: bool = arg(True, doc="Compute the checksum of a regular file.")
    checksum_algorithm: str = arg(
        "sha256",
        doc="Which checksum.",
        aliases=("checksum", "checksum_algo"),
        choices=("md5", "sha1", "sha224", "sha256", "sha384", "sha512"),
    )


def run(args: Arguments, ctx: Context) -> dict[str, Any]:
    algorithm = args.checksum_algorithm if args.get_checksum else None
    found = ctx.node.call("files", "stat", path=args.path, follow=args.follow, algorithm=algorithm)
    return {"stat": found, "changed": False}
