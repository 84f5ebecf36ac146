"""A plugin for pytest: which tests run, in which order, and what was imported of others.

`MUTANTS_TESTS` names a file with one test a line, which are run in that order; `MUTANTS_FOREIGN`
one that gets the modules of others that were imported. Property tests look for a failing example
and not for the smallest one: that it fails is all that is asked.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest
from hypothesis import Phase, settings

from tests.mutants.nursery import FOREIGN, OURS

PROFILE = "mutants"
TESTS = "MUTANTS_TESTS"

settings.register_profile(
    PROFILE, derandomize=True, deadline=None, phases=(Phase.explicit, Phase.generate)
)


class Watcher:
    @pytest.hookimpl(trylast=True)
    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        if TESTS in os.environ:
            lines = Path(os.environ[TESTS]).read_text().splitlines()
            order = {name: index for index, name in enumerate(lines)}
            wanted = [item for item in items if item.nodeid in order]
            items[:] = sorted(wanted, key=lambda item: order[item.nodeid])

    def pytest_sessionfinish(self) -> None:
        if FOREIGN in os.environ:
            names = (name for name in sys.modules if name.partition(".")[0] not in OURS)
            Path(os.environ[FOREIGN]).write_text("\n".join(names))


def pytest_configure(config: pytest.Config) -> None:
    config.pluginmanager.register(Watcher(), "mutants-watcher")
