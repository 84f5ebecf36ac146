"""The table of our own, as text and as rules."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address, ip_network

from ovpnha.firewall.rules import Packet
from ovpnha.firewall.table import Plan, Translation, planned_rules, render_table

FOUR = Translation("lan0", IPv4Address("10.99.2.10"))
SIX = Translation("lan0", IPv6Address("2001:db8:2::10"))
NETS = (ip_network("10.8.0.0/22"), ip_network("2001:db8:8::/64"))
PLAN = Plan((FOUR, SIX), NETS)


def test_the_text() -> None:
    text = render_table(PLAN, 0)
    assert text.startswith("table inet ovpnha\ndelete table inet ovpnha\ntable inet ovpnha {\n")
    assert 'comment "nf_conntrack_tcp_be_liberal was 0"' in text
    assert 'oifname "lan0" ip6 saddr { 2001:db8:8::/64 } counter snat ip6 to 2001:db8:2::10' in text
    assert "comment" not in render_table(PLAN)


def test_a_family_that_is_not_named_is_not_translated() -> None:
    assert "ip6" not in render_table(Plan((FOUR,), NETS))
    assert "snat" not in render_table(Plan((SIX,), NETS[:1]))


def test_the_same_as_rules() -> None:
    rules = planned_rules(PLAN)
    leaving = Packet(4, oif="lan0", saddr=NETS[0], state="new")
    found = rules.translation(leaving)
    assert found is not None
    assert found.rule is not None
    assert found.rule.target == "10.99.2.10"
    assert rules.stops("forward", Packet(4, oif="lan0", saddr=NETS[0], state="invalid"))
    assert not rules.stops("forward", leaving)


def test_who_is_answered() -> None:
    rules = planned_rules(PLAN)
    vip = ip_network("10.99.2.10")
    ack, syn = frozenset({"ack"}), frozenset({"syn"})

    def stops(flags: frozenset[str], state: str, *, socket: bool, iif: str = "lan0") -> bool:
        packet = Packet(4, iif=iif, daddr=vip, proto="tcp", flags=flags, state=state, socket=socket)
        return rules.stops("input", packet) is not None

    assert stops(ack, "new", socket=False)
    assert stops(ack, "invalid", socket=False)
    assert not stops(ack, "established", socket=False)
    assert not stops(ack, "new", socket=True)
    assert not stops(syn, "new", socket=False)
    assert not stops(ack, "new", socket=False, iif="out0")


TEXT = """\
table inet ovpnha
delete table inet ovpnha
table inet ovpnha {
	comment "nf_conntrack_tcp_be_liberal was 0"
	chain strangers {
		socket wildcard { 0, 1 } return
		tcp flags & (fin | syn | rst | ack) == syn return
		counter drop
	}
	chain input {
		type filter hook input priority -5; policy accept;
		iifname "lan0" ip daddr 10.99.2.10 meta l4proto { tcp, udp } ct state { new, invalid } jump strangers
		iifname "lan0" ip6 daddr 2001:db8:2::10 meta l4proto { tcp, udp } ct state { new, invalid } jump strangers
	}
	chain forward {
		type filter hook forward priority -5; policy accept;
		oifname "lan0" ip saddr { 10.8.0.0/22 } ct state invalid counter drop
		oifname "lan0" ip6 saddr { 2001:db8:8::/64 } ct state invalid counter drop
	}
	chain postrouting {
		type nat hook postrouting priority 90; policy accept;
		oifname "lan0" ip saddr { 10.8.0.0/22 } counter snat ip to 10.99.2.10
		oifname "lan0" ip6 saddr { 2001:db8:8::/64 } counter snat ip6 to 2001:db8:2::10
	}
}
"""  # noqa: E501


def test_the_whole_text_and_the_places_of_its_rules() -> None:
    assert render_table(PLAN, 0) == TEXT
    places = [(one.name, one.hook, one.kind, one.priority) for one in planned_rules(PLAN).chains]
    assert places == [
        ("strangers", "", "", 0),
        ("input", "input", "filter", -5),
        ("forward", "forward", "filter", -5),
        ("postrouting", "postrouting", "nat", 90),
    ]
