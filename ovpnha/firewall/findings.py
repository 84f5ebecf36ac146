"""What in a node's packet filter ends the clients' connections at a move, and how to fix it.

Decides by asking what becomes of single packets (``rules``): one that leaves for the LAN, one of a
session that this node has not seen begin, one that comes for the VIP before its entry is here, one
of the BCN. Only what is certain is blamed. Each finding names the thing and the fix. The facts that
it rests on are measured in docs/adr/0034-a-table-of-its-own.md.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from itertools import product

from ovpnha.firewall.fixes import (
    drop_strangers,
    keep_from_flowtable,
    let_midstream,
    let_through,
    loosen,
    name_outcome,
    set_tunable,
    translate_instead,
)
from ovpnha.firewall.rules import (
    Action,
    IpAddress,
    IpNetwork,
    Outcome,
    Packet,
    Place,
    Rule,
    Ruleset,
    parse_network,
)
from ovpnha.firewall.table import FAMILY, TABLE, Plan, planned_rules

LIBERAL = "net.netfilter.nf_conntrack_tcp_be_liberal"
LOOSE = "net.netfilter.nf_conntrack_tcp_loose"
LOCAL_PORT, REMOTE_PORT = 40000, 443
"""Of the session that is asked about: what a client has, and what a server has."""
GUIDE = 'docs/operations.md, "Firewall and NAT"'


class FindingKind(StrEnum):
    """What a finding is about."""

    MASQUERADE = "masquerade"
    FOREIGN_SNAT = "foreign_snat"
    NO_CONNTRACKD = "no_conntrackd"
    STATEFUL = "stateful"
    INVALID = "invalid"
    LOOSE = "loose"
    RESETS = "resets"
    RP_FILTER = "rp_filter"
    FLOWTABLE = "flowtable"
    BCN = "bcn"
    VRRP = "vrrp"
    LEFTOVER = "leftover"


@dataclass(frozen=True)
class Finding:
    """One thing that should be changed."""

    kind: FindingKind
    what: str
    fix: str

    def __str__(self) -> str:
        return f"{self.what}; {self.fix}"


@dataclass(frozen=True)
class Site:
    """What is known of this node, beside its packet filter.

    ``interfaces`` are those by which traffic may leave for a LAN, each with the VIPs that are known
    to live there; ``tun`` is the name of OpenVPN's device, "" when it is not known.
    """

    tunnels: tuple[IpNetwork, ...] = ()
    tun: str = ""
    interfaces: Mapping[str, tuple[IpAddress, ...]] = field(default_factory=dict)
    bcn_links: tuple[str, ...] = ()
    bcn_ports: tuple[int, ...] = (11940,)
    """Of the sidecar, and of conntrackd where it runs."""
    bcn_version: int = 4
    bcn_answers: bool = False
    """Datagrams of the BCN may count as answers to our own (unicast)."""
    vrrp_links: tuple[str, ...] = ()
    plan: Plan | None = None
    """The table that the sidecar keeps."""
    conntrackd: bool = False
    tunables: Mapping[str, int] = field(default_factory=dict)
    """By name; one that could not be read is missing."""
    strict: tuple[str, ...] = ()
    """Interfaces with rp_filter = 1."""
    strictly_dropped: int = 0
    """Packets that rp_filter has dropped since the start of the host."""


def find_findings(site: Site, rules: Ruleset) -> Iterator[Finding]:
    """What should be changed, the worst first."""
    yield from _leftover(site, rules)
    if site.plan is not None:
        rules = rules.without(FAMILY, TABLE).joined(planned_rules(site.plan))
        site = replace(site, tunables={**site.tunables, LIBERAL: 1})
    paths = list(_paths(site, rules))
    yield from _wrong_addresses(site, paths)
    yield from _resets(paths, rules)
    yield from _lost_states(site, paths, rules)
    yield from _flowtables(site, paths, rules)
    yield from _blocked(site, rules)
    yield from _strict(site)


@dataclass(frozen=True)
class _Path:
    """How a tunnel's traffic leaves by one interface."""

    interface: str
    vips: tuple[IpAddress, ...]
    tunnel: IpNetwork
    tun: str | None
    translation: Outcome | None

    @property
    def vip(self) -> IpAddress | None:
        """The VIP of this family on the interface; None when none is known."""
        return next((one for one in self.vips if one.version == self.tunnel.version), None)

    def inwards(self, state: str) -> Packet:
        """A segment in the middle of a session, from the LAN to the client."""
        return Packet(
            version=self.tunnel.version,
            iif=self.interface,
            oif=self.tun,
            daddr=self.tunnel,
            proto="tcp",
            sport=REMOTE_PORT,
            dport=LOCAL_PORT,
            state=state,
            flags=frozenset({"ack"}),
        )

    def outwards(self, state: str) -> Packet:
        """A segment in the middle of a session, from the client to the LAN."""
        return Packet(
            version=self.tunnel.version,
            iif=self.tun,
            oif=self.interface,
            saddr=self.tunnel,
            proto="tcp",
            sport=LOCAL_PORT,
            dport=REMOTE_PORT,
            state=state,
            flags=frozenset({"ack"}),
        )


def _paths(site: Site, rules: Ruleset) -> Iterator[_Path]:
    for interface, vips in site.interfaces.items():
        for tunnel in site.tunnels:
            packet = Packet(tunnel.version, oif=interface, saddr=tunnel, state="new")
            found = rules.translation(packet)
            yield _Path(interface, vips, tunnel, site.tun or None, found)


def _leftover(site: Site, rules: Ruleset) -> Iterator[Finding]:
    has = any((one.family, one.table) == (FAMILY, TABLE) for one in rules.chains)
    if has and site.plan is None:
        yield Finding(
            FindingKind.LEFTOVER,
            f"the table {FAMILY} {TABLE} is there, and nobody keeps it: manage is false",
            "remove it: ovpnha firewall --remove",
        )


@dataclass(frozen=True)
class _Wrong:
    """A rule that translates these tunnels out of one interface to what does not move."""

    interface: str
    vip: IpAddress | None
    tunnels: tuple[IpNetwork, ...]
    found: Outcome
    rule: Rule
    home: str
    """The interface that the address is the VIP of; "" when it is none that is known."""


def _wrong_addresses(site: Site, paths: Sequence[_Path]) -> Iterator[Finding]:
    """Translation to an address that does not move with the clients.

    Of a rule that translates out of several interfaces, one finding for each that has a VIP; for
    the others it stays as it is. Rules of iptables are known by their number: those behind come
    first, so that the numbers hold.
    """
    wrong: dict[tuple[Place, int, int, str], _Wrong] = {}
    for path in paths:
        found = path.translation
        if found is None or found.rule is None or _moves_here(path, found, site):
            continue
        if path.vip is None and _concerns_a_vip(path, found.rule, paths):
            continue
        key = (found.chain.place, found.rule.handle, path.tunnel.version, path.interface)
        others = wrong.get(key)
        tunnels = (*(others.tunnels if others is not None else ()), path.tunnel)
        wrong[key] = _Wrong(
            path.interface, path.vip, tunnels, found, found.rule, _home(found.rule, site)
        )
    yield from map(_wrong_address, sorted(wrong.values(), key=_order_of_commands))


def _order_of_commands(one: _Wrong) -> int:
    return 0 if one.found.chain.tool == "nft" else -one.rule.handle


def _moves_here(path: _Path, found: Outcome, site: Site) -> bool:
    """Whether a rule translates to an address that moves, and belongs where the packet leaves."""
    if found.action is not Action.SNAT or found.rule is None:
        return False
    if path.vip is None:
        return _home(found.rule, site) != ""
    return found.rule.target in map(str, path.vips)


def _concerns_a_vip(path: _Path, rule: Rule, paths: Sequence[_Path]) -> bool:
    """Whether a rule is for an interface that has a VIP, and for this one only by the way."""
    return any(
        one.vip is not None
        and one.tunnel == path.tunnel
        and rule.answer(Packet(one.tunnel.version, oif=one.interface, saddr=one.tunnel))
        is not False
        for one in paths
    )


def _home(rule: Rule, site: Site) -> str:
    """The interface that the address of a rule is the VIP of; "" when there is none."""
    holding = (name for name, vips in site.interfaces.items() if rule.target in map(str, vips))
    return next(holding, "")


def _wrong_address(one: _Wrong) -> Finding:
    found, rule = one.found, one.rule
    nets = ", ".join(map(str, one.tunnels))
    where = f"{name_outcome(found)} translates {nets} out of {one.interface}"
    command = translate_instead(found.chain, rule, one.interface, one.tunnels, one.vip)
    fix = f"instead: {command}"
    if one.vip is None:
        fix += (
            f", where VIP is the address that moves with the role on {one.interface}; tell it"
            f' under [firewall]: snat = [{{ interface = "{one.interface}", vip = "…" }}]'
        )
    if found.action is Action.MASQUERADE:
        what = f"{where} to this node's own address, which no other node gets: sessions end"
        return Finding(FindingKind.MASQUERADE, f"{what} at a move", fix)
    if one.home:
        what = f"{where} to {rule.target}, the VIP of {one.home}: no answer comes back this way"
        return Finding(FindingKind.FOREIGN_SNAT, what, fix)
    what = f"{where} to {rule.target}, which is no VIP that is known here: sessions end at a move"
    return Finding(FindingKind.FOREIGN_SNAT, what, fix)


def _resets(paths: Sequence[_Path], rules: Ruleset) -> Iterator[Finding]:
    """What comes for a translated session before its entry is here must not be answered."""
    told: set[tuple[str, IpAddress]] = set()
    for path in paths:
        found = path.translation
        target = found.rule.target if found is not None and found.rule is not None else ""
        vip = next((one for one in path.vips if str(one) == target), None)
        if found is None or vip is None:
            continue
        packet = replace(path.inwards("new"), oif=None, daddr=parse_network(str(vip)), socket=False)
        answered = any(
            _is_answered(rules.stops("input", replace(packet, state=state)))
            for state in ("new", "invalid")
        )
        if answered and (path.interface, vip) not in told:
            told.add((path.interface, vip))
            yield Finding(
                FindingKind.RESETS,
                f"this host answers with a TCP reset what comes by {path.interface} for a session"
                f" that is translated to {vip}, before it knows the session",
                drop_strangers(path.interface, vip, found.chain, rules),
            )


def _is_answered(stopper: Outcome | None) -> bool:
    return stopper is None or stopper.action is Action.RESET


def _lost_states(site: Site, paths: Sequence[_Path], rules: Ruleset) -> Iterator[Finding]:
    """What connection tracking knows on the old node only."""
    dropped = {state: _stopped(paths, rules, state) for state in ("new", "invalid")}
    translated = next((one.translation for one in paths if one.translation is not None), None)
    if not site.conntrackd:
        yield from _unknown_sessions(dropped["new"], translated)
    if translated is None and dropped["new"] is None and dropped["invalid"] is None:
        return
    if site.tunables.get(LIBERAL) == 0:
        invalid = dropped["invalid"]
        then = f"are dropped by {name_outcome(invalid)}" if invalid else "leave without translation"
        yield Finding(
            FindingKind.INVALID,
            f"{LIBERAL} = 0: where an old entry of a session is left, as on a node that becomes"
            f" master again, its packets are invalid and {then}",
            set_tunable(LIBERAL),
        )
    if site.tunables.get(LOOSE) == 0:
        yield Finding(
            FindingKind.LOOSE,
            f"{LOOSE} = 0: a session that this node has not seen begin is invalid for good, unless"
            " conntrackd brings its entry",
            set_tunable(LOOSE),
        )


def _stopped(paths: Sequence[_Path], rules: Ruleset, state: str) -> Outcome | None:
    """What stops a segment of a session in this state, and would let it pass as established.

    Where no session can begin, none is there to be stopped.
    """
    for path in paths:
        if not _can_begin(path, rules):
            continue
        for way in (path.inwards, path.outwards):
            stopper = rules.stops("forward", way(state))
            if stopper is not None and rules.stops("forward", way("established")) is None:
                return stopper
    return None


def _can_begin(path: _Path, rules: Ruleset) -> bool:
    """Whether the first segment of a session, to whatever port, may pass one way or the other."""
    for way in (path.inwards, path.outwards):
        first = replace(way("new"), sport=None, dport=None, flags=frozenset({"syn"}))
        if rules.stops("forward", first) is None:
            return True
    return False


def _unknown_sessions(dropped: Outcome | None, translated: Outcome | None) -> Iterator[Finding]:
    mend = f"let conntrackd carry the entries to the other nodes ({GUIDE})"
    if dropped is not None:
        yield Finding(
            FindingKind.STATEFUL,
            f"{name_outcome(dropped)} stops sessions that this node has not seen begin, which all"
            " are after a move, and conntrackd does not run",
            f"{mend}; without it, the best that can be had: {let_midstream(dropped.chain)}",
        )
    elif translated is not None:
        yield Finding(
            FindingKind.NO_CONNTRACKD,
            f"{name_outcome(translated)} translates, and conntrackd does not run: after a move a"
            " session goes on only when its client sends something, and a download stalls",
            mend,
        )


def _flowtables(site: Site, paths: Sequence[_Path], rules: Ruleset) -> Iterator[Finding]:
    """Offloaded flows make no events, so that conntrackd does not hear of them."""
    for path in paths:
        found = rules.offload(path.outwards("established"))
        found = found or rules.offload(path.inwards("established"))
        if found is None or found.rule is None:
            continue
        yield Finding(
            FindingKind.FLOWTABLE,
            f"{name_outcome(found)} gives flows of the tunnels to a flowtable, which connection"
            " tracking hears nothing of until they end",
            keep_from_flowtable(found.chain, found.rule, site.tun or "tun0"),
        )
        return


def _blocked(site: Site, rules: Ruleset) -> Iterator[Finding]:
    """What the nodes say to each other."""
    for link, port in product(site.bcn_links, site.bcn_ports):
        packet = Packet(
            version=site.bcn_version,
            proto="udp",
            sport=port,
            dport=port,
            state=None if site.bcn_answers else "new",
        )
        what = f"the back channel network on {link} (UDP {port})"
        yield from _blocked_on(link, packet, FindingKind.BCN, what, ("udp", port), rules)
    for link in site.vrrp_links:
        packet = Packet(version=4, proto="vrrp", state="new")
        what = f"the VIP manager on {link} (VRRP, IP protocol 112)"
        yield from _blocked_on(link, packet, FindingKind.VRRP, what, ("vrrp", 0), rules)


def _blocked_on(
    link: str, packet: Packet, kind: FindingKind, what: str, match: tuple[str, int], rules: Ruleset
) -> Iterator[Finding]:
    for hook, asked in (
        ("input", replace(packet, iif=link)),
        ("output", replace(packet, oif=link)),
    ):
        stopper = rules.stops(hook, asked)
        if stopper is not None:
            yield Finding(
                kind,
                f"{name_outcome(stopper)} stops {what}",
                let_through(stopper.chain, hook, link, *match),
            )


def _strict(site: Site) -> Iterator[Finding]:
    if site.strict and site.strictly_dropped:
        names = ", ".join(site.strict)
        commands = "; ".join(loosen(name) for name in site.strict)
        yield Finding(
            FindingKind.RP_FILTER,
            f"rp_filter is strict on {names}, and this host has dropped {site.strictly_dropped}"
            " packets that came by another interface than their answers would leave by",
            f"if paths may be asymmetric: {commands}",
        )
