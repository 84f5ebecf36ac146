"""A failover over every kind of BCN, and among three nodes that list each other's addresses."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from tests.integration.conftest import configure
from tests.integration.pace import PATIENCE
from tests.integration.test_daemon import DEADLINE, SERVER, VIP, Node, ip
from tests.lab import plan
from tests.lab.lab import Lab
from tests.lab.openvpn import READY, STOCK, Transport, client_config
from tests.lab.pki import Pki
from tests.lab.process import Process
from tests.lab.scenarios import kill_openvpn
from tests.lab.session import Session
from tests.lab.sidecar import run_command
from tests.lab.waiting import wait_until

pytestmark = pytest.mark.integration

LINK = f'interface = "{plan.BCN.interface}"'
MODES = {
    "multicast": f'mode = "multicast"\nlinks = [{{ {LINK} }}]',
    "multicast IPv6": f'mode = "multicast"\nlinks = [{{ {LINK}, address = "ff02::6f76" }}]',
    "unicast IPv6": f'mode = "unicast"\nlinks = [{{ {LINK}, nodes = ['
    f'"{plan.BCN.address6(11)}", "{plan.BCN.address6(12)}"] }}]',
}


@pytest.mark.parametrize("mode", MODES)
def test_a_client_survives_over_this_bcn(manual_lab: Lab, mode: str) -> None:
    lab = manual_lab
    configure(lab, f"links = [{{ {LINK} }}]", MODES[mode])
    lab.start_cluster()
    session = Session(lab)
    killed = session.strike(kill_openvpn)
    lab.move_vips("b")
    assert session.recovers(killed, PATIENCE)
    assert session.noticed(killed).nothing
    assert session.finish() == ""


NAMES = "abc"
TRIO = """
[log]
format = "json"

[cluster]
name = "test"
key_file = "{directory}/cluster.key"

[bcn]
mode = "unicast"
links = [{{ interface = "bcn0", nodes = ["10.77.0.1", "10.77.0.2", "10.77.0.3"] }}]

[[instance]]
name = "udp"
management = "/nowhere"
vip = "{vip}"
"""
OVERRIDE = """
[node.{name}.instance.udp]
management = "{home}/openvpn.sock"
track_file = "{home}/grade"
vip_manager = "other"
[node.{name}.control]
socket = "{home}/control.sock"
"""


class Trio:
    """Three nodes and a stock client; the switch is a namespace of its own."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._prefix = f"ohat{os.getpid()}"
        self.nodes: dict[str, Node] = {}

    def namespace(self, name: str) -> str:
        return f"{self._prefix}{name}"

    def build(self) -> None:
        for name in ("switch", "client", *NAMES):
            ip("netns", "add", self.namespace(name))
        for bridge in ("out0", "bcn0"):
            ip("-n", self.namespace("switch"), "link", "add", bridge, "type", "bridge")
            ip("-n", self.namespace("switch"), "link", "set", bridge, "up")
        for number, name in enumerate(NAMES, start=1):
            self._plug(name, "out0", f"192.0.2.{number}/24")
            self._plug(name, "bcn0", f"10.77.0.{number}/24")
        self._plug("client", "out0", "192.0.2.100/24")
        self._write()
        self.nodes = {name: Node(name, self.directory, self.namespace(name)) for name in NAMES}

    def _plug(self, name: str, interface: str, address: str) -> None:
        switch, host, port = self.namespace("switch"), self.namespace(name), f"{name}-{interface}"
        peer = ("peer", "name", interface, "netns", host)
        ip("-n", switch, "link", "add", port, "type", "veth", *peer)
        ip("-n", switch, "link", "set", port, "master", interface, "up")
        ip("-n", host, "addr", "add", address, "dev", interface)
        ip("-n", host, "link", "set", interface, "up")

    def _write(self) -> None:
        pki = Pki(self.directory / "pki")
        pki.issue("server", server=True)
        pki.issue("client", server=False)
        text = TRIO.format(directory=self.directory, vip=VIP)
        for name in NAMES:
            home = self.directory / name
            text += OVERRIDE.format(name=name, home=home)
            server = SERVER.format(vip=VIP, pki=pki.directory, home=home, extra="")
            (self.directory / f"{name}.conf").write_text(server)
        (self.directory / "ovpnha.toml").write_text(text)
        run_command("keygen", self.directory / "cluster.key")
        client = client_config(
            pki.directory, "client", Transport(address=VIP), ["dev tun0"], tls_crypt=False
        )
        (self.directory / "client.conf").write_text(client)
        self.client = Process(
            [STOCK, "--config", self.directory / "client.conf"],
            namespace=self.namespace("client"),
            directory=self.directory,
            log=self.directory / "client.log",
        )

    def start(self) -> None:
        for node in self.nodes.values():
            node.openvpn.start()
            node.sidecar.start()
        for node in self.nodes.values():
            node.wait_role("standby")

    def give_vip(self, name: str) -> None:
        """The client learns where it is now, as an announcement would tell it."""
        self.nodes[name].add_vip()
        self.nodes[name].wait_role("master")
        ip("-n", self.namespace("client"), "neigh", "flush", "dev", "out0")

    def pings(self) -> bool:
        command = ["ip", "netns", "exec", self.namespace("client"), "ping", "-c1", "-W1"]
        done = subprocess.run([*command, "10.8.0.1"], check=False, capture_output=True)
        return done.returncode == 0

    def connections(self) -> int:
        """How often the client has connected."""
        return self.client.log.read_text().count(READY)

    def close(self) -> None:
        if self.nodes:
            self.client.stop()
        for node in self.nodes.values():
            node.sidecar.stop()
            node.openvpn.stop()
        for name in ("switch", "client", *NAMES):
            with suppress(subprocess.CalledProcessError):
                ip("netns", "del", self.namespace(name))


@pytest.fixture
def trio(tmp_path: Path) -> Iterator[Trio]:
    made = Trio(tmp_path)
    try:
        made.build()
        yield made
    finally:
        made.close()


def holds_the_client(node: Node) -> bool:
    one = node.instance()
    return (one["role"], one["sync"], one["records"]) == ("standby", "in_sync", 1)


def test_three_nodes_with_a_list_of_addresses(trio: Trio) -> None:
    """The client goes from a, which dies, to c, and from c, which gives the VIP up, to b."""
    a, b, c = trio.nodes.values()
    trio.start()
    trio.give_vip("a")
    trio.client.start()
    wait_until(trio.pings, "the client is connected", DEADLINE)
    for node in (b, c):
        wait_until(lambda one=node: holds_the_client(one), f"{node.name} holds it", DEADLINE)  # type: ignore[misc]
    assert a.instance()["protected"] == 1
    a.openvpn.kill()
    a.remove_vip()
    trio.give_vip("c")
    wait_until(trio.pings, "c serves the client", DEADLINE)
    wait_until(lambda: holds_the_client(b), "b follows c", DEADLINE)
    c.remove_vip()
    trio.give_vip("b")
    wait_until(trio.pings, "b serves the client", DEADLINE)
    wait_until(lambda: holds_the_client(c), "c follows b", DEADLINE)
    a.openvpn.start()
    wait_until(lambda: holds_the_client(a), "a follows b", DEADLINE)
    assert {one["name"] for one in b.instance()["nodes"] if one["believed"]} == {"a", "c"}
    assert trio.connections() == 1
