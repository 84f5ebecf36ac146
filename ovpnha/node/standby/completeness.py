"""Whether a standby's copy is all of its master.

::

    follow ──► table received? ──no──► syncing
                    │ yes
                    ▼
             refused clients, or copies without packet ids?
                    │ no                 │ yes: for SETTLE_WAIT
                    ▼                    ▼
                complete ◄───────── complete, but partial

Once complete it stays so until the copy is lost or another node is followed: what changes later is
told by generations (``StandbyTable.stale``). One that was found complete after a time without a
sidecar, when clients may have come unseen, stays so only until another node is heard that may have
more. A copy without packet ids counts only when it has had
none for ``RANGELESS_AFTER``: its master grants them in a moment. Rules: docs/roles.md, "Grades".
"""

from __future__ import annotations

from ovpnha.node.openvpn.refusals import Refusals
from ovpnha.node.part import first
from ovpnha.node.standby.table import StandbyTable

SETTLE_WAIT = 5.0
"""Seconds for which a whole copy waits for packet ids that its master has not granted yet, and for
clients that OpenVPN refuses."""

RANGELESS_AFTER = 5.0
"""Seconds without a break with copies that have no packet ids, after which they count."""

UNPROVED_FIX = (
    "its hellos do: look for what loses or drops datagrams between the two on the BCN (full socket "
    "buffers, a limit of packet size, a filter, somebody who should not be there)"
)
RANGELESS_FIX = (
    "they get them with their next key: ovpnha renegotiate on the master, if it does not do so by "
    "itself (rekey_after_promotion)"
)


class Completeness:
    """Of the copy of one OpenVPN."""

    def __init__(self) -> None:
        self.complete = False
        self._recalled = False  # complete, as far as the last sidecar knew
        self._settle_due: float | None = None
        self._rangeless_since: float | None = None
        self._rangeless_at: float | None = None
        self._lasting_at: float | None = None

    def restart(self) -> None:
        """The copy is lost, or another node is followed."""
        self.complete, self._recalled, self._settle_due = False, False, None

    def recall(self, whole: bool) -> None:
        """So the last sidecar has left the copy."""
        self.complete = self._recalled = whole

    def doubt(self) -> None:
        """Somebody may have more than what the last sidecar has left."""
        if self._recalled:
            self.restart()

    def reset(self) -> None:
        """The copy belongs to no standby any more."""
        self.restart()
        self._rangeless_since = None

    def judge(self, table: StandbyTable, refusals: Refusals, now: float, *, follows: bool) -> bool:
        """Look at the copy; returns whether it is complete since this very moment."""
        self._lasting_at = refusals.next_lasting(now)
        self._watch_rangeless(table, now)
        if self.complete or not follows or not table.imported:
            return False
        if self._settle_due is None:
            self._settle_due = now + SETTLE_WAIT
        settled = not (table.rangeless or len(refusals)) or now >= self._settle_due
        self.complete = settled
        return settled

    def rangeless(self, table: StandbyTable, now: float) -> int:
        """How many copies have no packet ids, and will not have them in a moment."""
        since = self._rangeless_since
        lasts = since is not None and now >= since + RANGELESS_AFTER
        return table.rangeless if lasts else 0

    def get_timer(self, table: StandbyTable, *, follows: bool) -> float | None:
        """When ``judge`` may say something else, though nothing has come."""
        waits = follows and table.imported and not self.complete
        return first((self._settle_due if waits else None, self._rangeless_at, self._lasting_at))

    def _watch_rangeless(self, table: StandbyTable, now: float) -> None:
        if not table.rangeless:
            self._rangeless_since = self._rangeless_at = None
            return
        if self._rangeless_since is None:
            self._rangeless_since = now
        at = self._rangeless_since + RANGELESS_AFTER
        self._rangeless_at = at if now < at else None
