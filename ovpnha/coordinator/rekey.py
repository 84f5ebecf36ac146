"""Clients that came from another node get keys of this one: whom to renegotiate, and when.

Decides the order, the rate and who is left alone; that no handshake is disturbed is OpenVPN's part.
A renegotiation that would ask a user for a password is not begun by itself (policy ``auto``). A
client that was inside one when its master died is given the chance to finish it here, then told to
reconnect: it may have a key that nobody else has. Must never order anything unless master. Rules:
docs/operations.md, Keys after a takeover.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping

from ovpnha.coordinator.openvpn import Openvpn
from ovpnha.coordinator.outputs import RekeyProgress
from ovpnha.management.commands import Kick, Renegotiate
from ovpnha.management.replies import MovedClient
from ovpnha.model import RekeyPolicy, Uid
from ovpnha.store.standby import StandbyTable

CAUGHT_PATIENCE = 3.0
"""Seconds for a client to finish a renegotiation that it began with the master that died: more than
the 2 s after which OpenVPN repeats what was not answered."""

CAUGHT_KICKS = 3
"""How often such a client is told to reconnect, ``CAUGHT_PATIENCE`` apart."""

ROOM_STEP = 1 << 16
"""Packet ids: what differs by less counts as the same room."""

BEHIND_LIMIT = 0.1
"""Seconds that may be caught up at once when the timer came late."""


class Rekey:
    """The clients of a promoted node that still use keys of another."""

    def __init__(self, openvpn: Openvpn, policy: RekeyPolicy, rate: float) -> None:
        self._openvpn = openvpn
        self._policy = policy
        self._rate = rate
        self._heard: dict[Uid, int] = {}  # as standby: generation when a renegotiation began
        self._caught: dict[Uid, int] = {}  # as master: how often each was told to reconnect
        self._kick_at: float | None = None
        self._pending: set[Uid] = set()
        self._left: set[Uid] = set()
        self._queue: deque[Uid] = deque()
        self._next_at: float | None = None
        self._paused = False
        self._done = 0

    def hear(self, uid: Uid, generation: int) -> None:
        """As standby: a client began to renegotiate with its master.

        Its new key will come with a record later than this generation.
        """
        self._heard[uid] = max(generation, self._heard.get(uid, 0))

    def promote(self, table: StandbyTable, now: float) -> None:
        """These clients are ours now; their list must follow."""
        self.stop()
        copies = {uid: table.copy(uid) for uid in self._heard}
        caught = [uid for uid, one in copies.items() if one and one.generation <= self._heard[uid]]
        self._caught = dict.fromkeys(caught, 0)
        self._kick_at = now + CAUGHT_PATIENCE if caught else None
        self._heard.clear()

    def stop(self) -> None:
        """Be no master any more."""
        self._caught.clear()
        self._pending.clear()
        self._left.clear()
        self._queue.clear()
        self._kick_at = self._next_at = None
        self._paused = False
        self._done = 0

    def pause(self) -> None:
        """Held: order nothing, keep everything."""
        self._paused = True

    def resume(self, now: float) -> None:
        """Master again: go on."""
        self._paused = False
        if self._next_at is not None:
            self._next_at = now

    def take_list(self, moved: Mapping[Uid, MovedClient], now: float) -> None:
        """OpenVPN's list: these use keys of another node."""
        if self._paused:
            return
        wanted = {uid for uid, client in moved.items() if self._may(client)}
        self._left = set(moved) - wanted
        fresh = wanted - self._pending
        self._pending |= fresh
        self._queue.extend(
            sorted(fresh - self._caught.keys(), key=lambda uid: (moved[uid].room // ROOM_STEP, uid))
        )
        if self._queue and self._next_at is None:
            self._next_at = now
        if fresh:
            self._openvpn.log("info", "rekeying", clients=len(fresh), left=len(self._left))

    def _may(self, client: MovedClient) -> bool:
        if self._policy is RekeyPolicy.AUTO:
            return client.unattended
        return self._policy is RekeyPolicy.ALWAYS

    def rekeyed(self, uid: Uid) -> None:
        """OpenVPN has a key of its own with this client."""
        self._caught.pop(uid, None)
        self._left.discard(uid)
        if uid in self._pending:
            self._done += 1
        self._end(uid)

    def leave(self, uid: Uid) -> None:
        """The client is gone."""
        self._heard.pop(uid, None)
        self._caught.pop(uid, None)
        self._left.discard(uid)
        self._end(uid)

    def _end(self, uid: Uid) -> None:
        if uid in self._pending:
            self._pending.discard(uid)
            if not self._pending:
                self._openvpn.log("info", "rekeyed", clients=self._done, left=len(self._left))

    def get_timer(self) -> float | None:
        """When ``handle_timer`` is due."""
        if self._paused:
            return None
        return min((one for one in (self._next_at, self._kick_at) if one is not None), default=None)

    def handle_timer(self, now: float) -> None:
        """Order what is due."""
        if self._paused:
            return
        if self._kick_at is not None and now >= self._kick_at:
            self._kick(now)
        if self._next_at is not None:
            self._next_at = max(self._next_at, now - BEHIND_LIMIT)
        while self._next_at is not None and now >= self._next_at:
            self._renegotiate_next(self._next_at)

    def _renegotiate_next(self, due: float) -> None:
        uid = self._pop()
        self._next_at = None
        if uid is not None:
            self._openvpn.send(Renegotiate(uid, max(1, round(self._rate))))
            self._next_at = due + (0.5 + uid[-1] / 255) / self._rate

    def _pop(self) -> Uid | None:
        while self._queue:
            uid = self._queue.popleft()
            if uid in self._pending:
                return uid
        return None

    def _kick(self, now: float) -> None:
        """Their handshake has not been finished here: nobody else has the key it ends with."""
        for uid, times in self._caught.items():
            self._openvpn.send(Kick(uid))
            self._openvpn.counters["caught_kicked"] += 1
            self._caught[uid] = times + 1
        self._caught = {uid: n for uid, n in self._caught.items() if n < CAUGHT_KICKS}
        self._kick_at = now + CAUGHT_PATIENCE if self._caught else None

    def progress(self) -> RekeyProgress:
        """How far it has come."""
        return RekeyProgress(len(self._pending), self._done, len(self._left))
