"""Find files of the host by name, age, size, content or mode, in one round trip.

Returns files (each with what `stat` knows), matched, examined, skipped_paths, msg.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from labctl.errors import TaskFailed
from labctl.task_types import Args, Context, arg

_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}
_BYTES = {"b": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30, "t": 1 << 40}


@dataclass(kw_only=True)
class Arguments(Args):
    paths: list[str] = arg(doc="Directories to look in.", aliases=("name", "path"))
    patterns: list[str] = arg(
        [], doc="Names: globs, or regular expressions with `use_regex`.", aliases=("pattern",)
    )
    excludes: list[str] = arg([], doc="Names to leave out, as `patterns`.", aliases=("exclude",))
    use_regex: bool = arg(False, doc="`patterns` and `excludes` are regular expressions.")
    contains: str | None = arg(None, doc="A regular expression that a line must begin with.")
    read_whole_file: bool = arg(False, doc="Search `contains` anywhere in the whole file.")
    encoding: str | None = arg(None, doc="The encoding of files searched for `contains`.")
    file_type: str = arg("file", doc="What to find.", choices=("any", "directory", "file", "link"))
    age: str | None = arg(None, doc="'2d': at least so old; '-2d': at most. Units s m h d w.")
    age_stamp: str = arg("mtime", doc="Which time `age` means.", choices=("atime", "ctime", "mtime"))
    size: str | None = arg(None, doc="'10m': at least so large; '-10m': at most. Units b k m g t.")
    recurse: bool = arg(False, doc="Look in the directories below, too.")
    depth: int | None = arg(None, doc="How many levels to go down with `recurse`.")
    hidden: bool = arg(False, doc="Find names that begin with a dot, too.")
    follow: bool = arg(False, doc="Go into directories behind links.")
    get_checksum: bool = arg(False, doc="Return each file's checksum.")
    checksum_algorithm: str = arg(
        "sha1",
        doc="Which checksum.",
        aliases=("checksum", "checksum_algo"),
        choices=("md5", "sha1", "sha224", "sha256", "sha384", "sha512"),
    )
    mode: int | str | None = arg(None, doc="Files of this mode, '0644' or 'u=rw'.")
    exact_mode: bool = arg(True, doc="`mode` must be met exactly; else any of its bits.")
    limit: int | None = arg(None, doc="Stop after so many.")


def run(args: Arguments, ctx: Context) -> dict[str, Any]:
    if isinstance(args.mode, int):
        raise TaskFailed(
            "argument 'mode' is not a string and conversion is not allowed", hint="write it in quotes"
        )
    if args.limit is not None and args.limit <= 0:
        raise TaskFailed(f"limit cannot be {args.limit} (leave it out for unlimited)")
    found: dict[str, Any] = ctx.node.call(
        "files_find",
        "find",
        paths=args.paths,
        patterns=args.patterns or [".*" if args.use_regex else "*"],
        excludes=args.excludes,
        use_regex=args.use_regex,
        contains=args.contains,
        whole=args.read_whole_file,
        encoding=args.encoding,
        kind=args.file_type,
        age=_number(args.age, "age", _SECONDS),
        stamp=args.age_stamp,
        size=_number(args.size, "size", _BYTES),
        recurse=args.recurse,
        depth=args.depth,
        hidden=args.hidden,
        follow=args.follow,
        algorithm=args.checksum_algorithm if args.get_checksum else None,
        mode=args.mode,
        exact=args.exact_mode,
        limit=args.limit,
    )
    for path, reason in found["skipped_paths"].items():
        ctx.warn(f"skipped '{path}': {reason}")
    return {**found, "changed": False}


def _number(text: str | None, name: str, units: dict[str, int]) -> int | None:
    if text is None:
        return None
    found = re.fullmatch(rf"(-?\d+)([{''.join(units)}])?", text.strip().lower())
    if found is None:
        raise TaskFailed(f"failed to process {name}: '{text}'", hint=f"a number and one of {' '.join(units)}")
    return int(found[1]) * units[found[2] or next(iter(units))]
