"""What is asked, and what comes of the answers."""

from __future__ import annotations

import pytest

from ovpnha.setup.answers import Answers, find_questions
from ovpnha.setup.cluster import make_plan
from ovpnha.setup.host import Host
from tests.unit.setup.builders import ANSWERS, SOURCE, host, plan


def asked(answers: Answers, where: Host, text: str = "") -> dict[str, tuple[str, bool]]:
    server = SOURCE.read(text or None)
    return {one.field: (one.default, one.sure) for one in find_questions(answers, where, server)}


def test_the_first_questions_of_a_server_that_names_no_address() -> None:
    assert asked(Answers(), host()) == {
        "vip": ("192.0.2.1", False),
        "inside_vip": ("none", False),
        "bcn_interface": ("eth1", False),
    }


def test_local_is_what_clients_know() -> None:
    assert asked(Answers(), host(), "local 192.0.2.9")["vip"] == ("192.0.2.9", True)
    assert asked(Answers(), host(), "local 0.0.0.0")["vip"] == ("192.0.2.1", False)
    assert asked(Answers(), host(routes=()))["vip"] == ("", False)


def test_nothing_is_asked_of_who_has_said_all() -> None:
    answers = Answers(vip="192.0.2.10", inside_vip="198.51.100.10", bcn_nodes="192.168.77.2")
    assert asked(answers, host()) == {}


def test_broadcast_is_taken_where_nothing_is_said() -> None:
    assert asked(ANSWERS, host()) == {"bcn_nodes": ("broadcast", True)}


def test_interfaces_are_asked_for_where_no_address_shows_them() -> None:
    answers = Answers(vip="203.0.113.1", inside_vip="10.1.1.1", bcn_interface="bcn0")
    found = asked(answers, host())
    assert found["outside_interface"] == ("eth0", False)
    assert found["inside_interface"] == ("", False)
    assert asked(answers, host(routes=()))["outside_interface"] == ("", False)
    told = Answers(
        vip="203.0.113.1",
        inside_vip="10.1.1.1",
        bcn_interface="bcn0",
        bcn_nodes="broadcast",
        outside_interface="eth0",
        inside_interface="eth1",
    )
    assert asked(told, host()) == {}


def test_a_host_with_one_interface_has_no_inside() -> None:
    only = host(("eth0", "192.0.2.1/24"), ("tun0", "10.8.0.1/24"), ("lo", "127.0.0.1/8"))
    assert asked(Answers(vip="192.0.2.10"), only)["inside_vip"] == ("none", True)


def test_the_bcn_is_looked_for_where_neither_vip_will_be() -> None:
    where = host(("eth0", "192.0.2.1/24"), ("eth1", "198.51.100.1/24"), ("eth2", "10.0.0.1/24"))
    answers = Answers(vip="192.0.2.10", inside_vip="198.51.100.10")
    assert asked(answers, where)["bcn_interface"] == ("eth2", False)


def test_own_addresses_are_asked_for_where_the_host_would_have_none_left() -> None:
    where = host(("eth0", "192.0.2.10/24"), ("eth1", "198.51.100.10/24"), ("bcn0", "10.0.0.1/24"))
    assert {"own_address", "own_inside_address"} <= asked(ANSWERS, where).keys()
    beside = host(
        ("eth0", "192.0.2.10/24"),
        ("eth0", "192.0.2.1/24"),
        ("eth1", "198.51.100.1/24"),
        ("bcn0", "10.0.0.1/24"),
    )
    assert not {"own_address", "own_inside_address"} & asked(ANSWERS, beside).keys()
    other_family = host(("eth0", "192.0.2.10/24"), ("eth0", "2001:db8::1/64"))
    assert "own_address" in asked(ANSWERS, other_family)
    assert "own_inside_address" not in asked(Answers(vip="x", inside_vip="none"), other_family)


def test_earlier_answers_hold_until_others_come() -> None:
    later = Answers(vip="192.0.2.11").over(ANSWERS)
    assert (later.vip, later.inside_vip) == ("192.0.2.11", "198.51.100.10")
    assert Answers.from_plain({**later.to_plain(), "gone": 1}) == later


def test_a_plan() -> None:
    found = plan()
    assert str(found.outside.address) == "192.0.2.10/24"
    assert found.outside.interface == "eth0"
    assert found.inside is not None
    assert str(found.inside.address) == "198.51.100.10/24"
    assert (found.bcn_interface, found.bcn_nodes) == ("bcn0", ())
    assert (found.router_id, found.priority, found.cluster) == (10, 100, "office")
    assert found.management == "/run/openvpn-cluster/office.sock"


def test_unicast_lists_this_node_too() -> None:
    found = plan(
        Answers(vip="192.0.2.10", inside_vip="none", bcn_nodes="192.168.77.2 192.168.77.3")
    )
    assert [str(one) for one in found.bcn_nodes] == [f"192.168.77.{n}" for n in (1, 2, 3)]
    assert found.bcn_interface == "bcn0"
    assert found.inside is None
    elsewhere = Answers(
        vip="192.0.2.0/31",
        inside_vip="none",
        bcn_nodes="10.9.9.9",
        bcn_interface="bcn0",
        router_id=7,
    )
    assert [str(one) for one in plan(elsewhere).bcn_nodes] == ["10.9.9.9"]
    assert plan(elsewhere).router_id == 7
    assert str(plan(elsewhere).outside.address) == "192.0.2.0/31"


def test_a_router_id_is_never_zero() -> None:
    assert (
        plan(Answers(vip="192.0.2.0/24", inside_vip="none", bcn_interface="bcn0")).router_id == 51
    )


def test_own_addresses_have_the_prefix_of_the_network() -> None:
    where = host(("eth0", "192.0.2.10/24"), ("bcn0", "10.0.0.1/24"))
    answers = Answers(
        vip="192.0.2.10", inside_vip="none", bcn_interface="bcn0", own_address="192.0.2.11"
    )
    assert str(plan(answers, where).outside.own) == "192.0.2.11/24"
    other = Answers.from_plain({**answers.to_plain(), "own_address": "192.0.2.11/25"})
    assert str(plan(other, where).outside.own) == "192.0.2.11/25"


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"vip": "office"}, "--vip: office is no address"),
        ({"inside_vip": "1.2.3"}, "--inside-vip: 1.2.3 is no address"),
        ({"own_address": "x"}, "--own-address: x is no address"),
        ({"bcn_nodes": "192.168.77.2 b"}, "--bcn-node: b is no address"),
        ({"cluster": "two words"}, "--cluster: two words is no name"),
        ({"keepalived": "maybe"}, "--keepalived: must be one of new, replace, leave"),
        ({"bcn_interface": "eth9"}, "--bcn-interface: eth9: this host has no such interface"),
        ({"outside_interface": "eth9"}, "eth9: this host has no such interface with an address"),
        ({"bcn_nodes": "192.0.2.10"}, "--bcn-node: 192.0.2.10 moves"),
        ({"own_address": "198.51.100.10"}, "--own-address: 198.51.100.10 is an address that moves"),
        ({"vip": "192.0.2.0/24"}, "--vip: 192.0.2.0 is the first or last of 192.0.2.0/24"),
        ({"vip": "192.0.2.255"}, "--vip: 192.0.2.255 is the first or last"),
        ({"vip": "192.0.2.10/0"}, "--vip: 192.0.2.10/0 has another prefix"),
        ({"vip": "192.0.2.10/8"}, "--vip: 192.0.2.10/8 has another prefix than its network"),
        ({"vip": "::ffff:192.0.2.10"}, "--vip: ::ffff:c000:20a is not an address that a"),
        ({"vip": "224.0.0.5"}, "--vip: 224.0.0.5 is not an address that a host can have"),
        ({"vip": "240.0.0.5"}, "--vip: 240.0.0.5 is not an address that a host can have"),
        ({"inside_vip": "192.0.2.10"}, "--inside-vip: 192.0.2.10 is the VIP itself"),
        ({"bcn_nodes": "192.168.77.1"}, "--bcn-node: 192.168.77.1 is this host itself"),
        ({"own_address": "203.0.113.1/24"}, "--own-address: 203.0.113.1 is in no network of eth0"),
        ({"own_address": "192.0.2.255"}, "--own-address: 192.0.2.255/24 is not an address"),
        ({"own_inside_address": "10.0.0.1"}, "--own-inside-address: 10.0.0.1 is in no network"),
    ],
)
def test_an_answer_that_cannot_be(changes: dict[str, str], said: str) -> None:
    answers = Answers.from_plain({**ANSWERS.to_plain(), **changes})
    _, problems = make_plan("office", answers, host())
    assert any(one.startswith(said) for one in problems), problems


def test_names_that_ovpnha_does_not_take() -> None:
    _, problems = make_plan("so long a name that it is none any more", ANSWERS, host(name="a b"))
    assert [one.partition(":")[0] for one in problems] == [
        "the server's file",
        "this host",
        "--cluster",
    ]


def test_a_host_knows_its_addresses() -> None:
    where = host(("eth0", "fe80::1/64"), ("ppp0", "203.0.113.1/32"), ("eth1", "2001:db8::1/64"))
    assert where.default_route(6) is None
    assert where.interfaces() == ("eth0", "ppp0", "eth1")
    near = next(one.address.ip for one in host(("x", "203.0.113.2/32")).addresses)
    assert where.find_interface(near) == ""
    assert where.find_prefix(near, "ppp0") == 32


def test_a_prefix_that_one_of_several_networks_has_is_taken() -> None:
    where = host(("eth0", "192.0.2.1/25"), ("eth0", "192.0.2.2/24"), ("bcn0", "192.168.77.1/24"))
    answers = Answers(vip="192.0.2.10/24", inside_vip="none", bcn_interface="bcn0")
    assert make_plan("office", answers, where)[1] == []
