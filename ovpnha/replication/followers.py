"""The nodes that follow a source, and what each of them has yet to acknowledge.

Decides whom to ask again, so that a lost acknowledgement costs a fraction of a second and nothing
else (docs/wire.md, "State: from the source", *ask*). Never judges whether a client is protected:
its owner is told of every acknowledgement and does that.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field

from ovpnha.model import InstanceName, NodeName, Uid
from ovpnha.replication.config import Timings
from ovpnha.replication.events import Acknowledged, Event, Rejected
from ovpnha.replication.fields import UIDS_LIMIT
from ovpnha.replication.messages import (
    Ack,
    Ask,
    Reject,
)
from ovpnha.replication.pacing import next_beat
from ovpnha.replication.sealing import node_tag

FOLLOWER_TIMEOUT = 10.0  # seconds without a word after which a node counts as follower no longer


@dataclass(slots=True)
class _Follower:
    heard: float
    ask_at: float
    cumulative: int = 0
    unacknowledged: dict[Uid, int] = field(default_factory=dict)  # and the number to acknowledge

    def get_timer(self) -> float:
        """When it is asked next; one that owes nothing is only seen to be there still."""
        silent = self.heard + FOLLOWER_TIMEOUT
        return self.ask_at if self.unacknowledged else max(self.ask_at, silent)


class Followers:
    """Who follows one stream of one instance."""

    def __init__(
        self,
        instance: InstanceName,
        stream: int,
        timings: Timings,
        emit: Callable[[Event], None],
    ) -> None:
        self._instance = instance
        self._stream = stream
        self._interval = timings.ask_interval
        self._emit = emit
        self._followers: dict[NodeName, _Follower] = {}

    def __len__(self) -> int:
        return len(self._followers)

    def knows(self, node: NodeName) -> bool:
        """Whether this node follows."""
        return node in self._followers

    def begin(self, node: NodeName, numbers: dict[Uid, int], now: float) -> None:
        """A node follows from the beginning: it has everything to acknowledge."""
        follower = _Follower(now, now + self._interval, unacknowledged=numbers)
        self._followers[node] = follower

    def hear(self, node: NodeName, cumulative: int, now: float) -> None:
        """A follower says how far it has come."""
        follower = self._followers[node]
        follower.heard = now
        follower.cumulative = cumulative

    def least(self) -> float:
        """The number up to which every follower has all; infinity when there is none."""
        return min((one.cumulative for one in self._followers.values()), default=math.inf)

    def forget(self, node: NodeName) -> None:
        """This node follows no longer, or has started anew."""
        self._followers.pop(node, None)

    def changed(self, uid: Uid, number: int) -> None:
        """Everyone is to acknowledge this client anew."""
        for follower in self._followers.values():
            follower.unacknowledged[uid] = number

    def gone(self, uid: Uid) -> None:
        """Nobody needs to acknowledge this client any more."""
        for follower in self._followers.values():
            follower.unacknowledged.pop(uid, None)

    def acknowledged(self, node: NodeName, ack: Ack) -> None:
        """OpenVPN on that node has imported these clients."""
        for entry in ack.entries:
            self._settle(node, entry.uid, entry.number)
            event = Acknowledged(self._instance, node, entry.uid, entry.generation, entry.stored)
            self._emit(event)

    def rejected(self, node: NodeName, reject: Reject) -> None:
        """OpenVPN on that node has refused these clients."""
        for entry in reject.entries:
            self._settle(node, entry.uid, entry.number)
            self._emit(Rejected(self._instance, node, entry.uid, entry.generation, entry.reason))

    def _settle(self, node: NodeName, uid: Uid, number: int) -> None:
        unacknowledged = self._followers[node].unacknowledged
        if uid in unacknowledged and number >= unacknowledged[uid]:
            del unacknowledged[uid]

    def get_timer(self) -> float | None:
        """When ``asks`` may have something to say, or to forget."""
        return min((follower.get_timer() for follower in self._followers.values()), default=None)

    def asks(self, travelling: Callable[[int], bool], now: float) -> list[bytes]:
        """Questions after acknowledgements that are late; ``travelling`` knows what just left."""
        out: list[bytes] = []
        for node, follower in list(self._followers.items()):
            if now - follower.heard > FOLLOWER_TIMEOUT:
                del self._followers[node]
            elif now >= follower.ask_at:
                follower.ask_at = next_beat(now, self._interval)
                if uids := self._late(follower, travelling):
                    out.append(Ask(self._instance, self._stream, node_tag(node), uids).encode())
        return out

    @staticmethod
    def _late(follower: _Follower, travelling: Callable[[int], bool]) -> tuple[Uid, ...]:
        """Clients that the node must have, the longest not asked for first."""
        uids: list[Uid] = []
        for uid, number in follower.unacknowledged.items():
            if number <= follower.cumulative and not travelling(number):
                uids.append(uid)
                if len(uids) == UIDS_LIMIT:
                    break
        for uid in uids:
            follower.unacknowledged[uid] = follower.unacknowledged.pop(uid)
        return tuple(uids)

    def outstanding(self) -> dict[NodeName, int]:
        """For each follower, how many clients it has not acknowledged."""
        return {node: len(follower.unacknowledged) for node, follower in self._followers.items()}
