"""One row of the table: a scenario, a VIP manager, one run, from a fresh cluster to its figures."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.lab import plan
from tests.lab.frr import FrrKeepalived
from tests.lab.keepalived import Keepalived, KeepalivedFast
from tests.lab.lab import Lab
from tests.lab.measure import MS, lost
from tests.lab.node import Setup
from tests.lab.openvpn import STOCK
from tests.lab.pacemaker import Pacemaker
from tests.lab.run import CONTROL_MARGIN, SETTLE_SECONDS, WATCH_SECONDS, judge
from tests.lab.scenarios import Scenario, Victim
from tests.lab.session import Moment, Session
from tests.lab.stories import STORIES
from tests.lab.ucarp import Ucarp
from tests.lab.vip_manager import VipProgram

MANAGERS: dict[str, type[VipProgram]] = {
    "keepalived": Keepalived,
    "keepalived-fast": KeepalivedFast,
    "ucarp": Ucarp,
    "pacemaker": Pacemaker,
    "frr": FrrKeepalived,
}
SEAMLESS_KEEPALIVE = "10 60"
PATIENCE = 60.0


@dataclass(frozen=True)
class Planned:
    """One run to make; ``keepalive`` is that of stock OpenVPN in a control run, "" for ovpnha."""

    scenario: Scenario
    manager: str
    index: int
    keepalive: str = ""

    @property
    def title(self) -> str:
        """The run in a line of progress."""
        kind = f"stock OpenVPN, keepalive {self.keepalive}" if self.keepalive else "ovpnha"
        return f"{self.scenario.name}, {self.manager}, {kind}, run {self.index}"


def make_setup(one: Planned, openvpn: Path) -> Setup:
    """The cluster of this run: two nodes that only route."""
    return Setup(
        openvpn=STOCK if one.keepalive else openvpn,
        seamless=not one.keepalive,
        vip_manager=MANAGERS[one.manager],
        keepalive=one.keepalive or SEAMLESS_KEEPALIVE,
        priorities=one.scenario.priorities,
        server_options=one.scenario.server_options,
    )


def run_row(one: Planned, openvpn: Path, say: Callable[[str], None]) -> dict[str, Any]:
    """The row of this run."""
    with Lab(make_setup(one, openvpn), say) as lab:
        begun = time.monotonic_ns()
        boots = one.scenario.dies is Victim.BOOT
        if boots:
            lab.boot_at_once()
        else:
            lab.start_cluster()
        session = Session(lab)
        session.linger(SETTLE_SECONDS)
        lab.wait_standbys()
        say("it happens")
        moment = STORIES[one.scenario.dies](session)
        recovered = session.recovers(_now(moment), _patience(one))
        session.linger(WATCH_SECONDS)
        holder = lab.vips.holder()
        run = judge(session, moment, one.scenario, {"run": one.index, "recovered": recovered})
        row = run.as_json() | {"manager": one.manager, "run": one.index}
        since = [probe for probe in session.forward.probes() if probe.sent >= moment.monotonic]
        row |= {"probes_sent": len(since), "probes_lost": lost(since)}
        row["detail"] |= {"moved": holder != moment.node, "late_ms": round(session.late_ms(moment))}
        if boots:
            came = lab.vips.when(plan.OUT.vip, holder or "", present=True, since=begun)
            row["vip_move_ms"] = round(((came or begun) - begun) / MS, 2)
        elif math.isnan(row["vip_move_ms"]):
            row["vip_move_ms"] = None if one.scenario.expected.moves else 0.0
        return row


def _now(moment: Moment) -> Moment:
    """A story may end long after its moment: what was answered meanwhile says nothing."""
    return Moment(moment.node, time.monotonic_ns(), time.time_ns())


def _patience(one: Planned) -> float:
    if one.keepalive:
        return float(one.keepalive.split()[1]) + CONTROL_MARGIN
    return PATIENCE


def broken_promises(row: dict[str, Any], scenario: Scenario) -> list[str]:
    """What a client noticed beside the outage, and a VIP that is on the wrong node."""
    if row["control"]:
        return []
    expected, detail = scenario.expected, row["detail"]
    checks = {
        "no probe is answered any more": not detail["recovered"],
        "the client restarted": row["client_restarts"] > 0 and not expected.reconnects,
        "the client saw a hard reset": row["client_hard_resets"] > 0 and not expected.reconnects,
        f"the TCP session broke: {detail['tcp_problem']}": not row["tcp_alive"]
        and not expected.reconnects,
        "the VIP did not move": expected.moves and not detail["moved"],
        "the VIP moved": stays(scenario) and detail["moved"],
    }
    name = f"{row['scenario']}, {row['manager']}, run {row['run']}"
    return [f"{name}: {text}" for text, is_broken in checks.items() if is_broken]


def stays(scenario: Scenario) -> bool:
    """Whether the VIP must be where it was; after some stories any node will do."""
    return not scenario.expected.moves and scenario.dies not in {Victim.ALL, Victim.FLAPS}
