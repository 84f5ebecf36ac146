"""Clients that came from another node get keys of this one: whom to renegotiate, and when.

Decides the order, the pace and who is left alone; that no handshake is disturbed is OpenVPN's part,
and so is what becomes of a client that does not answer. A renegotiation that would ask a user for a
password is not begun by itself (policy ``auto``). A client that was inside one when its master died
has its turn late: it may have a key that nobody else has, and could not take part in another. Must
never order anything unless master, and never more than the machine manages (``pacing``). Rules:
docs/operations.md, "Keys after a takeover".
"""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from ovpnha.management.commands import Renegotiate
from ovpnha.management.notices import ChangedNotice, DownNotice, RekeyedNotice
from ovpnha.management.replies import ListReply, MovedClient
from ovpnha.model import RekeyPolicy, Uid
from ovpnha.node.master.pacing import Pace
from ovpnha.node.openvpn.openvpn import Openvpn
from ovpnha.node.part import Part, first

CAUGHT_PATIENCE = 60.0
"""Seconds until a client that was inside a renegotiation is renegotiated like any other: OpenVPN's
default ``hand-window``, after which it has given that one up. Before, OpenVPN helps it."""

QUIET = 2.5
"""Seconds after a promotion in which nobody is renegotiated: so long the node that had the VIP
before keeps its clients, and can go on with all that have not changed."""

SHORT = 1 << 18
"""Packet ids below which a key is not left for that: each promotion takes more than half of them,
and a client without any hears nothing more."""

ROOM_STEP = 1 << 16
"""Packet ids: what differs by less counts as the same room."""


@dataclass(frozen=True)
class RekeyProgress:
    """Clients that came from another node, since the last promotion."""

    pending: int = 0  # to be renegotiated
    done: int = 0  # have a key of this node
    left: int = 0  # keep the other node's key, by policy


class Rekey(Part):
    """The clients of a promoted node that still use keys of another."""

    def __init__(self, openvpn: Openvpn, policy: RekeyPolicy, rate: float) -> None:
        self._openvpn = openvpn
        self._policy = policy
        self._rate = rate
        self._caught: dict[Uid, float] = {}  # until when each is left alone
        self._pending: set[Uid] = set()
        self._asked: set[Uid] = set()  # an administrator wants new keys for these
        self._left: set[Uid] = set()
        self._waiting: list[tuple[float, Uid]] = []  # a heap: when each has its turn
        self._queue: deque[Uid] = deque()
        self._short: deque[Uid] = deque()  # before the queue: few packet ids are left to these
        self._quiet_until = 0.0
        self._pace = Pace(rate)
        self._paused = False
        self._done = 0

    def take(self, event: object, now: float) -> None:
        """OpenVPN tells of keys, or a client is gone."""
        match event:
            case ChangedNotice(uid=uid, reason="keys"):
                self.renegotiated(uid, now)
            case RekeyedNotice(uid=uid):
                self.rekeyed(uid, now)
            case ListReply(moved=moved):
                self.take_list(moved, now)
            case DownNotice(uid=uid):
                self.leave(uid)

    def promote(self, caught: Iterable[Uid], now: float) -> None:
        """The clients are ours now; their list must follow. Some were caught in renegotiations."""
        self.stop(now)
        self._be_quiet(now)
        self._caught = dict.fromkeys(caught, now + CAUGHT_PATIENCE)

    def _be_quiet(self, now: float) -> None:
        self._pace.start(now)
        self._quiet_until = now + QUIET

    def stop(self, _now: float) -> None:
        """Be no master any more."""
        self._short.clear()
        self._caught.clear()
        self._pending.clear()
        self._asked.clear()
        self._left.clear()
        self._waiting.clear()
        self._queue.clear()
        self._pace.clear()
        self._pace.use_rate(self._rate)
        self._paused = False
        self._done = 0

    def pause(self) -> None:
        """Held: order nothing, keep everything."""
        self._paused = True

    def resume(self, now: float) -> None:
        """Master again: go on."""
        self._paused = False
        self._be_quiet(now)

    def freeze(self, now: float, *, on: bool) -> None:
        """A switchover of this master goes on: no handshake begins; or it is over."""
        (self.pause() if on else self.resume(now))
        self._openvpn.quiesce(on=on)

    def hurry(self) -> None:
        """Clients may not hear us before they have new keys: no quiet for them."""
        self._quiet_until = 0.0

    def take_list(self, moved: Mapping[Uid, MovedClient], now: float) -> None:
        """OpenVPN's list: these use keys of another node."""
        if self._paused:
            return
        wanted = {uid for uid, client in moved.items() if self._may(client)}
        self._left = set(moved) - wanted
        fresh = wanted - self._pending
        self._pending |= fresh
        for uid in sorted(fresh, key=lambda uid: (moved[uid].room // ROOM_STEP, uid)):
            turn = max(now + moved[uid].wait, self._caught.get(uid, now))
            if moved[uid].room < SHORT and turn <= now:
                self._short.append(uid)
            elif turn > now:
                heapq.heappush(self._waiting, (turn, uid))
            else:
                self._queue.append(uid)
        self._pace.start(now)
        if fresh:
            self._openvpn.log("info", "rekeying", clients=len(fresh), left=len(self._left))

    def order(self, uids: Iterable[Uid], rate: float, now: float) -> None:
        """An administrator wants new keys for these: at the same pace, ``rate`` a second at most.

        One whose key is too young has its turn when it is not: OpenVPN sees to that.
        """
        self._pace.use_rate(rate)
        fresh = [uid for uid in uids if uid not in self._asked]
        self._asked.update(fresh)
        self._queue.extend(fresh)
        self._pace.start(now)

    def _may(self, client: MovedClient) -> bool:
        if self._policy is RekeyPolicy.AUTO:
            return client.unattended
        return self._policy is RekeyPolicy.ALWAYS

    def rekeyed(self, uid: Uid, now: float) -> None:
        """OpenVPN has a key of its own with this client."""
        self._caught.pop(uid, None)
        self._left.discard(uid)
        if uid in self._pending:
            self._done += 1
        self._end(uid)
        self.renegotiated(uid, now)

    def renegotiated(self, uid: Uid, now: float) -> None:
        """A client has a new key."""
        self._asked.discard(uid)
        self._pace.end(uid, now)
        self._pump(now)

    def leave(self, uid: Uid) -> None:
        """The client is gone."""
        self._caught.pop(uid, None)
        self._left.discard(uid)
        self._asked.discard(uid)
        self._pace.leave(uid)
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
        moments = [self._pace.get_timer()]
        if (self._short or self._queue) and not self._pace.full:
            moments.append(self._due)
        if self._waiting:
            moments.append(self._waiting[0][0])
        return first(moments)

    def handle_timer(self, now: float) -> None:
        """Order what is due."""
        if self._paused:
            return
        self._pace.handle_timer(now)
        self._pump(now)

    def _pump(self, now: float) -> None:
        """Those whose turn it is wait in the queue; begin as many as may."""
        while self._waiting and self._waiting[0][0] <= now:
            self._queue.append(heapq.heappop(self._waiting)[1])
        while (self._short or self._queue) and not self._paused and not self._pace.full:
            if now < self._due:
                return
            uid = (self._short or self._queue).popleft()
            if uid in self._pending or uid in self._asked:
                self._openvpn.send(Renegotiate(uid, max(1, round(self._rate))))
                self._pace.begin(uid, now)

    @property
    def _due(self) -> float:
        """When the next one has its turn."""
        return self._pace.due if self._short else max(self._pace.due, self._quiet_until)

    def statistics(self, _now: float) -> RekeyProgress:
        """How far it has come."""
        return RekeyProgress(len(self._pending), self._done, len(self._left))
