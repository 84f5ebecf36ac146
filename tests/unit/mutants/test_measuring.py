"""When what is known of a suite's tests holds no more."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.mutants.measuring import fingerprint

SUITE = "tests/unit/node"


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    for name in (
        "ovpnha/model.py",
        "docs/wire.md",
        "tests/model_openvpn.py",
        "tests/unit/node/test_node.py",
        "tests/unit/setup/test_setup.py",
    ):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(name)
    return tmp_path


@pytest.mark.parametrize(
    "name",
    [
        "ovpnha/model.py",
        "docs/wire.md",
        "tests/model_openvpn.py",
        "tests/unit/node/test_node.py",
        "tests/unit/node/test_new.py",
        "tests/unit/conftest.py",
    ],
)
def test_whatever_a_suite_may_read_makes_it_unknown(tree: Path, name: str) -> None:
    before = fingerprint(tree, SUITE)
    (tree / name).write_text("other")
    assert fingerprint(tree, SUITE) != before


@pytest.mark.parametrize(
    "name",
    [
        "tests/unit/setup/test_setup.py",
        "tests/unit/setup/test_new.py",
        "build/coverage",
        "ovpnha/__pycache__/model.pyc",
    ],
)
def test_tests_of_others_and_what_is_made_do_not(tree: Path, name: str) -> None:
    before = fingerprint(tree, SUITE)
    (tree / name).parent.mkdir(exist_ok=True)
    (tree / name).write_text("other")
    assert fingerprint(tree, SUITE) == before


def test_suites_of_the_same_files_are_told_apart(tree: Path) -> None:
    assert fingerprint(tree, "tests/none") != fingerprint(tree, "tests/nothing")
