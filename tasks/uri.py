"""Send one HTTP request from the host.

A GET or HEAD is sent in a dry run as well; what another method does is unknown there. A status that is not in
`status_code` is a failure. Returns status, url, content (with `return_content`, or on failure), json, elapsed,
and the answer's headers by name (content_type, content_length …).
"""

import base64
import json as json_format
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

from labctl.errors import TaskFailed
from labctl.task_types import Args, Change, Context, Steps, arg


@dataclass(kw_only=True)
class Arguments(Args):
    url: str = arg(doc="http:// or https:// address, as the host sees it.")
    method: str = arg("GET", doc="The HTTP method.")
    body: Any = arg(None, doc="What to send.")
    body_format: str = arg("raw", doc="How `body` is written.", choices=("raw", "json", "form-urlencoded"))
    headers: dict[str, Any] = arg({}, doc="Headers to send.")
    status_code: list[int] = arg([200], doc="The statuses that mean success.")
    return_content: bool = arg(False, doc="Return the answer's body as `content`.")
    timeout: float = arg(30.0, doc="Seconds the server may take.")
    follow_redirects: str = arg("safe", doc="Which redirects to follow.", choices=("safe", "all", "none"))
    validate_certs: bool = arg(True, doc="Check the server's certificate.")
    use_proxy: bool = arg(True, doc="Use the proxy of the host's environment.")
    url_username: str | None = arg(None, doc="User for basic authentication.", aliases=("user",))
    url_password: str | None = arg(None, doc="Its password.", aliases=("password",), secret=True)
    creates: str | None = arg(None, doc="A path or glob; when it exists nothing is sent.")
    removes: str | None = arg(None, doc="A path or glob; when it does not exist nothing is sent.")


def run(args: Arguments, ctx: Context) -> Steps:
    for glob, there in ((args.creates, True), (args.removes, False)):
        if glob and bool(ctx.node.call("files", "matches", pattern=glob)) is there:
            return {
                "msg": f"not sent, since {glob} {'exists' if there else 'does not exist'}",
                "changed": False,
            }
    method = args.method.upper()
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
    return _values(args, answer)


def _send(args: Arguments, ctx: Context, method: str) -> dict[str, Any]:
    headers = {name: str(value) for name, value in args.headers.items()}
    body = _body(args, headers)
    if args.url_username is not None:
        pair = f"{args.url_username}:{args.url_password or ''}".encode()
        headers.setdefault("Authorization", f"Basic {base64.b64encode(pair).decode()}")
    answer: dict[str, Any] = ctx.node.call(
        "http",
        "request",
        url=args.url,
        method=method,
        headers=headers,
        body=None if body is None else base64.b64encode(body).decode(),
        timeout=args.timeout,
        follow=args.follow_redirects,
        verify=args.validate_certs,
        use_proxy=args.use_proxy,
    )
    return answer


def _body(args: Arguments, headers: dict[str, str]) -> bytes | None:
    if args.body is None:
        return None
    given = {name.lower() for name in headers}
    if args.body_format == "json" or (args.body_format == "raw" and isinstance(args.body, dict | list)):
        if "content-type" not in given:
            headers["Content-Type"] = "application/json"
        ready = isinstance(args.body, str) and args.body_format == "json"
        return args.body.encode() if ready else json_format.dumps(args.body).encode()
    if args.body_format == "form-urlencoded":
        if "content-type" not in given:
            headers["Content-Type"] = "application/x-www-form-urlencoded"
        return args.body.encode() if isinstance(args.body, str) else urlencode(args.body, doseq=True).encode()
    return str(args.body).encode()


def _values(args: Arguments, answer: dict[str, Any]) -> dict[str, Any]:
    content = base64.b64decode(answer.get("body") or "")
    values: dict[str, Any] = {
        **answer.get("headers", {}),
        "url": answer["url"],
        "status": answer["status"],
        "elapsed": round(answer["elapsed"], 3),
        "redirected": answer["url"] != args.url,
        "changed": False,
    }
    failed = answer["status"] not in args.status_code
    if args.return_content or failed:
        values["content"] = content.decode(errors="replace")
    if "json" in str(values.get("content_type", "")):
        try:
            values["json"] = json_format.loads(content)
        except ValueError:
            pass
    if answer["status"] == -1:
        raise TaskFailed(f"{args.url}: {answer['error']}", **values)
    if failed:
        expected = " or ".join(map(str, args.status_code))
        raise TaskFailed(
            f"{args.url}: status {answer['status']} {answer['reason']}, not {expected}", **values
        )
    cut = ", cut off" if answer["cut"] else ""
    return {**values, "msg": f"{answer['reason']} ({len(content)} bytes{cut})"}
