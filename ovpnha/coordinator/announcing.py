"""What this node says of an instance: the grade for the VIP manager, the hello for other nodes.

Decides when something is said: at once when it has changed; only a changed number of clients waits,
so that a thousand connecting clients are not a thousand hellos. Says nothing while the role is not
known: whatever was said before a restart of the sidecar may still be true.
"""

from __future__ import annotations

from dataclasses import replace

from ovpnha.coordinator.grading import Standing, grade
from ovpnha.coordinator.openvpn import Openvpn
from ovpnha.coordinator.outputs import SetGrade
from ovpnha.coordinator.ports import Backchannel
from ovpnha.model import Grade, InstanceState

CLIENTS_GAP = 1.0
"""Least seconds between hellos whose only news is the number of clients."""


class Announcer:
    """Says what has changed."""

    def __init__(self, openvpn: Openvpn, backchannel: Backchannel) -> None:
        self._openvpn = openvpn
        self._backchannel = backchannel
        self._said: InstanceState | None = None
        self._said_at = 0.0
        self._grade: tuple[Grade, str] | None = None
        self.due: float | None = None

    @property
    def grade(self) -> tuple[Grade, str]:
        """The grade last said, and its reason."""
        return self._grade or (Grade.FAULT, "not known yet")

    def say_grade(self, standing: Standing) -> Grade:
        """Give the VIP manager its number."""
        news = grade(standing)
        if news != self._grade:
            self._grade = news
            self._openvpn.put(SetGrade(self._openvpn.instance, int(news[0]), news[1]))
        return news[0]

    def say_state(self, state: InstanceState, now: float) -> None:
        """Give the other nodes this node's state."""
        self.due = None
        if state == self._said:
            return
        if self._said is not None and replace(state, clients=self._said.clients) == self._said:
            self.due = self._said_at + CLIENTS_GAP
            if now < self.due:
                return
            self.due = None
        self._said, self._said_at = state, now
        self._backchannel.announce(self._openvpn.instance, state, now)
