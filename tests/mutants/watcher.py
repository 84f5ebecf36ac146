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


def chosen(items: list[pytest.Item], order: dict[str, int]) -> list[pytest.Item]:
    """Those that are wanted, in that order; a row whose name a change has changed is no other."""
    lost = order.keys() - {item.nodeid for item in items}
    rows = {name.partition("[")[0]: order[name] for name in lost}
    places = {
        item.nodeid: order.get(item.nodeid, rows.get(item.nodeid.partition("[")[0]))
        for item in items
    }
    wanted = [(place, item) for item in items if (place := places[item.nodeid]) is not None]
    return [item for _, item in sorted(wanted, key=lambda pair: pair[0])]


class Watcher:
    @pytest.hookimpl(trylast=True)
    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        if TESTS in os.environ:
            lines = Path(os.environ[TESTS]).read_text().splitlines()
            order = {name: index for index, name in enumerate(lines)}
            items[:] = chosen(items, order)

    def pytest_sessionfinish(self) -> None:
        if FOREIGN in os.environ:
            Path(os.environ[FOREIGN]).write_text("\n".join(_foreign(Path.cwd())))


def _foreign(tree: Path) -> list[str]:
    """What was imported from elsewhere."""
    return [
        name
        for name, module in list(sys.modules.items())
        if name.partition(".")[0] not in OURS
        and tree not in Path(getattr(module, "__file__", None) or "/").parents
    ]


def pytest_configure(config: pytest.Config) -> None:
    config.pluginmanager.register(Watcher(), "mutants-watcher")
