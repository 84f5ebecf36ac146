"""Addresses, networks and words at the edge of what is taken."""

from __future__ import annotations

import ipaddress
from pathlib import Path

import pytest

from ovpnha.setup.addresses import find_in_tunnels, note_far_nodes, note_local
from ovpnha.setup.answers import Answers, find_questions
from ovpnha.setup.cluster import make_plan
from ovpnha.setup.host import DefaultRoute
from ovpnha.setup.refusals import find_refused, find_served, find_tunnels, is_wrong_family
from ovpnha.setup.server import Server, parse_server
from tests.unit.setup.builders import ANSWERS, SOURCE, host, plan


def server(text: str) -> Server:
    return parse_server(Path("x"), text)


GOOD = "local 192.0.2.10\nmanagement /x unix\ndisable-dco\ndev tun\nproto udp\n"

REFUSED = {
    "proto tcp4": ["tcp"],
    "dev tap0": [],
    "dev-type tap\ndev vpn": [],
    "dev tap0\nmax-routes-per-client 1024": [],
    "dev tap0\nmax-routes-per-client 1025": ["macs"],
    "dev-type tap\ndev vpn\nmax-routes-per-client 2000": ["macs"],
    "dev tap0\nmax-routes-per-client many": [],
    "dev-type tun\ndev tap0\nmax-routes-per-client 2000": [],
    "max-routes-per-client 2000": [],
    "local 0.0.0.0": ["wildcard"],
    "local ::": ["wildcard"],
    "local vpn.example.net": [],
    "proto udp6": ["family"],
    "proto udp4": [],
    "local 2001:db8::1\nproto udp6": [],
    "local 2001:db8::1\nproto udp4": ["family"],
    "local ::\nproto udp4": ["wildcard"],
    "local ::\nproto udp6\ncluster-address 192.0.2.10\ncluster-address 2001:db8::1": [],
    "local 0.0.0.0\ncluster-address 192.0.2.10": [],
    "local 0.0.0.0\ncluster-address 2001:db8::1": ["ipv6"],
    "local ::\nproto udp6\nbind ipv6only\ncluster-address 192.0.2.10": ["ipv4"],
    "local ::\nproto udp6\nbind ipv6only\ncluster-address 2001:db8::1": [],
    "cluster-address 192.0.2.10": ["both"],
    "multihome": [],
    "fragment 1300": [],
    "comp-lzo": [],
    "comp-lzo yes": [],
    "comp-lzo no": [],
    "compress": [],
    "compress lz4": [],
    "compress stub-v2": [],
    "compress migrate": [],
    "allow-compression asym": [],
    "allow-compression no": [],
    "no-replay": ["replay"],
    "data-ciphers AES-256-GCM:AES-256-CFB8": ["cipher"],
    "data-ciphers aes-128-ofb": ["cipher"],
    "data-ciphers AES-256-GCM:AES-256-CBC": [],
    "management /y unix": ["management"],
    "management-client": ["client"],
    "management-hold": ["questions"],
    "auth-gen-token": ["token"],
    "auth-gen-token 0 3600": ["token"],
    "auth-gen-token\nauth-gen-token-secret s": [],
    "auth-gen-token-secret s": [],
}


@pytest.mark.parametrize("text", REFUSED)
def test_what_cluster_refuses(text: str) -> None:
    assert list(find_refused(server(GOOD + text))) == REFUSED[text]


@pytest.mark.parametrize(
    "address",
    ["", "x", "0.0.0.1", "127.0.0.1", "224.0.0.1", "240.0.0.1", "::", "::1", "fe80::1", "ff02::1"],
)
def test_what_is_no_address_that_nodes_share(address: str) -> None:
    text = f"{GOOD}local ::\nproto udp6\ncluster-address {address}"
    assert list(find_refused(server(text))) == ["address"]


def test_which_addresses_a_server_serves() -> None:
    def served(text: str) -> list[str]:
        return [str(one) for one in find_served(server(text))]

    assert served("local 192.0.2.10") == ["192.0.2.10"]
    assert served("local vpn.example.net") == []
    assert served("cluster-address 192.0.2.10\ncluster-address 2001:db8::1\ncluster-address x") == [
        "192.0.2.10",
        "2001:db8::1",
    ]
    assert served("local 192.0.2.10\ncluster-address 192.0.2.11") == ["192.0.2.10"]
    assert served("local 0.0.0.0\ncluster-address 192.0.2.11") == ["192.0.2.11"]


def test_what_must_be_there() -> None:
    assert list(find_refused(server(""))) == ["wildcard", "management", "dco"]
    assert list(find_refused(server(GOOD.replace(" unix", "")))) == ["management"]
    assert list(find_refused(server(GOOD.replace("/x unix", "unix")))) == ["management"]
    assert list(find_refused(server(GOOD.replace("unix", "unix /pass")))) == []


def test_a_family_is_wrong_only_where_both_are_said() -> None:
    assert is_wrong_family(server("local 192.0.2.1\nproto udp6"))
    assert not is_wrong_family(server("proto udp6"))
    assert not is_wrong_family(server("local vpn\nproto udp6"))
    assert not is_wrong_family(server("local 192.0.2.1\nproto udp"))


def test_the_networks_behind_a_server() -> None:
    text = (
        "server 10.8.0.0 255.255.252.0 nopool\nserver-ipv6 2001:db8:8::/64 x\n"
        "route 10.9.0.0 255.255.0.0 vpn_gateway 5\nroute 10.7.0.1\nroute-ipv6 2001:db8:9::/48 gw\n"
        "route lan 255.255.255.0\nserver\nserver-ipv6\n"
        "ifconfig 10.6.0.1 255.255.255.0\nifconfig 10.5.0.1 10.5.0.2\n"
        "ifconfig-ipv6 2001:db8:6::1/64 2001:db8:6::2\n"
    )
    assert [str(one) for one in find_tunnels(server(text))] == [
        *("10.8.0.0/22", "10.6.0.0/24", "10.9.0.0/16", "10.7.0.1/32"),
        *("2001:db8:8::/64", "2001:db8:6::/64", "2001:db8:9::/48"),
    ]


def problems(**changes: object) -> list[str]:
    answers = Answers.from_plain({**ANSWERS.to_plain(), **changes})
    return [one.partition(":")[0] for one in make_plan("office", answers, host())[1]]


@pytest.mark.parametrize(
    ("vip", "well"),
    [
        ("192.0.2.1/24", True),
        ("192.0.2.254/24", True),
        ("192.0.2.255/24", False),
        ("192.0.2.10/23", False),
        ("192.0.2.10/25", True),
        ("192.0.2.10/31", True),
        ("203.0.113.9/1", True),
        ("203.0.113.9/0", False),
        ("203.0.113.8/30", False),
        ("203.0.113.11/30", False),
        ("203.0.113.8/31", True),
        ("203.0.113.9/31", True),
        ("2001:db8::/64", False),
        ("2001:db8::ffff:ffff:ffff:ffff/64", True),
        ("2001:db8::1", True),
        ("127.0.0.5", False),
        ("169.254.1.1", False),
        ("0.0.0.0", False),  # noqa: S104
        ("fe80::1", False),
        ("ff02::1", False),
        ("::1", False),
        ("::", False),
        ("::ffff:192.0.2.1", False),
        ("240.0.0.1", False),
        ("100::5", True),
    ],
)
def test_what_can_be_a_vip(vip: str, well: bool) -> None:
    assert problems(vip=vip, outside_interface="eth0") == ([] if well else ["--vip"])


@pytest.mark.parametrize(
    ("own", "well"),
    [
        ("192.0.2.2", True),
        ("192.0.2.0", False),
        ("192.0.2.255", False),
        ("198.51.100.2", False),
        ("127.0.0.1", False),
        ("2001:db8::5/64", True),
    ],
)
def test_what_can_be_a_host_s_own(own: str, well: bool) -> None:
    assert problems(own_address=own) == ([] if well else ["--own-address"])


def test_an_interface_with_lone_addresses_has_no_network_to_be_in() -> None:
    where = host(("eth0", "192.0.2.10/32"), ("eth0", "192.0.2.20/32"), ("bcn0", "10.0.0.1/24"))
    answers = Answers(
        vip="192.0.2.10", inside_vip="none", bcn_interface="bcn0", own_address="203.0.113.5/32"
    )
    assert make_plan("office", answers, where)[1] == []
    where = host(("eth0", "192.0.2.10/32"), ("eth0", "192.0.2.20/24"), ("bcn0", "10.0.0.1/24"))
    assert len(make_plan("office", answers, where)[1]) == 1


def test_all_nodes_of_the_bcn_must_not_be_this_one() -> None:
    assert problems(bcn_nodes="192.168.77.1") == ["--bcn-node"]
    assert problems(bcn_nodes="192.168.77.1 192.168.77.2") == []


def test_addresses_behind_the_server() -> None:
    text = "server 192.0.2.0 255.255.255.0\nroute 198.51.100.8 255.255.255.248\n"
    found = list(find_in_tunnels(plan(), server(text)))
    assert [one.partition(" is in ")[0] for one in found] == [
        "--vip: 192.0.2.10",
        "--inside-vip: 198.51.100.10",
    ]
    assert list(find_in_tunnels(plan(), server("server 192.0.3.0 255.255.255.0"))) == []


def test_nodes_that_a_router_leads_to() -> None:
    def told(nodes: str, interface: str) -> list[str]:
        answers = Answers(
            vip="192.0.2.10", inside_vip="none", bcn_nodes=nodes, bcn_interface=interface
        )
        return [one.partition(" is in")[0] for one in note_far_nodes(plan(answers), host())]

    assert told("192.168.77.2 192.168.78.2", "bcn0") == ["bcn: 192.168.78.2"]
    assert told("192.168.77.2", "bcn0") == []
    assert told("192.168.77.2", "eth1") == ["bcn: 192.168.77.2"]


def test_the_bcn_is_where_the_first_node_is_that_is_named() -> None:
    for nodes, interface in (
        ("192.168.77.2", "bcn0"),
        ("192.168.77.2 198.51.100.2", "bcn0"),
        ("198.51.100.2 192.168.77.2", "eth1"),
    ):
        answers = Answers(vip="192.0.2.10", inside_vip="none", bcn_nodes=nodes)
        assert plan(answers).bcn_interface == interface


def test_clients_that_know_another_address() -> None:
    assert list(note_local(plan(), server("local 192.0.2.10"))) == []
    assert list(note_local(plan(), server("local 0.0.0.0"))) == []
    assert list(note_local(plan(), server("verb 3"))) == []
    for old in ("192.0.2.9", "vpn.example.net"):
        (one,) = note_local(plan(), server(f"local {old}"))
        assert one.startswith(f"local {old}: becomes 192.0.2.10; clients")


def test_a_route_of_ipv6_shows_the_outside_where_there_is_none_of_ipv4() -> None:
    routes = (DefaultRoute("eth1", "fe80::1", "", 6),)
    where = host(routes=routes)
    questions = {one.field: one for one in find_questions(Answers(), where, SOURCE.read(None))}
    assert questions["vip"].default == "198.51.100.1"
    assert questions["bcn_interface"].default == "eth0"
    both = host(routes=(*routes, DefaultRoute("eth0", "192.0.2.254", "")))
    questions = {one.field: one for one in find_questions(Answers(), both, SOURCE.read(None))}
    assert questions["vip"].default == "192.0.2.1"
    assert questions["bcn_interface"].default == "eth1"
    other = Answers(vip="203.0.113.1", inside_vip="none", bcn_interface="bcn0")
    questions = {one.field: one for one in find_questions(other, where, SOURCE.read(None))}
    assert questions["outside_interface"].default == "eth1"


def test_the_plan_of_a_vip_without_a_prefix() -> None:
    def address(vip: str) -> str:
        answers = Answers(vip=vip, inside_vip="none", bcn_interface="bcn0")
        return str(
            plan(answers, host(("eth0", "192.0.2.1/26"), ("bcn0", "10.0.0.1/8"))).outside.address
        )

    assert address("192.0.2.10") == "192.0.2.10/26"
    assert address("192.0.2.10/28") == "192.0.2.10/28"


def test_what_is_said_counts_before_what_is_found() -> None:
    answers = Answers(
        vip="192.0.2.10",
        inside_vip="none",
        bcn_interface="bcn0",
        router_id=9,
        priority=90,
        cluster="town",
        keepalived="leave",
        outside_interface="eth1",
    )
    found = plan(answers)
    assert (found.router_id, found.priority, found.cluster) == (9, 90, "town")
    assert (found.keepalived, found.outside.interface) == ("leave", "eth1")
    assert plan().keepalived == "new"


def test_nodes_of_the_bcn_are_sorted_and_have_this_one_once() -> None:
    where = host(
        ("eth0", "192.0.2.1/24"),
        ("bcn0", "10.0.0.5/24"),
        ("bcn0", "10.0.0.6/24"),
        ("bcn0", "10.1.0.5/24"),
    )
    answers = Answers(vip="192.0.2.10", inside_vip="none", bcn_nodes="10.0.0.9 10.0.0.2")
    nodes = [ipaddress.ip_address(f"10.0.0.{one}") for one in (2, 5, 9)]
    assert list(plan(answers, where).bcn_nodes) == nodes


def test_several_vips_are_each_looked_at() -> None:
    def said(vip: str) -> list[str]:
        answers = Answers(vip=vip, inside_vip="none", bcn_interface="bcn0")
        return make_plan("office", answers, host())[1]

    assert said("192.0.2.10 192.0.2.20 2001:db8::10") == []
    assert said("192.0.2.10 192.0.2.10/24") == ["--vip: names an address twice; name each once"]
    many = " ".join(f"192.0.2.{one}" for one in range(10, 19))
    assert said(many) == ["--vip: names 9 addresses; no more than 8 are possible"]
    (line,) = said("192.0.2.10 x")
    assert line.startswith("--vip: x is no address")
    (line,) = said("192.0.2.10 ff02::1")
    assert line.startswith("--vip: ff02::1 is not an address that a host can have")
