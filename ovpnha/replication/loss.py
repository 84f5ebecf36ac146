"""When something that left counts as lost: an entry of a log, or a cold part.

A receiver that reports a gap may lack what was lost, or be behind and have it in its socket still.
To send again what is only late puts it further behind; to wait until it must have come makes each
loss as long as the worst delay, 1.5 s with a receiver that fetches a whole table. So, after RACK
(RFC 8985), what counts is the order in which things left:

    entries   .. n n n x n n n n P n n n n n ..      x is missed, P is a probe
                                 '-- an ack has P: what left before P is here, or is lost

* A **probe** is a number of the log under which nothing ever stands. It leaves when somebody
  reports as missing what may be on its way, and so behind it. It leaves once, so whoever has its
  number has taken all that was before it, by whatever way and in whichever pass: of an entry that
  was sent twice nobody can say which of the two has arrived. A receiver that was told that the
  number is void, by what left later, has come at least as far.
* **Lost** is what left more than ``window`` before the newest probe that its receiver has. The
  window is for what was overtaken.
* A probe that is lost, too, is followed by the next one: as long as something is missed, it is
  reported every ``nack_interval``.
* No probe comes back: what is missed counts as lost after the ``gap`` of
  ``pacing.Delay``, or of 1.5 times the wait for that probe: there is no rule but time then.

What is lost for one receiver may be on its way to another: each is judged by its own reports.
Decides nothing else, and nothing hangs on it but when something is sent again: a receiver takes
every number once. Ruled by docs/wire.md, "State: to the source".
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass

from ovpnha.model import NodeName
from ovpnha.replication.config import Timings
from ovpnha.replication.log import CompactedLog
from ovpnha.replication.messages import Ack
from ovpnha.replication.pacing import Delay
from ovpnha.replication.ranges import RangeSet

PROBES_LIMIT = 64  # that may be under way
PROBE_INTERVAL = 0.02  # seconds


@dataclass(slots=True)
class _Receiver:
    began: float = -math.inf
    passed: float = -math.inf  # when the newest probe left that it has


class Losses:
    """What of one log counts as lost, for each receiver."""

    def __init__(self, log: CompactedLog, timings: Timings) -> None:
        self._log = log
        self._window = timings.nack_delay
        self._delay = Delay(timings.resend_gap)
        self._probes: deque[tuple[int, float]] = deque(maxlen=PROBES_LIMIT)
        self._receivers: dict[NodeName, _Receiver] = {}

    @property
    def share(self) -> float:
        """The part of the pace that receivers keep up with."""
        return self._delay.share

    @property
    def gap(self) -> float:
        """Seconds after which whatever left counts as lost to a receiver that begins."""
        return self._delay.gap(0.0)

    def begin(self, node: NodeName, now: float) -> None:
        """A receiver begins; of probes that left before nothing is expected."""
        self._receivers[node] = _Receiver(now)

    def forget(self, node: NodeName) -> None:
        """The node has started anew."""
        self._receivers.pop(node, None)

    def hear(self, node: NodeName, ack: Ack, now: float) -> None:
        """A receiver says what it has."""
        ranges = ((1, ack.cumulative), *ack.ranges)
        receiver = self._receivers[node]
        for number, left in reversed(self._probes):
            if left <= receiver.passed:
                break
            if any(first <= number <= last for first, last in ranges):
                receiver.passed = left
                break
        ends = [last for _, last in ranges]
        times = [left for number, left in self._probes if number in ends]
        times += [slot.sent for number in ends if (slot := self._log.get(number)) is not None]
        if times:
            self._delay.note(node, max(times), now - max(times))

    def lost_before(self, node: NodeName, now: float) -> float:
        """What left before this time is with this receiver, or lost."""
        receiver = self._receivers[node]
        after = max(receiver.passed, receiver.began)
        waited = next((now - left for _, left in self._probes if left > after), 0.0)
        return max(now - self._delay.gap(waited), receiver.passed - self._window)

    def repeat(self, pending: RangeSet, ranges: Iterable[tuple[int, int]], since: float) -> bool:
        """Add what is to be sent again of these numbers: all but what left since then.

        Returns whether there is any of that: it may still arrive.
        """
        waits, wanted = False, RangeSet()  # united: the log is walked once, whatever is asked for
        for first, end in ranges:
            if first <= (last := min(end, self._log.head)):
                wanted.add(first, last)
        for first, last in wanted:
            parts = pending.outside(first, last)
            travelling = [one for part in parts for one in self._log.sent_since(since, *part)]
            pending.add(first, last)
            for low, high in travelling:
                pending.remove(low, high)
            waits |= bool(travelling)
        return waits

    def probe(self, now: float) -> int | None:
        """The number of a probe that is to leave now; None when another has just left."""
        if self._probes and now < self._probes[-1][1] + PROBE_INTERVAL:
            return None
        self._probes.append((self._log.void(), now))
        return self._log.head
