"""The lab's own network: one bridge and one /24 that nothing on this machine uses.

Another lab may live in another mount namespace of the same network namespace, where no file tells of
it: what counts is what the kernel says, and the lock is an abstract socket, which the namespace shares.
"""

from __future__ import annotations

import ipaddress
import json
import random
import socket
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from labctl.errors import EnvironmentProblem
from labctl.lab.system import run
from labctl.records import dataclass

_POOLS = ("10.64.0.0/10", "172.16.0.0/12", "192.168.0.0/16", "198.18.0.0/15")


def choose_subnet(used: Iterable[ipaddress.IPv4Network], chance: random.Random) -> ipaddress.IPv4Network:
    """A random private /24 that overlaps none of the used networks."""
    taken = [network for network in used if network.prefixlen > 0]
    for pool in map(ipaddress.IPv4Network, _POOLS):
        for _ in range(64):
            offset = chance.randrange(pool.num_addresses // 256) * 256
            subnet = ipaddress.IPv4Network((int(pool.network_address) + offset, 24))
            if not any(subnet.overlaps(network) for network in taken):
                return subnet
    raise EnvironmentProblem("no private /24 is free on this machine for the lab's network")


def used_networks() -> list[ipaddress.IPv4Network]:
    """Every network that an address or a route of this machine's kernel covers."""
    addresses = json.loads(run(["ip", "-json", "-4", "address", "show"]).stdout or "[]")
    routes = json.loads(run(["ip", "-json", "-4", "route", "show", "table", "all"]).stdout or "[]")
    covered = [
        f"{entry['local']}/{entry['prefixlen']}"
        for about in addresses
        for entry in about.get("addr_info", [])
        if "local" in entry
    ]
    covered += [route["dst"] for route in routes if route.get("dst", "default") != "default"]
    return [ipaddress.IPv4Network(text, strict=False) for text in covered]


@contextmanager
def network_lock(timeout: float = 60.0) -> Iterator[None]:
    """One lab at a time looks for a free network in this network namespace."""
    deadline = time.monotonic() + timeout
    with socket.socket(socket.AF_UNIX) as lock:
        while True:
            try:
                lock.bind("\0labctl-network")
                break
            except OSError:
                if time.monotonic() > deadline:
                    raise EnvironmentProblem(
                        "another labctl has been setting up its network for a minute"
                    ) from None
                time.sleep(0.02)  # a bound name cannot be waited for
        yield


@dataclass(frozen=True)
class Link:
    """A network link. `owner`: the lab that made it (kept as the link's alias), '' for a stranger's."""

    owner: str
    up: bool
    addresses: tuple[str, ...]


def link(name: str) -> Link | None:
    """The link of this name, or None."""
    about, addresses = (
        next(filter(None, json.loads(run([*argv, "dev", name], check=False).stdout or "[]")), None)
        for argv in (["ip", "-json", "link", "show"], ["ip", "-json", "-4", "address", "show"])
    )
    if about is None:
        return None
    alias = about.get("ifalias", "")
    entries = (addresses or {}).get("addr_info", [])
    return Link(
        owner=alias.removeprefix("labctl ") if alias.startswith("labctl ") else "",
        up="UP" in about.get("flags", []),
        addresses=tuple(entry["local"] for entry in entries if "local" in entry),
    )


def is_up(lab: str, name: str, subnet: str) -> bool:
    """Whether the lab's bridge is there, its own, up, and carries its address."""
    found = link(name)
    return bool(found and found.owner == lab and found.up and gateway(subnet) in found.addresses)


def gateway(subnet: str) -> str:
    """The controller's address in the lab's network."""
    return str(ipaddress.IPv4Network(subnet)[1])


def address(subnet: str, index: int) -> str:
    """The address of node number `index`, from 0."""
    return str(ipaddress.IPv4Network(subnet)[11 + index])


def make_bridge(lab: str) -> tuple[str, str]:
    """Make the lab's bridge with a free network; its name and the network."""
    with network_lock():
        subnet = str(choose_subnet(used_networks(), random.Random()))
        for attempt in range(20):
            name = f"labctl-{lab}" if attempt == 0 else f"lc{attempt}-{lab}"
            made = run(["ip", "link", "add", "name", name, "type", "bridge"], check=False)
            if made.returncode == 0:
                _set_up(lab, name, subnet)
                return name, subnet
            if "File exists" not in made.stderr:
                raise EnvironmentProblem(f"the lab's bridge cannot be made: {made.stderr.strip()}")
    raise EnvironmentProblem(f"every bridge name for the lab {lab} is taken")


def remake_bridge(lab: str, name: str, subnet: str) -> bool:
    """Make a lost bridge again as it was; False when its name or network has been taken meanwhile."""
    with network_lock():
        wanted = ipaddress.IPv4Network(subnet)
        if any(wanted.overlaps(network) for network in used_networks() if network.prefixlen > 0):
            return False
        if run(["ip", "link", "add", "name", name, "type", "bridge"], check=False).returncode:
            return False
        _set_up(lab, name, subnet)
        return True


def _set_up(lab: str, name: str, subnet: str) -> None:
    try:
        prefix = ipaddress.IPv4Network(subnet).prefixlen
        run(["ip", "link", "set", "dev", name, "alias", f"labctl {lab}"])
        run(["ip", "address", "add", f"{gateway(subnet)}/{prefix}", "dev", name])
        run(["ip", "link", "set", "dev", name, "up"])
        _let_through(name, add=True)
    except EnvironmentProblem:
        run(["ip", "link", "delete", "dev", name], check=False)
        raise


def remove_bridge(lab: str, name: str) -> None:
    """Remove the bridge when it is this lab's; one of another owner is left alone."""
    found = link(name)
    if found is None or found.owner != lab:
        return
    ports = json.loads(run(["ip", "-json", "link", "show", "master", name], check=False).stdout or "[]")
    for port in ports:
        if port.get("ifname", "").startswith(f"v{lab}-"):
            run(["ip", "link", "delete", "dev", port["ifname"]], check=False)
    _let_through(name, add=False)
    run(["ip", "link", "delete", "dev", name])


def _let_through(name: str, *, add: bool) -> None:
    """Where bridged frames pass the machine's packet filter (br_netfilter, as Docker sets it), let those
    between the lab's own nodes through."""
    switch = Path("/proc/sys/net/bridge/bridge-nf-call-iptables")
    if not switch.exists() or switch.read_text().strip() != "1":
        return
    rule = ["FORWARD", "-i", name, "-o", name, "-j", "ACCEPT"]
    try:
        run(["iptables", "-w", "10", "-I" if add else "-D", *rule], check=False)
    except EnvironmentProblem:
        return  # no iptables program: whoever filters does so by other means
