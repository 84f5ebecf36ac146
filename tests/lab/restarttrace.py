"""No packet id twice, over restarts and crashes of one server in a row.

The two processes of a server run the traced build, which writes down every nonce that it uses and
whose ranges are used up within a second (``tests/lab/splitbrain.py``, which shows that the checker
finds what is planted). Traffic runs both ways all the time; a sniffer at the client notes what came
over the wire. Every second round is a crash, every fifth a hang, the others are restarts.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import Any

from tests.lab.clientlog import noticed
from tests.lab.errors import LabError
from tests.lab.lab import Lab, quiet
from tests.lab.node import Setup
from tests.lab.nonces import Nonces, Wire, compare, count
from tests.lab.openvpn import Client
from tests.lab.restartserver import Spared
from tests.lab.sparelab import PATIENCE, SPARE_OPTIONS, SpareLab
from tests.lab.splitbrain import AES_256_GCM, TRACED
from tests.lab.traced import sniffer, source, traced_lab, traces_of, wire_of
from tests.lab.waiting import wait_until

USED = 300
"""Packet ids of a process between two rounds: several of its ranges."""
CRASH_EVERY, HANG_EVERY = 2, 5


@dataclass(frozen=True)
class Traced:
    """What all rounds have written down."""

    rounds: int
    done: dict[str, int]
    nonces: Nonces
    wire: Wire
    client_restarts: int
    ended: str = ""
    """Why there are fewer rounds than were asked for."""

    @property
    def good(self) -> bool:
        """Whether nothing is wrong, and could have been."""
        clean = not (
            self.nonces.duplicates or self.wire.untraced or self.client_restarts or self.ended
        )
        return clean and self.nonces.shared_keys > 0

    def summary(self) -> dict[str, Any]:
        """As it stands in the file."""
        return asdict(self)


class Tracer:
    """A traced server with a spare, its client and their traffic."""

    def __init__(self, lab: Lab, server: SpareLab) -> None:
        self._lab = lab
        self._server = server
        self._spared = Spared(server, lab.setup.openvpn, lab.setup.openvpn)

    def begin(self) -> Client:
        """Everything runs, and packets flow."""
        self._server.start()
        self._server.keep()
        client = self._lab.start_client()
        for one in (
            sniffer(self._lab, AES_256_GCM.mark),
            source(self._lab, self._server.node.name),
        ):
            self._lab.look_after(one).start()
        self.flow()
        return client

    def round(self, number: int) -> str:
        """One more death or restart; what it was."""
        self._server.wait_spare(1)
        deeds: dict[str, Callable[[], None]] = {
            "crash": self._spared.kill,
            "hang": self._spared.hang,
            "restart": self._spared.restart,
        }
        hangs, crashes = number % HANG_EVERY == 0, number % CRASH_EVERY == 0
        kind = "hang" if hangs else "crash" if crashes else "restart"
        before = self._server.serving()
        deeds[kind]()
        wait_until(lambda: self._server.serving() != before, "the other one serves", PATIENCE)
        self.flow()
        return kind

    def flow(self) -> None:
        """Wait until the process that serves has used many packet ids."""
        goal = self._used() + USED
        wait_until(lambda: self._used() > goal, "packet ids are used", PATIENCE)

    def count(self) -> tuple[Nonces, Wire]:
        """What there is so far; the sniffer first, which must not know more than the traces."""
        seen = wire_of(self._lab).read_text().splitlines(keepends=True)
        wire = [line.rstrip("\n") for line in seen if "\n" in line]
        traces = {one.name: one.read_text().splitlines() for one in traces_of(self._lab)}
        return count(traces), compare(wire, traces)

    def _used(self) -> int:
        return sum(one.read_bytes().count(b"\n") for one in traces_of(self._lab))


@contextmanager
def traced(say: Callable[[str], None] = quiet) -> Iterator[Tracer]:
    """A lab for it."""
    settings = AES_256_GCM.settings
    setup = Setup(
        openvpn=TRACED.resolve(),
        vip_manager=None,
        server_options=(*SPARE_OPTIONS, *settings),
        client_options=settings,
    )
    with traced_lab(setup, say) as lab, SpareLab(lab) as server:
        yield Tracer(lab, server)


def run(rounds: int, say: Callable[[str], None] = quiet) -> Traced:
    """So many in a row."""
    with traced(say) as tracer:
        client = tracer.begin()
        done: dict[str, int] = {}
        begun = client.log()[-1].time + 1
        ended = ""
        try:
            for number in range(1, rounds + 1):
                kind = tracer.round(number)
                done[kind] = done.get(kind, 0) + 1
                say(f"round {number}: {kind}")
        except LabError as error:
            ended = str(error)
        nonces, wire = tracer.count()
        seen = noticed(client.log(), begun)
        restarts = max(seen.restarts, seen.hard_resets)
        return Traced(sum(done.values()), done, nonces, wire, restarts, ended)
