"""Records that a standby's OpenVPN once refused, in silence."""

from __future__ import annotations

from functools import partial

from tests.faults.fault import Fault, Say
from tests.integration.conftest import OPENVPN
from tests.integration.rows import write_files
from tests.integration.test_imports import (
    CLAIMS,
    REFUSING,
    STATUS,
    connect,
    let_it_refuse,
    wait_same,
)
from tests.lab.lab import Lab
from tests.lab.node import Setup


def _import(name: str, say: Say) -> str:
    """The clients of one row, on the master and on the standby."""
    (case,) = (one for one in CLAIMS if one.row.name == name)
    setup = Setup(openvpn=OPENVPN, vip_manager=None, server_options=(*STATUS, *case.row.server))
    with Lab(setup, say) as lab:
        write_files(case.row, lab)
        lab.start_cluster()
        lab.wait_in_sync("b")
        connect(lab, case)
        routes = wait_same(lab, len(case.clients), "one by one")
    return f"{len(case.clients)} clients imported, {len(routes)} routes alike"


def _refuse(say: Say) -> str:
    """A standby whose script refuses what the master's allows."""
    setup = Setup(openvpn=OPENVPN, vip_manager=None, server_options=REFUSING)
    with Lab(setup, say) as lab:
        return let_it_refuse(lab)


FAULTS = (
    Fault(
        "B4 a fixed IPv4 address, IPv6 from the pool",
        1,
        partial(_import, "fixed-ipv4-and-pool-ipv6"),
    ),
    Fault("B4 learn-address checks the name", 1, partial(_import, "learn-address-that-checks")),
    Fault("B4 a standby refuses a client", 1, _refuse),
)
