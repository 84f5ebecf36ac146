"""ovpnha beside stock OpenVPN: the server's configuration, the pool file, and who has what address.

What differs from other labs is what docs/operations.md, "A stock OpenVPN beside", tells users to
write.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from ovpnha.runtime.control import ClientsRequest
from tests.lab import plan, sidecar
from tests.lab.lab import Lab
from tests.lab.openvpn import STOCK, Transport
from tests.lab.waiting import wait_until

UDP = Transport()
TCP = Transport("tcp4-server", "tcp4-client")
POOL = "pool"


def stock_setup(**changes: Any) -> dict[str, Any]:
    """What makes a lab one of stock OpenVPN with sidecars, and these changes."""
    options = ("management openvpn.sock unix", f"ifconfig-pool-persist {POOL} 0")
    usual = {"openvpn": STOCK, "patched": False, "vip_manager": None, "server_options": options}
    return {**usual, **changes}


def prepare_stock(lab: Lab, *, keeps: bool, tells: bool = False) -> None:
    """Write into ``ovpnha.toml`` what such a cluster needs.

    ``keeps``: addresses, too. ``tells``: clients over TCP are told of a takeover.
    """
    sidecar.configure(lab.directory, "vip_interface =", "seamless = false\nvip_interface =")
    for node in lab.nodes.values():
        (node.directory / POOL).touch()
        place = f'management = "{node.directory}/openvpn.sock"\n'
        file = f'pool_file = "{node.directory / POOL}"\n' if keeps else ""
        port = f"tcp_port = {plan.PORT}\n" if tells else ""
        sidecar.configure(lab.directory, place, place + file + port)


def addresses(lab: Lab, node: str) -> Mapping[str, str]:
    """The address in the tunnel of each client, as this node knows them."""
    answer = lab.nodes[node].sidecar.ask(ClientsRequest())
    return {one["name"]: one["virtual"][0] for one in answer["clients"] if one["virtual"]}


def wait_known(lab: Lab, node: str, count: int, seconds: float) -> Mapping[str, str]:
    """Wait until this node knows so many clients."""
    wait_until(
        lambda: len(addresses(lab, node)) >= count, f"{count} clients, known by {node}", seconds
    )
    return addresses(lab, node)


def lose(lab: Lab, name: str) -> int:
    """This node is cut off and its address comes to the other one; when, as logs tell time."""
    moment = time.time_ns()
    lab.move_vips(lab.other(name))
    lab.nodes[name].sidecar.process.kill()
    lab.nodes[name].openvpn.kill()
    return moment
