"""What the judgement of a packet filter must know beside it: interfaces, VIPs, networks."""

from __future__ import annotations

from ipaddress import ip_address, ip_network
from pathlib import Path

import pytest

from ovpnha.config import BcnMode, Config, parse_config
from ovpnha.errors import ConfigError
from ovpnha.firewall.findings import LIBERAL
from ovpnha.firewall.services import FirewallServices
from ovpnha.firewall.table import Plan, Translation
from ovpnha.runtime import firewall, site
from ovpnha.runtime.network import NetworkTable
from ovpnha.runtime.site import make_plan, make_site

SERVER = """
local 10.99.1.10
dev tun3
server 10.8.0.0 255.255.252.0
server-ipv6 2001:db8:8::/64
route 10.9.0.0 255.255.0.0 vpn_gateway
route office.example 255.255.255.0
route-ipv6 2001:db8:9::/48
"""
NETS = ("10.8.0.0/22", "10.9.0.0/16", "2001:db8:8::/64", "2001:db8:9::/48")
ADDRESSES = {
    "lo": "127.0.0.1",
    "out0": "10.99.1.11",
    "lan0": "10.99.2.11",
    "bcn0": "10.99.0.11",
    "tun3": "10.8.0.1",
    "tun9": "10.12.0.1",
}


def config(directory: Path, more: str = "", vip: str = "") -> Config:
    (directory / "udp.conf").write_text(SERVER)
    return parse_config(
        f"""
{more}
[cluster]
name = "office"
[bcn]
links = [{{ interface = "bcn0" }}]
[conntrack]
socket = "{directory}/conntrackd.ctl"
[[instance]]
name = "udp"
management = "/run/openvpn-server/udp.sock"
server_config = "{directory}/udp.conf"
{vip}
""",
        "f",
    )


def table() -> NetworkTable:
    made = NetworkTable()
    for index, (name, address) in enumerate(ADDRESSES.items()):
        link = {"event": "RTM_NEWLINK", "index": index, "flags": 0x10001}
        made.apply({**link, "attrs": [("IFLA_IFNAME", name)]})
        attrs = [("IFA_ADDRESS", address)]
        message = {"event": "RTM_NEWADDR", "index": index, "family": 2, "prefixlen": 24, "flags": 0}
        made.apply({**message, "attrs": attrs})
    stray = {"event": "RTM_NEWADDR", "index": 99, "family": 2, "prefixlen": 24, "flags": 0}
    made.apply({**stray, "attrs": [("IFA_ADDRESS", "10.50.0.1")]})
    return made


def test_from_openvpn_s_configuration(tmp_path: Path) -> None:
    found = make_site(config(tmp_path), table())
    assert found.tunnels == tuple(map(ip_network, NETS))
    assert found.tun == "tun3"
    assert found.interfaces == {"out0": (ip_address("10.99.1.10"),), "lan0": ()}
    assert found.vrrp_links == ("out0",)
    assert found.bcn_links == ("bcn0",)
    assert (found.bcn_ports, found.bcn_version, found.bcn_answers) == ((11940,), 4, False)
    assert found.plan is None
    assert not found.conntrackd


def test_from_ours(tmp_path: Path) -> None:
    (tmp_path / "conntrackd.ctl").touch()
    more = """
[firewall]
snat = [{ interface = "lan0", vip = "10.99.2.10" }, { interface = "eth9", vip = "10.0.0.10" }]
networks = ["10.8.0.0/24"]
"""
    vip = 'vip = "192.0.2.10"\nvip_interface = "wan0"'
    found = make_site(config(tmp_path, more, vip), table())
    assert found.tunnels == (ip_network("10.8.0.0/24"),)
    assert found.interfaces == {
        "lan0": (ip_address("10.99.2.10"),),
        "eth9": (ip_address("10.0.0.10"),),
        "wan0": (ip_address("192.0.2.10"),),
        "out0": (),
    }
    assert found.vrrp_links == ("wan0",)
    assert found.conntrackd


@pytest.mark.parametrize("wanted", [False, True])
def test_who_flushes_matters_where_a_table_is_wanted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, wanted: bool
) -> None:
    untold = FirewallServices(unread=("no bus",))
    monkeypatch.setattr(site, "read_services", lambda: untold)
    more = "[firewall]\nmanage = true" if wanted else ""
    assert make_site(config(tmp_path, more), table()).services.unread == ("no bus",) * wanted


def bridge(*ports: tuple[str, ...]) -> NetworkTable:
    """The host with a bridge, docker0, that has an address and these ports."""
    made = table()
    link = {"event": "RTM_NEWLINK", "flags": 0x10001}
    info = ("IFLA_LINKINFO", {"attrs": [("IFLA_INFO_KIND", "bridge")]})
    made.apply({**link, "index": 50, "attrs": [("IFLA_IFNAME", "docker0"), info]})
    message = {"event": "RTM_NEWADDR", "index": 50, "family": 2, "prefixlen": 16, "flags": 0}
    made.apply({**message, "attrs": [("IFA_ADDRESS", "172.17.0.1")]})
    for index, (kind, *elsewhere) in enumerate(ports, 51):
        attrs: list[tuple[str, object]] = [("IFLA_IFNAME", f"p{index}"), ("IFLA_MASTER", 50)]
        attrs += [("IFLA_LINKINFO", {"attrs": [("IFLA_INFO_KIND", kind)]})] if kind else []
        attrs += [("IFLA_LINK_NETNSID", 0)] if elsewhere else []
        made.apply({**link, "index": index, "attrs": attrs})
    return made


@pytest.mark.parametrize(
    ("ports", "leads"),
    [
        ((), False),
        ((("veth", "elsewhere"), ("tun",)), False),
        ((("veth", "elsewhere"), ("veth",)), True),
        ((("",),), True),
    ],
    ids=["none", "containers and guests", "this host's other bridge", "hardware"],
)
def test_a_bridge_of_containers_is_no_way_to_a_lan(
    tmp_path: Path, ports: tuple[tuple[str, ...], ...], leads: bool
) -> None:
    assert ("docker0" in make_site(config(tmp_path), bridge(*ports)).interfaces) is leads
    named = '[firewall]\nsnat = [{ interface = "docker0", vip = "172.17.0.10" }]\n'
    assert "docker0" in make_site(config(tmp_path, named), bridge(*ports)).interfaces


def test_another_vip_manager_and_unicast(tmp_path: Path) -> None:
    text = 'vip_manager = "other"\nvip = "192.0.2.10"'
    made = config(tmp_path, vip=text)
    found = make_site(made, table())
    assert found.vrrp_links == ()
    link = made.bcn.links[0].model_copy(update={"nodes": (ip_address("fd77::1"),)})
    bcn = made.bcn.model_copy(update={"links": (link,), "mode": BcnMode.UNICAST})
    flows = made.conntrack.model_copy(update={"flows": (ip_network("10.8.0.0/22"),)})
    found = make_site(made.model_copy(update={"bcn": bcn, "conntrack": flows}), table())
    assert (found.bcn_ports, found.bcn_version, found.bcn_answers) == ((11940, 3780), 6, True)


def test_a_server_s_file_that_is_not_there(tmp_path: Path) -> None:
    made = config(tmp_path)
    (tmp_path / "udp.conf").unlink()
    found = make_site(made, table())
    assert (found.tunnels, found.tun, found.vrrp_links) == ((), "", ())
    (tmp_path / "udp.conf").write_text("dev tun\n")
    assert make_site(made, table()).tun == ""


def test_the_plan(tmp_path: Path) -> None:
    assert make_plan(config(tmp_path)) is None
    head = '[firewall]\nmanage = true\nsnat = [{ interface = "lan0", vip = "10.99.2.10" }]\n'
    made = config(tmp_path, head)
    plan = make_plan(made)
    assert plan == Plan(
        (Translation("lan0", ip_address("10.99.2.10")),), tuple(map(ip_network, NETS))
    )
    assert make_site(made, table()).plan == plan
    (tmp_path / "udp.conf").write_text("server-ipv6 2001:db8:8::/64\n")
    with pytest.raises(ConfigError, match="no network of the tunnels is known for IPv4"):
        make_plan(made)
    assert make_site(made, table()).plan is None


def test_tunables(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(firewall, "SYSCTLS", tmp_path)
    monkeypatch.setattr(site, "SYSCTLS", tmp_path)
    monkeypatch.setattr(site, "NETSTAT", tmp_path / "netstat")
    assert make_site(config(tmp_path), table()).tunables == {}
    tunable = tmp_path / LIBERAL.replace(".", "/")
    tunable.parent.mkdir(parents=True)
    tunable.write_text("0\n")
    for name, value in (("all", 0), ("lan0", 1), ("tun3", 2)):
        conf = tmp_path / "net/ipv4/conf" / name
        conf.mkdir(parents=True)
        (conf / "rp_filter").write_text(f"{value}\n")
    (tmp_path / "netstat").write_text(
        "IpExt: A B\nIpExt: 1 2\nTcpExt: X IPReversePathFilter\nTcpExt: 1 7\n"
    )
    found = make_site(config(tmp_path), table())
    assert (found.tunables, found.strict, found.strictly_dropped) == ({LIBERAL: 0}, ("lan0",), 7)
    (tmp_path / "netstat").write_text("IpExt: A B\nIpExt: 1 2\n")
    assert make_site(config(tmp_path), table()).strictly_dropped == 0
