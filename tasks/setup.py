"""Gather facts: what a host is and has, under Ansible's names.

Besides Ansible's: `cgroup` (version, controllers, path), `containerd_version`, `runc_version`, `criu_version`, `nfs`
(kernel_client, kernel_server), `clock`, `boot_id`, and `clock_offset`, the node's clock less the controller's in
seconds. `facts_missing` says why something could not be learnt. What a run has gathered of a host is kept in
`facts/<host>.json` of its folder.
"""

from __future__ import annotations

import fnmatch
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from labctl import vault
from labctl.errors import PlaybookError, did_you_mean
from labctl.task_types import Args, Context, arg

MINIMAL = (
    "platform",
    "distribution",
    "python",
    "user",
    "env",
    "date_time",
    "pkg_mgr",
    "service_mgr",
    "cmdline",
    "dns",
    "selinux",
    "apparmor",
    "fips",
    "ssh_pub_keys",
    "local",
    "lsb",
    "caps",
)
FURTHER = (
    "hardware",
    "network",
    "virtual",
    "chroot",
    "loadavg",
    "systemd",
    "iscsi",
    "nvme",
    "fibre_channel_wwn",
    "runtime",
    "facter",
    "ohai",
)
# Facts that are named like a subset, and the subset that has them.
ALIASES = {
    **dict.fromkeys(
        ("processor", "processor_cores", "processor_count", "mounts", "devices", "dmi"), "hardware"
    ),
    **dict.fromkeys(
        ("interfaces", "default_ipv4", "default_ipv6", "all_ipv4_addresses", "all_ipv6_addresses"), "network"
    ),
    **dict.fromkeys(
        [
            "virtualization_type",
            "virtualization_role",
            "virtualization_tech_guest",
            "virtualization_tech_host",
        ],
        "virtual",
    ),
    **dict.fromkeys(
        ("distribution_version", "distribution_release", "distribution_major_version", "os_family"),
        "distribution",
    ),
    **dict.fromkeys(
        ["system", "kernel", "kernel_version", "machine", "python_version", "architecture", "machine_id"],
        "platform",
    ),
    **dict.fromkeys(
        [
            "user_id",
            "user_uid",
            "user_gid",
            "user_gecos",
            "user_dir",
            "user_shell",
            "real_user_id",
            "effective_user_id",
            "effective_group_ids",
        ],
        "user",
    ),
    **dict.fromkeys(("system_capabilities", "system_capabilities_enforced"), "caps"),
    **dict.fromkeys(
        [
            "ssh_host_pub_keys",
            "ssh_host_key_dsa_public",
            "ssh_host_key_rsa_public",
            "ssh_host_key_ecdsa_public",
            "ssh_host_key_ed25519_public",
        ],
        "ssh_pub_keys",
    ),
    "is_chroot": "chroot",
}
_CLOCK_ERROR = 0.005  # seconds: one round trip, where the node is near
_encode = json.JSONEncoder(sort_keys=True).encode


@dataclass(kw_only=True)
class Arguments(Args):
    gather_subset: list[str] = arg(
        ["all"], doc="all, min, hardware, network, virtual, runtime …; '!' before a name leaves it out."
    )
    filter: list[str] = arg([], doc="Return only facts whose names match one of these patterns.")
    gather_timeout: float = arg(10.0, doc="Seconds one slow thing (a file server, a program) may take.")
    fact_path: str = arg("/etc/ansible/facts.d", doc="The node's folder of its own `*.fact` files.")


def run(args: Arguments, ctx: Context) -> dict[str, Any]:
    wanted = subsets(args.gather_subset, ctx)
    told: dict[str, Any] = {}

    def gather() -> None:
        told.update(
            ctx.node.call(
                "facts",
                "gather",
                subsets=wanted,
                environment=dict(ctx.environment),
                fact_path=args.fact_path,
                timeout=args.gather_timeout,
            )
        )

    offset = ctx.node.clock_offset(_CLOCK_ERROR, gather) if "runtime" in wanted else gather()
    for warning in told["warnings"]:
        ctx.warn(warning)
    facts = told["facts"]
    if offset is not None:
        facts |= {"clock_offset": offset, "facts_missing": told["missing"]}
    _keep(ctx, facts)
    found = {f"ansible_{name}": value for name, value in facts.items()}
    found |= {"gather_subset": args.gather_subset, "module_setup": True}
    return {"ansible_facts": chosen(found, args.filter), "changed": False}


def subsets(names: Iterable[str], ctx: Context) -> list[str]:
    """The subsets to gather, by Ansible's rules: `min` and what is named, less what has a '!', but not less what
    is named itself."""
    everything = (*MINIMAL, *FURTHER)
    named: set[str] = set()
    added, removed = set(MINIMAL), set[str]()
    for name in names:
        bare = name.removeprefix("!")
        if name == "!all":
            removed |= set(FURTHER)
        elif name == "!min":
            removed |= set(MINIMAL)
        elif name == "all":
            added |= set(everything)
        elif name == "min":
            continue
        elif name.startswith("!"):
            removed.add(ALIASES.get(bare, bare))
        elif bare in everything or bare in ALIASES:
            named.add(ALIASES.get(bare, bare))
        else:
            valid = sorted({"all", "min", *everything, *ALIASES})
            hint = did_you_mean(bare, valid) or f"there are: all, min, {', '.join(everything)}"
            raise PlaybookError(f"there is no facts subset '{bare}'", mark=ctx.mark, hint=hint)
    return [name for name in everything if name in named or (name in added and name not in removed)]


def _keep(ctx: Context, facts: Mapping[str, Any]) -> None:
    """Write down all that this run knows of the host."""
    known: dict[str, Any] = ctx.shared.setdefault("setup", {}).setdefault(ctx.host, {})
    known.update(facts)
    path = ctx.run_dir / "facts" / f"{ctx.host}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    # json's own indentation is Python code: three times the CPU
    lines = (f" {_encode(name)}: {_encode(value)}" for name, value in sorted(vault.hide(known).items()))
    path.write_text("{\n" + ",\n".join(lines) + "\n}\n", encoding="utf-8")


def chosen(facts: Mapping[str, Any], patterns: list[str]) -> dict[str, Any]:
    """The facts whose names, with or without their prefix, match a pattern."""
    if not any(patterns):
        return dict(facts)
    forms = [form for pattern in patterns for form in (pattern, f"ansible_{pattern}")]
    return {
        name: value for name, value in facts.items() if any(fnmatch.fnmatch(name, form) for form in forms)
    }
