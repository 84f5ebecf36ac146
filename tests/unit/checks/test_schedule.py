"""Which check is due when, and what is told of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from ovpnha.checks.judge import CheckOutcome
from ovpnha.checks.schedule import GAP, TEXT_LIMIT, CheckNews, CheckPlan, Checks
from ovpnha.model import CheckState, InstanceName, Role, Verdict

UDP, TCP = InstanceName("udp"), InstanceName("tcp")
LAN = CheckPlan("lan", None, 10.0, 2, 2, critical=True, sticky=False, master_only=False)
RADIUS = replace(LAN, name="radius", instance=UDP, critical=False, sticky=True)
CLIENT = replace(LAN, name="client", instance=UDP, master_only=True)
WALL = 1_790_000_000.75


def make(*plans: CheckPlan, stuck: Sequence[str] = ()) -> Checks:
    return Checks(plans, (UDP, TCP), 100.0, stuck)


def fail(checks: Checks, name: str, now: float) -> None:
    for at in (now, now + 20.0):
        assert name in checks.begin(at)
        checks.finish(name, CheckOutcome.BAD, "gone", at, WALL)


def news(checks: Checks) -> list[tuple[str, Verdict]]:
    found: list[CheckNews] = []
    while (one := checks.next_news()) is not None:
        found.append(one)
    return [(one.name, one.verdict) for one in found]


def test_each_runs_in_its_period_and_never_twice_at_once() -> None:
    checks = make(LAN, replace(RADIUS, period=3.0))
    assert checks.names() == ("lan", "radius")
    assert checks.get_timer() == 100.0
    assert checks.begin(99.0) == ()
    assert checks.begin(100.0) == ("lan", "radius")
    assert checks.get_timer() is None
    assert checks.begin(500.0) == ()
    checks.finish("radius", CheckOutcome.GOOD, "", 101.0, WALL)
    assert checks.get_timer() == 103.0
    checks.finish("lan", CheckOutcome.GOOD, "", 130.0, WALL)
    assert checks.begin(130.0) == ("radius",)
    assert checks.get_timer() == 130.0 + GAP
    assert checks.begin(131.0) == ("lan",)


def test_what_it_said_is_told_and_bounded() -> None:
    checks = make(LAN)
    state = CheckState("lan", Verdict.UNKNOWN, critical=True)
    assert checks.states() == {UDP: (state,), TCP: (state,)}
    assert checks.age("lan", 100.0) is None
    checks.begin(100.0)
    checks.finish("lan", CheckOutcome.GOOD, "x" * 1000, 101.0, WALL)
    told = replace(state, verdict=Verdict.OK, checked=1_790_000_000, text="x" * TEXT_LIMIT)
    assert checks.states()[UDP] == (told,)
    assert checks.age("lan", 111.0) == 10.0
    assert news(checks) == [("lan", Verdict.OK)]


def test_later_keeps_the_verdict_and_the_time_of_the_last_result() -> None:
    checks = make(LAN)
    checks.begin(100.0)
    checks.finish("lan", CheckOutcome.GOOD, "fine", 100.0, WALL)
    checks.begin(110.0)
    checks.finish("lan", CheckOutcome.LATER, "still looking", 110.0, WALL + 10)
    [state] = checks.states()[TCP]
    assert (state.verdict, state.checked, state.text) == (
        Verdict.OK,
        int(WALL),
        "still looking",
    )
    assert checks.age("lan", 110.0) == 10.0


def test_those_that_failed_and_matter_come_first() -> None:
    checks = make(replace(LAN, critical=False), RADIUS, replace(LAN, name="dns"))
    fail(checks, "radius", 100.0)
    assert [one.name for one in checks.states()[UDP]] == ["radius", "dns", "lan"]
    assert [one.name for one in checks.states()[TCP]] == ["dns", "lan"]
    assert checks.stuck() == ("radius",)


def test_one_for_a_master_rests_elsewhere_and_keeps_its_verdict() -> None:
    checks = make(CLIENT)
    assert checks.role(UDP) is Role.INIT
    assert checks.role(None) is None
    assert checks.get_timer() is None
    checks.set_role(UDP, Role.STANDBY, 101.0)
    assert checks.begin(200.0) == ()
    checks.set_role(UDP, Role.MASTER, 201.0)
    assert checks.get_timer() == 201.0
    checks.set_role(TCP, Role.STANDBY, 202.0)
    assert checks.get_timer() == 201.0
    fail(checks, "client", 201.0)
    assert checks.begin(240.0) == ("client",)
    checks.set_role(UDP, Role.HELD, 241.0)
    [state] = checks.states()[UDP]
    assert (state.verdict, state.resting, state.text) == (Verdict.FAILED, True, "gone")
    checks.finish("client", CheckOutcome.GOOD, "of a master that is none", 242.0, WALL)
    assert checks.states()[UDP] == (state,)
    assert checks.begin(300.0) == ()


def test_one_of_the_whole_node_runs_while_any_instance_is_master() -> None:
    checks = make(replace(CLIENT, instance=None))
    checks.set_role(TCP, Role.MASTER, 101.0)
    assert checks.begin(101.0) == ("client",)
    checks.set_role(UDP, Role.MASTER, 102.0)
    checks.set_role(TCP, Role.HELD, 103.0)
    checks.finish("client", CheckOutcome.GOOD, "", 104.0, WALL)
    assert checks.begin(111.0) == ("client",)


def test_a_reset_begins_anew() -> None:
    checks = make(LAN, RADIUS, replace(RADIUS, name="dns"), stuck=("radius", "lan", "gone"))
    assert checks.stuck() == ("radius",)
    assert checks.reset("dns", 100.0) == ()
    fail(checks, "dns", 100.0)
    assert news(checks) == [("dns", Verdict.FAILED)]
    assert checks.reset("dns", 130.0) == ("dns",)
    assert checks.reset(None, 131.0) == ("radius",)
    assert news(checks) == [("dns", Verdict.UNKNOWN), ("radius", Verdict.UNKNOWN)]
    assert checks.stuck() == ()
    assert set(checks.begin(131.0)) >= {"dns"}


def test_a_run_during_which_it_rested_is_not_counted() -> None:
    checks = make(replace(CLIENT, fall=1))
    checks.set_role(UDP, Role.MASTER, 100.0)
    assert checks.begin(100.0) == ("client",)
    checks.set_role(UDP, Role.HELD, 101.0)
    checks.set_role(UDP, Role.MASTER, 102.0)
    checks.finish("client", CheckOutcome.BAD, "the VIP was away", 103.0, WALL)
    assert news(checks) == []
    assert checks.begin(104.0) == ("client",)
    checks.finish("client", CheckOutcome.BAD, "gone", 105.0, WALL)
    assert news(checks) == [("client", Verdict.FAILED)]


def test_who_heard_of_a_failure_hears_of_its_end_also_after_a_reset() -> None:
    checks = make(replace(LAN, rise=1, fall=1), RADIUS, stuck=("radius",))
    recovered: list[tuple[str, Verdict, bool]] = []

    def run(name: str, outcome: CheckOutcome, now: float) -> None:
        checks.begin(now)
        checks.finish(name, outcome, "\033[2J", now, WALL)
        while (one := checks.next_news()) is not None:
            recovered.append((one.name, one.verdict, one.recovered))

    run("lan", CheckOutcome.GOOD, 100.0)
    checks.finish("radius", CheckOutcome.LATER, "", 100.0, WALL)
    run("lan", CheckOutcome.BAD, 120.0)
    checks.finish("radius", CheckOutcome.LATER, "", 120.0, WALL)
    assert checks.states()[TCP][0].text == "?[2J"
    checks.reset(None, 121.0)
    run("lan", CheckOutcome.GOOD, 140.0)
    checks.finish("radius", CheckOutcome.GOOD, "", 140.0, WALL)
    run("lan", CheckOutcome.BAD, 160.0)
    run("lan", CheckOutcome.GOOD, 180.0)
    assert recovered == [
        ("lan", Verdict.OK, False),
        ("lan", Verdict.FAILED, False),
        ("lan", Verdict.UNKNOWN, False),
        ("radius", Verdict.UNKNOWN, False),
        ("lan", Verdict.OK, True),
        ("radius", Verdict.OK, True),
        ("lan", Verdict.FAILED, False),
        ("lan", Verdict.OK, True),
    ]
