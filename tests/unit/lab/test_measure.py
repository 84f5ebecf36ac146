"""From probes to figures: what counts as the outage, and what does not."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from tests.lab.measure import MS, Curve, Gap, Probe, Run, curve, longest_gap, lost, outage_ms

INTERVAL = 10.0


def stream(*answered: float | None) -> list[Probe]:
    """Probes 10 ms apart; each value is when the answer came, in ms, or None."""
    return [
        Probe(number, int(number * INTERVAL * MS), None if at is None else int(at * MS))
        for number, at in enumerate(answered)
    ]


def outage(probes: list[Probe], kill: float, end: float) -> float:
    return outage_ms(longest_gap(probes, int(kill * MS), int(end * MS)), INTERVAL)


def make_run(*, control: bool = False, **changes: object) -> Run:
    values: dict[str, object] = {
        "scenario": "kill-openvpn",
        "control": control,
        "outage_ms": 70.0,
        "vip_move_ms": 40.0,
        "probes_sent": 100,
        "probes_lost": 6,
        "client_hard_resets": 0,
        "client_renegotiations": 0,
        "client_restarts": 0,
        "tcp_alive": True,
        "phases": {"kill": 0.0, "vip_arrived": 40.0},
        "detail": {
            "run": 1,
            "recovered": True,
            "renegotiations_in_gap": 0,
            "tcp_problem": "",
            "keepalive": "10 60",
        },
    }
    return Run(**(values | changes))  # type: ignore[arg-type]


def test_answers_in_their_normal_rhythm_are_no_outage() -> None:
    assert outage(stream(0.5, 10.5, 20.5, 30.5), kill=15, end=40) == 0


def test_the_outage_is_the_gap_without_the_normal_interval() -> None:
    assert outage(stream(0.5, 10.5, None, None, None, 50.5), kill=15, end=55) == 30


def test_a_gap_that_was_over_before_the_kill_does_not_count() -> None:
    probes = stream(0.5, None, None, None, 40.5, 50.5, None, 70.5)
    assert outage(probes, kill=55, end=75) == 10


def test_a_second_gap_after_the_first_answer_counts() -> None:
    probes = stream(0.5, None, 20.5, None, None, None, 60.5)
    assert outage(probes, kill=5, end=65) == 30


def test_a_gap_that_never_ends_counts_to_the_end_of_the_run() -> None:
    assert outage(stream(0.5, 10.5, None, None), kill=15, end=110.5) == 90


def test_without_any_answer_the_whole_run_is_the_gap() -> None:
    assert longest_gap(stream(None, None), kill=5, end=90) == Gap(5, 90)


def test_lost_probes_are_counted() -> None:
    assert lost(stream(0.5, None, 20.5, None)) == 2


@given(
    st.lists(st.integers(1, 500), min_size=1, max_size=40),
    st.integers(0, 39),
)
def test_the_gap_ends_after_the_kill_and_none_is_longer(steps: list[int], where: int) -> None:
    answers = [sum(steps[: index + 1]) for index in range(len(steps))]
    kill = answers[where % len(answers)] - 1
    gap = longest_gap([Probe(0, 0, at) for at in answers], kill, answers[-1])
    after = [step for at, step in zip(answers[1:], steps[1:], strict=True) if at > kill]
    assert gap.end > kill
    assert gap.length == max(after, default=0)


def test_a_run_says_its_own_share() -> None:
    assert make_run().own_ms == 30.0


def test_the_result_has_the_promised_fields() -> None:
    promised = {
        *("scenario", "control", "outage_ms", "vip_move_ms", "probes_sent", "probes_lost"),
        *("client_hard_resets", "client_renegotiations", "client_restarts", "tcp_alive", "phases"),
    }
    assert set(make_run().as_json()) == promised | {"detail"}


def test_a_curve_counts_from_the_kill() -> None:
    drawn = curve(make_run(), stream(0.5, None, 21.0), kill=10 * MS)
    expected = Curve(
        "kill-openvpn", False, [(-10.0, 0.5), (0.0, None), (10.0, 1.0)], make_run().phases
    )
    assert drawn == expected
