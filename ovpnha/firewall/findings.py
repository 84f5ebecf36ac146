"""What in a node's packet filter ends the clients' connections at a move, and how to fix it.

Decides by asking what becomes of single packets (``rules``): one that leaves for the LAN, one of a
session that this node has not seen begin, one that comes for the VIP before its entry is here, one
of the BCN. Only what is certain is blamed. Each finding names the thing and the fix. The facts that
it rests on are measured in docs/adr/0034-a-table-of-its-own.md.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import product

from ovpnha.firewall.fixes import (
    drop_strangers,
    keep_from_flowtable,
    let_midstream,
    let_through,
    loosen,
    name_outcome,
    set_tunable,
)
from ovpnha.firewall.rules import (
    Action,
    IpAddress,
    Outcome,
    Packet,
    Ruleset,
    parse_network,
)
from ovpnha.firewall.services import NFTABLES_FILE, find_flushed, judge_text
from ovpnha.firewall.site import Finding, FindingKind, LinkTraffic, Site, find_paths
from ovpnha.firewall.table import FAMILY, TABLE, planned_rules
from ovpnha.firewall.translations import find_wrong_addresses

LIBERAL = "net.netfilter.nf_conntrack_tcp_be_liberal"
LOOSE = "net.netfilter.nf_conntrack_tcp_loose"
GUIDE = 'docs/operations.md, "Firewall and NAT"'


def find_findings(site: Site, rules: Ruleset) -> Iterator[Finding]:
    """What should be changed, the worst first."""
    yield from _leftover(site, rules)
    loaded = _has_table(rules)
    for what, fix in find_flushed(site.services, site.plan, loaded=loaded):
        yield Finding(FindingKind.FLUSHED, what, fix)
    if site.plan is not None:
        rules = rules.without(FAMILY, TABLE).joined(planned_rules(site.plan))
        site = replace(site, tunables={**site.tunables, LIBERAL: 1})
    paths = list(find_paths(site, rules))
    yield from find_wrong_addresses(site, paths)
    yield from _resets(paths, rules)
    yield from _lost_states(site, paths, rules)
    yield from _flowtables(site, paths, rules)
    yield from _blocked(site, rules)
    yield from _strict(site)


def _leftover(site: Site, rules: Ruleset) -> Iterator[Finding]:
    if site.plan is not None:
        return
    if _has_table(rules):
        yield Finding(
            FindingKind.LEFTOVER,
            f"the table {FAMILY} {TABLE} is there, and nobody keeps it: manage is false",
            "remove it: ovpnha firewall --remove",
        )
    elif site.liberal_before == 0 and site.tunables.get(LIBERAL) == 1:
        yield Finding(
            FindingKind.LEFTOVER,
            f"{LIBERAL} = 1, as ovpnha set it with its table, and nobody keeps it: manage is false",
            "restore it: ovpnha firewall --remove",
        )
    if judge_text(site.services.text, None).has_table:
        yield Finding(
            FindingKind.LEFTOVER,
            f"{NFTABLES_FILE} loads the table {FAMILY} {TABLE}, and nobody keeps it: manage is"
            " false",
            f"take it, or the line that includes it, out of {NFTABLES_FILE}",
        )


def _has_table(rules: Ruleset) -> bool:
    return any((one.family, one.table) == (FAMILY, TABLE) for one in rules.chains)


def _resets(paths: Sequence[LinkTraffic], rules: Ruleset) -> Iterator[Finding]:
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


def _lost_states(site: Site, paths: Sequence[LinkTraffic], rules: Ruleset) -> Iterator[Finding]:
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
            f"{LOOSE} = 0: a session that this node has not seen begin stays invalid, unless"
            " conntrackd brings its entry",
            set_tunable(LOOSE),
        )


def _stopped(paths: Sequence[LinkTraffic], rules: Ruleset, state: str) -> Outcome | None:
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


def _can_begin(path: LinkTraffic, rules: Ruleset) -> bool:
    """Whether the first segment of a session, to whatever port, may pass one way or the other."""
    for way in (path.inwards, path.outwards):
        first = replace(way("new"), sport=None, dport=None, flags=frozenset({"syn"}))
        if rules.stops("forward", first) is None:
            return True
    return False


def _unknown_sessions(dropped: Outcome | None, translated: Outcome | None) -> Iterator[Finding]:
    fix = f"let conntrackd carry the entries to the other nodes ({GUIDE})"
    if dropped is not None:
        yield Finding(
            FindingKind.STATEFUL,
            f"{name_outcome(dropped)} stops sessions that this node has not seen begin, which all"
            " are after a move, and conntrackd does not run",
            f"{fix}; without it, the best that can be had: {let_midstream(dropped.chain)}",
        )
    elif translated is not None:
        yield Finding(
            FindingKind.NO_CONNTRACKD,
            f"{name_outcome(translated)} translates, and conntrackd does not run: after a move a"
            " session goes on only when its client sends something, and a download stalls",
            fix,
        )


def _flowtables(site: Site, paths: Sequence[LinkTraffic], rules: Ruleset) -> Iterator[Finding]:
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
