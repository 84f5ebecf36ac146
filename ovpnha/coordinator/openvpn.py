"""One OpenVPN as the coordinator speaks to it: commands out, notices and replies in.

Decides only that the commands of one step leave in one write. Without a connection commands are
dropped: whoever connects begins with ``cluster-status`` and ``cluster-list``.
"""

from __future__ import annotations

from collections import Counter, deque

from ovpnha.coordinator.outputs import LogEvent, Output, WriteManagement
from ovpnha.management.channel import Channel
from ovpnha.management.commands import Command
from ovpnha.management.notices import Notice
from ovpnha.management.replies import Reply
from ovpnha.model import HolderId, InstanceName


class Openvpn:
    """The management channel of one instance, and the outputs of everything about it."""

    def __init__(self, instance: InstanceName, outputs: deque[Output]) -> None:
        self.instance = instance
        self.holder: HolderId | None = None  # None: not known, or being drawn anew
        self.counters: Counter[str] = Counter()
        self._outputs = outputs
        self._channel: Channel | None = None
        self._unwritten = bytearray()
        self._warned: set[str] = set()

    @property
    def connected(self) -> bool:
        """Whether there is a connection."""
        return self._channel is not None

    @property
    def unfinished(self) -> bool:
        """Whether OpenVPN's bytes so far end within a line or within a reply."""
        return self._channel is not None and self._channel.unfinished

    def open(self) -> None:
        """A new connection."""
        self._channel = Channel()
        self._unwritten.clear()
        self._warned.clear()

    def close(self) -> None:
        """The connection is gone, and what was not answered never will be."""
        self._channel = None
        self._unwritten.clear()
        self.holder = None

    def receive_untrusted(self, data: bytes) -> None:
        """Take what was read; ManagementError when the connection is of no more use."""
        if self._channel is not None:
            self._channel.receive_untrusted(data)

    def next_event(self) -> Notice | Reply | None:
        """The next notice or reply."""
        return self._channel.next_event() if self._channel is not None else None

    def send(self, command: Command) -> None:
        """Order something; it leaves with the next flush."""
        if self._channel is not None:
            self._unwritten += self._channel.send(command)

    def flush(self) -> None:
        """Write what was ordered, at once."""
        if self._unwritten:
            self._outputs.append(WriteManagement(self.instance, bytes(self._unwritten)))
            self._unwritten.clear()

    def put(self, output: Output) -> None:
        """Ask the shell for something else."""
        self._outputs.append(output)

    def log(self, level: str, event: str, **fields: object) -> None:
        """Tell of a decision, in a constant phrase with keys."""
        self._outputs.append(LogEvent(level, event, {"instance": self.instance, **fields}))

    def command_refused(self, command: str, reason: str) -> None:
        """OpenVPN has refused something that nothing depends on: say once why."""
        self.counters["commands_refused"] += 1
        if command not in self._warned:
            self._warned.add(command)
            self.log("warning", "openvpn refused a command", command=command, reason=reason)

    def warn_of_need(self, kind: str, option: str) -> None:
        """OpenVPN wants an answer that ovpnha does not give: say once which option is to blame."""
        if kind not in self._warned:
            self._warned.add(kind)
            self.log(
                "warning", "openvpn asks what ovpnha does not answer", kind=kind, remove=option
            )
