"""Flags (chattr) and SELinux contexts of files, by the kernel's own calls."""

from __future__ import annotations

import errno
import fcntl
import os
import stat as st
import struct
from typing import Any, Dict, List, Optional

_GET_FLAGS, _SET_FLAGS, _GET_VERSION = 0x80086601, 0x40086602, 0x80087601
_BITS = {  # in the order lsattr(1) prints them
    "s": 0x1,
    "u": 0x2,
    "S": 0x8,
    "D": 0x10000,
    "i": 0x10,
    "a": 0x20,
    "d": 0x40,
    "A": 0x80,
    "c": 0x4,
    "B": 0x200,
    "Z": 0x100,
    "E": 0x800,
    "j": 0x4000,
    "I": 0x1000,
    "t": 0x8000,
    "T": 0x20000,
    "e": 0x80000,
    "C": 0x800000,
    "x": 0x2000000,
    "F": 0x40000000,
    "N": 0x10000000,
    "P": 0x20000000,
    "V": 0x100000,
    "m": 0x400,
}
_NAMES = {
    "A": "noatime",
    "a": "append",
    "c": "compressed",
    "C": "nocow",
    "d": "nodump",
    "D": "dirsync",
    "e": "extents",
    "E": "encrypted",
    "i": "immutable",
    "I": "indexed",
    "j": "journalled",
    "N": "inline",
    "s": "zero",
    "S": "synchronous",
    "t": "notail",
    "T": "blockroot",
    "u": "undelete",
    "Z": "compresseddirty",
}


def _ask(path: str, request: int) -> Optional[int]:
    try:
        info = os.lstat(path)
        if not (st.S_ISREG(info.st_mode) or st.S_ISDIR(info.st_mode)):
            return None
        fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW)
    except OSError:
        return None
    try:
        answer = fcntl.ioctl(fd, request, struct.pack("l", 0))
    except OSError:  # a file system without flags
        return None
    finally:
        os.close(fd)
    return int(struct.unpack("i", answer[:4])[0]) & 0xFFFFFFFF


def letters(path: str) -> Optional[str]:
    """The flags of a file as lsattr(1) prints them, without the dashes; None: it can have none."""
    flags = _ask(path, _GET_FLAGS)
    return None if flags is None else "".join(letter for letter, bit in _BITS.items() if flags & bit)


def version(path: str) -> Optional[str]:
    """The file's generation number, as a text."""
    number = _ask(path, _GET_VERSION)
    return None if number is None else str(number)


def names(text: str) -> List[str]:
    """The flags' long names."""
    return [_NAMES[letter] for letter in text if letter in _NAMES]


def wanted(current: str, flags: str) -> str:
    """What `flags` ('+i', '-a', '=di', 'di') makes of `current`."""
    sign, asked = (flags[0], flags[1:]) if flags[:1] in ("+", "-", "=") else ("=", flags)
    unknown = [letter for letter in asked if letter not in _BITS]
    if unknown:
        raise OSError(errno.EINVAL, "'%s' is not a file attribute" % unknown[0])
    if sign == "+":
        result = set(current) | set(asked)
    elif sign == "-":
        result = set(current) - set(asked)
    else:  # what chattr cannot change stays
        result = set(asked) | (set(current) & set("eIEVNBZ"))
    return "".join(letter for letter in _BITS if letter in result)


def look(path: str, flags: Optional[str] = None, context: bool = False) -> Dict[str, Any]:
    """{"flags": [now, wanted] or None when nothing differs, "selinux": whether it is on}."""
    answer: Dict[str, Any] = {"flags": None, "selinux": context and os.path.exists("/sys/fs/selinux/enforce")}
    if flags is not None:
        now = letters(path)
        if now is None:
            if flags.lstrip("+-="):
                raise OSError(errno.ENOTSUP, "its file system has no attributes (chattr)", path)
            return answer
        after = wanted(now, flags)
        if set(after) != set(now):
            answer["flags"] = [now, after]
    return answer


def apply(path: str, flags: str) -> None:
    """Give the file exactly these flags."""
    value = 0
    for letter in flags:
        value |= _BITS[letter]
    fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW)
    try:
        fcntl.ioctl(fd, _SET_FLAGS, struct.pack("l", value))
    except OSError as error:
        raise OSError(
            error.errno, "attributes '%s' are not possible: %s" % (flags, error.strerror), path
        ) from None
    finally:
        os.close(fd)
