"""Filters between values and texts: JSON, YAML, base64, hashes, UUIDs."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Callable
from datetime import date
from datetime import time as clock
from typing import Any

import yaml

from labctl.errors import VariableError
from labctl.variables.lazy import plain

_Dumper: Any = getattr(yaml, "CSafeDumper", yaml.SafeDumper)
_Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)

# The name space of Ansible's to_uuid, so that both give the same identifiers.
_NAMESPACE = "361e6d51-faec-444a-9079-341386da8e2e"


# Options of Ansible's to_json that no longer choose anything.
_PROFILES = ("profile", "vault_to_text", "preprocess_unsafe")


def to_json(value: Any, **options: Any) -> str:
    known = {name: option for name, option in options.items() if name not in _PROFILES}
    return json.dumps(plain(value), **{"default": _json_value, **known})


def _json_value(value: Any) -> str:
    return value.isoformat() if isinstance(value, date | clock) else str(value)


def to_nice_json(value: Any, indent: int = 4, sort_keys: bool = True, **options: Any) -> str:
    options.pop("separators", None)
    return to_json(value, indent=indent, sort_keys=sort_keys, separators=(",", ": "), **options)


def from_json(text: Any) -> Any:
    try:
        return json.loads(text)
    except ValueError as error:
        raise VariableError(f"from_json: not valid JSON: {error}") from None


def to_yaml(value: Any, *_: Any, default_flow_style: bool | None = None, **options: Any) -> str:
    for name in ("vault_to_text", "redact_sensitive_values", "dump_vault_tags"):
        options.pop(name, None)
    return str(
        yaml.dump(
            plain(value),
            Dumper=_Dumper,
            allow_unicode=True,
            default_flow_style=default_flow_style,
            **options,
        )
    )


def to_nice_yaml(
    value: Any, indent: int = 4, *_: Any, default_flow_style: bool = False, **options: Any
) -> str:
    return to_yaml(value, indent=indent, default_flow_style=default_flow_style, **options)


def from_yaml(text: Any) -> Any:
    if not isinstance(text, str):
        return text
    documents = from_yaml_all(text)
    if len(documents) > 1:
        raise VariableError("from_yaml: the text holds more than one document", hint="from_yaml_all")
    return documents[0] if documents else None


def from_yaml_all(text: Any) -> Any:
    if not isinstance(text, str):
        return [] if text is None else text
    try:
        return list(yaml.load_all(text, Loader=_Loader))
    except yaml.YAMLError as error:
        raise VariableError(f"from_yaml: not valid YAML: {error}") from None


def b64encode(text: Any, encoding: str = "utf-8", urlsafe: bool = False) -> str:
    data = text if isinstance(text, bytes) else str(text).encode(encoding)
    return (base64.urlsafe_b64encode if urlsafe else base64.b64encode)(data).decode()


def b64decode(text: str, encoding: str = "utf-8", urlsafe: bool = False) -> str:
    try:
        return (base64.urlsafe_b64decode if urlsafe else base64.b64decode)(text).decode(encoding)
    except ValueError as error:
        raise VariableError(f"b64decode: {error}") from None


def hash_text(text: Any, hashtype: str = "sha1") -> str:
    data = text if isinstance(text, bytes) else str(text).encode()
    try:
        return hashlib.new(hashtype, data, usedforsecurity=False).hexdigest()
    except ValueError:
        raise VariableError(f"hash: there is no hash '{hashtype}'") from None


def sha1(text: Any) -> str:
    return hash_text(text, "sha1")


def md5(text: Any) -> str:
    return hash_text(text, "md5")


def to_uuid(text: Any, namespace: Any = _NAMESPACE) -> str:
    import uuid

    try:
        space = uuid.UUID(str(namespace))
    except ValueError:
        raise VariableError(f"to_uuid: '{namespace}' is no name space: it must be a UUID") from None
    return str(uuid.uuid5(space, str(text)))


FILTERS: dict[str, Callable[..., Any]] = {
    "to_json": to_json,
    "to_nice_json": to_nice_json,
    "from_json": from_json,
    "to_yaml": to_yaml,
    "to_nice_yaml": to_nice_yaml,
    "from_yaml": from_yaml,
    "from_yaml_all": from_yaml_all,
    "b64encode": b64encode,
    "b64decode": b64decode,
    "hash": hash_text,
    "sha1": sha1,
    "checksum": sha1,
    "md5": md5,
    "to_uuid": to_uuid,
}
