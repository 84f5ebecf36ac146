"""``python -m ovpnha.lab.renegotiation``: the master dies at each instant of a renegotiation.

    --runs N          of each instant (20)
    --instant NAME    only this one; may be repeated
    --output DIR      where renegotiation.json goes (build/lab)

Real servers and a stock client, whose renegotiation is brought to an instant and kept there by
packet filters and by freezing the standby's sidecar, until the master is dead. What counts is the
longest gap between two answers to a 10 ms probe stream, the failover itself included; ``idle``,
without a renegotiation, says how much that is.
"""

from __future__ import annotations

import argparse
import json
import signal
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median

from ovpnha.errors import OvpnhaError
from ovpnha.lab.lab import Lab
from ovpnha.lab.measure import MS
from ovpnha.lab.node import Setup
from ovpnha.lab.openvpn import STOCK
from ovpnha.lab.packetfilter import ACK, CONTROL, PacketFilter
from ovpnha.lab.scenarios import kill_openvpn
from ovpnha.lab.session import Session
from ovpnha.lab.waiting import Tail, wait_until

SERVER_WINDOW = 3
CLIENT_WINDOW = 6
"""Seconds, OpenVPN's ``hand-window``: until a key may be renegotiated, and until the client sends
under a new key or gives a handshake up."""

WATCH_SECONDS = CLIENT_WINDOW + 4.0
PATIENCE = 20.0
BOUND_MS = 2500.0
EXPORT_SECONDS = 0.06
"""For the record to leave; the word waits for 100 ms."""

PENDING = "is pending, it waits"


class Renegotiation:
    """A client about to renegotiate, with the means to stop it on its way."""

    def __init__(self, lab: Lab) -> None:
        self.lab = lab
        lab.start_cluster()
        self.session = Session(lab)
        self.master, self.standby = lab.nodes["a"], lab.nodes["b"]
        self.packets = PacketFilter(self.master.namespace)
        self._log = Tail(self.master.openvpn.log)
        self.session.linger(SERVER_WINDOW + 1.5)
        self.begun = self.session.mark()
        self._log.lines()
        self._imports = self._count_imports()
        self.expects_import = False

    def _count_imports(self) -> int:
        figures = self.standby.sidecar.instance()
        return int(figures["counters"].get("imports", 0)) if figures else 0

    def settle(self) -> None:
        """After the kill: let the standby take what has left the master."""
        self.thaw_standby()
        if self.expects_import:
            wait_until(lambda: self._count_imports() > self._imports, "the import", PATIENCE)

    def order(self) -> None:
        """Have the master begin."""
        self.master.sidecar.renegotiate()

    def freeze_standby(self) -> None:
        """Nothing is acknowledged any more."""
        self.standby.sidecar.process.signal(signal.SIGSTOP)

    def thaw_standby(self) -> None:
        """The standby takes what has come meanwhile."""
        self.standby.sidecar.process.signal(signal.SIGCONT)

    def wait_pending(self) -> None:
        """Wait until the master holds its last word back."""

        def pending() -> bool:
            return any(PENDING in line for line in self._log.lines())

        wait_until(pending, "a pending key", PATIENCE)

    def wait_new_key(self) -> None:
        """Wait until the client has the new key."""

        def has_key() -> bool:
            return self.session.noticed(self.begun).renegotiations > 0

        wait_until(has_key, "the client has a new key", PATIENCE)


def idle(_one: Renegotiation) -> None:
    """No renegotiation at all: what the failover itself costs."""


def before_the_hello(one: Renegotiation) -> None:
    """It is ordered, and nothing has left the master."""
    one.master.openvpn.signal(signal.SIGSTOP)
    one.order()


def in_the_handshake(one: Renegotiation) -> None:
    """The client is in TLS, and has not been answered."""
    one.packets.refuse(CONTROL)
    one.order()
    wait_until(one.packets.refused, "a ClientHello", PATIENCE)


def key_pending(one: Renegotiation) -> None:
    """The record with the key has left; the word that gives it to the client is held."""
    one.freeze_standby()
    one.order()
    one.wait_pending()
    one.session.linger(EXPORT_SECONDS)
    one.expects_import = True


def word_repeated(one: Renegotiation) -> None:
    """As above, and the client does not know that its own last word has been received."""
    one.packets.withhold_acks()
    key_pending(one)


def key_acknowledged(one: Renegotiation) -> None:
    """The standby has the key, the client has it too, and the master does not know that."""
    one.freeze_standby()
    one.order()
    one.wait_pending()
    one.packets.refuse(ACK)
    one.thaw_standby()
    one.wait_new_key()


def client_switched(one: Renegotiation) -> None:
    """The client sends under its new key."""
    one.order()
    one.wait_new_key()
    one.session.linger(CLIENT_WINDOW + 1.0)


INSTANTS: dict[str, Callable[[Renegotiation], None]] = {
    "idle": idle,
    "before-the-hello": before_the_hello,
    "in-the-handshake": in_the_handshake,
    "key-pending": key_pending,
    "word-repeated": word_repeated,
    "key-acknowledged": key_acknowledged,
    "client-switched": client_switched,
}

SEAMLESS = (
    "before-the-hello",
    "key-pending",
    "word-repeated",
    "key-acknowledged",
    "client-switched",
)
"""Instants at which the client must not reconnect."""


@dataclass(frozen=True)
class Outcome:
    """One run: the longest gap, when it began after the kill, and what the client noticed."""

    instant: str
    run: int
    gap_ms: float
    gap_began_ms: float
    recovered: bool
    reconnects: int
    hard_resets: int
    bad_packet_ids: int


def run(instant: str, number: int, openvpn: Path, client: Path = STOCK) -> Outcome:
    """Bring a fresh lab to an instant, kill the master and watch."""
    setup = Setup(
        openvpn=openvpn,
        client_openvpn=client,
        keepalived=False,
        server_options=(f"hand-window {SERVER_WINDOW}",),
        client_options=(f"hand-window {CLIENT_WINDOW}",),
    )
    with Lab(setup) as lab:
        one = Renegotiation(lab)
        session = one.session
        INSTANTS[instant](one)
        moment = session.strike(kill_openvpn)
        one.settle()
        lab.move_vips("b")
        recovered = session.recovers(moment, PATIENCE)
        session.linger(WATCH_SECONDS)
        gap, seen = session.gap(moment), session.noticed(moment)
        return Outcome(
            instant=instant,
            run=number,
            gap_ms=round(gap.length / MS, 2),
            gap_began_ms=round((gap.start - moment.monotonic) / MS, 2),
            recovered=recovered,
            reconnects=seen.reconnects,
            hard_resets=seen.hard_resets,
            bad_packet_ids=seen.bad_packet_ids,
        )


def broken_promises(outcomes: list[Outcome]) -> list[str]:
    """One line for each promise that was not kept."""
    broken: list[str] = []
    for one in outcomes:
        name = f"{one.instant}, run {one.run}"
        if not one.recovered or one.gap_ms > BOUND_MS:
            broken.append(f"{name}: {one.gap_ms:.0f} ms without an answer")
        if one.instant in SEAMLESS and (one.reconnects or one.hard_resets):
            broken.append(f"{name}: the client reconnected")
    return broken


def table(outcomes: list[Outcome]) -> str:
    """One row for each instant."""
    rows = [f"{'instant':18}{'runs':>6}{'median':>9}{'largest':>9}{'reconnected':>13}  (gap in ms)"]
    for name in INSTANTS:
        group = [one for one in outcomes if one.instant == name]
        if group:
            gaps = [one.gap_ms for one in group]
            again = sum(one.reconnects > 0 or one.hard_resets > 0 for one in group)
            figures = f"{len(group):6}{median(gaps):9.0f}{max(gaps):9.0f}{again:13}"
            rows.append(f"{name:18}{figures}")
    return "\n".join(rows)


def main() -> int:
    """The command."""
    parser = argparse.ArgumentParser(prog="ovpnha.lab.renegotiation", description=__doc__)
    parser.add_argument("--runs", type=int, default=20)
    parser.add_argument("--instant", action="append", choices=list(INSTANTS))
    parser.add_argument("--output", type=Path, default=Path("build/lab"))
    parser.add_argument("--openvpn", type=Path, default=Path("build/openvpn/openvpn"))
    arguments = parser.parse_args()
    outcomes: list[Outcome] = []
    try:
        for number in range(1, arguments.runs + 1):
            for instant in arguments.instant or INSTANTS:
                outcomes.append(run(instant, number, arguments.openvpn.resolve()))
                print(f"{instant}, run {number}: {outcomes[-1].gap_ms:.0f} ms", flush=True)
    except OvpnhaError as error:
        print(f"ovpnha.lab.renegotiation: {error}", file=sys.stderr)
        return 2
    arguments.output.mkdir(parents=True, exist_ok=True)
    text = json.dumps([asdict(one) for one in outcomes], indent=2)
    (arguments.output / "renegotiation.json").write_text(text + "\n")
    print(table(outcomes))
    broken = broken_promises(outcomes)
    for line in broken:
        print(f"ovpnha.lab.renegotiation: promise not kept: {line}", file=sys.stderr)
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
