"""A short sample of ``make restart``: some cases on each ground, once; few clients, little load.

What a full machine drops is counted by the kernel and is no fault of a restart; the figures are the
lab's business (docs/figures.md).
"""

from __future__ import annotations

import pytest

from tests.integration.pace import PATIENCE
from tests.lab import restarttrace
from tests.lab.restart import Options, broken, measure_case, spared
from tests.lab.restartcases import CASES, Case, Ground
from tests.lab.restartclients import check
from tests.lab.restartrun import Run
from tests.lab.waiting import wait_until

pytestmark = [pytest.mark.integration, pytest.mark.timeout(240)]

FEW = Options(runs=1, mbit=2.0, clients=8)
INSIDE = 2
"""Probes that may be inside a process that is killed."""
QUICK = {
    Ground.LOADED: ("new certificate", "new binary", "crash"),
    Ground.BUSY: ("planned restart while others connect",),
    Ground.CROWD: ("planned restart of a crowd", "crash with a crowd"),
}
ROUNDS = 3


def expect_unnoticed(case: Case, run: Run) -> None:
    full = run.server_full + run.client_full + run.processors_full
    assert broken(case, run) == []
    assert run.probes_sent > 0
    assert run.probes_lost <= full + (INSIDE if case.sudden else 0)


@pytest.mark.parametrize("ground", Ground)
def test_no_client_notices(ground: Ground) -> None:
    with spared(FEW, ground) as bench:
        for case in (one for one in CASES if one.name in QUICK[ground]):
            run = measure_case(bench, case, 1)
            print(run)
            expect_unnoticed(case, run)
        if bench.guests is not None:
            # Each of them chooses when, between 15 and 30 s after its last time.
            wait_until(bench.guests.renegotiations, "a renegotiation of a guest", PATIENCE)
            check(bench.guests)
        assert all(0 < one["pss_mb"] <= one["rss_mb"] for one in bench.memory())
        assert len(bench.memory()) == 2


def test_no_packet_id_is_used_twice_in_a_row_of_restarts_and_crashes() -> None:
    traced = restarttrace.run(ROUNDS, print)
    assert traced.done == {"restart": 2, "crash": 1}
    assert traced.good, traced
