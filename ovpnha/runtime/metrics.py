"""Prometheus metrics, read from one immutable snapshot of the statistics at each scrape.

Decides which figure is which metric; names and texts are in ``definitions``.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector

from ovpnha import __version__
from ovpnha.coordinator.outputs import InstanceStatistics, NodeStatistics, NodeView
from ovpnha.model import Role, Sync
from ovpnha.runtime.clientmetrics import ClientList
from ovpnha.runtime.definitions import (
    DATAGRAMS,
    DEFINITIONS,
    EVENTS,
    MESSAGES,
    REASONS,
    TABLE,
)

Samples = Iterable[tuple[Sequence[str], float]]
Read = Callable[[InstanceStatistics], float]

INSTANCE: dict[str, Read] = {
    "ovpnha_epoch": lambda one: one.epoch.counter,
    "ovpnha_grade": lambda one: one.grade,
    "ovpnha_seamless": lambda one: one.seamless,
    "ovpnha_vip_present": lambda one: one.vip,
    "ovpnha_openvpn_up": lambda one: one.management_up,
    "ovpnha_clients": lambda one: one.clients,
    "ovpnha_protected_clients": lambda one: one.protected,
    "ovpnha_oldest_unprotected_seconds": lambda one: one.oldest_unprotected,
    "ovpnha_replicated_records": lambda one: one.records,
    "ovpnha_stale_records": lambda one: one.stale,
    "ovpnha_rekey_pending_clients": lambda one: one.rekey.pending,
    "ovpnha_rekey_done_clients": lambda one: one.rekey.done,
    "ovpnha_rekey_left_clients": lambda one: one.rekey.left,
    "ovpnha_promotions": lambda one: one.promotions,
    "openvpn_up": lambda one: one.management_up,
    "openvpn_server_connected_clients": lambda one: one.clients,
}

NODE: dict[str, Callable[[NodeView], float]] = {
    "ovpnha_node_heard": lambda node: node.believed,
    "ovpnha_node_hello_age_seconds": lambda node: node.age,
    "ovpnha_node_master": lambda node: node.believed and node.role is Role.MASTER,
    "ovpnha_node_in_sync": lambda node: node.believed and node.sync is Sync.IN_SYNC,
    "ovpnha_node_differs": lambda node: bool(node.problem),
}

DISTANCE: dict[str, Callable[[NodeView], float | None]] = {
    "ovpnha_node_round_trip_seconds": lambda node: node.round_trip,
    "ovpnha_node_clock_offset_seconds": lambda node: node.clock_offset,
}


@dataclass(frozen=True)
class Scrape:
    """All that one scrape tells, read at one moment."""

    node: NodeStatistics
    unsent: Mapping[str, int]  # of the BCN sockets
    clients: tuple[ClientList, ...] = ()  # of instances with ``client_metrics``


class NodeCollector(Collector):
    """Reads one ``Scrape`` at each collection."""

    def __init__(self, read: Callable[[], Scrape]) -> None:
        self._read = read

    def collect(self) -> Iterator[Metric]:
        """For prometheus_client, in the order of the table."""
        scrape = self._read()
        found = dict(_plain(scrape))
        for one in TABLE:
            if one.kind == "histogram":
                yield _histogram(one.name, scrape.node)
            else:
                yield _family(one.name, found[one.name])

    def describe(self) -> Iterator[Metric]:
        """Nothing in advance: a registry must not ask a node that does not run yet."""
        return iter(())


def _family(name: str, samples: Samples) -> Metric:
    one = DEFINITIONS[name]
    kind = CounterMetricFamily if one.kind == "counter" else GaugeMetricFamily
    family = kind(name, one.help, labels=one.labels)
    for labels, value in samples:
        family.add_metric(labels, float(value))
    return family


def _plain(scrape: Scrape) -> Iterator[tuple[str, Samples]]:
    instances = scrape.node.instances
    for name, read in INSTANCE.items():
        yield name, [([one.name], read(one)) for one in instances]
    for name, look in NODE.items():
        yield name, [([one.name, node.name], look(node)) for one in instances for node in one.nodes]
    for name, measured in DISTANCE.items():
        told = [(one.name, node.name, measured(node)) for one in instances for node in one.nodes]
        yield name, [((one, node), value) for one, node, value in told if value is not None]
    yield from _states(instances)
    yield from _promotions(instances)
    yield from _server_figures(instances)
    yield from _client_figures(scrape.clients)
    yield from _node_figures(scrape.node, scrape.unsent)


def _states(instances: Sequence[InstanceStatistics]) -> Iterator[tuple[str, Samples]]:
    yield (
        "ovpnha_build_info",
        (([one.name, __version__, one.openvpn], 1.0) for one in instances),
    )
    yield (
        "ovpnha_role",
        (([one.name, role.value], one.role is role) for one in instances for role in Role),
    )
    yield (
        "ovpnha_sync",
        (([one.name, sync.value], one.sync is sync) for one in instances for sync in Sync),
    )
    yield "ovpnha_grade_info", (([one.name, one.grade_reason], 1.0) for one in instances)
    yield (
        "ovpnha_events",
        (
            ([one.name, kind], count)
            for one in instances
            for kind, count in _from_zero(EVENTS, one.counters).items()
        ),
    )
    rooms = [(one.name, one.room) for one in instances]
    yield (
        "ovpnha_packet_id_room_lowest",
        (([name], room) for name, room in rooms if room is not None),
    )


def _promotions(instances: Sequence[InstanceStatistics]) -> Iterator[tuple[str, Samples]]:
    yield (
        "ovpnha_last_promotion_timestamp_seconds",
        (([one.name], _wall_clock(one.last_promotion)) for one in instances if one.last_promotion),
    )
    yield (
        "ovpnha_last_promotion_phase_seconds",
        (
            ([one.name, phase], seconds)
            for one in instances
            for phase, seconds in one.last_promotion_phases.items()
        ),
    )


def _from_zero(known: Iterable[str], counts: Mapping[str, int]) -> Mapping[str, int]:
    """A counter that begins with its first event hides that event from ``increase``."""
    return {**dict.fromkeys(known, 0), **counts}


def _server_figures(instances: Sequence[InstanceStatistics]) -> Iterator[tuple[str, Samples]]:
    told = [(one.name, one.server) for one in instances if one.server is not None]
    yield "openvpn_server_received_bytes", (([name], server.received) for name, server in told)
    yield "openvpn_server_sent_bytes", (([name], server.sent) for name, server in told)
    yield (
        "openvpn_status_update_time_seconds",
        (([name], _wall_clock(server.when)) for name, server in told),
    )


def _client_figures(lists: Sequence[ClientList]) -> Iterator[tuple[str, Samples]]:
    yield (
        "openvpn_server_client_received_bytes",
        (sample for one in lists for sample in one.count(lambda one: one.received).items()),
    )
    yield (
        "openvpn_server_client_sent_bytes",
        (sample for one in lists for sample in one.count(lambda one: one.sent).items()),
    )


def _node_figures(
    snapshot: NodeStatistics, unsent: Mapping[str, int]
) -> Iterator[tuple[str, Samples]]:
    for name, counts in (
        ("ovpnha_link_up", snapshot.links),
        ("ovpnha_datagrams_received", _from_zero(MESSAGES, snapshot.received)),
        ("ovpnha_datagrams_sent", _from_zero(DATAGRAMS, snapshot.sent)),
        ("ovpnha_datagrams_refused", _from_zero(REASONS, snapshot.refused)),
        ("ovpnha_bytes_received", _from_zero((*DATAGRAMS, "refused"), snapshot.bytes_received)),
        ("ovpnha_bytes_sent", _from_zero(DATAGRAMS, snapshot.bytes_sent)),
        ("ovpnha_datagrams_unsent", unsent),
    ):
        yield name, [([key], value) for key, value in counts.items()]
    for name, total in (
        ("ovpnha_uptime_seconds", snapshot.uptime),
        ("ovpnha_resyncs", snapshot.resyncs),
        ("ovpnha_nacks", snapshot.nacks),
        ("ovpnha_repaired", snapshot.repaired),
        ("ovpnha_digest_mismatches", snapshot.differences),
        ("ovpnha_oversized_records", snapshot.oversized),
    ):
        yield name, [((), total)]


def _histogram(name: str, snapshot: NodeStatistics) -> Metric:
    one = DEFINITIONS[name]
    family = HistogramMetricFamily(name, one.help, labels=one.labels)
    for instance in snapshot.instances:
        if name == "ovpnha_protect_seconds":
            times = instance.protect_times
            _add(family, [instance.name], times.buckets, times.total)
        else:
            for phase, spent in instance.promotion_times.items():
                _add(family, [instance.name, phase], spent.buckets, spent.total)
    return family


def _add(
    family: HistogramMetricFamily, labels: list[str], buckets: Mapping[float, int], total: float
) -> None:
    rows = [("+Inf" if bound == float("inf") else str(bound), n) for bound, n in buckets.items()]
    if rows:
        family.add_metric(labels, rows, total)


def _wall_clock(monotonic: float) -> float:
    return time.time() - (time.monotonic() - monotonic)
