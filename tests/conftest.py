"""What every test run shares.

A skipped test is a failure where `--fail-on-skip` asks for it. Of a long matrix (`sampled`) a run
with `--sample` takes some rows, by a seed that it prints (``tests.sampling``). Hypothesis has two
profiles: `gate`, the same examples in every run, and `hunt`, many new ones (`make hunt`); what a
hunt finds becomes a plain test. A run that leaves a file in the working directory fails: tests
write elsewhere.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import settings

from tests import sampling

if TYPE_CHECKING:
    from _pytest.terminal import TerminalReporter

settings.register_profile("gate", derandomize=True, deadline=None)
settings.register_profile("hunt", max_examples=20_000, deadline=None, print_blob=True)
settings.load_profile("gate")

SKIPPED = pytest.StashKey[list[str]]()


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--fail-on-skip", action="store_true", help="the run fails when a test was skipped"
    )
    parser.addoption("--shard", default="1:1", help="K:N, every Nth test from the Kth on")
    parser.addoption("--sample", action="store_true", help="of long matrices some rows, by --seed")
    parser.addoption("--seed", type=int, help="of --sample; the commit's when it is left out")


def pytest_configure(config: pytest.Config) -> None:
    config.stash[SKIPPED] = []
    config.pluginmanager.register(SkipWatcher(config), "skip-watcher")
    config.pluginmanager.register(LitterWatcher(Path.cwd()), "litter-watcher")


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    number, count = (int(text) for text in config.getoption("--shard").split(":"))
    sample = _sample(config, items) if config.getoption("--sample") else items
    kept = sample[number - 1 :: count]
    config.hook.pytest_deselected(items=[item for item in items if item not in kept])
    items[:] = kept


def pytest_report_header(config: pytest.Config) -> list[str]:
    return (
        [f"sampled matrices: --sample --seed={_seed(config)}"]
        if config.getoption("--sample")
        else []
    )


def _seed(config: pytest.Config) -> int:
    seed = config.getoption("--seed")
    return sampling.seed_of_commit() if seed is None else int(seed)


def _sample(config: pytest.Config, items: list[pytest.Item]) -> list[pytest.Item]:
    """In their order, what `sampled` leaves of them."""
    groups = sampling.grouped((item.nodeid.partition("[")[0], item) for item in items)
    marks = {group: rows[0].get_closest_marker("sampled") for group, rows in groups.items()}
    counts = {group: mark.args[0] for group, mark in marks.items() if mark is not None}
    drawn = set(sampling.draw(groups, counts, _seed(config)))
    return [item for item in items if item in drawn]


class LitterWatcher:
    """Directories are those of caches, and `build/`."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._before = self._files()

    def _files(self) -> set[str]:
        files = (one.name for one in self._directory.iterdir() if one.is_file())
        return {name for name in files if not name.startswith(".coverage")}

    def _litter(self) -> list[str]:
        return sorted(self._files() - self._before)

    @pytest.hookimpl(trylast=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        if self._litter() and session.exitstatus == pytest.ExitCode.OK:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def pytest_terminal_summary(self, terminalreporter: TerminalReporter) -> None:
        for name in self._litter():
            terminalreporter.write_line(f"left behind in the working directory: {name}", red=True)


class SkipWatcher:
    def __init__(self, config: pytest.Config) -> None:
        self._config = config

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        # An expected failure is reported as skipped too, but it did run.
        if report.skipped and not hasattr(report, "wasxfail"):
            self._config.stash[SKIPPED].append(report.nodeid)

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        if report.skipped:
            self._config.stash[SKIPPED].append(report.nodeid)

    @pytest.hookimpl(trylast=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        if self._refused() and session.exitstatus == pytest.ExitCode.OK:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def pytest_terminal_summary(self, terminalreporter: TerminalReporter) -> None:
        for nodeid in self._refused():
            terminalreporter.write_line(f"skipped, and --fail-on-skip: {nodeid}", red=True)

    def _refused(self) -> list[str]:
        return self._config.stash[SKIPPED] if self._config.getoption("--fail-on-skip") else []
