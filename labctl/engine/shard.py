"""`--shard 2/4`: the part of a run's hosts that one of several controllers works on.

The hosts that `--limit` leaves are put in the order of their names and dealt out one by one, so that each
controller finds the same parts whatever order its inventory came in, groups are spread evenly, and a host is in
the same shard in every play. `localhost` is the controller itself: it belongs to shard 1.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

from labctl.inventory import Host, Inventory
from labctl.inventory.model import LOCALHOST
from labctl.records import dataclass, field


@dataclass(frozen=True)
class Shard:
    """One part. `index` counts from 1; `hosts` maps its hosts to their places in the inventory; `total` and
    `digest` are of the hosts of all parts together."""

    index: int
    of: int
    hosts: Mapping[str, int] = field(repr=False)
    others: frozenset[str] = field(repr=False)
    total: int
    digest: str

    def __str__(self) -> str:
        return f"{self.index}/{self.of}"

    def takes(self, host: Host) -> bool:
        """Whether a host of a play is this part's. What the run itself adds to the inventory is of the part
        that adds it."""
        if host.name in LOCALHOST:
            return self.index == 1
        return host.name not in self.others

    def record(self) -> dict[str, Any]:
        """For run.json: enough to tell whether runs are parts of one, and to put the hosts in order again."""
        return {
            "index": self.index,
            "of": self.of,
            "total": self.total,
            "digest": self.digest,
            "hosts": dict(self.hosts),
        }


def divide(inventory: Inventory, index: int, of: int, limit: str | None = None) -> Shard:
    """Part `index` (from 1) of `of`. InventoryError for a bad limit."""
    allowed = {host.name for host in inventory.match("all", limit, warn=lambda *_: None)}
    places = {name: place for place, name in enumerate(inventory.hosts) if name in allowed}
    dealt = sorted(name for name in places if name not in LOCALHOST)
    own = dealt[index - 1 :: of]
    if index == 1:
        own += [name for name in places if name in LOCALHOST]
    digest = hashlib.sha256("\0".join(sorted(places)).encode()).hexdigest()[:16]
    others = frozenset(dealt).difference(own)
    return Shard(index, of, {name: places[name] for name in own}, others, len(places), digest)
