from __future__ import annotations

from tests.sampling import draw, grouped, seed_of_commit

ROWS = {"long": [str(n) for n in range(30)], "short": ["a", "b"], "other": list("xyz")}


def test_a_group_with_a_count_gives_so_many_and_the_others_all() -> None:
    taken = draw(ROWS, {"long": 7, "short": 5}, 1)
    assert len([row for row in taken if row.isdigit()]) == 7
    assert len(set(taken)) == 7 + 2 + 3


def test_a_seed_draws_the_same_rows_again_and_another_one_others() -> None:
    assert draw(ROWS, {"long": 7}, 1) == draw(ROWS, {"long": 7}, 1)
    assert draw(ROWS, {"long": 7}, 1) != draw(ROWS, {"long": 7}, 2)


def test_every_row_is_drawn_some_day() -> None:
    drawn = {row for seed in range(200) for row in draw({"long": ROWS["long"]}, {"long": 7}, seed)}
    assert drawn == set(ROWS["long"])


def test_a_group_more_changes_nothing_in_the_others() -> None:
    fewer = {"long": ROWS["long"]}
    assert set(draw(fewer, {"long": 7}, 3)) <= set(draw(ROWS, {"long": 7}, 3))


def test_rows_are_grouped_in_their_order() -> None:
    assert grouped([("a", 1), ("b", 2), ("a", 3)]) == {"a": [1, 3], "b": [2]}


def test_a_commit_is_a_seed() -> None:
    assert 0 <= seed_of_commit() < 16**8
    assert seed_of_commit() == seed_of_commit()
