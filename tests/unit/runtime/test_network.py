from __future__ import annotations

import socket
from typing import Any

from ovpnha.runtime.network import (
    AF_BRIDGE,
    IFA_F_DADFAILED,
    IFA_F_TENTATIVE,
    IFF_LOWER_UP,
    IFF_UP,
    NetworkTable,
)


def link(index: int, name: str, *, up: bool = True, **changes: Any) -> dict[str, Any]:
    flags = IFF_UP | (IFF_LOWER_UP if up else 0)
    attrs = [("IFLA_IFNAME", name)]
    message = {"event": "RTM_NEWLINK", "index": index, "flags": flags, "attrs": attrs, "family": 0}
    return {**message, **changes}


def address(index: int, text: str, prefix: int = 24, flags: int = 0, **more: Any) -> dict[str, Any]:
    family = socket.AF_INET6 if ":" in text else socket.AF_INET
    attrs = [("IFA_ADDRESS", text), ("IFA_FLAGS", flags), *more.pop("attrs", [])]
    message = {"event": "RTM_NEWADDR", "index": index, "prefixlen": prefix, "flags": flags & 0xFF}
    return {**message, "family": family, "attrs": attrs, **more}


def table_of(*messages: dict[str, Any]) -> NetworkTable:
    table = NetworkTable()
    for message in messages:
        table.apply(message)
    return table


def test_an_address_counts_on_its_interface() -> None:
    table = table_of(link(2, "eth0"), link(3, "eth1"), address(2, "192.0.2.10"))
    assert table.has_address("192.0.2.10")
    assert table.has_address("192.0.2.10", "eth0")
    assert not table.has_address("192.0.2.10", "eth1")
    assert not table.has_address("192.0.2.11")
    found = table.link_of("192.0.2.10")
    assert found is not None
    assert found.name == "eth0"


def test_a_removed_address_is_gone() -> None:
    table = table_of(link(2, "eth0"), address(2, "192.0.2.10"))
    table.apply(address(2, "192.0.2.10", event="RTM_DELADDR"))
    assert not table.has_address("192.0.2.10")


def test_the_same_address_elsewhere_stays() -> None:
    table = table_of(link(2, "a"), link(3, "b"), address(2, "192.0.2.1"), address(3, "192.0.2.1"))
    table.apply(address(2, "192.0.2.1", event="RTM_DELADDR"))
    assert table.has_address("192.0.2.1", "b")


def test_a_tentative_address_is_not_there_yet() -> None:
    table = table_of(link(2, "eth0"), address(2, "2001:db8::10", 64, IFA_F_TENTATIVE))
    assert not table.has_address("2001:db8::10")
    table.apply(address(2, "2001:db8::10", 64))
    assert table.has_address("2001:db8::10")


def test_an_address_that_failed_duplicate_detection_never_is() -> None:
    flags = IFA_F_TENTATIVE | IFA_F_DADFAILED
    assert not table_of(address(2, "2001:db8::10", 64, flags)).has_address("2001:db8::10")


def test_a_point_to_point_address_is_the_local_one() -> None:
    table = table_of(address(2, "10.8.0.2", 32, attrs=[("IFA_LOCAL", "10.8.0.1")]))
    assert table.has_address("10.8.0.1")
    assert not table.has_address("10.8.0.2")


def test_broadcast_addresses() -> None:
    named = table_of(address(2, "192.0.2.1", attrs=[("IFA_BROADCAST", "192.0.2.127")]))
    assert named.addresses()[0].broadcasts() == ("192.0.2.127", "192.0.2.255")
    assert table_of(address(2, "192.0.2.1")).addresses()[0].broadcasts() == ("192.0.2.255",)
    assert table_of(address(2, "192.0.2.1", 32)).addresses()[0].broadcasts() == ()
    assert table_of(address(2, "2001:db8::1", 64)).addresses()[0].broadcasts() == ()


def test_a_link_without_carrier_is_down() -> None:
    table = table_of(link(2, "eth0"))
    assert table.link("eth0") is not None
    table.apply(link(2, "eth0", up=False))
    found = table.link("eth0")
    assert found is not None
    assert not found.up


def test_a_removed_or_renamed_link() -> None:
    table = table_of(link(2, "eth0"), address(2, "192.0.2.1"))
    table.apply(link(2, "wan0"))
    assert table.link("eth0") is None
    assert table.has_address("192.0.2.1", "wan0")
    table.apply(link(2, "wan0", event="RTM_DELLINK"))
    assert table.link("wan0") is None


def test_leaving_a_bridge_is_not_the_end_of_a_link() -> None:
    table = table_of(link(2, "eth0"))
    table.apply(link(2, "eth0", event="RTM_DELLINK", family=AF_BRIDGE))
    assert table.link("eth0") is not None
