"""HTTP from a node: one request, or a download into a file. Bodies travel as base64."""

from __future__ import annotations

import base64
import hashlib
import http.cookiejar
import os
import shutil
import ssl
import time
import urllib.error
import urllib.request
from typing import IO, Any, Dict, Mapping, Optional

Answer = Dict[str, Any]


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_: Any) -> None:
        return None


class _AnyRedirect(urllib.request.HTTPRedirectHandler):
    """Follows redirects of every method, and of 307 and 308 with the method and body kept."""

    def redirect_request(
        self, req: urllib.request.Request, _fp: Any, code: int, _msg: str, _headers: Any, newurl: str
    ) -> urllib.request.Request:
        keep = code in (307, 308)
        return urllib.request.Request(
            newurl.replace(" ", "%20"),
            data=req.data if keep else None,
            headers={k: v for k, v in req.header_items() if keep or k.lower() != "content-length"},
            origin_req_host=req.origin_req_host,
            unverifiable=True,
            method=req.get_method() if keep or req.get_method() == "HEAD" else "GET",
        )

    http_error_308 = urllib.request.HTTPRedirectHandler.http_error_302


def _opener(follow: str, verify: bool, use_proxy: bool) -> urllib.request.OpenerDirector:
    handlers: list[urllib.request.BaseHandler] = [
        urllib.request.HTTPCookieProcessor(http.cookiejar.CookieJar())
    ]
    if follow == "none":
        handlers.append(_NoRedirect())
    elif follow == "all":
        handlers.append(_AnyRedirect())
    if not verify:
        context = ssl.create_default_context()
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        handlers.append(urllib.request.HTTPSHandler(context=context))
    if not use_proxy:
        handlers.append(urllib.request.ProxyHandler({}))
    return urllib.request.build_opener(*handlers)


def request(  # noqa: PLR0917
    url: str,
    method: str = "GET",
    headers: Optional[Mapping[str, str]] = None,
    body: Optional[str] = None,
    timeout: float = 30.0,
    follow: str = "safe",
    verify: bool = True,
    use_proxy: bool = True,
    limit: int = 64 << 20,
) -> Answer:
    """{"status", "reason", "url", "headers", "body", "elapsed"}; status -1 and "error" when nothing answered.
    Header names are lower case with '_' for '-'; more than `limit` bytes are cut off ("cut")."""
    begun = time.monotonic()
    data = base64.b64decode(body) if body is not None else None
    asked = urllib.request.Request(url, data=data, headers=dict(headers or {}), method=method)
    try:
        answer = _opener(follow, verify, use_proxy).open(asked, timeout=timeout)
    except urllib.error.HTTPError as error:
        answer = error
    except (OSError, ValueError) as error:
        reason = getattr(error, "reason", None) or error
        return {"status": -1, "error": str(reason), "url": url, "elapsed": time.monotonic() - begun}
    with answer:
        try:
            content = answer.read(limit + 1)
        except OSError as error:
            return {"status": -1, "error": str(error), "url": url, "elapsed": time.monotonic() - begun}
        return {
            "status": answer.getcode(),
            "reason": answer.reason,
            "url": answer.geturl(),
            "headers": {name.lower().replace("-", "_"): value for name, value in answer.headers.items()},
            "body": base64.b64encode(content[:limit]).decode(),
            "cut": len(content) > limit,
            "elapsed": time.monotonic() - begun,
        }


def download(  # noqa: PLR0917
    url: str,
    path: str,
    headers: Optional[Mapping[str, str]] = None,
    checksum: Optional[str] = None,
    timeout: float = 30.0,
    verify: bool = True,
    use_proxy: bool = True,
    mode: int = 0o644,
) -> Answer:
    """Fetch into a file, atomically: {"status", "reason", "size", "checksum", "changed"} or {"error"}.
    `checksum` is "<algorithm>:<hex digest>"; a file that fails it is not put in place."""
    asked = urllib.request.Request(url, headers=dict(headers or {}))
    algorithm, _, wanted = (checksum or "sha256:").partition(":")
    folder, name = os.path.split(path)
    temporary = os.path.join(folder, ".%s.labctl-%d-%d" % (name[:200], os.getpid(), time.monotonic_ns()))
    fd = os.open(temporary, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        with os.fdopen(fd, "w+b") as sink:
            try:
                with _opener("safe", verify, use_proxy).open(asked, timeout=timeout) as answer:
                    shutil.copyfileobj(answer, sink, 1 << 20)
                    status, reason = answer.getcode(), answer.reason
            except urllib.error.HTTPError as error:
                return {"error": "HTTP %d %s" % (error.code, error.reason), "status": error.code}
            except urllib.error.URLError as error:
                return {"error": str(error.reason), "status": -1}
            sink.flush()
            digest = _digest(sink, algorithm)
            if wanted and digest != wanted.lower():
                return {
                    "error": "its %s checksum is %s, expected %s" % (algorithm, digest, wanted),
                    "status": status,
                }
            size = os.fstat(sink.fileno()).st_size
            changed = not os.path.exists(path) or _digest_of(path, algorithm) != digest
            if changed:
                os.fchmod(sink.fileno(), mode)
                os.fsync(sink.fileno())
                os.rename(temporary, path)
        return {"status": status, "reason": reason, "size": size, "checksum": digest, "changed": changed}
    finally:
        try:
            os.unlink(temporary)
        except FileNotFoundError:
            pass


def _digest(stream: IO[bytes], algorithm: str) -> str:
    stream.seek(0)
    digest = hashlib.new(algorithm)
    for block in iter(lambda: stream.read(1 << 20), b""):
        digest.update(block)
    return digest.hexdigest()


def _digest_of(path: str, algorithm: str) -> str:
    with open(path, "rb") as stream:
        return _digest(stream, algorithm)


def digest(path: str, algorithm: str) -> Optional[str]:
    """The checksum of a file, or None when it is not there."""
    return _digest_of(path, algorithm) if os.path.isfile(path) else None
