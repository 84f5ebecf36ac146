"""Where an address is written down, and the one line of it that is changed."""

from __future__ import annotations

import ipaddress

import pytest

from ovpnha.setup.cluster import MovingAddress
from ovpnha.setup.network import edit_network, find_mentions, give_up, take_own

IFUPDOWN, NETWORKD = "/etc/network/interfaces", "/etc/systemd/network/10.network"
NETPLAN = "/etc/netplan/01.yaml"


def place(own: str | None = "192.0.2.11/24", address: str = "192.0.2.10/24") -> MovingAddress:
    instead = None if own is None else ipaddress.ip_interface(own)
    return MovingAddress(ipaddress.ip_interface(address), "eth0", instead)


@pytest.mark.parametrize(
    ("line", "mentioned"),
    [
        ("address 192.0.2.10", True),
        ("address 192.0.2.10/24", True),
        ("x=192.0.2.10;y", True),
        ("'192.0.2.10'", True),
        ("192.0.2.100", False),
        ("1192.0.2.10", False),
        ("1.192.0.2.10", False),
        ("192.0.2.10.5", False),
        ("192.0.2.10:80", False),
        ("# 192.0.2.10", False),
        ("a ; 192.0.2.10", False),
        ("a # b # 192.0.2.10", False),
        ("192.0.2.10 # c", True),
    ],
)
def test_what_mentions_an_address(line: str, mentioned: bool) -> None:
    found = find_mentions({NETPLAN: f"first\n{line}\nlast"}, place())
    assert [(one.path, one.line, one.simple) for one in found] == (
        [(NETPLAN, 2, False)] if mentioned else []
    )


@pytest.mark.parametrize(
    ("path", "before", "own", "after"),
    [
        (IFUPDOWN, "  address 192.0.2.10/24 ", "192.0.2.11/24", "  address 192.0.2.11/24 "),
        (IFUPDOWN, "  address 192.0.2.10", "192.0.2.11/24", "  address 192.0.2.11"),
        (NETWORKD, "Address=192.0.2.10/24", "192.0.2.11/25", "Address=192.0.2.11/25"),
        (NETWORKD, "Address = 192.0.2.10/24", None, "#Address = 192.0.2.10/24"),
        (IFUPDOWN, "address 192.0.2.10/24", None, None),
        (IFUPDOWN, "Address=192.0.2.10/24", "192.0.2.11/24", None),
        (IFUPDOWN, "address 192.0.2.10/24 broadcast x", "192.0.2.11/24", None),
        (NETWORKD, "Gateway=192.0.2.10", "192.0.2.11/24", None),
        (NETPLAN, "Address=192.0.2.10/24", "192.0.2.11/24", None),
    ],
)
def test_a_line_that_is_nothing_else_is_changed(
    path: str, before: str, own: str | None, after: str | None
) -> None:
    changed, left = edit_network({path: f"a\n{before}\nz\n"}, place(own))
    assert changed == ({path: f"a\n{after}\nz\n"} if after is not None else {})
    assert [one.partition(" has")[0] for one in left] == ([] if after else [f"{path}:2:"])


def test_two_lines_are_left_to_somebody() -> None:
    files = {IFUPDOWN: "address 192.0.2.10/24\naddress 192.0.2.10/24\n", NETPLAN: "192.0.2.10"}
    changed, left = edit_network(files, place())
    assert changed == {}
    assert [one.partition(": has")[0] for one in left] == [
        f"{IFUPDOWN}:1",
        f"{IFUPDOWN}:2",
        f"{NETPLAN}:1",
    ]
    assert "192.0.2.11/24 instead, before" in left[0]


def test_an_address_that_no_file_has_comes_from_elsewhere() -> None:
    _, (told,) = edit_network({}, place(None))
    assert "(DHCP?): take it out, where" in told


def test_the_running_host_changes_too() -> None:
    sysctl = ("sysctl", "--quiet", "net/ipv4/conf/eth0/promote_secondaries=1")
    own = ("ip", "address", "replace", "192.0.2.11/24", "dev", "eth0")
    assert list(take_own(place())) == [own, sysctl]
    assert list(take_own(place(None))) == [sysctl]
    assert list(take_own(place(None, "2001:db8::5/64"))) == []
    delete = ("ip", "address", "del", "192.0.2.10/24", "dev", "eth0")
    assert list(give_up(place(), False, "192.0.2.254")) == [delete]
    route = ("ip", "-4", "route", "replace", "default")
    end = ("dev", "eth0")
    assert list(give_up(place(), True, "")) == [delete, (*route, *end)]
    assert list(give_up(place(), True, "g")) == [delete, (*route, "via", "g", *end)]


def test_an_address_is_found_however_it_is_spelt() -> None:
    moving = place(None, "2001:db8::10/64")
    files = {NETWORKD: "[Network]\nAddress=2001:DB8:0::0010/64\n"}
    assert [one.line for one in find_mentions(files, moving)] == [2]


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("/etc/network/interfaces.d/50-cloud-init", "address 192.0.2.10/24"),
        (IFUPDOWN, "# Changes will not persist.\naddress 192.0.2.10"),
    ],
)
def test_a_file_that_is_made_anew_at_boot_is_not_changed(path: str, text: str) -> None:
    changed, (told,) = edit_network({path: text}, place())
    assert not changed
    assert "makes this file anew at boot" in told
