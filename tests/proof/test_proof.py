"""The nonce rules, searched exhaustively; and the search, which finds every planted defect."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.proof.__main__ import BOUNDS, GATE, bounds_of
from tests.proof.client import Client, always_accepts
from tests.proof.model import Model, Refused, Reuse
from tests.proof.rules import RULES, Defect
from tests.proof.search import search

COMMON = Path(__file__).parents[2] / "openvpn-patches" / "common"
AVAILABILITY = (Defect.NO_CAP, Defect.NO_STALE, Defect.NO_MEMORY)


@pytest.mark.parametrize("name", GATE)
def test_no_nonce_is_used_twice_and_a_protected_client_is_served(name: str) -> None:
    result = search(BOUNDS[name])
    print(f"{name}: {result}")
    assert result.violation is None
    assert result.complete
    assert result.states > 10_000


@pytest.mark.parametrize("defect", [one for one in Defect if one is not Defect.NONE])
def test_without_one_rule_the_search_finds_what_it_prevents(defect: Defect) -> None:
    result = search(bounds_of(defect))
    print(f"{defect.name}, {defect.value}:\n{result}")
    assert isinstance(result.violation, Refused if defect in AVAILABILITY else Reuse)
    assert result.trace


def test_every_rule_has_its_defect() -> None:
    planted = {defect for rule in RULES for defect in rule.defects}
    assert [rule.name for rule in RULES] == [f"R{n}" for n in range(1, 8)]
    assert planted == set(Defect) - {Defect.NONE, *AVAILABILITY}


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.name)
def test_the_c_functions_that_keep_a_rule_are_there(rule: object) -> None:
    assert rule in RULES
    for file, function in next(one.kept_by for one in RULES if one == rule):
        code = (COMMON / file).read_text()
        assert re.search(rf"^{function}\(", code, re.MULTILINE), f"{function} in {file}"


def test_what_is_left_out_changes_no_verdict() -> None:
    merged, whole = search(Model(ids=(2,))), search(Model(ids=(2,), merge=False))
    assert merged.violation is None
    assert whole.violation is None
    assert whole.states > merged.states


def test_the_client_s_window_is_that_of_a_client() -> None:
    client = Client((0, 0)).receive(1).receive(3)
    assert client.accepts(2)
    assert not client.receive(2).accepts(2)
    assert not client.receive(4).accepts(2)
    assert client.accepts(9)
    assert always_accepts(0b1010, 4)
    assert not always_accepts(0b10010, 2), "the window may have moved past it"
