"""Whether OpenVPN, once it has answered, still does: a process that hangs closes no socket.

Decides when to ask an OpenVPN that says nothing, and when its silence means that it hangs. Must not
mistake a pause of this process for one of OpenVPN's: a timer that comes late counts anew. Tells
since when OpenVPN answers without a break. Rules: docs/roles.md, "Grades".
"""

from __future__ import annotations

import math

from ovpnha.management.commands import LoadStats
from ovpnha.node.openvpn.openvpn import Openvpn
from ovpnha.node.part import Part

ASK_AFTER = 1.0
"""Seconds of silence after which OpenVPN is asked something cheap."""

LATE = 1.0
"""Seconds after which a timer is late: this process was stopped, too."""

BREAK = 3.0
"""Seconds of silence that are a break: one that answers is heard after little more than one."""


class Liveness(Part):
    """Listens to one OpenVPN."""

    def __init__(self, openvpn: Openvpn, answer_within: float) -> None:
        self._openvpn = openvpn
        self._answer_within = answer_within
        self._asked = False
        self._due: float | None = None
        self._heard = self._since = -math.inf
        self.hangs = False  # found at the last ``handle_timer``

    def hear(self, now: float) -> None:
        """OpenVPN has said something."""
        self._asked, self._due = False, now + ASK_AFTER
        if self._breaks(now):
            self._since = now
        self._heard = now

    def answers_since(self, now: float) -> float | None:
        """Since when it has answered without a break; None: it does not now."""
        return None if self._breaks(now) else self._since

    def _breaks(self, now: float) -> bool:
        return now > self._heard + BREAK

    def stop(self, _now: float) -> None:
        """There is nobody to listen to."""
        self._asked, self._due = False, None

    def get_timer(self) -> float | None:
        """When it is to be asked, or must have answered."""
        return self._due

    def handle_timer(self, now: float) -> None:
        """Ask when due, and see whether OpenVPN hangs."""
        self.hangs = False
        if self._due is None or now < self._due:
            return
        if self._asked:
            self.hangs = now < self._due + LATE
        else:
            self._openvpn.send(LoadStats())
        self._asked, self._due = True, now + self._answer_within
