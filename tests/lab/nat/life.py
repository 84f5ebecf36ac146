"""One cluster's life: all kinds of connections at once, over three moves of the VIP."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from ovpnha.runtime.control import DemoteRequest
from tests.lab import plan
from tests.lab.deaths import cut_node, kill_openvpn
from tests.lab.lab import Lab
from tests.lab.measure import MS
from tests.lab.nat.flows import Flows
from tests.lab.nat.rows import Death, Fate, Leg, Row, Traffic
from tests.lab.node import Node, Setup
from tests.lab.rules import Rules
from tests.lab.run import OVERLAP
from tests.lab.session import Moment, Watch
from tests.lab.traffic import ProbeStream
from tests.lab.waiting import wait_until

MOVE_SECONDS = 30.0
WATCH_SECONDS = 3.0


@dataclass(frozen=True)
class Life:
    """What one life is: its firewall, how masters die, with or without conntrackd."""

    rules: Rules
    death: Death
    control: bool  # without conntrackd
    families: tuple[str, ...]
    idle_seconds: float = 60.0
    sessions: int = 200
    patience: float = 10.0
    """Seconds for which a silent session is waited for: TCP's own retransmission backs off."""

    def __str__(self) -> str:
        return f"{self.rules}, {self.death}{', control' if self.control else ''}"


def demote(_lab: Lab, master: Node) -> None:
    """Give the role up, the planned way."""
    master.sidecar.ask(DemoteRequest())


DEEDS: dict[Death, Callable[[Lab, Node], None]] = {
    Death.KILL: kill_openvpn,
    Death.CUT: cut_node,
    Death.DEMOTE: demote,
}


def live(life: Life, openvpn: Path, say: Callable[[str], None]) -> Iterator[Row]:
    """Live it; the rows of each move as soon as they are known."""
    setup = Setup(openvpn=openvpn, rules=life.rules, conntrack=not life.control)
    with Lab(setup, say) as lab:
        lab.start_cluster()
        client = lab.start_client()
        lab.wait_in_sync("b")
        flows = Flows(lab, life.families, life.sessions)
        flows.start()
        watch = Watch(lab, client, _no_probes(lab))
        for leg in Leg:
            watch.linger(life.idle_seconds)
            say(f"{leg}: {life.death}")
            yield from _move(life, leg, watch, flows)
            _heal(life.death, lab, lab.other(lab.master.name))


def _no_probes(lab: Lab) -> ProbeStream:
    """``Watch`` wants one; ours are those of ``Flows``."""
    return ProbeStream("unused", lab.topology.namespace("client"), "127.0.0.1", lab.directory)


def _move(life: Life, leg: Leg, watch: Watch, flows: Flows) -> Iterator[Row]:
    moment = watch.strike(DEEDS[life.death])
    watch.lab.wait_master(watch.lab.other(moment.node), MOVE_SECONDS)
    move_ms = wait_until(lambda: _moved_ms(watch.lab, moment), "all addresses", MOVE_SECONDS)
    watch.linger(WATCH_SECONDS)
    fates = flows.judge(moment.monotonic, life.patience)
    for (traffic, family), fate in fates.items():
        yield _row(life, leg, traffic, family, fate, move_ms)


def _row(life: Life, leg: Leg, traffic: Traffic, family: str, fate: Fate, move_ms: float) -> Row:
    return Row(
        rules=life.rules,
        death=life.death,
        leg=leg,
        traffic=traffic,
        family=family,
        control=life.control,
        alive=fate.alive,
        stall_ms=round(fate.stall_ms, 2),
        vip_move_ms=round(move_ms, 2),
        error=fate.errors[0] if fate.errors else "",
    )


def _moved_ms(lab: Lab, moment: Moment) -> float:
    """How long the last of the addresses was on its way; 0 while it still is."""
    new, since = lab.other(moment.node), moment.monotonic - OVERLAP
    wanted = (plan.OUT.vip, plan.LAN.vip, plan.LAN.vip6)
    times = [lab.vips.when(address, new, present=True, since=since) for address in wanted]
    arrived = [time for time in times if time is not None]
    if len(arrived) < len(wanted):
        return 0.0
    return max((max(arrived) - moment.monotonic) / MS, 0.01)


def _heal(death: Death, lab: Lab, name: str) -> None:
    """The node that was master becomes a standby with a whole copy."""
    if death is Death.KILL:
        lab.nodes[name].openvpn.start()
    elif death is Death.CUT:
        lab.topology.set_links(name, "up")
    lab.wait_in_sync(name)
