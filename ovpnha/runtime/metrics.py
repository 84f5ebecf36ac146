"""Prometheus metrics, read from one immutable snapshot of the statistics at each scrape.

Names, texts and plain figures are in ``definitions``; here stands what has labels of its own.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector

from ovpnha import __version__
from ovpnha.machines import SparePolicy
from ovpnha.model import InstanceName, Role, Sync, Verdict
from ovpnha.node.cluster.view import NodeView
from ovpnha.node.statistics import (
    InstanceStatistics,
    NodeStatistics,
    ProcessFigures,
    TrackingFigures,
)
from ovpnha.runtime.clientmetrics import ClientList
from ovpnha.runtime.datagramlabels import DATAGRAMS, MESSAGES, REASONS
from ovpnha.runtime.definitions import DEFINITIONS, TABLE
from ovpnha.runtime.eventkinds import EVENTS

Samples = Iterable[tuple[Sequence[str], float]]

TRACKING: dict[str, Callable[[TrackingFigures], float]] = {
    "ovpnha_conntrack_up": lambda one: not one.problem,
    "ovpnha_conntrack_told_entries": lambda one: one.told,
    "ovpnha_conntrack_kernel_entries": lambda one: one.kernel,
}

TRACKING_KINDS: dict[str, Callable[[TrackingFigures], Mapping[str, float]]] = {
    "ovpnha_conntrack_injected": lambda one: one.injected,
    "ovpnha_conntrack_errors": lambda one: one.errors,
    "ovpnha_conntrack_orders": lambda one: one.orders,
    "ovpnha_conntrack_order_seconds": lambda one: one.seconds,
}


@dataclass(frozen=True)
class Scrape:
    """All that one scrape tells, read at one moment."""

    node: NodeStatistics
    unsent: Mapping[str, int]  # of the BCN sockets
    clients: tuple[ClientList, ...] = ()  # of instances with ``client_metrics``
    spares: Mapping[InstanceName, SparePolicy] = field(default_factory=dict)
    alone: bool = False


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
    for definition in TABLE:
        if definition.of is not None:
            yield definition.name, _told(_of_instances(definition.of, instances))
        elif definition.of_node is not None:
            yield definition.name, _told(_of_nodes(definition.of_node, instances))
    yield from _states(instances)
    yield from _checks(instances)
    yield from _promotions(instances)
    yield from _server_figures(instances)
    yield from _client_figures(scrape.clients)
    yield from _node_figures(scrape.node, scrape.unsent)
    yield from _tracking(scrape.node.tracking)
    yield "ovpnha_alone", [((), scrape.alone)]
    yield (
        "ovpnha_spare_ready",
        [
            ([one.name, scrape.spares[one.name]], _is_ready(one.spare.other))
            for one in instances
            if one.spare is not None
        ],
    )
    wrong = scrape.node.firewall
    yield "ovpnha_firewall_set", [] if wrong is None else [((), not wrong)]
    newer = scrape.node.newer_source
    yield "ovpnha_openvpn_source_outdated", [] if newer is None else [((), bool(newer))]


def _is_ready(other: ProcessFigures) -> bool:
    return (other.place, other.sync) == (Role.STANDBY.value, Sync.IN_SYNC)


def _of_instances(
    read: Callable[[InstanceStatistics], float | None], instances: Sequence[InstanceStatistics]
) -> Iterator[tuple[Sequence[str], float | None]]:
    for one in instances:
        yield [one.name], read(one)


def _of_nodes(
    read: Callable[[NodeView], float | None], instances: Sequence[InstanceStatistics]
) -> Iterator[tuple[Sequence[str], float | None]]:
    for one in instances:
        for node in one.nodes:
            yield [one.name, node.name], read(node)


def _told(samples: Iterable[tuple[Sequence[str], float | None]]) -> Samples:
    return [(labels, value) for labels, value in samples if value is not None]


def _states(instances: Sequence[InstanceStatistics]) -> Iterator[tuple[str, Samples]]:
    yield (
        "ovpnha_build_info",
        (([one.name, __version__, one.discovery.openvpn], 1.0) for one in instances),
    )
    yield (
        "ovpnha_role",
        (([one.name, role.value], one.role is role) for one in instances for role in Role),
    )
    yield (
        "ovpnha_sync",
        (([one.name, sync.value], one.sync is sync) for one in instances for sync in Sync),
    )
    yield "ovpnha_grade_info", (([one.name, one.announcer.grade_reason], 1.0) for one in instances)
    yield (
        "ovpnha_events",
        (
            ([one.name, kind], count)
            for one in instances
            for kind, count in _from_zero(EVENTS, one.openvpn.counters).items()
        ),
    )


def _checks(instances: Sequence[InstanceStatistics]) -> Iterator[tuple[str, Samples]]:
    """One without a result has not failed, and has no time."""
    told = [(one.name, check) for one in instances for check in one.checking.checks]
    yield (
        "ovpnha_check_failed",
        (
            ([name, check.name, str(check.critical).lower()], check.verdict is Verdict.FAILED)
            for name, check in told
        ),
    )
    yield (
        "ovpnha_check_timestamp_seconds",
        (([name, check.name], check.checked) for name, check in told if check.checked),
    )


def _promotions(instances: Sequence[InstanceStatistics]) -> Iterator[tuple[str, Samples]]:
    yield (
        "ovpnha_last_promotion_timestamp_seconds",
        (
            ([one.name], _wall_clock(one.promotion.last_promotion))
            for one in instances
            if one.promotion.last_promotion
        ),
    )
    yield (
        "ovpnha_last_promotion_phase_seconds",
        (
            ([one.name, phase], seconds)
            for one in instances
            for phase, seconds in one.promotion.last_promotion_phases.items()
        ),
    )


def _from_zero(known: Iterable[str], counts: Mapping[str, int]) -> Mapping[str, int]:
    """A counter that begins with its first event hides that event from ``increase``."""
    return {**dict.fromkeys(known, 0), **counts}


def _server_figures(instances: Sequence[InstanceStatistics]) -> Iterator[tuple[str, Samples]]:
    told = [(one.name, one.traffic.server) for one in instances if one.traffic.server is not None]
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


def _tracking(found: TrackingFigures | None) -> Iterator[tuple[str, Samples]]:
    """Present without samples where connections do not travel."""
    for name, read in TRACKING.items():
        yield name, [] if found is None else [((), read(found))]
    for name, look in TRACKING_KINDS.items():
        counts = {} if found is None else look(found)
        yield name, [([kind], count) for kind, count in counts.items()]


def _histogram(name: str, snapshot: NodeStatistics) -> Metric:
    one = DEFINITIONS[name]
    family = HistogramMetricFamily(name, one.help, labels=one.labels)
    for instance in snapshot.instances:
        if name == "ovpnha_protect_seconds":
            times = instance.exporter.protect_times
            _add(family, [instance.name], times.buckets, times.total)
        else:
            for phase, spent in instance.promotion.promotion_times.items():
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
