"""A node's processors, memory, board, disks and volumes."""

from __future__ import annotations

import os

from labctl.node.functions.facts_text import content, entries, human, lines, text

TYPE_CHECKING = False  # typing itself takes long to import
if TYPE_CHECKING:
    from typing import Any, Dict, List, Optional

    from labctl.node.functions.facts_text import Facts, Programs

    Links = Dict[str, Dict[str, List[str]]]

_FORMS = [
    "Unknown",
    "Other",
    "Unknown",
    "Desktop",
    "Low Profile Desktop",
    "Pizza Box",
    "Mini Tower",
    "Tower",
    "Portable",
    "Laptop",
    "Notebook",
    "Hand Held",
    "Docking Station",
    "All In One",
    "Sub Notebook",
    "Space-saving",
    "Lunch Box",
    "Main Server Chassis",
    "Expansion Chassis",
    "Sub Chassis",
    "Bus Expansion Chassis",
    "Peripheral Chassis",
    "RAID Chassis",
    "Rack Mount Chassis",
    "Sealed-case PC",
    "Multi-system",
    "CompactPCI",
    "AdvancedTCA",
    "Blade",
    "Blade Enclosure",
    "Tablet",
    "Convertible",
    "Detachable",
    "IoT Gateway",
    "Embedded PC",
    "Mini PC",
    "Stick PC",
]
_BOARD = {
    "form_factor": "chassis_type",
    "system_vendor": "sys_vendor",
    **{
        name: name
        for name in [
            "bios_date",
            "bios_vendor",
            "bios_version",
            "board_asset_tag",
            "board_name",
            "board_serial",
            "board_vendor",
            "board_version",
            "chassis_asset_tag",
            "chassis_serial",
            "chassis_vendor",
            "chassis_version",
            "product_name",
            "product_serial",
            "product_uuid",
            "product_version",
        ]
    },
}


def memory() -> Facts:
    kept: Dict[str, int] = {}
    for line in lines("/proc/meminfo"):
        key, _, value = line.partition(":")
        words = value.split()
        if words and words[0].isdigit():
            kept[key] = int(words[0]) // 1024
    total, free = kept.get("MemTotal", 0), kept.get("MemFree", 0)
    idle = free + kept.get("Cached", 0) + kept.get("Buffers", 0)
    swap, unused = kept.get("SwapTotal", 0), kept.get("SwapFree", 0)
    return {
        "memtotal_mb": total,
        "memfree_mb": free,
        "memavailable_mb": kept.get("MemAvailable"),
        "swaptotal_mb": swap,
        "swapfree_mb": unused,
        "memory_mb": {
            "real": {"total": total, "used": total - free, "free": free},
            "nocache": {"free": idle, "used": total - idle},
            "swap": {"total": swap, "free": unused, "used": swap - unused, "cached": kept.get("SwapCached")},
        },
    }


def processors() -> Facts:
    """Sockets, cores of a socket and threads of a core as /proc/cpuinfo tells them (x86); else one of each CPU."""
    listed: List[str] = []
    facts: Facts = {"processor": listed}
    sockets: Dict[str, int] = {}
    siblings: Dict[str, int] = {}
    socket, core = "0", "0"
    counted = {"processor": 0, "vendor_id": 0, "model name": 0}
    for line in lines("/proc/cpuinfo"):
        key, _, value = (part.strip() for part in line.partition(":"))
        if key == "flags":
            facts["flags"] = value.split()
        elif key in ("model name", "Processor", "vendor_id", "cpu", "Vendor", "processor"):
            listed.append(value)
            if key in counted:
                counted[key] += 1
        elif key == "physical id":
            socket = value
            sockets.setdefault(socket, 1)
        elif key == "core id":
            core = value
        elif key == "cpu cores":
            sockets[socket] = int(value)
        elif key == "siblings":
            siblings[core] = int(value)
    number = len(listed)
    if counted["vendor_id"] and counted["vendor_id"] == counted["model name"]:
        number = counted["vendor_id"]
    if os.uname().machine.startswith(("armv", "aarch", "ppc")):
        number = counted["processor"]
    cores = next(iter(sockets.values()), 1) or 1
    threads = round(next(iter(siblings.values()), 1) / cores)
    facts["processor_count"] = len(sockets) or number
    facts["processor_cores"] = cores
    facts["processor_threads_per_core"] = threads
    facts["processor_vcpus"] = threads * cores * facts["processor_count"]
    facts["processor_nproc"] = len(os.sched_getaffinity(0))
    return facts


def board() -> Facts:
    facts: Facts = {}
    for name, entry in _BOARD.items():
        value = content("/sys/devices/virtual/dmi/id/" + entry)
        if name == "form_factor" and value is not None:
            number = int(value) if value.isdigit() else -1
            value = _FORMS[number] if 0 <= number < len(_FORMS) else "unknown (%s)" % value
        facts[name] = "NA" if value is None else value
    return facts


def uptime() -> Facts:
    return {"uptime_seconds": int(float(text("/proc/uptime", "0").split()[0]))}


def _links() -> Links:
    """What /dev/disk calls each device, and which devices are built on it: {"ids": {"sda": ["ata-…"]}, …}."""
    found: Links = {"ids": {}, "uuids": {}, "labels": {}, "masters": {}}
    for kind, folder in (("ids", "by-id"), ("uuids", "by-uuid"), ("labels", "by-label")):
        for entry in sorted(entries("/dev/disk/" + folder)):
            path = "/dev/disk/%s/%s" % (folder, entry)
            if os.path.islink(path):
                device = os.path.basename(os.readlink(path))
                found[kind].setdefault(device, []).append(entry)
    for device in sorted(entries("/sys/block")):
        for slave in sorted(entries("/sys/block/%s/slaves" % device)):
            found["masters"].setdefault(slave, []).append(device)
    return found


def _links_of(links: Links, device: str) -> Dict[str, List[str]]:
    return {kind: known.get(device, []) for kind, known in links.items()}


def _holders(folder: str) -> List[str]:
    if not os.path.isdir(folder + "/holders"):
        return []
    names = [name for name in os.listdir(folder + "/holders") if name.startswith("dm-")]
    return [content("%s/holders/%s/dm/name" % (folder, name)) or name for name in names]


def devices() -> Facts:
    links = _links()
    found: Dict[str, Any] = {}
    for name in os.listdir("/sys/block") if os.path.isdir("/sys/block") else ():
        folder = "/sys/block/" + name
        size = int(content(folder + "/queue/logical_block_size") or 512)
        sectors = int(content(folder + "/size") or 0) * 512 // size
        _, _, scheduler = text(folder + "/queue/scheduler").partition("[")
        discard = content(folder + "/queue/discard_granularity")
        device: Facts = {
            "virtual": 1,
            "links": _links_of(links, name),
            **{
                key: content("%s/device/%s" % (folder, key))
                for key in ("vendor", "model", "sas_address", "sas_device_handle")
            },
            "removable": content(folder + "/removable"),
            "support_discard": "0" if content(folder + "/queue/discard_max_hw_bytes") == "0" else discard,
            "partitions": _partitions(folder, name, links),
            "rotational": content(folder + "/queue/rotational"),
            "scheduler_mode": scheduler.rpartition("]")[0],
            "sectorsize": str(size),
            "sectors": sectors,
            "size": human(sectors * size),
            "host": "",
            "holders": _holders(folder),
        }
        serial = content(folder + "/device/serial")
        if serial:
            device["serial"] = serial
        wide = [entry[4:] for entry in links["ids"].get(name, []) if entry.startswith("wwn-")]
        if wide:
            device["wwn"] = wide[0]
        found[name] = device
    return {"devices": found, "device_links": links}


def _is_partition(name: str, disk: str) -> bool:
    """sda1 of sda, nvme0n1p1 of nvme0n1."""
    rest = name[len(disk) :]
    return name.startswith(disk) and rest[rest.startswith("p") :].isdigit()


def _partitions(folder: str, disk: str, links: Links) -> Facts:
    found: Facts = {}
    for entry in os.listdir(folder):
        if not _is_partition(entry, disk):
            continue
        base = "%s/%s" % (folder, entry)
        size = int(content(base + "/queue/logical_block_size") or 512)
        sectors = int(content(base + "/size") or 0) * 512 // size
        uuids = links["uuids"].get(entry, [])
        found[entry] = {
            "links": _links_of(links, entry),
            "start": content(base + "/start") or 0,
            "sectors": sectors,
            "sectorsize": size,
            "size": human(sectors * size),
            "uuid": uuids[0] if uuids else None,
            "holders": _holders(base),
        }
    return found


def volumes(programs: Programs) -> Facts:
    """LVM's groups and volumes, or 'N/A' where it is not."""
    rows: Dict[str, Optional[List[List[str]]]] = {}
    for name in ("vgs", "lvs", "pvs"):
        said = programs.said(name)
        rows[name] = (
            [line.strip().split(",") for line in said[1].splitlines() if line.count(",") > 2]
            if said
            else None
        )
    if rows["vgs"] is None:
        return {"lvm": "N/A"}
    return {
        "lvm": {
            "vgs": {
                row[0]: {"num_pvs": row[1], "num_lvs": row[2], "size_g": row[-2], "free_g": row[-1]}
                for row in rows["vgs"]
            },
            "lvs": {row[0]: {"vg": row[1], "size_g": row[3]} for row in rows["lvs"] or ()},
            "pvs": {row[0]: {"vg": row[1], "size_g": row[4], "free_g": row[5]} for row in rows["pvs"] or ()},
        }
    }
