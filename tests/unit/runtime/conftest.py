from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Coroutine, Iterator, Mapping, MutableMapping, Sequence
from dataclasses import replace
from typing import Any

import pytest
import structlog.testing

from ovpnha.model import (
    Epoch,
    InstanceName,
    NodeName,
    Role,
    ServerClient,
    Sync,
    Uid,
    Unreachable,
    VipPlace,
)
from ovpnha.node.cluster.announcer import AnnouncerStatistics
from ovpnha.node.cluster.view import NodeView
from ovpnha.node.master.exporter import ExporterStatistics
from ovpnha.node.node import Node
from ovpnha.node.openvpn.discovery import DiscoveryStatistics
from ovpnha.node.openvpn.openvpn import OpenvpnStatistics
from ovpnha.node.outputs import (
    ClientView,
    CloseManagement,
    Output,
    RoleChanged,
    Roster,
    WriteManagement,
)
from ovpnha.node.role.promotion import PromotionStatistics
from ovpnha.node.statistics import InstanceStatistics, NodeStatistics
from ovpnha.runtime.driver import Driver, Ports

DEADLINE = 10.0
EPOCH = Epoch(7, NodeName("a"))


@pytest.fixture
def logs_as_before() -> Iterator[None]:
    """Whatever a test makes of structlog and of the libraries' logs, the next one has neither."""
    before, handlers = structlog.get_config(), logging.root.handlers[:]
    yield
    structlog.configure(**before)
    logging.root.handlers[:] = handlers


@pytest.fixture
def logged() -> Iterator[list[MutableMapping[str, Any]]]:
    """Everything that is logged, as dictionaries."""
    with structlog.testing.capture_logs() as entries:
        yield entries


@pytest.fixture
def until() -> Callable[[Callable[[], object]], Coroutine[Any, Any, None]]:
    """``await until(lambda: …)``: give the loop its turns until it holds, or fail."""

    async def wait(holds: Callable[[], object]) -> None:
        async with asyncio.timeout(DEADLINE):
            while not holds():  # noqa: ASYNC110 - what is waited for has no event
                await asyncio.sleep(0.005)

    return wait


@pytest.fixture
def statistics() -> NodeStatistics:
    """A node that is master of one instance and sees one other node."""
    other = NodeView(
        NodeName("b"), True, 0.2, Role.STANDBY, EPOCH, False, Sync.IN_SYNC, 90, 2, None
    )
    instance = InstanceStatistics(
        name=InstanceName("udp"),
        role=Role.MASTER,
        epoch=EPOCH,
        sync=Sync.NONE,
        vip=True,
        clients=3,
        openvpn=OpenvpnStatistics(management_up=True, counters={"exports": 5}),
        discovery=DiscoveryStatistics("2.6.14", seamless=True),
        announcer=AnnouncerStatistics(120, "master"),
        exporter=ExporterStatistics(protected=2, oldest_unprotected=0.5),
        promotion=PromotionStatistics(1, 1.0, {"promoted": 0.0042}),
        nodes=(other,),
    )
    return NodeStatistics(
        node=NodeName("a"),
        boot="00ff",
        uptime=12.5,
        links={"bcn0": True},
        instances=(instance,),
        received={"hello": 4},
        sent={"hello": 5},
        refused={"seal": 6},
        bytes_received={"hello": 400},
        bytes_sent={"hello": 500},
        resyncs=0,
        nacks=0,
        repaired=0,
        differences=0,
        oversized=0,
    )


class NotingCore(Node):
    """A core that takes notes and does what ``reactions`` say."""

    def __init__(self, statistics: NodeStatistics) -> None:
        self.notes: list[tuple[Any, ...]] = []
        self.outputs: deque[Output] = deque()
        self.timer: float | None = None
        self.reactions: dict[str, Callable[[], None]] = {}
        self.snapshot = statistics
        self.listed: tuple[ServerClient, ...] = ()
        self.tabled: tuple[ClientView, ...] = ()
        self.told = Roster(0, ())
        self.promises = True  # a VIP may be promised

    def become(self, role: Role) -> None:
        """Change the role of the instance and say so."""
        old = self.snapshot.instances[0]
        self.snapshot = replace(self.snapshot, instances=(replace(old, role=role),))
        self.outputs.append(RoleChanged(old.name, old.role, role, EPOCH, "told to"))

    def _note(self, *note: Any) -> None:
        self.notes.append(note)
        self.reactions.get(note[0], lambda: None)()

    def management_up(self, instance: InstanceName, now: float) -> None:
        self._note("management_up", instance)

    def management_down(self, instance: InstanceName, reason: str, now: float) -> None:
        self._note("management_down", instance, reason)

    def management_unreachable(self, instance: InstanceName, why: Unreachable, now: float) -> None:
        self._note("management_unreachable", instance, why)

    def receive_management(self, instance: InstanceName, data: bytes, now: float) -> None:
        self._note("receive_management", instance, data)

    def receive_datagrams(self, batch: Sequence[bytes], link: str, now: float) -> None:
        self._note("receive_datagrams", *batch, link)

    def vip_changed(
        self, instance: InstanceName, present: bool, now: float, _why: str = ""
    ) -> None:
        self._note("vip_changed", instance, present)

    def vip_placed(self, instance: InstanceName, place: VipPlace, now: float) -> None:
        self._note("vip_placed", instance, place)

    def grade_read(self, instance: InstanceName, read: bool, now: float) -> None:
        self._note("grade_read", instance, read)

    def link_changed(self, link: str, up: bool, now: float) -> None:
        self._note("link_changed", link, up)

    def ask_promote(
        self, instance: InstanceName, expect_vip: float, now: float, *, unfenced: bool = False
    ) -> bool:
        self._note("ask_promote", instance, expect_vip, *["unfenced"] * unfenced)
        return self.promises

    def ask_demote(self, instance: InstanceName, now: float) -> None:
        self._note("ask_demote", instance)

    def ask_renegotiate(
        self, instance: InstanceName, uid: Uid | None, rate: float, now: float
    ) -> None:
        self._note("ask_renegotiate", instance, uid, rate)

    def use_keys(
        self, keys: Sequence[bytes], cookie_keys: Mapping[InstanceName, bytes], now: float
    ) -> None:
        self._note("use_keys", len(keys), tuple(cookie_keys))

    def get_timer(self) -> float | None:
        return self.timer

    def handle_timer(self, now: float) -> None:
        self.timer = None
        self._note("handle_timer")

    def next_output(self) -> Output | None:
        return self.outputs.popleft() if self.outputs else None

    def statistics(self, now: float) -> NodeStatistics:
        return self.snapshot

    def clients(self, instance: InstanceName) -> tuple[ServerClient, ...]:
        return self.listed

    def table(self, instance: InstanceName, now: float) -> tuple[ClientView, ...]:
        return self.tabled

    def ask_clients(self, instance: InstanceName, now: float) -> None:
        self._note("ask_clients", instance)

    def roster(self, instance: InstanceName, now: float) -> Roster:
        return self.told

    def stop(self, now: float) -> None:
        self._note("stop")


@pytest.fixture
def core(statistics: NodeStatistics) -> NotingCore:
    return NotingCore(statistics)


class NotedPorts:
    """What left the driver, in order."""

    def __init__(self) -> None:
        self.out: list[Any] = []

    def write_management(self, what: WriteManagement) -> None:
        self.out.append(("management", what.instance, what.data))

    def close_management(self, what: CloseManagement) -> None:
        self.out.append(("close", what.instance, what.reason))

    def send_datagram(self, data: bytes, link: str | None) -> None:
        self.out.append(("datagram", data, link))

    def note(self, output: Output) -> None:
        self.out.append(output)


@pytest.fixture
def ports() -> NotedPorts:
    return NotedPorts()


@pytest.fixture
def driver(core: Any, ports: Any) -> Driver:
    """It drives the noting core, and writes into the noting ports."""
    return Driver(
        core,
        Ports(
            write_management=ports.write_management,
            close_management=ports.close_management,
            send_datagram=ports.send_datagram,
            openvpn_found=ports.note,
            set_grade=ports.note,
            role_changed=ports.note,
        ),
    )
