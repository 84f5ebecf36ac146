"""A walk through a packet filter: what is certain, what is only possible."""

from __future__ import annotations

import ipaddress

import pytest

from ovpnha.firewall.rules import (
    DEPTH_LIMIT,
    Action,
    Chain,
    FlagQuestion,
    Packet,
    Prefix,
    Question,
    Rule,
    Ruleset,
    Span,
    parse_network,
)

NET = ipaddress.IPv4Network("10.8.0.0/24")
TCP = Packet(4, iif="lan0", oif="tun0", daddr=NET, proto="tcp", dport=443, state="new")
UNKNOWN = Question("unknown")
ACK = frozenset({"ack"})


def rule(action: Action, *tests: Question | FlagQuestion, target: str = "") -> Rule:
    return Rule(tests, action, target)


def chain(*rules: Rule, policy: Action = Action.ACCEPT, priority: int = 0) -> Chain:
    return Chain("nft", "inet", "t", "forward", "forward", "filter", priority, policy, rules)


def beside(name: str, *rules: Rule) -> Chain:
    return Chain("nft", "inet", "t", name, rules=rules)


def net(text: str) -> ipaddress.IPv4Network | ipaddress.IPv6Network:
    found = parse_network(text)
    assert found is not None
    return found


def span(first: str, last: str) -> Span:
    return Span(ipaddress.ip_address(first), ipaddress.ip_address(last))


@pytest.mark.parametrize(
    ("test", "answer"),
    [
        (Question("iif", ("lan0",)), True),
        (Question("iif", ("lan0",), negated=True), False),
        (Question("oif", (Prefix("tun"),)), True),
        (Question("oif", ("tun*",)), False),
        (Question("oif", (Prefix("wg"), "eth0")), False),
        (Question("dport", (Prefix("4"),)), False),
        (Question("saddr", (NET,)), None),
        (Question("daddr", (NET,)), True),
        (Question("daddr", (net("10.8.0.0/16"),)), True),
        (Question("daddr", (net("10.8.0.5"),)), None),
        (Question("daddr", (net("10.8.0.5"),), negated=True), None),
        (Question("daddr", (net("10.9.0.0/16"), net("2001:db8::/64"))), False),
        (Question("daddr", (span("10.7.0.0", "10.9.0.0"),)), True),
        (Question("daddr", (span("10.7.0.0", "10.8.0.9"),)), None),
        (Question("daddr", (span("10.7.0.0", "10.8.0.0"),)), None),
        (Question("daddr", (span("10.7.0.0", "10.7.255.255"),)), False),
        (Question("daddr", (span("10.8.0.255", "10.9.0.0"),)), None),
        (Question("daddr", (span("10.8.1.0", "10.9.0.0"),)), False),
        (Question("daddr", (span("10.8.0.0", "10.8.0.255"),)), True),
        (Question("daddr", (span("2001:db8::", "2001:db8::9"),)), False),
        (Question("daddr", (Span(1, 2),)), False),
        (Question("daddr", ("a name",)), None),
        (Question("dport", (443,)), True),
        (Question("dport", (Span(400, 500),)), True),
        (Question("dport", (Span(1, 100),)), False),
        (Question("iif", (Span(1, 100),)), False),
        (Question("version", (6,)), False),
        (UNKNOWN, None),
    ],
)
def test_a_question(test: Question, answer: bool | None) -> None:
    assert test.answer(TCP) is answer


@pytest.mark.parametrize(
    ("test", "flags", "answer"),
    [
        (FlagQuestion(None, ACK), ACK, True),
        (FlagQuestion(None, ACK), ACK | {"psh"}, False),
        (FlagQuestion(ACK | {"syn"}, frozenset({"syn"})), ACK, False),
        (FlagQuestion(ACK | {"syn"}, frozenset({"syn"}), negated=True), ACK, True),
        (FlagQuestion(None, ACK | {"syn"}, any_of=True), ACK, True),
        (FlagQuestion(None, ACK, any_of=True), frozenset(), False),
        (FlagQuestion(None, ACK), None, None),
    ],
)
def test_a_question_about_flags(
    test: FlagQuestion, flags: frozenset[str] | None, answer: bool | None
) -> None:
    assert test.answer(Packet(4, flags=flags)) is answer


def test_what_is_no_network() -> None:
    assert parse_network("anything") is None


def test_what_stops_for_certain_is_named_and_not_what_may() -> None:
    perhaps, surely = rule(Action.RESET, UNKNOWN), rule(Action.DROP)
    stopper = Ruleset((chain(perhaps, surely),)).stops("forward", TCP)
    assert stopper is not None
    assert (stopper.rule, stopper.action) == (surely, Action.DROP)


def test_a_drop_is_certain_only_without_a_way_around_it() -> None:
    drops = rule(Action.DROP, Question("state", ("new",)))
    stopper = Ruleset((chain(drops),)).stops("forward", TCP)
    assert stopper is not None
    assert stopper.rule == drops
    assert Ruleset((chain(rule(Action.ACCEPT, UNKNOWN), drops),)).stops("forward", TCP) is None
    assert Ruleset((chain(rule(Action.DROP, UNKNOWN)),)).stops("forward", TCP) is None
    assert Ruleset((chain(rule(Action.ACCEPT)),)).stops("forward", TCP) is None
    assert Ruleset((chain(rule(Action.NONE), policy=Action.DROP),)).stops("forward", TCP)
    assert Ruleset((chain(drops),)).stops("input", TCP) is None


def test_an_accept_ends_only_its_own_chain() -> None:
    first = chain(rule(Action.ACCEPT), priority=-10)
    last = chain(policy=Action.DROP, priority=10)
    assert Ruleset((last, first)).stops("forward", TCP)


def test_a_chain_sees_its_own_family() -> None:
    four = Chain("iptables", "ip", "filter", "FORWARD", "forward", "filter", policy=Action.DROP)
    six = Chain("ip6tables", "ip6", "filter", "FORWARD", "forward", "filter", policy=Action.DROP)
    assert Ruleset((six,)).stops("forward", TCP) is None
    assert Ruleset((four,)).stops("forward", TCP)
    assert Ruleset((four, six)).stops("forward", Packet(6)) is not None


@pytest.mark.parametrize("jumps", [1, DEPTH_LIMIT, DEPTH_LIMIT + 1])
def test_jumps_are_followed_as_deep_as_the_kernel_lets_them_go(jumps: int) -> None:
    names = [str(number) for number in range(jumps)]
    steps = [rule(Action.JUMP, target=name) for name in names]
    inner = [beside(name, step) for name, step in zip(names, steps[1:], strict=False)]
    rules = Ruleset((chain(steps[0]), *inner, beside(names[-1], rule(Action.DROP))))
    assert (rules.stops("forward", TCP) is not None) is (jumps <= DEPTH_LIMIT)


JUMP = rule(Action.JUMP, target="other")
GOTO = rule(Action.GOTO, target="other")
RETURN = rule(Action.RETURN)
DROP = rule(Action.DROP)


@pytest.mark.parametrize(
    ("rules", "other", "stops"),
    [
        ((JUMP,), (DROP,), True),
        ((JUMP, DROP), (), True),
        ((JUMP, DROP), (rule(Action.ACCEPT),), False),
        ((JUMP, DROP), (RETURN, rule(Action.ACCEPT)), True),
        ((GOTO, DROP), (), False),
        ((GOTO,), (DROP,), True),
        ((rule(Action.GOTO, UNKNOWN, target="other"), DROP), (), False),
        ((rule(Action.GOTO, UNKNOWN, target="other"), DROP), (DROP,), True),
        ((rule(Action.JUMP, UNKNOWN, target="other"), DROP), (RETURN,), True),
        ((RETURN, DROP), (), False),
        ((rule(Action.RETURN, UNKNOWN), DROP), (), False),
        ((JUMP, DROP), (rule(Action.RETURN, UNKNOWN), DROP), True),
        ((rule(Action.JUMP, target="nowhere"), DROP), (), True),
        ((JUMP, DROP), (JUMP,), True),
    ],
)
def test_jumps(rules: tuple[Rule, ...], other: tuple[Rule, ...], stops: bool) -> None:
    found = Ruleset((chain(*rules), beside("other", *other))).stops("forward", TCP)
    assert (found is not None) is stops


def test_a_chain_is_walked_once_however_many_rules_jump_to_it() -> None:
    """A walk of every way through this would take 2 ** 40 steps."""
    maybe = [rule(Action.JUMP, UNKNOWN, target=f"c{depth}") for depth in range(14)]
    inner = [beside(f"c{depth}", *(maybe[depth + 1],) * 7) for depth in range(13)]
    end = beside("c13", DROP)
    assert Ruleset((chain(maybe[0], DROP), *inner, end)).stops("forward", TCP) is not None
    assert Ruleset((chain(maybe[0]), *inner, end)).stops("forward", TCP) is None


def test_time_grows_with_the_rules_and_no_faster() -> None:
    """Counted in questions asked, which no machine makes slower."""
    asked = 0

    class Counted(Question):
        def answer(self, packet: Packet) -> bool | None:
            nonlocal asked
            asked += 1
            return super().answer(packet)

    for size in (100, 1000):
        rules = [rule(Action.JUMP, Counted("unknown"), target="other") for _ in range(size)]
        other = [rule(Action.ACCEPT, Counted("iif", ("eth9",))) for _ in range(size)]
        asked = 0
        Ruleset((chain(*rules), beside("other", *other))).stops("forward", TCP)
        assert asked == 2 * size


def nat(*rules: Rule, priority: int = 100) -> Chain:
    return Chain("nft", "ip", "nat", "post", "postrouting", "nat", priority, rules=rules)


def test_the_first_chain_that_translates_wins() -> None:
    late = nat(rule(Action.MASQUERADE))
    early = nat(rule(Action.ACCEPT, UNKNOWN), rule(Action.SNAT, target="10.0.0.1"), priority=90)
    found = Ruleset((late, early)).translation(TCP)
    assert found is not None
    assert found.action is Action.SNAT
    exempt = nat(rule(Action.ACCEPT), rule(Action.SNAT), priority=90)
    assert Ruleset((exempt,)).translation(TCP) is None
    assert Ruleset((nat(),)).translation(TCP) is None


def test_a_flow_that_is_offloaded_goes_on() -> None:
    gives = rule(Action.OFFLOAD, Question("proto", ("tcp", "udp")))
    rules = Ruleset((chain(gives, policy=Action.DROP),))
    found = rules.offload(TCP)
    assert found is not None
    assert found.rule == gives
    assert rules.stops("forward", TCP) is not None
    assert Ruleset((chain(rule(Action.ACCEPT)),)).offload(TCP) is None


def test_rule_sets_are_joined_and_taken_apart() -> None:
    rules = Ruleset((chain(DROP),)).joined(Ruleset((nat(),)))
    assert len(rules.chains) == 2
    assert rules.without("inet", "t") == Ruleset((nat(),))
