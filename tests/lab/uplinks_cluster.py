"""What runs in the networks of ``tests/lab/uplinks.py``, by the files of ``deploy/uplinks``."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, ClassVar

from ovpnha.runtime.control import ControlError, StatusRequest
from tests.lab.keepalived import Keepalived, keepalived_of
from tests.lab.lab import Lab
from tests.lab.openvpn import STOCK, Client
from tests.lab.process import Process
from tests.lab.topology import Topology, addresses
from tests.lab.uplinks import CENTRE, LAN, SITE, SOURCE, VIPS, UplinkTopology
from tests.lab.vip_manager import ManagedNode
from tests.lab.waiting import wait_until

NAMES = ("one", "two")
OFFICE = "office"
SECONDS = 60.0
KEEPALIVE = "10 60"


class UplinkKeepalived(Keepalived):
    """keepalived that moves the addresses of both lines and of the LAN as one."""

    topology: ClassVar[type[Topology]] = UplinkTopology

    def __init__(self, node: ManagedNode) -> None:
        super().__init__(node)
        shutil.copy(SOURCE / "centre" / "keepalived.conf", self.home)

    def _values(self, node: ManagedNode) -> dict[str, object]:
        values: dict[str, object] = {}
        for line in (SOURCE / "centre" / "node.conf").read_text().splitlines():
            if line.startswith("$"):
                name, _, value = line[1:].partition("=")
                values[name] = value
        values |= {
            "NODE": node.name,
            "PRIORITY": int(str(values["PRIORITY"])) + node.priority - 100,
        }
        for name in NAMES:
            grade = node.directory / f"{name}.grade"
            values[f"GRADE_{name.upper()}"] = grade
            values[f"CHECK_{name.upper()}"] = f'"{self.home}/check-grade {grade}"'
        return values


class Uplinks:
    """Nodes, clients and what watches the tunnels; started and ended as one."""

    def __init__(self, lab: Lab, keepalive: str = KEEPALIVE) -> None:
        self.lab = lab
        self._keepalive = keepalive
        assert isinstance(lab.topology, UplinkTopology)
        self.topology = lab.topology
        self._write_sidecars()
        lab.pki.issue(OFFICE, server=False)
        self.openvpns = {(at, name): self._server(at, name) for at in lab.nodes for name in NAMES}
        self.clients = {name: Client(self._client(name)) for name in NAMES}
        self.watchers = {at: self._watcher(at) for at in (SITE, *lab.nodes)}

    def start(self) -> None:
        """Start everything; on return node a serves both tunnels, and the others are in sync."""
        self.lab.vips.start()
        for name in self.lab.nodes:
            self.start_node(name)
        first, *others = self.lab.nodes.values()
        wait_until(self._all_have_roles, "a role for each instance", SECONDS)
        first.vip_manager.start()
        self.wait_master(first.name)
        for node in others:
            node.vip_manager.start()
        for client in self.clients.values():
            client.process.start()
        for client in self.clients.values():
            client.wait_connected(SECONDS)
        self.watchers[SITE].start()
        for node in others:
            self.wait_in_sync(node.name)

    def start_node(self, name: str) -> None:
        """All that a node runs but its keepalived."""
        for process in self.of(name):
            process.start()

    def of(self, node: str) -> list[Process]:
        """What a node runs, but its keepalived."""
        openvpns = [process for (at, _), process in self.openvpns.items() if at == node]
        return [*openvpns, self.lab.nodes[node].sidecar.process, self.watchers[node]]

    def kill_node(self, name: str) -> None:
        """The machine is gone: nothing of it sends or answers any more."""
        self.topology.cut_node(name)
        for process in self.of(name):
            process.kill()
        manager = keepalived_of(self.lab.nodes[name])
        manager.process.kill()
        wait_until(lambda: manager.vrrp_pid() is None, "the end of keepalived's child", SECONDS)

    def boot_node(self, name: str) -> None:
        """It comes back, without the addresses that it had."""
        self.topology.drop_vips(name)
        self.topology.cut_node(name, "up")
        self.start_node(name)
        self.lab.nodes[name].vip_manager.start()

    def wait_master(self, name: str) -> None:
        """Wait until this node has all addresses and serves both tunnels."""
        what = f"node {name} is master of both"
        wait_until(lambda: set(VIPS) <= self.addresses(name), f"{what}: addresses", SECONDS)
        wait_until(lambda: self.roles(name) == ["master"] * 2, what, SECONDS)

    def wait_in_sync(self, name: str, clients: int = 1) -> None:
        """Wait until this node holds the site's client in both instances."""

        def holds() -> bool:
            found = self._instances(name)
            return len(found) == len(NAMES) and all(
                one["sync"] == "in_sync" and one["clients"] == clients for one in found
            )

        wait_until(holds, f"node {name} is in sync", SECONDS)

    def addresses(self, name: str) -> set[str]:
        """The addresses that a node has."""
        space = self.topology.namespace(name)
        return {one for link in (*CENTRE, LAN) for one in addresses(space, link.interface)}

    def roles(self, name: str) -> list[str]:
        """What a node is, for each instance."""
        return [str(one["role"]) for one in self._instances(name)]

    def _all_have_roles(self) -> bool:
        roles = [self.roles(name) for name in self.lab.nodes]
        return all(len(one) == len(NAMES) and "init" not in one for one in roles)

    def _instances(self, name: str) -> list[dict[str, Any]]:
        try:
            status = self.lab.nodes[name].sidecar.ask(StatusRequest())["status"]
        except ControlError:
            return []
        return list(status["instances"])

    def ways(self, host: str) -> set[str]:
        """The tunnels that a host's route to the other side goes over."""
        return self.topology.devices(host)

    def processes(self) -> Iterator[Process]:
        """All that this started, beside the lab's own."""
        yield from self.watchers.values()
        yield from self.openvpns.values()
        yield from (client.process for client in self.clients.values())

    def _write_sidecars(self) -> None:
        text = (SOURCE / "centre" / "ovpnha.toml").read_text()
        lines = [replaced(text, "/etc/ovpnha/cluster.key", str(self.lab.directory / "cluster.key"))]
        for node in self.lab.nodes:
            home = self.lab.directory / node
            lines += [f'[node.{node}.control]\nsocket = "{home}/control.sock"']
            lines += [f'[node.{node}.history]\nfile = "{home}/history.jsonl"']
            for name in NAMES:
                lines += [f"[node.{node}.instance.{name}]", f'management = "{home}/{name}.sock"']
                lines += [f'track_file = "{home}/{name}.grade"']
        (self.lab.directory / "ovpnha.toml").write_text("\n".join([*lines, ""]))

    def _server(self, node: str, name: str) -> Process:
        home = self.lab.directory / node
        for file in ("ca.crt", "server.crt", "server.key", "tls-crypt.key"):
            shutil.copy(self.lab.pki.directory / file, home / file)
        shutil.copytree(SOURCE / "centre" / f"ccd-{name}", home / f"ccd-{name}")
        text = (SOURCE / "centre" / f"{name}.conf").read_text()
        (home / f"{name}.conf").write_text(replaced(text, "/run/openvpn-cluster/", f"{home}/"))
        common = (SOURCE / "centre" / "uplinks.inc").read_text()
        common = replaced(common, "/etc/ovpnha/uplinks/", f"{SOURCE}/")
        common = replaced(common, f"keepalive {KEEPALIVE}", f"keepalive {self._keepalive}")
        kept = [line for line in common.splitlines() if not line.startswith("management-client-")]
        (home / "uplinks.inc").write_text("\n".join([*kept, "verb 4", ""]))
        return Process(
            [self.lab.setup.openvpn, "--cd", home, "--config", f"{name}.conf"],
            namespace=self.topology.namespace(node),
            directory=home,
            log=home / f"{name}.log",
        )

    def _client(self, name: str) -> Process:
        home = self.lab.directory / f"site-{name}"
        home.mkdir()
        for file in ("ca.crt", "tls-crypt.key", f"{OFFICE}.crt", f"{OFFICE}.key"):
            shutil.copy(self.lab.pki.directory / file, home / file)
        text = replaced(
            (SOURCE / "site" / f"{name}.conf").read_text(), "/etc/ovpnha/uplinks/", f"{SOURCE}/"
        )
        (home / "site.conf").write_text(f"{text}verb 4\nmachine-readable-output\n")
        return Process(
            [STOCK, "--cd", home, "--config", "site.conf"],
            namespace=self.topology.namespace(SITE),
            directory=home,
            log=self.lab.directory / f"client-{name}.log",
        )

    def _watcher(self, host: str) -> Process:
        where = SITE if host == SITE else "centre"
        return Process(
            [SOURCE / "watch-tunnels", SOURCE / where / "tunnels.toml"],
            namespace=self.topology.namespace(host),
            directory=self.lab.directory,
            log=self.lab.directory / f"watch-{host}.log",
        )


def replaced(text: str, old: str, new: str) -> str:
    """A path of the lab in the place of one that users have."""
    assert old in text
    return text.replace(old, new)


@contextmanager
def uplinks(lab: Lab, keepalive: str = KEEPALIVE) -> Iterator[Uplinks]:
    """Everything, not started yet; ended in whatever way the block is left."""
    made = Uplinks(lab, keepalive)
    try:
        yield made
    finally:
        for process in made.processes():
            process.discard()
