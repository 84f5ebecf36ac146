"""OpenVPN's own configuration, read before the server is restarted."""

from __future__ import annotations

from pathlib import Path

import pytest

from ovpnha.config import Config, InstanceSection, parse_config
from ovpnha.runtime.serverfile import (
    check_server_files,
    find_contradictions,
    find_refusals,
    read_server,
)
from ovpnha.setup.refusals import REFUSALS, RULES

GOOD = """
# the office's server
proto udp4   ; one family
port 1194
dev tun
local 192.0.2.10
cluster
management /run/openvpn-server/udp.sock unix
disable-dco
push "route 10.9.0.0 255.255.255.0"
<ca>
cluster is no option in here
multihome
</ca>
"""
CHANGES = {
    "tcp": ("proto udp4", "proto tcp-server"),
    "macs": ("dev tun", "dev tap0\nmax-routes-per-client 2000"),
    "wildcard": ("local 192.0.2.10", "# no local"),
    "family": ("proto udp4", "proto udp6"),
    "address": ("local 192.0.2.10", "cluster-address vpn.example.net"),
    "both": ("cluster\n", "cluster\ncluster-address 192.0.2.10\n"),
    "ipv6": ("local 192.0.2.10", "cluster-address 2001:db8::10"),
    "ipv4": (
        "proto udp4   ; one family\nport 1194\ndev tun\nlocal 192.0.2.10",
        "proto udp6\ndev tun\nbind ipv6only\ncluster-address 192.0.2.10",
    ),
    "replay": ("cluster\n", "cluster\nno-replay\n"),
    "cipher": ("cluster\n", "cluster\ndata-ciphers AES-256-GCM:AES-256-CFB\n"),
    "management": (
        "cluster\n",
        "cluster\nmanagement 127.0.0.1 7505\n",
    ),
    "client": ("cluster\n", "cluster\nmanagement-client\n"),
    "questions": ("cluster\n", "cluster\nmanagement-hold\n"),
    "token": ("cluster\n", "cluster\nauth-gen-token 60\n"),
    "dco": ("disable-dco", ""),
}


def refusals(directory: Path, text: str) -> list[str]:
    path = directory / "udp.conf"
    path.write_text(text)
    return list(find_refusals(read_server(path)))


def test_a_good_file(tmp_path: Path) -> None:
    assert refusals(tmp_path, GOOD) == []
    framing = "cluster\ncompress migrate\ncomp-lzo no\n"
    assert refusals(tmp_path, GOOD.replace("cluster\n", framing, 1)) == []


def test_every_rule_has_a_line_and_a_case() -> None:
    assert set(RULES) == set(REFUSALS) == set(CHANGES)


@pytest.mark.parametrize("name", CHANGES)
def test_what_will_be_refused(tmp_path: Path, name: str) -> None:
    old, new = CHANGES[name]
    assert refusals(tmp_path, GOOD.replace(old, new, 1)) == [REFUSALS[name]]


def test_included_files_count_and_do_not_run_in_circles(tmp_path: Path) -> None:
    (tmp_path / "more.conf").write_text("no-replay\nconfig udp.conf\n")
    assert refusals(tmp_path, GOOD + "config more.conf\n'open\n") == [REFUSALS["replay"]]


def instance(**changes: object) -> InstanceSection:
    known = {"name": "udp", "management": "/run/openvpn-server/udp.sock", "vip": "192.0.2.10"}
    return InstanceSection.model_validate({**known, **changes})


def test_two_files_that_do_not_agree(tmp_path: Path) -> None:
    path = tmp_path / "udp.conf"
    path.write_text(GOOD)
    server = read_server(path)
    assert list(find_contradictions(server, instance())) == []
    (vip,) = find_contradictions(server, instance(vip="192.0.2.11"))
    assert vip.startswith("vip 192.0.2.11 is not its local 192.0.2.10")
    (vips,) = find_contradictions(server, instance(vip=["192.0.2.10", "2001:db8::10"]))
    assert vips.startswith("vip 192.0.2.10, 2001:db8::10 is not its local 192.0.2.10; write the")
    path.write_text(GOOD.replace("local 192.0.2.10", "cluster-address 192.0.2.11"))
    (other,) = find_contradictions(read_server(path), instance())
    assert other.startswith("vip 192.0.2.10 is not its cluster-address 192.0.2.11; write the same")
    (socket,) = find_contradictions(server, instance(management="/run/other.sock"))
    assert socket.startswith("management /run/other.sock is not its management /run/openvpn")


def test_a_password_on_the_management_socket_is_a_problem(tmp_path: Path) -> None:
    path = tmp_path / "udp.conf"
    path.write_text(GOOD.replace(" unix", " unix /etc/openvpn/management.pw"))
    (line,) = find_contradictions(read_server(path), instance())
    assert line.startswith("management: remove the password file /etc/openvpn/management.pw")


def config(directory: Path, more: str = "") -> Config:
    return parse_config(
        f"""
[cluster]
name = "office"
[[instance]]
name = "udp"
management = "/run/openvpn-server/udp.sock"
server_config = "{directory}/udp.conf"
{more}
""",
        "f",
    )


def test_before_it_says_cluster_it_is_advice(tmp_path: Path) -> None:
    path = tmp_path / "udp.conf"
    path.write_text(GOOD.replace("disable-dco\n", "", 1))
    problems, soon = check_server_files(config(tmp_path))
    assert [REFUSALS["dco"] in line for line in problems] == [True]
    assert soon == []
    path.write_text(GOOD.replace("cluster\n", "", 1).replace("disable-dco\n", ""))
    problems, soon = check_server_files(config(tmp_path))
    assert problems == []
    assert "does not say cluster yet" in soon[0]
    assert f"before it says cluster, {REFUSALS['dco']}" in soon[1]
    path.unlink()
    _, soon = check_server_files(config(tmp_path))
    assert "cannot be read: No such file" in soon[0]


@pytest.mark.parametrize("more", ["", "seamless = false\nvip = '192.0.2.10'\n"])
def test_an_option_that_is_gone_is_advice(tmp_path: Path, more: str) -> None:
    """OpenVPN may be another one than ours, or told to ignore it; the sidecar starts anyway."""
    path = tmp_path / "udp.conf"
    text = GOOD.replace("cluster\n", "", 1)
    for ignored, told in (("", 1), ("ignore-unknown-option x keysize\n", 0)):
        path.write_text(f"{text}{ignored}keysize 256\n")
        problems, soon = check_server_files(config(tmp_path, more))
        assert problems == []
        assert sum("keysize: OpenVPN 2.6 has no such option" in one for one in soon) == told


MEANT_STOCK = """
vip = "192.0.2.10"
seamless = false
pool_file = "/var/lib/ovpnha/pool/udp"
tcp_port = 443
"""
STOCK = """
proto tcp-server
port 443
local 192.0.2.10
management /run/openvpn-server/udp.sock unix
ifconfig-pool-persist /var/lib/ovpnha/pool/udp 0
"""


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("", "", ""),
        ("proto", "cluster\nproto", "says cluster, and ovpnha.toml seamless = false"),
        ("192.0.2.10", "192.0.2.11", "is not its local 192.0.2.11"),
        (" 0\n", "\n", "has ifconfig-pool-persist /var/lib/ovpnha/pool/udp; write"),
        (" 0\n", " 60\n", "has ifconfig-pool-persist /var/lib/ovpnha/pool/udp 60; write"),
        ("ifconfig-pool-persist", "#", "has no ifconfig-pool-persist; write"),
        ("443", "444", "listens at port 444 of TCP; write tcp_port accordingly"),
        ("port 443", "", "listens at port 1194 of TCP"),
        ("port 443", "lport 444", "listens at port 444 of TCP"),
        ("443", "https", "does not listen over TCP"),
        ("tcp-server", "udp", "does not listen over TCP"),
    ],
)
def test_a_server_that_is_meant_to_be_stock(tmp_path: Path, old: str, new: str, said: str) -> None:
    """It need not say cluster, nor be anything that cluster wants."""
    path = tmp_path / "udp.conf"
    path.write_text(STOCK.replace(old, new))
    problems, soon = check_server_files(config(tmp_path, MEANT_STOCK))
    assert not soon
    assert len(problems) == bool(said)
    assert all(said in line for line in problems)
