"""The load of a cluster shared over three nodes, by the files of ``deploy/shared`` as they are.

Three instances, each with addresses of its own and a master on a node of its own. What differs from
the files that users have are paths, and the names and networks of the lab.
"""

from __future__ import annotations

import functools
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.integration.conftest import OPENVPN, MakeLab
from tests.integration.pace import PATIENCE
from tests.integration.test_two_instances import instances
from tests.lab import plan
from tests.lab.clientlog import noticed
from tests.lab.keepalived import PROGRAM, copy_files, real_time, write_node_conf
from tests.lab.lab import Lab
from tests.lab.measure import outage_ms
from tests.lab.openvpn import Client
from tests.lab.process import Process
from tests.lab.topology import addresses
from tests.lab.traffic import INTERVAL_MS, ProbeStream
from tests.lab.waiting import wait_until

pytestmark = pytest.mark.integration

SHARED = Path(__file__).parents[2] / "deploy" / "shared"
NAMES = ("one", "two", "three")
PREFERRED = dict(zip(NAMES, "abc", strict=True))
PRIORITIES = {"a": (100, 55, 60), "b": (60, 100, 55), "c": (55, 60, 100)}
HEIR = {"one": "b", "two": "c", "three": "a"}
ROAMERS = tuple(f"roamer{number}" for number in range(1, 13))
"""So many that one of three hundred thousand runs has all of them at one address by chance."""
ROAMING = """\
ifconfig-noexec
route-noexec
pull-filter ignore ping-restart
ping-restart 25
"""
PLACES = {"192.0.2.": "10.99.1.", "198.51.100.": "10.99.2.", "eth0": plan.OUT.interface}
PLACES["eth1"] = plan.LAN.interface


def translate(text: str) -> str:
    """The networks and interfaces of the lab in the place of those of the documentation."""
    for old, new in PLACES.items():
        text = text.replace(old, new)
    return text


def outside(number: int) -> str:
    return plan.OUT.address(20 + number)


def inside(number: int) -> str:
    return plan.LAN.address(20 + number)


@dataclass
class Shared:
    """What runs beside the lab's sidecars: OpenVPNs, keepaliveds and clients."""

    lab: Lab
    openvpns: dict[tuple[str, str], Process]
    keepaliveds: dict[str, Process]
    clients: dict[str, Client]
    probes: dict[str, ProbeStream]

    def start(self) -> None:
        for process in self.openvpns.values():
            process.start()
        for node in self.lab.nodes.values():
            node.sidecar.process.start()
        what = "a role for every instance on every node"
        wait_until(self.all_have_roles, what, PATIENCE)
        for process in self.keepaliveds.values():
            process.start()
        for name in NAMES:
            self.wait(name, PREFERRED[name])

    def all_have_roles(self) -> bool:
        return all(self.role(name, at) for name in NAMES for at in self.lab.nodes)

    def role(self, name: str, node: str) -> str:
        role = str(instances(self.lab, node).get(name, {}).get("role", "init"))
        return "" if role == "init" else role

    def wait(self, name: str, node: str) -> None:
        """Wait until this node serves this instance, and has both of its addresses."""
        what = f"node {node} is master of {name}"
        wait_until(lambda: self.role(name, node) == "master", what, PATIENCE)
        wait_until(lambda: self.places(name) == ({node}, {node}), f"{what}: addresses", PATIENCE)

    def places(self, name: str) -> tuple[set[str], set[str]]:
        """Which nodes have the outside and the inside address."""
        number = NAMES.index(name) + 1
        spaces = {at: self.lab.topology.namespace(at) for at in self.lab.nodes}
        return (
            {
                at
                for at, ns in spaces.items()
                if outside(number) in addresses(ns, plan.OUT.interface)
            },
            {
                at
                for at, ns in spaces.items()
                if inside(number) in addresses(ns, plan.LAN.interface)
            },
        )

    def connect(self) -> None:
        for name in NAMES:
            self.clients[name].process.start()
            self.clients[name].wait_connected(PATIENCE)
        for name in NAMES:
            for at in "abc":
                if at != PREFERRED[name]:
                    self.wait_in_sync(name, at)
        for probe in self.probes.values():
            probe.start()

    def wait_in_sync(self, name: str, at: str) -> None:
        def holds() -> bool:
            found = instances(self.lab, at).get(name, {})
            return bool(found.get("sync") == "in_sync" and found.get("clients") == 1)

        wait_until(holds, f"{name} of node {at} in sync", PATIENCE)

    def kill(self, node: str) -> None:
        """The machine is gone: nothing of it sends or answers any more."""
        self.lab.topology.set_links(node, "down")
        for process in self.of(node):
            process.kill()
        left = self.keepaliveds[node].log.parent / "vrrp.pid"
        wait_until(lambda: not left.exists(), "the end of keepalived's other process", PATIENCE)

    def boot(self, node: str) -> None:
        """It comes back, without the addresses that it had."""
        space = ("ip", "-n", self.lab.topology.namespace(node))
        for number in (1, 2, 3):
            for address, segment in ((outside(number), plan.OUT), (inside(number), plan.LAN)):
                command = [*space, "addr", "del", f"{address}/24", "dev", segment.interface]
                subprocess.run(command, check=False, capture_output=True)
        self.lab.topology.set_links(node, "up")
        for process in self.of(node):
            process.start()

    def of(self, node: str) -> list[Process]:
        """What runs on this node, its keepalived last."""
        openvpns = [process for (at, _), process in self.openvpns.items() if at == node]
        return [*openvpns, self.lab.nodes[node].sidecar.process, self.keepaliveds[node]]

    def reaches_lan(self, name: str) -> bool:
        """Whether the client has answers of a host on the LAN, which knows the inside address."""
        host = plan.LAN.address(plan.OTHERS)
        command = ["ping", "-c", "1", "-W", "1", "-I", device(name), host]
        namespace = self.lab.topology.namespace("client")
        done = subprocess.run(["ip", "netns", "exec", namespace, *command], capture_output=True)
        return done.returncode == 0

    def epoch(self, name: str, node: str) -> object:
        """The epoch in which this node serves: a new one would be a change of roles."""
        return instances(self.lab, node)[name]["epoch"]

    def processes(self) -> Iterator[Process]:
        yield from self.keepaliveds.values()
        yield from self.openvpns.values()
        yield from (client.process for client in self.clients.values())
        yield from (probe.process for probe in self.probes.values())


def device(name: str) -> str:
    return f"tun{NAMES.index(name) + 1}"


def write_sidecar(lab: Lab) -> None:
    key = str(lab.directory / "cluster.key")
    text = translate((SHARED / "ovpnha.toml").read_text())
    assert "/etc/ovpnha/cluster.key" in text
    lines = [text.replace("/etc/ovpnha/cluster.key", key)]
    for node in lab.nodes:
        home = lab.directory / node
        lines += [f'[node.{node}.control]\nsocket = "{home}/control.sock"']
        lines += [f'[node.{node}.history]\nfile = "{home}/history.jsonl"']
        for name in NAMES:
            lines += [f"[node.{node}.instance.{name}]", f'management = "{home}/{name}.sock"']
            lines += [f'track_file = "{home}/{name}.grade"']
    (lab.directory / "ovpnha.toml").write_text("\n".join([*lines, ""]))


def make_openvpn(lab: Lab, node: str, name: str) -> Process:
    """OpenVPN with the file of the instance, in the directory of the node."""
    home = lab.directory / node
    for file in ("ca.crt", "server.crt", "server.key", "tls-crypt.key"):
        shutil.copy(lab.pki.directory / file, home / file)
    text = translate((SHARED / f"{name}.conf").read_text())
    assert "/run/openvpn-cluster/" in text
    (home / f"{name}.conf").write_text(text.replace("/run/openvpn-cluster/", f"{home}/"))
    common = translate((SHARED / "shared.inc").read_text())
    kept = [line for line in common.splitlines() if not line.startswith("management-client-")]
    (home / "shared.inc").write_text("\n".join([*kept, ""]))
    return Process(
        [OPENVPN, "--cd", home, "--config", f"{name}.conf"],
        namespace=lab.topology.namespace(node),
        directory=home,
        log=home / f"{name}.log",
    )


def make_keepalived(lab: Lab, node: str) -> Process:
    """keepalived with the file as it is, and the values of ``node.conf`` for this node."""
    home = lab.directory / node / "shared-keepalived"
    home.mkdir()
    copy_files(home)
    shutil.copy(SHARED / "keepalived.conf", home / "keepalived.conf")
    values: dict[str, object] = {}
    for line in translate((SHARED / "node.conf").read_text()).splitlines():
        if line.startswith("$"):
            name, _, value = line[1:].partition("=")
            values[name] = value
    values["NODE"] = node
    for name, priority in zip(NAMES, PRIORITIES[node], strict=True):
        grade, which = home.parent / f"{name}.grade", name.upper()
        values |= {f"PRIORITY_{which}": priority, f"GRADE_{which}": grade}
        values[f"CHECK_{which}"] = f'"{home}/check-grade {grade}"'
    write_node_conf(home, values)
    return Process(
        [
            *real_time(),
            *(PROGRAM, *(("--config-id", "realtime") if real_time() else ())),
            *("--dont-fork", "--vrrp", "--log-console", "--no-syslog"),
            *("--use-file", home / "keepalived.conf"),
            *("--pid", home / "keepalived.pid", "--vrrp_pid", home / "vrrp.pid"),
        ],
        namespace=lab.topology.namespace(node),
        directory=home,
        log=home / "keepalived.log",
    )


def make_client(
    lab: Lab, name: str, remotes: set[str], options: str = "", dev: str = "tun"
) -> Client:
    """A stock client with the users' file, which knows these addresses of the three."""
    lab.pki.issue(name, server=False)
    text = translate((SHARED / "client.conf").read_text())
    kept = [
        line
        for line in text.splitlines()
        if not line.startswith("remote ") or line.split()[1] in remotes
    ]
    text = "\n".join([*kept, f"dev {dev}", "verb 4", "machine-readable-output", options])
    for file in ("ca.crt", "tls-crypt.key"):
        text = text.replace(f" {file}", f" {lab.pki.directory / file}")
    for file in ("crt", "key"):
        text = text.replace(f" client.{file}", f" {lab.pki.directory / name}.{file}")
    config = lab.directory / f"{name}.ovpn"
    config.write_text(f"{text}\n")
    process = Process(
        ["/usr/sbin/openvpn", "--config", config],
        namespace=lab.topology.namespace("client"),
        directory=lab.directory,
        log=lab.directory / f"client-{name}.log",
    )
    return Client(process)


@contextmanager
def shared(lab: Lab) -> Iterator[Shared]:
    """Everything, not started yet; ended in whatever way the block is left."""
    write_sidecar(lab)
    space = lab.topology.namespace("client")
    made = Shared(
        lab,
        {(at, name): make_openvpn(lab, at, name) for at in lab.nodes for name in NAMES},
        {at: make_keepalived(lab, at) for at in lab.nodes},
        {
            name: make_client(lab, name, {outside(number)}, "route-nopull", device(name))
            for number, name in enumerate(NAMES, 1)
        },
        {
            name: ProbeStream(f"probe-{name}", space, f"10.8.{number}.1", lab.directory)
            for number, name in enumerate(NAMES, 1)
        },
    )
    for number in (1, 2, 3):
        route = ("route", "add", f"10.8.{number}.0/24", "via", inside(number))
        subprocess.run(["ip", "-n", lab.topology.namespace("lan"), *route], check=True)
    try:
        yield made
    finally:
        for process in made.processes():
            process.discard()


def test_one_third_moves(make_lab: MakeLab) -> None:
    lab = make_lab(nodes=3, vip_manager=None)
    with shared(lab) as made:
        made.start()
        made.connect()

        # Node a dies: its third goes to the next node, and the others notice nothing.
        others = {name: made.epoch(name, PREFERRED[name]) for name in ("two", "three")}
        wall, begin = time.time_ns(), time.monotonic_ns()
        made.kill("a")
        made.wait("one", HEIR["one"])
        moved = made.probes["one"]
        recent = time.monotonic_ns()
        wait_until(lambda: moved.answered_since(recent), "an answer", PATIENCE)
        gaps = {name: made.probes[name].gap(begin) for name in NAMES}
        print({name: outage_ms(gap, INTERVAL_MS) for name, gap in gaps.items()})
        for name in NAMES:
            wait_until(functools.partial(made.reaches_lan, name), f"the LAN, {name}", PATIENCE)

        # It comes back, and takes its third again when it has all of it, and no other.
        made.boot("a")
        made.wait("one", "a")
        for name in NAMES:
            wait_until(functools.partial(made.reaches_lan, name), f"the LAN, {name}", PATIENCE)
            assert noticed(made.clients[name].log(), wall).nothing
        assert others == {name: made.epoch(name, PREFERRED[name]) for name in others}


@pytest.mark.timeout(300)
def test_clients_choose_at_random_and_go_where_somebody_serves(make_lab: MakeLab) -> None:
    lab = make_lab(nodes=3, vip_manager=None)
    with shared(lab) as made:
        made.start()
        every = {outside(number) for number in (1, 2, 3)}
        made.clients |= {name: make_client(lab, name, every, ROAMING) for name in ROAMERS}
        for name in ROAMERS:
            made.clients[name].process.start()
        for name in ROAMERS:
            made.clients[name].wait_connected(PATIENCE)

        def shares() -> dict[str, int]:
            """How many clients each instance has, as its master counts them."""
            found = {name: instances(lab, at)[name] for name, at in PREFERRED.items()}
            return {name: int(one["clients"]) for name, one in found.items()}

        def are_all_at(*names: str) -> bool:
            return sum(shares()[name] for name in names) == len(ROAMERS)

        wait_until(lambda: are_all_at(*NAMES), "all clients", PATIENCE)
        first = shares()
        print(first)
        chosen = [name for name in NAMES if first[name]]
        assert len(chosen) > 1

        # Nobody serves one of those that they chose: they go where somebody does.
        left = chosen[0]
        for (_, name), process in made.openvpns.items():
            if name == left:
                process.kill()
        others = [name for name in NAMES if name != left]
        wait_until(lambda: are_all_at(*others), f"nobody waits for {left}", 2 * PATIENCE)
        second = shares()
        print(second)
        for name in others:
            assert second[name] >= first[name], "who was served stays where it is"
