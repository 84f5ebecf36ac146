"""Whether the table of our own outlives what the host's service loads at a reload."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import ip_address, ip_network

import pytest

from ovpnha.firewall.findings import LIBERAL, find_findings
from ovpnha.firewall.rules import Ruleset
from ovpnha.firewall.services import FirewallServices
from ovpnha.firewall.site import Finding, FindingKind, Site
from ovpnha.firewall.table import Plan, Translation, planned_rules, render_table

PLAN = Plan((Translation("lan0", ip_address("10.99.2.10")),), (ip_network("10.8.0.0/22"),))
SITE = Site(plan=PLAN)
TABLE = render_table(PLAN)
DEBIAN = """#!/usr/sbin/nft -f

flush ruleset

table inet filter {
	chain input {
		type filter hook input priority filter;
	}
}
"""


def find(
    text: str, *, starts: bool = True, masked: bool = False, loaded: bool = False, kept: bool = True
) -> list[Finding]:
    site = replace(
        SITE, plan=PLAN if kept else None, services=FirewallServices(text, starts, masked)
    )
    return list(find_findings(site, planned_rules(PLAN) if loaded else Ruleset()))


@pytest.mark.parametrize(
    "text",
    [
        DEBIAN,
        TABLE + DEBIAN,
        f"flush ruleset inet\n{DEBIAN.replace('flush ruleset', '')}",
        f'{DEBIAN}# include "/etc/ovpnha/*.nft": {" ".join(TABLE.split())}',
    ],
    ids=["not named", "before the flush", "this family", "in a comment"],
)
def test_a_reload_that_takes_it_away_is_told(text: str) -> None:
    (found,) = find(text)
    assert found.kind is FindingKind.FLUSHED
    assert "/etc/nftables.conf flushes all rules" in str(found)
    assert "each reload of nftables.service resets" in found.what
    assert found.fix == (
        "let the file load it in the same step: ovpnha firewall >/etc/ovpnha/rules.nft &&"
        """ echo 'include "/etc/ovpnha/*.nft"' >>/etc/nftables.conf"""
    )


@pytest.mark.parametrize(
    "text",
    [
        "",
        DEBIAN + TABLE,
        DEBIAN + TABLE.replace("\t", "    "),
        DEBIAN.replace("flush", "# flush"),
        DEBIAN.replace("ruleset", "ruleset ip"),
        'table inet own { comment "#"; }',
    ],
    ids=["no file", "behind it", "indented", "no flush", "another family", "a quoted hash"],
)
def test_a_reload_that_leaves_it_is_not_told(text: str) -> None:
    assert find(text, loaded=True) == []


def test_an_old_one_is_told() -> None:
    (found,) = find(DEBIAN + TABLE.replace("10.99.2.10", "10.99.2.9"))
    assert "is not what ovpnha firewall prints" in found.what
    assert found.fix == "make it anew: ovpnha firewall >/etc/ovpnha/rules.nft"


def test_a_file_that_nothing_loads_is_told_while_the_table_is_there() -> None:
    (found,) = find(DEBIAN, starts=False, loaded=True)
    assert "whoever loads it resets" in found.what
    assert found.fix.endswith("; or, where nothing loads that file: systemctl mask nftables")
    assert find(DEBIAN, starts=False) == []
    assert find(DEBIAN, starts=False, masked=True, loaded=True) == []


def test_a_file_that_brings_back_what_nobody_keeps_is_told() -> None:
    (found,) = find(DEBIAN + TABLE, kept=False)
    assert found.kind is FindingKind.LEFTOVER
    assert found.fix == "take it, or the line that includes it, out of /etc/nftables.conf"
    assert find(DEBIAN, kept=False) == []


def test_a_tunable_that_nobody_keeps_is_told() -> None:
    left = Site(tunables={LIBERAL: 1}, liberal_before=0)
    (found,) = find_findings(left, Ruleset())
    assert found.kind is FindingKind.LEFTOVER
    assert found.fix == "restore it: ovpnha firewall --remove"
    for other in (replace(left, liberal_before=None), replace(left, liberal_before=1)):
        assert list(find_findings(other, Ruleset())) == []
