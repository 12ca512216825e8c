"""Render a Jinja2 template of the controller into a file on the host.

A relative `src` is sought in `templates/` of the role or playbook; `{% include %}` and `{% import %}` are sought
beside it. The first line may set Jinja2's options: `#jinja2: lstrip_blocks: True`.
Returns what `copy` returns.
"""

import dataclasses
import os
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from pathlib import Path
from typing import Any

from labctl import vault
from labctl.errors import Mark, TaskFailed
from labctl.files import Content, FileArgs, Manner, place
from labctl.files.attributes import octal
from labctl.files.destination import destination
from labctl.files.paths import on_node
from labctl.task_types import Context, Steps, arg
from labctl.variables.header import join_header
from labctl.yaml import Text


@dataclass(kw_only=True)
class Arguments(FileArgs):
    src: str = arg(doc="The template, a file of the controller.")
    dest: str = arg(doc="The path on the host; with a slash at the end a directory.")
    backup: bool = arg(False, doc="Keep the old file beside the new one.")
    force: bool = arg(True, doc="Replace a file that differs; if not, only make one that is missing.")
    follow: bool = arg(False, doc="Write through a link at `dest` instead of replacing it.")
    validate: str | None = arg(None, doc="A command that must accept the new file, as %s, before it is used.")
    output_encoding: str = arg("utf-8", doc="The encoding of the file; the template itself is UTF-8.")
    trim_blocks: bool = arg(True, doc="Leave out the newline after a block.")
    lstrip_blocks: bool = arg(False, doc="Leave out white space before a block.")
    newline_sequence: str = arg(
        "\n", doc="What ends a line.", choices=("\n", "\r", "\r\n", "\\n", "\\r", "\\r\\n")
    )
    block_start_string: str = arg("{%", doc="What begins a block.")
    block_end_string: str = arg("%}", doc="What ends a block.")
    variable_start_string: str = arg("{{", doc="What begins an expression.")
    variable_end_string: str = arg("}}", doc="What ends an expression.")
    comment_start_string: str = arg("{#", doc="What begins a comment.")
    comment_end_string: str = arg("#}", doc="What ends a comment.")


_OPTIONS = (
    *("trim_blocks", "lstrip_blocks", "newline_sequence", "block_start_string", "block_end_string"),
    *("variable_start_string", "variable_end_string", "comment_start_string", "comment_end_string"),
)


def run(args: Arguments, ctx: Context) -> Steps:
    args.newline_sequence = args.newline_sequence.replace("\\n", "\n").replace("\\r", "\r")
    source = ctx.find("templates", args.src)
    args.dest = on_node(ctx, args.dest)
    path, stat = destination(ctx, args.dest, source.name, follow=args.follow)
    info = _status(source)
    written = _source(source, info.st_mtime_ns, info.st_size)
    text = _render(args, ctx, written, path)
    try:
        content = Content.of(text.encode(args.output_encoding))
        content = dataclasses.replace(content, sealed=written.sealed)
    except (LookupError, UnicodeEncodeError) as error:
        raise TaskFailed(f"{args.src} cannot be written as {args.output_encoding}: {error}") from None
    if stat is not None and not args.force:
        return {"dest": args.dest}
    mode = octal(info.st_mode & 0o7777) if args.mode == "preserve" else None
    manner = Manner(backup=args.backup, validate=args.validate)
    return (yield from place(ctx, path, content, args.wanted(mode), stat=stat, manner=manner))


@dataclass(frozen=True)
class Source:
    """A template as it stands. `sealed`: it is encrypted."""

    path: Path
    text: str
    sealed: bool
    owner: str | int
    modified: datetime


def _status(source: Path) -> os.stat_result:
    try:
        return source.stat()
    except OSError as error:
        raise TaskFailed(f"{source}: {error.strerror}") from None


@lru_cache(maxsize=64)  # the same for all hosts, as long as the file does not change
def _source(path: Path, _changed: int, _size: int) -> Source:
    try:
        info = path.stat()
        text = vault.read(path).decode()
        sealed = vault.is_encrypted_file(path)
    except UnicodeDecodeError:
        raise TaskFailed(f"{path} is not UTF-8 text") from None
    except OSError as error:
        raise TaskFailed(f"{path}: {error.strerror}") from None
    return Source(path.resolve(), text, sealed, _owner(info.st_uid), datetime.fromtimestamp(info.st_mtime))


def _render(args: Arguments, ctx: Context, source: Source, path: str) -> str:
    defaults = type(args).__dataclass_fields__
    options = {n: getattr(args, n) for n in _OPTIONS if getattr(args, n) != defaults[n].default}
    text = Text(join_header(source.text, options), Mark(str(source.path), 1, 1))
    return ctx.template(text, _about(source, path, args.src))


def _about(source: Source, path: str, name: str) -> dict[str, Any]:
    """The variables Ansible gives every template."""
    return {
        "ansible_managed": "Ansible managed",
        "template_host": os.uname().nodename,
        "template_uid": source.owner,
        "template_path": name,
        "template_fullpath": str(source.path),
        "template_name": name,
        "template_destpath": path,
        "template_mtime": source.modified,
        "template_run_date": datetime.now(),
    }


def _owner(uid: int) -> str | int:
    import pwd

    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return uid
