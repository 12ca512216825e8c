"""JSON for both ends of an agent's pipe, by the C functions that `json` itself calls: importing `json` imports `re`, which costs every
agent 11 ms of CPU (CPython 3.11). Runs on the node: standard library only, Python 3.8 syntax."""

from __future__ import annotations

TYPE_CHECKING = False  # typing itself takes long to import
if TYPE_CHECKING:
    from typing import Any


class _Forms:
    """What the scanner asks its maker for."""

    strict = True
    object_hook = object_pairs_hook = None
    parse_int = int
    parse_float = parse_constant = float  # float() knows NaN, Infinity and -Infinity


def _refuse(value: Any) -> Any:
    raise TypeError("Object of type %s is not JSON serializable" % type(value).__name__)


_forms: Any = _Forms
_pieces: Any = None
_scan: Any = None
try:
    import _json

    _pieces = _json.make_encoder(
        None, _refuse, _json.encode_basestring_ascii, None, ":", ",", False, False, True
    )
    _scan = _json.make_scanner(_forms)
except (ImportError, AttributeError, TypeError):  # not CPython, or one that has changed
    import json


def encode(value: Any) -> str:
    """JSON without white space. Raises TypeError, ValueError."""
    if _pieces is None:
        return json.dumps(value, separators=(",", ":"))
    return "".join(_pieces(value, 0))


def decode(data: bytes) -> Any:
    """The value that `data` begins with; it must not begin with white space. Raises ValueError."""
    if _scan is None:
        return json.loads(data)
    try:
        return _scan(data.decode("utf-8", "surrogatepass"), 0)[0]
    except StopIteration:
        raise ValueError("not JSON") from None
