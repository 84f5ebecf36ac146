"""What ``nft`` prints is read; the JSON is what nftables 1.0.6 gives for the rule beside it."""

from __future__ import annotations

import ipaddress
import json
from typing import Any

import pytest

from ovpnha.firewall.nft import read_nft
from ovpnha.firewall.rules import (
    Action,
    FlagQuestion,
    Prefix,
    Question,
    Rule,
    Ruleset,
    Span,
    UnreadableRules,
)

UNKNOWN = Question("unknown")
V4, V6 = Question("version", (4,)), Question("version", (6,))
TCP = Question("proto", ("tcp",))


def read(*expressions: dict[str, Any], sets: dict[str, Any] | None = None) -> tuple[Rule, ...]:
    rule = {"family": "inet", "table": "t", "chain": "c", "handle": 7, "expr": expressions}
    chain = {"family": "inet", "table": "t", "name": "c", "handle": 1}
    made = [
        {"set": {"family": "inet", "table": "t", "name": name, "elem": elem}}
        for name, elem in (sets or {}).items()
    ]
    objects = [{"metainfo": {}}, *made, {"chain": chain}, {"rule": rule}]
    (only,) = read_nft(json.dumps({"nftables": objects})).chains
    return only.rules


def match(left: dict[str, Any], right: Any, op: str = "==") -> dict[str, Any]:
    return {"match": {"op": op, "left": left, "right": right}}


def meta(key: str) -> dict[str, Any]:
    return {"meta": {"key": key}}


def payload(protocol: str, field: str) -> dict[str, Any]:
    return {"payload": {"protocol": protocol, "field": field}}


STATE = {"ct": {"key": "state"}}
FLAGS = payload("tcp", "flags")
SADDR = payload("ip", "saddr")
LIMIT = {"limit": {"rate": 3, "burst": 5, "per": "second"}}


def net(text: str) -> ipaddress.IPv4Network | ipaddress.IPv6Network:
    return ipaddress.ip_network(text)


def ips(first: str, last: str) -> Span:
    return Span(ipaddress.ip_address(first), ipaddress.ip_address(last))


@pytest.mark.parametrize(
    ("expression", "tests"),
    [
        (match(meta("oifname"), "lan0"), [Question("oif", ("lan0",))]),
        (match(meta("iif"), {"set": ["a", "tun*"]}), [Question("iif", ("a", Prefix("tun")))]),
        (match(meta("oifname"), "eth\\*"), [Question("oif", ("eth*",))]),
        (match(meta("nfproto"), "ipv6"), [V6]),
        (match(meta("nfproto"), "arp"), [UNKNOWN]),
        (match(meta("l4proto"), 112), [Question("proto", ("vrrp",))]),
        (match(meta("mark"), 3), [UNKNOWN]),
        (
            match(STATE, ["established", "related"], "in"),
            [Question("state", ("established", "related"))],
        ),
        (match(STATE, "established", "!="), [Question("state", ("established",), negated=True)]),
        (match({"ct": {"key": "direction"}}, "original"), [UNKNOWN]),
        (match(payload("ip", "saddr"), "10.0.0.1"), [V4, Question("saddr", (net("10.0.0.1"),))]),
        (
            match(payload("ip6", "daddr"), {"prefix": {"addr": "fd00::", "len": 64}}),
            [V6, Question("daddr", (net("fd00::/64"),))],
        ),
        (
            match(payload("ip", "saddr"), {"set": [{"range": ["10.0.0.1", "10.0.0.5"]}]}),
            [V4, Question("saddr", (ips("10.0.0.1", "10.0.0.5"),))],
        ),
        (match(payload("ip", "saddr"), {"range": ["a", "b"]}), [V4, UNKNOWN]),
        (match(payload("ip", "saddr"), {"concat": ["a", "b"]}), [V4, UNKNOWN]),
        (match(payload("ip", "protocol"), "vrrp"), [V4, Question("proto", ("vrrp",))]),
        (match(payload("ip6", "nexthdr"), "tcp"), [V6, TCP]),
        (match(payload("ip", "dscp"), "cs1"), [V4, UNKNOWN]),
        (match(payload("tcp", "dport"), 22), [TCP, Question("dport", (22,))]),
        (match(payload("tcp", "window"), 22), [TCP, UNKNOWN]),
        (match(payload("th", "dport"), 9, "<"), [Question("dport", (Span(0, 8),))]),
        (match(payload("th", "dport"), 9, "<="), [Question("dport", (Span(0, 9),))]),
        (match(payload("th", "dport"), 9, ">"), [Question("dport", (Span(10, 65535),))]),
        (match(payload("th", "dport"), 9, ">="), [Question("dport", (Span(9, 65535),))]),
        (match(payload("ip", "saddr"), "10.0.0.1", ">"), [V4, UNKNOWN]),
        (match(payload("tcp", "dport"), [1.5]), [TCP, UNKNOWN]),
        (
            match(payload("th", "sport"), {"set": [22, {"range": [80, 90]}]}),
            [Question("sport", (22, Span(80, 90)))],
        ),
        (match(payload("icmp", "type"), 8), [Question("proto", ("icmp",)), UNKNOWN]),
        (match(payload("icmpv6", "type"), 8), [Question("proto", ("ipv6-icmp",)), UNKNOWN]),
        (match(payload("ether", "saddr"), "x"), [UNKNOWN]),
        (match({"payload": {"base": "th", "offset": 64, "len": 5}}, 4), [UNKNOWN]),
        (
            match({"socket": {"key": "wildcard"}}, {"set": [0, 1]}),
            [Question("socket", (True, True))],
        ),
        (match({"fib": {"result": "type"}}, "local"), [UNKNOWN]),
        ({"match": {"op": "==", "left": "a", "right": "b"}}, [UNKNOWN]),
        (match(FLAGS, "syn", "in"), [TCP, FlagQuestion(None, frozenset({"syn"}), any_of=True)]),
        (match(FLAGS, "syn"), [TCP, FlagQuestion(None, frozenset({"syn"}))]),
        (
            match(FLAGS, "syn", "!"),
            [TCP, FlagQuestion(None, frozenset({"syn"}), any_of=True, negated=True)],
        ),
        (
            match({"&": [FLAGS, ["syn", "ack"]]}, "syn", "!="),
            [TCP, FlagQuestion(frozenset({"syn", "ack"}), frozenset({"syn"}), negated=True)],
        ),
        (match({"&": [FLAGS, 3]}, "syn"), [TCP, UNKNOWN]),
        (match({"&": [SADDR, "255.0.0.0"]}, "10.0.0.0"), [V4, UNKNOWN]),
        (match({"concat": [meta("oifname"), SADDR]}, {"set": []}), [V4, UNKNOWN]),
        (match({"&": [meta("mark"), 3]}, 3), [UNKNOWN]),
        ({"limit": {"rate": 3}}, [UNKNOWN]),
        ({"limit": "named"}, [UNKNOWN]),
        ({"quota": "named"}, [UNKNOWN]),
        ({"ct count": {"val": 3, "inv": True}}, [UNKNOWN]),
        ({"set": {"op": "add", "elem": SADDR, "set": "@s", "stmt": [LIMIT]}}, [UNKNOWN]),
        ({"set": {"op": "update", "elem": SADDR, "set": "@s"}}, [UNKNOWN]),
        ({"map": {"op": "update", "elem": SADDR, "data": 3, "map": "@m"}}, [UNKNOWN]),
        ({"meter": {"key": SADDR, "stmt": LIMIT, "size": 9, "name": "m"}}, [UNKNOWN]),
        ({"mangle": {"key": payload("ip", "dscp"), "value": 3}}, [UNKNOWN]),
        ({"mangle": {"key": {"tcp option": {"name": "maxseg"}}, "value": 1400}}, [UNKNOWN]),
        ({"mangle": {"key": meta("mark"), "value": {"map": {"key": SADDR}}}}, [UNKNOWN]),
        ({"mangle": {"key": meta("mark"), "value": 1}}, []),
        ({"mangle": {"key": {"ct": {"key": "mark"}}, "value": 1}}, []),
        ({"xt": {"type": "match", "name": "string"}}, [UNKNOWN]),
        ({"log": {"prefix": "x"}}, []),
        ({"counter": {"packets": 0, "bytes": 0}}, []),
    ],
)
def test_a_question(expression: dict[str, Any], tests: list[Question | FlagQuestion]) -> None:
    assert read(expression, {"drop": None}) == (Rule(tuple(tests), Action.DROP, handle=7),)


def test_named_sets() -> None:
    asked = match(payload("tcp", "dport"), "@ports")
    known = {"ports": [5, {"elem": {"val": 6, "timeout": 3}}]}
    assert read(asked, {"drop": None}, sets=known)[0].tests == (TCP, Question("dport", (5, 6)))
    assert read(asked, {"drop": None})[0].tests == (TCP, UNKNOWN)


LIMITED = {"elem": {"val": 6, **LIMIT}}
ADDS = {"set": {"op": "add", "elem": payload("tcp", "dport"), "set": "@ports"}}
METERS = {"meter": {"key": SADDR, "stmt": LIMIT, "size": 9, "name": "ports"}}


@pytest.mark.parametrize("made", [{"elem": [5], "flags": ["timeout"]}, {"elem": [5, LIMITED]}])
def test_a_set_that_changes_or_limits_is_not_known(made: dict[str, Any]) -> None:
    assert _asked_of(made)[0].tests == (TCP, UNKNOWN)


@pytest.mark.parametrize("changes", [ADDS, METERS])
def test_a_set_that_a_rule_adds_to_is_not_known(changes: dict[str, Any]) -> None:
    assert _asked_of({"elem": [5]})[0].tests == (TCP, Question("dport", (5,)))
    assert _asked_of({"elem": [5]}, changes)[0].tests == (TCP, UNKNOWN)


def _asked_of(made: dict[str, Any], *others: dict[str, Any]) -> tuple[Rule, ...]:
    """What a rule asks of the set ``ports``, before one that does other things."""
    place = {"family": "inet", "table": "t"}
    asked = match(payload("tcp", "dport"), "@ports")
    objects = [
        {"set": {**place, "name": "ports", **made}},
        {"chain": {**place, "name": "c", "handle": 1}},
        {"rule": {**place, "chain": "c", "handle": 7, "expr": [asked, {"drop": None}]}},
        {"rule": {**place, "chain": "c", "handle": 8, "expr": [*others]}},
    ]
    (only,) = read_nft(json.dumps({"nftables": objects})).chains
    return only.rules


@pytest.mark.parametrize(
    ("expression", "rule"),
    [
        ({"accept": None}, Rule((), Action.ACCEPT)),
        ({"return": None}, Rule((), Action.RETURN)),
        ({"jump": {"target": "y"}}, Rule((), Action.JUMP, "y")),
        ({"goto": {"target": "y"}}, Rule((), Action.GOTO, "y")),
        ({"reject": None}, Rule((), Action.REJECT)),
        ({"reject": {"type": "icmpx", "expr": "port-unreachable"}}, Rule((), Action.REJECT)),
        ({"reject": {"type": "tcp reset"}}, Rule((), Action.RESET)),
        ({"masquerade": None}, Rule((), Action.MASQUERADE)),
        ({"masquerade": {"flags": "random"}}, Rule((), Action.MASQUERADE)),
        ({"snat": {"addr": "10.0.0.1"}}, Rule((), Action.SNAT, "10.0.0.1")),
        ({"snat": {"family": "ip", "addr": "10.0.0.1"}}, Rule((V4,), Action.SNAT, "10.0.0.1")),
        ({"snat": {"family": "ip6", "addr": "fd00::1"}}, Rule((V6,), Action.SNAT, "fd00::1")),
        (
            {"snat": {"addr": {"range": ["10.0.0.1", "10.0.0.5"]}}},
            Rule((), Action.SNAT, "several addresses"),
        ),
        ({"flow": {"op": "add", "flowtable": "@f"}}, Rule((), Action.OFFLOAD)),
        ({"queue": {"num": 1}}, Rule((UNKNOWN,), Action.ACCEPT)),
        ({"xt": {"type": "target", "name": "MASQUERADE"}}, Rule((UNKNOWN,), Action.ACCEPT)),
    ],
)
def test_a_verdict(expression: dict[str, Any], rule: Rule) -> None:
    (found,) = read(expression)
    assert (found.tests, found.action, found.target) == (rule.tests, rule.action, rule.target)


def test_a_rule_without_a_verdict_is_none() -> None:
    assert read({"counter": {"packets": 0, "bytes": 0}}) == ()


def test_a_map_is_several_rules() -> None:
    data = [["invalid", {"drop": None}], ["established", {"jump": {"target": "y"}}]]
    first = match(meta("iifname"), "lan0")
    lan = Question("iif", ("lan0",))
    assert [
        (rule.tests, rule.action)
        for rule in read(first, {"vmap": {"key": STATE, "data": {"set": data}}})
    ] == [
        ((lan, Question("state", ("invalid",))), Action.DROP),
        ((lan, Question("state", ("established",))), Action.JUMP),
    ]
    (named,) = read({"vmap": {"key": STATE, "data": "@verdicts"}})
    assert (named.tests, named.action) == ((UNKNOWN,), Action.ACCEPT)


@pytest.mark.parametrize(
    ("key", "asked"),
    [
        (payload("tcp", "dport"), (TCP,)),
        (STATE, ()),
        (SADDR, (V4,)),
        ({"concat": [SADDR, payload("tcp", "dport")]}, (V4, TCP, UNKNOWN)),
    ],
)
def test_what_a_map_does_with_all_else_comes_last(
    key: dict[str, Any], asked: tuple[Question, ...]
) -> None:
    data = [["*", {"drop": None}], [22, {"accept": None}]]
    first, last = read({"vmap": {"key": key, "data": {"set": data}}})
    assert (first.action, last.action) == (Action.ACCEPT, Action.DROP)
    assert last.tests == asked


def test_chains_and_the_texts_of_rules() -> None:
    base = {"family": "ip", "table": "nat", "name": "post", "type": "nat", "hook": "postrouting"}
    rule = {"family": "ip", "table": "nat", "chain": "post", "handle": 8}
    objects = [
        {"table": {"family": "ip", "name": "nat"}},
        {"chain": {**base, "prio": 100, "policy": "accept"}},
        {"rule": {**rule, "expr": [{"masquerade": None}]}},
    ]
    shown = (
        "table ip nat { # handle 1\n"
        "\tchain post { # handle 1\n"
        "\t\ttype nat hook postrouting priority srcnat; policy accept;\n"
        '\t\toifname "lan0" masquerade # handle 8\n'
        "\t}\n}\n"
    )
    (chain,) = read_nft(json.dumps({"nftables": objects}), shown).chains
    assert (chain.hook, chain.kind, chain.priority) == ("postrouting", "nat", 100)
    assert [(one.text, one.handle) for one in chain.rules] == [('oifname "lan0" masquerade', 8)]


@pytest.mark.parametrize(
    "text", ["", "[]", "{}", '{"nftables": [{"chain": {}}]}', '{"nftables": [{"set": 3}]}']
)
def test_what_is_no_rule_set(text: str) -> None:
    with pytest.raises(UnreadableRules):
        read_nft(text)


def test_no_rules() -> None:
    assert read_nft('{"nftables": [{"metainfo": {}}]}') == Ruleset()
