"""ovpnha.toml, keepalived's files, the network's, and what a diff shows."""

from __future__ import annotations

from dataclasses import replace

import pytest

from ovpnha.config import BcnMode, parse_config
from ovpnha.errors import ConfigError
from ovpnha.setup.answers import Answers
from ovpnha.setup.diffs import show_diff
from ovpnha.setup.files import render_keepalived, render_toml, set_variables
from ovpnha.setup.network import edit_network
from tests.unit.setup.builders import ANSWERS, TEMPLATES, host, plan

LONE = Answers(vip="192.0.2.10", inside_vip="none", bcn_interface="eth0")


def test_the_configuration_is_one_that_is_taken() -> None:
    config = parse_config(render_toml(plan()), "f", "a")
    assert config.instance[0].track_file is not None
    assert config.bcn.mode is BcnMode.BROADCAST
    assert str(config.firewall.snat[0].vip) == "198.51.100.10"


def test_a_shared_link_and_unicast() -> None:
    answers = replace(LONE, bcn_nodes="192.0.2.2")
    config = parse_config(render_toml(plan(answers)), "f", "a")
    assert config.bcn.shared_with_clients
    assert [str(one) for one in config.bcn.links[0].nodes] == ["192.0.2.1", "192.0.2.2"]
    assert config.firewall.snat == ()


def test_keepalived_with_an_inside() -> None:
    made = render_keepalived(plan(), TEMPLATES, "/usr/lib/ovpnha/check-grade")
    assert made.keepalived == TEMPLATES.keepalived
    for line in (
        "$NODE=a",
        "$OUTSIDE_VIP=192.0.2.10/24",
        "$INSIDE_VIP=198.51.100.10/24",
        "$INSIDE_VIP6=",
        '$CHECK_GRADE="/usr/lib/ovpnha/check-grade /run/ovpnha/office.grade"',
        "$ROUTER_ID=10",
    ):
        assert f"\n{line}\n" in made.node


def test_keepalived_without_an_inside() -> None:
    made = render_keepalived(plan(LONE), TEMPLATES, "/x")
    assert "$INSIDE_IF" not in made.keepalived.replace("$INSIDE_VIP6", "")
    assert "$INSIDE_VIP " not in made.keepalived


def test_an_inside_of_the_other_family_is_carried_beside() -> None:
    where = host(("eth0", "2001:db8::1/64"), ("eth1", "198.51.100.1/24"), ("bcn0", "10.0.0.1/24"))
    answers = replace(ANSWERS, vip="2001:db8::10")
    made = render_keepalived(plan(answers, where), TEMPLATES, "/x")
    assert "\n$INSIDE_VIP6=198.51.100.10/24 dev $INSIDE_IF\n" in made.node
    assert "$INSIDE_VIP dev" not in made.keepalived


def test_a_template_that_has_changed_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"no line \$NODE="):
        set_variables("nothing", {"NODE": "a"})
    with pytest.raises(ConfigError, match="the template lacks"):
        render_keepalived(plan(LONE), replace(TEMPLATES, keepalived=""), "/x")
    more = plan(replace(ANSWERS, vip="192.0.2.10 192.0.2.11"))
    lacks = TEMPLATES.keepalived.replace("$OUTSIDE_VIP dev", "$OTHER_VIP dev")
    with pytest.raises(ConfigError, match=r"the template lacks \$OUTSIDE_VIP"):
        render_keepalived(more, replace(TEMPLATES, keepalived=lacks), "/x")


OWN = replace(plan().outside, own=None)
GIVEN = plan(replace(ANSWERS, own_address="192.0.2.11")).outside


@pytest.mark.parametrize(
    ("path", "line", "changed"),
    [
        ("/etc/network/interfaces", "    address 192.0.2.10/24", "    address 192.0.2.11/24"),
        ("/etc/network/interfaces", "address 192.0.2.10", "address 192.0.2.11"),
        ("/etc/systemd/network/a.network", "Address=192.0.2.10/24", "Address=192.0.2.11/24"),
    ],
)
def test_one_line_that_is_nothing_but_the_address_is_changed(
    path: str, line: str, changed: str
) -> None:
    files = {path: f"# 192.0.2.10\n{line}\nx\n", "/etc/network/other": "192.0.2.100\n"}
    assert edit_network(files, GIVEN) == ({path: f"# 192.0.2.10\n{changed}\nx\n"}, [])


@pytest.mark.parametrize(
    ("files", "said"),
    [
        ({}, "192.0.2.10 is this host's own address on eth0, and no file is known"),
        ({"/etc/network/i": "up ip address add 192.0.2.10/24 dev eth0"}, "/etc/network/i:1: has"),
        ({"/etc/netplan/a.yaml": "- 192.0.2.10/24"}, "/etc/netplan/a.yaml:1: has 192.0.2.10"),
        ({"/etc/network/i": "address 192.0.2.10\naddress 192.0.2.10"}, "/etc/network/i:1: has"),
    ],
)
def test_everything_else_is_told(files: dict[str, str], said: str) -> None:
    changed, told = edit_network(files, GIVEN)
    assert changed == {}
    assert told[0].startswith(said)
    assert "192.0.2.11/24 instead" in told[0]


def test_one_of_several_addresses_is_left_out() -> None:
    path = "/etc/systemd/network/a.network"
    text = "Address=192.0.2.1/24\nAddress=192.0.2.10/24\n"
    changed, told = edit_network({path: text}, OWN)
    assert changed == {path: "Address=192.0.2.1/24\n#Address=192.0.2.10/24\n"}
    assert told == []


def test_an_address_that_nothing_replaces_is_told_as_well() -> None:
    _, told = edit_network({"/etc/network/i": "address 192.0.2.10"}, OWN)
    assert "take it out" in told[0]


def test_a_diff() -> None:
    assert show_diff("/f", "a\n", "a\n", secret=False) == ""
    assert show_diff("/f", "a\n", "b\r", secret=False).endswith(
        "-a\n+b\r (no newline at the end)\n"
    )
    assert show_diff("/f", None, "a\n", secret=False).splitlines()[0] == "--- /dev/null"
    assert "2 bytes that are no text" in show_diff("/f", None, "\0\0", secret=False)
    assert show_diff("/f", "a\n", "\udcff\n", secret=False).endswith("+?\n")


def test_no_diff_shows_a_secret() -> None:
    text = "<key>\nhush\n</key>\n<ca>\nopen\n</ca>\n"
    shown = show_diff("/f", None, text, secret=False)
    assert "hush" not in shown
    assert "open" in shown
    assert "hush" not in show_diff("/f", None, "hush", secret=True)
    assert "changed" in show_diff("/f", "a", "hush", secret=True)
