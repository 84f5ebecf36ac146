"""Clients that speak to an address of this node which does not move: no other node can have them.

Decides nothing. OpenVPN serves them, tells nobody more of them than their number, and counts them
while it is master. They are in no other figure: not among the clients, protected or not.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from ovpnha.management.notices import ApartNotice, RoleNotice
from ovpnha.management.replies import StatusReply
from ovpnha.node.part import Part, PartStatistics
from ovpnha.problems import Problem, ProblemKind

LOST = "would be lost with it"
FIX = "give them the VIP as remote"


@dataclass(frozen=True)
class ApartStatistics(PartStatistics):
    """Such clients."""

    apart: int = 0  # clients at an address of this node that does not move


class Apart(Part):
    """How many there are."""

    def __init__(self) -> None:
        self._apart = 0

    def take(self, event: object, _now: float) -> None:
        """OpenVPN has counted, or counts anew."""
        match event:
            case StatusReply(status=status):
                self._apart = status.apart
            case ApartNotice(clients=number):
                self._apart = number
            case RoleNotice():
                self._apart = 0

    def stop(self, _now: float) -> None:
        """They are gone with OpenVPN, as far as is known."""
        self._apart = 0

    def statistics(self, _now: float) -> ApartStatistics:
        """How many there are."""
        return ApartStatistics(self._apart)

    def problems(self, _now: float) -> Iterator[Problem]:
        """That there are any."""
        if self._apart:
            clients = "1 client" if self._apart == 1 else f"{self._apart} clients"
            what = f"{clients} came by an address of this node that does not move, and {LOST}"
            yield Problem(ProblemKind.CLIENTS_APART, what, FIX)
