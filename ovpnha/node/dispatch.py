"""Which part of an instance takes which event: one table for each of the two sources.

Decides nothing else. What concerns the role itself goes to the instance; an event of another node
goes to the parts that listen to that node now. Where several parts take an event, they do so in the
order of the table.
"""

from __future__ import annotations

from collections.abc import Mapping

from ovpnha.errors import ManagementError, PasswordAsked
from ovpnha.management import commands, notices, replies
from ovpnha.model import CounterKind
from ovpnha.node.instance import Instance
from ovpnha.node.part import Part
from ovpnha.problems import Problem, ProblemKind
from ovpnha.replication import events

SourceEvent = events.Acknowledged | events.Rejected
CopyEvent = (
    events.GenerationHeard
    | events.RecordReceived
    | events.RecordWithdrawn
    | events.CountersReceived
    | events.RenegotiationHeard
)
StandbyEvent = CopyEvent | events.SnapshotEnded | events.CopyProved
RecordEvent = SourceEvent | CopyEvent
"""What another node says of clients alone."""

OF_CLIENTS = frozenset(
    {
        notices.ChangedNotice,
        notices.DownNotice,
        notices.CountersNotice,
        notices.RekeyedNotice,
        notices.RenegotiationNotice,
        notices.StaleNotice,
        notices.CappedNotice,
        replies.ExportReply,
        replies.ImportReply,
        replies.UpdateReply,
        replies.RoomReply,
        replies.IdentitiesReply,
        replies.ClientStatusReply,
    }
)
"""What OpenVPN says of clients alone: it changes no role but of a node that waits for a copy."""

Takers = tuple[Part | Instance, ...]
Table = Mapping[type, Takers]

LOCK_FIX = (
    "remove the file from its management option: the socket lets in nobody but whom "
    "management-client-user and -group name"
)


class Dispatch:
    """The tables of one instance."""

    def __init__(self, instance: Instance) -> None:
        self._instance = instance
        self._parts = instance.parts
        self._management = _make_management(instance)
        self._refused = _make_refused(instance)

    def take_bytes(self, data: bytes, now: float) -> bool:
        """Bytes of the management channel; what breaks its contract costs the connection only.

        Returns whether they tell of clients alone, so that the role need not be looked at anew.
        """
        problem, alone = "", True
        self._parts.liveness.hear(now)
        try:
            self._parts.openvpn.receive_untrusted(data)
        except PasswordAsked as asked:
            alone = False
            password = ProblemKind.MANAGEMENT_PASSWORD
            self._instance.give_up(Problem(password, str(asked), LOCK_FIX), now)
        except ManagementError as error:
            problem = str(error)
        while (event := self._parts.openvpn.next_event()) is not None:
            alone = alone and _is_of_clients(event)
            for one in self._find(event):
                one.take(event, now)
        if problem:
            self._instance.reset(problem, now)
        return alone and not problem

    def take_backchannel(self, event: StandbyEvent | SourceEvent, now: float) -> None:
        """One event of the replication that concerns this instance."""
        parts = self._parts
        if parts.stock.active:
            if event.node == parts.stock.following:
                parts.stock.take(event, now)
        elif isinstance(event, SourceEvent):
            parts.exporter.take(event, now)
        elif event.node == parts.importer.following:
            counters = isinstance(event, events.CountersReceived)
            (parts.counter_relay if counters else parts.importer).take(event, now)
        elif event.node in (parts.predecessor.following, parts.successor.following):
            self._overhear(event, now)
        else:
            parts.openvpn.counters["events_late"] += 1

    def _overhear(self, event: StandbyEvent, now: float) -> None:
        """This node is no standby: of the other one it takes what that has received, no more."""
        parts = self._parts
        if isinstance(event, events.CountersReceived):
            if event.kind is CounterKind.HIGH_WATER:
                parts.counter_relay.take(event, now)
        elif event.node == parts.successor.following:
            parts.successor.take(event, now)

    def _find(self, event: notices.Notice | replies.Reply) -> Takers:
        if isinstance(event, replies.Refused):
            return self._refused.get(type(event.command), (self._parts.openvpn,))
        if isinstance(event, replies.ListReply) and not self._parts.discovery.settled:
            return (self._parts.discovery,)
        return self._management[type(event)]


def _is_of_clients(event: notices.Notice | replies.Reply) -> bool:
    if isinstance(event, replies.Done):
        return not isinstance(event.command, commands.Hold)
    return type(event) in OF_CLIENTS


def _make_management(instance: Instance) -> Table:
    parts = instance.parts
    openvpn, discovery, presence = parts.openvpn, parts.discovery, parts.presence
    exporter, importer, rekey = parts.exporter, parts.importer, parts.rekey
    return {
        notices.RoleNotice: (instance, parts.apart),
        notices.EndNotice: (instance,),
        notices.ChangedNotice: (exporter, rekey, parts.reconnecting),
        notices.DownNotice: (importer, rekey, parts.reconnecting, presence, exporter),
        notices.CountersNotice: (exporter,),
        notices.RekeyedNotice: (rekey,),
        notices.RenegotiationNotice: (exporter,),
        notices.StaleNotice: (exporter,),
        notices.CappedNotice: (openvpn,),
        notices.ApartNotice: (parts.apart,),
        notices.HoldNotice: (openvpn,),
        notices.NeedNotice: (openvpn,),
        notices.FatalNotice: (openvpn,),
        notices.WaitingNotice: (discovery, parts.sharing),
        notices.OtherNotice: (),
        replies.StatusReply: (openvpn, discovery, parts.vip_problems, parts.sharing, parts.apart),
        replies.HandshakesReply: (parts.sharing,),
        # Of an OpenVPN whose role has been taken up; before, discovery waits for it.
        replies.ListReply: (parts.promotion, rekey, presence, exporter),
        replies.ExportReply: (exporter,),
        replies.ImportReply: (importer,),
        replies.UpdateReply: (parts.counter_relay,),
        replies.PromoteReply: (parts.promotion, openvpn),
        replies.DemoteReply: (openvpn, importer),
        replies.Done: (openvpn, importer, parts.sharing),
        replies.LoadStatsReply: (discovery, parts.traffic),
        replies.RoomReply: (parts.traffic,),
        replies.IdentitiesReply: (presence, parts.farewell),
        replies.ClientStatusReply: (presence, parts.traffic, parts.stock, parts.farewell),
        replies.VersionReply: (discovery,),
    }


def _make_refused(instance: Instance) -> Table:
    """By the command that OpenVPN has refused; nothing depends on any other."""
    parts = instance.parts
    return {
        commands.Status: (instance,),
        commands.Promote: (instance,),
        commands.Hold: (instance,),
        commands.Demote: (instance,),
        commands.Export: (parts.exporter,),
        commands.Import: (parts.importer,),
        commands.Drop: (parts.openvpn, parts.importer),
        commands.Update: (parts.counter_relay,),
        commands.Cookie: (parts.discovery, parts.openvpn),
        commands.PassOn: (parts.sharing, parts.openvpn),
        commands.Take: (parts.sharing, parts.openvpn),
        commands.SetSilence: (parts.sharing, parts.openvpn),
        commands.Handshakes: (parts.sharing, parts.openvpn),
    }
