"""Drives the pure core: feeds it events with the time, carries its outputs out, keeps its timer.

Decides only the order within one step: what OpenVPN and the other nodes must hear goes out first,
in the core's own order; grades, hooks and log lines follow. No task switch lies between the
event that promotes this node and the bytes that promote its OpenVPN.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass, replace

import structlog

from ovpnha import __version__
from ovpnha.model import InstanceName, NodeName, ServerClient
from ovpnha.node.cluster.obstacles import SwitchPlan
from ovpnha.node.cluster.switchover import SwitchFigures
from ovpnha.node.moving import RestartFigures
from ovpnha.node.node import Node
from ovpnha.node.outputs import (
    ClientView,
    CloseManagement,
    EndProcess,
    HistoryChanged,
    KeepPool,
    LogEvent,
    OpenvpnFound,
    Output,
    PassDescriptors,
    ProbeClients,
    Remember,
    RoleChanged,
    Roster,
    RunFence,
    SendDatagram,
    SetGrade,
    WriteManagement,
)
from ovpnha.node.pair import Pair
from ovpnha.node.statistics import NodeStatistics, TrackingFigures
from ovpnha.replication.history import HistoryEntry

Core = Node | Pair

log = structlog.get_logger()


@dataclass(frozen=True)
class Ports:
    """Where outputs go. None of these may wait, nor call back into the driver."""

    write_management: Callable[[WriteManagement], None]
    close_management: Callable[[CloseManagement], None]
    send_datagram: Callable[[bytes, str | None], None]
    openvpn_found: Callable[[OpenvpnFound], None]
    set_grade: Callable[[SetGrade], None]
    role_changed: Callable[[RoleChanged], None]
    pass_descriptors: Callable[[PassDescriptors], None] = lambda _what: None
    end_process: Callable[[EndProcess], None] = lambda _what: None
    history_changed: Callable[[HistoryChanged], None] = lambda _change: None
    remember: Callable[[Remember], None] = lambda _what: None
    fence: Callable[[RunFence], None] = lambda _wanted: None
    keep_pool: Callable[[KeepPool], None] = lambda _what: None
    probe_clients: Callable[[ProbeClients], None] = lambda _what: None
    dropped: Callable[[], int] = lambda: 0
    """Datagrams that the kernel threw away before anyone could refuse them."""
    tracking: Callable[[], TrackingFigures | None] = lambda: None
    """What is known of conntrackd."""
    firewall: Callable[[], str | None] = lambda: None
    """What is wrong with the nftables table that we keep; None when we keep none."""
    newer_source: Callable[[], str | None] = lambda: None
    """What ``SourceWatcher`` has found."""


class Driver:
    """The only one who calls the core."""

    def __init__(
        self, core: Core, ports: Ports, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._core = core
        self._ports = ports
        self._clock = clock
        self._timer: asyncio.TimerHandle | None = None
        self._stopped = False
        self._step_done = asyncio.Event()

    def step(self, event: Callable[[Core, float], None]) -> None:
        """Let the core take one event, then carry out all that follows from it."""
        if self._stopped:
            return
        now = self._clock()
        event(self._core, now)
        self._carry_out(now)
        self._rearm()
        self._step_done.set()
        self._step_done = asyncio.Event()

    async def next_step(self) -> None:
        """Wait until the core has taken another event."""
        await self._step_done.wait()

    def statistics(self) -> NodeStatistics:
        """The core's snapshot of this moment, with what the kernel refused for it."""
        snapshot = self._core.statistics(self._clock())
        dropped = self._ports.dropped()
        refused = {**snapshot.refused, "kernel": dropped} if dropped else snapshot.refused
        ports = self._ports
        return replace(
            snapshot,
            refused=refused,
            tracking=ports.tracking(),
            firewall=ports.firewall(),
            newer_source=ports.newer_source(),
            ovpnha=__version__,
        )

    def clients(self, instance: InstanceName) -> tuple[ServerClient, ...]:
        """Each client of an instance, as OpenVPN last told."""
        return self._core.clients(instance)

    def table(self, instance: InstanceName) -> tuple[ClientView, ...]:
        """Each client that a master or held instance has now, by its uid."""
        return self._core.table(instance, self._clock())

    def roster(self, instance: InstanceName) -> Roster:
        """Who is connected, as OpenVPN told when it was last asked."""
        return self._core.roster(instance, self._clock())

    def history(self) -> tuple[HistoryEntry, ...]:
        """Every change of a role that this node knows of, the oldest first."""
        return self._core.history()

    def plan_switchover(self, instance: InstanceName, target: NodeName | None) -> SwitchPlan:
        """What a switchover would do now, and what stands against it."""
        return self._core.plan_switchover(instance, target, self._clock())

    def switchover(self, instance: InstanceName, number: bytes) -> SwitchFigures | None:
        """What has become of that request of this node."""
        return self._core.switchover(instance, number)

    def restart_figures(self, instance: InstanceName) -> RestartFigures | None:
        """Both processes of an instance, and the last planned move; None: there is one only."""
        core = self._core
        return core.restart_figures(instance, self._clock()) if isinstance(core, Pair) else None

    def stop(self) -> None:
        """Say goodbye; nothing is fed to the core any more."""
        self.step(lambda core, now: core.stop(now))
        self._stopped = True
        if self._timer is not None:
            self._timer.cancel()

    def _carry_out(self, now: float) -> None:
        later: list[Output] = []
        while (output := self._core.next_output()) is not None:
            match output:
                case WriteManagement():
                    self._ports.write_management(output)
                case CloseManagement():
                    self._ports.close_management(output)
                case PassDescriptors():
                    self._ports.pass_descriptors(output)
                case EndProcess():
                    self._ports.end_process(output)
                case SendDatagram(data, link):
                    self._ports.send_datagram(data, link)
                case KeepPool():  # before OpenVPN is told to read it
                    self._ports.keep_pool(output)
                case _:
                    later.append(output)
        written = self._clock() if later else now
        for output in later:
            self._tell(output, now, written)

    def _tell(self, output: Output, now: float, written: float) -> None:
        match output:
            case OpenvpnFound():
                self._ports.openvpn_found(output)
            case SetGrade():
                self._ports.set_grade(output)
                _log("info", "grade", now, _public(output))
            case RoleChanged():
                self._ports.role_changed(output)
                _log("info", "role changed", now, {**_public(output), "written": written})
            case RunFence():
                self._ports.fence(output)
            case ProbeClients():
                self._ports.probe_clients(output)
            case Remember():
                self._ports.remember(output)
            case HistoryChanged():
                self._ports.history_changed(output)
            case LogEvent(level, event, fields):
                _log(level, event, now, dict(fields))

    def _rearm(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        when = self._core.get_timer()
        if when is not None:
            delay = max(0.0, when - self._clock())
            self._timer = asyncio.get_running_loop().call_later(delay, self._timer_due)

    def _timer_due(self) -> None:
        self._timer = None
        self.step(lambda core, now: core.handle_timer(now))


def _log(level: str, event: str, now: float, fields: dict[str, object]) -> None:
    """``monotonic`` is when it was decided; ``written``, when the bytes it led to had left."""
    getattr(log, level)(event, **{"monotonic": now, **fields})


def _public(output: SetGrade | RoleChanged) -> dict[str, object]:
    if isinstance(output, SetGrade):
        return {"instance": output.instance, "grade": output.grade, "reason": output.reason}
    return {
        "instance": output.instance,
        "old": output.old.value,
        "new": output.new.value,
        "epoch": str(output.epoch),
        "reason": output.reason,
    }
