"""Which part of an instance takes which event. Decides nothing else."""

from __future__ import annotations

from ovpnha.coordinator.instance import Instance
from ovpnha.errors import ManagementError
from ovpnha.management import commands, notices, replies
from ovpnha.replication import events

StandbyEvent = (
    events.GenerationHeard
    | events.RecordReceived
    | events.RecordWithdrawn
    | events.SnapshotEnded
    | events.CountersReceived
    | events.RenegotiationHeard
)

SourceEvent = events.Acknowledged | events.Rejected


def take_bytes(instance: Instance, data: bytes, now: float) -> None:
    """Bytes of the management channel; what breaks its contract costs the connection only."""
    problem = ""
    instance.pulse.hear(now)
    try:
        instance.openvpn.receive_untrusted(data)
    except ManagementError as error:
        problem = str(error)
    while (event := instance.openvpn.next_event()) is not None:
        _take_management(instance, event, now)
    if problem:
        instance.reset(problem, now)


def take_backchannel(instance: Instance, event: StandbyEvent | SourceEvent, now: float) -> None:
    """One event of the replication that concerns this instance."""
    match event:
        case events.Acknowledged(node=node, uid=uid, generation=generation, stored=stored):
            instance.exporter.acknowledged(node, uid, generation, stored, now)
        case events.Rejected(node=node, uid=uid, generation=generation, reason=reason):
            instance.exporter.rejected(node, uid, generation, reason, now)
        case _ if event.node == instance.importer.following:
            _take_as_standby(instance, event, now)
        case _:
            instance.openvpn.counters["events_late"] += 1


def _take_as_standby(instance: Instance, event: StandbyEvent, now: float) -> None:
    importer = instance.importer
    match event:
        case events.GenerationHeard(uid=uid, generation=generation):
            importer.hear_generation(uid, generation)
        case events.RecordReceived(record=record):
            importer.take_record(record, now)
        case events.RecordWithdrawn(uid=uid):
            importer.withdraw(uid, now)
        case events.SnapshotEnded(clients=clients):
            importer.end_snapshot(clients, now)
        case events.CountersReceived(kind=kind, payload=payload):
            importer.take_counters(kind, payload)
        case _:
            instance.openvpn.counters["renegotiations_heard"] += 1
            instance.rekey.hear(event.uid, event.generation or importer.table.heard(event.uid))


def _take_management(instance: Instance, event: notices.Notice | replies.Reply, now: float) -> None:
    match event:
        case notices.RoleNotice():
            instance.take_role_notice(event, now)
        case notices.ChangedNotice() | notices.DownNotice() | notices.CountersNotice():
            _take_client_news(instance, event, now)
        case notices.RekeyedNotice(uid=uid):
            instance.rekey.rekeyed(uid)
        case notices.RenegotiationNotice() | notices.StaleNotice() | notices.CappedNotice():
            _take_key_news(instance, event, now)
        case notices.HoldNotice():
            instance.openvpn.send(commands.ReleaseHold())
        case notices.NeedNotice(kind=kind, option=option):
            instance.openvpn.warn_of_need(kind, option)
        case notices.FatalNotice(text=text):
            instance.openvpn.log("error", "openvpn ends", reason=text)
        case notices.OtherNotice():
            pass
        case _:
            _take_reply(instance, event, now)


def _take_client_news(
    instance: Instance,
    notice: notices.ChangedNotice | notices.DownNotice | notices.CountersNotice,
    now: float,
) -> None:
    match notice:
        case notices.ChangedNotice():
            instance.exporter.take_changed(notice, now)
        case notices.DownNotice(uid=uid):
            instance.rekey.leave(uid)
            instance.exporter.take_down(uid, now)
        case _:
            instance.exporter.take_counters(notice, now)


def _take_key_news(
    instance: Instance,
    notice: notices.RenegotiationNotice | notices.StaleNotice | notices.CappedNotice,
    now: float,
) -> None:
    match notice:
        case notices.RenegotiationNotice():
            instance.exporter.take_renegotiation(notice, now)
        case notices.StaleNotice():
            instance.exporter.take_stale(notice, now)
        case _:
            instance.openvpn.counters["capped"] += 1
            instance.openvpn.log("warning", "no packet ids left", uid=notice.uid.hex())


def _take_reply(instance: Instance, reply: replies.Reply, now: float) -> None:
    match reply:
        case replies.ExportReply():
            instance.exporter.exported(reply, now)
        case replies.ImportReply():
            instance.importer.imported(reply, now)
        case replies.UpdateReply():
            instance.importer.updated(reply)
        case replies.Refused():
            _take_refusal(instance, reply, now)
        case replies.Done(command=commands.Hold()):
            instance.order_done()
        case replies.PromoteReply():
            instance.promotion.reach("promoted", now)
            instance.order_done()
        case replies.DemoteReply(holder=holder):
            instance.order_done()
            instance.importer.use_holder(holder)
        case _:
            _take_answer(instance, reply, now)


def _take_answer(instance: Instance, reply: replies.Reply, now: float) -> None:
    discovery = instance.discovery
    match reply:
        case replies.StatusReply(status=status):
            discovery.take_status(status)
            instance.obstacles.take_local(status.local)
        case replies.ListReply(clients=clients, moved=moved) if discovery.settled:
            instance.promotion.reach("listed", now)
            instance.rekey.take_list(moved, now)
            instance.exporter.take_list(clients, now)
        case replies.ListReply(clients=clients):
            discovery.clients = clients
        case replies.LoadStatsReply():
            discovery.stock_clients = reply.clients
            instance.server.take(reply, now)
        case replies.RoomReply() | replies.ClientStatusReply():
            instance.server.take(reply, now)
        case replies.VersionReply(openvpn=version):
            discovery.stock_version = version


def _take_refusal(instance: Instance, reply: replies.Refused, now: float) -> None:
    match reply.command:
        case commands.Status():
            instance.discovery.take_refusal(reply.reason, now)
        case commands.Promote() | commands.Hold() | commands.Demote():
            instance.order_refused(reply.command.name, reply.reason, now)
        case commands.Export():
            instance.exporter.refused(reply.command, reply.reason, now)
        case commands.Import():
            instance.importer.refused(reply.command, reply.reason, now)
        case commands.Update():
            instance.importer.updated(None)
        case commands.Cookie():
            instance.discovery.take_cookie_refusal()
            instance.openvpn.command_refused(reply.command.name, reply.reason)
        case _:
            instance.openvpn.command_refused(reply.command.name, reply.reason)
