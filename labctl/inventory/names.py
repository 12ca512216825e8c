"""Host names as inventories write them: ranges (`web[01:20]`, `db-[a:c]`) and ports (`web1:2222`)."""

from __future__ import annotations

import re
import string

from labctl.errors import InventoryError, Mark

_RANGE = re.compile(r"\[([^\[\]]*)\]")
_BRACKETED_ADDRESS = re.compile(
    r"^\[(?P<host>[0-9A-Fa-f:.]*:[0-9A-Fa-f:.]*:[0-9A-Fa-f:.]*)\](?::(?P<port>\d+))?$"
)
_NOT_A_NAME = re.compile(r"[\s,{}'\"]")


def expand(text: str, mark: Mark | None = None) -> tuple[list[str], int | None]:
    """The host names a pattern stands for, and the port it names. Ranges count to their end, inclusive."""
    text = str(text)
    name, port = split_port(text)
    if not name or name.endswith(":"):
        raise InventoryError(
            f"'{text}' is not a host name",
            mark=mark,
            hint="in an INI inventory a group is written [name]; an inventory in YAML is a .yml file",
        )
    if bad := _NOT_A_NAME.search(name):
        raise InventoryError(f"a host name cannot hold {bad.group()!r}: {text!r}", mark=mark)
    if ":" in name and "[" not in name:
        return [name], port
    return _expand(name, mark), port


def split_port(text: str) -> tuple[str, int | None]:
    """Take `:port` off a name; colons inside brackets and in IPv6 addresses are not one."""
    if address := _BRACKETED_ADDRESS.match(text):
        return address["host"], int(address["port"]) if address["port"] else None
    flat = _RANGE.sub(lambda m: "_" * len(m.group()), text)
    head, colon, tail = flat.rpartition(":")
    if colon and ":" not in head and tail.isdigit():
        return text[: len(head)], int(tail)
    return text, None


def _expand(name: str, mark: Mark | None) -> list[str]:
    found = _RANGE.search(name)
    if found is None:
        if "[" in name or "]" in name:
            raise InventoryError(f"unbalanced bracket in '{name}'", mark=mark)
        return [name]
    head, tail = name[: found.start()], _expand(name[found.end() :], mark)
    return [f"{head}{value}{rest}" for value in _range(found.group(1), mark) for rest in tail]


def _range(text: str, mark: Mark | None) -> list[str]:
    parts = text.split(":")
    if len(parts) not in (2, 3) or not parts[1]:
        raise InventoryError(
            f"'[{text}]' is not a range", mark=mark, hint="a range is [first:last] or [first:last:step]"
        )
    first, last = parts[0] or "0", parts[1]
    step = parts[2] if len(parts) == 3 else "1"
    if not step.isdigit() or int(step) == 0:
        raise InventoryError(f"the step of '[{text}]' must be a positive integer", mark=mark)
    if first.isdigit() and last.isdigit():
        width = len(first) if first.startswith("0") and len(first) > 1 else 0
        if width and len(last) != width:
            raise InventoryError(f"both ends of '[{text}]' must have the same number of digits", mark=mark)
        found = [str(n).zfill(width) for n in range(int(first), int(last) + 1, int(step))]
    elif len(first) == len(last) == 1 and first in string.ascii_letters and last in string.ascii_letters:
        letters = string.ascii_letters
        found = list(letters[letters.index(first) : letters.index(last) + 1 : int(step)])
    else:
        raise InventoryError(f"'[{text}]' must run between two numbers or two letters", mark=mark)
    if not found:
        raise InventoryError(f"the range '[{text}]' is empty", mark=mark)
    return found
