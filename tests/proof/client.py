"""A stock client's replay window, and whether it can have come to refuse an id.

The client decides nothing that a server sees, so that its packets may as well be delivered at the
moment of the question: in every order, any of them lost, any of them twice.
"""

from __future__ import annotations

from functools import cache

WINDOW = 2  # --replay-window has 64; a small one refuses more


class Client(tuple[int, int]):
    """Highest id received, and the ids seen, as bits: struct packet_id_rec."""

    __slots__ = ()

    def accepts(self, packet_id: int) -> bool:
        """packet_id_test."""
        high, seen = self
        if packet_id > high:
            return True
        return high - packet_id < WINDOW and not seen >> packet_id & 1

    def receive(self, packet_id: int) -> Client:
        """packet_id_add, if it was accepted."""
        high, seen = self
        if not self.accepts(packet_id):
            return self
        return Client((max(high, packet_id), seen | 1 << packet_id))


@cache
def reachable(sent: int) -> frozenset[Client]:
    """Every client that deliveries of the packets in ``sent`` (as bits) can lead to."""
    ids = [one for one in range(sent.bit_length()) if sent >> one & 1]
    known = {Client((0, 0))}
    todo = list(known)
    while todo:
        client = todo.pop()
        for one in ids:
            after = client.receive(one)
            if after not in known:
                known.add(after)
                todo.append(after)
    return frozenset(known)


@cache
def always_accepts(sent: int, packet_id: int) -> bool:
    """Whether no client that got any of ``sent`` refuses this packet."""
    return all(client.accepts(packet_id) for client in reachable(sent))
