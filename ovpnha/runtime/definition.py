"""What a metric is, for the table of all of them in ``definitions``. Decides nothing."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from ovpnha.node.cluster.view import NodeView
from ovpnha.node.statistics import InstanceStatistics


@dataclass(frozen=True)
class Definition:
    """One metric. A counter's name is shown with ``_total``.

    A plain figure of an instance, or of another node as an instance sees it, says here where it is
    read: None is no sample. What needs more than that is read in ``metrics``.
    """

    kind: str  # gauge, counter, histogram
    name: str
    help: str
    labels: tuple[str, ...] = ()
    of: Callable[[InstanceStatistics], float | None] | None = None
    of_node: Callable[[NodeView], float | None] | None = None


I = ("instance",)  # noqa: E741 - a column of the table below
OTHER = ("instance", "other_node")
CLIENT = (*I, "common_name", "connection_time", "real_address", "virtual_address", "username")
