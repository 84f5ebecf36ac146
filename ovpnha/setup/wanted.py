"""The options that `ovpnha init` wants in a server's file, and those that must not be there."""

from __future__ import annotations

from ovpnha.setup.advice import is_other_family
from ovpnha.setup.cluster import ClusterPlan
from ovpnha.setup.refusals import is_wildcard
from ovpnha.setup.server import Server
from ovpnha.setup.stock import serves_several, wanted_stock_options

USER = "ovpnha"


def wanted_options(plan: ClusterPlan, server: Server) -> list[tuple[str, ...]]:
    """What the server's file must say."""
    if plan.stock:
        return list(wanted_stock_options(plan, server))
    several = serves_several(plan, server)
    addresses = [("cluster-address", str(one.ip)) for one in plan.served]
    wanted: list[tuple[str, ...]] = [
        *(addresses if several else [("local", str(plan.outside.ip))]),
        ("cluster",),
        ("management", plan.management, "unix"),
        ("management-client-user", USER),
        ("management-client-group", USER),
        ("disable-dco",),
    ]
    if several and 6 in plan.versions and server.word("proto") != "udp6":
        wanted.append(("proto", "udp6"))
    if not several and is_other_family(server, plan.outside.ip.version):
        wanted.append(("proto", f"udp{plan.outside.ip.version}"))
    return wanted


def unwanted_options(plan: ClusterPlan, server: Server) -> frozenset[str]:
    """What the server's file must not say, and needs nothing in its place."""
    bound = serves_several(plan, server) and not is_wildcard(server)
    patched = ("cluster", "cluster-address") if plan.stock else ()
    return frozenset((*patched, *(("local",) if bound else ())))
