"""The nftables table of our own, ``inet ovpnha``: its text, and the same as rules to judge.

What it must do, measured in docs/adr/0034-a-table-of-its-own.md:

- Translate what leaves a LAN interface from the tunnels' networks to the VIP of that interface,
  before any rule of the administrator's could masquerade it.
- Leave unanswered what comes for the VIP, belongs to no socket of this host and is known to no
  entry: it is for a client whose entry is not here yet. Were it accepted, this host would answer it
  with a TCP reset, and the entry that it makes would take the port from the client's own.
- Let nothing out untranslated: the LAN would answer that with a reset.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from ovpnha.firewall.rules import (
    Action,
    Chain,
    FlagQuestion,
    IpAddress,
    IpNetwork,
    Question,
    Rule,
    Ruleset,
    parse_network,
)

FAMILY, TABLE = "inet", "ovpnha"
NAT_PRIORITY = 90
"""Before ``srcnat`` (100), where the administrator's own translation is."""
FILTER_PRIORITY = -5
"""Before ``filter`` (0)."""
BEGIN = frozenset({"fin", "syn", "rst", "ack"})
NOTE = "nf_conntrack_tcp_be_liberal was"


@dataclass(frozen=True)
class Translation:
    """What leaves by this interface gets this address."""

    interface: str
    vip: IpAddress


@dataclass(frozen=True)
class Plan:
    """What the table does."""

    translations: tuple[Translation, ...]
    tunnels: tuple[IpNetwork, ...]


def render_table(plan: Plan, liberal_before: int | None = None) -> str:
    """The text for ``nft -f -``, which replaces the whole table in one step.

    Args:
        plan: What it does.
        liberal_before: The value of the tunable before it was set, kept with the table, so that it
            can be restored; None when it was not set.
    """
    lines = [f"table {FAMILY} {TABLE}", f"delete table {FAMILY} {TABLE}"]
    lines += [f"table {FAMILY} {TABLE} {{"]
    if liberal_before is not None:
        lines += [f'\tcomment "{NOTE} {liberal_before}"']
    pairs = list(_pairs(plan))
    lines += _chain("strangers", "", _strangers())
    lines += _chain("input", _hook("filter", "input", FILTER_PRIORITY), _inputs(pairs))
    lines += _chain("forward", _hook("filter", "forward", FILTER_PRIORITY), _leaks(pairs))
    lines += _chain("postrouting", _hook("nat", "postrouting", NAT_PRIORITY), _snats(pairs))
    return "\n".join([*lines, "}", ""])


def planned_rules(plan: Plan) -> Ruleset:
    """The table as rules, to judge it together with those of the host."""
    flags = FlagQuestion(BEGIN, frozenset({"syn"}))
    strangers = (
        Rule((Question("socket", (True,)),), Action.RETURN),
        Rule((Question("proto", ("tcp",)), flags), Action.RETURN),
        Rule((), Action.DROP),
    )
    inputs, leaks, snats = [], [], []
    for one, nets in _pairs(plan):
        family = Question("version", (one.vip.version,))
        leaving = (family, Question("oif", (one.interface,)), Question("saddr", tuple(nets)))
        arriving = (
            family,
            Question("iif", (one.interface,)),
            Question("daddr", _single(one.vip)),
            Question("proto", ("tcp", "udp")),
            Question("state", ("new", "invalid")),
        )
        inputs.append(Rule(arriving, Action.JUMP, "strangers"))
        leaks.append(Rule((*leaving, Question("state", ("invalid",))), Action.DROP))
        shown = f"{_leaving(one, nets)} snat to {one.vip}"
        snats.append(Rule(leaving, Action.SNAT, str(one.vip), shown))
    return Ruleset(
        (
            Chain("nft", FAMILY, TABLE, "strangers", rules=strangers),
            _base("input", "filter", FILTER_PRIORITY, inputs),
            _base("forward", "filter", FILTER_PRIORITY, leaks),
            _base("postrouting", "nat", NAT_PRIORITY, snats),
        )
    )


def _pairs(plan: Plan) -> Iterator[tuple[Translation, list[IpNetwork]]]:
    """Each translation with the tunnels' networks of its family."""
    for one in plan.translations:
        nets = [net for net in plan.tunnels if net.version == one.vip.version]
        if nets:
            yield one, nets


Pairs = Sequence[tuple[Translation, list[IpNetwork]]]


def _base(hook: str, kind: str, priority: int, rules: list[Rule]) -> Chain:
    return Chain("nft", FAMILY, TABLE, hook, hook, kind, priority, rules=tuple(rules))


def _single(vip: IpAddress) -> tuple[IpNetwork, ...]:
    network = parse_network(str(vip))
    return () if network is None else (network,)


def _chain(name: str, head: str, rules: Sequence[str]) -> list[str]:
    inner = [head, *rules] if head else list(rules)
    return [f"\tchain {name} {{", *(f"\t\t{line}" for line in inner), "\t}"]


def _hook(kind: str, hook: str, priority: int) -> str:
    return f"type {kind} hook {hook} priority {priority}; policy accept;"


def _strangers() -> list[str]:
    return [
        "socket wildcard { 0, 1 } return",
        "tcp flags & (fin | syn | rst | ack) == syn return",
        "counter drop",
    ]


def _inputs(pairs: Pairs) -> list[str]:
    return [
        f'iifname "{one.interface}" {_ip(one.vip)} daddr {one.vip} meta l4proto {{ tcp, udp }}'
        " ct state { new, invalid } jump strangers"
        for one, _ in pairs
    ]


def _leaks(pairs: Pairs) -> list[str]:
    return [f"{_leaving(one, nets)} ct state invalid counter drop" for one, nets in pairs]


def _snats(pairs: Pairs) -> list[str]:
    return [
        f"{_leaving(one, nets)} counter snat {_ip(one.vip)} to {one.vip}" for one, nets in pairs
    ]


def _leaving(one: Translation, nets: Sequence[IpNetwork]) -> str:
    listed = ", ".join(map(str, nets))
    return f'oifname "{one.interface}" {_ip(one.vip)} saddr {{ {listed} }}'


def _ip(vip: IpAddress) -> str:
    return "ip" if vip.version == 4 else "ip6"
