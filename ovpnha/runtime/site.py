"""What ``ovpnha.firewall`` must know of this node beside its packet filter.

Decides which interfaces lead to a LAN, and which VIP belongs to which. From our configuration,
OpenVPN's, the table of links and addresses, and ``/proc``; changes nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

from ovpnha.config import BcnMode, Config, InstanceSection
from ovpnha.errors import ConfigError
from ovpnha.firewall.rules import IpAddress, IpNetwork
from ovpnha.firewall.services import FirewallServices
from ovpnha.firewall.site import Site
from ovpnha.firewall.table import Plan, Translation
from ovpnha.model import VipManager
from ovpnha.runtime.firewall import SYSCTLS, read_note, read_number, read_tunables
from ovpnha.runtime.firewallservices import read_services
from ovpnha.runtime.network import NetworkTable
from ovpnha.runtime.serverfile import (
    Server,
    find_served,
    find_server_file,
    find_tunnels,
    read_server,
)

NETSTAT = Path("/proc/net/netstat")


def make_plan(config: Config) -> Plan | None:
    """What the table of our own does; None when none is wanted.

    Raises:
        ConfigError: The tunnels' networks are not known.
    """
    wanted = config.firewall
    if not wanted.manage:
        return None
    tunnels, _ = _find_tunnels(config)
    missing = {one.vip.version for one in wanted.snat} - {net.version for net in tunnels}
    if missing:
        families = " and ".join(f"IPv{version}" for version in sorted(missing))
        raise ConfigError(
            f"firewall.snat: no network of the tunnels is known for {families}; name it:"
            ' networks = ["10.8.0.0/24"] under [firewall], or server_config of the instance'
        )
    return Plan(tuple(Translation(one.interface, one.vip) for one in wanted.snat), tunnels)


def make_site(config: Config, table: NetworkTable) -> Site:
    """What is known of this node, beside its packet filter."""
    tunnels, tun = _find_tunnels(config)
    links = tuple(link.interface for link in config.bcn.links)
    interfaces = _find_interfaces(config, table, {*links, tun})
    outside = tuple(dict.fromkeys(_outside(config, interfaces)))
    try:
        plan = make_plan(config)
    except ConfigError:  # said where somebody checks the configuration
        plan = None
    return Site(
        tunnels=tunnels,
        tun=tun,
        interfaces=interfaces,
        bcn_links=links,
        bcn_ports=_bcn_ports(config),
        bcn_version=bcn_version(config),
        bcn_answers=config.bcn.mode is BcnMode.UNICAST,
        vrrp_links=outside,
        plan=plan,
        services=_find_services(plan),
        conntrackd=_exists(config.conntrack.socket),
        tunables=dict(read_tunables()),
        liberal_before=read_note(config.control.socket.parent),
        strict=tuple(name for name in (*interfaces, *filter(None, [tun])) if _is_strict(name)),
        strictly_dropped=_count_strictly_dropped(),
    )


def _find_services(plan: Plan | None) -> FirewallServices:
    """Where no table is wanted it does not matter that nobody tells."""
    found = read_services()
    return found if plan is not None else replace(found, unread=())


def _exists(path: Path) -> bool:
    """A path in a directory that this user may not enter is as good as none."""
    try:
        return path.exists()
    except PermissionError:
        return False


def _find_tunnels(config: Config) -> tuple[tuple[IpNetwork, ...], str]:
    """The tunnels' networks, and the name of OpenVPN's device ("" when it is not known)."""
    servers = [server for one in config.instance if (server := _read_server(one)) is not None]
    devices = {server.word("dev") for server in servers}
    device = devices.pop() if len(devices) == 1 else ""
    known = (net for server in servers for net in find_tunnels(server))
    networks = config.firewall.networks or tuple(dict.fromkeys(known))
    return networks, device if device not in {"tun", "tap"} else ""


def find_broadcast(config: Config) -> str:
    """The first ``cluster-broadcast-address`` in OpenVPN's files; "" when there is none."""
    servers = [server for one in config.instance if (server := _read_server(one)) is not None]
    addresses = (server.word("cluster-broadcast-address") for server in servers)
    return next(filter(None, addresses), "")


def _read_server(one: InstanceSection) -> Server | None:
    path = find_server_file(one)
    try:
        return read_server(path) if path is not None else None
    except OSError:
        return None


def _find_interfaces(
    config: Config, table: NetworkTable, never: set[str]
) -> Mapping[str, tuple[IpAddress, ...]]:
    """Interfaces by which traffic may leave for a LAN, each with its VIPs."""
    vips: dict[str, list[IpAddress]] = {}
    for one in config.firewall.snat:
        vips.setdefault(one.interface, []).append(one.vip)
    placed = [(one.vip_interface, vip) for one in config.instance for vip in _vips(one)]
    for name, vip in placed:
        if name is not None:
            vips.setdefault(name, []).append(vip)
    known = [vip for _, vip in placed]
    for address in table.addresses():
        link = table.link_by_index(address.index)
        if link is None or link.name in {"lo", *never} or link.name.startswith(("tun", "tap")):
            continue
        if link.name not in vips and not table.leads_out(link):
            continue
        network = address.place.network
        here = vips.setdefault(link.name, [])
        here += (vip for vip in known if vip in network and vip not in here)
    return {name: tuple(dict.fromkeys(found)) for name, found in vips.items()}


def _vips(one: InstanceSection) -> tuple[IpAddress, ...]:
    """The VIPs of an instance, from our file or from OpenVPN's."""
    server = None if one.vip else _read_server(one)
    return one.vip if server is None else tuple(find_served(server))


def _outside(config: Config, interfaces: Mapping[str, tuple[IpAddress, ...]]) -> Iterator[str]:
    """Interfaces on which keepalived talks."""
    for one in config.instance:
        if one.vip_manager is VipManager.KEEPALIVED:
            vips = set(_vips(one))
            holding = (name for name, here in interfaces.items() if vips & set(here))
            yield from (one.vip_interface,) if one.vip_interface is not None else holding


def _bcn_ports(config: Config) -> tuple[int, ...]:
    return (config.bcn.port, *((config.conntrack.port,) if config.conntrack.flows else ()))


def bcn_version(config: Config) -> int:
    """IP version of the back channel network."""
    named = [*(one.address for one in config.bcn.links if one.address is not None)]
    named += [node for one in config.bcn.links for node in one.nodes]
    return next((address.version for address in named), 4)


def _is_strict(interface: str) -> bool:
    """The kernel takes the larger value of the two."""
    conf = SYSCTLS / "net" / "ipv4" / "conf"
    values = [read_number(conf / name / "rp_filter") for name in ("all", interface)]
    return max((value for value in values if value is not None), default=0) == 1


def _count_strictly_dropped() -> int:
    try:
        lines = [line.split() for line in NETSTAT.read_text().splitlines()]
    except OSError:
        return 0
    for names, values in zip(lines[::2], lines[1::2], strict=False):
        if "IPReversePathFilter" in names:
            return int(values[names.index("IPReversePathFilter")])
    return 0
