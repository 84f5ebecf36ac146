"""Who else loads rules on this host, and whether the table of our own outlives it.

Decides by the text that ``nftables.service`` loads at a reload: one that flushes all rules must
define our table behind the flush, in the same step, since whatever is put back later is too late
for a connection that is busy (docs/adr/0034-a-table-of-its-own.md). Of the other services it was
tried which touch our table: none.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from ovpnha.firewall.table import FAMILY, TABLE, Plan, render_table

NFTABLES_FILE = "/etc/nftables.conf"
INCLUDED_FILE = "/etc/ovpnha/rules.nft"
RENEW = f"ovpnha firewall >{INCLUDED_FILE}"
INCLUDE = f"""echo 'include "/etc/ovpnha/*.nft"' >>{NFTABLES_FILE}"""
SPARING = {
    "ufw.service": "ufw",
    "firewalld.service": "firewalld",
    "netfilter-persistent.service": "netfilter-persistent",
}
"""Services that were tried, and change rules of their own only, at a start, a reload and a stop."""
_FLUSH = re.compile(rf"\bflush\s+ruleset\b(?!\s+(?!{FAMILY}\b)(?:ip6?|arp|bridge|netdev)\b)")
_OURS = re.compile(rf"\btable\s+{FAMILY}\s+{TABLE}\s*\{{")
_COMMENT = re.compile(r'("[^"\n]*")|#[^\n]*')


@dataclass(frozen=True)
class FirewallServices:
    """What else loads rules here; empty where systemd does not tell."""

    text: str = ""
    """What ``nftables.service`` loads, its includes filled in; "" when there is nothing."""
    starts: bool = False
    """That unit is enabled, or runs."""
    masked: bool = False
    """It never can."""
    sparing: tuple[str, ...] = ()
    """Names of others that are active, and leave our table alone."""
    unread: tuple[str, ...] = ()


@dataclass(frozen=True)
class LoadOutcome:
    """What loading a text makes of our table."""

    flushes: bool
    has_table: bool
    """It is there afterwards, because the text defines it."""
    is_current: bool
    """As it is wanted now."""


def judge_text(text: str, plan: Plan | None) -> LoadOutcome:
    """What becomes of our table when this text is loaded."""
    bare = _COMMENT.sub(lambda found: found[1] or "", text)
    flushes = list(_FLUSH.finditer(bare))
    rest = bare[flushes[-1].end() :] if flushes else bare
    wanted = "" if plan is None else _squeeze(render_table(plan))
    return LoadOutcome(bool(flushes), bool(_OURS.search(rest)), wanted in _squeeze(rest))


def _squeeze(text: str) -> str:
    return " ".join(text.split())


def find_flushed(
    services: FirewallServices, plan: Plan | None, *, loaded: bool
) -> Iterator[tuple[str, str]]:
    """What is wrong with the file that ``nftables.service`` loads, and the fix.

    Args:
        services: Of this host.
        plan: The table that the sidecar keeps.
        loaded: The table is there, so that whoever loads the file by hand does harm.
    """
    if services.masked or plan is None or not (services.starts or loaded):
        return
    outcome = judge_text(services.text, plan)
    if outcome.has_table and not outcome.is_current:
        yield (
            f"{NFTABLES_FILE} loads a table {FAMILY} {TABLE} that is not what ovpnha firewall"
            " prints: a reload sets that one, until the sidecar corrects it",
            f"make it anew: {RENEW}",
        )
    elif outcome.flushes and not outcome.has_table:
        who = "each reload of nftables.service" if services.starts else "whoever loads it"
        fix = f"let the file load it in the same step: {RENEW} && {INCLUDE}"
        if not services.starts:
            fix += "; or, where nothing loads that file: systemctl mask nftables"
        yield (
            f"{NFTABLES_FILE} flushes all rules and does not load the table {FAMILY} {TABLE}:"
            f" {who} resets translated connections that are busy",
            fix,
        )
