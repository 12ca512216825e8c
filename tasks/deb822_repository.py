"""Keep a package source in deb822 form in apt's sources.list.d, or out of it.

Package lists are not fetched. A `signed_by` that is an address or a key's text goes to /etc/apt/keyrings.
Returns repo (the file's text), dest, key_filename, mode, owner …
"""

from __future__ import annotations

import re
from dataclasses import dataclass, fields
from typing import Any

from labctl.errors import TaskFailed
from labctl.files import Attributes, Content, place
from labctl.task_types import Args, Change, Context, Steps, arg


@dataclass(kw_only=True)
class Arguments(Args):
    name: str = arg(doc="What the source is called; its file is named after it.")
    state: str = arg("present", doc="Whether it shall be there.", choices=("present", "absent"))
    mode: int | str = arg("0644", doc="Of the file.")
    types: list[str] = arg(["deb"], doc="deb, deb-src.")
    uris: list[str] | None = arg(None, doc="Addresses of the repository.")
    suites: list[str] | None = arg(None, doc="Releases, like trixie.")
    components: list[str] | None = arg(None, doc="Parts of it, like main.")
    architectures: list[str] | None = arg(None, doc="Only these architectures.")
    languages: list[str] | None = arg(None, doc="Translations to fetch.")
    targets: list[str] | None = arg(None, doc="Which files to fetch.")
    signed_by: str | None = arg(None, doc="The key: its address, a path, a fingerprint or its text.")
    enabled: bool | None = arg(None, doc="Whether the source is used.")
    trusted: bool | None = arg(None, doc="Whether it is trusted without a signature.")
    allow_insecure: bool | None = arg(None, doc="Allow an unsigned repository.")
    allow_weak: bool | None = arg(None, doc="Allow weak signatures.")
    allow_downgrade_to_insecure: bool | None = arg(None, doc="Allow it to lose its signature.")
    by_hash: bool | None = arg(None, doc="Fetch files by their hash.")
    check_date: bool | None = arg(None, doc="Check that the release's date is not in the future.")
    check_valid_until: bool | None = arg(None, doc="Check that the release is still valid.")
    date_max_future: int | None = arg(None, doc="Seconds a release may be in the future.")
    inrelease_path: str | None = arg(None, doc="Where its InRelease file is.")
    pdiffs: bool | None = arg(None, doc="Fetch differences of lists.")
    install_python_debian: bool = arg(False, doc="Accepted: python3-debian is not needed.")


_NOT_FIELDS = {"state", "mode", "install_python_debian", "others"}
_SPELT = {"name": "X-Repolib-Name", "uris": "URIs", "pdiffs": "PDiffs", "inrelease_path": "InRelease-Path"}


def run(args: Arguments, ctx: Context) -> Steps:
    slug = re.sub(r"[^a-z0-9-]+", "", re.sub(r"[_\s]+", "-", args.name.lower()))
    path = f"/etc/apt/sources.list.d/{slug}.sources"
    keys = [f"/etc/apt/keyrings/{slug}.{end}" for end in ("asc", "gpg")]
    if args.state == "absent":
        for one in [path, *keys]:
            if ctx.node.stat(one) is not None:
                yield Change(f"removal of {one}", lambda one=one: ctx.node.remove(one))
        return {"repo": None, "dest": path, "key_filename": keys[-1]}
    key = None
    if args.signed_by is not None:
        args.signed_by, key = yield from _key(args.signed_by, ctx, keys)
    text = _text(args)
    stat = ctx.node.stat(path, follow=True, checksum=True)
    done = yield from place(ctx, path, Content.of(text.encode()), Attributes.of(args.mode), stat=stat)
    values = {name: done[name] for name in done if name not in ("checksum", "md5sum", "path")}
    return {**values, "repo": text, "dest": path, "key_filename": key}


def _text(args: Arguments) -> str:
    lines = []
    for field in sorted(fields(args), key=lambda one: one.name):
        value: Any = getattr(args, field.name)
        if field.name in _NOT_FIELDS or value is None:
            continue
        name = _SPELT.get(field.name) or "-".join(part.capitalize() for part in field.name.split("_"))
        if isinstance(value, bool):
            value = "yes" if value else "no"
        elif isinstance(value, list):
            value = " ".join(value)
        value = str(value)
        if "\n" in value:
            value = "\n" + "\n".join(f" {line.strip() or '.'}" for line in value.strip().split("\n"))
            lines.append(f"{name}:{value}\n")
        else:
            lines.append(f"{name}: {value}\n")
    return "".join(lines)


def _key(given: str, ctx: Context, keys: list[str]) -> Any:
    """What `Signed-By` says, and the file the key was put in."""
    if given.startswith("/") or re.fullmatch(r"[0-9A-Fa-f, !]+", given):
        return given, None
    if "-----BEGIN" in given:
        return given, None
    if "://" not in given:
        raise TaskFailed(f"'{given[:60]}' is no key: give an address, a path, a fingerprint or its text")
    for path in keys:
        if (stat := ctx.node.stat(path)) is not None and stat.size:
            return path, path
    folder = "/etc/apt/keyrings"
    if ctx.node.stat(folder) is None:
        yield Change(f"directory {folder}", lambda: ctx.node.mkdir(folder, mode=0o755))
    path = yield Change(
        f"key of {given}", lambda: _fetch(given, ctx, keys), unknown="the key is not fetched in a dry run"
    )
    return (path or keys[0]), (path or keys[0])


def _fetch(url: str, ctx: Context, keys: list[str]) -> str:
    trial = keys[1] + ".new"
    answer = ctx.node.call("http", "download", url=url, path=trial, mode=0o644)
    if "error" in answer:
        raise TaskFailed(f"Could not fetch signed_by key: {url}: {answer['error']}")
    data = ctx.node.read(trial)
    ctx.node.remove(trial)
    path = keys[0] if data.lstrip().startswith(b"-----BEGIN") else keys[1]
    ctx.node.write(path, data, mode=0o644)
    return path
