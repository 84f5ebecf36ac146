"""One OpenVPN as its node speaks to it: commands out, notices and replies in.

Decides only that the commands of one step leave in one write, an order about the role at once. The
one place that knows the holder id: OpenVPN names it, and draws another when it demotes. Without a
connection commands are dropped: the next connection begins with ``cluster-status`` and
``cluster-list``.
"""

from __future__ import annotations

import math
from collections import Counter, deque
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from ovpnha.management.channel import Channel
from ovpnha.management.commands import Command, Demote, Hold, Promote, Quiesce, ReleaseHold
from ovpnha.management.notices import CappedNotice, FatalNotice, HoldNotice, NeedNotice, Notice
from ovpnha.management.replies import DemoteReply, Done, PromoteReply, Refused, Reply, StatusReply
from ovpnha.model import HolderId, InstanceName
from ovpnha.node.carried import CarriedCounts
from ovpnha.node.outputs import CloseManagement, LogEvent, Output, WriteManagement
from ovpnha.node.part import Part, PartStatistics

QUIESCE_FOR = 5
"""Seconds for which no handshake begins, at most: a switchover, and one that is under way, take
less. A client whose first packet is not answered sends it again after one or two."""


@dataclass(frozen=True)
class OpenvpnStatistics(PartStatistics):
    """The channel, and what happened in the whole instance."""

    management_up: bool
    counters: Mapping[str, int]  # imports, imports_refused, exports, capped, stale_ranges, ...


class Openvpn(Part):
    """The management channel of one instance, and the outputs of everything about it."""

    def __init__(self, instance: InstanceName, outputs: deque[Output]) -> None:
        self.instance = instance
        self.holder: HolderId | None = None  # None: not known, or being drawn anew
        self.unanswered = 0  # orders about its role
        self.carried_out_at = -math.inf  # when it answered the last one that it carried out
        self.closing = False  # we have asked for the end of this connection
        self.counters: Counter[str] = Counter()
        self._carried = CarriedCounts()  # what OpenVPN counts itself
        self._outputs = outputs
        self._channel: Channel | None = None
        self._unwritten = bytearray()
        self._behind: Command | None = None  # the next order
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
        self.closing = False
        self._unwritten.clear()
        self._warned.clear()

    def close(self) -> None:
        """The connection is gone, and what was not answered never will be."""
        self._channel = None
        self._unwritten.clear()
        self.holder = None

    def hang_up(self, reason: str) -> None:
        """This connection is of no more use; ``close`` follows."""
        self.put(CloseManagement(self.instance, reason))
        self.closing = True

    def stop(self, _now: float) -> None:
        """It may be another process now."""
        self.holder = None
        self.unanswered = 0
        self._behind = None

    def take(self, event: object, now: float) -> None:
        """What concerns the channel itself, and the id of this process."""
        match event:
            case StatusReply(status=status):
                self.holder = status.holder
                rise = self._carried.rise
                self.counters["waits_lapsed"] += rise("lapses", status.lapses)
                self.counters["waits_in_vain"] += rise("unreleased", status.unreleased)
            case DemoteReply(holder=holder):
                self.unanswered -= 1
                self.holder = holder
            case PromoteReply() | Done(command=Hold()):
                self.unanswered -= 1
                self.carried_out_at = now
            case Refused(command=Quiesce()):
                pass  # an older release knows no such command: handshakes begin as they ever did
            case Refused(command=command, reason=reason):
                self._note_refusal(command.name, reason)
            case HoldNotice():
                self.send(ReleaseHold())
            case NeedNotice(kind=kind, option=option):
                self._warn_of_need(kind, option)
            case FatalNotice(text=text):
                self.log("error", "openvpn ends", reason=text)
            case CappedNotice(uid=uid):
                self.counters["capped"] += 1
                self.log("warning", "no packet ids left", uid=uid.hex())

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

    def compose(self, command: Command) -> bytes | None:
        """The bytes of a command that the shell writes with something else, after all else."""
        self.flush()
        return self._channel.send(command) if self._channel is not None else None

    def statistics(self, _now: float) -> OpenvpnStatistics:
        """Whether there is a connection, and all counters."""
        return OpenvpnStatistics(self.connected, MappingProxyType(dict(self.counters)))

    def order(self, order: Promote | Hold | Demote) -> None:
        """Tell OpenVPN its role, before anything else is done."""
        self.unanswered += 1
        if isinstance(order, Demote):
            self.holder = None
        self.send(order)
        if self._behind is not None:
            self.send(self._behind)
            self._behind = None
        self.flush()

    def follow(self, command: Command) -> None:
        """Have this leave in one write with the next order, behind it: both are read at once."""
        self._behind = command

    def quiesce(self, *, on: bool) -> None:
        """Have it begin no handshake and no renegotiation for ``QUIESCE_FOR``, or let it again."""
        self.send(Quiesce(QUIESCE_FOR if on else 0))

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

    def _note_refusal(self, command: str, reason: str) -> None:
        """OpenVPN has refused something that nothing depends on: say once why."""
        self.counters["commands_refused"] += 1
        if command not in self._warned:
            self._warned.add(command)
            self.log("warning", "openvpn refused a command", command=command, reason=reason)

    def _warn_of_need(self, kind: str, option: str) -> None:
        """OpenVPN wants an answer that ovpnha does not give: say once which option is to blame."""
        if kind not in self._warned:
            self._warned.add(kind)
            self.log(
                "warning", "openvpn asks what ovpnha does not answer", kind=kind, remove=option
            )
