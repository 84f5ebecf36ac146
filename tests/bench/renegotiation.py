"""``python -m tests.bench.renegotiation``: a master that dies in the midst of a renegotiation.

The client's control packets of a renegotiation are let through up to the Nth; then its master is
killed and the way is free again. What the client had reached by then is read from both logs, and
the longest gap in a probe every 10 ms is measured until everything has settled. Writes
``renegotiation.json`` and shows a table; ``--runs`` for each N, ``--output DIR``. Needs root.

``hand-window`` is 6 s on both ends, not 60, so that a run takes seconds: what a client waits for
(60 s until it sends on a new key, 60 s until it gives a handshake up) is shorter by that factor.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
from pathlib import Path

from rich.console import Console
from rich.table import Table

from ovpnha.lab.errors import LabError
from ovpnha.lab.lab import Lab, other
from ovpnha.lab.node import Node, Setup
from ovpnha.lab.scenarios import kill_openvpn
from ovpnha.lab.session import Session
from ovpnha.lab.waiting import wait_until

OPENVPN = Path("build/openvpn/openvpn").resolve()
HAND_WINDOW = 6
OPTIONS = (f"hand-window {HAND_WINDOW}",)
ALLOWED = (None, 0, 1, 2, 3, 4, 5, 6, 99)
"""Client's control packets that pass before the master dies; None: it dies before the first."""

FROZEN_SECONDS = 0.5  # a handshake on a LAN is over, or stands still, after this
SETTLE_SECONDS = HAND_WINDOW + 4.0
PATIENCE = 30.0
NEW_KEY = "Outgoing Data Channel: Cipher"
INSTANTS = ("before it", "in the handshake", "only the client has the key", "both have the key")
console = Console(stderr=True)


class Freeze:
    """Drops the client's control packets of a renegotiation after so many."""

    def __init__(self, lab: Lab, allowed: int) -> None:
        self._run = ["ip", "netns", "exec", lab.topology.namespace("client"), "nft"]
        self._allowed = allowed

    def __enter__(self) -> Freeze:
        # An opcode is the upper 5 bits of the first byte, a key id the lower 3.
        which = "udp dport 1194 @th,64,5 { 3, 4, 5 } @th,69,3 != 0"
        over = f"limit rate over 1/day burst {self._allowed} packets" if self._allowed else ""
        rules = f"""
            table inet oha-freeze {{
                counter begun {{ }}
                chain out {{
                    type filter hook output priority 0;
                    {which} counter name begun
                    {which} {over} drop
                }}
            }}"""
        subprocess.run([*self._run, "-f", "-"], input=rules, text=True, check=True)
        return self

    def __exit__(self, *_: object) -> None:
        subprocess.run([*self._run, "delete", "table", "inet", "oha-freeze"], check=True)

    def begun(self) -> bool:
        """Whether the client has answered at all, whatever became of it."""
        command = [*self._run, "list", "counter", "inet", "oha-freeze", "begun"]
        found = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        return "packets 0 " not in found


class Bench:
    """One lab, and death after death in it."""

    def __init__(self, lab: Lab) -> None:
        self._lab = lab
        lab.start_cluster()
        self._session = Session(lab)

    def run(self, allowed: int | None) -> tuple[str, float]:
        """One death: what the client had reached, and its longest gap in milliseconds."""
        session, lab = self._session, self._lab
        session.linger(SETTLE_SECONDS)
        master = lab.master
        lab.wait_in_sync(other(master.name))
        if allowed is None:
            killed = session.strike(kill_openvpn)
            instant = INSTANTS[0]
        else:
            before = self._keys(master)
            with Freeze(lab, allowed) as freeze:
                master.sidecar.renegotiate()
                wait_until(freeze.begun, "a renegotiation", PATIENCE)
                session.linger(FROZEN_SECONDS)
                instant = self._reached(before, self._keys(master))
                killed = session.strike(kill_openvpn)
        if not session.recovers(killed, PATIENCE):
            raise LabError("the client never came back")
        session.linger(SETTLE_SECONDS)
        gap = session.outage_ms(killed)
        master.openvpn.start()
        wait_until(lambda: master.grade() not in (None, -254), "the dead node is back", PATIENCE)
        return instant, gap

    def _keys(self, master: Node) -> tuple[int, int]:
        """How many keys the client and its master have made."""
        client = sum(NEW_KEY in line.text for line in self._session.client.log())
        log = master.directory / f"openvpn-{master.name}.log"
        return client, log.read_text(errors="replace").count(NEW_KEY)

    @staticmethod
    def _reached(before: tuple[int, int], after: tuple[int, int]) -> str:
        client, server = after[0] > before[0], after[1] > before[1]
        if server:
            return INSTANTS[3]
        return INSTANTS[2] if client else INSTANTS[1]


def measure(runs: int) -> dict[str, list[float]]:
    """The gaps of every run, by instant."""
    gaps: dict[str, list[float]] = {instant: [] for instant in INSTANTS}
    setup = Setup(openvpn=OPENVPN, server_options=OPTIONS, client_options=OPTIONS)
    with Lab(setup) as lab:
        bench = Bench(lab)
        for number in range(runs):
            for allowed in ALLOWED:
                instant, gap = bench.run(allowed)
                gaps[instant].append(round(gap, 1))
                console.log(f"run {number + 1}, {allowed} packets: {instant}, {gap:.0f} ms")
    return gaps


def show(gaps: dict[str, list[float]]) -> None:
    """A table for people."""
    table = Table("the master dies", "runs", "median ms", "most ms", title="renegotiations")
    for instant, values in gaps.items():
        most = f"{max(values):.0f}" if values else ""
        median = f"{statistics.median(values):.0f}" if values else ""
        table.add_row(instant, str(len(values)), median, most)
    Console().print(table)


def main(arguments: list[str]) -> int:
    """Measure, write and show."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.renegotiation")
    parser.add_argument("--runs", type=int, default=20)
    parser.add_argument("--output", type=Path, default=Path("build/bench"))
    options = parser.parse_args(arguments)
    try:
        gaps = measure(options.runs)
    except LabError as error:
        console.print(f"bench: {error}", style="red", markup=False)
        return 1
    options.output.mkdir(parents=True, exist_ok=True)
    (options.output / "renegotiation.json").write_text(json.dumps(gaps, indent=2) + "\n")
    show(gaps)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
