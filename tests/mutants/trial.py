"""Trying mutants: copies of the tree, what the tests of the whole tree touch, and one trial.

A function is changed in a program that is imported already, in a fork of a process that has all
tests (``warm``): most of what is noticed is noticed within a moment. What is not, and what runs at
import, is tried in a copy of the tree that has the change, with every import (``nursery``).

It is measured which tests come to which line (``measuring``); so a mutant is tried against the
tests that come to its lines, the quick ones first, until one fails. A line that is done at import
is no test's: the tests of such a constant are those that come to a function that names it, and
those that come to no line at all, for they can only look at what an import has made. A trial may
take so much processor time, not so much time, that a busy machine does not change its outcome.
"""

from __future__ import annotations

import ast
import enum
import os
import re
import shutil
import subprocess
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from tests.mutants import warm
from tests.mutants.changes import Mutant
from tests.mutants.measuring import PYTEST, SUITES, measure
from tests.mutants.nursery import Nursery, Order
from tests.mutants.warm import Warm, Worker
from tests.mutants.watcher import TESTS

FOR_IMPORT = SUITES[-2:]
"""What looks at constants and classes as such, and comes to no line that uses them."""
FAILED = (1, 2, 3)  # what pytest ends with: a test, the collection, or pytest itself
USAGE, BROKEN = 4, "ImportError while loading conftest"  # it does not even begin
PROCESSOR_SECONDS = 30  # of one trial, and so many times what its tests take
PROCESSOR_FACTOR = 2
ONE_SECONDS, ONE_FACTOR = 10, 5  # the same of one test
SECONDS = 1200  # when it waits for something that will never come
MEMORY = 3 << 30
SOON = 6  # files whose tests are tried first: every file has to be imported
NAMES_LIMIT = 3  # how often a constant may be named by another before it is anyone's


class Outcome(enum.Enum):
    """What became of a mutant."""

    NOTICED = "noticed"
    ENDLESS = "noticed (no end)"
    UNNOTICED = "not noticed"
    UNTESTED = "no test comes there"


NOTICED = frozenset({Outcome.NOTICED, Outcome.ENDLESS})


def copy_tree(root: Path, to: Path) -> None:
    """What git knows of, as it lies there."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, cwd=root, check=True, capture_output=True, text=True).stdout
    for name in filter(None, listed.split("\0")):
        if (root / name).is_file():
            (to / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(root / name, to / name)


@dataclass(frozen=True)
class Touched:
    """Which tests come to which line, and how many seconds each takes."""

    tests: dict[str, dict[int, frozenset[str]]]  # by file, by line
    seconds: dict[str, float]  # of the processor, with coverage
    uses: dict[str, dict[str, list[int]]]  # of a name: by file, the lines in functions
    constants: dict[str, frozenset[str]]  # what is defined at import by means of a name
    idle: frozenset[str] = frozenset()  # tests that come to no line

    def concerning(self, mutant: Mutant) -> list[str]:
        """The tests to try a mutant against, the quickest first."""
        lines = self.tests.get(mutant.path, {})
        found = self._at(mutant.path, range(mutant.first, mutant.last + 1))
        if not mutant.inside or not found:
            for name in self._named(mutant.names):
                for path, used in self.uses.get(name, {}).items():
                    found |= self._at(path, used)
        if not found:
            found = self._at(mutant.path, lines)
        if not mutant.inside:
            found |= {test for test in self.seconds if test.startswith(FOR_IMPORT)} | self.idle
        return sorted(found, key=lambda test: (self.seconds.get(test, 0.0), test))

    def _at(self, path: str, lines: Iterable[int]) -> set[str]:
        by_line = self.tests.get(path, {})
        return {test for line in lines for test in by_line.get(line, ())}

    def _named(self, names: Iterable[str]) -> set[str]:
        found = set(names)
        for _ in range(NAMES_LIMIT):
            found |= {other for name in found for other in self.constants.get(name, ())}
        return found


def touch(
    collected: Warm, tree: Path, files: list[str], drawn: list[Mutant], cache: Path
) -> Touched:
    """By the tests of an unchanged copy; ``ValueError`` when one of them fails."""
    suites = measure(collected, tree, {mutant.path for mutant in drawn}, cache)
    seconds = {test: took for suite in suites for test, took in suite["seconds"].items()}
    tests: dict[str, dict[int, frozenset[str]]] = {}
    uses: defaultdict[str, dict[str, list[int]]] = defaultdict(dict)
    constants: defaultdict[str, frozenset[str]] = defaultdict(frozenset)
    for path in files:
        lines: defaultdict[int, frozenset[str]] = defaultdict(frozenset)
        for suite in suites:
            for line, names in suite["tests"].get(path, {}).items():
                lines[int(line)] |= frozenset(names)
        tests[path] = dict(lines)
        _collect(path, ast.parse((tree / path).read_bytes()), uses, constants)
    named = (names for suite in suites for by in suite["tests"].values() for names in by.values())
    idle = frozenset(seconds).difference(*named)
    return Touched(tests, seconds, dict(uses), dict(constants), idle)


def _collect(
    path: str,
    tree: ast.Module,
    uses: defaultdict[str, dict[str, list[int]]],
    constants: defaultdict[str, frozenset[str]],
) -> None:
    """Where names are used: in functions, and in what is defined at import."""
    inside: set[int] = set()
    for function in ast.walk(tree):
        if isinstance(function, ast.FunctionDef):
            inside |= set(range(function.body[0].lineno, (function.end_lineno or 0) + 1))
    for node in ast.walk(tree):
        name = _name(node)
        if name and getattr(node, "lineno", 0) in inside:
            uses[name].setdefault(path, []).append(getattr(node, "lineno", 0))
    for statement in ast.walk(tree):
        if isinstance(statement, ast.Assign | ast.AnnAssign) and statement.lineno not in inside:
            targets = statement.targets if isinstance(statement, ast.Assign) else [statement.target]
            defined = frozenset(target.id for target in targets if isinstance(target, ast.Name))
            for node in ast.walk(statement):
                if (name := _name(node)) and name not in defined:
                    constants[name] |= defined


def _name(node: ast.AST) -> str:
    if isinstance(node, ast.Name):
        return node.id
    return node.attr if isinstance(node, ast.Attribute) else ""


class Workshop:
    """One worker and one copy of the tree, in which one mutant after the other is tried."""

    def __init__(self, tree: Path, worker: Worker, nursery: Nursery) -> None:
        self._tree = tree
        self._worker = worker
        self._nursery = nursery
        self._count = 0

    def try_mutant(self, mutant: Mutant, touched: Touched) -> tuple[Outcome, str]:
        """What became of it, and the name of the test that noticed."""
        tests = touched.concerning(mutant)
        if not tests:
            return Outcome.UNTESTED, ""
        source = (self._tree / mutant.path).read_bytes()
        if mutant.inside:
            outcome, test = self._swap(mutant, source, tests, touched)
            if outcome in NOTICED:
                return outcome, test
        return self._begin(mutant, source, tests, touched)

    def _swap(
        self, mutant: Mutant, source: bytes, tests: list[str], touched: Touched
    ) -> tuple[Outcome, str]:
        """In a program that is imported already."""
        order = warm.Order(
            tests,
            path=mutant.path,
            changed=mutant.apply(source).decode(),
            line=mutant.line,
            limits={
                test: ONE_SECONDS + ONE_FACTOR * touched.seconds.get(test, 0.0) for test in tests
            },
            seconds=SECONDS,
        )
        answer = self._worker.run(order)
        if answer.status < 0:
            return Outcome.ENDLESS, ""
        return (Outcome.NOTICED if answer.status == warm.FAILED else Outcome.UNNOTICED), answer.test

    def _begin(
        self, mutant: Mutant, source: bytes, tests: list[str], touched: Touched
    ) -> tuple[Outcome, str]:
        """With every import."""
        path = self._tree / mutant.path
        self._write(path, mutant.apply(source))
        try:
            for part in parts(tests):
                outcome, test = self._run(
                    part, sum(touched.seconds.get(test, 0.0) for test in part)
                )
                if outcome in NOTICED:
                    break
            return outcome, test
        finally:
            self._write(path, source)

    def _write(self, path: Path, source: bytes) -> None:
        """A file that no compiled one of another second and the same length stands for."""
        self._count += 1
        path.write_bytes(source)
        os.utime(path, (self._count * 2, self._count * 2))

    def _run(self, tests: list[str], seconds: float) -> tuple[Outcome, str]:
        listed, said = (self._tree / "build" / name for name in ("tests", "said"))
        listed.parent.mkdir(exist_ok=True)
        listed.write_text("\n".join(tests))
        order = Order(
            [*PYTEST, "-x", "--timeout=0", *_files(tests)],
            str(said),
            {TESTS: str(listed)},
            processor=_limit(seconds),
            seconds=SECONDS,
            memory=MEMORY,
        )
        status = self._nursery.run(order)
        text = said.read_text(errors="replace")
        if status < 0:
            return Outcome.ENDLESS, ""
        if status == USAGE and BROKEN in text:
            return Outcome.NOTICED, BROKEN
        if status not in (0, *FAILED):
            raise ValueError(f"pytest ended with {status}:\n{text}")
        found = re.search(r"^(?:FAILED|ERROR) (\S+)", text, re.MULTILINE)
        noticed = status in FAILED
        return Outcome.NOTICED if noticed else Outcome.UNNOTICED, found[1] if found else ""


def _limit(seconds: float) -> int:
    return PROCESSOR_SECONDS + round(PROCESSOR_FACTOR * seconds)


def parts(tests: list[str]) -> list[list[str]]:
    """Those of the first few files, then all the others: most that is noticed is noticed soon."""
    soon = set(_files(tests)[:SOON])
    first = [test for test in tests if _file(test) in soon]
    others = [test for test in tests if _file(test) not in soon]
    return [part for part in (first, others) if part]


def _files(tests: list[str]) -> list[str]:
    """In the order of the tests."""
    return list(dict.fromkeys(map(_file, tests)))


def _file(test: str) -> str:
    return test.partition("::")[0]
