"""Translation of tunnels' traffic to an address that does not move with the clients.

Decides which rules are blamed: those that translate out of an interface to what is none of its
VIPs. One that is for another interface, and for this one only by the way, is not.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from ovpnha.firewall.fixes import name_outcome, translate_instead
from ovpnha.firewall.rules import Action, IpAddress, IpNetwork, Outcome, Packet, Place, Rule
from ovpnha.firewall.site import Finding, FindingKind, LinkTraffic, Site


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


def find_wrong_addresses(site: Site, paths: Sequence[LinkTraffic]) -> Iterator[Finding]:
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


def _moves_here(path: LinkTraffic, found: Outcome, site: Site) -> bool:
    """Whether a rule translates to an address that moves, and belongs where the packet leaves."""
    if found.action is not Action.SNAT or found.rule is None:
        return False
    if path.vip is None:
        return _home(found.rule, site) != ""
    return found.rule.target in map(str, path.vips)


def _concerns_a_vip(path: LinkTraffic, rule: Rule, paths: Sequence[LinkTraffic]) -> bool:
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
