"""Keep a rule, a chain or a policy of the kernel's packet filter. Nothing is saved for the host's next start.

Returns table, chain, rule, state, ip_version, flush, chain_management, wait.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from labctl import commands
from labctl.errors import NodeError, TaskFailed
from labctl.task_types import Args, Change, Context, Steps, arg


@dataclass(kw_only=True)
class Arguments(Args):
    table: Literal["filter", "nat", "mangle", "raw", "security"] = arg("filter", doc="The table.")
    state: Literal["present", "absent"] = arg("present", doc="Whether the rule is to be there.")
    action: Literal["append", "insert"] = arg("append", doc="Where a new rule goes: last, or first.")
    ip_version: Literal["ipv4", "ipv6", "both"] = arg("ipv4", doc="Which protocol's filter.")
    chain: str | None = arg(None, doc="INPUT, FORWARD, OUTPUT … or one of your own.")
    rule_num: str | None = arg(None, doc="The place of an inserted rule.")
    protocol: str | None = arg(None, doc="tcp, udp, icmp … or all; '!' in front: any other.")
    wait: str | None = arg(None, doc="Seconds to wait for another program's lock.")
    source: str | None = arg(None, doc="Where packets come from.")
    to_source: str | None = arg(None, doc="What SNAT writes.")
    destination: str | None = arg(None, doc="Where packets go.")
    to_destination: str | None = arg(None, doc="What DNAT writes.")
    match: list[str] = arg([], doc="Extensions to load.")
    tcp_flags: dict[str, Any] | None = arg(None, doc="`flags` to look at, and `flags_set` that must be set.")
    jump: str | None = arg(None, doc="The target: ACCEPT, DROP, LOG, a chain …")
    gateway: str | None = arg(None, doc="Where TEE sends its copy.")
    log_prefix: str | None = arg(None, doc="What LOG puts in front.")
    log_level: str | None = arg(
        None,
        doc="LOG's level.",
        choices=(*"01234567", "emerg", "alert", "crit", "error", "warning", "notice", "info", "debug"),
    )
    goto: str | None = arg(None, doc="A chain that does not come back here.")
    in_interface: str | None = arg(None, doc="The interface a packet came by.")
    out_interface: str | None = arg(None, doc="The interface a packet leaves by.")
    fragment: str | None = arg(None, doc="Second and further fragments only.")
    set_counters: str | None = arg(None, doc="The counters a rule begins with.")
    source_port: str | None = arg(None, doc="A port, or first:last.")
    destination_port: str | None = arg(None, doc="A port, or first:last.")
    destination_ports: list[str] = arg([], doc="Several ports.")
    to_ports: str | None = arg(None, doc="The ports REDIRECT and MASQUERADE use.")
    set_dscp_mark: str | None = arg(None, doc="A DSCP mark to set.")
    set_dscp_mark_class: str | None = arg(None, doc="A DSCP class to set.")
    comment: str | None = arg(None, doc="A comment of the rule.")
    ctstate: list[str] = arg([], doc="Connection states: NEW, ESTABLISHED, RELATED …")
    src_range: str | None = arg(None, doc="First-last address of the source.")
    dst_range: str | None = arg(None, doc="First-last address of the destination.")
    match_set: str | None = arg(None, doc="An ipset.")
    match_set_flags: str | None = arg(
        None,
        doc="Which address is looked up in it.",
        choices=("src", "dst", "src,dst", "dst,src", "src,src", "dst,dst"),
    )
    limit: str | None = arg(None, doc="How often it may match: 5/minute.")
    limit_burst: str | None = arg(None, doc="How often at once.")
    uid_owner: str | None = arg(None, doc="Packets of this user.")
    gid_owner: str | None = arg(None, doc="Packets of this group.")
    reject_with: str | None = arg(None, doc="The answer of REJECT.")
    icmp_type: str | None = arg(None, doc="The kind of ICMP message.")
    syn: Literal["ignore", "match", "negate"] = arg("ignore", doc="Packets that open a TCP connection.")
    flush: bool = arg(False, doc="Empty the chain, or the table without one.")
    policy: Literal["ACCEPT", "DROP", "QUEUE", "RETURN"] | None = arg(
        None, doc="What a chain does at its end."
    )
    chain_management: bool = arg(False, doc="Without a rule: make the chain, or remove it.")
    numeric: bool = arg(False, doc="Look up no names.")

    mutually_exclusive = (("set_dscp_mark", "set_dscp_mark_class"), ("flush", "policy"))


def run(args: Arguments, ctx: Context) -> Steps:
    _check(args)
    names = ("ip_version", "table", "chain", "flush", "state", "chain_management", "wait")
    values: dict[str, Any] = {name: getattr(args, name) for name in names}
    rule = _rule(args)
    values["rule"] = " ".join(rule)
    for program in {"ipv4": ["iptables"], "ipv6": ["ip6tables"]}.get(
        args.ip_version, ["iptables", "ip6tables"]
    ):
        yield from _one(args, ctx, program, rule)
    return values


def _check(args: Arguments) -> None:
    if args.chain is None and not args.flush:
        raise TaskFailed("flush is False but all of the following are missing: chain")
    if args.jump in ("TEE", "tee") and args.gateway is None:
        raise TaskFailed(f"jump is {args.jump} but all of the following are missing: gateway")
    for name in ("set_dscp_mark", "set_dscp_mark_class"):
        if getattr(args, name) is not None and args.jump is None:
            raise TaskFailed(f"missing parameter(s) required by '{name}': jump")
    if args.log_prefix or args.log_level:
        args.jump = args.jump or "LOG"
        if args.jump != "LOG":
            raise TaskFailed("Logging options can only be used with the LOG jump target.")


def _one(args: Arguments, ctx: Context, program: str, rule: list[str]) -> Steps:
    def argv(option: str, *more: str) -> list[str]:
        words = [program, "-t", args.table, option, *([args.chain] if args.chain else [])]
        words += [args.rule_num] if option == "-I" and args.rule_num else []
        return [*words, *(["-w", args.wait] if args.wait else []), *more]

    listing = argv("-L", "--numeric") if args.numeric else argv("-L")
    name = f"{program} {args.table} {args.chain or ''}".rstrip()
    if args.flush:
        yield Change(f"flush {name}", lambda: commands.must(ctx, argv("-F")))
    elif args.policy:
        first = commands.must(ctx, listing).text().splitlines()[0]
        _, found, rest = first.partition("(policy ")
        if not found:
            raise TaskFailed(f"Can't detect current policy: {first}")
        old = rest.split(")")[0].split()[0]
        if old != args.policy:
            policy = str(args.policy)
            words = [program, "-t", args.table, "-P", str(args.chain), policy]
            yield Change(
                f"policy of {name}", lambda: commands.must(ctx, words), before=f"{old}\n", after=f"{policy}\n"
            )
    elif not rule:
        there = _asked(ctx, listing)
        if there != (args.state == "present"):
            option = "-X" if there else "-N"
            apply = (lambda: commands.must(ctx, argv(option))) if args.chain_management else (lambda: None)
            yield Change(f"chain {name}", apply)
    elif _asked(ctx, argv("-C", *rule)) != (args.state == "present"):
        option = "-D" if args.state == "absent" else "-I" if args.action == "insert" else "-A"
        text = f"{' '.join(rule)}\n"
        before, after = ("", text) if args.state == "present" else (text, "")
        yield Change(
            f"rule of {name}", lambda: commands.must(ctx, argv(option, *rule)), before=before, after=after
        )
    return {}


def _asked(ctx: Context, argv: list[str]) -> bool:
    try:
        return ctx.node.run(argv, timeout=ctx.timeout).rc == 0
    except NodeError as error:
        if error.errno_name != "ENOENT":
            raise
        raise TaskFailed(
            f"{ctx.host} has no program '{argv[0]}': it comes with the package iptables"
        ) from None


def _rule(args: Arguments) -> list[str]:  # noqa: PLR0915 - one line for each option, in order
    """The words of the rule, in the order iptables itself lists them."""
    rule: list[str] = []

    def add(option: str, value: str | None) -> None:
        if value is not None:
            rule.extend(["!", option, value[1:].lstrip()] if value.startswith("!") else [option, value])

    def load(module: str, wanted: Any) -> None:
        rule.extend(["-m", module] if wanted else [])

    def joined(option: str, values: list[str]) -> None:
        rule.extend([option, ",".join(values)] if values else [])

    add("-p", args.protocol)
    add("-s", args.source)
    add("-d", args.destination)
    for module in args.match:
        add("-m", module)
    if args.tcp_flags and {"flags", "flags_set"} <= args.tcp_flags.keys():
        words = [",".join(map(str, args.tcp_flags[name])) for name in ("flags", "flags_set")]
        rule.extend(["--tcp-flags", *words])
    add("-j", args.jump)
    add("--gateway", args.gateway if (args.jump or "").lower() == "tee" else None)
    add("--log-prefix", args.log_prefix)
    add("--log-level", args.log_level)
    add("--to-destination", args.to_destination)
    load("multiport", args.destination_ports)
    joined("--dports", args.destination_ports)
    add("--to-source", args.to_source)
    add("-g", args.goto)
    add("-i", args.in_interface)
    add("-o", args.out_interface)
    add("-f", args.fragment)
    add("-c", args.set_counters)
    add("--source-port", args.source_port)
    add("--destination-port", args.destination_port)
    add("--to-ports", args.to_ports)
    for option, value in (("--set-dscp", args.set_dscp_mark), ("--set-dscp-class", args.set_dscp_mark_class)):
        add(option, value)
        if value and (args.jump or "").lower() != "dscp":
            rule.extend(["-j", "DSCP"])
    rule.extend({"match": ["--syn"], "negate": ["!", "--syn"]}.get(args.syn, []))
    load("conntrack", args.ctstate and not {"conntrack", "state"} & set(args.match))
    joined(
        "--state" if "state" in args.match and "conntrack" not in args.match else "--ctstate", args.ctstate
    )
    load("iprange", (args.src_range or args.dst_range) and "iprange" not in args.match)
    add("--src-range", args.src_range)
    add("--dst-range", args.dst_range)
    load("set", args.match_set and "set" not in args.match)
    add("--match-set", args.match_set)
    rule.extend([args.match_set_flags] if args.match_set and args.match_set_flags else [])
    load("limit", args.limit or args.limit_burst)
    add("--limit", args.limit)
    add("--limit-burst", args.limit_burst)
    for option, value in (("--uid-owner", args.uid_owner), ("--gid-owner", args.gid_owner)):
        load("owner", value)
        add(option, value)
    if args.jump is None and args.reject_with:
        rule.extend(["-j", "REJECT"])
    add("--reject-with", args.reject_with)
    add("--icmpv6-type" if args.ip_version == "ipv6" else "--icmp-type", args.icmp_type)
    load("comment", args.comment)
    add("--comment", args.comment)
    return rule
