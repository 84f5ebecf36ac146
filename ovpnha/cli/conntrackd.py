"""``ovpnha conntrackd-config``: what this host adds to the configuration is its BCN addresses."""

from __future__ import annotations

import re
import socket
from collections.abc import Iterator

from ovpnha.config import (
    BcnLink,
    BcnMode,
    Config,
    ConntrackdChannel,
    ConntrackMode,
    render_conntrackd,
)
from ovpnha.errors import ConfigError
from ovpnha.runtime.network import NetworkTable

NAME = re.compile(r"[A-Za-z][A-Za-z0-9._-]*")
"""A word of conntrackd's configuration, which has no quotes; tried with 1.4.7."""
PATH_BREAKS = re.compile(r'[\s"]')


def print_config(config: Config, table: NetworkTable, broadcast: str = "") -> str:
    """The text of conntrackd.conf.

    ``broadcast`` is OpenVPN's ``cluster-broadcast-address``, which stands for links that are not
    named; "" when it is not known.

    Raises:
        ConfigError: What is missing in ovpnha.toml or on this host.
    """
    if not config.conntrack.flows:
        raise ConfigError(
            "conntrack.flows: is empty; name the tunnels' networks:"
            ' flows = ["10.8.0.0/24", "2001:db8:8::/64"]'
        )
    if PATH_BREAKS.search(str(config.conntrack.socket)):
        raise ConfigError(
            "conntrack.socket: conntrackd's configuration takes no path with a space or a quote;"
            " name another"
        )
    if not (links := config.bcn.links or tuple(_implied_links(broadcast, table))):
        raise ConfigError(
            "bcn.links: are needed here, where no file of OpenVPN's names a"
            " cluster-broadcast-address of this host; add links = [{ interface = … }]"
        )
    channels = [_channel(config, link, table) for link in links]
    return render_conntrackd(config.conntrack, channels, config.cluster.node)


def _implied_links(broadcast: str, table: NetworkTable) -> Iterator[BcnLink]:
    """The one interface on which datagrams for OpenVPN's address leave, as the sidecar has it."""
    for address in table.addresses():
        link = table.link_by_index(address.index)
        if link is not None and broadcast in address.broadcasts():
            yield BcnLink.model_construct(interface=link.name)
            return


def _channel(config: Config, link: BcnLink, table: NetworkTable) -> ConntrackdChannel:
    if not NAME.fullmatch(link.interface):
        raise ConfigError(
            f"bcn.links: conntrackd's configuration takes no interface {link.interface}: a letter,"
            " then letters, digits, dots, dashes and underscores; rename the interface"
        )
    if config.bcn.mode is BcnMode.UNICAST:
        return _unicast(config.conntrack.mode, link, table)
    own = next(_own_addresses(link.interface, table), None)
    if own is None:
        raise ConfigError(
            f"bcn.links: interface {link.interface} has no IPv4 address, or is not on this host:"
            " conntrackd needs one to send from"
        )
    return ConntrackdChannel(link.interface, own)


def _unicast(mode: ConntrackMode, link: BcnLink, table: NetworkTable) -> ConntrackdChannel:
    nodes = [str(node) for node in link.nodes]
    own = [node for node in nodes if table.has_address(node, link.interface)]
    others = [node for node in nodes if node not in own]
    if len(own) != 1 or len(others) != 1 or mode is not ConntrackMode.FTFW:
        raise ConfigError(
            f"bcn.links: {link.interface}: by unicast conntrackd reaches one other node: nodes must"
            " be two addresses, one of them this node's, and conntrack.mode ftfw"
        )
    return ConntrackdChannel(link.interface, own[0], others[0])


def _own_addresses(interface: str, table: NetworkTable) -> Iterator[str]:
    for one in table.addresses(interface):
        if one.family == socket.AF_INET:
            yield one.address
