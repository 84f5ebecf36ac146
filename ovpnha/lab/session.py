"""A client under observation: its probes, its TCP session and its log, over any number of deaths.

``Session`` is what scenarios and tests share: bring everything up, do something terrible, see
whether the client noticed.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from ovpnha.lab.clientlog import Noticed, noticed
from ovpnha.lab.errors import LabError
from ovpnha.lab.lab import Lab
from ovpnha.lab.measure import Gap, longest_gap, outage_ms
from ovpnha.lab.node import Node
from ovpnha.lab.traffic import INTERVAL_MS
from ovpnha.lab.waiting import POLL, wait_until


@dataclass(frozen=True)
class Moment:
    """Something that happened: to which node, and when on both clocks."""

    node: str
    monotonic: int
    wall: int

    def to_wall(self, monotonic: int) -> int:
        """A time of the lab's clock as the client's log stamps it."""
        return self.wall + monotonic - self.monotonic


class Session:
    """The stock client of a lab with all its traffic."""

    def __init__(self, lab: Lab) -> None:
        self.lab = lab
        self.client = lab.start_client()
        lab.wait_in_sync("b")
        self.forward, self.reverse = lab.start_probes()
        self.tcp = lab.start_tcp()

    def mark(self) -> Moment:
        """This moment, and who is master in it."""
        return Moment(self.lab.master.name, time.monotonic_ns(), time.time_ns())

    def strike(self, deed: Callable[[Lab, Node], None]) -> Moment:
        """Do something to the master and say when."""
        master = self.lab.master
        moment = self.mark()
        deed(self.lab, master)
        return moment

    def recovers(self, moment: Moment, seconds: float) -> bool:
        """Wait until a probe sent after the moment is answered; False when none is in time."""
        try:
            wait_until(
                lambda: self.forward.answered_since(moment.monotonic),
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
        return longest_gap(self.forward.probes(), moment.monotonic, time.monotonic_ns())

    def outage_ms(self, moment: Moment) -> float:
        """How long the client was without answers since the moment."""
        return outage_ms(self.gap(moment), INTERVAL_MS)

    def noticed(self, moment: Moment, until: int | None = None) -> Noticed:
        """What the client noticed since the moment."""
        return noticed(self.client.log(), moment.wall, until)

    def finish(self) -> str:
        """End the TCP session; what was wrong with it, or ""."""
        try:
            return self.tcp.finish()
        except LabError as error:
            return str(error)
