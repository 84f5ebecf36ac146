"""The alarm of two masters: this node and another both serve, and both have the VIP.

Both stay, and both are safe, because packet ids are owned; only the VIP manager or a fence can end
it. A node that has just died still claims in its last hello, so the alarm waits until it would have
been missed. Rules: docs/roles.md, "Steps".
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from ovpnha.model import NodeName
from ovpnha.node.openvpn.openvpn import Openvpn
from ovpnha.node.part import Part
from ovpnha.problems import Problem, ProblemKind

ALARM_AFTER = 3.0
"""Seconds: longer than a dead node is believed."""

TWO_MASTERS_FIX = "repair the network between the VIP managers"


class TwoMasters(Part):
    """Watches for another master."""

    def __init__(self, openvpn: Openvpn) -> None:
        self._openvpn = openvpn
        self._since: float | None = None
        self._others: Sequence[NodeName] = ()
        self.alarmed = False

    def get_timer(self) -> float | None:
        """When the alarm is due."""
        return None if self._since is None or self.alarmed else self._since + ALARM_AFTER

    def watch(self, rivals: Sequence[NodeName], now: float) -> None:
        """The other nodes that serve with the VIP while this one does; empty when there is none."""
        self._others = rivals
        if not rivals:
            self._end()
        elif self._since is None:
            self._since = now
        elif not self.alarmed and now >= self._since + ALARM_AFTER:
            self.alarmed = True
            self._openvpn.counters["two_masters"] += 1
            self._openvpn.log("error", "two masters have the vip", others=list(rivals))

    def problems(self, _now: float) -> Iterator[Problem]:
        """That they are two."""
        if self.alarmed:
            others = ", ".join(self._others)
            what = f"{others} has the VIP too and is master"
            yield Problem(ProblemKind.TWO_MASTERS, what, TWO_MASTERS_FIX)

    def _end(self) -> None:
        if self.alarmed:
            self._openvpn.log("info", "only one master has the vip again")
        self._since, self.alarmed = None, False
