"""What all machines offer together under one VIP: an instance's servers and its clients."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ovpnha.model import InstanceName
from tests.simulation.clients import Clients
from tests.simulation.handshakes import Handshakes
from tests.simulation.network import FRONT
from tests.simulation.server import Server
from tests.simulation.truth import Truth

if TYPE_CHECKING:
    from tests.simulation.cluster import Cluster

NAMES = ("udp", "mobile", "partners")
PREFERRED = 35
FIRST_PRIORITY = 110


class Service:
    """One instance on every machine. The first one's VIP begins on the first machine, and so on."""

    def __init__(self, cluster: Cluster, number: int) -> None:
        self.cluster = cluster
        self.number = number
        self.instance = InstanceName(NAMES[number])
        self.vip = f"192.0.2.{10 + number}"
        self.truth = Truth(lambda: cluster.clock.now, cluster.violations)
        self.clients = Clients(self)
        self.handshakes = Handshakes(self)
        self.servers: list[Server] = []

    def label(self, host: str) -> str:
        """What a server is called in the trace."""
        return host if self.cluster.schedule.instances == 1 else f"{host}/{self.instance}"

    def priority(self, index: int) -> int:
        """keepalived's, on this machine."""
        rank = (index - self.number) % self.cluster.schedule.nodes
        gap = PREFERRED if self.cluster.schedule.preferred and rank else 0
        return FIRST_PRIORITY - gap - rank

    def claimant(self, place: int) -> Server | None:
        """The server whose VIP is reached from beside this machine."""
        near = self.servers[place].host
        passes = self.cluster.network.passes
        reached = [
            one
            for one in self.servers
            if one.vip and (one.host == near or passes(FRONT, near, one.host))
        ]
        return max(reached, key=lambda one: (one.last_claim, one.index), default=None)

    def holder(self) -> Server | None:
        """The server that last claimed the VIP and still has it."""
        holders = [one for one in self.servers if one.vip]
        return max(holders, key=lambda one: (one.last_claim, one.index), default=None)

    @property
    def running(self) -> list[Server]:
        """The servers of machines that are on."""
        return [one for one in self.servers if one.alive]
