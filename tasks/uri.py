"""Send one HTTP request from the host.

A GET or HEAD is sent in a dry run as well; what another method does is unknown there. A status that is not in
`status_code` is a failure. Returns status, url, redirected, cookies, content (with `return_content`), json, path
(with `dest`), and the answer's headers by name (content_type, content_length …).
"""

from __future__ import annotations

import base64
import json as json_format
import re
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode, urljoin, urlsplit

from labctl.errors import TaskFailed
from labctl.files import Content, place, properties
from labctl.files.multipart import multipart
from labctl.files.paths import on_node
from labctl.files.web import WebArgs
from labctl.task_types import Change, Context, Steps, arg


@dataclass(kw_only=True)
class Arguments(WebArgs):
    method: str = arg("GET", doc="The HTTP method.")
    body: Any = arg(None, doc="What to send.")
    body_format: str = arg(
        "raw", doc="How `body` is written.", choices=("raw", "json", "form-urlencoded", "form-multipart")
    )
    src: str | None = arg(None, doc="A file to send, instead of `body`.")
    remote_src: bool = arg(False, doc="`src` is on the host.")
    dest: str | None = arg(None, doc="A file or directory of the host for the answer.")
    status_code: list[int] = arg([200], doc="The statuses that mean success.")
    return_content: bool = arg(False, doc="Return the answer's body as `content`.")
    timeout: float = arg(30.0, doc="Seconds the server may take.")
    follow_redirects: str = arg(
        "safe", doc="Which redirects to follow.", choices=("safe", "all", "none", "no", "yes", "urllib2")
    )
    unix_socket: str | None = arg(None, doc="Connect to this socket of the host.")
    creates: str | None = arg(None, doc="A path or glob; when it exists nothing is sent.")
    removes: str | None = arg(None, doc="A path or glob; when it does not exist nothing is sent.")

    mutually_exclusive = (("body", "src"),)


def run(args: Arguments, ctx: Context) -> Steps:
    for glob, there in ((args.creates, True), (args.removes, False)):
        if glob and bool(ctx.node.call("files", "matches", pattern=on_node(ctx, glob))) is there:
            return {
                "stdout": f"skipped, since '{glob}' {'exists' if there else 'does not exist'}",
                "changed": False,
            }
    method = args.method.upper()
    if not re.fullmatch("[A-Z]+", method):
        raise TaskFailed("Parameter 'method' needs to be a single word in uppercase, like GET or POST.")
    if method in ("GET", "HEAD", "OPTIONS"):
        answer = _send(args, ctx, method)
    else:
        answer = yield Change(
            f"{method} {args.url}",
            lambda: _send(args, ctx, method),
            unknown=f"{method} is not sent in a dry run",
        )
        if answer is None:
            return {"url": args.url}
    return (yield from _values(args, ctx, answer))


def _send(args: Arguments, ctx: Context, method: str) -> dict[str, Any]:
    options = args.options()
    body, source = _body(args, ctx, options["headers"]), None
    if args.src is not None:
        if args.remote_src:
            source = on_node(ctx, args.src)
        else:
            data = Content.of(ctx.find("files", args.src)).data
            body = data if isinstance(data, bytes) else data.read_bytes()
    there = None if args.dest is None or args.force else ctx.node.stat(on_node(ctx, args.dest), follow=True)
    answer: dict[str, Any] = ctx.node.call(
        "http",
        "request",
        newer_than=None if there is None or there.type == "directory" else there.mtime,
        url=args.url,
        method=method,
        body=None if body is None else base64.b64encode(body).decode(),
        source=source,
        timeout=args.timeout,
        follow=args.follow_redirects,
        unix_socket=args.unix_socket,
        **options,
    )
    return answer


def _body(args: Arguments, ctx: Context, headers: dict[str, str]) -> bytes | None:
    given = {name.lower() for name in headers}
    if args.body_format == "json":
        if "content-type" not in given:
            headers["Content-Type"] = "application/json"
        if args.src is not None:
            return None
        return (args.body if isinstance(args.body, str) else json_format.dumps(args.body)).encode()
    if args.body is None:
        return None
    if args.body_format == "form-urlencoded":
        if "content-type" not in given:
            headers["Content-Type"] = "application/x-www-form-urlencoded"
        return args.body.encode() if isinstance(args.body, str) else urlencode(args.body, doseq=True).encode()
    if args.body_format == "form-multipart":
        headers["Content-Type"], data = multipart(args.body, lambda name: ctx.find("files", name))
        return data
    if isinstance(args.body, dict | list):
        return json_format.dumps(args.body).encode()
    return str(args.body).encode()


def _values(args: Arguments, ctx: Context, answer: dict[str, Any]) -> Steps:
    headers = {name.replace("-", "_"): value for name, value in answer.get("headers", {}).items()}
    values: dict[str, Any] = {
        **headers,
        "url": answer["url"],
        "status": answer["status"],
        "elapsed": int(answer["elapsed"]),
        "redirected": answer["url"] != args.url,
        "changed": False,
    }
    if answer["status"] == -1:
        raise TaskFailed(
            f"Status code was -1 and not {args.status_code}: Request failed: {answer['error']}", **values
        )
    wrong = answer["status"] >= 400 or answer["status"] == 304
    if not wrong:
        values |= {"cookies": answer["cookies"], "cookies_string": answer["cookies_string"]}
    if "location" in values:
        values["location"] = urljoin(args.url, values["location"])
    content = base64.b64decode(answer["body"])
    kind, _, parameters = str(headers.get("content_type", "application/octet-stream")).partition(";")
    charset = re.search(r"charset=[\"']?([\w.:-]+)", parameters)
    try:
        text = content.decode(charset[1] if charset else "utf-8", "replace")
    except LookupError:
        text = content.decode("utf-8", "replace")
    if re.split(r"[/+]", kind.strip().lower())[-1] in ("json", "javascript"):
        try:
            values["json"] = json_format.loads(text)
        except ValueError:
            pass
    if args.return_content:
        values["content"] = text
    elif wrong and answer["status"] in args.status_code and "json" not in values:
        values["body"] = text
    if answer["status"] not in args.status_code:
        raise TaskFailed(
            f"Status code was {answer['status']} and not {args.status_code}: {answer['reason']}", **values
        )
    cut = ", cut off" if answer["cut"] else ""
    values["msg"] = f"OK ({headers.get('content_length', 'unknown')} bytes{cut})"
    if args.dest is not None:
        return (yield from _kept(args, ctx, values, content))
    return values


def _kept(args: Arguments, ctx: Context, values: dict[str, Any], content: bytes) -> Steps:
    """Put the answer where `dest` says."""
    path = on_node(ctx, args.dest or "")
    stat = ctx.node.stat(path, follow=True, checksum=True)
    if stat is not None and stat.type == "directory":
        path = f"{path.rstrip('/')}/{urlsplit(values['url']).path.rpartition('/')[2] or 'index.html'}"
        stat = ctx.node.stat(path, follow=True, checksum=True)
    yield from place(ctx, path, Content.of(content), args.wanted(), stat=stat)
    del values["changed"]
    kept = {} if ctx.check else properties(ctx.node.stat(path, follow=True))
    return {**values, **kept, "path": path, "changed": True}
