"""May this node be given the VIP? Only a healthy master that has it is a reason against."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from ovpnha.model import NodeName
from ovpnha.node.statistics import InstanceStatistics, NodeStatistics
from ovpnha.runtime.codec import from_plain
from ovpnha.runtime.guard import FREE, REFUSED, TAKEN, judge, judge_leaving
from tests.unit.cli.answers import STATUS

KEEPER = {"role": "master", "vip": True, "grade": 120}


def status(other: dict[str, Any], grade: int = 90) -> InstanceStatistics:
    plain = copy.deepcopy(STATUS)
    instance = plain["instances"][0]
    instance["nodes"][0] |= other
    instance |= {"role": "standby", "vip": False, "grade": grade, "grade_reason": "because"}
    return from_plain(NodeStatistics, plain).instances[0]


@pytest.mark.parametrize(
    ("other", "grade", "code"),
    [
        ({}, 90, FREE),
        (KEEPER, 90, TAKEN),
        (KEEPER, -254, TAKEN),
        ({**KEEPER, "grade": 60}, 60, TAKEN),
        ({**KEEPER, "grade": 60}, 90, FREE),  # its critical check fails: it gives the VIP away
        ({**KEEPER, "grade": 30}, 90, FREE),  # it was asked to demote
        ({**KEEPER, "grade": -254}, 30, FREE),
        ({**KEEPER, "vip": False}, 90, FREE),
        ({**KEEPER, "role": "held"}, 90, FREE),
        ({**KEEPER, "lost": True}, 90, FREE),
        ({**KEEPER, "believed": False}, 90, FREE),
        ({}, 0, FREE),
        ({}, -254, REFUSED),
    ],
)
def test_who_may(other: dict[str, Any], grade: int, code: int) -> None:
    assert judge(status(other, grade)).code == code


def test_what_it_says() -> None:
    said = judge(status(KEEPER)).text
    assert said == "taken: b is master and has the VIP (grade 120)"
    assert judge(status({}, -254)).text == "refused: because"


@pytest.mark.parametrize(
    ("other", "grade", "to", "code"),
    [
        ({"grade": 90}, 30, None, FREE),
        ({"grade": 90}, 120, None, TAKEN),
        ({"grade": 30}, 30, None, TAKEN),
        ({"grade": 90, "lost": True}, 30, None, TAKEN),
        ({"grade": 90, "problem": {"kind": "node_differs", "text": "x"}}, 30, None, TAKEN),
        ({"grade": 90}, 120, "b", FREE),
        ({"grade": 60}, 120, "b", TAKEN),
        ({"grade": 90}, 120, "c", TAKEN),
    ],
)
def test_who_would_be_better(
    other: dict[str, Any], grade: int, to: NodeName | None, code: int
) -> None:
    assert judge_leaving(status(other, grade), to).code == code
