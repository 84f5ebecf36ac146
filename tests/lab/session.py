"""A client under observation: its probes, its TCP session and its log, over any number of deaths.

``Session`` is what scenarios and tests share: bring everything up, do something terrible, see
whether the client noticed. ``Watch`` is the part of it that any client can have.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import pairwise

from tests.lab.clientlog import Noticed, noticed
from tests.lab.errors import LabError
from tests.lab.lab import Lab
from tests.lab.measure import Gap, outage_ms
from tests.lab.node import Node
from tests.lab.openvpn import Client
from tests.lab.traffic import INTERVAL_MS, ProbeStream
from tests.lab.waiting import POLL, wait_until

TURNS = 10
"""How often a packet waits for its turn on a machine like this: at the client, at its tun's reader
and at the server, there and back; the sender's own lateness is that of one of them."""


@dataclass(frozen=True)
class Moment:
    """Something that happened: to which node, and when on both clocks, which is when it began.

    ``over``, of the lab's clock, is when it was done: before that the old master may still answer.
    """

    node: str
    monotonic: int
    wall: int
    over: int = 0

    def to_wall(self, monotonic: int) -> int:
        """A time of the lab's clock as the client's log stamps it."""
        return self.wall + monotonic - self.monotonic


class Watch:
    """A client of a lab under observation by one probe stream, ``forward``."""

    def __init__(self, lab: Lab, client: Client, stream: ProbeStream) -> None:
        self.lab = lab
        self.client = client
        self.forward = stream
        self.told: dict[str, float] = {}
        """What a story has to say beside the figures of its run."""

    def mark(self) -> Moment:
        """This moment, and who is master in it."""
        return Moment(self.lab.master.name, time.monotonic_ns(), time.time_ns())

    def strike(self, deed: Callable[[Lab, Node], None]) -> Moment:
        """Do something to the master and say when."""
        master = self.lab.master
        moment = self.mark()
        deed(self.lab, master)
        return replace(moment, over=time.monotonic_ns())

    def recovers(self, moment: Moment, seconds: float) -> bool:
        """Wait until a probe sent after all of it is answered; False when none is in time."""
        try:
            wait_until(
                lambda: self.forward.answered_since(max(moment.monotonic, moment.over)),
                "an answer to a probe",
                seconds,
            )
        except LabError:
            return False
        return True

    def linger(self, seconds: float) -> None:
        """Let traffic flow for a while: the length of an observation, not a wait for something."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            time.sleep(POLL)

    def gap(self, moment: Moment) -> Gap:
        """The longest gap in the answers since the moment."""
        return self.forward.gap(moment.monotonic)

    def outage_ms(self, moment: Moment) -> float:
        """How long the client was without answers since the moment."""
        return outage_ms(self.gap(moment), INTERVAL_MS)

    def late_ms(self, moment: Moment) -> float:
        """By how much a probe was sent too late at most since the moment: how busy this is."""
        sent = [probe.sent for probe in self.forward.probes() if probe.sent >= moment.monotonic]
        spaces = [(later - earlier) / 1e6 for earlier, later in pairwise(sent)]
        return max(0.0, max(spaces, default=0.0) - INTERVAL_MS)

    def noticed_in(self, gap: Gap, moment: Moment) -> Noticed:
        """What the client noticed in a gap in the answers; the moment tells the clocks apart."""
        return noticed(self.client.log(), moment.to_wall(gap.start), moment.to_wall(gap.end))

    def noticed(self, moment: Moment, until: int | None = None) -> Noticed:
        """What the client noticed since the moment."""
        return noticed(self.client.log(), moment.wall, until)


class Session(Watch):
    """The stock client of a lab with all its traffic; its own probes are what is judged.

    ``ready`` waits until the client is protected; without it that is by other nodes.
    """

    def __init__(self, lab: Lab, ready: Callable[[], None] | None = None) -> None:
        client = lab.start_client()
        (ready or lab.wait_standbys)()
        forward, self.reverse = lab.start_probes()
        super().__init__(lab, client, forward)
        self.tcp = lab.start_tcp()

    def finish(self) -> str:
        """End the TCP session; what was wrong with it, or ""."""
        try:
            return self.tcp.finish()
        except LabError as error:
            return str(error)
