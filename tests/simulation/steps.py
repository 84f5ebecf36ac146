"""One thing that goes wrong in a schedule."""

from __future__ import annotations

from dataclasses import dataclass

MASTER = -1
"""As a node: the one that has the VIP then."""


@dataclass(frozen=True)
class Step:
    """One thing that goes wrong, ``at`` seconds after the start."""

    at: float
    what: str
    node: int
    seconds: float
    number: int

    def __str__(self) -> str:
        node = "the master" if self.node == MASTER else f"n{self.node}"
        return f"{self.at:8.4f} {self.what} {node} for {self.seconds:.4f} s, {self.number}"
