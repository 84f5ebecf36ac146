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
    "multihome": ("cluster\n", "cluster\nmultihome\n"),
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
    (tmp_path / "more.conf").write_text("multihome\nconfig udp.conf\n")
    assert refusals(tmp_path, GOOD + "config more.conf\n'open\n") == [REFUSALS["multihome"]]


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
    (socket,) = find_contradictions(server, instance(management="/run/other.sock"))
    assert socket.startswith("management /run/other.sock is not its management /run/openvpn")


def test_a_password_on_the_management_socket_is_a_problem(tmp_path: Path) -> None:
    path = tmp_path / "udp.conf"
    path.write_text(GOOD.replace(" unix", " unix /etc/openvpn/management.pw"))
    (line,) = find_contradictions(read_server(path), instance())
    assert line.startswith("management: remove the password file /etc/openvpn/management.pw")


def config(directory: Path) -> Config:
    return parse_config(
        f"""
[cluster]
name = "office"
[[instance]]
name = "udp"
management = "/run/openvpn-server/udp.sock"
server_config = "{directory}/udp.conf"
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
