"""keepalived with FRR, of one lab node that shares no LAN with the others: ``deploy/frr``.

keepalived decides, by adverts from node to node, and puts the addresses on ``vip0``; FRR, which is
part of the network here (``tests/lab/routed.py``), tells the routers. ``watch-frr`` tells
keepalived when FRR cannot.
"""

from __future__ import annotations

import shutil
from typing import ClassVar

from tests.lab import plan
from tests.lab.errors import LabError
from tests.lab.keepalived import Keepalived
from tests.lab.process import Process
from tests.lab.routed import (
    SOURCE,
    VIP_INTERFACE,
    RoutedTopology,
    address_of,
    frr_directory,
)
from tests.lab.topology import Topology
from tests.lab.vip_manager import ManagedNode

NODES = "ab"


class FrrKeepalived(Keepalived):
    """keepalived with unicast adverts, and what watches FRR for it."""

    topology: ClassVar[type[Topology]] = RoutedTopology

    def __init__(self, node: ManagedNode) -> None:
        if not node.seamless or node.name not in NODES:
            raise LabError("the lab with FRR has two nodes, and no control run")
        super().__init__(node)
        shutil.copy(SOURCE / "keepalived.conf", self.home)
        shutil.copy(SOURCE / "watch-frr", self.home)
        run_id = node.namespace.removeprefix(plan.PREFIX).partition("-")[0]
        self.state = self.home / "frr-state"
        self.watcher = Process(
            [
                *(self.home / "watch-frr", self.state),
                *("--run", frr_directory(run_id, node.name)),
                *("--need", plan.OUT.interface, "--via", plan.LAN.interface),
            ],
            namespace=node.namespace,
            directory=self.home,
            log=node.directory / f"watch-frr-{node.name}.log",
        )

    def _values(self, node: ManagedNode) -> dict[str, object]:
        (peer,) = (name for name in NODES if name != node.name)
        return {
            **super()._values(node),
            "SOURCE": address_of(node.name, plan.OUT),
            "PEER_1": address_of(peer, plan.OUT),
            "PEER_2": "",
            "OUTSIDE_VIP": f"{plan.OUT.vip}/32",
            "OUTSIDE_VIP6": f"{plan.OUT.vip6}/128 dev {VIP_INTERFACE}",
            "INSIDE_VIP": f"{plan.LAN.vip}/32",
            "INSIDE_VIP6": f"{plan.LAN.vip6}/128 dev {VIP_INTERFACE}",
            "FRR_FILE": self.home / "frr-state",
        }

    @property
    def processes(self) -> tuple[Process, ...]:
        """keepalived, and what watches FRR."""
        return (self.process, self.watcher)

    def start(self) -> None:
        """Start both; what watches FRR stays when keepalived stops."""
        if not self.watcher.running:
            self.watcher.start()
        super().start()
