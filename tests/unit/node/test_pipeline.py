"""Bounded work: what goes next, and what is replaced."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from ovpnha.model import Uid
from ovpnha.node.openvpn.pipeline import Pipeline

UIDS = [Uid(bytes([number] * 8)) for number in range(12)]


def drain(pipeline: Pipeline[int]) -> list[int]:
    started = []
    while (item := pipeline.start()) is not None:
        started.append(item)
    return started


def test_urgent_work_overtakes_bulk_work() -> None:
    pipeline: Pipeline[int] = Pipeline(limit=4, bulk_limit=2)
    for number in range(4):
        pipeline.put(UIDS[number], number, urgent=False)
    assert drain(pipeline) == [0, 1]
    pipeline.put(UIDS[8], 8, urgent=True)
    pipeline.put(UIDS[9], 9, urgent=True)
    pipeline.put(UIDS[10], 10, urgent=True)
    assert drain(pipeline) == [8, 9]
    pipeline.finish(UIDS[0])
    assert drain(pipeline) == [10]


def test_what_waits_is_replaced_and_what_is_under_way_is_not_repeated() -> None:
    pipeline: Pipeline[int] = Pipeline()
    pipeline.put(UIDS[0], 1, urgent=False)
    pipeline.put(UIDS[0], 2, urgent=False)
    assert pipeline.waiting(UIDS[0]) == 2
    assert drain(pipeline) == [2]
    pipeline.put(UIDS[0], 3, urgent=True)
    assert drain(pipeline) == []
    assert pipeline.started(UIDS[0]) == 2
    pipeline.finish(UIDS[0])
    assert drain(pipeline) == [3]


def test_a_bulk_item_can_become_urgent_but_not_the_other_way() -> None:
    pipeline: Pipeline[int] = Pipeline(limit=1, bulk_limit=0)
    pipeline.put(UIDS[0], 1, urgent=False)
    assert drain(pipeline) == []
    pipeline.put(UIDS[0], 2, urgent=True)
    pipeline.put(UIDS[0], 3, urgent=False)
    assert drain(pipeline) == [3]


def test_work_can_be_forgotten() -> None:
    pipeline: Pipeline[int] = Pipeline()
    pipeline.put(UIDS[0], 1, urgent=True)
    pipeline.put(UIDS[1], 1, urgent=False)
    pipeline.discard(UIDS[0])
    assert len(pipeline) == 1
    pipeline.discard_all()
    assert pipeline.start() is None
    pipeline.put(UIDS[2], 2, urgent=True)
    pipeline.start()
    pipeline.clear()
    assert len(pipeline) == 0
    assert pipeline.started(UIDS[2]) is None


@given(st.lists(st.tuples(st.sampled_from(UIDS), st.booleans(), st.booleans())))
def test_never_too_much_is_under_way_and_nothing_is_lost(
    actions: list[tuple[Uid, bool, bool]],
) -> None:
    pipeline: Pipeline[int] = Pipeline(limit=3, bulk_limit=2)
    newest: dict[Uid, int] = {}
    done: dict[Uid, int] = {}
    under_way: dict[Uid, int] = {}

    def start() -> None:
        while (item := pipeline.start()) is not None:
            uid = UIDS[item % 100]
            assert uid not in under_way
            under_way[uid] = item
        assert len(under_way) <= 3

    for number, (uid, urgent, finish) in enumerate(actions):
        newest[uid] = number * 100 + UIDS.index(uid)
        pipeline.put(uid, newest[uid], urgent=urgent)
        start()
        if finish and under_way:
            first = next(iter(under_way))
            done[first] = under_way.pop(first)
            pipeline.finish(first)
    while under_way:
        first = next(iter(under_way))
        done[first] = under_way.pop(first)
        pipeline.finish(first)
        start()
    assert done == newest
    assert len(pipeline) == 0
