"""The counters that a master tells, on their way to a standby's OpenVPN.

They come many times a second: OpenVPN gets one command at a time, with all that has come meanwhile,
and what it does not keep up with goes, the oldest first. A lost one does no harm: the next says
more. One that comes late does none either: OpenVPN keeps the larger. Once this OpenVPN serves, it
has byte counts of its own, and gets receive marks alone (docs/adr/0058). Decides nothing about
clients.
"""

from __future__ import annotations

from collections import deque

from ovpnha.management.commands import PackedCounters, Update
from ovpnha.management.replies import UpdateReply
from ovpnha.model import CounterKind
from ovpnha.node.openvpn.openvpn import Openvpn
from ovpnha.node.part import Part
from ovpnha.replication.events import CountersReceived

COUNTERS_WAITING = 1024
"""Most counter messages kept while OpenVPN has not answered the last; then the oldest go."""


class CounterRelay(Part):
    """Passes counters on to one OpenVPN."""

    def __init__(self, openvpn: Openvpn) -> None:
        self._openvpn = openvpn
        self._waiting: deque[PackedCounters] = deque(maxlen=COUNTERS_WAITING)
        self._updating = False

    def take(self, event: object, _now: float) -> None:
        """The followed master tells counters, or OpenVPN has answered the last ones."""
        if isinstance(event, CountersReceived):
            self.push(event.kind, event.payload)
        else:
            self._updating = False
            if isinstance(event, UpdateReply):
                self._openvpn.counters["updates_unknown"] += event.unknown
            self._pump()

    def push(self, kind: CounterKind, payload: bytes) -> None:
        """One more message: ``payload`` as it came, entries of 20 or 24 bytes."""
        if len(self._waiting) == COUNTERS_WAITING:
            self._openvpn.counters["updates_dropped"] += 1
        self._waiting.append(PackedCounters(kind, payload))
        self._pump()

    def promote(self) -> None:
        """This OpenVPN serves from now on: what waits of byte counts is void."""
        marks = [one for one in self._waiting if one.kind is CounterKind.HIGH_WATER]
        self._waiting.clear()
        self._waiting.extend(marks)

    def stop(self, _now: float) -> None:
        """OpenVPN is gone."""
        self._waiting.clear()
        self._updating = False

    def _pump(self) -> None:
        if self._waiting and not self._updating and self._openvpn.connected:
            self._updating = True
            self._openvpn.send(Update(tuple(self._waiting)))
            self._waiting.clear()
