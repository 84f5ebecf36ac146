"""Clients whose record an OpenVPN has refused and not taken since, and for how long.

A refusal may be over in a moment: what stands in the way is on its way out. One that lasts is a
client that a takeover would lose, which a grade, a line of ``status`` and an alert must tell.
Decides when it lasts. Rules: docs/roles.md, "Grades".
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from ovpnha.model import Uid

LASTS_AFTER = 5.0
"""Seconds after which a refusal counts as one that lasts."""

REFUSED_FIX = (
    "they reconnect if it takes over: let what the reason names be the same on both nodes, "
    "scripts and plugins too"
)


@dataclass(frozen=True)
class Refusal:
    """One client that is refused."""

    uid: Uid
    reason: str  # OpenVPN's words, the last ones
    since: float


class Refusals:
    """All of one OpenVPN, the longest first."""

    def __init__(self) -> None:
        self._refusals: dict[Uid, Refusal] = {}

    def __len__(self) -> int:
        return len(self._refusals)

    def note(self, uid: Uid, reason: str, now: float) -> None:
        """A record of this client was refused, perhaps not the first one."""
        known = self._refusals.get(uid, Refusal(uid, reason, now))
        self._refusals[uid] = replace(known, reason=reason)

    def settle(self, uid: Uid) -> None:
        """The client was taken, or is gone."""
        self._refusals.pop(uid, None)

    def clear(self) -> None:
        """Nothing that was refused concerns us any more."""
        self._refusals.clear()

    def lasting(self, now: float) -> list[Refusal]:
        """The clients that have been refused for long enough."""
        return [one for one in self._refusals.values() if now >= one.since + LASTS_AFTER]

    def next_lasting(self, now: float) -> float | None:
        """When the next one will have been."""
        moments = (one.since + LASTS_AFTER for one in self._refusals.values())
        return next((moment for moment in moments if moment > now), None)


def describe_refused(refused: list[Refusal], source: str) -> str:
    """What a node refuses of the clients of ``source``."""
    first = refused[0]
    return f"{len(refused)} of {source}'s clients ({first.uid.hex()}: {first.reason})"
