"""Clients that renegotiate with the master, as a standby hears of it: who is caught if it dies now.

Decides when a renegotiation is over: with a record of a later generation than the one at which it
began, since that has the new key, or with the client. Must never call one caught whose new key is
here: it would be told to reconnect for nothing. Rules: docs/roles.md.
"""

from __future__ import annotations

from collections.abc import Callable

from ovpnha.model import Uid


class CaughtClients:
    """The generation at which each client began."""

    def __init__(self) -> None:
        self._begun: dict[Uid, int] = {}

    def hear(self, uid: Uid, generation: int) -> None:
        """A renegotiation has begun; of two that are told the later one counts."""
        self._begun[uid] = max(generation, self._begun.get(uid, generation))

    def gone(self, uid: Uid) -> None:
        """The client has left."""
        self._begun.pop(uid, None)

    def take(self, held: Callable[[Uid], int]) -> list[Uid]:
        """Those that are in it now, by the generation that is held of each; then there are none."""
        begun, self._begun = self._begun, {}
        return [uid for uid, generation in begun.items() if 0 <= held(uid) <= generation]
