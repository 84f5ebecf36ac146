"""Changed functions in a program that is imported already, and runs that import it anew."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

from tests.mutants import nursery
from tests.mutants.nursery import Nursery
from tests.mutants.swap import NotSwappableError, swap
from tests.mutants.warm import COLD, FAILED, PASSED, Order, Warm
from tests.mutants.watcher import TESTS as TESTS_NAMED

SOURCE = """\
LIMIT = 5


def low(x: int, least: int = 3) -> bool:
    return x < least


def bounded(limit: int):
    def read(x: int) -> bool:
        return x < limit

    return read


class Box:
    size = LIMIT

    @property
    def full(self) -> bool:
        return all(one < self.size for one in (1, 2))


BELOW_LIMIT = bounded(LIMIT)
"""
TESTS = """\
import pytest
from ovpnha.box import LIMIT, low


def test_low():
    assert low(2)
    assert not low(3)


@pytest.mark.parametrize("limit", [LIMIT])
def test_limit(limit):
    assert limit < 9
"""

OPTIONS = """\
[tool.pytest.ini_options]
asyncio_default_fixture_loop_scope = "function"
filterwarnings = ["error"]
"""


@pytest.fixture
def module(tmp_path: Path) -> ModuleType:
    path = tmp_path / "box.py"
    path.write_text(SOURCE)
    spec = importlib.util.spec_from_file_location("box", path)
    assert spec is not None
    assert spec.loader is not None
    found = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(found)
    return found


def change(module: ModuleType, old: str, new: str) -> None:
    assert SOURCE.count(old) == 1
    line = SOURCE[: SOURCE.index(old)].count("\n") + 1
    swap(Path(str(module.__file__)), SOURCE.replace(old, new).encode(), line)


def test_a_function_that_others_have_imported_is_changed_for_them(module: ModuleType) -> None:
    low = module.low
    change(module, "x < least", "(x <= least)")
    assert low(3)


def test_so_is_one_that_another_function_has_made_at_import(module: ModuleType) -> None:
    assert not module.BELOW_LIMIT(5)
    change(module, "x < limit", "(x <= limit)")
    assert module.BELOW_LIMIT(5)


def test_and_what_a_property_computes(module: ModuleType) -> None:
    assert module.Box().full
    change(module, "one < self.size", "(one > self.size)")
    assert not module.Box().full


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("LIMIT = 5", "LIMIT = 6"),
        ("least: int = 3", "least: int = 4"),
        ("size = LIMIT", "size = 1"),
    ],
)
def test_what_is_computed_at_import_needs_another_one(
    module: ModuleType, old: str, new: str
) -> None:
    with pytest.raises(NotSwappableError):
        change(module, old, new)


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    for name, text in {
        "ovpnha/__init__.py": "",
        "ovpnha/box.py": SOURCE,
        "test_box.py": TESTS,
        "pyproject.toml": OPTIONS,
    }.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    (tmp_path / "build").mkdir()
    return tmp_path


@pytest.fixture
def collected(tree: Path) -> Iterator[Warm]:
    options = ("-q", "-p", "no:cacheprovider", "-p", "tests.mutants.warm")
    found = Warm(tree, ("test_box.py",), options, 2)
    yield found
    found.close()


def test_tests_that_are_collected_once_are_run_as_often_as_is_asked(collected: Warm) -> None:
    first, second = collected.workers
    every = collected.collected()
    assert every == {"test_box.py": ["test_box.py::test_low", "test_box.py::test_limit[5]"]}
    tests = every["test_box.py"]
    found = first.run(Order(tests, measure=True))
    assert found.status == PASSED
    assert set(found.seconds or {}) == set(tests)
    assert (found.lines or {})["ovpnha/box.py"] == {"5": ["test_box.py::test_low"]}

    nowhere = first.run(Order(tests[1:], measure=True))
    assert (nowhere.status, nowhere.lines) == (PASSED, {})

    changed = SOURCE.replace("x < least", "(x <= least)")
    answer = second.run(Order(tests, path="ovpnha/box.py", changed=changed, line=5))
    assert (answer.status, answer.test) == (FAILED, "test_box.py::test_low")
    changed = SOURCE.replace("LIMIT = 5", "LIMIT = 6")
    assert second.run(Order(tests, path="ovpnha/box.py", changed=changed, line=1)).status == COLD
    changed = SOURCE.replace("return x < least", "return x < 3 + 0 * least")
    answer = second.run(Order(tests, path="ovpnha/box.py", changed=changed, line=5))
    assert answer.status == PASSED
    endless = SOURCE.replace("return x < least", "while x < 9: pass")
    order = Order(tests, path="ovpnha/box.py", changed=endless, line=5, limits={tests[0]: 0.5})
    assert second.run(order).status < 0
    assert second.run(Order(tests)).status == PASSED


def test_a_test_that_does_not_pass_is_named(collected: Warm) -> None:
    worker = collected.workers[0]
    broken = SOURCE.replace("return x < least", "return None")
    answer = worker.run(Order(["test_box.py::test_low"], "ovpnha/box.py", broken, 5))
    assert answer.test == "test_box.py::test_low"


@pytest.fixture
def began(tree: Path) -> Iterator[Nursery]:
    found = Nursery(tree)
    yield found
    found.close()


def test_a_run_from_the_beginning_sees_what_a_file_says_now(tree: Path, began: Nursery) -> None:
    options = ["-q", "-p", "no:cacheprovider", "-p", "tests.mutants.watcher", "test_box.py"]
    (tree / "wanted").write_text("test_box.py::test_limit[5]")
    environment = {TESTS_NAMED: str(tree / "wanted")}
    order = nursery.Order(options, str(tree / "said"), environment, processor=60, seconds=600)
    assert began.run(order) == 0, (tree / "said").read_text()
    (tree / "ovpnha" / "box.py").write_text(SOURCE.replace("LIMIT = 5", "LIMIT = 10"))
    assert began.run(order) == 1
    assert "test_limit[10]" in (tree / "said").read_text()


def test_tests_that_cannot_be_collected_are_an_error(tree: Path) -> None:
    (tree / "test_box.py").write_text("import nothing_of_that_name\n")
    options = ("-q", "-p", "no:cacheprovider", "-p", "tests.mutants.warm")
    found = Warm(tree, ("test_box.py",), options, 1)
    with pytest.raises(ValueError, match="cannot be collected"):
        found.collected()
    found.close()
