from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Iterator
from ipaddress import IPv4Address
from pathlib import Path

import pytest
from annotated_types import Ge, Gt, Le, Lt
from pydantic import ValidationError

from ovpnha.cli.reference import render_reference
from ovpnha.config import BcnMode, LogFormat, load_config, parse_config
from ovpnha.config.section import Section
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


ALONE = """
[cluster]
alone = true

[[instance]]
name = "udp"
management = "/run/openvpn-cluster/udp.sock"
"""


@dataclasses.dataclass(frozen=True)
class Bad:
    text: str
    says: tuple[str, ...]  # one for each line of the error


def with_bcn(lines: str) -> str:
    return GOOD.replace('links = [{ interface = "bcn0" }]', lines)


MISTAKES = {
    "connections told again without a pause": Bad(
        GOOD + "[conntrack]\nrefresh = 0.5\n", ("conntrack.refresh: must be",)
    ),
    "connections of nobody": Bad(
        GOOD + '[conntrack]\nmanager = "conntrackd"\n', ("conntrack.flows is empty",)
    ),
    "no network": Bad(
        GOOD + '[conntrack]\nflows = ["10.8.0.1/24"]\n', ("must be a network such as 10.8.0.0/24",)
    ),
    "empty": Bad("", ("cluster: is missing; add [cluster]", "instance: is missing")),
    "alone, and with others": Bad(
        GOOD.replace("[cluster]", "[cluster]\nalone = true"),
        ("cluster.alone and bcn.links exclude each other; remove bcn.links, or alone",),
    ),
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
        GOOD + "[election]\n", ("election: unknown key; keys here: bcn, check, cluster, conntrack",)
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
        ("instance[two].management and instance[udp].management are both /run/openvpn-server/",),
    ),
    "one path for two things": Bad(
        GOOD + '[control]\nsocket = "/run/openvpn-server/udp.sock"\n',
        ("instance[udp].management and control.socket are both /run/openvpn-server/udp.sock",),
    ),
    "the grade would overwrite the key": Bad(
        GOOD + 'track_file = "/etc/ovpnha/cluster.key"\n',
        ("instance[udp].track_file and cluster.key_file are both /etc/ovpnha/cluster.key",),
    ),
    "the grade would overwrite the memory": Bad(
        GOOD + 'track_file = "/run/ovpnha/udp.memory"\n',
        ("the memory of instance[udp] and instance[udp].track_file are both /run/ovpnha/udp.mem",),
    ),
    "the memory is written over the grade": Bad(
        GOOD + 'track_file = "/run/x/.udp.memory.new"\n[control]\nsocket = "/run/x/control.sock"\n',
        ("the memory of instance[udp] while it is written and instance[udp].track_file are",),
    ),
    "the memory would overwrite the socket": Bad(
        GOOD + '[control]\nsocket = "/run/x/udp.memory"\n',
        ("the memory of instance[udp] and control.socket are both /run/x/udp.memory",),
    ),
    "a pool file is for a stock server": Bad(
        GOOD + 'pool_file = "/var/lib/ovpnha/pool/udp"\n',
        ("pool_file is for an OpenVPN without cluster; add seamless = false, or remove it",),
    ),
    "a TCP port is for a stock server": Bad(
        GOOD + "tcp_port = 1194\n",
        ("tcp_port is for an OpenVPN without cluster; add seamless = false, or remove it",),
    ),
    "a stock server tells no VIP": Bad(
        GOOD.replace('vip = "192.0.2.10"', "seamless = false"),
        ("seamless = false needs the VIP; add vip = ",),
    ),
    "addresses would overwrite the key": Bad(
        GOOD + 'seamless = false\npool_file = "/etc/ovpnha/cluster.key"\n',
        ("instance[udp].pool_file and cluster.key_file are both /etc/ovpnha/cluster.key",),
    ),
    "nested too deeply": Bad("a = " + "[" * 3000, ("nested too deeply",)),
    "a number without end": Bad(f"a = {'1' * 5000}", ("a number with too many digits",)),
    "instances that are numbers": Bad(
        "instance = [1, 2]\n"
        + GOOD.partition("[[instance]]")[0]
        + '[node.b.instance.udp]\nvip = "192.0.2.1"\n',
        ("node.b.instance.udp: there is no [[instance]] of this name",),
    ),
    "an instance without a proper name": Bad(
        GOOD.replace('name = "udp"', 'name = ["udp"]')
        + "[node.b.instance.udp]\nvip_alone = true\n",
        ("node.b.instance.udp: there is no [[instance]] of this name",),
    ),
    "no node name": Bad(
        GOOD.replace("[cluster]", '[cluster]\nnode = ""'), ("cluster.node: must be 1 to 32",)
    ),
    "zero in a path": Bad(
        GOOD.replace("udp.sock", "udp\\u0000.sock"), ("must not have control characters",)
    ),
    "the root is no file": Bad(
        GOOD + 'track_file = "/run/.."\n', ("track_file: must be the path of a file",)
    ),
    "path without end": Bad(
        GOOD + f'track_file = "/{"x" * 5000}"\n', ("a path has at most 4095 bytes",)
    ),
    "socket path without end": Bad(
        GOOD + f'[control]\nsocket = "/run/{"x" * 300}"\n', ("at most 107 bytes",)
    ),
    "zero in an argument": Bad(
        GOOD + '[hooks]\nrole_changed = ["/bin/true", "a\\u0000"]\n', ("no zero characters",)
    ),
    "escape in an interface": Bad(
        GOOD + 'vip_interface = "e\\u001b[2J"\n', ("must be the name of a network interface",)
    ),
    **{
        f"no interface is named {name!r}": Bad(
            GOOD + f"vip_interface = {json.dumps(name)}\n",
            (f"instance[udp].vip_interface: {says}",),
        )
        for says, names in {
            "must be the name of a network interface": ("", ".", "..", "a:1", "a b", "à", "x" * 16),
            "must be the name of one network interface": ("eth*", "e*h", 'e"1', "e\\1", "lan+"),
        }.items()
        for name in names
    },
    "a pattern for links": Bad(
        with_bcn('links = [{ interface = "bcn*" }]'), ("bcn.links[0].interface: must be the name",)
    ),
    "a pattern for translation": Bad(
        GOOD + '[firewall]\nsnat = [{ interface = "eth*", vip = "192.0.2.10" }]\n',
        ("firewall.snat[0].interface: must be the name of one",),
    ),
    "escape in a key": Bad(
        GOOD + '"\\u001b[2J\\u009b" = 1\n', (r"instance[udp].\x1b[2J\x9b: unknown key",)
    ),
    "escape in a node's name": Bad(
        GOOD + '[node."\\u001b[2J"]\nhttp = 1\n', (r"node.\x1b[2J: must be a table",)
    ),
    **{
        f"no host has {address}": Bad(
            GOOD.replace("192.0.2.10", address), ("instance[udp].vip: must be the address of a",)
        )
        for address in ("0.0.0.1", "::", "224.0.0.1", "ff02::1", "255.255.255.255", "127.0.0.1")
    },
    "VIP without its link": Bad(
        GOOD.replace("192.0.2.10", "fe80::1"), ("must not be a link-local IPv6 address",)
    ),
    "no address at all": Bad(
        GOOD.replace('"192.0.2.10"', "[]"), ("instance[udp].vip: must be an address, or a list of",)
    ),
    "nine addresses": Bad(
        GOOD.replace('"192.0.2.10"', str([f"192.0.2.{one}" for one in range(1, 10)])),
        ("instance[udp].vip: must be an address, or a list of 1 to 8",),
    ),
    "an address twice": Bad(
        GOOD.replace('"192.0.2.10"', '["2001:db8::1", "2001:db8:0::1"]'),
        ("instance[udp].vip: must name each address once",),
    ),
    "one of several is none": Bad(
        GOOD.replace('"192.0.2.10"', '["192.0.2.10", "x"]'),
        ("instance[udp].vip: must be an IPv4 or IPv6 address",),
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
    "another name of an instance": Bad(
        GOOD + '[node.b.instance.udp]\nname = "z"\n',
        ("node.b.instance.udp.name: cannot differ between nodes",),
    ),
    "what nodes must agree on": Bad(
        GOOD + '[node.b.bcn]\nport = 1\n[node.b.conntrack]\nmode = "notrack"\n',
        ("bcn.port: must be the same on all nodes (it is 11940 on ", "conntrack.mode: must be the"),
    ),
    "override is no table": Bad(GOOD + "[node]\nb = 3\n", ("node.b: must be a table [node.NAME]",)),
    "node is no table": Bad('node = "b"\n' + GOOD, ("node: must be tables [node.NAME]",)),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_each_mistake_is_one_line_that_names_file_key_and_fix(name: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_config(MISTAKES[name].text, "ovpnha.toml")
    lines = str(caught.value).splitlines()
    assert len(lines) == len(MISTAKES[name].says), lines
    for line, says in zip(lines, MISTAKES[name].says, strict=True):
        assert line.startswith("ovpnha.toml: ")
        assert says in line


def test_no_key_has_two_lower_bounds() -> None:
    """Of two only the last one counts, which is the one of the type."""
    found = {
        f"{section.__name__}.{name}"
        for section in sections(Section)
        for name, field in section.model_fields.items()
        if sum(isinstance(one, Ge | Gt) for one in field.metadata) > 1
        or sum(isinstance(one, Le | Lt) for one in field.metadata) > 1
    }
    assert not found


def sections(base: type[Section]) -> Iterator[type[Section]]:
    for one in base.__subclasses__():
        yield from (one, *sections(one))


def test_several_addresses() -> None:
    text = GOOD.replace('"192.0.2.10"', '["192.0.2.10", "2001:db8::10"]')
    config = parse_config(text, "ovpnha.toml")
    assert [str(one) for one in config.instance[0].vip] == ["192.0.2.10", "2001:db8::10"]


def test_defaults() -> None:
    config = parse_config(GOOD, "ovpnha.toml")
    assert config.cluster.node == os.uname().nodename.partition(".")[0]
    assert config.bcn.mode is BcnMode.BROADCAST
    assert config.bcn.links[0].interface == "bcn0"
    assert config.instance[0].vip == (IPv4Address("192.0.2.10"),)
    assert config.instance[0].held_max == 60.0
    assert config.log.format is LogFormat.CONSOLE


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


@pytest.mark.parametrize("name", ["eth0", "bond0.100", "br-1a2b", "é1", "Å", "...", "x" * 15])
def test_an_interface_may_be_named_as_the_kernel_lets_it(name: str) -> None:
    text = GOOD + f'vip_interface = "{name}"\n'
    assert parse_config(text, "f").instance[0].vip_interface == name


def test_all_nodes_may_override_what_they_agree_on() -> None:
    text = GOOD + "[node.a.bcn]\nport = 7\n[node.b.bcn]\nport = 7\n"
    assert parse_config(text, "f", node="a").bcn.port == 7


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


def test_the_example_of_several_instances_is_valid() -> None:
    config = load_config(ROOT / "deploy" / "shared" / "ovpnha.toml", node="node-a")
    assert len({one.vip for one in config.instance}) == len(config.instance) == 3
    assert len({one.track_file for one in config.instance}) == 3


def test_the_documented_keys_are_the_real_ones() -> None:
    page = (ROOT / "docs" / "configuration.md").read_text()
    assert page == render_reference(), "run: ovpnha reference > docs/configuration.md"


def test_a_server_that_is_alone_needs_no_name_but_its_own() -> None:
    config = parse_config(ALONE, "ovpnha.toml", "vpn-a")
    assert (config.cluster.alone, config.cluster.name) == (True, "vpn-a")
    named = parse_config(ALONE.replace("[cluster]", '[cluster]\nname = "office"'), "x", "vpn-a")
    assert named.cluster.name == "office"


@pytest.mark.parametrize(
    ("line", "key"),
    [
        ('vip = "192.0.2.10"', "instance[udp].vip"),
        ('vip_interface = "eth0"', "instance[udp].vip_interface"),
        ('track_file = "/run/ovpnha/udp.grade"', "instance[udp].track_file"),
        ('[fence]\ncommand = ["/bin/true"]', "fence"),
        ('[conntrack]\nmanager = "conntrackd"\nflows = ["10.8.0.0/24"]', "conntrack.manager"),
    ],
)
def test_who_is_alone_has_nothing_of_a_cluster(line: str, key: str) -> None:
    with pytest.raises(ConfigError, match=r"cluster\.alone and ") as caught:
        parse_config(f"{ALONE}{line}\n", "ovpnha.toml", "vpn-a")
    assert f"cluster.alone and {key} exclude each other" in str(caught.value)


@pytest.mark.parametrize("text", ["alone = false", 'alone = "yes"'])
def test_who_is_not_alone_needs_a_name(text: str) -> None:
    with pytest.raises(ConfigError, match=r"cluster\.name: is missing"):
        parse_config(ALONE.replace("alone = true", text), "ovpnha.toml", "vpn-a")


ANOTHER = """
[[instance]]
name = "{0}"
management = "/run/openvpn-server/{0}.sock"
"""


@pytest.mark.parametrize(
    ("lines", "watched"),
    [
        ("", {"udp"}),
        ('spare = "never"\n', {"udp"}),
        ('spare = "always"\n', {"udp"}),
        ("seamless = false\n", set()),
        (ANOTHER.format("udp-spare"), {"udp-spare"}),
        ('spare_management = "/run/openvpn-server/x.sock"\n' + ANOTHER.format("x"), {"x"}),
    ],
)
def test_a_second_process_is_looked_for_where_no_other_one_can_be(
    lines: str, watched: set[str]
) -> None:
    config = parse_config(GOOD + lines, "a")
    assert {one.name for one in config.instance if config.watches_spare(one)} == watched


@pytest.mark.parametrize(("length", "watched"), [(101, {"udp"}), (102, set()), (107, set())])
def test_a_path_that_leaves_no_room_for_the_spares_has_none(length: int, watched: set[str]) -> None:
    path = f"/run/{'x' * (length - 10)}.sock"
    text = GOOD.replace("/run/openvpn-server/udp.sock", path)
    config = parse_config(text, "a")
    assert {one.name for one in config.instance if config.watches_spare(one)} == watched
    if not watched:
        with pytest.raises(ConfigError, match=r"too long for a unix .* add spare_management"):
            parse_config(text + 'spare = "always"\n', "a")
    short = 'spare = "always"\nspare_management = "/run/openvpn-server/x.sock"\n'
    given = parse_config(text + short, "a")
    assert given.watches_spare(given.instance[0])
