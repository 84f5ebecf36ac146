"""Counts that another program keeps and begins anew with each start of its own.

A counter of ours must not fall because OpenVPN or conntrackd was started again. So what is added to
it is what has come since that program was last asked; a count below the last one is a program that
has begun anew, and all that it tells is new. Decides nothing.
"""

from __future__ import annotations


class CarriedCounts:
    """What one other program last told, by the name of the count."""

    def __init__(self) -> None:
        self._told: dict[str, int] = {}

    def rise(self, name: str, count: int) -> int:
        """By how much our counter rises, now that the program tells ``count``."""
        told = self._told.get(name, 0)
        self._told[name] = count
        return count - told if count >= told else count
