"""Who may send which packet id of a key, as openvpn-patches/common/cluster_range.c has it.

Rules R1 to R6 of docs/architecture.md, "Packet ids are owned": nothing leaves a key's own ids but
by ``_take``, and the counter moves other than by one only in ``_enter``.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from tests.model_openvpn import LAST_ID, ModelKey, Range

LEAST = 8
DOUBLINGS = 4


@dataclass
class OwnedKey(ModelKey):
    """One data channel key, its ids, and what was given away."""

    sending: bool = True
    counter: int = 0  # the last id sent
    segment_start: int = 1
    top: int = 0  # the end of the segment; 0: never exported, no cap
    next: tuple[int, int] = (0, 0)
    own: tuple[int, int] = (1, LAST_ID)
    rounds: int = 0
    short: bool = False  # too few ids are left to give: renegotiate
    given: dict[bytes, Range] = field(default_factory=dict)
    reported: set[bytes] = field(default_factory=set)

    @classmethod
    def of_standby(cls, fingerprint: bytes, round_size: int) -> OwnedKey:
        """A key that was imported; it owns what it is granted."""
        return cls(fingerprint, round_size, sending=False, top=1, own=(0, 0), pending=True)

    # What the sender gives away.

    def grant(self, holders: list[bytes]) -> None:
        """Cut what the holders lack, and the sender's next segment if that is due."""
        if not self.sending:
            return
        if not self.top and self.counter >= self.own[0]:
            self.own = (self.counter + 1, self.own[1])
        segment = not self.top or self._needs_round()
        lacking = [one for one in holders if segment or not self._current(one)]
        size = self._share(len(lacking) + segment) if lacking else 0
        self.short = self.short or (bool(lacking) and size < LEAST)
        if segment and size:
            self._cut_segment(size)
        for holder in lacking if size else []:
            if not self._current(holder):
                self.given[holder] = Range(*self._take(size))
                self.reported.discard(holder)
        self._show_grants()

    def _cut_segment(self, size: int) -> None:
        self.next = self._take(size)
        self.rounds += 1
        if not self.top:
            self._enter()

    def _share(self, parts: int) -> int:
        room = self.own[1] - self.own[0]
        due = self.round << min(self.rounds, DOUBLINGS)
        return min(max(room // (2 * parts), LEAST), due, room // parts)

    def _take(self, size: int) -> tuple[int, int]:
        start = self.own[0]
        self.own = (start + size, self.own[1])
        return start, start + size

    def _has_next(self) -> bool:
        return self.next[1] > self.next[0]

    def _current(self, holder: bytes) -> bool:
        end = self.next[1] if self._has_next() else self.top
        return holder in self.given and self.given[holder].start >= end

    def _show_grants(self) -> None:
        """What exports say, and what may be stored."""
        self.grants = {one: [self.given[one]] for one in self.given if self._current(one)}

    # Sending.

    def send(self) -> tuple[int | None, list[bytes], bool]:
        """One packet: its id, the holders left behind, whether a new round is wanted now."""
        if not self.sending or (self.top and self.counter >= self.top - 1 and not self._jump()):
            return None, [], False
        self.counter += 1
        wants = bool(self.given) and self.own[1] > self.own[0] and self._needs_round()
        news = wants and not self.asked
        self.asked = self.asked or wants
        return self.counter, self._leave_behind(), news

    def _past(self, percent: int) -> bool:
        used = self.counter + 1 - self.segment_start
        return used * 100 >= (self.top - self.segment_start) * percent

    def _needs_round(self) -> bool:
        return bool(self.top) and not self._has_next() and self._past(50)

    def _jump(self) -> bool:
        if not self._has_next():
            size = self._share(len(self.given) + 1) or self.own[1] - self.own[0]
            if not size:
                return False
            self.next = self._take(size)
            self.rounds += 1
        self._enter()
        return True

    def overtake(self) -> None:
        """Another process was promoted meanwhile: go on above every range granted."""
        if self.sending and self.top and self.own[1] > self.own[0]:
            self._cut_segment(self._share(len(self.given) + 1))
            self._enter()

    def _enter(self) -> None:
        assert self.next[0] > self.counter
        self.segment_start, self.top = self.next
        self.counter = self.segment_start - 1
        self.next = (self.top, self.top)
        self.asked = False
        self._show_grants()

    def _leave_behind(self) -> list[bytes]:
        """The holders that are not waited for any more, each told once."""
        waited = self._has_next() and self._past(90)
        stale = [
            holder
            for holder, given in self.given.items()
            if holder not in self.reported
            and (not self._current(holder) or (waited and not given.stored))
        ]
        self.reported.update(stale)
        return stale

    def room(self) -> int:
        """Ids that are left here, for whomever."""
        if not self.sending:
            return 0
        own, following = self.own[1] - self.own[0], self.next[1] - self.next[0]
        return own + following + max((self.top or self.counter + 1) - self.counter - 1, 0)

    # A holder's side.

    def overlaps(self, start: int, end: int) -> bool:
        """Whether a granted range contradicts the one that is stored."""
        if not self.imported:
            return False
        stored = max(self.imported)
        return (start, end) != stored and start < stored[1] and end > stored[0]

    def take_over(self) -> None:
        """Promotion: keep the low end of the range, grant from the rest."""
        if self.sending:
            return
        self.sending = True
        self.segment_start = self.top
        if self.imported:
            self.own = max(self.imported)
            room = self.own[1] - self.own[0]
            self.next = self._take(room // 2 if room // 8 < LEAST else room // 8)
            self._enter()
