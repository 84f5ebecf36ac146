"""``python -m tests.lab.renegotiation``: the master dies at each instant of a renegotiation.

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
from typing import Any

from ovpnha.errors import OvpnhaError
from tests.lab.deaths import kill_openvpn
from tests.lab.lab import Lab
from tests.lab.measure import MS
from tests.lab.node import Node, Setup
from tests.lab.openvpn import STOCK
from tests.lab.packetfilter import ACK, CONTROL, PacketFilter
from tests.lab.session import TURNS, Session, Watch
from tests.lab.waiting import Tail, wait_until

SERVER_WINDOW = 3
CLIENT_WINDOW = 6
"""Seconds, OpenVPN's ``hand-window``: until a key may be renegotiated, and until the client sends
under a new key or gives a handshake up."""

WATCH_SECONDS = CLIENT_WINDOW + 4.0
PATIENCE = 20.0
BOUND_MS = 2500.0
PENDING = "is pending, it waits"


class Renegotiation:
    """A client about to renegotiate, with the means to stop it on its way."""

    def __init__(self, session: Watch) -> None:
        self.session = session
        self.master = session.lab.master
        self.standby = session.lab.nodes[session.lab.other(self.master.name)]
        self.packets = PacketFilter(self.master.namespace)
        self._log = Tail(self.master.openvpn.log)
        self.session.linger(SERVER_WINDOW + 1.5)
        self.begun = self.session.mark()
        self._log.lines()
        self._exports = self._imports = 0
        self._exported = False

    def settle(self) -> None:
        """After the kill: let the standby take what has left the master."""
        self.thaw_standby()
        if self._exported:
            wait_until(self._has_imported, "the import of the record that has left", PATIENCE)

    def _has_imported(self) -> bool:
        """Whether the standby has imported since it was frozen, and all that it has heard of."""
        return _count(self.standby, "imports") > self._imports and not _ask(self.standby)["stale"]

    def order(self) -> None:
        """Have the master begin."""
        self._exports = _count(self.master, "exports")
        self.master.sidecar.renegotiate()

    def freeze_standby(self) -> None:
        """Nothing is acknowledged any more."""
        self._imports = _count(self.standby, "imports")
        self.standby.sidecar.process.signal(signal.SIGSTOP)

    def thaw_standby(self) -> None:
        """The standby takes what has come meanwhile."""
        self.standby.sidecar.process.signal(signal.SIGCONT)

    def wait_pending(self) -> None:
        """Wait until the master holds its last message back."""

        def pending() -> bool:
            return any(PENDING in line for line in self._log.lines())

        wait_until(pending, "a pending key", PATIENCE)

    def wait_exported(self) -> None:
        """Wait until the master's sidecar has sent the record: its own figures say so."""

        def exported() -> bool:
            return _count(self.master, "exports") > self._exports

        wait_until(exported, "the record has left", PATIENCE)
        self._exported = True

    def wait_new_key(self) -> None:
        """Wait until the client has the new key."""

        def has_key() -> bool:
            return self.session.noticed(self.begun).renegotiations > 0

        wait_until(has_key, "the client has a new key", PATIENCE)


def _ask(node: Node) -> dict[str, Any]:
    """What a node says of its OpenVPN, as soon as its sidecar answers."""
    what = f"node {node.name}'s sidecar answers"
    return wait_until(node.sidecar.instance, what, PATIENCE) or {}


def _count(node: Node, name: str) -> int:
    return int(_ask(node)["counters"].get(name, 0))


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
    """The record with the key has left; the message that gives it to the client is held."""
    one.freeze_standby()
    one.order()
    one.wait_pending()
    one.wait_exported()


def message_repeated(one: Renegotiation) -> None:
    """As above, and the client does not know that its own last message has been received."""
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
    "message-repeated": message_repeated,
    "key-acknowledged": key_acknowledged,
    "client-switched": client_switched,
}

SEAMLESS = (
    "before-the-hello",
    "key-pending",
    "message-repeated",
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
    late_ms: float  # by how much the sender of the probes was late at most


def run(instant: str, number: int, openvpn: Path, client: Path = STOCK) -> Outcome:
    """Bring a fresh lab to an instant, kill the master and watch."""
    setup = Setup(
        openvpn=openvpn,
        client_openvpn=client,
        vip_manager=None,
        server_options=(f"hand-window {SERVER_WINDOW}",),
        client_options=(f"hand-window {CLIENT_WINDOW}",),
    )
    with Lab(setup) as lab:
        lab.start_cluster()
        session = Session(lab)
        one = Renegotiation(session)
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
            late_ms=round(session.late_ms(moment), 2),
        )


def broken_promises(outcomes: list[Outcome]) -> list[str]:
    """One line for each promise that was not kept."""
    broken: list[str] = []
    for one in outcomes:
        name = f"{one.instant}, run {one.run}"
        if not one.recovered or one.gap_ms > BOUND_MS + TURNS * one.late_ms:
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
    parser = argparse.ArgumentParser(prog="tests.lab.renegotiation", description=__doc__)
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
        print(f"tests.lab.renegotiation: {error}", file=sys.stderr)
        return 2
    arguments.output.mkdir(parents=True, exist_ok=True)
    text = json.dumps([asdict(one) for one in outcomes], indent=2)
    (arguments.output / "renegotiation.json").write_text(text + "\n")
    print(table(outcomes))
    broken = broken_promises(outcomes)
    for line in broken:
        print(f"tests.lab.renegotiation: promise not kept: {line}", file=sys.stderr)
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
