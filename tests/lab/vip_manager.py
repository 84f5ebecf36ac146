"""Who moves the VIP: the face that every VIP manager shows in the lab.

One object is one program on one node; together the programs of all nodes decide where the addresses
are. A lab without any (``Setup(vip_manager=None)``) moves them by ``Lab.move_vips``. The sidecar is
never told who it is; it sees addresses come and go.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

from ovpnha import model
from tests.lab.process import Process
from tests.lab.topology import Topology

PRIORITY = 100
"""The first node's; each further one has one less, too little to take the addresses from anyone."""


@dataclass(frozen=True)
class ManagedNode:
    """What a VIP manager must know of its node; ``directory`` is where it may write.

    Of two nodes of the same grade the one with the higher ``priority`` gets the addresses.
    ``grade_file`` is the sidecar's, ``pid_file`` OpenVPN's. ``seamless`` is False in a control run,
    which has no grade. ``advert_interval`` is in seconds; who cannot do it takes its shortest.
    ``preferred`` names the node that gets the addresses back whenever it can serve, "" if none is.
    ``priorities`` are those of all nodes, this one among them.
    """

    name: str
    namespace: str
    directory: Path
    grade_file: Path
    pid_file: Path
    priority: int = PRIORITY
    advert_interval: float = 0.05
    seamless: bool = True
    preferred: str = ""
    priorities: Mapping[str, int] = field(default_factory=dict)


PREFERENCE = 31
"""A priority that is so much above all others makes a node preferred (deploy/keepalived)."""


def preferred_of(priorities: Mapping[str, int]) -> str:
    """The node that is preferred by these priorities of all nodes; "" when none is."""
    first, second, *_ = sorted(priorities.values(), reverse=True)
    best = max(priorities, key=lambda name: priorities[name])
    return best if first - second >= PREFERENCE else ""


class VipManager(ABC):
    """The VIP manager of one node."""

    @abstractmethod
    def start(self) -> None:
        """Start it; the addresses come when it has agreed with the others."""

    @abstractmethod
    def stop(self) -> None:
        """End it in order, as its service does: it gives the addresses away."""

    @abstractmethod
    def kill(self) -> None:
        """End it at once: nobody takes the addresses off this node."""

    def is_settled(self) -> bool:
        """Whether it could be given the addresses now, if it runs; some need time for that."""
        return True

    def restart(self) -> None:
        """Stop and start it, as an upgrade of its package does."""
        self.stop()
        self.start()


class VipProgram(VipManager):
    """One that is a program of the lab; ``known_as`` is its ``vip_manager`` in ``ovpnha.toml``."""

    known_as: ClassVar[model.VipManager] = model.VipManager.OTHER
    topology: ClassVar[type[Topology]] = Topology
    """The networks that its nodes stand in."""
    process: Process

    @abstractmethod
    def __init__(self, node: ManagedNode) -> None:
        """Write its files, those of ``deploy/`` where there are any, and make ``process``."""

    @property
    def processes(self) -> tuple[Process, ...]:
        """All that is to be ended with the lab."""
        return (self.process,)

    def start(self) -> None:
        """Start the program."""
        self.process.start()

    def stop(self) -> None:
        """Ask the program to end."""
        self.process.stop()

    def kill(self) -> None:
        """End the program and its children."""
        self.process.discard()
