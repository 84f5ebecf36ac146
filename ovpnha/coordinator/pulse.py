"""Whether OpenVPN, once it has answered, still does: a process that hangs closes no socket.

Decides when to ask an OpenVPN that says nothing, and when its silence means that it hangs. Must not
mistake a pause of this process for one of OpenVPN's: a timer that comes late counts anew. Rules:
docs/roles.md, Grades.
"""

from __future__ import annotations

from ovpnha.coordinator.openvpn import Openvpn
from ovpnha.management.commands import LoadStats

ASK_AFTER = 1.0
"""Seconds of silence after which OpenVPN is asked something cheap."""

LATE = 1.0
"""Seconds after which a timer is late: this process was stopped, too."""


class Pulse:
    """Listens to one OpenVPN."""

    def __init__(self, openvpn: Openvpn, answer_within: float) -> None:
        self._openvpn = openvpn
        self._answer_within = answer_within
        self._asked = False
        self.due: float | None = None

    def hear(self, now: float) -> None:
        """OpenVPN has said something."""
        self._asked, self.due = False, now + ASK_AFTER

    def stop(self) -> None:
        """There is nobody to listen to."""
        self._asked, self.due = False, None

    def handle_timer(self, now: float) -> bool:
        """Ask when due. Returns whether OpenVPN hangs."""
        if self.due is None or now < self.due:
            return False
        if self._asked and now < self.due + LATE:
            return True
        if not self._asked:
            self._openvpn.send(LoadStats())
        self._asked, self.due = True, now + self._answer_within
        return False
