"""What the lab of whole hosts takes from docs/operations.md."""

from __future__ import annotations

from pathlib import Path

from tests.hosts import page

DEPLOY = Path(__file__).parents[3] / "deploy"


def test_the_steps_have_their_commands() -> None:
    assert page.blocks(3)[0][0].startswith("apt install ./openvpn_")
    assert "cluster" in page.blocks(5)[0]
    assert "ovpnha keygen /etc/ovpnha/cluster.key" in page.quoted(6)
    assert page.blocks(9)[0] == ["systemctl enable --now ovpnha openvpn-server@udp"]


def test_what_is_copied_is_there() -> None:
    commands = [line.split() for line in page.blocks(4)[0] if line.startswith("cp ")]
    sources = [word for words in commands for word in words if word.startswith("deploy/")]
    assert sources
    assert all((DEPLOY.parent / source).exists() for source in sources)


def test_the_drop_in_is_for_clustered_instances_alone() -> None:
    """For all instances it would take its limits to those that cannot start on a standby."""
    (line,) = [line for line in page.blocks(4)[0] if "openvpn-server@" in line]
    assert line.endswith("/openvpn-server@udp.service.d")


def test_openvpn_stops_while_it_has_the_address_that_its_clients_know() -> None:
    lines = page.blocks(9)[1]
    stop = lines.index("systemctl stop openvpn-server@udp")
    gone = lines.index("ip address del 192.0.2.10/24 dev eth0")
    begin = lines.index("systemctl enable --now ovpnha openvpn-server@udp keepalived")
    assert stop < gone < begin
