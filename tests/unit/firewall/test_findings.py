"""Each thing that ends connections at a move is found, named, and answered with a command."""

from __future__ import annotations

import re
import shlex
from dataclasses import replace
from ipaddress import ip_address, ip_network

import pytest

from ovpnha.firewall.findings import LIBERAL, LOOSE, find_findings
from ovpnha.firewall.fixes import name_outcome
from ovpnha.firewall.iptables import read_iptables
from ovpnha.firewall.rules import (
    Action,
    Chain,
    Outcome,
    Packet,
    Prefix,
    Question,
    Rule,
    Ruleset,
    Span,
)
from ovpnha.firewall.site import Finding, FindingKind, Site
from ovpnha.firewall.table import Plan, Translation, planned_rules

NET, NET6 = ip_network("10.8.0.0/22"), ip_network("2001:db8:8::/64")
VIP, VIP6 = ip_address("10.99.2.10"), ip_address("2001:db8:2::10")
OUTSIDE = ip_address("10.99.1.10")
SITE = Site(
    tunnels=(NET,),
    tun="tun0",
    interfaces={"lan0": (VIP, VIP6), "out0": (OUTSIDE,)},
    bcn_links=("bcn0",),
    vrrp_links=("out0",),
    conntrackd=True,
    tunables={LIBERAL: 1, LOOSE: 1},
)
PLAN = Plan((Translation("lan0", VIP),), (NET,))


def span(first: str, last: str) -> Span:
    return Span(ip_address(first), ip_address(last))


def save(table: str, *lines: str, tool: str = "iptables") -> Ruleset:
    heads = {
        "nat": ":POSTROUTING ACCEPT [0:0]",
        "filter": ":INPUT ACCEPT [0:0]\n:FORWARD ACCEPT [0:0]\n:OUTPUT ACCEPT [0:0]",
    }
    return read_iptables("\n".join([f"*{table}", heads[table], *lines]), tool)


def nft(hook: str, *rules: Rule, family: str = "inet", policy: Action = Action.ACCEPT) -> Ruleset:
    kind = "nat" if hook == "postrouting" else "filter"
    chain = Chain("nft", family, "own", hook, hook, kind, 0, policy, rules)
    return Ruleset((chain,))


def find(rules: Ruleset, site: Site = SITE) -> list[Finding]:
    return list(find_findings(site, rules))


def only(rules: Ruleset, site: Site = SITE) -> Finding:
    (found,) = find(rules, site)
    return found


def test_nothing_to_say() -> None:
    assert find(Ruleset()) == []
    assert find(nft("postrouting", policy=Action.DROP)) == []


OUT_LAN = Question("oif", ("lan0",))
OF_V4, OF_V6 = Question("version", (4,)), Question("version", (6,))


def masquerade(*asked: Question, text: str) -> Rule:
    return Rule(asked, Action.MASQUERADE, text=f"{text}masquerade", handle=8)


def test_masquerade_in_nftables() -> None:
    rule = masquerade(OUT_LAN, text='oifname "lan0" ')
    found = only(nft("postrouting", rule, family="ip"))
    assert found.kind is FindingKind.MASQUERADE
    assert 'the rule "oifname "lan0" masquerade" (nft ip own postrouting handle 8)' in found.what
    assert found.fix == (
        "instead: nft insert rule ip own postrouting position 8"
        f" 'ip saddr {NET} oifname \"lan0\" snat to {VIP}'"
    )
    assert str(found) == f"{found.what}; {found.fix}"


def test_a_rule_that_does_nothing_else_is_replaced() -> None:
    own = Question("saddr", (ip_network("10.8.1.0/24"), span("10.8.2.0", "10.8.2.9")))
    text = 'oifname "lan0" ip saddr { 10.8.1.0/24, 10.8.2.0-10.8.2.9 } counter packets 3 bytes 9 '
    rule = masquerade(OUT_LAN, own, text=text)
    assert only(nft("postrouting", rule)).fix == (
        'instead: nft replace rule inet own postrouting handle 8 \'oifname "lan0" ip saddr'
        f" {{ 10.8.1.0/24, 10.8.2.0-10.8.2.9 }} counter snat ip to {VIP}'"
    )
    remark = replace(rule, text='ip saddr 10.8.1.0/24 masquerade random comment "a masquerade \'"')
    assert only(nft("postrouting", remark)).fix.endswith(
        f"'ip saddr 10.8.1.0/24 snat ip to {VIP} comment \"a masquerade '\"'\"'\"'"
    )


def test_masquerade_of_both_families_keeps_its_place_for_the_other() -> None:
    rule = masquerade(OUT_LAN, text='oifname "lan0" ')
    four, six = find(nft("postrouting", rule), replace(SITE, tunnels=(NET, NET6)))
    place = "instead: nft insert rule inet own postrouting position 8"
    assert four.fix == f"{place} 'ip saddr {NET} oifname \"lan0\" snat ip to {VIP}'"
    assert six.fix == f"{place} 'ip6 saddr {NET6} oifname \"lan0\" snat ip6 to {VIP6}'"


WIDE = [
    ("", ()),
    ('oifname != "tun0" ', (Question("oif", ("tun0",), negated=True),)),
    ('oifname "*0" ', (Question("oif", (Prefix(""),)),)),
    ('oifname { "lan0", "out*" } ', (Question("oif", ("lan0", Prefix("out"))),)),
    ("oifname @names ", (Question("oif", ("lan0", "out0")),)),
    ("ip saddr @hosts ", (Question("saddr", ("a name",)),)),
    ("oif { 3, 4 } ", (Question("oif", ("lan0", "out0")),)),
    ("oifname @changing ", (Question("unknown"),)),
    ('oifname . ip saddr { "lan0" . 10.8.0.1 } ', (Question("unknown"),)),
]
KEPT = {
    "ip saddr @hosts ",
    "oif { 3, 4 } ",
    "oifname @changing ",
    'oifname . ip saddr { "lan0" . 10.8.0.1 } ',
}


@pytest.mark.parametrize(("asks", "questions"), WIDE, ids=[asks for asks, _ in WIDE])
def test_of_a_wide_match_each_interface_gets_its_own_rule(
    asks: str, questions: tuple[Question, ...]
) -> None:
    """In front of it, with its own address: the rule stays for all other interfaces."""
    rules = nft("postrouting", masquerade(*questions, text=f"{asks}meta mark 0x7 "))
    fixes = {one.fix for one in find(rules)}
    place = "instead: nft insert rule inet own postrouting position 8"
    kept = asks if asks in KEPT else ""
    assert fixes == {
        f"{place} 'oifname \"{name}\" ip saddr {NET} {kept}meta mark 0x7 snat ip to {vip}'"
        for name, vip in (("lan0", VIP), ("out0", OUTSIDE))
    }


IN_IPTABLES = [
    ("", ""),
    ("! -o tun0 ", ""),
    ("-o + ", ""),
    ("-s 10.8.0.0/16 ! -o tun0 ", ""),
    ("! -s 10.9.0.0/16 ", ""),
]


@pytest.mark.parametrize(("asks", "kept"), IN_IPTABLES)
def test_of_a_wide_match_in_iptables(asks: str, kept: str) -> None:
    rules = save("nat", f"-A POSTROUTING {asks}-p tcp -j MASQUERADE --to-ports 1-9")
    assert {one.fix for one in find(rules)} == {
        f"instead: iptables -t nat -I POSTROUTING 1 -o {name} -s {NET} {kept}-p tcp -j SNAT"
        f" --to-source {vip}"
        for name, vip in (("lan0", VIP), ("out0", OUTSIDE))
    }


def test_this_host_s_own_packets_keep_their_address() -> None:
    """A standby that sends with the VIP gets no answer: the master has it."""
    mine = Packet(4, oif="lan0", saddr=ip_network("10.99.2.11"), state="new")
    rules = save("nat", "-A POSTROUTING -o lan0 -j MASQUERADE")
    fix = only(rules).fix.partition("POSTROUTING 1 ")[2]
    fixed = save("nat", f"-A POSTROUTING {fix}", "-A POSTROUTING -o lan0 -j MASQUERADE")
    found = fixed.translation(mine)
    assert found is not None
    assert found.action is Action.MASQUERADE


def test_what_a_rule_leaves_out_stays_out() -> None:
    rules = save("nat", "-A POSTROUTING ! -s 10.8.1.0/24 -o lan0 -j MASQUERADE")
    assert only(rules).fix == (
        "instead: iptables -t nat -I POSTROUTING 1 -o lan0 -m iprange --src-range"
        f" 10.8.0.0-10.8.3.255 '!' -s 10.8.1.0/24 -j SNAT --to-source {VIP}"
    )
    partly = Question("saddr", (ip_network("10.8.1.0/24"),), negated=True)
    rule = masquerade(OUT_LAN, partly, text='oifname "lan0" ip saddr != 10.8.1.0/24 ')
    assert f'\'ip saddr {NET} oifname "lan0" ip saddr != 10.8.1.0/24 snat' in (
        only(nft("postrouting", rule)).fix
    )


def test_several_tunnels_are_one_rule() -> None:
    site = replace(SITE, tunnels=(NET, ip_network("10.9.0.0/24")))
    rule = masquerade(OUT_LAN, text='oifname "lan0" ')
    found = only(nft("postrouting", rule), site)
    assert f"translates {NET}, 10.9.0.0/24 out of lan0" in found.what
    assert f"'ip saddr {{ {NET}, 10.9.0.0/24 }} oifname" in found.fix
    found = only(save("nat", "-A POSTROUTING -o lan0 -j MASQUERADE"), site)
    assert f"-s {NET},10.9.0.0/24 -j SNAT" in found.fix


def test_masquerade_in_iptables() -> None:
    found = only(save("nat", "-A POSTROUTING -s 10.8.1.0/24 -o lan0 -j MASQUERADE --random"))
    assert found.fix == (
        "instead: iptables -t nat -R POSTROUTING 1 -o lan0 -s 10.8.1.0/24 -j SNAT"
        f" --to-source {VIP}"
    )
    six = save("nat", "-A POSTROUTING -o lan0 -j MASQUERADE", tool="ip6tables")
    found = only(six, replace(SITE, tunnels=(NET6,)))
    assert f"ip6tables -t nat -I POSTROUTING 1 -o lan0 -s {NET6} -j SNAT" in found.fix
    assert found.fix.endswith(f"--to-source {VIP6}")


def test_rules_known_by_number_are_told_from_the_last_to_the_first() -> None:
    """What is inserted moves the numbers of all that comes behind."""
    rules = save(
        "nat",
        "-A POSTROUTING -s 10.8.0.0/16 -o lan0 -j MASQUERADE",
        "-A POSTROUTING -s 10.9.0.0/16 -o lan0 -j MASQUERADE",
    )
    last, first = find(rules, replace(SITE, tunnels=(NET, ip_network("10.9.0.0/24"))))
    assert "-I POSTROUTING 2 -o lan0 -s 10.9.0.0/24" in last.fix
    assert f"-I POSTROUTING 1 -o lan0 -s {NET}" in first.fix


COMMENTS = ["-j MASQUERADE", "it's", 'a "b" \\ c', "$(reboot) `x` *", "-o eth9 ! -s 1.2.3.4"]


@pytest.mark.parametrize("comment", COMMENTS)
def test_a_comment_is_kept_whatever_it_says(comment: str) -> None:
    quoted = re.sub(r"([\"'\\])", r"\\\1", comment)  # as iptables-save does
    line = f'-s 10.8.1.0/24 -o lan0 -m comment --comment "{quoted}" -j MASQUERADE'
    command = only(save("nat", f"-A POSTROUTING {line}")).fix.removeprefix("instead: ")
    assert shlex.split(command) == [
        *("iptables", "-t", "nat", "-R", "POSTROUTING", "1", "-o", "lan0", "-s", "10.8.1.0/24"),
        *("-m", "comment", "--comment", comment, "-j", "SNAT", "--to-source", str(VIP)),
    ]


def test_a_comment_that_is_more_than_a_line_is_left_out() -> None:
    comment = '-m comment --comment "a\nb\x1b[2J"'
    rules = save("nat", f"-A POSTROUTING {comment} -m mark --mark 7 -o lan0 -j MASQUERADE")
    found = only(rules)
    assert str(found).isprintable()
    assert f"-o lan0 -s {NET} -m mark --mark 7 -j SNAT" in found.fix


def test_where_no_vip_is_known_it_is_asked_for() -> None:
    rules = save("nat", "-A POSTROUTING -o eth7 -j MASQUERADE")
    found = only(rules, replace(SITE, interfaces={"eth7": ()}))
    assert "--to-source VIP, where VIP is the address that moves" in found.fix
    assert 'snat = [{ interface = "eth7", vip = "…" }]' in found.fix
    only_there = save("nat", "-A POSTROUTING -o eth+ -j MASQUERADE")
    found = only(only_there, replace(SITE, interfaces={"eth7": (), "lan0": (VIP,)}))
    assert "-I POSTROUTING 1 -o eth7 -s 10.8.0.0/22 -j SNAT --to-source VIP, where" in found.fix


def test_a_rule_stays_for_the_interfaces_without_a_vip() -> None:
    """It is told for the one that has a VIP, and no more when that is fixed."""
    site = replace(SITE, interfaces={"eth7": (), "lan0": (VIP,)})
    masquerades = "-A POSTROUTING -j MASQUERADE"
    fix = only(save("nat", masquerades), site).fix
    assert "-o lan0" in fix
    fixed = f"-A POSTROUTING {fix.partition('POSTROUTING 1 ')[2]}"
    assert find(save("nat", fixed, masquerades).joined(GUARD), site) == []


def test_other_networks_are_nobody_s_business() -> None:
    assert find(save("nat", "-A POSTROUTING -s 172.17.0.0/16 -j MASQUERADE")) == []


def test_translation_to_what_does_not_move() -> None:
    found = only(save("nat", "-A POSTROUTING -o lan0 -j SNAT --to-source 10.99.2.11"))
    assert found.kind is FindingKind.FOREIGN_SNAT
    assert "to 10.99.2.11, which is no VIP that is known here" in found.what
    assert f"--to-source {VIP}" in found.fix


def test_translation_to_the_vip_of_another_interface() -> None:
    rules = save("nat", f"-A POSTROUTING -s {NET} -j SNAT --to-source {VIP}").joined(GUARD)
    found = only(rules)
    assert found.kind is FindingKind.FOREIGN_SNAT
    assert f"out of out0 to {VIP}, the VIP of lan0: no answer comes back this way" in found.what
    assert f"-I POSTROUTING 1 -o out0 -s {NET} -j SNAT --to-source {OUTSIDE}" in found.fix
    unknown = {"lan0": (VIP,), "eth7": ()}
    assert find(rules, replace(SITE, interfaces=unknown)) == []


SNAT = save("nat", f"-A POSTROUTING -s 10.8.0.0/16 -o lan0 -j SNAT --to-source {VIP}")
GUARD = save(
    "filter",
    f"-A INPUT -d {VIP} -p tcp ! --tcp-flags FIN,SYN,RST,ACK SYN"
    " -m conntrack --ctstate NEW,INVALID -j DROP",
)
GOOD = SNAT.joined(GUARD)


def test_translation_to_the_vip() -> None:
    assert find(GOOD) == []


def test_who_answers_foreign_packets() -> None:
    found = only(SNAT, replace(SITE, tunnels=(NET, ip_network("10.8.5.0/24"))))
    assert found.kind is FindingKind.RESETS
    assert found.fix == (
        f"iptables -I INPUT -i lan0 -d {VIP} -p tcp ! --syn"
        " -m conntrack --ctstate NEW,INVALID -j DROP"
    )
    only_new = replace(GUARD.chains[0].rules[0], action=Action.RESET)
    resets = Ruleset((replace(GUARD.chains[0], rules=(only_new,)), *GUARD.chains[1:]))
    assert only(SNAT.joined(resets)).kind is FindingKind.RESETS
    half = save("filter", f"-A INPUT -d {VIP} -m conntrack --ctstate NEW -j DROP")
    assert only(SNAT.joined(half)).kind is FindingKind.RESETS
    closed = read_iptables(
        "*filter\n:INPUT DROP [0:0]\n-A INPUT -p tcp --dport 22 -j ACCEPT", "iptables"
    )
    quiet = replace(SITE, bcn_links=(), vrrp_links=())
    assert find(SNAT.joined(closed), quiet) == []


@pytest.mark.parametrize("vip", [VIP, VIP6])
def test_who_answers_them_in_nftables(vip: object) -> None:
    net = NET if vip == VIP else NET6
    rules = nft("postrouting", Rule((OUT_LAN,), Action.SNAT, str(vip), "snat", 3))
    site = replace(SITE, tunnels=(net,))
    ip = "ip" if vip == VIP else "ip6"
    rule = (
        f'iifname "lan0" {ip} daddr {vip} tcp flags & (fin|syn|rst|ack) != syn'
        " ct state new,invalid drop"
    )
    assert only(rules, site).fix == (
        f"nft 'table inet vip {{ chain input {{ type filter hook input priority -5; {rule}; }}; }}'"
    )
    other = nft("input", family="ip6" if vip == VIP else "ip")
    ours = Ruleset((replace(nft("input").chains[0], table="ovpnha"),))
    with_chain = rules.joined(nft("forward")).joined(other).joined(ours).joined(nft("input"))
    site = replace(site, plan=Plan((), ()))
    assert only(with_chain, site).fix == f"nft insert rule inet own input '{rule}'"


STATEFUL = save(
    "filter",
    "-A FORWARD -m conntrack --ctstate INVALID -j DROP",
    "-A FORWARD -m conntrack --ctstate ESTABLISHED -j ACCEPT",
    "-A FORWARD -i tun0 -j ACCEPT",
    "-A FORWARD -j DROP",
)


def test_a_stateful_filter_needs_conntrackd() -> None:
    assert find(STATEFUL) == []
    found = only(STATEFUL, replace(SITE, conntrackd=False))
    assert found.kind is FindingKind.STATEFUL
    assert 'the rule "-j DROP" (iptables filter FORWARD, number 4) stops' in found.what
    assert "iptables -I FORWARD -p tcp ! --syn -m conntrack --ctstate NEW -j ACCEPT" in found.fix
    state = Question("state", ("established",))
    begins = Question("iif", ("tun0",)), Question("dport", (22,))
    asked = Rule((state,), Action.ACCEPT), Rule(begins, Action.ACCEPT)
    found = only(nft("forward", *asked, policy=Action.DROP), replace(SITE, conntrackd=False))
    assert "the policy drop of nft inet own forward stops" in found.what
    assert "nft insert rule inet own forward 'tcp flags" in found.fix


@pytest.mark.parametrize(
    ("rule", "harms"),
    [
        ("-i lan0 -p tcp --sport 443", True),
        ("-i lan0 -p tcp --sport 444", False),
        ("-i lan0 -p tcp --sport 442", False),
        ("-i lan0 -p tcp --dport 40000", True),
        ("-i lan0 -p tcp --dport 40001", False),
    ],
)
def test_the_session_that_is_asked_about_is_one_of_https(rule: str, harms: bool) -> None:
    invalid = save("filter", f"-A FORWARD {rule} -m conntrack --ctstate NEW,INVALID -j DROP")
    assert bool(find(invalid, replace(SITE, conntrackd=False))) is harms


def test_what_is_forbidden_anyway_is_no_state() -> None:
    rules = nft("forward", policy=Action.DROP)
    assert find(rules, replace(SITE, conntrackd=False)) == []
    answers = Rule((Question("state", ("established",)),), Action.ACCEPT)
    rules = nft("forward", answers, policy=Action.DROP)
    assert find(rules, replace(SITE, conntrackd=False)) == []


DOCKER = read_iptables(
    """*filter
:INPUT ACCEPT [0:0]
:FORWARD DROP [0:0]
:OUTPUT ACCEPT [0:0]
:DOCKER - [0:0]
:DOCKER-USER - [0:0]
-A FORWARD -j DOCKER-USER
-A FORWARD -o docker0 -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
-A FORWARD -o docker0 -j DOCKER
-A FORWARD -i docker0 ! -o docker0 -j ACCEPT
-A FORWARD -i docker0 -o docker0 -j ACCEPT
-A DOCKER-USER -j RETURN
*nat
:POSTROUTING ACCEPT [0:0]
-A POSTROUTING -s 172.17.0.0/16 ! -o docker0 -j MASQUERADE
""",
    "iptables",
)


def docker_with(*rules: str) -> Ruleset:
    """The same with an administrator's own rules where docker wants them."""
    own = save("filter", *(f"-A FORWARD {one}" for one in rules)).chains[1].rules
    return Ruleset(
        tuple(
            replace(one, rules=own) if one.name == "DOCKER-USER" else one for one in DOCKER.chains
        )
    )


def test_a_host_of_docker_does_not_stop_what_could_never_begin() -> None:
    """Its policy lets nothing of the tunnels pass, in whatever state."""
    site = replace(SITE, conntrackd=False)
    assert find(DOCKER, site) == []
    answers = "-o tun0 -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT"
    assert find(docker_with(answers), site) == []
    found = only(docker_with(answers, "-i tun0 -p tcp -m tcp --dport 22 -j ACCEPT"), site)
    assert found.kind is FindingKind.STATEFUL
    assert "the policy drop of iptables filter FORWARD stops sessions" in found.what
    assert find(docker_with("-i tun0 -j ACCEPT", "-o tun0 -j ACCEPT"), site) == []


def test_translation_needs_conntrackd() -> None:
    found = only(GOOD, replace(SITE, conntrackd=False))
    assert found.kind is FindingKind.NO_CONNTRACKD
    assert "conntrackd" in found.fix


@pytest.mark.parametrize(
    ("rules", "then"),
    [
        (STATEFUL, 'are dropped by the rule "-m conntrack --ctstate INVALID -j DROP"'),
        (GOOD, "leave without translation"),
    ],
)
def test_the_tunables(rules: Ruleset, then: str) -> None:
    liberal, loose = find(rules, replace(SITE, tunables={LIBERAL: 0, LOOSE: 0}))
    assert (liberal.kind, loose.kind) == (FindingKind.INVALID, FindingKind.LOOSE)
    assert then in liberal.what
    assert f"sysctl -w {LIBERAL}=1" in liberal.fix
    assert f"sysctl -w {LOOSE}=1" in loose.fix
    assert find(rules, replace(SITE, tunables={})) == []


def test_the_tunables_do_not_matter_without_states() -> None:
    assert find(Ruleset(), replace(SITE, tunables={LIBERAL: 0, LOOSE: 0})) == []


@pytest.mark.parametrize("way", ["iif", "oif"])
def test_flowtables(way: str) -> None:
    gives = Rule((Question(way, ("lan0",)),), Action.OFFLOAD, text="flow add @f", handle=5)
    found = only(nft("forward", gives), replace(SITE, tun=""))
    assert found.kind is FindingKind.FLOWTABLE
    assert found.fix == (
        "nft replace rule inet own forward handle 5"
        ' \'iifname != "tun0" oifname != "tun0" flow add @f\''
    )
    unseen = nft("forward", replace(gives, text=""))
    assert only(unseen).fix == "nft delete rule inet own forward handle 5"


def test_the_nodes_must_hear_each_other() -> None:
    closed = read_iptables(
        "*filter\n:INPUT DROP [0:0]\n:OUTPUT DROP [0:0]\n-A OUTPUT -o out0 -j ACCEPT", "iptables"
    )
    heard, said, vrrp = find(closed)
    assert (heard.kind, said.kind, vrrp.kind) == (
        FindingKind.BCN,
        FindingKind.BCN,
        FindingKind.VRRP,
    )
    assert heard.fix == "iptables -I INPUT -i bcn0 -p udp --dport 11940 -j ACCEPT"
    assert said.fix == "iptables -I OUTPUT -o bcn0 -p udp --dport 11940 -j ACCEPT"
    assert vrrp.fix == "iptables -I INPUT -i out0 -p vrrp -j ACCEPT"
    site = replace(SITE, bcn_ports=(11940, 3780))
    both = [one.fix for one in find(nft("input", policy=Action.DROP), site)]
    assert both == [
        "nft insert rule inet own input 'iifname \"bcn0\" udp dport 11940 accept'",
        "nft insert rule inet own input 'iifname \"bcn0\" udp dport 3780 accept'",
        "nft insert rule inet own input 'iifname \"out0\" meta l4proto vrrp accept'",
    ]
    output = nft("output", Rule((), Action.REJECT))
    assert 'oifname "out0" meta l4proto vrrp' in find(output)[-1].fix


def test_answers_come_through_what_passes_established() -> None:
    state = Question("state", ("established",))
    rules = nft("input", Rule((state,), Action.ACCEPT), policy=Action.DROP)
    site = replace(SITE, vrrp_links=())
    assert only(rules, site).kind is FindingKind.BCN
    assert find(rules, replace(site, bcn_answers=True)) == []


def test_strict_rp_filter_is_told_when_it_drops() -> None:
    strict = replace(SITE, strict=("lan0.7", "tun0"))
    assert find(Ruleset(), strict) == []
    found = only(Ruleset(), replace(strict, strictly_dropped=7))
    assert found.kind is FindingKind.RP_FILTER
    assert "sysctl -w net/ipv4/conf/lan0.7/rp_filter=2; sysctl -w net/ipv4/conf/tun0" in found.fix


def test_the_table_of_our_own() -> None:
    ours = planned_rules(PLAN)
    left = find(ours)
    assert [one.kind for one in left] == [FindingKind.LEFTOVER]
    assert "ovpnha firewall --remove" in left[0].fix
    managed = replace(SITE, plan=PLAN, tunables={LIBERAL: 0, LOOSE: 1})
    assert find(ours, managed) == []
    theirs = save("nat", "-A POSTROUTING -o lan0 -j MASQUERADE")
    assert find(theirs, managed) == []
    assert only(theirs, replace(managed, conntrackd=False)).kind is FindingKind.NO_CONNTRACKD


def test_how_a_rule_is_named() -> None:
    chain = Chain("nft", "ip", "own", "post")
    planned = Rule((), Action.SNAT, str(VIP))
    assert name_outcome(Outcome(Action.SNAT, chain, planned)) == 'the rule "snat" (nft ip own post)'


def test_what_a_rule_asks_before_it_translates_may_be_a_word_that_translates() -> None:
    rule = masquerade(OUT_LAN, text='ct status snat oifname "lan0" ')
    assert only(nft("postrouting", rule)).fix.endswith(
        f' ct status snat oifname "lan0" snat ip to {VIP}\''
    )
