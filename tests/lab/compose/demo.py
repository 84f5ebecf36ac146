"""One run of a scenario in containers, and what must be true of it afterwards."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from tests.lab.compose.deaths import DEATHS
from tests.lab.compose.engine import ROOT, Compose, leftovers
from tests.lab.compose.lab import ComposeLab
from tests.lab.compose.prometheus import Prometheus, draw_failover
from tests.lab.measure import Curve, Run, curve
from tests.lab.report import noticed_by_client
from tests.lab.run import SEAMLESS_PATIENCE, SETTLE_SECONDS, judge
from tests.lab.scenarios import Scenario, find
from tests.lab.session import Session
from tests.lab.waiting import wait_until

# Prometheus needs a while of every state to show it.
WATCH_SECONDS = 8.0
PROMETHEUS_SECONDS = 90.0
DASHBOARD = ROOT / "deploy" / "grafana" / "dashboards" / "ovpnha.json"


@dataclass(frozen=True)
class Planned:
    """What a run is: the scenario, its number, and the folder for pictures and logs."""

    scenario: Scenario
    index: int
    output: Path


def run_demo(compose: Compose, plan: Planned, say: Callable[[str], None]) -> tuple[Run, Curve]:
    """Bring everything up, let the master die, count, and take everything down."""
    name = plan.scenario.name
    picture = plan.output / f"compose-{name}.png"
    logs = plan.output / f"compose-{name}.log"
    with ComposeLab(compose, say, logs=logs) as lab:
        lab.start_cluster()
        session = Session(lab)
        prometheus = Prometheus(compose.published("prometheus", 9090))
        watched = _watched(prometheus)
        session.linger(SETTLE_SECONDS)
        lab.wait_standbys()
        say("killing the master")
        moment = DEATHS[plan.scenario.dies](lab, lab.master)
        recovered = session.recovers(moment, SEAMLESS_PATIENCE)
        session.linger(WATCH_SECONDS)
        say("drawing what Prometheus saw")
        death, end = moment.wall / 1e9, time.time()
        draw_failover(prometheus, death, end, picture, name)
        empty = prometheus.unanswered(DASHBOARD, death, end)
        told = prometheus.series("ovpnha_conntrack_told_entries", death, end).values()
        detail = {
            "run": plan.index,
            "recovered": recovered,
            "dashboard_empty": empty,
            "conntrack_told": max((value for points in told for _, value in points), default=0.0),
            **watched,
        }
        run = judge(session, moment, plan.scenario, detail)
        return run, curve(run, session.forward.probes(), moment.monotonic)


def _watched(prometheus: Prometheus) -> dict[str, object]:
    """What Prometheus has, once it scrapes both nodes."""

    def all_up() -> bool:
        nodes = prometheus.nodes_up()
        return len(nodes) > 1 and all(nodes.values())

    wait_until(all_up, "Prometheus scrapes all nodes", PROMETHEUS_SECONDS)
    wait_until(
        lambda: prometheus.good_rules() == written_rules(),
        f"Prometheus evaluates all {written_rules()} rules",
        PROMETHEUS_SECONDS,
    )
    return {
        "prometheus_nodes": sorted(prometheus.nodes_up()),
        "prometheus_rules": prometheus.good_rules(),
    }


def written_rules() -> int:
    """How many rules the project's files have."""
    texts = (path.read_text() for path in (ROOT / "deploy/prometheus").glob("*.rules.yml"))
    return sum(len(re.findall(r"^ *-? *(?:alert|record):", text, re.MULTILINE)) for text in texts)


def broken_promises(runs: Iterable[Run]) -> list[str]:
    """One line for each thing that the demo promises and a run did not keep."""
    broken = [f"{run.scenario}: {text}" for run in runs for text in _broken_in(run)]
    return broken + [f"left behind: {name}" for name in leftovers()]


def _broken_in(run: Run) -> list[str]:
    bound = find(run.scenario).expected.outage_ms
    # NaN is no outage that is short enough.
    late = [] if run.outage_ms <= bound else [f"{run.outage_ms:.0f} ms without an answer"]
    return late + noticed_by_client(run)
