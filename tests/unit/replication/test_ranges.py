from __future__ import annotations

from ovpnha.replication.ranges import RangeSet


def build(*ranges: tuple[int, int]) -> RangeSet:
    built = RangeSet()
    for first, last in ranges:
        built.add(first, last)
    return built


def test_an_empty_set() -> None:
    empty = RangeSet()
    assert not empty
    assert empty.cumulative() == 0
    assert empty.missing(5, 10) == [(1, 5)]
    assert empty.missing(0, 10) == []
    assert 3 not in empty
    empty.remove(1, 9)
    assert list(empty) == []


def test_neighbours_and_overlaps_become_one() -> None:
    assert list(build((1, 2), (3, 4))) == [(1, 4)]
    assert list(build((1, 5), (3, 9))) == [(1, 9)]
    assert list(build((5, 6), (1, 2), (3, 4))) == [(1, 6)]
    assert list(build((5, 6), (9, 9), (1, 20))) == [(1, 20)]
    assert list(build((1, 1), (3, 3))) == [(1, 1), (3, 3)]


def test_cumulative_is_the_prefix_from_one() -> None:
    assert build((1, 4), (6, 7)).cumulative() == 4
    assert build((2, 4)).cumulative() == 0


def test_missing_lists_the_lowest_gaps() -> None:
    ranges = build((3, 4), (6, 6), (9, 12))
    assert ranges.missing(14, 10) == [(1, 2), (5, 5), (7, 8), (13, 14)]
    assert ranges.missing(14, 2) == [(1, 2), (5, 5)]
    assert ranges.missing(8, 10) == [(1, 2), (5, 5), (7, 8)]


def test_remove_splits_and_trims() -> None:
    assert list(_removed((4, 6))) == [(1, 3), (7, 10)]
    assert list(_removed((1, 3))) == [(4, 10)]
    assert list(_removed((8, 30))) == [(1, 7)]
    assert list(_removed((11, 12))) == [(1, 10)]


def _removed(what: tuple[int, int]) -> RangeSet:
    ranges = build((1, 10))
    ranges.remove(*what)
    return ranges


def test_the_ranges_above_a_number() -> None:
    ranges = build((1, 2), (5, 6), (8, 9))
    assert ranges.above(2, 10) == [(5, 6), (8, 9)]
    assert ranges.above(2, 1) == [(8, 9)], "the newest is told whatever else has no room"
    assert build((1, 1), (3, 3), (5, 5), (7, 7)).above(1, 2) == [(3, 3), (7, 7)]
    assert len(ranges) == 3


def test_what_is_outside_of_the_set() -> None:
    ranges = build((3, 4), (6, 6), (9, 12))
    assert list(ranges.outside(1, 14)) == [(1, 2), (5, 5), (7, 8), (13, 14)]
    assert list(ranges.outside(4, 8)) == [(5, 5), (7, 8)]
    assert list(ranges.outside(9, 12)) == []
    assert list(ranges.outside(10, 13)) == [(13, 13)]
    assert list(ranges.outside(2, 1)) == []
    assert list(RangeSet().outside(2, 3)) == [(2, 3)]
