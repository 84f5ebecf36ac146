"""How often keepalived may send adverts."""

from __future__ import annotations

from dataclasses import replace

import pytest

from ovpnha.doctor.adverts import check_adverts
from ovpnha.doctor.facts import Facts, KeepalivedFacts, ProcessFacts, Unread
from tests.unit.doctor.good import GOOD, changed, keepalived


def with_line(line: str, *, real_time: bool = False) -> Facts:
    facts = keepalived("    priority 100", f"    priority 100\n    {line}")
    assert isinstance(facts.keepalived, KeepalivedFacts)
    process = ProcessFacts(9, real_time=real_time)
    return replace(facts, keepalived=replace(facts.keepalived, process=process))


@pytest.mark.parametrize(
    ("line", "count"),
    [
        ("advert_int 0.01", 1),
        ("advert_int 0.049", 1),
        ("advert_int 0.05", 0),
        ("@realtime advert_int 0.01", 1),
        ("@realtime advert_int 0.05", 0),
        ("advert_int $UNKNOWN", 0),
        ("advert_int", 0),
        ("nopreempt", 0),
    ],
)
def test_without_real_time(line: str, count: int) -> None:
    assert len([*check_adverts(with_line(line))]) == count


def test_who_has_real_time_may() -> None:
    assert not [*check_adverts(with_line("advert_int 0.01", real_time=True))]


@pytest.mark.parametrize(
    "facts",
    [
        replace(GOOD, keepalived=None),
        changed("keepalived", process=None),
        changed("keepalived", blocks=None),
        changed("keepalived", blocks=Unread("no")),
    ],
)
def test_what_is_not_known_is_not_blamed(facts: Facts) -> None:
    assert not [*check_adverts(facts)]
