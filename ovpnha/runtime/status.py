"""The answer to ``status``: the figures of a node, of the version that this program knows.

Decides nothing. What is wrong: ``problems``; what ``status`` says to the eye: ``rows``.
"""

from __future__ import annotations

from dataclasses import dataclass

from ovpnha.node.statistics import STATUS_VERSION, NodeStatistics


@dataclass(frozen=True)
class StatusAnswer:
    """Everything about a node at one moment.

    Raises:
        ValueError: The figures are of another version: they may mean something else.
    """

    status: NodeStatistics

    def __post_init__(self) -> None:
        if self.status.version != STATUS_VERSION:
            raise ValueError(f"status: version {self.status.version} instead of {STATUS_VERSION}")
