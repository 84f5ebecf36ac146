"""Clients of a node that went on without its heir, whose newest keys are nowhere any more.

Decides when they are told to reconnect. They still take what is sent under the key before, but the
word is one packet and may be lost, so it is said three times, and all anew when the management
channel was lost or the node was held meanwhile. Must never be said unless master.
Rules: docs/roles.md, "Steps", Return.
"""

from __future__ import annotations

from collections.abc import Iterable

from ovpnha.management.commands import Kick
from ovpnha.management.notices import ChangedNotice, DownNotice
from ovpnha.model import Uid
from ovpnha.node.openvpn.openvpn import Openvpn
from ovpnha.node.part import Part

TIMES = 3
AGAIN_AFTER = 1.0
"""Seconds between two: a client that has heard one is gone after the next second."""


class Reconnecting(Part):
    """Those who have not reconnected yet."""

    def __init__(self, openvpn: Openvpn) -> None:
        self._openvpn = openvpn
        self._clients: set[Uid] = set()
        self._left = 0
        self._due: float | None = None

    def begin(self, uids: Iterable[Uid], now: float) -> None:
        """As master again: tell these."""
        self._clients = set(uids)
        self._left = TIMES
        self._tell(now)

    def stop(self, _now: float) -> None:
        """Say nothing: held, or what was said last may be lost with the channel."""
        self._due = None

    def resume(self, now: float) -> None:
        """As master again: those who are still there may not have heard it."""
        if self._clients:
            self.begin(self._clients, now)

    def clear(self) -> None:
        """They are not ours any more."""
        self._clients.clear()

    def take(self, event: object, _now: float) -> None:
        """A client is gone, or has a new key here."""
        match event:
            case DownNotice(uid=uid) | ChangedNotice(uid=uid, reason="keys"):
                self._clients.discard(uid)

    def get_timer(self) -> float | None:
        """When they are told again."""
        return self._due

    def handle_timer(self, now: float) -> None:
        """Tell again who is still there."""
        if self._due is not None and now >= self._due:
            self._tell(now)

    def _tell(self, now: float) -> None:
        for uid in sorted(self._clients):
            self._openvpn.send(Kick(uid))
            self._openvpn.counters["told_to_reconnect"] += 1
        self._left -= 1
        if not self._left:
            self._clients.clear()
        self._due = now + AGAIN_AFTER if self._clients else None
