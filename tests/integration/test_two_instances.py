"""Two OpenVPNs on each node, under one sidecar: each has its own master, and outlives it."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from typing import Any

import pytest

from ovpnha.runtime.control import ControlError, StatusRequest
from tests.integration.conftest import OPENVPN
from tests.integration.pace import PATIENCE
from tests.lab import plan
from tests.lab.clientlog import noticed
from tests.lab.lab import Lab
from tests.lab.openvpn import Client, Transport, client_config, server_config
from tests.lab.process import Process
from tests.lab.session import Session
from tests.lab.topology import change_vip
from tests.lab.waiting import wait_until

pytestmark = pytest.mark.integration

NAME = "second"
PORT = 1195
GATEWAY = "10.12.0.1"


class SecondVip(plan.Segment):
    """The outside network, with the address of the second OpenVPN."""

    @property
    def vip(self) -> str:
        return self.address(20)


OUTSIDE = SecondVip(plan.OUT.name, plan.OUT.interface, plan.OUT.network, plan.OUT.network6)
CHANGES = {
    f"port {plan.PORT}": f"port {PORT}",
    "dev tun0": "dev tun1",
    f"server {plan.TUNNEL.network_address} {plan.TUNNEL.netmask}": "server 10.12.0.0 255.255.255.0",
    f"server-ipv6 {plan.TUNNEL6}": "server-ipv6 2001:db8:12::/64",
    "openvpn.sock": f"{NAME}.sock",
    "openvpn.pid": f"{NAME}.pid",
}


@dataclass
class Second:
    """The second OpenVPN of all nodes, and its client."""

    lab: Lab
    processes: dict[str, Process]
    client: Client

    def move(self, old: str | None, new: str) -> None:
        """Its virtual address moves."""
        for name, verb in ((old, "del"), (new, "add")):
            if name is not None:
                change_vip(self.lab.topology.namespace(name), OUTSIDE, verb)

    def reachable(self) -> bool:
        """Whether its tunnel carries packets both ways."""
        command = ["ping", "-c", "1", "-W", "1", "-I", "tun1", GATEWAY]
        namespace = self.lab.topology.namespace("client")
        done = subprocess.run(["ip", "netns", "exec", namespace, *command], capture_output=True)
        return done.returncode == 0


def write_second(lab: Lab) -> None:
    text = server_config(
        lab.pki.directory,
        keepalive="10 60",
        transport=Transport(address=OUTSIDE.vip),
        cluster=True,
    )
    for old, new in CHANGES.items():
        assert old in text
        text = text.replace(old, new)
    (lab.directory / "second.conf").write_text(text)
    lines = [
        "[[instance]]",
        f'name = "{NAME}"',
        'management = "/run/second.sock"',
        f'vip = "{OUTSIDE.vip}"',
        f'vip_interface = "{OUTSIDE.interface}"',
    ]
    for name in lab.nodes:
        home = lab.directory / name
        lines += [
            f"[node.{name}.instance.{NAME}]",
            f'management = "{home}/{NAME}.sock"',
            f'track_file = "{home}/{NAME}.grade"',
            'vip_manager = "other"',
        ]
    with (lab.directory / "ovpnha.toml").open("a") as file:
        file.write("\n".join([*lines, ""]))


def make_second(lab: Lab) -> Second:
    processes = {
        name: Process(
            [OPENVPN, "--cd", node.directory, "--config", "../second.conf"],
            namespace=node.namespace,
            directory=node.directory,
            log=node.directory / f"second-{name}.log",
        )
        for name, node in lab.nodes.items()
    }
    lab.pki.issue("other", server=False)
    text = client_config(lab.pki.directory, "other", Transport(address=OUTSIDE.vip), ["dev tun1"])
    text = text.replace(f"{OUTSIDE.vip} {plan.PORT}", f"{OUTSIDE.vip} {PORT}")
    (lab.directory / "other.conf").write_text(text + "route-nopull\n")
    process = Process(
        ["/usr/sbin/openvpn", "--config", lab.directory / "other.conf"],
        namespace=lab.topology.namespace("client"),
        directory=lab.directory,
        log=lab.directory / "other.log",
    )
    return Second(lab, processes, Client(process))


def instances(lab: Lab, name: str) -> dict[str, dict[str, Any]]:
    try:
        found = lab.nodes[name].sidecar.ask(StatusRequest())["status"]["instances"]
    except ControlError:
        return {}
    return {one["name"]: one for one in found}


def wait_standby(lab: Lab, name: str, *which: str) -> None:
    """Wait until these instances of a node hold every client of theirs."""

    def in_sync() -> bool:
        found = instances(lab, name)
        return all(
            one in found and found[one]["sync"] == "in_sync" and found[one]["clients"] == 1
            for one in which
        )

    wait_until(in_sync, f"{', '.join(which)} of node {name} in sync", PATIENCE)


def wait_role(lab: Lab, name: str, which: str, role: str) -> None:
    what = f"{which} of node {name} is {role}"
    wait_until(lambda: instances(lab, name).get(which, {}).get("role") == role, what, PATIENCE)


def test_each_has_a_master_of_its_own(manual_lab: Lab) -> None:
    lab = manual_lab
    write_second(lab)
    second = make_second(lab)
    try:
        for process in second.processes.values():
            process.start()
        lab.start_cluster()
        second.move(None, "b")
        wait_role(lab, "b", NAME, "master")
        second.client.process.start()
        second.client.wait_connected()
        session = Session(lab)
        wait_standby(lab, "b", "udp")
        wait_standby(lab, "a", NAME)
        wait_until(second.reachable, "the second tunnel", PATIENCE)

        # Node a dies, the master of one and the standby of the other.
        killed = session.mark()
        a, b = lab.nodes["a"], lab.nodes["b"]
        for process in (a.sidecar.process, a.openvpn, second.processes["a"]):
            process.kill()
        lab.move_vips("b")
        assert session.recovers(killed, PATIENCE)
        wait_role(lab, "b", "udp", "master")
        wait_until(second.reachable, "the second tunnel", PATIENCE)

        # It comes back, and node b dies, the master of both.
        for process in (a.openvpn, second.processes["a"], a.sidecar.process):
            process.start()
        wait_standby(lab, "a", "udp", NAME)
        again = session.mark()
        for process in (b.sidecar.process, b.openvpn, second.processes["b"]):
            process.kill()
        lab.move_vips("a")
        second.move("b", "a")
        assert session.recovers(again, PATIENCE)
        wait_until(second.reachable, "the second tunnel", PATIENCE)
        assert session.noticed(killed).nothing
        assert session.finish() == ""
        assert noticed(second.client.log(), killed.wall).nothing
    finally:
        for process in (*second.processes.values(), second.client.process):
            process.discard()
