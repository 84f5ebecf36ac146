"""A soak: one cluster, many failovers, and after each of them the whole truth.

A failover is over when the other node serves, every client that was there has been answered, what
was broken runs again, and the cluster is whole: one holder, a standby in sync, nobody in a
handshake. What a client notices later, a restart after a minute of silence, counts as well: its
log is read to its end in every row.

One kind of restart is a known price: a client whose master dies in the middle of its renegotiation
has to reconnect (docs/figures.md, "A death in a renegotiation"). All are renegotiated a minute
after they moved, so a soak meets that the more often the longer a busy machine takes for a
handshake. It counts as every other restart, and ``caught`` says how many were of that kind.
"""

from __future__ import annotations

import os
import random
import time
from dataclasses import dataclass
from typing import Any

from tests.lab import plan
from tests.lab.lab import GRADE_IN_SYNC, GRADE_MASTER, Lab
from tests.lab.soak.flock import Caught, Flock, Member
from tests.lab.soak.kinds import PATIENCE, Kind, mend
from tests.lab.soak.usage import read_usage, total
from tests.lab.stories import one_holder
from tests.lab.traffic import TcpSession
from tests.lab.waiting import wait_until

GO_AT_MOST = 4
PAUSE_SECONDS = 1.0
ANSWER_SECONDS = 20.0
WHOLE_SECONDS = 240.0
"""A client that left without a word gets no new packet ids, and holds the standby's grade down
until the server's keepalive has given it up (twice 60 s)."""
DRAWN_MS = 400.0
"""Within this time from their launch on the clients that come are met by the failover."""


def draw_kinds(kinds: tuple[Kind, ...], count: int, dice: random.Random) -> list[Kind]:
    """So many failovers: each kind equally often, as far as that goes, in any order."""
    found = [kinds[at % len(kinds)] for at in range(count)]
    dice.shuffle(found)
    return found


@dataclass(frozen=True)
class Blow:
    """One failover as it began."""

    kind: Kind
    master: str
    there: list[Member]
    monotonic: int


def is_whole(lab: Lab) -> bool:
    """The node that has the VIP serves, and the other one could."""
    holder = lab.vips.holder()
    if holder is None:
        return False
    grades = (lab.nodes[holder].grade(), lab.nodes[lab.other(holder)].grade())
    return grades == (GRADE_MASTER, GRADE_IN_SYNC)


class Soak:
    """The cluster, its clients, and a row for each failover."""

    def __init__(self, lab: Lab, clients: int, dice: random.Random) -> None:
        self.lab = lab
        self.flock = Flock(lab, clients, dice)
        self.caught = Caught(lab)
        self.rows: list[dict[str, Any]] = []
        self._dice = dice
        self._tcp: TcpSession | None = None

    def begin(self) -> None:
        """A whole cluster, its clients, a TCP session through all of it, and the first row."""
        self.lab.start_cluster()
        self.lab.start_client()
        self.flock.gather()
        self.lab.wait_standbys()
        self._tcp = self.lab.start_tcp()
        self._add_row("", 0.0, 0.0)

    def fail_over(self, kind: Kind) -> dict[str, Any]:
        """Make one failover; its row."""
        begun = time.monotonic()
        blow = self._strike(kind)
        self.lab.wait_master(self.lab.other(blow.master), PATIENCE)
        served = time.monotonic_ns()
        self.flock.lost |= set(self.flock.unheard(blow.there, served, ANSWER_SECONDS))
        outage = self.flock.pings.longest_ms((one.tunnel for one in blow.there), blow.monotonic)
        mend(self.lab, self.lab.nodes[blow.master])
        self._wait_whole()
        self.flock.wait_there()
        return self._add_row(kind.name, outage, time.monotonic() - begun)

    def _wait_whole(self) -> None:
        """Whoever it is, one node serves and the other is in sync: the role may have gone back."""
        one_holder(self.lab)
        wait_until(lambda: is_whole(self.lab), "a master and a standby in sync", WHOLE_SECONDS)
        for node in self.lab.nodes.values():
            for process in (node.processes[0], node.sidecar.process, node.openvpn):
                process.expect_running()

    def finish(self) -> str:
        """End the TCP session; what was wrong with it, or ""."""
        return self._tcp.finish() if self._tcp else "the TCP session never began"

    def _strike(self, kind: Kind) -> Blow:
        """Clients leave, others come and are met in whatever their handshake has got to."""
        time.sleep(self._dice.uniform(0.0, PAUSE_SECONDS))
        self.flock.go(min(GO_AT_MOST, self.flock.size))
        self.flock.come()
        time.sleep(self._dice.uniform(0.0, DRAWN_MS / 1000))
        there = self.flock.there()
        master = self.lab.master
        blow = Blow(kind, master.name, there, time.monotonic_ns())
        self.flock.struck(time.time_ns())
        kind.deed(self.lab, master)
        return blow

    def _add_row(self, kind: str, outage_ms: float, seconds: float) -> dict[str, Any]:
        usage = read_usage(self.lab)
        restarts = self.flock.restarts()
        self.caught.gave_up = self.flock.gave_up(restarts)
        row = {
            "failovers": len(self.rows),
            "clients": len(self.flock.there()),
            "restarts": sum(restarts.values()),
            "caught": self.caught.explains(restarts),
            "lost_sessions": len(self.flock.lost),
            "rss_mb": total(usage, "rss_mb"),
            "descriptors": int(total(usage, "descriptors")),
            "programs": usage,
            "kind": kind,
            "outage_ms": round(outage_ms),
            "master": self.lab.vips.holder(plan.OUT.vip),
            "clients_so_far": self.flock.seen,
            "seconds": round(seconds, 1),
            "load": round(os.getloadavg()[0], 1),
        }
        self.rows.append(row)
        return row
