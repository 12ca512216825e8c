"""multipart/form-data bodies, as Ansible's uri writes them."""

from __future__ import annotations

import base64
import mimetypes
import uuid
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from labctl.errors import TaskFailed


def multipart(fields: Any, find: Callable[[str], Path]) -> tuple[str, bytes]:
    """Content type and body. A field is a text, or a mapping of content, filename, mime_type and
    multipart_encoding; a file without content is sought by `find`. TaskFailed for anything else."""
    if not isinstance(fields, Mapping):
        raise TaskFailed("failed to parse body as form-multipart: it is no mapping")
    boundary = uuid.uuid4().hex
    parts: list[bytes] = []
    for name, value in fields.items():
        given = value if isinstance(value, Mapping) else {"content": value}
        filename, content, kind = given.get("filename"), given.get("content"), given.get("mime_type")
        if content is None:
            if not filename:
                raise TaskFailed(f"the form's field '{name}' needs 'content' or 'filename'")
            data = find(str(filename)).read_bytes()
            kind = kind or mimetypes.guess_type(str(filename))[0] or "application/octet-stream"
        elif isinstance(content, str):
            data, kind = content.encode(), kind or "text/plain"
        else:
            raise TaskFailed(f"the form's field '{name}' must be text, not {type(content).__name__}")
        head = f'Content-Disposition: form-data; name="{name}"'
        if filename:
            head += f'; filename="{Path(str(filename)).name}"'
        head += f"\r\nContent-Type: {kind}"
        if filename and given.get("multipart_encoding", "base64") == "base64":
            head += "\r\nContent-Transfer-Encoding: base64"
            data = base64.encodebytes(data)
        parts.append(f"--{boundary}\r\n{head}\r\n\r\n".encode() + data + b"\r\n")
    return f"multipart/form-data; boundary={boundary}", b"".join(parts) + f"--{boundary}--\r\n".encode()
