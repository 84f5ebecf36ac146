"""Two namespaces joined by a BCN; in each the real sidecar daemon before a fake OpenVPN."""

from __future__ import annotations

import base64
import json
import os
import pickle
import re
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from pyroute2 import netns

from ovpnha.runtime.control import ControlError, StatusRequest, ask_plain
from tests.bench.capture import Sample
from tests.lab.process import Process
from tests.lab.processes import resident_kib
from tests.lab.topology import inside
from tests.lab.waiting import wait_until

ROOT = Path(__file__).parents[2]
UDP = "udp"
"""The instance that most figures are about."""
ADDRESSES = {"a": "10.77.0.1", "b": "10.77.0.2"}
PORT = 11940
SECONDS = 60.0
TICKS = os.sysconf("SC_CLK_TCK")
PREFIX = "oha-bn"
NAMESPACE = re.compile(rf"{PREFIX}(\d+)[a-z]")

CONFIG = """
[log]
format = "json"

[cluster]
name = "bench"
key_file = "{directory}/cluster.key"

[bcn]
links = [{{ interface = "bcn0" }}]

"""
INSTANCE = """
[[instance]]
name = "{name}"
management = "/nowhere"
vip = "{vip}"
"""
NODE_INSTANCE = """
[node.{node}.instance.{name}]
management = "{management}"
"""
NODE = """
[node.{name}.control]
socket = "{directory}/{name}.control"
"""


def vip_of(at: int) -> str:
    """The virtual IP of an instance, by its place."""
    return f"192.0.2.{10 + at}"


def ip(*arguments: str) -> None:
    """Run ip."""
    subprocess.run(["ip", *arguments], check=True, capture_output=True)


def remove_left() -> None:
    """Take away the namespaces of a bench that was killed: their names have its process id."""
    for namespace in netns.listnetns():
        found = NAMESPACE.fullmatch(namespace)
        if found and not Path(f"/proc/{found[1]}").exists():
            netns.remove(namespace)


class Openvpn:
    """The process of a fake OpenVPN, and the way to give it orders."""

    def __init__(self, path: Path, vip: str, samples: list[Sample], *numbers: int) -> None:
        packed = base64.b64encode(pickle.dumps(samples)).decode()
        words = [str(path), vip, packed, *map(str, numbers)]
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.bench.openvpn", *words],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=ROOT,
        )
        self._read()

    def order(self, do: str, **fields: Any) -> dict[str, Any]:
        """Give an order and wait until it is carried out."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps({"do": do, **fields}) + "\n")
        self._process.stdin.flush()
        return self._read()

    def _read(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        return dict(json.loads(self._process.stdout.readline()))

    def close(self) -> None:
        """End it."""
        self._process.kill()
        self._process.communicate()


class Node:
    """One namespace with its sidecar and an OpenVPN for each instance."""

    def __init__(self, name: str, directory: Path, namespace: str, instances: list[str]) -> None:
        self.name = name
        self.namespace = namespace
        self.management = {one: directory / f"{name}-{one}.sock" for one in instances}
        self.openvpns: dict[str, Openvpn] = {}
        self._control = directory / f"{name}.control"
        self.sidecar = Process(
            [
                *(sys.executable, "-m", "ovpnha", "run"),
                *("--config", directory / "ovpnha.toml", "--node", name),
            ],
            namespace=namespace,
            directory=directory,
            log=directory / f"{name}.log",
            environment={"PYTHONPATH": str(ROOT)},
        )

    def start_openvpn(
        self, samples: list[Sample], seed: int, clients: int, name: str = UDP
    ) -> None:
        """Start the fake OpenVPN of an instance, or a new one in the place of the last."""
        if name in self.openvpns:
            self.openvpns.pop(name).close()
        path = self.management[name]
        path.unlink(missing_ok=True)
        vip = vip_of(list(self.management).index(name))
        self.openvpns[name] = Openvpn(path, vip, samples, seed, clients)

    def status(self) -> dict[str, Any]:
        """What the sidecar says of itself; empty while it does not answer."""
        try:
            return dict(ask_plain(self._control, StatusRequest(), 10.0)["status"])
        except ControlError:
            return {}

    def instance(self, name: str = UDP) -> dict[str, Any]:
        """What it says of an OpenVPN."""
        found = [one for one in self.status().get("instances", []) if one["name"] == name]
        return dict(found[0]) if found else {}

    def close(self) -> None:
        """End all that runs here."""
        self.sidecar.discard()
        for openvpn in self.openvpns.values():
            openvpn.close()

    def scrape(self) -> tuple[float, bytes]:
        """The metrics page, and the seconds that it took."""
        with inside(self.namespace):
            begin = time.monotonic()
            connection = socket.create_connection(("127.0.0.1", 9594), timeout=10.0)
        with connection:
            connection.sendall(b"GET /metrics HTTP/1.0\r\nHost: bench\r\n\r\n")
            page = b"".join(iter(lambda: connection.recv(1 << 20), b""))
        return time.monotonic() - begin, page

    def cpu_seconds(self) -> float:
        """CPU time of the sidecar so far."""
        fields = Path(f"/proc/{self.sidecar.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / TICKS

    def memory_mb(self) -> float:
        """Resident memory of the sidecar."""
        return resident_kib(self.sidecar.pid) / 1024


class Cluster:
    """Both nodes; leaving the ``with`` block takes everything away."""

    def __init__(self, directory: Path, instances: Sequence[str] = (UDP,)) -> None:
        self.directory = directory
        self.instances = list(instances)
        self.nodes = {
            name: Node(name, directory, f"{PREFIX}{os.getpid()}{name}", self.instances)
            for name in ADDRESSES
        }

    def __enter__(self) -> Cluster:
        remove_left()
        try:
            self._build()
        except BaseException:
            self._remove()
            raise
        return self

    def __exit__(self, *_error: object) -> None:
        self._remove()

    def _build(self) -> None:
        spaces = [node.namespace for node in self.nodes.values()]
        for namespace in spaces:
            ip("netns", "add", namespace)
            ip("-n", namespace, "link", "set", "lo", "up")
        pair = ("type", "veth", "peer", "name", "bcn0", "netns", spaces[1])
        ip("-n", spaces[0], "link", "add", "bcn0", *pair)
        for name, namespace in zip(ADDRESSES, spaces, strict=True):
            ip("-n", namespace, "addr", "add", f"{ADDRESSES[name]}/24", "brd", "+", "dev", "bcn0")
            ip("-n", namespace, "link", "set", "bcn0", "up")
        for at, _ in enumerate(self.instances):
            ip("-n", spaces[0], "addr", "add", f"{vip_of(at)}/32", "dev", "lo")
        (self.directory / "ovpnha.toml").write_text("".join(self._configuration()))
        subprocess.run(
            [sys.executable, "-m", "ovpnha", "keygen", self.directory / "cluster.key"],
            check=True,
            capture_output=True,
            cwd=ROOT,
        )

    def _configuration(self) -> Iterator[str]:
        yield CONFIG.format(directory=self.directory)
        for at, one in enumerate(self.instances):
            yield INSTANCE.format(name=one, vip=vip_of(at))
        for node in self.nodes.values():
            yield NODE.format(directory=self.directory, name=node.name)
            for one, path in node.management.items():
                yield NODE_INSTANCE.format(node=node.name, name=one, management=path)

    def _remove(self) -> None:
        for node in self.nodes.values():
            node.close()
            command = ["ip", "netns", "del", node.namespace]
            subprocess.run(command, check=False, capture_output=True)

    def wait(self, name: str, key: str, value: object, instance: str = UDP) -> None:
        """Wait until a node's instance says so."""
        node = self.nodes[name]

        def holds() -> bool:
            node.sidecar.expect_running()
            return bool(node.instance(instance).get(key) == value)

        wait_until(holds, f"{key} of node {name} is {value}", SECONDS)

    def drop_one_in(self, name: str, every: int) -> None:
        """Lose so many datagrams that arrive at a node, at random; 0: none any more."""
        rules = (
            "delete table inet bench\n"
            if not every
            else (
                "table inet bench { chain input { type filter hook input priority 0;"
                f" udp dport {PORT} numgen random mod {every} == 0 drop; }}; }}\n"
            )
        )
        command = ["ip", "netns", "exec", self.nodes[name].namespace, "nft", "-f", "-"]
        subprocess.run(command, input=rules, text=True, check=True, capture_output=True)
