"""The network of a pod: a namespace, and an address of the nodes' network that moves with the pod.

The pod's address is routed (/32) into its namespace over a veth pair. The node answers ARP for it only
while it serves the pod: one proxy entry for one address, never proxy_arp for all. When a pod arrives, a
gratuitous ARP tells the neighbours, so that a client sees the same address, elsewhere.
"""

import ipaddress
import json
import os
import socket
import struct
import subprocess
from typing import List, Optional

_GATEWAY = "169.254.1.1"  # link-local, the same for every pod; its neighbour entry is fixed, so no ARP
_GATEWAY_MAC = "ee:ee:ee:ee:ee:ee"


class NetworkError(Exception):
    pass


def namespace(pod: str) -> str:
    return "labctl-" + pod


def device_for(address: str) -> str:
    """The node's device whose network holds the address."""
    wanted = ipaddress.ip_address(address)
    for link in json.loads(_ip(["-j", "-4", "address", "show"])):
        for entry in link.get("addr_info", []):
            if "local" not in entry or link["ifname"] == "lo":
                continue
            if entry["local"] == address:
                raise NetworkError("%s is this node's own address, not one for a pod" % address)
            network = ipaddress.ip_interface("%s/%s" % (entry["local"], entry["prefixlen"])).network
            if wanted in network and network.prefixlen < 32:
                return str(link["ifname"])
    raise NetworkError("%s is in no network of this node" % address)


def veth_name(pod: str) -> str:
    import hashlib

    return "lp" + hashlib.sha256(pod.encode()).hexdigest()[:10]


def create(pod: str, address: Optional[str]) -> None:
    """Make the namespace, and with an address the way into it; nobody outside the node is told yet."""
    name, veth = namespace(pod), veth_name(pod)
    os.makedirs("/run/netns", exist_ok=True)
    lines = ["netns add " + name]
    if address:
        device = device_for(address)
        lines += [
            "link add %s type veth peer name eth0 netns %s" % (veth, name),
            "link set %s address %s up" % (veth, _GATEWAY_MAC),
            "route replace %s/32 dev %s" % (address, veth),
        ]
    _ip(["-batch", "-"], lines)
    inside = ["link set lo up"]
    if address:
        inside += [
            "link set eth0 up",
            "address add %s/32 dev eth0" % address,
            "route add %s dev eth0 scope link" % _GATEWAY,
            "neighbour replace %s lladdr %s dev eth0 nud permanent" % (_GATEWAY, _GATEWAY_MAC),
            "route add default via %s dev eth0" % _GATEWAY,
        ]
    _ip(["-n", name, "-batch", "-"], inside)
    if address:
        for folder in ("conf/" + device, "conf/" + veth):
            _sysctl(folder + "/forwarding", "1")
        # By default the kernel waits up to 0.8 s before it answers ARP for somebody else.
        _sysctl("neigh/%s/proxy_delay" % device, "0")


def serve(address: str) -> None:
    """Answer for the address from now on, and tell the neighbours."""
    device = device_for(address)
    _ip(["neighbour", "replace", "proxy", address, "dev", device])
    with open("/sys/class/net/%s/address" % device) as stream:
        mac = bytes.fromhex(stream.read().strip().replace(":", ""))
    broadcast, mine = b"\xff" * 6, socket.inet_aton(address)
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as link:
        link.bind((device, 0))
        for operation in (1, 2, 1, 2):
            packet = struct.pack(">HHBBH", 1, 0x0800, 6, 4, operation)
            packet += mac + mine + (broadcast if operation == 2 else b"\0" * 6) + mine
            link.send(broadcast + mac + b"\x08\x06" + packet)


def withdraw(address: str) -> bool:
    """Answer for the address no more. True when it was answered for."""
    try:
        _ip(["neighbour", "del", "proxy", address, "dev", device_for(address)])
    except NetworkError:
        return False
    return True


def remove(pod: str, address: Optional[str]) -> None:
    """Take away all that `create` and `serve` made."""
    if address:
        withdraw(address)
    name, veth = namespace(pod), veth_name(pod)
    if os.path.exists("/sys/class/net/" + veth):
        _ip(["link", "del", veth], check=False)
    if os.path.exists("/run/netns/" + name):
        _ip(["netns", "del", name], check=False)


def exists(pod: str) -> bool:
    return os.path.exists("/run/netns/" + namespace(pod))


def _sysctl(name: str, value: str) -> None:
    with open("/proc/sys/net/ipv4/" + name, "w") as stream:
        stream.write(value)


def _ip(arguments: List[str], lines: Optional[List[str]] = None, check: bool = True) -> str:
    done = subprocess.run(
        ["ip", *arguments],
        input="\n".join(lines or []) + "\n",
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        universal_newlines=True,
        check=False,
    )
    if check and done.returncode:
        raise NetworkError("ip %s: %s" % (" ".join(arguments), done.stderr.strip()))
    return done.stdout
