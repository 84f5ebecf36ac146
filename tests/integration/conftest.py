"""The lab's building blocks as fixtures: a running cluster with a stock client and traffic.

Every test gets a cluster of its own. Figures are the lab's business; here it counts that the client
notices nothing. Deadlines are generous, because the machine may be busy.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.integration.sparepair import SparePair
from tests.lab import sidecar
from tests.lab.lab import Lab
from tests.lab.node import Setup

OPENVPN = Path(os.environ.get("OVPNHA_OPENVPN", "build/openvpn/openvpn")).resolve()
OLD_CLIENT = Path("build/openvpn/openvpn-old-client").resolve()

MakeLab = Callable[..., Lab]


@pytest.fixture
def make_lab() -> Iterator[MakeLab]:
    """Builds labs, with these changes to the usual setup, that are taken away after the test."""
    with ExitStack() as stack:

        def make(**changes: Any) -> Lab:
            return stack.enter_context(Lab(Setup(**{"openvpn": OPENVPN, **changes})))

        yield make


@pytest.fixture
def lab(make_lab: MakeLab) -> Lab:
    """A cluster under keepalived, not started yet."""
    return make_lab()


@pytest.fixture
def manual_lab(make_lab: MakeLab) -> Lab:
    """A cluster whose addresses the test moves by hand, not started yet."""
    return make_lab(vip_manager=None)


@pytest.fixture
def pair(tmp_path: Path) -> Iterator[SparePair]:
    """Both processes run, ``a`` serves, ``b`` has taken the descriptors."""
    with SparePair(tmp_path, OPENVPN) as made:
        made.serve()
        yield made


@pytest.fixture
def lone(tmp_path: Path) -> Iterator[SparePair]:
    """Nothing runs yet."""
    with SparePair(tmp_path, OPENVPN) as made:
        yield made


def configure(lab: Lab, old: str, new: str) -> None:
    """Change the sidecars' configuration before they start."""
    sidecar.configure(lab.directory, old, new)
