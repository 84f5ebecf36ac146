"""The one list of problems: what is on it, and which of them make a node unhealthy."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from ovpnha.config.bcn import MACHINE_LINK
from ovpnha.model import Role
from ovpnha.node.statistics import NodeStatistics, TrackingFigures
from ovpnha.problems import KINDS, Problem, ProblemKind
from ovpnha.runtime.problems import find_problems, find_unhealthy
from tests.unit.runtime.change import change

PAGE = Path(__file__).parents[3] / "docs" / "operations.md"
REFUSING = (
    ProblemKind.LOCAL_IS_A_NAME,
    ProblemKind.VIP_NOT_LOCAL,
    ProblemKind.VIP_ELSEWHERE,
)
STANDBY: dict[str, Any] = {"role": Role.STANDBY, "vip": False, "grade": 90}


def say(kind: ProblemKind) -> Problem:
    return Problem(kind, "what", "how", "udp")


def told(status: NodeStatistics, **figures: Any) -> list[str]:
    """The kinds that are on the list when the instance has these figures."""
    one = change(status.instances[0], **figures)
    return [problem.kind.value for problem in find_problems(replace(status, instances=(one,)))]


def unhealthy(status: NodeStatistics, **figures: Any) -> list[str]:
    """The kinds that make the node unhealthy when the instance has these figures."""
    one = change(status.instances[0], **figures)
    return [problem.kind.value for problem in find_unhealthy(replace(status, instances=(one,)))]


def test_a_node_that_is_well_has_none(statistics: NodeStatistics) -> None:
    assert find_problems(statistics) == find_unhealthy(statistics) == ()


def test_every_kind_is_explained_and_the_page_has_them_all() -> None:
    assert set(KINDS) == set(ProblemKind)
    rows = [
        f"| `{kind.value}` | {one.meaning} | {one.health.value} |" for kind, one in KINDS.items()
    ]
    page = PAGE.read_text().splitlines()
    assert [line for line in page if line in rows] == rows


def test_a_kind_of_a_newer_daemon_is_read() -> None:
    assert ProblemKind("something new") is ProblemKind.OTHER
    with pytest.raises(ValueError, match="7 is not a valid"):
        ProblemKind(7)


def test_what_is_wrong_with_the_host(statistics: NodeStatistics) -> None:
    wrong = replace(
        statistics,
        links={"bcn0": False, "bcn1": True},
        tracking=TrackingFigures("conntrackd does not run"),
        firewall="not set",
        lacking={"tcp": ("b",)},  # type: ignore[dict-item]
    )
    alone = replace(wrong, instances=(change(statistics.instances[0], nodes=()),))
    assert [one.kind.value for one in find_problems(alone)] == [
        *("link_down", "no_other_node", "connections_stay", "firewall_not_set"),
        "instance_lacking",
    ]
    assert [one.kind.value for one in find_unhealthy(alone)] == [
        *("link_down", "connections_stay", "firewall_not_set"),
    ]
    kept = replace(statistics, tracking=TrackingFigures(), firewall="")
    assert find_problems(kept) == ()


@pytest.mark.parametrize("kind", REFUSING)
def test_a_wrong_vip_counts_once_the_vip_is_refused(
    statistics: NodeStatistics, kind: ProblemKind
) -> None:
    wrong: dict[str, Any] = {"problems": (say(kind),)}
    assert unhealthy(statistics, **wrong, grade=-254) == [kind.value]
    assert unhealthy(statistics, **wrong, grade=-254, role=Role.INIT) == []
    assert unhealthy(statistics, **wrong, grade=60) == []


@pytest.mark.parametrize(("vip", "expected"), [(False, ["no_vip_manager"]), (True, [])])
def test_a_node_that_has_the_vip_needs_no_manager_for_now(
    statistics: NodeStatistics, vip: bool, expected: list[str]
) -> None:
    problems = (say(ProblemKind.NO_VIP_MANAGER),)
    assert unhealthy(statistics, problems=problems, vip=vip) == expected


def test_what_no_part_explains_is_told_all_the_same(statistics: NodeStatistics) -> None:
    lost: dict[str, Any] = {"management_up": False, "grade": -254, "role": Role.STANDBY}
    assert unhealthy(statistics, **lost) == ["not_connected"]
    assert unhealthy(statistics, **lost | {"management_up": True}) == ["refuses_vip"]
    known = (say(ProblemKind.SERVER_DOWN),)
    assert unhealthy(statistics, **lost, problems=known) == ["server_down"]
    stock = {"problems": (say(ProblemKind.SERVER_STOCK),), "role": Role.INIT, "grade": 60}
    assert unhealthy(statistics, **stock) == []
    assert told(statistics, **stock) == ["server_stock"]


@pytest.mark.parametrize(
    ("changes", "kind"),
    [
        ({"has_instance": False}, "node_lacks_instance"),
        ({"believed": False}, "node_not_believed"),
        ({"believed": False, "lost": True}, "node_not_heard"),
        ({"grade": -254}, "node_refuses_vip"),
        ({"managed": False}, "node_no_vip_manager"),
        ({"clock_offset": 1.0}, "node_clock"),
        ({"clock_offset": -1.0}, "node_clock"),
        ({"clock_offset": 0.99}, None),
    ],
)
def test_what_another_node_looks_like_makes_this_one_not_unhealthy(
    statistics: NodeStatistics, changes: dict[str, Any], kind: str | None
) -> None:
    (other,) = statistics.instances[0].nodes
    one = change(statistics.instances[0], nodes=(replace(other, **changes),))
    status = replace(statistics, instances=(one,))
    problems = find_problems(status)
    expected = [] if kind is None else [(kind, "udp", "b")]
    assert [(found.kind.value, found.instance, found.node) for found in problems] == expected
    assert find_unhealthy(status) == ()


def test_a_vip_that_nobody_has_is_told(statistics: NodeStatistics) -> None:
    assert told(statistics, **STANDBY) == ["vip_nowhere"]
    (other,) = statistics.instances[0].nodes
    assert told(statistics, **STANDBY, nodes=(replace(other, vip=True),)) == []


def test_who_is_alone_misses_nobody(statistics: NodeStatistics) -> None:
    instances = tuple(replace(one, nodes=()) for one in statistics.instances)
    alone = replace(statistics, instances=instances, links={MACHINE_LINK: True})
    assert ProblemKind.NO_OTHER_NODE not in {one.kind for one in find_problems(alone)}
    apart = replace(alone, links={"bcn0": True})
    assert ProblemKind.NO_OTHER_NODE in {one.kind for one in find_problems(apart)}
