"""What is a row, and what a problem, among the runs of ``make restart``."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from tests.lab.errors import LabError
from tests.lab.measure import MS, Probe
from tests.lab.nonces import Nonces, Wire
from tests.lab.restart import TRACE, Options, Row, Runs, choose, find_problems, summarise
from tests.lab.restartcases import CASES
from tests.lab.restartrun import HALF, Run, gap_ms, until_of
from tests.lab.restarttrace import Traced

GOOD = Run(
    case="crash",
    control=False,
    run=1,
    probes_sent=500,
    probes_lost=1,
    client_restarts=0,
    longest_gap_ms=17.0,
    window_gap_ms=12.0,
    window_lost=0,
    renegotiations_in_gap=0,
    server_full=0,
    client_full=0,
    processors_full=0,
    mbit=100.0,
    tcp="",
    load=1.0,
)


def test_a_row_is_of_all_runs_of_a_case_or_of_its_control() -> None:
    runs = [GOOD, replace(GOOD, control=True, client_restarts=1), replace(GOOD, run=2)]
    slower = [replace(one, longest_gap_ms=30.0) if one.run == 2 else one for one in runs]
    assert summarise(slower) == [
        Row("crash", 2, 2, 0, 30.0, control=False),
        Row("crash", 1, 1, 1, 17.0, control=True),
    ]


def test_a_client_may_restart_without_a_spare_only() -> None:
    control = replace(GOOD, client_restarts=3, control=True)
    assert find_problems([GOOD, control]) == []
    assert find_problems([replace(GOOD, client_restarts=1)]) == [
        "crash, run 1: the client restarted 1 times"
    ]
    both = replace(GOOD, case="crash of both at once", client_restarts=1, longest_gap_ms=6e4)
    assert find_problems([both]) == []


@pytest.mark.parametrize(
    ("noticed", "text"),
    [
        (replace(GOOD, renegotiations_in_gap=1), "a renegotiation came in the gap"),
        (replace(GOOD, tcp="reset"), "the TCP session broke: reset"),
        (replace(GOOD, more={"failed": ["x: TLS Error"]}), "failed: x: TLS Error"),
        (replace(GOOD, more={"crowd_restarts": 2}), "2 clients of the crowd noticed something"),
    ],
)
def test_what_else_a_client_may_not_notice(noticed: Run, text: str) -> None:
    assert find_problems([noticed]) == [f"crash, run 1: {text}"]


def test_the_gap_is_held_against_one_in_which_nothing_happened() -> None:
    slow = replace(GOOD, longest_gap_ms=60.0)
    assert find_problems([replace(slow, window_gap_ms=45.0)]) == []
    (found,) = find_problems([slow])
    assert found.startswith("crash: 48 ms beyond what the machine does by itself, median of 1")
    assert find_problems([slow, GOOD, replace(GOOD, run=3)]) == []


def test_the_longest_gap_is_the_one_in_between() -> None:
    times = [0, 10, 20, 70, 80, 200]
    probes = [Probe(at, at * MS, at * MS) for at in times] + [Probe(9, 90 * MS, None)]
    assert gap_ms(probes, 5 * MS, 80 * MS) == 50.0
    assert gap_ms(probes, 75 * MS, 80 * MS) == 10.0
    assert gap_ms(probes, 75 * MS, 150 * MS) == 70.0


def test_no_gap_is_longer_than_the_observation() -> None:
    """A server that is whole again within a moment is not looked at for as long as others."""
    assert until_of(10 * MS, 3 * HALF) == 10 * MS + HALF
    assert until_of(10 * MS, HALF) == HALF
    assert until_of(None, HALF) == HALF


def test_a_case_goes_on_where_it_was_ended(tmp_path: Path) -> None:
    path = tmp_path / "runs.json"
    Runs(path).add(GOOD)
    again = Runs(path)
    assert again.of("crash", control=False) == [GOOD]
    assert again.of("crash", control=True) == []
    again.forget(choose(["crash"]))
    assert again.all == []


def test_cases_are_chosen_by_words_and_their_controls_are_few() -> None:
    assert choose([]) == list(CASES)
    assert [one.name for one in choose(["certificate"])] == ["new certificate"]
    assert choose([TRACE]) == []
    with pytest.raises(LabError, match="no case has such a name; there are: planned restart"):
        choose(["earthquake"])
    (planned,) = [one for one in CASES if one.name == "planned restart"]
    counts = [Options(runs, 0.0, 0) for runs in (None, 9)]
    assert [one.count(planned, control=False) for one in counts] == [20, 9]
    assert [one.count(planned, control=True) for one in counts] == [5, 5]


def test_packet_ids_are_good_when_something_was_put_to_the_test() -> None:
    clean = Nonces(packets=9, keys=2, shared_keys=1, duplicates=0, first_duplicates=())
    traced = Traced(2, {"crash": 2}, clean, Wire(9, 1, 0), client_restarts=0)
    assert traced.good
    assert not replace(traced, nonces=replace(clean, duplicates=1)).good
    assert not replace(traced, nonces=replace(clean, shared_keys=0)).good
    assert not replace(traced, wire=Wire(9, 1, 1)).good
    assert not replace(traced, client_restarts=1).good
    assert not replace(traced, ended="not within 60 s").good
