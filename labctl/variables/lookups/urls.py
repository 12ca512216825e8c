"""`url`: what a web server answers the controller."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from labctl.errors import VariableError
from labctl.variables.filters.logic import to_bool

if TYPE_CHECKING:
    from urllib.request import OpenerDirector

    from labctl.variables.lookups.values import Lookup
    from labctl.variables.scope import Scope


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


def _opener(validate: bool, proxy: bool, ca_path: str | None, follow: str) -> OpenerDirector:
    import ssl  # it and urllib.request are slow to import, and few playbooks need them
    from urllib import request

    class Stay(request.HTTPRedirectHandler):
        def redirect_request(self, *_: Any) -> None:
            return None

    try:
        context = ssl.create_default_context(cafile=ca_path)
    except OSError as error:
        raise VariableError(f"ca_path '{ca_path}': {error.strerror or error}") from None
    if not validate:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    handlers: list[request.BaseHandler] = [request.HTTPSHandler(context=context)]
    if not proxy:
        handlers.append(request.ProxyHandler({}))
    if follow in ("none", "no", "False"):
        handlers.append(Stay())
    return request.build_opener(*handlers)


def _read(opener: OpenerDirector, address: str, headers: dict[str, str], timeout: float) -> str:
    from urllib.error import HTTPError, URLError
    from urllib.request import Request

    shown = _without_password(address)
    if urlsplit(address).scheme not in ("http", "https", "ftp", "file"):
        raise VariableError(f"'{shown}' is not a URL")
    try:
        request = Request(address, headers=headers)  # noqa: S310 - checked above
        with opener.open(request, timeout=timeout) as answer:
            body: bytes = answer.read()
    except HTTPError as error:
        raise VariableError(f"{shown} answered {error.code} {error.reason}") from None
    except (URLError, OSError, ValueError) as error:
        raise VariableError(f"{shown}: {getattr(error, 'reason', None) or error}") from None
    return body.decode(errors="replace")


def _without_password(address: str) -> str:
    secret = urlsplit(address).password
    return address.replace(f":{secret}@", ":********@", 1) if secret else address


LOOKUPS: dict[str, Lookup] = {"url": url}
