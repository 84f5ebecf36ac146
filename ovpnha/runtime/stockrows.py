"""What ``status`` and ``clients`` say of an OpenVPN without the patch: words, as in ``rows``."""

from __future__ import annotations

from ovpnha.model import Role, Sync
from ovpnha.node.statistics import InstanceStatistics
from ovpnha.runtime.answers import count_clients

ROLES = {
    Role.MASTER: "OpenVPN without cluster serves, the VIP is here",
    Role.STANDBY: "OpenVPN without cluster runs, the VIP is not here",
}
LISTING = {
    Role.MASTER: "master, serves them; they reconnect at a takeover",
    Role.STANDBY: "standby, knows their addresses",
}


def describe_clients(one: InstanceStatistics) -> str:
    """Nobody is protected; after a takeover, who has its address again."""
    kept, changed = one.stock.addresses_kept, one.stock.addresses_changed
    if one.role is not Role.MASTER or not (kept or changed):
        return f"{one.clients}, none protected" if one.clients else "none"
    back = f"{kept} of {kept + changed} that came back have their addresses"
    return f"{one.clients}, none protected; {back}"


def describe_leases(one: InstanceStatistics) -> tuple[str, bool]:
    """What is known of clients that are connected elsewhere, and whether that is all there is."""
    stock = one.stock
    known = f"addresses of {count_clients(stock.leases)}, no clients"
    if one.sync is Sync.SYNCING:
        return f"addresses being fetched from {stock.leases_from}", False
    if stock.leases_from is None:
        return f"{known}; the node that served is not heard" if stock.leases else "none", False
    return f"{known}, of {stock.leases_from}", True
