"""A plugin for pytest: which tests run, in which order, and how long each took.

`MUTANTS_TESTS` names a file with one test a line, which are run in that order; `MUTANTS_TIMES` one
that gets, as JSON, how many seconds of the processor every test took. Property tests look for a
failing example and not for the smallest one: that it fails is all that is asked.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import Phase, settings

PROFILE = "mutants"
TESTS = "MUTANTS_TESTS"
TIMES = "MUTANTS_TIMES"

settings.register_profile(
    PROFILE, derandomize=True, deadline=None, phases=(Phase.explicit, Phase.generate)
)


class Watcher:
    def __init__(self) -> None:
        self._seconds: dict[str, float] = {}

    @pytest.hookimpl(trylast=True)
    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        if TESTS in os.environ:
            lines = Path(os.environ[TESTS]).read_text().splitlines()
            order = {name: index for index, name in enumerate(lines)}
            wanted = [item for item in items if item.nodeid in order]
            items[:] = sorted(wanted, key=lambda item: order[item.nodeid])

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Iterator[None]:
        begun = time.process_time()
        yield
        self._seconds[item.nodeid] = time.process_time() - begun

    def pytest_sessionfinish(self) -> None:
        if TIMES in os.environ:
            Path(os.environ[TIMES]).write_text(json.dumps(self._seconds))


def pytest_configure(config: pytest.Config) -> None:
    config.pluginmanager.register(Watcher(), "mutants-watcher")
