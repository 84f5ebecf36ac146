"""Whether a copy has kept up: what its source says in hellos that it has, against what is here.

Entries that somebody drops leave no trace, and neither do the snapshot marks that would tell of
them. But a node is believed only for as long as its hellos come, and each says how far its log
reaches:

    hello says     head 7        head 7       head 9        head 9     ...
    arrived          6             6            6             8
    to be reached   [7]           [7]         [7, 9]         [9]
                     |<-------- within the bound ------->|

A head that is not reached within the bound makes the copy one that is not proved, until a head has
been reached since and none that was waited for as long is left. A source that tells no more of its
log proves nothing by that: its OpenVPN may have died, and what did not arrive never will. Judged
only when a hello comes: of a source that is not heard any more nothing new can be known, and belief
in it ends soon. Decides nothing else. Ruled by docs/wire.md, "Sync is proved".
"""

from __future__ import annotations

from collections.abc import Callable

from ovpnha.replication.hello import LogHead

HEADS_LIMIT = 256
HEADS_GAP = 0.1  # seconds; of heads that come closer to each other the newest stands for both


class Proof:
    """The heads that are still to be reached, the oldest first, and since when."""

    def __init__(self) -> None:
        self.proved = True  # of a copy that has just begun nothing bad is known
        self._heads: list[tuple[float, LogHead]] = []
        self._reached = False  # a head, since one was late

    def restart(self) -> None:
        """The source has begun anew, or tells no more of its log: these heads mean nothing."""
        self._heads = []

    def hear(self, head: LogHead | None, now: float) -> None:
        """A hello says how far the log reaches; of one still being collected nothing is due."""
        if head is None or not head.complete:
            self.restart()
            return
        if self._heads and self._heads[-1][1].stream != head.stream:
            self.restart()
        close = len(self._heads) > 1 and now < self._heads[-1][0] + HEADS_GAP
        if close or len(self._heads) == HEADS_LIMIT:
            self._heads[-1] = self._heads[-1][0], head
        else:
            self._heads.append((now, head))

    def reach(self, reached: Callable[[LogHead], bool]) -> None:
        """Something has arrived: see which heads it reaches."""
        while self._heads and reached(self._heads[0][1]):
            del self._heads[0]
            self._reached = True

    def judge(self, bound: float, now: float) -> bool:
        """See whether the copy counts as proved; returns whether that has changed."""
        late = bool(self._heads) and now >= self._heads[0][0] + bound
        if late:
            self._reached = False
        before, self.proved = self.proved, not late and (self.proved or self._reached)
        return self.proved is not before
