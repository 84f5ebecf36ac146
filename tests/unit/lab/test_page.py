"""What the lab of whole hosts takes from docs/operations.md."""

from __future__ import annotations

from pathlib import Path

from tests.hosts import page
from tests.hosts.packages import COMMANDS, commands_per_node

DEPLOY = Path(__file__).parents[3] / "deploy"
ROTATION = ("--add", "--use-newest", "--drop-old")


def test_the_steps_have_their_commands() -> None:
    assert page.blocks(3)[0][0].startswith("apt install ./openvpn-cluster_")
    assert "cluster" in page.blocks(5)[0]
    assert "ovpnha keygen /etc/ovpnha/cluster.key" in page.quoted(6)
    assert page.blocks(9)[0] == ["systemctl enable --now ovpnha openvpn-cluster@udp"]


def test_what_is_copied_is_there() -> None:
    commands = [line.split() for line in page.blocks(4)[0] if line.startswith("cp ")]
    sources = [word for words in commands for word in words if word.startswith("deploy/")]
    assert sources
    assert all((DEPLOY.parent / source).exists() for source in sources)


def test_the_upkeep_has_its_commands() -> None:
    assert page.quoted_in_row("upgrade ovpnha")[0] == "apt install ./ovpnha_*.deb"
    package, restart = page.quoted_in_row("upgrade OpenVPN")[:2]
    assert package.startswith("apt install ./openvpn-cluster_")
    assert restart == "systemctl restart openvpn-cluster@udp"
    add, use, drop, reload = page.quoted_in_row("rotate the cluster key")[:4]
    assert [add, use, drop] == [f"ovpnha keygen {one} FILE" for one in ROTATION]
    assert reload == "systemctl reload ovpnha"
    certificate = page.quoted_under("A new server certificate, node by node")
    assert {'tolerate = ["certificate"]', "ovpnha demote"} <= set(certificate)
    assert "apt purge openvpn-cluster ovpnha" in page.quoted_under("And back again")


def test_no_node_takes_more_than_five_commands() -> None:
    assert 0 < commands_per_node() <= COMMANDS


def test_the_goodbye_is_said_with_the_address_and_the_end_comes_without_it() -> None:
    lines = page.blocks(9)[1]
    told = lines.index("systemctl stop --no-block openvpn-server@udp && sleep 0.5")
    gone = lines.index("ip address del 192.0.2.10/24 dev eth0")
    ended = lines.index("systemctl kill openvpn-server@udp || true")
    begin = lines.index("systemctl start openvpn-cluster@udp keepalived")
    assert told < gone < ended < begin
