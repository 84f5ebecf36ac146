"""What the VIP manager and the administrator want of an instance.

Decides which wishes still hold. Rules: docs/architecture.md, Roles.
"""

from __future__ import annotations

HANDOVER_MAX = 60.0
"""Seconds for which a master that was asked to demote waits for the VIP manager to move the VIP."""


class Wishes:
    """The VIP, and what was asked by hand."""

    def __init__(self, now: float) -> None:
        self.vip: bool | None = None  # None: not told yet
        self.vip_since = now
        self.arrived = False  # the VIP came, and no OpenVPN has confirmed that it serves
        self.demote_asked = False
        self._promised_until: float | None = None
        self._handover_until: float | None = None

    def set_vip(self, present: bool, now: float) -> None:
        """The VIP is here, or is not. It ends the wishes that it fulfils."""
        if present:
            if not self.vip:
                self.arrived, self.vip_since = True, now
            self._promised_until = None
        else:
            self.arrived = False
            self._handover_until = None
        self.vip = present

    def promise(self, until: float) -> None:
        """The VIP will come until then."""
        self._promised_until = until
        self._handover_until = None

    def hand_over(self, now: float) -> None:
        """The VIP shall leave. Without it, nothing is there that could."""
        self._handover_until = now + HANDOVER_MAX if self.vip else None

    def break_promise(self) -> None:
        """The VIP will not come."""
        self._promised_until = None

    def promised(self, now: float) -> bool:
        """Whether the VIP is still promised."""
        return self._promised_until is not None and now < self._promised_until

    def handing_over(self, now: float) -> bool:
        """Whether the VIP is still to leave."""
        return self._handover_until is not None and now < self._handover_until

    def wanted(self, now: float) -> bool:
        """Whether this instance is to serve."""
        return bool(self.vip) or self.promised(now)

    def moments(self) -> tuple[float | None, ...]:
        """When wishes end by themselves."""
        return self._promised_until, self._handover_until
