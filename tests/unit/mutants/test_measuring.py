"""When what is known of a file's tests holds no more."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.mutants.measuring import Imports, Measured, digests, keep, known, opened

TEST = "tests/unit/node/test_node.py"
READ = ("ovpnha/model.py", "docs/wire.md", "tests/unit/node/doubles.py", TEST)


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    for name in (*READ, "ovpnha/errors.py", "tests/unit/setup/test_setup.py"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(name)
    return tmp_path


@pytest.fixture
def kept(tree: Path) -> Measured:
    digest = digests(tree)
    measured = Measured(
        read={name: digest(name) for name in READ}, seconds={f"{TEST}::test_a": 0.5}, tests={}
    )
    keep(tree, TEST, measured)
    return measured


@pytest.mark.parametrize("name", READ)
def test_whatever_a_test_has_read_makes_it_unknown(tree: Path, kept: Measured, name: str) -> None:
    assert known(tree, TEST, digests(tree)) == kept
    (tree / name).write_text("other")
    assert known(tree, TEST, digests(tree)) is None


@pytest.mark.usefixtures("kept")
def test_a_file_that_is_gone_makes_it_unknown(tree: Path) -> None:
    (tree / READ[0]).unlink()
    assert known(tree, TEST, digests(tree)) is None


@pytest.mark.parametrize("name", ["ovpnha/errors.py", "tests/unit/setup/test_setup.py"])
def test_what_it_has_not_read_does_not(tree: Path, kept: Measured, name: str) -> None:
    (tree / name).write_text("other")
    assert known(tree, TEST, digests(tree)) == kept


@pytest.mark.usefixtures("kept")
def test_files_of_tests_are_told_apart(tree: Path) -> None:
    assert known(tree, "tests/unit/node/test_other.py", digests(tree)) is None


def test_what_a_file_imports_is_found_through_others_and_with_what_lies_beside(
    tree: Path,
) -> None:
    (tree / TEST).write_text("import os\nfrom tests.unit.node import doubles\n")
    (tree / READ[2]).write_text("def f():\n    from ovpnha.model import Node\n")
    (tree / "tests/unit/conftest.py").write_text("import ovpnha.errors\n")
    beside = {"tests/unit/conftest.py", "ovpnha/errors.py"}
    assert Imports(tree).of(TEST) == {TEST, READ[2], READ[0], *beside}


def test_only_what_lies_in_the_tree_is_remembered_as_opened(tree: Path) -> None:
    paths = ["docs/wire.md", str(tree / "deploy" / "unit"), "/etc/hosts", "build/coverage"]
    assert opened(tree, paths) == {"docs/wire.md", "deploy/unit"}
