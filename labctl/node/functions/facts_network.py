"""A node's interfaces and addresses, from the kernel's own tables: netlink and /sys/class/net."""

from __future__ import annotations

import _socket as socket
import os
import struct

from labctl.node.functions.facts_text import content, digits, entries, program, text

TYPE_CHECKING = False  # typing itself takes long to import
if TYPE_CHECKING:
    from typing import Any, Dict, Iterator, List, Optional, Tuple

    from labctl.node.functions.facts_text import Facts, Programs

    Attributes = Dict[int, bytes]

_TYPES = {"1": "ether", "32": "infiniband", "512": "ppp", "772": "loopback", "65534": "tunnel"}
_SCOPES = {0: "global", 200: "site", 253: "link", 254: "host", 255: "nowhere"}
_SECONDARY = 0x01
_LOCAL_TABLE = 255
_ROUTE_LOCAL = 2
_ASKED: Dict[int, str] = {socket.AF_INET: "8.8.8.8", socket.AF_INET6: "2404:6800:400a:800::1012"}


def network(programs: Programs) -> Facts:
    links = {name: _link(name) for name in _interfaces()}
    order = list(links)
    known = [entry for entry in _addresses() if entry["device"] in links]
    addresses = sorted(known, key=lambda entry: order.index(entry["device"]))
    facts: Facts = {"interfaces": list(links), "all_ipv4_addresses": [], "all_ipv6_addresses": []}
    defaults = {family: _default(family) for family in _ASKED}
    for entry in addresses:
        _enter(entry, links, facts, defaults[entry["family"]])
    for name, link in links.items():
        _ethtool(programs, name, link)
        facts[name.replace("-", "_").replace(":", "_")] = link
    facts["default_ipv4"], facts["default_ipv6"] = defaults[socket.AF_INET], defaults[socket.AF_INET6]
    facts["locally_reachable_ips"] = {
        "ipv4": _local(socket.AF_INET),
        "ipv6": _local(socket.AF_INET6),
    }
    return facts


def ask(programs: Programs) -> None:
    """Start what `network` will want the answers of."""
    if program("ethtool"):
        for name in _interfaces():
            programs.start("ethtool -k " + name, ["ethtool", "-k", name])
            programs.start("ethtool -T " + name, ["ethtool", "-T", name])


def _interfaces() -> List[str]:
    return [name for name in entries("/sys/class/net") if os.path.isdir("/sys/class/net/" + name)]


def _link(name: str) -> Facts:
    base = "/sys/class/net/%s/" % name
    link: Facts = {"device": name}
    address = content(base + "address")
    if address and address != "00:00:00:00:00:00":
        link["macaddress"] = address
    link["mtu"] = int(text(base + "mtu", "0"))
    link["active"] = text(base + "operstate") != "down"
    driver = base + "device/driver/module"
    if os.path.exists(driver):
        link["module"] = os.path.basename(os.path.realpath(driver))
    link["type"] = _TYPES.get(text(base + "type"), "unknown")
    if os.path.isdir(base + "bridge"):
        link["type"] = "bridge"
        link["interfaces"] = entries(base + "brif")
        link["id"] = text(base + "bridge/bridge_id")
        link["stp"] = text(base + "bridge/stp_state") == "1"
    if os.path.isdir(base + "bonding"):
        _bond(base + "bonding/", link)
    if os.path.isdir(base + "bonding_slave"):
        link["perm_macaddress"] = text(base + "bonding_slave/perm_hwaddr")
    if os.path.islink(base + "device"):
        link["pciid"] = os.path.basename(os.readlink(base + "device"))
    speed = content(base + "speed")  # the kernel refuses to tell of one that is down
    if speed is not None:
        link["speed"] = int(speed)
    link["promisc"] = bool(int(text(base + "flags", "0x0"), 16) & 0x100)
    return link


def _bond(base: str, link: Facts) -> None:
    link["type"] = "bonding"
    link["slaves"] = text(base + "slaves").split()
    for name in ("mode", "miimon", "lacp_rate"):
        link[name] = (text(base + name).split() or [""])[0]
    primary = content(base + "primary")
    if primary:
        link["primary"] = primary
        link["all_slaves_active"] = text(base + "all_slaves_active") == "1"


def _enter(entry: Facts, links: Dict[str, Facts], facts: Facts, default: Facts) -> None:
    """Put one address where it belongs: its interface, the lists, and the default route's interface."""
    link = links[entry["device"]]
    version = 4 if entry["family"] == socket.AF_INET else 6
    if version == 4:
        shown = {name: entry[name] for name in ("address", "broadcast", "netmask", "network", "prefix")}
        if entry["secondary"] or "ipv4" in link:
            link.setdefault("ipv4_secondaries", []).append(shown)
        else:
            link["ipv4"] = shown
    else:
        shown = {name: entry[name] for name in ("address", "prefix", "scope")}
        link.setdefault("ipv6", []).append(shown)
    if not (entry["address"].startswith("127.") or entry["address"] == "::1"):
        facts["all_ipv%d_addresses" % version].append(entry["address"])
    if default.get("address") == entry["address"]:
        default.update(shown)
        default.update(macaddress=link.get("macaddress"), mtu=link["mtu"], type=link["type"])
        if version == 4:
            default["alias"] = entry["label"]


def _ethtool(programs: Programs, name: str, link: Facts) -> None:
    said = programs.said("ethtool -k " + name)
    if said and said[0] == 0:
        pairs = [line.split(": ", 1) for line in said[1].splitlines() if ": " in line]
        link["features"] = {key.strip().replace("-", "_"): value.strip() for key, value in pairs}
    said = programs.said("ethtool -T " + name)
    if said and said[0] == 0:
        link["timestamping"] = _named(said[1], "SOF_TIMESTAMPING_")
        link["hw_timestamp_filters"] = _named(said[1], "HWTSTAMP_FILTER_")
        clock = digits(said[1].partition("PTP Hardware Clock: ")[2])
        if clock:
            link["phc_index"] = int(clock)


def _named(told: str, start: str) -> List[str]:
    """The names with this start, without it and in small letters."""
    found = []
    for part in told.split(start)[1:]:
        end = next((at for at, sign in enumerate(part) if sign != "_" and not sign.isalnum()), len(part))
        found.append(part[:end].lower())
    return found


# ------------------------------------------------------------ netlink


def _ask(kind: int, flags: int, body: bytes) -> Iterator[Tuple[int, bytes]]:
    """The kernel's answers to one request: (kind, message). OSError when it refuses."""
    kernel = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE)
    try:
        kernel.settimeout(0.5)
        kernel.send(struct.pack("=IHHII", 16 + len(body), kind, flags, 1, 0) + body)
        while True:
            data = kernel.recv(1 << 17)
            at = 0
            while at + 16 <= len(data):
                length, answer, answer_flags = struct.unpack_from("=IHH", data, at)
                message = data[at + 16 : at + length]
                if answer == 3:  # end of the dump
                    return
                if answer == 2:
                    code = -struct.unpack_from("=i", message)[0]
                    raise OSError(code, os.strerror(code))
                yield answer, message
                if not answer_flags & 2:  # not one of many
                    return
                at += (length + 3) & ~3
    finally:
        kernel.close()


def _attributes(message: bytes, at: int) -> Attributes:
    found: Attributes = {}
    while at + 4 <= len(message):
        length, kind = struct.unpack_from("=HH", message, at)
        found[kind] = message[at + 4 : at + length]
        at += max(4, (length + 3) & ~3)
    return found


def _addresses() -> Iterator[Facts]:
    """Every address of every interface, as `ip addr` asks for them."""
    names = dict(socket.if_nameindex())
    for kind, message in _ask(22, 0x301, struct.pack("=BBBBI", 0, 0, 0, 0, 0)):
        family, prefix, flags, scope, index = struct.unpack_from("=BBBBI", message)
        if kind != 20 or family not in _ASKED:
            continue
        known = _attributes(message, 8)
        raw = known.get(2) or known.get(1)  # IFA_LOCAL, IFA_ADDRESS
        if raw is None:
            continue
        device = names.get(index, str(index))
        entry: Facts = {
            "device": device,
            "family": family,
            "prefix": str(prefix),
            "scope": _SCOPES.get(scope, str(scope)),
        }
        entry["address"] = socket.inet_ntop(family, raw)
        entry["secondary"] = family == socket.AF_INET and bool(flags & _SECONDARY)
        entry["label"] = known.get(3, b"").rstrip(b"\0").decode("utf-8", "replace") or device
        if family == socket.AF_INET:
            mask = (0xFFFFFFFF << (32 - prefix)) & 0xFFFFFFFF
            network = struct.unpack("!I", raw)[0] & mask
            entry["netmask"] = socket.inet_ntoa(struct.pack("!I", mask))
            entry["network"] = socket.inet_ntoa(struct.pack("!I", network))
            entry["broadcast"] = socket.inet_ntoa(known[4]) if 4 in known else ""
        yield entry


def _route(family: int, address: str) -> Optional[Tuple[int, Attributes]]:
    """The route to an address: its type and attributes; None when there is none."""
    raw = socket.inet_pton(family, address)
    body = struct.pack("=BBBBBBBBI", family, len(raw) * 8, 0, 0, 0, 0, 0, 0, 0)
    body += struct.pack("=HH", 4 + len(raw), 1) + raw
    try:
        for _, message in _ask(26, 1, body):
            return message[7], _attributes(message, 12)
    except OSError:
        pass
    return None


def _default(family: int) -> Facts:
    """Interface, source address and gateway towards the internet; {} when it cannot be reached."""
    found = _route(family, _ASKED[family])
    if found is None or found[0] != 1 or 4 not in found[1]:  # a unicast route by way of an interface
        return {}
    known = found[1]
    facts: Facts = {}
    if 5 in known:
        facts["gateway"] = socket.inet_ntop(family, known[5])
    facts["interface"] = socket.if_indextoname(struct.unpack("=I", known[4])[0])
    if 7 in known:
        facts["address"] = socket.inet_ntop(family, known[7])
    return facts


def _local(family: int) -> List[str]:
    """What the node itself answers for: the local routes, as the local table lists them."""
    found: List[str] = []
    body = struct.pack("=BBBBBBBBI", family, 0, 0, 0, 0, 0, 0, 0, 0)
    for _, message in _ask(26, 0x301, body):
        bits, kind = message[1], message[7]
        known = _attributes(message, 12)
        table: Any = struct.unpack("=I", known[15])[0] if 15 in known else message[4]
        if kind != _ROUTE_LOCAL or table != _LOCAL_TABLE or 1 not in known:
            continue
        raw = known[1]
        name = socket.inet_ntop(family, raw)
        name += "" if bits == len(raw) * 8 else "/%d" % bits
        if name not in found:
            found.append(name)
    return found
