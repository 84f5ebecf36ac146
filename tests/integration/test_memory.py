"""Thousands of imported clients, and the limit on locked memory that would end them."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests.bench.manager import Manager
from tests.bench.memory import capture, fill, widen
from tests.integration.conftest import OPENVPN
from tests.integration.pace import PATIENCE
from tests.integration.test_refusals import GOOD
from tests.lab.lab import Lab

pytestmark = pytest.mark.integration

CLIENTS = 5000


def test_many_imported_clients_are_promoted_at_once(manual_lab: Lab) -> None:
    lab = manual_lab
    widen(lab)
    sample = capture(lab)
    node = lab.nodes["b"]
    node.openvpn.start()
    with Manager(node.directory / "openvpn.sock") as manager:
        fill(manager, sample, CLIENTS)
        *clients, _ = manager.ask("cluster-list")
        assert len(clients) == CLIENTS
        promoted = manager.ask("cluster-promote 2/b")[-1]
    assert promoted.startswith(f"SUCCESS: cluster-promote instances={CLIENTS},")


def test_a_limit_that_cannot_be_lifted_is_refused(tmp_path: Path) -> None:
    config = tmp_path / "server.conf"
    config.write_text("".join(f"{name} {value}\n" for name, value in {**GOOD, "mlock": ""}.items()))
    bounded = ["prlimit", "--memlock=65536:65536", "setpriv", "--bounding-set", "-sys_resource"]
    done = subprocess.run(
        [*bounded, OPENVPN, "--cd", tmp_path, "--config", config],
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert done.returncode == 1
    (error,) = [line for line in done.stdout.splitlines() if "Options error" in line]
    assert "LimitMEMLOCK=infinity" in error
