"""Which tests come to which line of the tree as it is, and how long each takes; kept for next time.

Measuring takes far longer than trying a hundred mutants. So what was found of a suite is kept, by
the content of all that it may depend on: the program, what the tests share, and the suite itself.
After a new test only its own suite is measured again.
"""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypedDict

import coverage

from tests.mutants.watcher import PROFILE, TIMES

SUITES = (
    "tests/unit/node",
    "tests/unit/replication",
    "tests/unit/management",
    "tests/unit/firewall",
    "tests/unit/config",
    "tests/unit/setup",
    "tests/unit/doctor",
    "tests/unit/runtime/test_problems.py",
    "tests/property",
    "tests/unit/test_ruled_figures.py",
    "tests/unit/test_secrets.py",
)
PYTEST = (
    *("-m", "pytest", "-q", "--no-header", "-p", "no:cacheprovider"),
    "--basetemp=build/tmp",  # the usual place is tidied by every other run on this machine
    *("-p", "tests.mutants.watcher", "--hypothesis-profile", PROFILE, "-m", "not integration"),
)


class Measured(TypedDict):
    """What was found of one suite."""

    seconds: dict[str, float]  # of the processor, with coverage, by test
    tests: dict[str, dict[str, list[str]]]  # by file, by line


def measure(trees: list[Path], files: list[str], cache: Path) -> list[Measured]:
    """Every suite, of unchanged copies; ``ValueError`` when one of its tests fails."""
    cache.mkdir(parents=True, exist_ok=True)
    kept = {suite: cache / f"{fingerprint(trees[0], suite)}.json" for suite in SUITES}
    missing = [suite for suite in SUITES if not kept[suite].is_file()]
    print(f"measuring {len(missing)} of {len(SUITES)} suites, the others are known", flush=True)

    def run(tree: Path, share: list[str]) -> None:
        for suite in share:
            found = _measure(tree, suite, files)
            unready = kept[suite].with_suffix(".new")
            unready.write_text(json.dumps(found))
            unready.replace(kept[suite])
            print(f"measured {suite}: {len(found['seconds'])} tests", flush=True)

    with ThreadPoolExecutor(len(trees)) as pool:
        shares = [missing[number :: len(trees)] for number in range(len(trees))]
        list(pool.map(run, trees, shares))
    return [json.loads(kept[suite].read_text()) for suite in SUITES]


def fingerprint(tree: Path, suite: str) -> str:
    """Of everything that may change what is found of a suite."""
    digest = hashlib.sha256(suite.encode())
    for path in sorted(_read_by(tree, suite)):
        name, content = str(path.relative_to(tree)).encode(), path.read_bytes()
        digest.update(b"%d %s %d " % (len(name), name, len(content)) + content)
    return digest.hexdigest()[:32]


def _read_by(tree: Path, suite: str) -> Iterator[Path]:
    """The program, what stands beside it, and no test but those of the suite."""
    for path in tree.rglob("*"):
        name = path.relative_to(tree)
        made = name.parts[0] == "build" or "__pycache__" in name.parts
        test = path.name.startswith("test_") and name.parts[0] == "tests"
        if path.is_file() and not made and (not test or str(name).startswith(suite)):
            yield path


def _measure(tree: Path, suite: str, files: list[str]) -> Measured:
    data = tree / "build" / "coverage"
    data.parent.mkdir(exist_ok=True)
    times = tree / "build" / TIMES
    done = subprocess.run(
        [sys.executable, *PYTEST, "--cov=ovpnha", "--cov-context=test", "--cov-report=", suite],
        cwd=tree,
        env=os.environ | {TIMES: str(times), "COVERAGE_FILE": str(data)},
        check=False,
    )
    if done.returncode:
        raise ValueError(f"the tests do not pass as the tree is: {suite}")
    measured = coverage.CoverageData(str(data))
    measured.read()
    tests = {path: _by_line(measured, (tree / path).resolve()) for path in files}
    return Measured(seconds=json.loads(times.read_text()), tests=tests)


def _by_line(measured: coverage.CoverageData, path: Path) -> dict[str, list[str]]:
    found = measured.contexts_by_lineno(str(path))
    return {
        str(line): sorted({name.rpartition("|")[0] for name in names if name})
        for line, names in found.items()
    }
