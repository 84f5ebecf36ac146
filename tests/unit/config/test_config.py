from __future__ import annotations

import dataclasses
import os
from ipaddress import IPv4Address
from pathlib import Path

import pytest
from pydantic import ValidationError

from ovpnha.cli.reference import render_reference
from ovpnha.config import BcnMode, LogFormat, load_config, parse_config
from ovpnha.errors import ConfigError

ROOT = Path(__file__).parents[3]

GOOD = """
[cluster]
name = "office"

[bcn]
links = [{ interface = "bcn0" }]

[[instance]]
name = "udp"
management = "/run/openvpn-server/udp.sock"
vip = "192.0.2.10"
"""


@dataclasses.dataclass(frozen=True)
class Bad:
    text: str
    says: tuple[str, ...]  # one for each line of the error


def with_bcn(lines: str) -> str:
    return GOOD.replace('links = [{ interface = "bcn0" }]', lines)


MISTAKES = {
    "empty": Bad("", ("cluster: is missing; add [cluster]", "instance: is missing")),
    "no TOML": Bad("[cluster", ("is not valid TOML",)),
    "cluster is no table": Bad(
        "cluster = 3\n" + GOOD.replace('[cluster]\nname = "office"', ""),
        ("cluster: must be a table",),
    ),
    "missing key": Bad(
        GOOD.replace('name = "office"', ""), ('cluster.name: is missing; add name = "office"',)
    ),
    "unknown key": Bad(
        GOOD + "held_mx = 3\n", ('instance[udp].held_mx: unknown key; did you mean "held_max"?',)
    ),
    "unknown section": Bad(
        GOOD + "[election]\n", ("election: unknown key; keys here: bcn, cluster, control",)
    ),
    "two mistakes": Bad(
        GOOD + 'held_max = -3\nlone_after = "2"\n',
        (
            "instance[udp].held_max: must be greater than or equal to 0 (it is -3); for example",
            "instance[udp].lone_after: must be a valid number (it is '2')",
        ),
    ),
    "not an address": Bad(
        GOOD.replace("192.0.2.10", "192.0.2"), ("instance[udp].vip: must be an IPv4 or IPv6",)
    ),
    "address with prefix": Bad(
        GOOD.replace("192.0.2.10", "192.0.2.10/24"), ("without a prefix length",)
    ),
    "relative path": Bad(
        GOOD.replace("/run/openvpn-server/", ""), ("instance[udp].management: a path must be abs",)
    ),
    "bad name": Bad(GOOD.replace('"office"', '"a b"'), ("cluster.name: must be 1 to 32 letters",)),
    "same name twice": Bad(
        GOOD + '[[instance]]\nname = "udp"\nmanagement = "/x"\n',
        ("two instances have the same name",),
    ),
    "same socket twice": Bad(
        GOOD + '[[instance]]\nname = "two"\nmanagement = "/run/./openvpn-server//udp.sock"\n',
        ("two instances have the same management",),
    ),
    "one path for two things": Bad(
        GOOD + '[control]\nsocket = "/run/openvpn-server/udp.sock"\n',
        ("control.socket /run/openvpn-server/udp.sock is a path of instance udp too",),
    ),
    "no instance": Bad(
        '[cluster]\nname = "office"\n[bcn]\nlinks = []\n[[instance]]\n'.replace(
            "[[instance]]\n", ""
        ).replace("[cluster]", "instance = []\n[cluster]"),
        ("there is no OpenVPN to serve; add [[instance]]",),
    ),
    "unknown mode": Bad(
        with_bcn('mode = "anycast"'), ("bcn.mode: must be one of broadcast, multicast, unicast",)
    ),
    "unicast without nodes": Bad(
        with_bcn('mode = "unicast"\nlinks = [{ interface = "bcn0" }]'),
        ("bcn: link bcn0: mode unicast needs nodes",),
    ),
    "nodes without unicast": Bad(
        with_bcn('links = [{ interface = "bcn0", nodes = ["192.0.2.1"] }]'),
        ('nodes is for mode unicast; remove it or set mode = "unicast"',),
    ),
    "multicast without links": Bad(with_bcn('mode = "multicast"'), ("mode multicast needs links",)),
    "no multicast group": Bad(
        with_bcn('mode = "multicast"\nlinks = [{ interface = "b", address = "192.0.2.1" }]'),
        ("192.0.2.1 is no multicast group",),
    ),
    "IPv6 broadcast": Bad(
        with_bcn('links = [{ interface = "b", address = "ff02::1" }]'), ("IPv6 has no broadcast",)
    ),
    "same link twice": Bad(
        with_bcn('links = [{ interface = "b" }, { interface = "b" }]'),
        ("two links name the same interface",),
    ),
    "bad listen": Bad(GOOD + '[http]\nlisten = "9594"\n', ("http.listen: must be ADDRESS:PORT",)),
    "bad level": Bad(GOOD + '[log]\nlevel = "loud"\n', ("log.level: must be one of debug, info",)),
    "port out of range": Bad(with_bcn("port = 70000"), ("bcn.port: must be less than or equal",)),
    "override of the cluster": Bad(
        GOOD + '[node.b.cluster]\nname = "x"\n', ("node.b.cluster: cannot differ between nodes",)
    ),
    "override of no instance": Bad(
        GOOD + '[node.b.instance.tcp]\nvip = "192.0.2.1"\n',
        ("node.b.instance.tcp: there is no [[instance]] of this name",),
    ),
    "mistake for another node": Bad(
        GOOD + '[node.b.instance.udp]\nvip = "x"\n', ("node.b.instance[udp].vip: must be an IPv4",)
    ),
    "mistake in another node's section": Bad(
        GOOD + "[node.b.bcn]\nport = 0\n", ("node.b.bcn.port: must be greater",)
    ),
    "override is no table": Bad(GOOD + "[node]\nb = 3\n", ("node.b: must be a table [node.NAME]",)),
    "node is no table": Bad('node = "b"\n' + GOOD, ("node: must be tables [node.NAME]",)),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_each_mistake_is_one_line_that_names_file_key_and_mend(name: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_config(MISTAKES[name].text, "ovpnha.toml")
    lines = str(caught.value).splitlines()
    assert len(lines) == len(MISTAKES[name].says), lines
    for line, says in zip(lines, MISTAKES[name].says, strict=True):
        assert line.startswith("ovpnha.toml: ")
        assert says in line


def test_defaults() -> None:
    config = parse_config(GOOD, "ovpnha.toml")
    assert config.cluster.node == os.uname().nodename.partition(".")[0]
    assert config.bcn.mode is BcnMode.BROADCAST
    assert config.bcn.links[0].interface == "bcn0"
    assert config.instance[0].vip == IPv4Address("192.0.2.10")
    assert config.instance[0].held_max == 60.0
    assert config.log.format is LogFormat.JSON


def test_the_value_of_an_unknown_key_is_not_shown() -> None:
    with pytest.raises(ConfigError) as caught:
        parse_config(GOOD + 'key = "c0ffee"\n', "ovpnha.toml")
    assert "c0ffee" not in str(caught.value)


def test_one_file_serves_all_nodes() -> None:
    text = GOOD + '[node.b.instance.udp]\nvip_interface = "ens3"\n[node.b.http]\nlisten = ""\n'
    here, there = parse_config(text, "f", node="a"), parse_config(text, "f", node="b")
    assert (here.cluster.node, here.instance[0].vip_interface) == ("a", None)
    assert (there.cluster.node, there.instance[0].vip_interface) == ("b", "ens3")
    assert here.http.listen
    assert not there.http.listen
    assert there.instance[0].management == here.instance[0].management


def test_the_node_may_be_named_in_the_file() -> None:
    text = GOOD.replace("[cluster]", '[cluster]\nnode = "c"')
    assert parse_config(text, "f").cluster.node == "c"
    assert parse_config(text, "f", node="d").cluster.node == "d"


def test_it_is_frozen() -> None:
    config = parse_config(GOOD, "f")
    with pytest.raises(ValidationError):
        config.bcn.port = 1  # type: ignore[misc]


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"none\.toml: cannot be read: No such file.*--config"):
        load_config(tmp_path / "none.toml")


def test_a_file_that_is_no_text(tmp_path: Path) -> None:
    (tmp_path / "x.toml").write_bytes(b"\xff\xfe")
    with pytest.raises(ConfigError, match="not UTF-8"):
        load_config(tmp_path / "x.toml")


def test_the_example_is_valid() -> None:
    config = load_config(ROOT / "deploy" / "ovpnha.toml", node="vpn-a")
    assert config.instance[0].track_file == Path("/run/ovpnha/udp.grade")


def test_the_documented_keys_are_the_real_ones() -> None:
    page = (ROOT / "docs" / "configuration.md").read_text()
    assert page == render_reference(), "run: ovpnha reference > docs/configuration.md"
