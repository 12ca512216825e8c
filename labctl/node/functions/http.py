"""HTTP from a node: one request, or a download into a file. Bodies travel as base64.

`options` of both: {"headers", "unredirected" (names of headers), "timeout", "follow", "verify", "use_proxy", "agent",
"username", "password", "basic" (send them unasked), "netrc", "ca_path", "client_cert", "client_key", "ciphers",
"decompress", "unix_socket"}; all may be left out."""

from __future__ import annotations

import base64
import gzip
import hashlib
import http.client
import http.cookiejar
import os
import shutil
import socket
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
            headers={k: v for k, v in req.headers.items() if keep or k.lower() != "content-length"},
            origin_req_host=req.origin_req_host,
            unverifiable=True,
            method=req.get_method() if keep or req.get_method() == "HEAD" else "GET",
        )

    http_error_308 = urllib.request.HTTPRedirectHandler.http_error_302


class _SafeRedirect(_AnyRedirect):
    """Only GET and HEAD are followed."""

    def redirect_request(  # noqa: PLR0917
        self, req: urllib.request.Request, fp: Any, code: int, msg: str, headers: Any, newurl: str
    ) -> Any:
        if req.get_method() not in ("GET", "HEAD"):
            return None
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def _unix_handler(path: str) -> urllib.request.HTTPHandler:
    class Connection(http.client.HTTPConnection):
        def connect(self) -> None:
            self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            self.sock.settimeout(self.timeout)
            self.sock.connect(path)

    class Handler(urllib.request.HTTPHandler):
        def http_open(self, req: urllib.request.Request) -> http.client.HTTPResponse:
            return self.do_open(Connection, req)

    return Handler()


def _opener(options: Mapping[str, Any], url: str) -> urllib.request.OpenerDirector:
    jar = http.cookiejar.CookieJar()
    handlers: list[urllib.request.BaseHandler] = [urllib.request.HTTPCookieProcessor(jar)]
    follow = str(options.get("follow") or "safe").lower()
    redirects = {"none": _NoRedirect, "no": _NoRedirect, "all": _AnyRedirect, "yes": _AnyRedirect}
    handlers.append(redirects.get(follow, _SafeRedirect)())
    context = ssl.create_default_context(cafile=options.get("ca_path"))
    if not options.get("verify", True):
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    if options.get("client_cert"):
        context.load_cert_chain(options["client_cert"], options.get("client_key"))
    if options.get("ciphers"):
        context.set_ciphers(":".join(options["ciphers"]))
    handlers.append(urllib.request.HTTPSHandler(context=context))
    if not options.get("use_proxy", True):
        handlers.append(urllib.request.ProxyHandler({}))
    if options.get("unix_socket"):
        handlers.append(_unix_handler(options["unix_socket"]))
    if options.get("username") is not None and not options.get("basic"):
        passwords = urllib.request.HTTPPasswordMgrWithDefaultRealm()
        passwords.add_password(None, url, options["username"], options.get("password") or "")
        handlers.append(urllib.request.HTTPBasicAuthHandler(passwords))
        handlers.append(urllib.request.HTTPDigestAuthHandler(passwords))
    opener = urllib.request.build_opener(*handlers)
    opener.jar = jar  # type: ignore[attr-defined]
    return opener


def _asked(
    url: str, method: str, data: Optional[bytes], options: Mapping[str, Any]
) -> urllib.request.Request:
    asked = urllib.request.Request(url, data=data, method=method)
    asked.add_unredirected_header("User-agent", options.get("agent") or "ansible-httpget")
    if options.get("decompress", True):
        asked.add_header("Accept-encoding", "gzip")
    unredirected = {name.lower() for name in options.get("unredirected") or ()}
    for name, value in (options.get("headers") or {}).items():
        if name.lower() in unredirected:
            asked.add_unredirected_header(name, value)
        else:
            asked.add_header(name, value)
    if options.get("username") is not None and options.get("basic"):
        pair = "%s:%s" % (options["username"], options.get("password") or "")
        asked.add_header("Authorization", "Basic " + base64.b64encode(pair.encode()).decode())
    elif (
        options.get("username") is None
        and options.get("netrc", True)
        and not asked.has_header("Authorization")
    ):
        _from_netrc(asked)
    return asked


def _from_netrc(asked: urllib.request.Request) -> None:
    import netrc

    try:
        found = netrc.netrc(os.environ.get("NETRC")).authenticators(asked.host.partition(":")[0])
    except (OSError, netrc.NetrcParseError):
        return
    if found:
        pair = "%s:%s" % (found[0], found[2])
        asked.add_header("Authorization", "Basic " + base64.b64encode(pair.encode()).decode())


def _headers(answer: Any) -> Dict[str, str]:
    """The answer's headers, in lower case; several of one name are joined."""
    found: Dict[str, str] = {}
    for name, value in answer.headers.items():
        key = name.lower()
        found[key] = found[key] + ", " + value if key in found else value
    return found


def request(
    url: str, method: str = "GET", body: Optional[str] = None, limit: int = 64 << 20, **options: Any
) -> Answer:
    """{"status", "reason", "url", "headers", "cookies", "body", "elapsed"}; status -1 and "error" when nothing
    answered. Header names are lower case; more than `limit` bytes are cut off ("cut"). With options["source"]
    the body is that file of the node."""
    begun = time.monotonic()
    data = base64.b64decode(body) if body is not None else None
    if options.get("source"):
        with open(options["source"], "rb") as stream:
            data = stream.read()
    asked = _asked(url, method, data, options)
    if options.get("newer_than") is not None:
        asked.add_header("If-modified-since", _date(options["newer_than"]))
    try:
        opener = _opener(options, url)
        answer = opener.open(asked, timeout=options.get("timeout", 30.0))
    except urllib.error.HTTPError as error:
        answer = error
    except (OSError, ValueError, http.client.HTTPException) as error:
        reason = getattr(error, "reason", None) or error
        return {"status": -1, "error": str(reason), "url": url, "elapsed": time.monotonic() - begun}
    with answer:
        headers = _headers(answer)
        try:
            content = answer.read(limit + 1)
            if headers.get("content-encoding") == "gzip" and options.get("decompress", True):
                content = gzip.decompress(content)
        except (OSError, EOFError, http.client.HTTPException) as error:
            return {"status": -1, "error": str(error), "url": url, "elapsed": time.monotonic() - begun}
        cookies = [(cookie.name, cookie.value) for cookie in opener.jar]  # type: ignore[attr-defined]
        return {
            "status": answer.getcode(),
            "reason": getattr(answer, "reason", None),
            "url": answer.geturl(),
            "headers": headers,
            "cookies": dict(cookies),
            "cookies_string": "; ".join("%s=%s" % pair for pair in cookies),
            "body": base64.b64encode(content[:limit]).decode(),
            "cut": len(content) > limit,
            "elapsed": time.monotonic() - begun,
        }


def download(  # noqa: PLR0917
    url: str,
    path: str,
    checksum: Optional[str] = None,
    mode: Optional[int] = None,
    backup: bool = False,
    folder: Optional[str] = None,
    newer_than: Optional[float] = None,
    **options: Any,
) -> Answer:
    """Fetch into a file, atomically: {"status", "reason", "url", "path", "size", "checksum" (sha1), "changed",
    "backup_file"} or {"error", "status"}. `checksum` is "<algorithm>:<hex digest>"; a file that fails it is not put
    in place. A `path` that is a directory gets a file of the server's or the address's name. `newer_than`: the
    server need not send what is not newer (status 304)."""
    asked = _asked(url, "GET", None, options)
    if newer_than is not None:
        asked.add_header("If-modified-since", _date(newer_than))
    place = folder or (path if os.path.isdir(path) else os.path.dirname(path)) or "."
    temporary = os.path.join(place, ".labctl-%d-%d" % (os.getpid(), time.monotonic_ns()))
    fd = os.open(temporary, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        with os.fdopen(fd, "w+b") as sink:
            try:
                with _opener(options, url).open(asked, timeout=options.get("timeout", 30.0)) as answer:
                    headers = _headers(answer)
                    packed = headers.get("content-encoding") == "gzip" and options.get("decompress", True)
                    shutil.copyfileobj(gzip.GzipFile(fileobj=answer) if packed else answer, sink, 1 << 20)
                    # a file: address has neither a status nor a reason
                    status, reason = answer.getcode(), getattr(answer, "reason", None)
                    final = answer.geturl()
            except urllib.error.HTTPError as error:
                if error.code == 304:
                    return {"status": 304, "reason": "HTTP Error 304: Not Modified", "changed": False}
                return {
                    "error": "HTTP Error %d: %s" % (error.code, error.reason),
                    "status": error.code,
                    "reason": error.reason,
                }
            except (OSError, EOFError, ValueError, http.client.HTTPException) as error:
                return {"error": str(getattr(error, "reason", None) or error), "status": -1}
            sink.flush()
            size = os.fstat(sink.fileno()).st_size
            expected = headers.get("content-length", "")
            if expected.isdigit() and not packed and int(expected) != size:
                return {"error": "only %d of %s bytes came" % (size, expected), "status": status}
            algorithm, _, wanted = (checksum or "sha1:").partition(":")
            digest = _digest(sink, algorithm)
            if wanted and digest != wanted.lower():
                return {
                    "error": "The checksum did not match: %s is %s, expected %s"
                    % (algorithm, digest, wanted),
                    "status": status,
                    "checksum": _digest(sink, "sha1"),
                }
            sha1 = digest if algorithm == "sha1" else _digest(sink, "sha1")
            if os.path.isdir(path):
                path = os.path.join(path, _name(headers, final))
            old = _digest_of(path, "sha1") if os.path.exists(path) else None
            kept = None
            if old != sha1:
                os.fchmod(sink.fileno(), _mode(path) if mode is None else mode)
                os.fsync(sink.fileno())
                if backup and old is not None:
                    kept = "%s.%d.%s~" % (path, os.getpid(), time.strftime("%Y-%m-%d@%H:%M:%S"))
                    shutil.copy2(path, kept)
                shutil.move(temporary, os.path.realpath(path))
        return {
            "status": status,
            "reason": reason,
            "url": final,
            "path": path,
            "size": size,
            "checksum": sha1,
            "old": old,
            "md5sum": _digest_of(path, "md5"),
            "changed": old != sha1,
            "backup_file": kept,
            "said": "OK (%s bytes)" % headers.get("content-length", "unknown"),
        }
    finally:
        try:
            os.unlink(temporary)
        except FileNotFoundError:
            pass


def _date(seconds: float) -> str:
    return time.strftime("%a, %d %b %Y %H:%M:%S GMT", time.gmtime(seconds))


def _mode(path: str) -> int:
    try:
        return os.stat(path).st_mode & 0o7777
    except OSError:
        pass
    with open("/proc/self/status") as stream:
        for line in stream:
            if line.startswith("Umask:"):
                return 0o666 & ~int(line.split()[1], 8)
    return 0o644


def _name(headers: Mapping[str, str], url: str) -> str:
    import email.message
    from urllib.parse import urlsplit

    message = email.message.Message()
    message["content-disposition"] = headers.get("content-disposition", "")
    given = message.get_param("filename", header="content-disposition")
    return os.path.basename(str(given)) if given else os.path.basename(urlsplit(url).path) or "index.html"


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
