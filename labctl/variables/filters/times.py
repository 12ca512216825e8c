"""Filters over dates, and `now()`."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from labctl.errors import VariableError


def to_datetime(text: str, format: str = "%Y-%m-%d %H:%M:%S") -> datetime:
    try:
        return datetime.strptime(text, format)
    except ValueError as error:
        raise VariableError(f"to_datetime: {error}") from None


def strftime(string_format: str, second: Any = None, utc: bool = False) -> str:
    try:
        moment = None if second is None else float(second)
    except (TypeError, ValueError):
        raise VariableError(f"strftime: '{second}' is not a number of seconds") from None
    return time.strftime(string_format, (time.gmtime if utc else time.localtime)(moment))


def now(utc: bool = False, fmt: str | None = None) -> Any:
    """The function `now()`."""
    moment = datetime.now(UTC).replace(tzinfo=None) if utc else datetime.now()
    return moment.strftime(fmt) if fmt else moment


FILTERS: dict[str, Callable[..., Any]] = {"to_datetime": to_datetime, "strftime": strftime}
