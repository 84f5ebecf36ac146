"""A node on which nothing is wrong, and how a test changes one fact of it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from ovpnha.doctor.facts import (
    CertificateFacts,
    ConfigurationFacts,
    ConntrackdFacts,
    Facts,
    HostFacts,
    InstanceFacts,
    KeepalivedFacts,
    KeyFacts,
    LinkFacts,
    NodeFacts,
    PackageFacts,
    ProcessFacts,
    ServerFacts,
    SidecarFacts,
    SocketFacts,
    UnitFacts,
)
from ovpnha.doctor.keepalived import read_blocks

NOW = 1_800_000_000.0
DAY = 86400.0
KEEPALIVED = """
$GRADE=/run/ovpnha/udp.grade
global_defs {
    script_user root
    enable_script_security
}
track_file ovpnha_grade {
    file $GRADE
    weight 1
    init_file 0
}
vrrp_script ovpnha_serves {
    script "/etc/keepalived/check-grade $GRADE"
    weight -120
}
vrrp_instance ovpnha {
    state BACKUP
    interface eth0
    virtual_router_id 51
    priority 100
    track_file {
        ovpnha_grade
    }
    track_script {
        ovpnha_serves
    }
    virtual_ipaddress {
        192.0.2.10/24 dev eth0
        198.51.100.10/24 dev eth1
    }
}
"""
UNIT = UnitFacts(
    "openvpn-cluster@udp.service",
    active=True,
    enabled=True,
    pid=7,
    hands_over=True,
    restarts=True,
    may_chown=True,
)
STOCK = UnitFacts("openvpn-server@udp.service")
SERVER = ServerFacts(
    name="udp",
    path="/etc/openvpn/server/udp.conf",
    instance="udp",
    cluster=True,
    local="192.0.2.10",
    management_user="ovpnha",
    unit=UNIT,
    stock_unit=STOCK,
    spare_unit=UnitFacts("openvpn-cluster-spare@udp.service"),
    process=ProcessFacts(7),
    socket=SocketFacts("/run/openvpn-cluster/udp.sock", 0o660),
    certificates=(
        CertificateFacts("certificate", "udp.crt", "vpn", 0.0, NOW + 90 * DAY, key_fits=True),
        CertificateFacts("ca", "ca.crt", "CA", 0.0, None),
    ),
)
GOOD = Facts(
    now=NOW,
    node="a",
    version="0.2.0",
    configuration=ConfigurationFacts(
        "/etc/ovpnha/ovpnha.toml",
        instances=(InstanceFacts("udp", ("192.0.2.10",), "eth0", "/run/ovpnha/udp.grade"),),
        inside_vips=("198.51.100.10",),
    ),
    packages=PackageFacts(
        patched="2.6.14-0+deb12u2+ovpnha1",
        built_from="2.6.14-0+deb12u2",
        beside=True,
        stock="2.6.14-0+deb12u2",
        available=("2.6.14-0+deb12u2",),
    ),
    servers=(SERVER,),
    key=KeyFacts("/etc/ovpnha/cluster.key", owner="ovpnha"),
    host=HostFacts(
        tunables={"net.ipv4.ip_forward": 1, "net.ipv6.conf.all.forwarding": 0},
        directories={"/run/ovpnha": 0o755, "/tmp": 0o1777},
    ),
    firewall=(),
    links=(LinkFacts("bcn0", 1500, 5, 6, 0, 1.2),),
    sidecar=SidecarFacts(
        version="0.2.0",
        openvpn={"udp": "2.6.14"},
        nodes=(NodeFacts("b", "2.6.14"),),
        capabilities=frozenset({"cap_kill", "cap_net_admin", "cap_net_raw"}),
    ),
    sidecar_unit=UnitFacts("ovpnha.service", active=True, enabled=True),
    keepalived=KeepalivedFacts(
        installed=True,
        blocks=read_blocks(KEEPALIVED.splitlines()),
        unit=UnitFacts("keepalived.service", active=True, enabled=True),
        process=ProcessFacts(9),
        scripts={"/etc/keepalived/check-grade": ""},
    ),
    conntrackd=ConntrackdFacts(
        installed=True, unit=UnitFacts("conntrackd.service", active=True, enabled=True)
    ),
)


def changed(part: str = "", **values: Any) -> Facts:
    """The good node with other values, of all facts or of one part; ``server`` is its only one."""
    return also(GOOD, part, **values)


def also(facts: Facts, part: str = "", **values: Any) -> Facts:
    """Another node with other values."""
    if not part:
        return replace(facts, **values)
    if part == "server":
        (server,) = facts.servers
        assert isinstance(server, ServerFacts)
        return replace(facts, servers=(replace(server, **values),))
    if part == "socket":
        assert SERVER.socket is not None
        return also(facts, "server", socket=replace(SERVER.socket, **values))
    return replace(facts, **{part: replace(getattr(facts, part), **values)})


def keepalived(old: str = "", new: str = "", text: str = KEEPALIVED) -> Facts:
    """The good node with another word in keepalived's configuration."""
    assert old in text
    return changed("keepalived", blocks=read_blocks(text.replace(old, new).splitlines()))


OTHER = ServerFacts("tcp", "/etc/openvpn/server/tcp.conf", local="192.0.2.10", tcp=True)


def before_step_9(**values: Any) -> Facts:
    """Nothing is clustered yet; the stock server serves."""
    return also(changed("server", cluster=False), **values)


def server_with(other: ServerFacts) -> Facts:
    return changed(servers=(SERVER, other))


def split(group: str = "") -> Facts:
    lan = "vrrp_instance lan {\n interface eth1\n virtual_ipaddress {\n 198.51.100.10/24\n }\n}\n"
    text = KEEPALIVED.replace("        198.51.100.10/24 dev eth1\n", "") + lan + group
    return keepalived(text=text)
