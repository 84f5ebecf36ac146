"""One row of the table: a scenario, a VIP manager, one run, from a fresh cluster to its figures.

The ``phases`` of a row follow each other, in milliseconds:

    it happens ─ detection ─► an address moves ─ vip ─► the outside VIP is there
               ─ promotion ─► OpenVPN has answered ─ first_packet ─► a client's packet is answered

What a master whose cables were pulled does with its addresses nobody hears; there *detection* ends
when the first one comes to another node. A fence waits within *promotion*, and that of a planned
move is 0: its target is promoted before the VIP comes. ``marks`` are moments since it happened.
"""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.lab import plan, served
from tests.lab.cleanup import keep_files
from tests.lab.errors import LabError
from tests.lab.frr import FrrKeepalived
from tests.lab.keepalived import Keepalived, KeepalivedFast
from tests.lab.lab import Lab
from tests.lab.managers.today import Control
from tests.lab.measure import MS, Probe, lost
from tests.lab.node import Setup
from tests.lab.pacemaker import Pacemaker
from tests.lab.run import OVERLAP, SETTLE_SECONDS, WATCH_SECONDS, judge
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
PHASES = ("detection", "vip", "promotion", "first_packet")
SEAMLESS_KEEPALIVE = "10 60"
PATIENCE = 60.0
UNHEARD = frozenset(
    {
        *(Victim.CABLES, Victim.OUTSIDE, Victim.OUTSIDE_AND_BACKCHANNEL, Victim.SUCCESSOR),
        *served.FENCES,
    }
)
"""In these stories the master's cables are pulled."""
ANYWHERE = frozenset({Victim.ALL, Victim.FLAPS})
"""After these stories any node will do."""


@dataclass(frozen=True)
class Planned:
    """One run to make: ovpnha with this VIP manager, or a control run of the same name."""

    scenario: Scenario
    manager: str
    index: int
    control: Control | None = None

    @property
    def servers(self) -> str:
        """What is in the servers, for people."""
        return self.control.name if self.control else "ovpnha"

    @property
    def title(self) -> str:
        """The run in a line of progress."""
        return f"{self.scenario.name}, {self.manager}, {self.servers}, run {self.index}"

    @property
    def patience(self) -> float:
        """Seconds until nobody is expected to be answered any more."""
        return self.control.patience if self.control else PATIENCE


def make_setup(one: Planned, openvpn: Path) -> Setup:
    """The cluster of this run: two nodes that only route."""
    if one.control:
        return one.control.setup()
    return Setup(
        openvpn=openvpn,
        vip_manager=MANAGERS[one.manager],
        keepalive=SEAMLESS_KEEPALIVE,
        priorities=one.scenario.priorities,
        server_options=one.scenario.server_options,
    )


def run_row(one: Planned, openvpn: Path, say: Callable[[str], None]) -> dict[str, Any]:
    """The row of this run. One that does not come to its end leaves its logs in build/lab/logs."""
    with Lab(make_setup(one, openvpn), say) as lab:
        try:
            return _measure(one, lab)
        except LabError as error:
            keep_files(lab.directory)
            raise LabError(f"{error} (build/lab/logs/{lab.directory.name})") from error


def _measure(one: Planned, lab: Lab) -> dict[str, Any]:
    dies = one.scenario.dies
    if not one.control and dies in served.PREPARATIONS:
        served.PREPARATIONS[dies](lab)
    begun = time.monotonic_ns()
    if dies is Victim.BOOT:
        lab.boot_at_once()
    else:
        lab.start_cluster()
    session = Session(lab)
    session.linger(SETTLE_SECONDS)
    lab.wait_standbys()
    lab.say("it happens")
    load = round(os.getloadavg()[0], 1)
    moment = ((one.control and one.control.story) or STORIES[dies])(session)
    recovered = session.recovers(_now(moment), one.patience)
    session.linger(WATCH_SECONDS)
    holder = lab.vips.holder()
    detail = {"run": one.index, "recovered": recovered, "moved": holder != moment.node}
    run = judge(session, moment, one.scenario, detail)
    row = run.as_json() | {"manager": one.manager, "run": one.index, "load": load}
    _add_phases(row, session, moment, heard=dies not in UNHEARD)
    if dies is Victim.BOOT:
        came = lab.vips.when(plan.OUT.vip, holder or "", present=True, since=begun)
        row["vip_move_ms"] = round(((came or begun) - begun) / MS, 2)
    elif math.isnan(row["vip_move_ms"]):
        row["vip_move_ms"] = None if one.scenario.expected.moves else 0.0
    return row


def _now(moment: Moment) -> Moment:
    """A story may end long after its moment: what was answered meanwhile says nothing."""
    return Moment(moment.node, time.monotonic_ns(), time.time_ns())


def _add_phases(row: dict[str, Any], session: Session, moment: Moment, *, heard: bool) -> None:
    """What the probes since the moment, the addresses and a fence have to say beside it."""
    probes = session.forward.probes()
    since = [probe for probe in probes if probe.sent >= moment.monotonic]
    row |= {"probes_sent": len(since), "probes_lost": lost(since), "marks": row["phases"]}
    row["detail"]["late_ms"] = round(session.late_ms(moment))
    begin = moment.monotonic - OVERLAP
    moved = [
        event.time
        for event in session.lab.vips.events()
        if event.address in {plan.OUT.vip, plan.LAN.vip}
        and event.time >= begin
        and (heard or event.node != moment.node)
    ]
    if moved:
        row["marks"]["address_moved"] = round((min(moved) - moment.monotonic) / MS, 2)
    if (allowed := served.allowed(session.lab, moment)) is not None:
        row["marks"]["fence_allowed"] = round(allowed, 2)
    row["phases"] = divide(row["marks"], probes, moment.monotonic)


def divide(marks: Mapping[str, float], probes: Iterable[Probe], since: int) -> dict[str, float]:
    """The phases of a move of the VIP, from its marks; none where it did not move.

    Where the marks of a promotion are missing (stock OpenVPN) *promotion* is, too.
    """
    if not {"address_moved", "vip_arrived"} <= marks.keys():
        return {}
    first, arrived = marks["address_moved"], marks["vip_arrived"]
    found = {"detection": max(0.0, first), "vip": arrived - max(0.0, first)}
    ready = arrived
    if "promote_answered" in marks:
        ready = max(arrived, marks["promote_answered"])
        found["promotion"] = ready - arrived
    answers = ((one.answered - since) / MS for one in probes if one.answered is not None)
    later = [answer for answer in answers if answer >= ready]
    if later:
        found["first_packet"] = min(later) - ready
    return {name: round(max(0.0, value), 2) for name, value in found.items()}


def broken_promises(row: Mapping[str, Any], scenario: Scenario) -> list[str]:
    """What a client noticed beside the outage, and a VIP that is on the wrong node."""
    if row["control"]:
        return []
    expected, detail, marks = scenario.expected, row["detail"], row["marks"]
    checks = {
        "no probe is answered any more": not detail["recovered"],
        "the client restarted": row["client_restarts"] > 0 and not expected.reconnects,
        "the client saw a hard reset": row["client_hard_resets"] > 0 and not expected.reconnects,
        f"the TCP session broke: {detail['tcp_problem']}": not row["tcp_alive"]
        and not expected.reconnects,
        # A master that was frozen may have it again, once it goes on.
        "the VIP did not move": expected.moves
        and not detail["moved"]
        and "vip_arrived" not in marks,
        "the VIP moved": stays(scenario) and detail["moved"],
        "it served before its fence allowed it": scenario.dies in served.FENCES
        and not marks["first_answer"] >= marks.get("fence_allowed", math.inf),
    }
    name = f"{row['scenario']}, {row['manager']}, run {row['run']}"
    return [f"{name}: {text}" for text, is_broken in checks.items() if is_broken]


def stays(scenario: Scenario) -> bool:
    """Whether the VIP must be where it was."""
    return not scenario.expected.moves and scenario.dies not in ANYWHERE
