"""One run of a case of ``make restart``, and what is counted in it.

::

    ├── WINDOW ──┤ moment           promoted
    ─ load ───────┼──── the deed ──────┼────────── all is as before ──┤ SETTLED
    └─ control ─┘                └ HALF ┴ HALF ┘

Probes every 10 ms and TCP both ways run through the client's tunnel all the time. Lost is every
probe since the moment that is not answered at the end. The longest gap is that around the switch,
or since a crash; beside it stands that of the time before, in which nothing happened, which is what
the machine does by itself. Times are nanoseconds of the lab's clock.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from tests.lab.errors import LabError
from tests.lab.measure import MS, Probe, longest_gap, lost
from tests.lab.openvpn import Client
from tests.lab.overflow import count_full_processors, count_full_queues
from tests.lab.processes import resident_kib, shared_kib
from tests.lab.restartclients import Guests, restarted
from tests.lab.restartserver import Server, Stock
from tests.lab.session import Moment, Watch
from tests.lab.traffic import TcpSession

WINDOW = 4.0
HALF = int(WINDOW / 2 * 1e9)
SETTLED = 1.0
"""Seconds of traffic after all is as before: what was sent until then is answered or lost."""
RECOVERY = 150.0
"""Seconds: a client that is told by nobody notices by its `ping-restart`, after 60."""


@dataclass(frozen=True)
class Run:
    """One run; a line of the file of all runs."""

    case: str
    control: bool
    run: int
    probes_sent: int
    probes_lost: int
    client_restarts: int
    longest_gap_ms: float
    window_gap_ms: float
    window_lost: int
    renegotiations_in_gap: int
    server_full: int
    client_full: int
    processors_full: int
    mbit: float
    tcp: str
    load: float
    at: str = ""
    commit: str = ""
    more: dict[str, Any] = field(default_factory=dict)

    @property
    def own_ms(self) -> float:
        """By how much the gap was longer than one without a switch."""
        return max(0.0, self.longest_gap_ms - self.window_gap_ms)


@dataclass
class Bench:
    """A server, the client that is watched, and those beside it."""

    server: Server
    watched: Watch
    mbit: float
    guests: Guests | None = None
    crowd: list[Client] = field(default_factory=list)
    serial: int = 0

    @property
    def clients(self) -> int | None:
        """How many are connected; None: they come and go."""
        return None if self.guests else 1 + len(self.crowd)

    def settle(self) -> None:
        """Wait until everything is there again; the client first, which may be told by nobody."""
        if not self.watched.recovers(self.watched.mark(), RECOVERY):
            raise LabError("the client gets no answer")
        self.server.wait_ready(self.clients)

    def start_load(self) -> TcpSession | None:
        """TCP both ways, with bytes that are looked at; None: none is wanted."""
        if not self.mbit:
            return None
        self.serial += 1
        lab = self.watched.lab
        client, lan = (lab.topology.namespace(name) for name in ("client", "lan"))
        session = TcpSession(
            client,
            lan,
            lab.directory,
            name=f"load{self.serial}",
            rate=int(self.mbit * 1e6 / 8),
        )
        for process in session.processes:
            lab.look_after(process)
        return session.start()

    def full(self) -> dict[str, int]:
        """What the kernel has dropped so far for want of room, and where."""
        (one, *_) = self.server.running or [self.watched.client.process]
        return {
            "server_full": count_full_queues(one.pid),
            "client_full": count_full_queues(self.watched.client.process.pid),
            "processors_full": count_full_processors(),
        }

    def memory(self) -> list[dict[str, float]]:
        """Of each process of the server, in MB."""
        return [
            {
                "rss_mb": round(resident_kib(one.pid) / 1024, 1),
                "pss_mb": round(shared_kib(one.pid) / 1024, 1),
            }
            for one in self.server.running
        ]


def until_of(promoted: int | None, end: int) -> int:
    """Up to when a gap counts: of what was not observed any more nothing is known."""
    return end if promoted is None else min(promoted + HALF, end)


def gap_ms(probes: Iterable[Probe], since: int, until: int) -> float:
    """The longest time between two answers of which the later came in between."""
    heard = [one for one in probes if one.answered is not None and one.answered <= until]
    return longest_gap(heard, since, until).length / MS


def make_run(
    bench: Bench, case: str, number: int, deed: Callable[[], None], *, sudden: bool
) -> Run:
    """Bring it about once, and count; ``sudden``: the moment of the deed is that of the switch."""
    watched = bench.watched
    bench.settle()
    failed = len(bench.guests.failures()) if bench.guests else 0
    load = bench.start_load()
    bench.watched.linger(WINDOW)
    full, moved = bench.full(), load.received() if load else 0
    moment = watched.mark()
    deed()
    bench.settle()
    watched.linger(SETTLED)
    end = watched.mark()
    seconds = (end.monotonic - moment.monotonic) / 1e9
    mbit = ((load.received() if load else 0) - moved) * 8 / 1e6 / seconds
    # a tun that was made anew begins to count at 0
    dropped = {name: max(0, count - full[name]) for name, count in bench.full().items()}
    tcp = load.finish() if load else ""
    return Run(
        case=case,
        control=isinstance(bench.server, Stock),
        run=number,
        tcp=tcp,
        mbit=round(mbit, 1),
        load=round(os.getloadavg()[0], 1),
        more=_more(bench, moment, failed),
        server_full=dropped["server_full"],
        client_full=dropped["client_full"],
        processors_full=dropped["processors_full"],
        **_count(bench, moment, end, sudden=sudden),
    )


def _count(bench: Bench, moment: Moment, end: Moment, *, sudden: bool) -> dict[str, Any]:
    """What the client saw."""
    watched, begin = bench.watched, moment.monotonic
    probes = watched.forward.probes()
    promoted = bench.server.promoted()
    told = promoted > begin - HALF and not watched.noticed(moment).restarts
    since = begin if sudden or not told else promoted - HALF
    until = until_of(promoted if told else None, end.monotonic)
    last = end.monotonic - int(SETTLED * 5e8)
    sent = [one for one in probes if begin <= one.sent <= last]
    before = [one for one in probes if begin - 2 * HALF <= one.sent < begin]
    return {
        "probes_sent": len(sent),
        "probes_lost": lost(sent),
        "client_restarts": watched.noticed(moment).restarts,
        "longest_gap_ms": round(gap_ms(probes, since, until), 1),
        "window_gap_ms": round(gap_ms(probes, begin - 2 * HALF, begin), 1),
        "window_lost": lost(before),
        "renegotiations_in_gap": _renegotiations(watched, moment, since, until),
    }


def _renegotiations(watched: Watch, moment: Moment, since: int, until: int) -> int:
    """How many fell into the longest gap, which they may not explain."""
    heard = [one for one in watched.forward.probes() if one.answered and one.answered <= until]
    gap = longest_gap(heard, since, until)
    return watched.noticed_in(gap, moment).renegotiations


def _more(bench: Bench, moment: Moment, failed: int) -> dict[str, Any]:
    found: dict[str, Any] = {"memory": bench.memory()}
    if bench.guests is not None:
        failures = bench.guests.failures()
        found |= {
            "come": bench.guests.come,
            "renegotiations": bench.guests.renegotiations(),
            "failed": failures[failed:],
        }
    if bench.crowd:
        found["crowd_restarts"] = restarted(bench.crowd, moment.wall)
    return found
