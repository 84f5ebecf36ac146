"""The channels to all OpenVPN processes of this machine, one or two for each instance.

Decides whose bytes, end and descriptors are whose. What one process passes on goes to the other in
the same call in which the core orders it, and stays open nowhere here, whatever fails.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import structlog

from ovpnha.config import Config
from ovpnha.machines import Process, SparePolicy
from ovpnha.model import InstanceName, Unreachable
from ovpnha.node.outputs import CloseManagement, EndProcess, PassDescriptors, WriteManagement
from ovpnha.node.pair import Pair
from ovpnha.runtime.driver import Core
from ovpnha.runtime.management import ManagementChannel

Step = Callable[[Callable[[Core, float], None]], None]

log = structlog.get_logger()


class Channels:
    """``step`` gives the core an event, and ``gone`` hears of a connection that has ended."""

    def __init__(
        self, config: Config, step: Step, gone: Callable[[InstanceName], None] = lambda _name: None
    ) -> None:
        self._step = step
        self._gone = gone
        self._channels: dict[tuple[InstanceName, Process], ManagementChannel] = {}
        for one in config.instance:
            name, spare = InstanceName(one.name), config.spare_of(one)
            paired = config.watches_spare(one)
            self._add(name, Process.MAIN, one.management, paired=paired, expected=True)
            if paired:
                expected = spare is SparePolicy.ALWAYS
                self._add(name, Process.SPARE, one.spare_socket, paired=True, expected=expected)

    def run(self) -> Iterator[Coroutine[Any, Any, None]]:
        """What keeps each of them connected."""
        return (channel.run() for channel in self._channels.values())

    def write(self, what: WriteManagement) -> None:
        """To the process that it is for."""
        self._channels[what.instance, what.process].write(what.data)

    def close(self, what: CloseManagement) -> None:
        """Connect anew."""
        self._channels[what.instance, what.process].close(what.reason)

    def pass_on(self, what: PassDescriptors) -> None:
        """Give the one what the other has sent; without it, the one is asked anew what it needs."""
        pair = self._channels[what.instance, what.source].take_descriptors()
        target = self._channels[what.instance, what.target]
        if pair is None:
            target.close("there are no descriptors to pass on")
        else:
            target.write(what.data, pair)

    def end(self, what: EndProcess) -> None:
        """End a process that does not answer, or whose connection has ended."""
        name = {"instance": what.instance, "process": what.process.value, "reason": what.reason}
        problem = _end(self._channels[what.instance, what.process])
        if problem:
            pid = self.peer(what.instance, what.process)
            fix = f"give the sidecar CAP_KILL, as ovpnha.service has; now: kill -9 {pid or 'PID'}"
            log.error("openvpn process not ended", problem=problem, fix=fix, **name)
        else:
            log.warning("openvpn process ended", **name)

    def peer(self, instance: InstanceName, process: Process = Process.MAIN) -> int:
        """The number of the process that is connected; 0 when none is, or none of ours."""
        channel = self._channels.get((instance, process))
        return channel.peer if channel is not None else 0

    def is_connected(self, instance: InstanceName, process: Process) -> bool:
        """Whether there is a connection to that process."""
        return self._channels[instance, process].connected

    def _add(
        self, name: InstanceName, process: Process, path: Path, *, paired: bool, expected: bool
    ) -> None:
        tell = _OfOne(self._step, name, process, self._gone)
        self._channels[name, process] = ManagementChannel(
            path,
            up=tell.up,
            down=tell.down,
            received=tell.received,
            missed=tell.missed,
            ended=tell.ended if paired else lambda _pid: None,
            exclusive=paired,
            expected=expected,
        )


class _OfOne:
    """What the channel of one process tells the core."""

    def __init__(
        self,
        step: Step,
        name: InstanceName,
        process: Process,
        gone: Callable[[InstanceName], None],
    ) -> None:
        self._step = step
        self._gone = gone
        self._name = name
        self._process = process

    def up(self) -> None:
        self._tell(lambda core, now, *which: core.management_up(self._name, now, *which))

    def down(self, why: str) -> None:
        self._tell(lambda core, now, *which: core.management_down(self._name, why, now, *which))
        self._gone(self._name)

    def received(self, data: bytes) -> None:
        self._tell(lambda core, now, *which: core.receive_management(self._name, data, now, *which))

    def missed(self, why: Unreachable) -> None:
        self._tell(
            lambda core, now, *which: core.management_unreachable(self._name, why, now, *which)
        )

    def ended(self, pid: int) -> None:
        told = {"instance": self._name, "process": self._process.value, "pid": pid}
        log.info("openvpn process has ended", **told)
        self._step(partial(_tell_end, self._name, self._process))

    def _tell(self, event: Callable[..., None]) -> None:
        """A node that has no second process is not told which one it is."""
        which = () if self._process is Process.MAIN else (self._process,)
        self._step(lambda core, now: event(core, now, *which))


def _end(channel: ManagementChannel) -> str:
    """End its process; returns why that is not possible, or nothing."""
    try:
        channel.end()
    except OSError as error:
        return error.strerror or "unknown"
    return ""


def _tell_end(name: InstanceName, process: Process, core: Core, now: float) -> None:
    if isinstance(core, Pair):
        core.process_ended(name, process, now)
