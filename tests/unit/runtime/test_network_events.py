from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Callable, Coroutine, Mapping
from typing import Any

import pytest

from ovpnha.config import BcnConfig, Config
from ovpnha.model import InstanceName, VipPlace
from ovpnha.node.outputs import OpenvpnFound
from ovpnha.runtime import network_events
from ovpnha.runtime.bcn import BcnSockets
from ovpnha.runtime.driver import Driver
from ovpnha.runtime.netlink import read_network
from ovpnha.runtime.network import IFF_LOWER_UP, IFF_UP, NetworkTable
from ovpnha.runtime.network_events import NetworkEvents
from tests.openvpn_status import make_status

VIP, OTHER = "192.0.2.10", "192.0.2.11"
Make = Callable[..., NetworkEvents]
Until = Callable[[Callable[[], object]], Coroutine[Any, Any, None]]


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
    def build(**instance: object) -> NetworkEvents:
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


async def test_an_openvpn_that_starts_anew_may_serve_another_address(make: Make, core: Any) -> None:
    network_events = make()
    network_events.changed(network(VIP))
    network_events.openvpn_found(found(OTHER))
    assert core.notes[-1] == ("vip_changed", "udp", False)
    network_events.openvpn_found(found(VIP))
    assert core.notes[-1] == ("vip_changed", "udp", True)
    network_events.openvpn_found(found("vpn.example.com"))
    assert network_events.addresses("udp") == (VIP,)


async def test_what_is_configured_counts_whatever_openvpn_says(make: Make, core: Any) -> None:
    network_events = make(vip=VIP)
    network_events.openvpn_found(found(OTHER))
    network_events.changed(network(VIP))
    assert network_events.addresses("udp") == (VIP,)
    assert ("vip_changed", "udp", True) in core.notes


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


async def test_who_is_alone_serves_wherever_its_address_is(driver: Driver, core: Any) -> None:
    plain = {
        "cluster": {"alone": True, "node": "a"},
        "instance": [{"name": "udp", "management": "/run/udp.sock"}],
    }
    bcn = BcnSockets(None, lambda _batch, _link: None)
    network_events = NetworkEvents(Config.model_validate(plain), bcn, driver)
    network_events.changed(network())
    network_events.changed(network(VIP))
    network_events.openvpn_found(found(VIP))
    assert [note for note in core.notes if note[0] == "vip_changed"] == [
        ("vip_changed", "udp", True)
    ]
    bcn.send(b"to nobody")
    assert network_events.addresses("udp") == (VIP,)


SIX = "2001:db8::10"


async def test_of_several_vips_one_is_enough_and_those_that_lack_are_told(
    make: Make, core: Any
) -> None:
    network_events = make(vip=[VIP, SIX])
    for table in (network(), network(VIP), network(VIP, SIX), network(SIX), network()):
        network_events.changed(table)
    assert [note for note in core.notes if note[0] == "vip_changed"] == [
        ("vip_changed", "udp", False),
        ("vip_changed", "udp", True),
        ("vip_changed", "udp", False),
    ]
    assert [note[2] for note in core.notes if note[0] == "vip_placed"] == [
        VipPlace("", exists=False),
        VipPlace("", exists=False, here=True, missing=(SIX,)),
        VipPlace("", exists=False, here=True),
        VipPlace("", exists=False, here=True, missing=(VIP,)),
        VipPlace("", exists=False),
    ]


async def test_several_vips_count_on_one_interface(make: Make, core: Any) -> None:
    network_events = make(vip=[VIP, SIX], vip_interface="eth7")
    network_events.changed(network(SIX))
    assert core.notes[-1] == ("vip_placed", "udp", VipPlace("eth7", exists=False, found="eth0"))


async def test_openvpn_tells_several_vips(make: Make, core: Any) -> None:
    network_events = make()
    assert network_events.addresses("udp") == ()
    with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as one:
        one.bind(("::", 0))
        status = make_status(
            port=one.getsockname()[1], proto="udp6", addresses=(VIP, "2001:DB8:0::10")
        )
        network_events.openvpn_found(OpenvpnFound(InstanceName("udp"), status))
        assert network_events.inode("udp") == os.fstat(one.fileno()).st_ino
    assert network_events.addresses("udp") == (VIP, SIX)
    network_events.changed(network(SIX))
    assert ("vip_changed", "udp", True) in core.notes


async def test_the_socket_for_any_address_of_ipv4_is_known(make: Make) -> None:
    network_events = make()
    with socket.socket(type=socket.SOCK_DGRAM) as one:
        one.bind(("0.0.0.0", 0))  # noqa: S104
        status = make_status(port=one.getsockname()[1], proto="udp4", addresses=(VIP,))
        network_events.openvpn_found(OpenvpnFound(InstanceName("udp"), status))
        assert network_events.inode("udp") == os.fstat(one.fileno()).st_ino


async def test_a_port_that_was_taken_is_tried_again(
    make: Make, monkeypatch: pytest.MonkeyPatch, until: Until
) -> None:
    """No event of the network tells when it is free."""
    monkeypatch.setattr(network_events, "OPEN_AGAIN", 0.02)
    events = make()
    table = read_network()
    with socket.socket(type=socket.SOCK_DGRAM) as one:
        one.bind(("127.0.0.1", 0))
        config = BcnConfig.model_validate(
            {"port": one.getsockname()[1], "links": [{"interface": "lo", "address": "127.0.0.2"}]}
        )
        events._bcn = BcnSockets(config, lambda _batch, _link: None)
        events.changed(table)
        assert events._bcn.failed
    await until(lambda: not events._bcn.failed)
    assert events._links == {"lo": True}
    events._bcn.close()


@pytest.mark.parametrize("waits", [True, False])
async def test_after_its_end_nothing_is_tried_again(
    make: Make, monkeypatch: pytest.MonkeyPatch, *, waits: bool
) -> None:
    refreshed: list[NetworkTable] = []

    def refresh(_bcn: BcnSockets, table: NetworkTable) -> Mapping[str, bool]:
        refreshed.append(table)
        return {}

    monkeypatch.setattr(network_events, "OPEN_AGAIN", 0.0)
    monkeypatch.setattr(BcnSockets, "refresh", refresh)
    monkeypatch.setattr(BcnSockets, "failed", waits)
    events = make()
    events.changed(network())
    events.stop()
    for _ in range(3):
        await asyncio.sleep(0)
    assert len(refreshed) == 1
