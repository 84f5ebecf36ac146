"""Whether OpenVPN, once it has answered, still does: a process that hangs closes no socket.

Decides when to ask an OpenVPN that says nothing, and when its silence means that it hangs. Must not
mistake a pause of this process for one of OpenVPN's: a timer that comes late counts anew. Rules:
docs/roles.md, "Grades".
"""

from __future__ import annotations

from ovpnha.management.commands import LoadStats
from ovpnha.node.openvpn.openvpn import Openvpn
from ovpnha.node.part import Part

ASK_AFTER = 1.0
"""Seconds of silence after which OpenVPN is asked something cheap."""

LATE = 1.0
"""Seconds after which a timer is late: this process was stopped, too."""


class Liveness(Part):
    """Listens to one OpenVPN."""

    def __init__(self, openvpn: Openvpn, answer_within: float) -> None:
        self._openvpn = openvpn
        self._answer_within = answer_within
        self._asked = False
        self._due: float | None = None
        self.hangs = False  # found at the last ``handle_timer``

    def hear(self, now: float) -> None:
        """OpenVPN has said something."""
        self._asked, self._due = False, now + ASK_AFTER

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
