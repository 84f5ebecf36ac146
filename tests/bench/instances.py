"""What many instances of a sidecar cost beside one with as many clients: ``bench --instances``.

::

    one     1 x 16,000 clients  ─┐   the same clients, the same deeds; one shape after the other,
    many   16 x  1,000 clients  ─┘   ROUNDS times, so that a slow minute of the machine hits both

Of each: a standby that joins (until all is imported and acknowledged, its CPU on both nodes), the
steady state in which every client's counters change once a second, the time from connect to
protected meanwhile, and memory. The figure is *many over one*, the median over the rounds; 1.0 or
less is the goal. The stand-ins for OpenVPN are processes of their own and are not counted, but
they share the processors: sixteen of them wake up more often than one.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.bench.capture import Sample
from tests.bench.cluster import Cluster, Node
from tests.bench.measure import (
    SINGLE_CLIENTS,
    SINGLE_EVERY,
    STEADY_SECONDS,
    Figures,
    Say,
    describe_protect,
    measure_protect,
    measure_steady,
    poll,
)

ROUNDS = 2
SETTLE_SECONDS = 2.0


class Shape:
    """A running cluster in which a number of instances share the clients."""

    def __init__(self, cluster: Cluster, samples: list[Sample], clients: int) -> None:
        self._cluster = cluster
        self._samples = samples
        self._each = clients // len(cluster.instances)
        self._master, self._standby = cluster.nodes["a"], cluster.nodes["b"]

    def measure(self) -> Figures:
        """All figures, in this order."""
        self._start(self._master, self._each)
        for name in self._cluster.instances:
            self._cluster.wait("a", "role", "master", name)
        poll(lambda: self._exports() >= self._total, "all are exported")
        return self._resync() | self._steady() | self._protect()

    @property
    def _total(self) -> int:
        return self._each * len(self._cluster.instances)

    def _exports(self) -> int:
        instances = self._master.status()["instances"]
        return sum(int(one["counters"].get("exports", 0)) for one in instances)

    def _start(self, node: Node, clients: int) -> None:
        seed = 1000 * (clients == 0)
        for at, name in enumerate(self._cluster.instances):
            node.start_openvpn(self._samples, seed + at, clients, name)
        node.sidecar.start()

    def _ask(self, node: Node, do: str = "look", **fields: object) -> list[dict[str, Any]]:
        return [openvpn.order(do, **fields) for openvpn in node.openvpns.values()]

    def _resync(self) -> Figures:
        before = self._master.cpu_seconds()
        self._start(self._standby, 0)
        poll(lambda: self._sum(self._standby, "copies") >= self._total, "all are imported")
        poll(lambda: self._sum(self._master, "stored") >= self._total, "all are acknowledged")
        cpu = self._master.cpu_seconds() - before + self._standby.cpu_seconds()
        begin = min(one["connected_at"] for one in self._ask(self._standby))
        end = max(one["last_stored"] for one in self._ask(self._master))
        return {"resync_s": end - begin, "resync_cpu_s": cpu}

    def _sum(self, node: Node, key: str) -> int:
        return sum(int(one[key]) for one in self._ask(node))

    def _steady(self) -> Figures:
        for name in self._cluster.instances:
            self._cluster.wait("a", "protected", self._each, name)
        seconds = STEADY_SECONDS + SETTLE_SECONDS + SINGLE_CLIENTS * SINGLE_EVERY * 4
        self._ask(self._master, "counters", seconds=int(seconds))
        time.sleep(SETTLE_SECONDS)
        return measure_steady({"master": self._master, "standby": self._standby})

    def _protect(self) -> Figures:
        """Clients that connect to the first instance while the counters of all change."""
        first = self._cluster.instances[0]
        return describe_protect(measure_protect(self._master.openvpns[first]))


def compare(samples: list[Sample], clients: int, count: int, say: Say) -> dict[str, Any]:
    """One instance with all clients, and ``count`` with their part; medians and their ratios."""
    names = {"one": ["i1"], "many": [f"i{at}" for at in range(1, count + 1)]}
    found: dict[str, list[Figures]] = {shape: [] for shape in names}
    for number in range(1, ROUNDS + 1):
        for shape, instances in names.items():
            say(f"round {number} of {ROUNDS}: {len(instances)} x {clients // len(instances)}")
            with _cluster(instances) as cluster:
                found[shape].append(Shape(cluster, samples, clients).measure())
    one, many = (_medians(found[shape]) for shape in names)
    ratios = {key: many[key] / one[key] for key in one}
    return {"clients": clients, "instances": count, "one": one, "many": many, "ratio": ratios}


@contextmanager
def _cluster(instances: list[str]) -> Iterator[Cluster]:
    with (
        tempfile.TemporaryDirectory(prefix="oha-bn") as name,
        Cluster(Path(name), instances) as cluster,
    ):
        yield cluster


def _medians(rounds: list[Figures]) -> Figures:
    return {key: statistics.median(one[key] for one in rounds) for key in rounds[0]}
