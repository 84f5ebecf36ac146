"""`ovpnha conntrackd-config`: what it makes of ovpnha.toml and this host's addresses."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from ovpnha.cli.conntrackd import print_config
from ovpnha.config import Config, parse_config
from ovpnha.errors import ConfigError
from ovpnha.runtime.network import NetworkTable
from ovpnha.runtime.site import find_broadcast

DEPLOY = Path(__file__).parents[3] / "deploy"
TOML = """
[cluster]
name = "office"

[bcn]
links = [{ interface = "bcn0" }]

[[instance]]
name = "udp"
management = "/run/openvpn.sock"

[conntrack]
flows = ["10.8.0.0/24", "2001:db8:8::/64", "192.0.2.10"]
"""
UNICAST = 'mode = "unicast"\nlinks = [{ interface = "bcn0", nodes = ["10.9.0.1", "10.9.0.2"] }]'


def host(**addresses: str) -> NetworkTable:
    """A host with these interfaces, each with an address."""
    table = NetworkTable()
    for index, (name, address) in enumerate(addresses.items(), 1):
        link = {"event": "RTM_NEWLINK", "index": index, "flags": 0x10001}
        table.apply({**link, "attrs": [("IFLA_IFNAME", name)]})
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        one = {"event": "RTM_NEWADDR", "index": index, "family": family, "prefixlen": 24}
        table.apply({**one, "flags": 0, "attrs": [("IFA_ADDRESS", address)]})
    return table


def make(old: str = "", new: str = "") -> Config:
    assert old in TOML
    return parse_config(TOML.replace(old, new), "f", node="vpn-a")


def section(text: str, name: str) -> list[str]:
    """The lines of the first block of this name, bare."""
    lines = [line.strip() for line in text.splitlines()]
    start = next(number for number, line in enumerate(lines) if line.startswith(f"{name} "))
    return lines[start + 1 : lines.index("}", start)]


def test_it_sends_over_the_bcn_from_this_node_s_address() -> None:
    text = print_config(make(), host(bcn0="10.9.0.1", eth0="192.0.2.11"))
    lines = section(text, "Multicast")
    assert "Interface bcn0" in lines
    assert "IPv4_interface 10.9.0.1" in lines
    assert "Group 3780" in lines
    assert "192.0.2.11" not in text


def test_only_flows_of_the_list_travel() -> None:
    text = print_config(make(), host(bcn0="10.9.0.1"))
    assert section(text, "Address") == [
        "IPv4_address 10.8.0.0/24",
        "IPv6_address 2001:db8:8::/64",
        "IPv4_address 192.0.2.10",
    ]


def test_the_mode_and_the_port_are_those_of_the_file() -> None:
    text = print_config(
        make("[conntrack]", '[conntrack]\nmode = "notrack"\nport = 3999'), host(bcn0="10.9.0.1")
    )
    assert "Mode NOTRACK {" in text
    assert "Group 3999" in section(text, "Multicast")


def test_a_second_link_is_there_when_the_first_fails() -> None:
    both = make('[{ interface = "bcn0" }]', '[{ interface = "bcn0" }, { interface = "bcn1" }]')
    text = print_config(both, host(bcn0="10.9.0.1", bcn1="10.9.1.1"))
    heads = [line.strip() for line in text.splitlines() if "Multicast" in line]
    assert heads == ["Multicast Default {", "Multicast {"]


def test_links_that_are_not_named_are_where_openvpn_broadcasts(tmp_path: Path) -> None:
    """As the sidecar finds them: in a container nobody knows the interfaces' names."""
    server = tmp_path / "udp.conf"
    server.write_text("cluster\ncluster-broadcast-address 10.9.0.255\n")
    own = f'management = "/run/openvpn.sock"\nserver_config = "{server}"'
    text = TOML.replace('[bcn]\nlinks = [{ interface = "bcn0" }]\n', "")
    text = text.replace('management = "/run/openvpn.sock"', own)
    config = parse_config(text, "f", node="vpn-a")
    assert find_broadcast(config) == "10.9.0.255"
    table = host(eth0="192.0.2.11", eth1="10.9.0.1")
    lines = section(print_config(config, table, find_broadcast(config)), "Multicast")
    assert "Interface eth1" in lines
    assert "IPv4_interface 10.9.0.1" in lines
    with pytest.raises(ConfigError, match="no file of OpenVPN's names"):
        print_config(config, host(eth0="192.0.2.11"), find_broadcast(config))


def test_a_server_file_without_a_broadcast_address_names_no_link() -> None:
    assert find_broadcast(make()) == ""


def test_by_unicast_it_sends_to_the_other_node() -> None:
    config = make('links = [{ interface = "bcn0" }]', UNICAST)
    lines = section(print_config(config, host(bcn0="10.9.0.2")), "UDP")
    assert "IPv4_address 10.9.0.2" in lines
    assert "IPv4_Destination_Address 10.9.0.1" in lines


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        (TOML[TOML.index("flows") :], "", "conntrack.flows: is empty; name the tunnels"),
        ('[bcn]\nlinks = [{ interface = "bcn0" }]', "", "bcn.links: are needed here"),
        ('"bcn0"', '"bcn7"', "interface bcn7 has no IPv4 address"),
        (
            'links = [{ interface = "bcn0" }]',
            UNICAST.replace('"10.9.0.2"', '"10.9.0.2", "10.9.0.3"'),
            "by unicast conntrackd reaches one other node",
        ),
    ],
)
def test_what_is_missing_is_named(old: str, new: str, says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        print_config(make(old, new), host(bcn0="10.9.0.1"))


def test_the_example_is_what_the_command_makes_of_the_example() -> None:
    """What ovpnha.toml has in comments about conntrackd, uncommented."""
    text = (DEPLOY / "ovpnha.toml").read_text()
    text = (
        text.replace("# [conntrack]", "[conntrack]")
        .replace("# flows", "flows")
        .replace("# manager", "manager")
    )
    config = parse_config(text, "deploy/ovpnha.toml", node="vpn-a")
    made = print_config(config, host(bcn0="192.168.77.1"))
    assert made == (DEPLOY / "conntrackd" / "conntrackd.conf").read_text()


@pytest.mark.parametrize("name", ["4g0", "é1", "e@1"])
def test_a_name_that_conntrackd_cannot_read_is_refused(name: str) -> None:
    with pytest.raises(ConfigError, match=f"takes no interface {name}"):
        print_config(make("bcn0", name), host(**{name: "10.9.0.1"}))


@pytest.mark.parametrize("path", ["/run/a b", '/run/a"b'])
def test_a_path_that_conntrackd_cannot_read_is_refused(path: str) -> None:
    told = make("[conntrack]", f"[conntrack]\nsocket = '{path}'")
    with pytest.raises(ConfigError, match="takes no path with a space or a quote"):
        print_config(told, host(bcn0="10.9.0.1"))
