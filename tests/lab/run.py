"""One run of a scenario in network namespaces, from a fresh cluster to a result.

It builds a lab, connects a stock client, starts traffic, kills, waits for the first answer after
that, watches a while longer and counts. The control run is the same with stock OpenVPN. Where the
only server is restarted, the first node runs alone.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace
from typing import Any

from tests.lab import plan
from tests.lab.deaths import DEATHS
from tests.lab.lab import Lab
from tests.lab.measure import MS, Curve, Gap, Run, curve, lost, outage_ms
from tests.lab.node import Node, Setup
from tests.lab.scenarios import Scenario, Victim
from tests.lab.session import Moment, Session
from tests.lab.sparelab import SPARE_OPTIONS, SpareLab
from tests.lab.traffic import INTERVAL_MS

SETTLE_SECONDS = 1.5
WATCH_SECONDS = 3.0
SEAMLESS_PATIENCE = 15.0
CONTROL_MARGIN = 30.0
OVERLAP = 100 * MS
"""Nanoseconds: how long an address that moves may be on two nodes."""


def run_scenario(
    scenario: Scenario,
    setup: Setup,
    say: Callable[[str], None],
    *,
    index: int = 1,
    keep_logs: bool = False,
) -> tuple[Run, Curve]:
    """One run of one scenario, the ``index``-th of its kind."""
    alone = scenario.dies is Victim.RESTARTED
    setup = of_one_server(setup, scenario) if alone else setup
    with Lab(setup, say, keep_logs=keep_logs) as lab, ExitStack() as stack:
        if alone:
            ready = _start_alone(lab, stack)
        else:
            lab.start_cluster()
            ready = lab.wait_standbys
        session = Session(lab, ready)
        session.linger(SETTLE_SECONDS)
        ready()
        say("restarting the server" if alone else "killing the master")
        moment = session.strike(DEATHS[scenario.dies])
        recovered = session.recovers(moment, _patience(setup))
        session.linger(WATCH_SECONDS)
        run = judge(session, moment, scenario, {"run": index, "recovered": recovered})
        return run, curve(run, session.forward.probes(), moment.monotonic)


def of_one_server(setup: Setup, scenario: Scenario) -> Setup:
    """Without other nodes nothing moves, and nothing is told to them."""
    options = (*scenario.server_options, *(SPARE_OPTIONS if setup.seamless else ()))
    return replace(setup, vip_manager=None, conntrack=False, server_options=options)


def _start_alone(lab: Lab, stack: ExitStack) -> Callable[[], None]:
    """The first node only, with a spare where it runs ovpnha; what waits for that."""
    if lab.setup.seamless:
        lab.say("starting the server and its spare")
        server = stack.enter_context(SpareLab(lab))
        server.start()
        server.keep()
        return lambda: server.wait_spare(1)
    lab.say("starting the server")
    lab.vips.start()
    lab.move_vips("a")
    lab.nodes["a"].start()
    return lambda: None


def _patience(setup: Setup) -> float:
    """Seconds for which a run waits for the first answer after the kill."""
    if setup.seamless:
        return SEAMLESS_PATIENCE
    return float(setup.keepalive.split()[1]) + CONTROL_MARGIN


def judge(session: Session, moment: Moment, scenario: Scenario, detail: dict[str, Any]) -> Run:
    """Stop the traffic and count."""
    gap = session.gap(moment)
    phases = find_phases(session.lab, moment, gap)
    detail |= _explain(session, moment, gap)
    session.forward.stop()
    session.reverse.stop()
    detail["tcp_problem"] = session.finish()
    probes = session.forward.probes()
    seen = session.noticed(moment)
    missing = float("nan") if scenario.expected.moves else 0.0
    return Run(
        scenario=scenario.name,
        control=not session.lab.setup.seamless,
        outage_ms=round(outage_ms(gap, INTERVAL_MS), 2),
        vip_move_ms=max(phases.get("vip_arrived", missing), 0.0),
        probes_sent=len(probes),
        probes_lost=lost(probes),
        client_hard_resets=seen.hard_resets,
        client_renegotiations=seen.renegotiations,
        client_restarts=max(seen.restarts, seen.inactive, seen.reconnects),
        tcp_alive=not detail["tcp_problem"],
        phases=phases,
        detail=detail,
    )


def find_phases(lab: Lab, moment: Moment, gap: Gap) -> dict[str, float]:
    """When each step came, in milliseconds after the kill.

    Where the kill is known by an address that left, the heir may have got it just before.
    """
    since = moment.monotonic
    before = since - OVERLAP
    heir = lab.vips.taker(plan.OUT.vip, moment.node, before)
    times = {
        "vip_left": lab.vips.when(plan.OUT.vip, moment.node, present=False, since=since),
        **(_arrival_times(lab, heir, before) if heir else {}),
        "first_answer": gap.end,
    }
    found = {name: round((time - since) / MS, 2) for name, time in times.items() if time}
    return {"kill": 0.0, **dict(sorted(found.items(), key=lambda item: item[1]))}


def _arrival_times(lab: Lab, heir: str, since: int) -> dict[str, int | None]:
    """When the addresses came to the node that serves now, and when it was promoted."""
    return {
        "vip_arrived": lab.vips.when(plan.OUT.vip, heir, present=True, since=since),
        "inside_vip_arrived": lab.vips.when(plan.LAN.vip, heir, present=True, since=since),
        **_promotion_times(lab.nodes[heir], since),
    }


def _promotion_times(node: Node, since: int) -> dict[str, int]:
    """When the new master's sidecar ordered the promotion and OpenVPN confirmed it."""
    instance = node.sidecar.instance()
    if instance is None or instance["last_promotion"] * 1e9 < since:
        return {}
    phases = instance["last_promotion_phases"]
    cause = instance["last_promotion"] - phases["ordered"]
    return {
        name: int((cause + phases[phase]) * 1e9)
        for name, phase in (("promote_sent", "ordered"), ("promote_answered", "promoted"))
        if phase in phases
    }


def _explain(session: Session, moment: Moment, gap: Gap) -> dict[str, Any]:
    """What stands beside the figures of a run."""
    reverse = session.reverse.gap(moment.monotonic)
    return {
        "nodes": len(session.lab.nodes),
        "keepalive": session.lab.setup.keepalive,
        "advert_interval": session.lab.setup.advert_interval,
        "rules": session.lab.setup.rules.value,
        "conntrack": session.lab.setup.conntrack,
        "reverse_outage_ms": round(outage_ms(reverse, INTERVAL_MS), 2),
        "renegotiations_in_gap": session.noticed_in(gap, moment).renegotiations,
        "bad_packet_ids": session.noticed(moment).bad_packet_ids,
        "tcp_bytes": session.tcp.received(),
        "load": round(os.getloadavg()[0], 2),
        **session.told,
    }
