"""Which epoch was made from the clients of which."""

from __future__ import annotations

import pytest

from ovpnha.model import NO_EPOCH, Epoch
from ovpnha.node.role.lineage import LINES_LIMIT, Kin, Lineage
from tests.unit.node.doubles import A, B, C

A1, B2, A3 = Epoch(1, A), Epoch(2, B), Epoch(3, A)
C3, B4, C5 = Epoch(3, C), Epoch(4, B), Epoch(5, C)


def lineage(*lines: tuple[Epoch, Epoch]) -> Lineage:
    found = Lineage()
    for epoch, origin in lines:
        found.note(epoch, origin)
    return found


@pytest.mark.parametrize(
    ("lines", "ours", "theirs", "kin"),
    [
        ([(B2, A1)], A1, B2, Kin.HEIR),
        ([(B2, A1), (C3, B2)], A1, C3, Kin.HEIR),  # an heir's heir
        ([(C3, B2)], A1, C3, Kin.UNKNOWN),  # never heard of what lies between
        ([(B2, A1), (A3, A1)], B2, A3, Kin.ABOVE),  # a return
        ([(B2, A1), (A3, A1), (B4, B2)], A3, B4, Kin.HEIR),  # our return stands above its line
        ([(B2, A1), (A3, A1), (C5, A3)], B2, C5, Kin.ABOVE),  # an heir of the return
        ([(B2, A1), (A3, B2)], B2, A3, Kin.HEIR),  # the node was standby since
        ([(B2, A1), (C3, A1)], B2, C3, Kin.UNKNOWN),  # two heirs of one
        ([], A1, B2, Kin.UNKNOWN),
        ([], A1, A1, Kin.HEIR),
    ],
)
def test_kin(lines: list[tuple[Epoch, Epoch]], ours: Epoch, theirs: Epoch, kin: Kin) -> None:
    assert lineage(*lines).judge(ours, theirs) is kin


def test_what_changed_on_the_way_counts() -> None:
    """An heir's heir says nothing of it: in its own epoch nothing may have changed."""
    found = lineage((B2, A1), (C3, B2))
    found.note(A1, NO_EPOCH, touched=True)  # ours
    assert not found.has_changed(A1, C3)
    found.note(B2, A1, touched=True)
    found.note(B2, A1)
    assert found.has_changed(A1, C3)
    assert found.has_changed(A1, B2)
    assert not found.has_changed(B2, C3)
    for counter in range(4, LINES_LIMIT + 6):
        found.note(Epoch(counter, C), Epoch(counter - 1, C))
    assert not found.has_changed(A1, B2)


def test_an_origin_is_lower_and_only_the_newest_are_kept() -> None:
    found = lineage((A1, B2), (B2, B2), (B2, NO_EPOCH))
    assert found.judge(A1, B2) is Kin.UNKNOWN
    for counter in range(2, LINES_LIMIT + 3):
        found.note(Epoch(counter, B), Epoch(counter - 1, B))
    assert found.judge(Epoch(1, B), Epoch(2, B)) is Kin.UNKNOWN
    assert found.judge(Epoch(2, B), Epoch(LINES_LIMIT + 2, B)) is Kin.HEIR
