"""Where the virtual addresses are, and when they moved, as netlink tells it in each node."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from tests.lab import plan
from tests.lab.topology import Topology
from tests.lab.traffic import agent
from tests.lab.waiting import Tail, wait_until

SECONDS = 10.0
WATCHING = 60.0
"""Seconds until the watcher's program has begun: longer than a full machine takes for that."""


@dataclass(frozen=True)
class VipEvent:
    """An address came to a node or left it."""

    time: int
    node: str
    present: bool
    address: str


class VipHistory:
    """Every coming and going of addresses on the nodes since ``start``."""

    def __init__(self, topology: Topology, directory: Path) -> None:
        path = directory / "vip.events"
        self._names = {topology.namespace(name): name for name in topology.nodes}
        self._tail = Tail(path)
        self._events: list[VipEvent] = []
        self.process = agent(
            "vipwatch",
            "vipwatch",
            [str(path), *self._names],
            namespace=topology.namespace(plan.FABRIC),
            directory=directory,
        )

    def start(self) -> None:
        """Start watching; on return nothing is missed any more."""
        self.process.start()
        wait_until(self._watches_all, "the address watcher", WATCHING)

    def assume(self, node: str, address: str) -> None:
        """An address was on a node before the watching began."""
        self._events.append(VipEvent(0, node, present=True, address=address))

    def _watches_all(self) -> bool:
        self.process.expect_running()
        return len(self.events()) >= len(self._names)

    def events(self) -> list[VipEvent]:
        """Everything so far, in order."""
        for line in self._tail.lines():
            event = json.loads(line)
            event["node"] = self._names[event.pop("namespace")]
            self._events.append(VipEvent(**event))
        return self._events

    def when(self, address: str, node: str, *, present: bool, since: int) -> int | None:
        """When an address first came to (or left) a node after ``since``, None if it has not."""
        for event in self.events():
            moved = (event.address, event.node, event.present)
            if moved == (address, node, present) and event.time >= since:
                return event.time
        return None

    def taker(self, address: str, old: str, since: int) -> str | None:
        """The first node but ``old`` that got the address after ``since``, None if none has."""
        for event in self.events():
            came = event.address == address and event.present and event.time >= since
            if came and event.node != old:
                return event.node
        return None

    def holder(self, address: str = plan.OUT.vip) -> str | None:
        """The node that got the address last and still has it."""
        present: dict[str, None] = {}
        for event in self.events():
            if event.address == address:
                present.pop(event.node, None)
                if event.present:
                    present[event.node] = None
        return next(reversed(present), None)

    def wait_holder(self) -> str:
        """The node that has the outside address, waited for."""
        return wait_until(self.holder, "a node that has the outside VIP", SECONDS) or ""
