"""The VIP: whether it is here, and what was asked by hand of where it shall be.

Decides which wishes still hold. Rules: docs/roles.md, "Steps".
"""

from __future__ import annotations

from ovpnha.node.part import Part, first

HANDOVER_MAX = 60.0
"""Seconds for which a master that was asked to demote waits for the VIP manager to move the VIP."""


class Vip(Part):
    """One instance's VIP."""

    def __init__(self, now: float) -> None:
        self.here: bool | None = None  # None: not told yet
        self.since = now
        self.arrived = False  # the VIP came, and no OpenVPN has confirmed that it serves
        self.handed_over = False  # the VIP left because that was asked
        self.unused = False  # promoted for a promise, and the VIP has not come since
        self.why = ""  # it came or left: of a move between the two processes of this machine
        self.ours = True  # the VIP of this machine is for this process
        self._promised_until: float | None = None
        self._handover_until: float | None = None

    def set(self, present: bool, now: float, why: str = "") -> None:
        """The VIP is here, or is not. It ends the wishes that it fulfils."""
        self.why = why
        if present:
            if not self.here:
                self.arrived, self.since = True, now
            self._promised_until = None
            self.handed_over = self.unused = False
        else:
            self.arrived = False
            self.handed_over |= self.handing_over(now)
            self._handover_until = None
        self.here = present

    def promise(self, until: float) -> None:
        """The VIP will come until then: to the process that it is for."""
        self._promised_until = until if self.ours else None
        self._handover_until, self.handed_over = None, False

    def set_slot(self, slot: bool) -> None:
        """The VIP of this machine is for this process, or for the other one."""
        self.ours = slot
        if not slot:
            self.break_promise()

    def pass_on(self, other: Vip) -> None:
        """The VIP is for the other process from now on: it shall come, or leave, as it was here.

        The promise of a switchover is none of these: it has ended with the process to which it was
        given (``Switchover.stop``), since it may be called off.
        """
        other._handover_until, self._handover_until = self._handover_until, None
        other._promised_until, self._promised_until = self._promised_until, None

    def hand_over(self, now: float) -> None:
        """The VIP shall leave. Without it, nothing is there that could."""
        self._handover_until = now + HANDOVER_MAX if self.here else None

    def keep(self) -> None:
        """The VIP shall stay after all, or come back."""
        self._handover_until, self.handed_over = None, False

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
        return bool(self.here) or self.promised(now)

    @property
    def concerns(self) -> bool:
        """Whether it is here, or was promised and nothing has been done about that yet."""
        return bool(self.here) or self._promised_until is not None

    def get_timer(self) -> float | None:
        """When a wish ends by itself."""
        return first((self._promised_until, self._handover_until))

    def handle_timer(self, now: float) -> None:
        """Wishes that are too old end."""
        if not self.promised(now):
            self._promised_until = None
        if not self.handing_over(now):
            self._handover_until = None
