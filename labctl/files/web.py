"""The arguments of task types that speak HTTP from the host."""

from __future__ import annotations

from typing import Any

from labctl.errors import TaskFailed
from labctl.files.arguments import FileArgs
from labctl.records import dataclass
from labctl.task_types import arg


@dataclass(kw_only=True)
class WebArgs(FileArgs):
    """An address and how it is asked."""

    url: str = arg(doc="http:// or https:// address, as the host sees it.")
    force: bool = arg(False, doc="Ask for the content even if it is not newer.")
    http_agent: str = arg("ansible-httpget", doc="The User-Agent.")
    use_proxy: bool = arg(True, doc="Use the proxy of the host's environment.")
    validate_certs: bool = arg(True, doc="Check the server's certificate.")
    url_username: str | None = arg(None, doc="User for authentication.", aliases=("user", "username"))
    url_password: str | None = arg(None, doc="Its password.", aliases=("password",), secret=True)
    force_basic_auth: bool = arg(False, doc="Send user and password before the server asks for them.")
    client_cert: str | None = arg(None, doc="A certificate to show to the server, a PEM file of the host.")
    client_key: str | None = arg(None, doc="Its key, where the certificate's file does not hold it.")
    ca_path: str | None = arg(None, doc="Certificates of authorities to trust, a PEM file of the host.")
    use_gssapi: bool = arg(False, doc="Kerberos; not possible here.")
    headers: dict[str, Any] = arg({}, doc="Headers to send.")
    unredirected_headers: list[str] = arg([], doc="Headers not sent again after a redirect.")
    decompress: bool = arg(True, doc="Decompress what was sent with gzip.")
    ciphers: list[str] = arg([], doc="TLS ciphers, as OpenSSL names them.")
    use_netrc: bool = arg(True, doc="Take user and password from ~/.netrc of the host.")

    def options(self) -> dict[str, Any]:
        """As the functions of labctl/node/functions/http.py take them."""
        if self.use_gssapi:
            raise TaskFailed("use_gssapi is not possible: the host's Python has no Kerberos")
        return {
            "headers": {name: str(value) for name, value in self.headers.items()},
            "unredirected": self.unredirected_headers,
            "verify": self.validate_certs,
            "use_proxy": self.use_proxy,
            "agent": self.http_agent,
            "username": self.url_username,
            "password": self.url_password,
            "basic": self.force_basic_auth,
            "netrc": self.use_netrc,
            "ca_path": self.ca_path,
            "client_cert": self.client_cert,
            "client_key": self.client_key,
            "ciphers": self.ciphers,
            "decompress": self.decompress,
        }
