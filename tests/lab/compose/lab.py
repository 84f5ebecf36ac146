"""The container lab, seen as the namespace lab is seen.

The containers' network namespaces get names of this run, so that probes, the TCP session and the
address watcher run in them unchanged, on one clock. What runs inside the containers is theirs.
"""

from __future__ import annotations

import json
import signal
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any
from urllib.request import urlopen

from tests.lab import plan
from tests.lab.cleanup import Claim, clean
from tests.lab.compose.engine import Compose, docker, inspect, run
from tests.lab.compose.files import RULES
from tests.lab.errors import LabError
from tests.lab.lab import GRADE_IN_SYNC, GRADE_MASTER, START_SECONDS, Lab, quiet
from tests.lab.node import Node, Setup
from tests.lab.openvpn import Client
from tests.lab.process import Process
from tests.lab.sidecar import Sidecar
from tests.lab.topology import Topology, open_route
from tests.lab.vip_manager import VipManager
from tests.lab.vips import VipHistory
from tests.lab.waiting import wait_until

STATUS_SECONDS = 2.0


class ContainerSidecar(Sidecar):
    """The sidecar of a node, asked over its HTTP endpoint."""

    def __init__(self, address: str) -> None:
        self._url = f"http://{address}:9594/status"

    def instance(self) -> dict[str, Any] | None:
        """What the node says about its OpenVPN, None while the sidecar does not answer."""
        try:
            with urlopen(self._url, timeout=STATUS_SECONDS) as answer:  # noqa: S310  # ours
                return dict(json.load(answer)["instances"][0])
        except (OSError, ValueError, LookupError):
            return None


class ContainerKeepalived(VipManager):
    """keepalived of a node, which runit watches in the node's container."""

    def __init__(self, container: str) -> None:
        self._container = container

    def start(self) -> None:
        """Have it run again."""
        self._tell("up")

    def stop(self) -> None:
        """End it in order; nothing starts it again."""
        self._tell("down")

    def kill(self) -> None:
        """End it with SIGKILL; nothing starts it again."""
        self._tell("once")
        self._tell("kill")

    def _tell(self, command: str) -> None:
        docker("exec", self._container, "sv", "-w", "20", command, "/run/service/keepalived")


class ContainerNode(Node):
    """A node whose processes live in a container and are the container's business."""

    def __init__(self, name: str, container: str) -> None:
        self.name = name
        self.container = container
        self.sidecar = ContainerSidecar(plan.LAN.address(plan.node_number(name)))

    @property
    def vip_manager(self) -> VipManager:
        """keepalived in the container."""
        return ContainerKeepalived(self.container)

    @property
    def processes(self) -> tuple[Process, ...]:
        """None of ours."""
        return ()

    def grade(self) -> int | None:
        """What the sidecar says about this node, None while it says nothing."""
        instance = self.sidecar.instance()
        return None if instance is None else int(instance["grade"])


class ComposeLab(Lab):
    """``docker compose up`` as a context manager."""

    def __init__(self, compose: Compose, say: Any = quiet, *, logs: Path | None = None) -> None:
        super().__init__(Setup(rules=RULES, conntrack=True), say)
        self.compose = compose
        self.containers: dict[str, str] = {}
        self._logs = logs

    def __enter__(self) -> ComposeLab:
        clean()
        with ExitStack() as stack:
            stack.enter_context(Claim(self.run_id))
            self.say("docker compose up")
            stack.callback(self._down)
            self.compose.up()
            self._attach()
            self.vips = VipHistory(self.topology, self.directory)
            self._stack = stack.pop_all()
        return self

    def _down(self) -> None:
        """Whatever happens, and however often somebody presses Ctrl-C."""
        with _undisturbed():
            try:
                if self._logs is not None:
                    self._logs.parent.mkdir(parents=True, exist_ok=True)
                    self._logs.write_text(self.compose.logs())
            finally:
                self.compose.down()

    def _attach(self) -> None:
        names = plan.node_names(self.setup.nodes)
        self.topology = Topology(self.run_id, names)
        run("ip", "netns", "add", self.topology.namespace(plan.FABRIC))
        hosts = {"client": "client", "lan": "lan"} | {name: f"node-{name}" for name in names}
        for host, service in hosts.items():
            container = self.containers[host] = self.compose.container(service)
            pid = str(inspect(container)["State"]["Pid"])
            attach = ["ip", "netns", "attach", self.topology.namespace(host), pid]
            if subprocess.run(attach, check=False, stderr=subprocess.DEVNULL).returncode:
                raise LabError(f"{service} has ended:\n{docker('logs', '--tail', '20', container)}")
        self.nodes = {name: ContainerNode(name, self.containers[name]) for name in names}

    def start_cluster(self) -> None:
        """Everything is started already; on return some node has the addresses and serves."""
        self.say("waiting for a master")
        self.vips.start()
        for name in self.nodes:
            for address in addresses(self.topology.namespace(name)):
                self.vips.assume(name, address)
        wait_until(self.vips.holder, "a node that has the VIP", START_SECONDS)
        self.wait_master(self.master.name)

    def wait_standbys(self, seconds: float = START_SECONDS) -> None:
        """Wait until there is a master, and every other node is in sync."""
        self.say("waiting until the standby is in sync")
        wait_until(self._in_sync, "a master, and all others in sync", seconds)

    def _in_sync(self) -> bool:
        grades = sorted(node.grade() or 0 for node in self.nodes.values())
        return grades == [GRADE_IN_SYNC] * (len(grades) - 1) + [GRADE_MASTER]

    def start_client(self, name: str = "client") -> Client:
        """The client has been started with everything else; wait until it is connected."""
        self.say("waiting for the client")
        follow = Process(
            ["docker", "logs", "--follow", self.containers[name]],
            namespace=self.topology.namespace(name),
            directory=self.directory,
            log=self.directory / f"{name}.log",
        )
        client = Client(follow.start())
        self.clients.append(client)
        client.wait_connected()
        return client


def addresses(namespace: str) -> list[str]:
    """Every address in a namespace, whatever the engine called its interfaces."""
    with open_route(namespace) as route:
        return [str(message.get("address")) for message in route.get_addr()]


@contextmanager
def _undisturbed() -> Iterator[None]:
    """SIGINT and SIGTERM have to wait."""
    blocked = {signal.SIGINT, signal.SIGTERM}
    signal.pthread_sigmask(signal.SIG_BLOCK, blocked)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, blocked)
