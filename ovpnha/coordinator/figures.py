"""One instance at one moment, for the VIP manager, the other nodes, ``status`` and metrics.

Decides nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING

from ovpnha.coordinator.grading import Standing
from ovpnha.coordinator.outputs import InstanceStatistics, NodeView
from ovpnha.coordinator.view import NO_HOLDER, Other, find_difference
from ovpnha.model import NO_EPOCH, Epoch, Grade, InstanceState, NodeName, Role, Sync

if TYPE_CHECKING:
    from ovpnha.coordinator.instance import Instance
    from ovpnha.replication.membership import NodeHeard


def describe_standing(instance: Instance, now: float) -> Standing:
    """All that its grade depends on."""
    view = instance.view
    lone, silent, relinked = view.lone_since(), view.silent_since(), instance.relinked
    return Standing(
        role=instance.role,
        fault=instance.fault,
        seamless=instance.discovery.seamless,
        vip=bool(instance.wishes.vip),
        handing_over=instance.wishes.handing_over(now),
        complete=instance.importer.is_complete(view.highest),
        master_heard=instance.importer.following is not None,
        links_up=instance.links_up,
        relinked=None if relinked is None else now - relinked,
        silent=None if silent is None else now - silent,
        outranked=view.is_outranked(instance.epoch),
        lone=None if lone is None else now - lone,
        age=now - instance.started,
        served=view.anyone_serves(),
        outdone=view.someone_knows_more(instance.clients),
        lone_after=instance.config.lone_after,
        obstacle=instance.obstacles.first,
    )


def describe_state(instance: Instance, grade: Grade) -> InstanceState:
    """What its hello says."""
    status = instance.discovery.status
    return InstanceState(
        role=instance.role,
        epoch=_epoch(instance),
        vip=bool(instance.wishes.vip),
        sync=instance.sync,
        grade=int(grade),
        holder=instance.openvpn.holder or NO_HOLDER,
        clients=instance.clients,
        record_format=status.record_format if status else 0,
        openvpn=instance.discovery.version,
        digest=status.digest if status else "",
        certificate=status.certificate if status else "",
        issuer=status.issuer if status else "",
    )


def _epoch(instance: Instance) -> Epoch:
    """A source's own epoch, or the highest that a standby has heard of."""
    return instance.epoch if instance.exporter.active else instance.view.highest


def describe_instance(
    instance: Instance, heard: Mapping[NodeName, NodeHeard], now: float
) -> InstanceStatistics:
    """One instance, at one moment."""
    grade, reason = instance.announcer.grade
    table, promotion = instance.exporter.table, instance.promotion
    standby = instance.importer.table
    lacks = standby.lacks()
    return InstanceStatistics(
        name=instance.config.name,
        role=instance.role,
        epoch=_epoch(instance),
        sync=instance.sync,
        grade=int(grade),
        grade_reason=reason,
        vip=bool(instance.wishes.vip),
        management_up=instance.openvpn.connected,
        openvpn=instance.discovery.version,
        seamless=instance.discovery.settled,
        clients=instance.clients,
        protected=table.protected(),
        oldest_unprotected=table.oldest_unprotected(now),
        records=standby.copies - len(standby.stale()),
        stale=lacks,
        following=instance.importer.following,
        promotions=promotion.count,
        last_promotion=promotion.last,
        last_promotion_phases=MappingProxyType(dict(promotion.phases)),
        counters=MappingProxyType(dict(instance.openvpn.counters)),
        protect_times=instance.exporter.protection.times(),
        promotion_times=promotion.times(),
        server=instance.server.last,
        room=instance.server.room,
        rekey=instance.rekey.progress(),
        nodes=tuple(
            _describe_node(instance, name, other, heard.get(name), now)
            for name, other in instance.view.others(now)
        ),
        problems=tuple(_problems(instance)),
    )


def _problems(instance: Instance) -> Iterator[str]:
    """A line for each thing that an administrator has to mend on this node, with the mend."""
    missed = instance.unreachable
    if instance.role is Role.FAULT:
        mend = missed.mend if missed is not None else FAULT_MENDS.get(instance.fault, "")
        yield f"{instance.fault}; {mend}" if mend else instance.fault
    elif missed is not None:
        yield f"OpenVPN is not reached: {missed.reason}; {missed.mend}"
    if instance.discovery.stock:
        yield "OpenVPN runs without cluster: " + STOCK_MEND
    if instance.obstacles.first is not None:
        yield str(instance.obstacles.first)
    if instance.rivalry.alarmed:
        others = ", ".join(instance.view.rivals())
        yield f"{others} has the VIP too and is master: mend the network between the VIP managers"


FAULT_MENDS = {
    "OpenVPN does not answer": "see its log; does a script of it hang, or has another program its "
    "management socket (ss -xp)?",
}
STOCK_MEND = (
    "clients reconnect at a failover; install the patched OpenVPN and write cluster into its "
    "configuration"
)


def _describe_node(
    instance: Instance, name: NodeName, other: Other, heard: NodeHeard | None, now: float
) -> NodeView:
    state, status = other.state, instance.discovery.status
    problem = other.trouble(now)
    distance = heard.distance if heard is not None else None
    if state is not None and status is not None and state.record_format and not problem:
        problem = find_difference(status, state, instance.config.tolerate)
    return NodeView(
        name=name,
        believed=other.believed,
        age=now - (heard.last_heard if heard is not None else other.heard),
        role=state.role if state else Role.INIT,
        epoch=state.epoch if state else NO_EPOCH,
        vip=state.vip if state else False,
        sync=state.sync if state else Sync.NONE,
        grade=state.grade if state else 0,
        clients=state.clients if state else 0,
        problem=problem,
        round_trip=distance.round_trip if distance is not None else None,
        clock_offset=distance.offset if distance is not None else None,
        has_instance=not other.lacks(now),
        lost=other.met and not other.believed,
    )
