"""What is known of a host: whose address is whose, what keepalived moves, what was read when."""

from __future__ import annotations

from ipaddress import ip_address

import pytest

from ovpnha.setup.files import KEEPALIVED_PATH, NODE_PATH
from ovpnha.setup.host import DefaultRoute, Host, NamedState
from tests.unit.setup.builders import host

VIP = ip_address("192.0.2.10")
KEEPALIVED = frozenset({"keepalived.service"})


@pytest.mark.parametrize(
    ("address", "interface"),
    [
        ("192.0.2.1", "eth0"),
        ("192.0.2.77", "eth0"),
        ("192.0.2.129", "eth1"),
        ("203.0.113.1", ""),
        ("198.51.100.7", "ppp0"),
        ("198.51.100.8", ""),
    ],
)
def test_an_address_is_where_it_is_or_else_where_its_network_is(
    address: str, interface: str
) -> None:
    where = host(
        *(("eth0", "192.0.2.1/24"), ("eth1", "192.0.2.129/25"), ("ppp0", "198.51.100.7/32")),
    )
    assert where.find_interface(ip_address(address)) == interface
    assert where.has(ip_address(address)) is (
        address in {"192.0.2.1", "192.0.2.129", "198.51.100.7"}
    )


def test_the_prefix_is_that_of_the_network_on_this_interface() -> None:
    where = host(("eth0", "192.0.2.1/24"), ("eth1", "192.0.2.2/25"), ("eth1", "192.0.2.3/26"))
    assert where.find_prefix(VIP, "eth0") == 24
    assert where.find_prefix(VIP, "eth1") == 25
    assert where.find_prefix(VIP, "eth2") == 32
    assert where.find_prefix(ip_address("2001:db8::1"), "eth0") == 128


def managed(text: str, **changes: object) -> Host:
    return host(("eth0", "192.0.2.10/24"), files={KEEPALIVED_PATH: text}, **changes)


@pytest.mark.parametrize(
    ("text", "manages"),
    [
        ("192.0.2.10", True),
        ("virtual_ipaddress { 192.0.2.10/24 dev eth0 }", True),
        ("$OUTSIDE_VIP=192.0.2.10/24", True),
        ("192.0.2.100/24", False),
        ("192.0.2.1/24", False),
        ("1.192.0.2.10", False),
        ("# 192.0.2.10", False),
        ("! 192.0.2.10", False),
        ("file /run/192.0.2.10/x", False),
        ("", False),
    ],
)
def test_what_keepalived_moves_is_a_word_of_its_files(text: str, manages: bool) -> None:
    assert managed(text).manages("192.0.2.10") is manages
    assert managed(text, active=KEEPALIVED).has_as_own(VIP) is not manages


def test_an_address_is_a_host_s_own_while_keepalived_does_not_run() -> None:
    assert managed("192.0.2.10").has_as_own(VIP)
    assert not managed("", active=KEEPALIVED).has_as_own(ip_address("192.0.2.11"))
    elsewhere = host(("eth0", "192.0.2.10/24"), files={"/etc/x": "192.0.2.10"}, active=KEEPALIVED)
    assert elsewhere.has_as_own(VIP)


def test_what_keepalived_was_started_with_stands_for_what_is_written() -> None:
    now = managed("192.0.2.10", manager_files={KEEPALIVED_PATH: "192.0.2.11"})
    assert not now.manages("192.0.2.10")
    assert now.manages("192.0.2.11")
    more = managed("192.0.2.10", manager_files={NODE_PATH: "192.0.2.11"})
    assert more.manages("192.0.2.10")
    assert more.manages("192.0.2.11")


def test_a_file_is_newer_than_a_unit_that_has_not_read_it() -> None:
    where = host(written={"/f": 100}, since={"u": 100, "v": 99})
    assert not where.is_newer("/f", "u")
    assert where.is_newer("/f", "v")
    assert not where.is_newer("/f", "w")
    assert not where.is_newer("/g", "v")
    assert not host(since={"u": 0}).is_newer("/g", "u")


def test_own_addresses_are_those_that_stay_and_lead_somewhere() -> None:
    where = host(
        *(("eth0", "192.0.2.10/24"), ("eth0", "192.0.2.1/24"), ("eth0", "fe80::1/64")),
        ("eth1", "192.0.2.3/24"),
    )
    assert [str(one.ip) for one in where.own_addresses("eth0", VIP)] == ["192.0.2.1"]
    assert [str(one.ip) for one in where.own_addresses("eth0")] == ["192.0.2.10", "192.0.2.1"]
    assert list(where.own_addresses("eth2")) == []


def test_interfaces_that_lead_to_other_hosts() -> None:
    names = ("lo", "eth0", "tun0", "tap3", "docker0", "veth1", "virbr0", "eth0", "wlan0")
    where = host(*((name, f"192.0.2.{at}/24") for at, name in enumerate(names, 1)))
    assert where.interfaces() == ("eth0", "wlan0")
    assert where.interfaces("eth0") == ("wlan0",)


def test_the_default_route_of_each_family() -> None:
    four, six = DefaultRoute("eth0", "192.0.2.254", ""), DefaultRoute("eth1", "fe80::1", "", 6)
    where = host(routes=(six, four))
    assert where.default_route(4) is four
    assert where.default_route(6) is six
    assert host(routes=()).default_route(4) is None


def test_a_state_in_words() -> None:
    assert str(NamedState(0o640, "ovpnha", "adm")) == "mode 0640, ovpnha:adm"
    assert str(NamedState(0o600)) == "mode 0600, root:root"


def test_what_is_taken_of_a_host_of_which_nothing_is_said() -> None:
    bare = Host("a")
    ours = frozenset({"ovpnha"})
    assert (bare.has_user, bare.users, bare.groups) == (True, ours, ours)
