"""Our challenges: each hello has one that no other has, and one that comes back is a proof.

Decides how long a challenge proves anything: ``proof_timeout`` from the moment it was drawn, since
its sender was alive after that, and nothing is known of any later time. Must never be given
one value twice, and draws no random bytes of its own. Rules: docs/wire.md, "Who is believed".
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from ovpnha.replication.hello import CHALLENGE_SIZE


@dataclass(frozen=True)
class Challenge:
    """One of ours."""

    number: int  # 1 is the first
    drawn: float


class Challenges:
    """Those that may still prove something, by value."""

    def __init__(self, random: Callable[[int], bytes], proof_timeout: float) -> None:
        self._random = random
        self._lasts = proof_timeout
        self._challenges: dict[bytes, Challenge] = {}
        self.drawn = 0  # how many there were

    def __contains__(self, value: bytes) -> bool:
        return value in self._challenges

    def draw(self, now: float) -> bytes:
        """One for the hello that leaves now; those that prove nothing any more are forgotten."""
        self._challenges = {
            value: one for value, one in self._challenges.items() if self._proves(one, now)
        }
        self.drawn += 1
        value = self._random(CHALLENGE_SIZE)
        self._challenges[value] = Challenge(self.drawn, now)
        return value

    def proofs(self, echoes: Iterable[bytes], now: float) -> Iterator[Challenge]:
        """Those among the echoes that are ours and still prove that their sender lives."""
        for echo in echoes:
            one = self._challenges.get(echo)
            if one is not None and self._proves(one, now):
                yield one

    def _proves(self, one: Challenge, now: float) -> bool:
        return one.drawn > now - self._lasts
