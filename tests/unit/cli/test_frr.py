"""deploy/frr: what FRR, systemd and keepalived are given."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.unit.cli.test_deploy import DEPLOY, complaints

FRR = DEPLOY / "frr"
SECONDS = 30.0


def test_the_unit_is_one_that_systemd_takes() -> None:
    found = complaints(FRR / "ovpnha-frr.service")
    assert not [line for line in found if "is not executable" not in line]


def test_the_directory_that_keepalived_watches_outlives_the_unit() -> None:
    """keepalived 2.2 never looks again at one that was removed; a file that is gone is a 0."""
    lines = (FRR / "ovpnha-frr.service").read_text().splitlines()
    assert "RuntimeDirectoryPreserve=yes" in lines


def test_every_value_of_keepalived_is_in_node_conf() -> None:
    text = (FRR / "keepalived.conf").read_text()
    given = {line.partition("=")[0] for line in (FRR / "node.conf").read_text().splitlines()}
    words = {word.strip('"') for word in text.split() if word.startswith("$") and "=" not in word}
    assert words
    assert words <= given


@contextmanager
def watching(directory: Path, *daemons: str) -> Iterator[Path]:
    """``watch-frr`` over these daemons; the file that it writes."""
    file = directory / "state"
    argv = [str(one) for one in (FRR / "watch-frr", file, "--run", directory, "--daemon", *daemons)]
    with subprocess.Popen(argv, stderr=subprocess.DEVNULL) as one:
        try:
            yield file
        finally:
            one.kill()


def expect(file: Path, value: int) -> None:
    deadline = time.monotonic() + SECONDS
    while not file.exists() or int(file.read_text()) != value:
        assert time.monotonic() < deadline, f"never said {value}"
        time.sleep(0.01)


def test_a_daemon_that_is_not_there_that_comes_and_that_dies(tmp_path: Path) -> None:
    with watching(tmp_path, "sleep") as file:
        expect(file, -254)
        with subprocess.Popen(["sleep", "60"]) as daemon:
            (tmp_path / "sleep.pid").write_text(f"{daemon.pid}\n")
            expect(file, 0)
            daemon.kill()
            expect(file, -254)


def test_another_process_with_the_number_of_a_dead_daemon_is_none(tmp_path: Path) -> None:
    (tmp_path / "zebra.pid").write_text(f"{os.getpid()}\n")
    with watching(tmp_path, "zebra") as file:
        expect(file, -254)


@pytest.mark.parametrize("text", ["", "x", "-1"])
def test_a_file_without_a_number_is_no_daemon(tmp_path: Path, text: str) -> None:
    (tmp_path / "zebra.pid").write_text(text)
    with watching(tmp_path, "zebra") as file:
        expect(file, -254)


@pytest.mark.parametrize(("option", "value"), [("--via", -120), ("--need", -254)])
def test_an_interface_without_a_route_of_ospf_counts(
    tmp_path: Path, option: str, value: int
) -> None:
    with (
        watching(tmp_path, "sleep", option, "no-such0") as file,
        subprocess.Popen(["sleep", "60"]) as daemon,
    ):
        (tmp_path / "sleep.pid").write_text(f"{daemon.pid}\n")
        expect(file, value)
        daemon.kill()
