"""The configuration of conntrackd for one node, made from what ovpnha.toml says. Pure.

Decides what conntrackd tells the other nodes, and over which interface: entries of ``flows``, over
the BCN. What each line is for stands beside it, in the text itself.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from ovpnha.config.filtering import ConntrackConfig, ConntrackMode

GROUP = "225.0.0.50"
"""Where conntrackd's own examples send to; a group is heard on the interface that is named only."""


@dataclass(frozen=True)
class ConntrackdChannel:
    """One way to the other nodes: out of ``interface``, which has ``address``.

    ``to`` is the address of the other node; "" sends to all that listen.
    """

    interface: str
    address: str
    to: str = ""


def render_conntrackd(
    config: ConntrackConfig, channels: Sequence[ConntrackdChannel], node: str
) -> str:
    """The whole file. The first channel is used, the next when its interface is down."""
    channel_lines = [
        line
        for number, channel in enumerate(channels)
        for line in _channel(channel, config.port, default=number == 0)
    ]
    blocks = [
        "Sync {",
        *_indent(_mode(config.mode)),
        *_indent(channel_lines),
        "}",
        "General {",
        *_indent(_general(config)),
        "}",
    ]
    return "\n".join([HEAD.format(node=node), *blocks, ""])


HEAD = """\
# conntrackd of node {node}, made by `ovpnha conntrackd-config` from ovpnha.toml: change that
# instead, and make this anew on each node. It goes to /etc/conntrackd/conntrackd.conf.
"""


def _indent(lines: Iterable[str]) -> Iterator[str]:
    return (f"    {line}" for line in lines)


def _mode(mode: ConntrackMode) -> Iterator[str]:
    yield f"Mode {mode.value.upper()} {{"
    yield "    # What the master tells is in this node's kernel at once: at a takeover there is"
    yield "    # nothing left to do that a packet would have to wait for."
    yield "    DisableExternalCache yes"
    yield "    # A node that has just started asks for what it missed."
    yield "    StartupResync yes"
    yield "}"


def _channel(channel: ConntrackdChannel, port: int, *, default: bool) -> Iterator[str]:
    """What lies on the BCN is neither sealed nor signed: nobody else may reach that port."""
    version = ipaddress.ip_address(channel.address).version
    word = " Default" if default else ""
    if channel.to:
        yield f"UDP{word} {{"
        yield f"    IPv{version}_address {channel.address}"
        yield f"    IPv{version}_Destination_Address {channel.to}"
        yield f"    Port {port}"
    else:
        yield f"Multicast{word} {{"
        yield f"    IPv4_address {GROUP}"
        yield f"    Group {port}"
        yield f"    IPv4_interface {channel.address}"
    yield f"    Interface {channel.interface}"
    yield "    SndSocketBuffer 4194304"
    yield "    RcvSocketBuffer 4194304"
    yield "    Checksum on"
    yield "}"


def _general(config: ConntrackConfig) -> Iterator[str]:
    yield "Systemd on"
    yield "HashSize 32768"
    yield "HashLimit 262144"
    yield "NetlinkBufferSize 2097152"
    yield "NetlinkBufferSizeMaxGrowth 16777216"
    yield "# When the kernel told more than fits, look at its whole table after so many seconds."
    yield "NetlinkOverrunResync 5"
    yield f"LockFile {config.socket.with_suffix('.lock')}"
    yield "UNIX {"
    yield f"    Path {config.socket}"
    yield "}"
    yield "# Connections of the tunnels, and nothing of this host's own. By address alone: names of"
    yield "# protocols would need /etc/protocols, which a small Debian lacks."
    yield "Filter From Userspace {"
    yield "    Address Accept {"
    for flow in config.flows:
        shown = str(flow) if flow.num_addresses > 1 else str(flow.network_address)
        yield f"        IPv{flow.version}_address {shown}"
    yield "    }"
    yield "}"
