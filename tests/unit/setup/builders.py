"""A host, a server's file and answers, as most tests of what init proposes have them."""

from __future__ import annotations

import ipaddress
from dataclasses import replace

from ovpnha.setup.answers import Answers
from ovpnha.setup.cluster import ClusterPlan, make_plan
from ovpnha.setup.files import KeepalivedFiles
from ovpnha.setup.host import DefaultRoute, Host, InterfaceAddress
from ovpnha.setup.proposal import ServerSource, Supplies
from tests.unit.setup.templates import TEMPLATES

TEXT = "proto udp\ndev tun\nserver 10.8.0.0 255.255.255.0\n"
SOURCE = ServerSource("/etc/openvpn/server/office.conf", TEXT)
INSTALLED = frozenset({"/usr/lib/systemd/system/openvpn-cluster@.service", "/usr/sbin/keepalived"})


def host(*addresses: tuple[str, str], **changes: object) -> Host:
    """A host with these addresses by interface; without any, the usual three."""
    usual = (("eth0", "192.0.2.1/24"), ("eth1", "198.51.100.1/24"), ("bcn0", "192.168.77.1/24"))
    placed = (
        InterfaceAddress(name, ipaddress.ip_interface(text)) for name, text in addresses or usual
    )
    route = DefaultRoute("eth0", "192.0.2.254", "")
    found = Host("a", tuple(placed), (route,), programs=INSTALLED)
    return replace(found, **changes)  # type: ignore[arg-type]


ANSWERS = Answers(vip="192.0.2.10", inside_vip="198.51.100.10", bcn_interface="bcn0")


def plan(answers: Answers = ANSWERS, where: Host | None = None) -> ClusterPlan:
    """The plan of good answers."""
    found, problems = make_plan("office", answers, where or host())
    assert found is not None, problems
    return found


def supplies(**changes: object) -> Supplies:
    """What a proposal is made with."""
    return replace(Supplies(TEMPLATES, "key\n"), **changes)  # type: ignore[arg-type]


__all__ = ["ANSWERS", "SOURCE", "TEMPLATES", "TEXT", "KeepalivedFiles", "host", "plan", "supplies"]
