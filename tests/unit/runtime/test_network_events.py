from __future__ import annotations

import os
import socket
from collections.abc import Callable
from typing import Any

import pytest

from ovpnha.config import Config
from ovpnha.model import InstanceName, VipPlace
from ovpnha.node.outputs import OpenvpnFound
from ovpnha.runtime.bcn import BcnSockets
from ovpnha.runtime.driver import Driver
from ovpnha.runtime.network import IFF_LOWER_UP, IFF_UP, NetworkTable
from ovpnha.runtime.network_events import NetworkEvents
from tests.openvpn_status import make_status

VIP = "192.0.2.10"
Make = Callable[..., NetworkEvents]


def network(*addresses: str, name: str = "eth0") -> NetworkTable:
    """One link with these addresses; the BCN's interface does not exist."""
    table = NetworkTable()
    flags = IFF_UP | IFF_LOWER_UP
    attrs = [("IFLA_IFNAME", name)]
    table.apply({"event": "RTM_NEWLINK", "index": 2, "flags": flags, "attrs": attrs})
    for address in addresses:
        message = {"event": "RTM_NEWADDR", "index": 2, "prefixlen": 24, "flags": 0, "family": 2}
        table.apply({**message, "attrs": [("IFA_LOCAL", address)]})
    return table


@pytest.fixture
def make(driver: Driver) -> Make:
    def build(**instance: str) -> NetworkEvents:
        plain = {
            "cluster": {"name": "x", "node": "a"},
            "bcn": {"links": [{"interface": "oha-none"}]},
            "instance": [{"name": "udp", "management": "/run/udp.sock", **instance}],
        }
        config = Config.model_validate(plain)
        return NetworkEvents(config, BcnSockets(config.bcn, lambda _batch, _link: None), driver)

    return build


def found(local: str, port: int = 1194) -> OpenvpnFound:
    status = make_status(local=local, port=port, proto="udp4")
    return OpenvpnFound(InstanceName("udp"), status)


async def test_the_socket_of_an_openvpn_that_is_found_is_known(make: Make) -> None:
    network_events = make()
    assert network_events.inode("udp") == 0
    with socket.socket(type=socket.SOCK_DGRAM) as one:
        one.bind(("127.0.0.1", 0))
        network_events.openvpn_found(found("127.0.0.1", one.getsockname()[1]))
        assert network_events.inode("udp") == os.fstat(one.fileno()).st_ino
    network_events.openvpn_found(found("127.0.0.1", 1))
    assert network_events.inode("udp") == 0


async def test_only_differences_are_told(make: Make, core: Any) -> None:
    network_events = make(vip=VIP)
    for table in (network(), network(), network(VIP), network(VIP, "192.0.2.1"), network()):
        network_events.changed(table)
    assert core.notes == [
        ("vip_changed", "udp", False),
        ("link_changed", "oha-none", False),
        ("vip_changed", "udp", True),
        ("vip_changed", "udp", False),
    ]


async def test_the_vip_counts_on_its_interface_only(make: Make, core: Any) -> None:
    network_events = make(vip=VIP, vip_interface="eth7")
    network_events.changed(network(VIP))
    network_events.changed(network(VIP))
    network_events.changed(network())
    assert core.notes == [
        ("vip_changed", "udp", False),
        ("link_changed", "oha-none", False),
        ("vip_placed", "udp", VipPlace("eth7", exists=False, found="eth0")),
        ("vip_placed", "udp", VipPlace("eth7", exists=False)),
    ]


async def test_a_vip_in_its_place_is_told_too(make: Make, core: Any) -> None:
    network_events = make(vip=VIP, vip_interface="eth0")
    network_events.changed(network())
    network_events.changed(network(VIP))
    assert [note for note in core.notes if note[0] == "vip_placed"] == [
        ("vip_placed", "udp", VipPlace("eth0", exists=True)),
        ("vip_placed", "udp", VipPlace("eth0", exists=True, here=True)),
    ]


async def test_a_vip_on_loopback_may_be_there_for_good(make: Make, core: Any) -> None:
    network_events = make(vip=VIP, vip_interface="eth7")
    network_events.changed(network(VIP, name="lo"))
    assert core.notes[-1] == ("vip_placed", "udp", VipPlace("eth7", exists=False))


async def test_openvpn_tells_the_vip(make: Make, core: Any) -> None:
    network_events = make()
    network_events.changed(network(VIP))
    assert ("vip_changed", "udp", True) not in core.notes
    network_events.openvpn_found(found(VIP))
    assert core.notes[-1] == ("vip_changed", "udp", True)


async def test_openvpn_may_write_the_vip_otherwise(make: Make, core: Any) -> None:
    network_events = make()
    network_events.openvpn_found(found("2001:DB8:0::10"))
    network_events.changed(network("2001:db8::10"))
    assert ("vip_changed", "udp", True) in core.notes


async def test_a_name_is_no_vip(make: Make, core: Any) -> None:
    network_events = make()
    network_events.openvpn_found(found("vpn.example.com"))
    network_events.changed(network(VIP))
    assert not [note for note in core.notes if note[0] == "vip_changed"]
