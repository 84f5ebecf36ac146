"""What an administrator brings to the machines one by one: a new cluster key, another option.

A new key comes in the three steps of docs/wire.md. No machine is more than one step ahead of
another, and a rollout may stop anywhere.
"""

from __future__ import annotations

OLD = bytes(range(32))
NEW = bytes(range(32, 64))
STEPS = ((OLD,), (OLD, NEW), (NEW, OLD), (NEW,))

USUAL, OTHER = "d1", "d2"
"""Digests of OpenVPN's options: what all nodes should have, and another."""


class KeyRollout:
    """The key file of every machine."""

    def __init__(self, machines: int) -> None:
        self._steps = [0] * machines

    def keys(self, index: int) -> tuple[bytes, ...]:
        """What a sidecar that starts there reads."""
        return STEPS[self._steps[index]]

    def advance(self, index: int) -> bool:
        """Change this machine's file, unless others lag behind; returns whether it did."""
        step = self._steps[index]
        if step > min(self._steps) or step == len(STEPS) - 1:
            return False
        self._steps[index] += 1
        return True
