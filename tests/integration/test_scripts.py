"""Scripts and plugins are told at an import what they were told at the connection, in good time."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.integration.conftest import MakeLab
from tests.integration.rows import Row, write_files
from tests.integration.test_imports import CONNECT, Claim, connect, records
from tests.lab.node import Node
from tests.lab.waiting import wait_until

pytestmark = [pytest.mark.integration, pytest.mark.timeout(180)]

PATIENCE = 40.0
LOCAL = frozenset(("daemon_pid", "daemon_start_time", "PWD", "OLDPWD", "SHLVL", "_"))
"""Variables that belong to a process, not to a client."""

NOTE = """\
#!/bin/sh
[ "$1" = delete ] && exit 0
env | sort >"learn-$1-$(echo "$2" | tr / _).env"
echo "$@" >>learn.log
"""
SLOW = """\
#!/bin/sh
[ "$1" = delete ] && [ -e slow ] && sleep 1
echo "$1" >>learn.log
exit 0
"""
MANY_NAMES = [f"name{number}={'x' * 40}.example" for number in range(120)]
"""A certificate with such names has a variable of some 7,000 bytes."""

CLIENTS = 4
SECONDS_AN_ADDRESS = 8.0
"""One slow script ends a look at the addresses, and the next look is a second or more later."""


def environments(node: Node) -> dict[str, dict[str, str]]:
    """Every call of the script that was not a delete: what it was told of the client."""
    found = {}
    for path in node.directory.glob("learn-*.env"):
        pairs = (line.split("=", 1) for line in path.read_text().splitlines() if "=" in line)
        found[path.name] = {name: value for name, value in pairs if name not in LOCAL}
    return found


def learned(node: Node) -> list[str]:
    """What the script has written down."""
    log: Path = node.directory / "learn.log"
    return log.read_text().splitlines() if log.exists() else []


def test_learn_address_is_told_what_it_was_told_at_the_connection(make_lab: MakeLab) -> None:
    lab = make_lab(
        vip_manager=None,
        server_options=(
            "script-security 2",
            "learn-address ../learn.sh",
            "client-connect ../connect.sh",
            "route 10.50.0.0 255.255.0.0",
            "x509-track subjectAltName",
        ),
        client_options=("setenv UV_PLACE under-the-roof", "push-peer-info"),
    )
    write_files(Row("learn-address", files={"learn.sh": NOTE, "connect.sh": CONNECT}), lab)
    lab.start_cluster()
    lab.wait_in_sync("b")
    connect(lab, Claim(Row("two")), MANY_NAMES)
    wait_until(lambda: records(lab) == (2, 0), "both clients are imported", PATIENCE)
    master, standby = (environments(lab.nodes[name]) for name in ("a", "b"))
    assert max(len(value) for told in master.values() for value in told.values()) > 4096
    assert standby == master
    assert learned(lab.nodes["a"]) == learned(lab.nodes["b"])


def test_a_standby_that_runs_slow_scripts_for_clients_that_are_gone_still_answers(
    make_lab: MakeLab,
) -> None:
    """Each address that is gone costs a second; all lie in buckets that are looked at once."""
    lab = make_lab(
        vip_manager=None,
        server_options=("script-security 2", "learn-address ../learn.sh", "hash-size 256 4"),
        client_options=("explicit-exit-notify 1",),
    )
    write_files(Row("learn-address", files={"learn.sh": SLOW}), lab)
    lab.start_cluster()
    lab.wait_in_sync("b")
    lab.start_clients(CLIENTS)
    wait_until(lambda: records(lab) == (CLIENTS, 0), "all clients are imported", PATIENCE)
    standby = lab.nodes["b"]
    (standby.directory / "slow").touch()
    for client in lab.clients:
        client.process.stop()
    wait_until(lambda: records(lab) == (0, 0), "all clients are gone", PATIENCE)
    wait_until(
        lambda: learned(standby).count("delete") == 2 * CLIENTS,
        "every address is gone",
        2 * CLIENTS * SECONDS_AN_ADDRESS,
    )
    assert "OpenVPN does not answer" not in standby.sidecar.process.log.read_text()
