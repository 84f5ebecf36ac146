"""Which tests come to which line of the tree as it is, and how long each takes; kept for next time.

Measuring takes far longer than trying a hundred mutants. So every file of tests is measured alone,
and what was found is kept as long as each file of the tree that it imports, directly or by others,
or has opened is what it was: a new test costs its own file, a changed module those that import it.
"""

from __future__ import annotations

import ast
import functools
import hashlib
import json
import queue
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypedDict

from tests.mutants.warm import PASSED, Order, Warm, Worker
from tests.mutants.watcher import PROFILE

SUITES = (
    "tests/unit/node",
    "tests/unit/replication",
    "tests/unit/management",
    "tests/unit/firewall",
    "tests/unit/config",
    "tests/unit/setup",
    "tests/unit/doctor",
    "tests/unit/checks",
    "tests/unit/runtime/test_problems.py",
    "tests/property",
    "tests/unit/test_error_codes.py",
    "tests/unit/test_untold.py",
    "tests/unit/test_ruled_figures.py",
    "tests/unit/test_secrets.py",
)
PYTEST = (
    *("-q", "--no-header", "-p", "no:cacheprovider", "--tb=no"),
    "--basetemp=build/tmp",  # the usual place is tidied by every other run on this machine
    *("-p", "tests.mutants.watcher", "--hypothesis-profile", PROFILE, "-m", "not integration"),
)
WARM = (*PYTEST, "-p", "tests.mutants.warm")
ALWAYS = ("pyproject.toml", "tests/mutants/watcher.py")
DIGITS = 32

Digest = Callable[[str], str]


class Measured(TypedDict):
    """What was found of one file of tests."""

    read: dict[str, str]  # what it depends on, and the digest of each
    seconds: dict[str, float]  # of the processor, while lines were counted, by test
    tests: dict[str, dict[str, list[str]]]  # by file, by line


def measure(warm: Warm, tree: Path, paths: set[str], cache: Path) -> list[Measured]:
    """Every file of tests that imports one of those, of an unchanged copy.

    ``ValueError`` when one of its tests fails.
    """
    cache.mkdir(parents=True, exist_ok=True)
    digest = digests(tree)
    imports = Imports(tree)
    every = {file: tests for file, tests in warm.collected().items() if imports.of(file) & paths}
    found = {file: known(cache, file, digest) for file in every}
    missing = [file for file, measured in found.items() if measured is None]
    print(f"measuring {len(missing)} of {len(found)} files of tests", flush=True)
    workers: queue.Queue[Worker] = queue.Queue()
    for worker in warm.workers:
        workers.put(worker)

    def run(file: str) -> None:
        worker = workers.get()
        try:
            answer = worker.run(Order(every[file], measure=True))
        finally:
            workers.put(worker)
        if answer.status != PASSED:
            raise ValueError(f"a test does not pass as the tree is: {answer.test or file}")
        read = {*ALWAYS, *imports.of(file), *opened(tree, answer.opened or [])}
        measured = Measured(
            read={name: digest(name) for name in sorted(read)},
            seconds=answer.seconds or {},
            tests=answer.lines or {},
        )
        keep(cache, file, measured)
        found[file] = measured
        left = sum(one is None for one in found.values())
        print(f"{left:4} left, measured {file}: {len(every[file])} tests", flush=True)

    with ThreadPoolExecutor(len(warm.workers)) as pool:
        list(pool.map(run, missing))
    return [measured for measured in found.values() if measured is not None]


def known(cache: Path, file: str, digest: Digest) -> Measured | None:
    """What was found before, when all that it depends on is as it was."""
    try:
        measured: Measured = json.loads(_kept(cache, file).read_text())
    except FileNotFoundError:
        return None
    same = all(digest(name) == value for name, value in measured["read"].items())
    return measured if same else None


def keep(cache: Path, file: str, measured: Measured) -> None:
    """For next time."""
    kept = _kept(cache, file)
    unready = kept.with_suffix(".new")
    unready.write_text(json.dumps(measured))
    unready.replace(kept)


def _kept(cache: Path, file: str) -> Path:
    return cache / f"{hashlib.sha256(file.encode()).hexdigest()[:DIGITS]}.json"


def digests(tree: Path) -> Digest:
    """What tells one content of a file of the tree from another; empty when there is none."""
    return functools.cache(lambda name: _digest(tree / name))


def _digest(path: Path) -> str:
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()[:DIGITS]
    except OSError:
        return ""


def opened(tree: Path, paths: list[str]) -> set[str]:
    """Those of the tree, but for what is made there."""
    found = {Path(path) if Path(path).is_absolute() else tree / path for path in paths}
    names = {path.relative_to(tree) for path in found if tree in path.parents}
    return {str(name) for name in names if not {"build", "__pycache__"} & set(name.parts)}


class Imports:
    """Which files of a tree a file of it imports, and those in turn."""

    def __init__(self, tree: Path) -> None:
        self._tree = tree
        self._direct: dict[str, set[str]] = {}

    def of(self, file: str) -> set[str]:
        """All of them, the file itself, and what pytest imports beside it."""
        found: set[str] = set()
        left = {file, *self._beside(file)}
        while left:
            name = left.pop()
            found.add(name)
            left |= self._of_one(name) - found
        return found

    def _beside(self, file: str) -> Iterator[str]:
        for folder in Path(file).parents:
            if (self._tree / folder / "conftest.py").is_file():
                yield str(folder / "conftest.py")

    def _of_one(self, file: str) -> set[str]:
        if file not in self._direct:
            self._direct[file] = set()
            for node in ast.walk(ast.parse((self._tree / file).read_bytes())):
                match node:
                    case ast.Import(names):
                        wanted = [name.name for name in names]
                    case ast.ImportFrom(str(module), names):
                        wanted = [module, *(f"{module}.{name.name}" for name in names)]
                    case _:
                        continue
                self._direct[file].update(one for name in wanted for one in self._files(name))
        return self._direct[file]

    def _files(self, module: str) -> Iterator[str]:
        parts = module.split(".")
        for count in range(1, len(parts) + 1):
            base = "/".join(parts[:count])
            for name in (f"{base}.py", f"{base}/__init__.py"):
                if (self._tree / name).is_file():
                    yield name
