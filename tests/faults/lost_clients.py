"""OpenVPN lost its clients without being asked: the VIP goes to the node that still has them."""

from __future__ import annotations

import signal
from collections.abc import Callable
from functools import partial
from pathlib import Path

from tests.faults.fault import Fault, Say
from tests.lab.clientlog import noticed
from tests.lab.lab import Lab
from tests.lab.node import Node, Setup
from tests.lab.session import Session
from tests.lab.waiting import wait_until

OPENVPN = Path("build/openvpn/openvpn").resolve()
CLIENTS = 12
PATIENCE = 20.0
OUTAGE_MS = 5000.0
"""Most milliseconds without answers: far below the ping-restart of a client (60 s), and more than a
busy machine needs."""

Deed = Callable[[Lab, Node], None]


def reset(_lab: Lab, node: Node) -> None:
    """SIGUSR1: the process stays, and so does its management connection."""
    node.openvpn.signal(signal.SIGUSR1)


def reload(_lab: Lab, node: Node) -> None:
    """SIGHUP: the process stays."""
    node.openvpn.signal(signal.SIGHUP)


def reset_without_sidecar(_lab: Lab, node: Node) -> None:
    """SIGUSR1 while the sidecar is restarted, which knows nothing of before."""
    node.sidecar.process.kill()
    node.openvpn.signal(signal.SIGUSR1)
    node.sidecar.process.start()


def reload_without_sidecar(_lab: Lab, node: Node) -> None:
    """SIGHUP while the sidecar is restarted: the management socket is gone for a while."""
    node.sidecar.process.kill()
    node.openvpn.signal(signal.SIGHUP)
    node.sidecar.process.start()


def reset_while_it_is_away(lab: Lab, node: Node) -> None:
    """SIGUSR1 while there is no sidecar: the other node serves before there is one again."""
    other = lab.nodes["b"].sidecar
    node.sidecar.process.kill()
    node.openvpn.signal(signal.SIGUSR1)
    wait_until(lambda: (other.instance() or {}).get("role") == "master", "a takeover", PATIENCE)
    node.sidecar.process.start()


def start_again(_lab: Lab, node: Node) -> None:
    """It dies, and is back before anybody has looked."""
    node.openvpn.kill()
    node.openvpn.start()


DEEDS: dict[str, Deed] = {
    "SIGUSR1 to the master's OpenVPN": reset,
    "SIGHUP to the master's OpenVPN": reload,
    "SIGUSR1 while the sidecar restarts": reset_without_sidecar,
    "SIGHUP while the sidecar restarts": reload_without_sidecar,
    "SIGUSR1 while the sidecar is away": reset_while_it_is_away,
    "kill -9 of OpenVPN with an immediate restart": start_again,
}


def lose_clients(lab: Lab, deed: Deed) -> str:
    """Do it to the master: nobody reconnects, and node b has everybody."""
    lab.start_cluster()
    session = Session(lab)
    lab.start_clients(CLIENTS)
    everybody = CLIENTS + 1
    standby = lab.nodes["b"].sidecar
    wait_until(lambda: (standby.instance() or {}).get("records") == everybody, "all records", 30)
    moment = session.strike(deed)
    assert session.recovers(moment, PATIENCE), "no answer after it"
    lab.wait_master("b")
    lab.wait_in_sync("a")
    session.linger(1.0)
    outage = session.outage_ms(moment)
    assert outage < OUTAGE_MS, f"{outage:.0f} ms without answers"
    for client in lab.clients:
        seen = noticed(client.log(), moment.wall, None)
        assert seen.nothing, f"{client.process.name}: {seen}"
    assert (standby.instance() or {})["clients"] == everybody
    return f"{outage:.0f} ms without answers"


def _try(deed: Deed, say: Say) -> str:
    with Lab(Setup(openvpn=OPENVPN), say) as lab:
        return lose_clients(lab, deed)


FAULTS = tuple(Fault(f"B2 {name}", 1, partial(_try, deed)) for name, deed in DEEDS.items())
