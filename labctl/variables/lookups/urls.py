"""`url`: what a web server answers the controller."""

from __future__ import annotations

import base64
import ssl
import urllib.error
import urllib.request
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from labctl.errors import VariableError
from labctl.variables.filters.logic import to_bool

if TYPE_CHECKING:
    from labctl.variables.lookups.values import Lookup
    from labctl.variables.scope import Scope


class _Stay(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_: Any) -> None:
        return None


def url(
    _scope: Scope,
    terms: list[Any],
    *,
    validate_certs: Any = True,
    split_lines: Any = True,
    use_proxy: Any = True,
    username: str | None = None,
    password: str | None = None,
    headers: Mapping[str, Any] | None = None,
    force: Any = False,
    timeout: float = 10,
    http_agent: str = "ansible-httpget",
    force_basic_auth: Any = False,  # noqa: ARG001 - credentials are always sent with the first request
    follow_redirects: str = "urllib2",
    ca_path: str | None = None,
) -> list[Any]:
    """The body of each URL, by lines unless `split_lines` is false."""
    sent = {"User-Agent": http_agent, **{str(name): str(value) for name, value in (headers or {}).items()}}
    if to_bool(force):
        sent["Cache-Control"] = "no-cache"
    if username:
        pair = base64.b64encode(f"{username}:{password or ''}".encode()).decode()
        sent["Authorization"] = f"Basic {pair}"
    opener = _opener(to_bool(validate_certs), to_bool(use_proxy), ca_path, str(follow_redirects))
    found: list[Any] = []
    for term in terms:
        text = _read(opener, str(term), sent, float(timeout))
        found += text.splitlines() if to_bool(split_lines) else [text]
    return found


def _opener(validate: bool, proxy: bool, ca_path: str | None, follow: str) -> urllib.request.OpenerDirector:
    try:
        context = ssl.create_default_context(cafile=ca_path)
    except OSError as error:
        raise VariableError(f"ca_path '{ca_path}': {error.strerror or error}") from None
    if not validate:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    handlers: list[urllib.request.BaseHandler] = [urllib.request.HTTPSHandler(context=context)]
    if not proxy:
        handlers.append(urllib.request.ProxyHandler({}))
    if follow in ("none", "no", "False"):
        handlers.append(_Stay())
    return urllib.request.build_opener(*handlers)


def _read(
    opener: urllib.request.OpenerDirector, address: str, headers: dict[str, str], timeout: float
) -> str:
    shown = _without_password(address)
    if urlsplit(address).scheme not in ("http", "https", "ftp", "file"):
        raise VariableError(f"'{shown}' is not a URL")
    try:
        request = urllib.request.Request(address, headers=headers)  # noqa: S310 - checked above
        with opener.open(request, timeout=timeout) as answer:
            body: bytes = answer.read()
    except urllib.error.HTTPError as error:
        raise VariableError(f"{shown} answered {error.code} {error.reason}") from None
    except (urllib.error.URLError, OSError, ValueError) as error:
        raise VariableError(f"{shown}: {getattr(error, 'reason', None) or error}") from None
    return body.decode(errors="replace")


def _without_password(address: str) -> str:
    secret = urlsplit(address).password
    return address.replace(f":{secret}@", ":********@", 1) if secret else address


LOOKUPS: dict[str, Lookup] = {"url": url}
