"""What `make mutants` changes, and against which tests it tries a change."""

from __future__ import annotations

import ast
from pathlib import Path
from textwrap import dedent

import pytest

from tests.mutants.__main__ import Equivalent, Trial, draw, read_equivalent, table
from tests.mutants.changes import Mutant, find_mutants
from tests.mutants.trial import Outcome, Touched

ROOT = Path(__file__).parents[3]
PATH = "ovpnha/model.py"


def mutants(source: str) -> list[Mutant]:
    return find_mutants(PATH, dedent(source).encode())


def changed(source: str) -> set[str]:
    """Every text that one change makes of a source, without the space around it."""
    encoded = dedent(source).encode()
    return {one.apply(encoded).decode().strip() for one in find_mutants(PATH, encoded)}


@pytest.mark.parametrize(
    ("source", "made"),
    [
        ("x = a < b", {"x = (a <= b)", "x = (a > b)"}),
        ("x = 0 < a <= b", {"x = (0 <= a <= b)", "x = (0 < a >= b)", "x = 1 < a <= b"}),
        ("x = a is None", {"x = (a is not None)"}),
        ("x = a not in b", {"x = (a in b)"}),
        ("x = a - b", {"x = (a + b)"}),
        ("x = -a", {"x = (a)"}),
        ("x = a and b", {"x = (a or b)"}),
        ("x = not a", {"x = (a)"}),
        ("x = a[:8]", {"x = a[:9]", "x = a[:7]"}),
        ("x = True", {"x = False"}),
        ("x = 0.5", {"x = 1.0", "x = 0.25"}),
        ("x = b'a'", {"x = b'`'"}),
        ("x += y", {"x -= y"}),
        ("x = f(é, a < b)", {"x = f(é, (a <= b))"}),
    ],
)
def test_what_is_changed(source: str, made: set[str]) -> None:
    assert made <= changed(source)


@pytest.mark.parametrize(
    ("annotation", "made"),
    [
        ("int", "(x) + 1"),
        ("bool", "not (x)"),
        ("bytes", "(x)[:-1]"),
        ("str", '""'),
        ("tuple[int, ...]", "()"),
        ("list[int]", "[]"),
        ("Node | None", "None"),
    ],
)
def test_a_returned_value_is_changed_to_another_of_its_type(annotation: str, made: str) -> None:
    source = f"def f(x: {annotation}) -> {annotation}:\n    return x\n"
    assert changed(source) == {source.replace("return x", f"return ({made})").strip()}


@pytest.mark.parametrize(
    "source",
    [
        "def f() -> list[int]:\n    return []",
        '"""A text with 1 < 2."""',
        "x = 'text'",
        "x = f'{a < b} {1}'",
        "x: 'int < 3'",
        "Both = Int | Str | None",
        "@dataclass(frozen=True)\nclass A:\n    pass",
        "if TYPE_CHECKING:\n    x = 1",
        "def f(x: Literal[1]) -> Literal[2]:\n    pass",
        "match x:\n    case 5:\n        pass",
    ],
)
def test_what_is_left_alone(source: str) -> None:
    assert mutants(source) == []


def test_every_change_of_our_own_files_is_a_program_that_differs() -> None:
    for path in (ROOT / "ovpnha" / "replication").glob("*.py"):
        source = path.read_bytes()
        for mutant in find_mutants(str(path), source)[::7]:
            made = mutant.apply(source)
            ast.parse(made)
            assert made != source


SOURCE = """\
LIMIT = 5
BOTH = (LIMIT, 7)


def bounded(x: int, least: int = 3) -> bool:
    if x < least:
        return False
    return x < BOTH[0]


def other() -> int:
    return 1
"""
TESTS = {PATH: {6: frozenset({"slow", "quick"}), 8: frozenset({"slow"}), 12: frozenset({"third"})}}


def concerning(text: str, change: str) -> list[str]:
    uses = {"BOTH": {PATH: [8]}}
    constants = {"LIMIT": frozenset({"BOTH"})}
    seconds = {"slow": 9.0, "quick": 0.1, "codes": 0.2}
    touched = Touched(TESTS, seconds, uses, constants, frozenset({"codes"}))
    [found] = [one for one in mutants(SOURCE) if (one.text, one.change) == (text, change)]
    return touched.concerning(found)


def test_a_change_is_tried_against_the_tests_that_come_to_its_line_quick_ones_first() -> None:
    assert concerning("if x < least:", "x < least -> (x <= least)") == ["quick", "slow"]
    assert concerning("return x < BOTH[0]", "x < BOTH[0] -> (x <= BOTH[0])") == ["slow"]
    assert concerning("return 1", "1 -> 2") == ["third"]


def test_a_constant_is_tried_against_the_tests_of_what_names_it_and_those_of_no_line() -> None:
    assert concerning("BOTH = (LIMIT, 7)", "7 -> 8") == ["codes", "slow"]
    assert concerning("LIMIT = 5", "5 -> 6") == ["codes", "slow"]


def test_a_default_is_tried_against_the_tests_of_its_function() -> None:
    text = "def bounded(x: int, least: int = 3) -> bool:"
    assert concerning(text, "3 -> 4") == ["quick", "slow"]


def test_the_same_seed_draws_the_same_and_nothing_that_is_listed() -> None:
    every = mutants(SOURCE)
    listed = [Equivalent("return 1", "1 -> 2", "a reason")]
    drawn = draw(every, listed, "", 100, 1)
    assert len(drawn) == len(every) - 1
    assert draw(every, listed, "", 5, 7) == draw(every, listed, "", 5, 7)
    assert draw(every, listed, "", 5, 7) != draw(every, listed, "", 5, 8)
    assert draw(every, listed, "elsewhere", 5, 7) == []


def test_every_listed_change_has_a_reason() -> None:
    for one in read_equivalent(ROOT / "tests" / "mutants" / "equivalent.toml"):
        assert len(one.reason) > 20, one


def test_the_table_counts_by_package_and_shows_what_was_not_noticed() -> None:
    [first, second, *_] = mutants("def f(a: int) -> bool:\n    return a < 1\n")
    shown = table([Trial(first, Outcome.NOTICED, "t", 1), Trial(second, Outcome.UNNOTICED, "", 1)])
    assert "model              2        1" in shown
    assert f"not noticed: {PATH}:2" in shown
    assert second.change in shown
    assert first.change not in shown
