"""Every key of the configuration: its unit, default and trade-off, and what may stand together.

Decides what a configuration may say. Must never open sockets, look at interfaces or read the
cluster key (``runtime.keyfile`` does). docs/configuration.md is generated from these fields.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from ovpnha.config.values import (
    AbsolutePath,
    Address,
    Argument,
    HostAddress,
    Interface,
    Listen,
    Name,
    Network,
    Seconds,
    SocketPath,
    choice,
)
from ovpnha.model import ClientMetrics, ConntrackManager, RekeyPolicy, VipManager

DEFAULT_PATH = Path("/etc/ovpnha/ovpnha.toml")
IMPLIED_LINK = "bcn"


class BcnMode(StrEnum):
    """How one datagram reaches the other nodes."""

    BROADCAST = "broadcast"
    MULTICAST = "multicast"
    UNICAST = "unicast"


class Tolerated(StrEnum):
    """What two nodes may be told to overlook in each other."""

    DIGEST = "digest"
    CERTIFICATE = "certificate"
    ISSUER = "issuer"


class ConntrackMode(StrEnum):
    """How sure conntrackd makes that what it sends has come."""

    FTFW = "ftfw"
    NOTRACK = "notrack"


class LogLevel(StrEnum):
    """The least important event that is logged."""

    DEBUG = "debug"
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


class LogFormat(StrEnum):
    """What a log line looks like."""

    JSON = "json"
    CONSOLE = "console"


class Section(BaseModel):
    """What all sections share: frozen once read, unknown keys refused, types taken literally."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class ClusterConfig(Section):
    """Who we are."""

    name: Name = Field(
        description="Name of the cluster. Datagrams of another cluster are refused. "
        "The same on all nodes.",
        examples=["office"],
    )
    node: Name = Field(
        description="Name of this node, unique in the cluster. Left out, it is the short host "
        "name, so that one file serves all nodes; `ovpnha run --node` overrides it.",
        examples=["vpn-a"],
    )
    key_file: AbsolutePath = Field(
        default=Path("/etc/ovpnha/cluster.key"),
        description="File with the cluster key, made by `ovpnha keygen`. Mode 0600, the same "
        "content on all nodes. Whoever has it can pose as any node and read every client's keys.",
        examples=["/etc/ovpnha/cluster.key"],
    )


class BcnLink(Section):
    """One link of the back channel network."""

    interface: Interface = Field(
        description="Network interface of the link. It should not be the one that clients reach: "
        "whoever can flood it delays replication.",
        examples=["bcn0"],
    )
    address: Address | None = Field(
        default=None,
        description="`broadcast`: where datagrams go, left out it is the broadcast address of the "
        "interface. `multicast`: the group, left out it is 239.255.41.94. Not used by `unicast`.",
        examples=["192.168.77.255"],
    )
    nodes: tuple[HostAddress, ...] = Field(
        default=(),
        strict=False,
        description="`unicast` only: addresses of all nodes on this link. This node's own may be "
        "among them, so that one file serves all.",
        examples=[["192.168.77.1", "192.168.77.2"]],
    )


class BcnConfig(Section):
    """The back channel network over which the nodes replicate."""

    mode: Annotated[BcnMode, choice(BcnMode)] = Field(
        default=BcnMode.BROADCAST,
        description="How datagrams travel: `broadcast` (nodes on one LAN, nothing to list), "
        "`multicast` (likewise, where broadcast is unwanted; IPv6) or `unicast` (nodes on "
        "different LANs; costs one datagram for each node).",
        examples=["broadcast"],
    )
    port: int = Field(
        default=11940,
        ge=1,
        le=65535,
        description="UDP port, the same on all nodes.",
        examples=[11940],
    )
    links: tuple[BcnLink, ...] = Field(
        default=(),
        strict=False,
        description="The links, used all at once; a second one keeps replication alive when the "
        "first fails. Left out, it is OpenVPN's `cluster-broadcast-address` and `cluster-port`, on "
        "the interface that has this address.",
        examples=[[{"interface": "bcn0"}]],
    )
    receive_buffer: int = Field(
        default=4 * 1024 * 1024,
        ge=65536,
        le=256 * 1024 * 1024,
        description="Bytes of kernel memory for datagrams not yet read, for each link. More "
        "survives longer bursts; datagrams beyond it are lost and repaired.",
        examples=[4194304],
    )

    shared_with_clients: bool = Field(
        default=False,
        description="Allows a link on the interface that clients reach, for hosts that have no "
        "other: whoever can flood that interface delays replication. Refused without it.",
        examples=[True],
    )

    def link_names(self) -> tuple[str, ...]:
        """The links by name: their interfaces, or the one that OpenVPN will tell."""
        return tuple(link.interface for link in self.links) or (IMPLIED_LINK,)

    @model_validator(mode="after")
    def _check_links(self) -> Self:
        names = [link.interface for link in self.links]
        if len(set(names)) != len(names):
            raise ValueError("two links name the same interface; keep one")
        for link in self.links:
            _check_link(self.mode, link)
        if self.mode is not BcnMode.BROADCAST and not self.links:
            raise ValueError(f"mode {self.mode} needs links; add links = [{{ interface = … }}]")
        return self


def _check_link(mode: BcnMode, link: BcnLink) -> None:
    name, address = link.interface, link.address
    if mode is BcnMode.UNICAST and not link.nodes:
        raise ValueError(f'link {name}: mode unicast needs nodes = ["192.0.2.1", …]')
    if mode is not BcnMode.UNICAST and link.nodes:
        raise ValueError(
            f'link {name}: nodes is for mode unicast; remove it or set mode = "unicast"'
        )
    if mode is BcnMode.MULTICAST and address is not None and not address.is_multicast:
        raise ValueError(f"link {name}: {address} is no multicast group; use one of 239.255.0.0/16")
    if mode is BcnMode.BROADCAST and isinstance(address, ipaddress.IPv6Address):
        raise ValueError(f'link {name}: IPv6 has no broadcast; set mode = "multicast"')


class InstanceSection(Section):
    """One OpenVPN daemon."""

    name: Name = Field(
        description="Name of the instance; the same on all nodes: records travel between "
        "instances of one name.",
        examples=["udp"],
    )
    management: SocketPath = Field(
        description="Path of OpenVPN's management socket (`management PATH unix` there). ovpnha "
        "must be its only client.",
        examples=["/run/openvpn-server/udp.sock"],
    )
    server_config: AbsolutePath | None = Field(
        default=None,
        description="OpenVPN's own configuration file, which only `ovpnha check-config` reads, to "
        "say before a restart what `cluster` will refuse. Left out, it is "
        "`/etc/openvpn/server/NAME.conf`, where there is one.",
        examples=["/etc/openvpn/server/udp.conf"],
    )
    vip: HostAddress | None = Field(
        default=None,
        description="The virtual IP that the clients use. Whoever has it is master. Left out, it "
        "is OpenVPN's `local`; it must be the same address, or this node refuses the VIP.",
        examples=["192.0.2.10"],
    )
    vip_interface: Interface | None = Field(
        default=None,
        description="Interface on which the VIP counts. Left out, it counts on any. A node that "
        "gets the VIP on another one refuses it.",
        examples=["eth0"],
    )
    vip_alone: bool = Field(
        default=False,
        description="The VIP is, where it is, the only address of its interface. Without this "
        "such an address is taken for the node's own, which no VIP manager moves, and refused.",
        examples=[True],
    )
    held_max: Seconds = Field(
        default=60.0,
        description="Seconds for which a master that lost the VIP stays held: silent, but ready "
        "to go on at once when the VIP comes back. Longer forgives longer restarts of the VIP "
        "manager; until it is over this node cannot become a standby, unless another promotes.",
        examples=[60.0],
    )
    lone_after: Seconds = Field(
        default=10.0,
        description="Seconds without any other node after which this node counts itself as alone "
        "and good enough to serve. Shorter serves sooner after a cold start of the whole cluster; "
        "longer waits for a node that may still have the clients.",
        examples=[10.0],
    )
    answer_within: Seconds = Field(
        default=3.0,
        description="Seconds for which OpenVPN may say nothing, though asked every second, until "
        "this node counts as broken and gives the VIP up. Shorter ends the outage of an OpenVPN "
        "that hangs sooner; longer forgives slow scripts (client-connect and the like), which "
        "stop all of OpenVPN while they run.",
        examples=[3.0],
    )
    protect_wait: float = Field(
        default=0.1,
        ge=0.0,
        le=1.0,
        description="Seconds for which a new client waits at most, at the end of its connection, "
        "until another node has all it needs to go on with it. A client that is connected then "
        "survives even if the master dies in the next moment. `0.0` never waits. Nobody waits "
        "while no standby is in sync, nor after three clients in a row that waited in vain.",
        examples=[0.1],
    )
    rekey_after_promotion: Annotated[RekeyPolicy, choice(RekeyPolicy)] = Field(
        default=RekeyPolicy.AUTO,
        description="Which clients get new keys after they came from another node: `auto`, those "
        "that authenticate by certificate alone or hold an auth-token that this node can verify; "
        "`always`, all, though a user may be asked for a password, and one that works only once is "
        "refused; `never`, none. Who is left keeps a key that is safe, and loses its control "
        "channel until the next renegotiation.",
        examples=["auto"],
    )
    rekey_rate: float = Field(
        default=50.0,
        ge=0.1,
        le=1000.0,
        description="How many of them a second at most. Each costs OpenVPN about 2 ms of one "
        "processor; as many are under way at once as it answers without delay.",
        examples=[50.0],
    )
    client_metrics: Annotated[ClientMetrics, choice(ClientMetrics)] = Field(
        default=ClientMetrics.OFF,
        description="Metrics of each client, as OpenVPN's exporters have them: `off`; `names`, "
        "with common name, user name and addresses as labels; `hashes`, the same under a keyed "
        "hash, which is equal on all nodes until the cluster key changes. OpenVPN is asked every "
        "15 s and does nothing else while it answers; with 10,000 clients a scrape takes about "
        "0.35 s instead of 2 ms.",
        examples=["hashes"],
    )
    tolerate: tuple[Annotated[Tolerated, choice(Tolerated)], ...] = Field(
        default=(),
        strict=False,
        description="What may differ between the nodes during a rolling replacement: `digest` (of "
        "OpenVPN's options), `certificate`, `issuer`. Remove it afterwards: a difference that is "
        "not meant costs the clients their connection at the next takeover.",
        examples=[["certificate"]],
    )
    vip_manager: Annotated[VipManager, choice(VipManager)] = Field(
        default=VipManager.KEEPALIVED,
        description="Who moves the VIP: `keepalived`, which reads the track file whenever it is "
        "replaced, so that a node whose keepalived is gone, hangs or reads another file says so "
        "after some seconds; or `other`, of which nothing is expected.",
        examples=["keepalived"],
    )
    track_file: AbsolutePath | None = Field(
        default=None,
        description="File for keepalived's `track_file`: the grade of this node, written on every "
        "change and touched every second, so that an old file means that ovpnha is gone.",
        examples=["/run/ovpnha/udp.grade"],
    )


class HttpConfig(Section):
    """The HTTP endpoint: /metrics, /health and /status."""

    listen: Listen = Field(
        default="127.0.0.1:9594",
        description="Address and port, IPv6 in brackets. It has no password: keep it on an inside "
        'network. `""` switches it off. `ovpnha check-config` tries to open it.',
        examples=["127.0.0.1:9594"],
    )


class ControlConfig(Section):
    """The unix socket that `ovpnha status`, `promote`, `demote` and `renegotiate` use."""

    socket: SocketPath = Field(
        default=Path("/run/ovpnha/control.sock"),
        description="Path of the socket, mode 0660: its owner and group may command this node.",
        examples=["/run/ovpnha/control.sock"],
    )


class LogConfig(Section):
    """Log lines, written to the standard error output."""

    level: Annotated[LogLevel, choice(LogLevel)] = Field(
        default=LogLevel.INFO,
        description="Least important event that is logged: `debug`, `info`, `warning` or `error`.",
        examples=["info"],
    )
    format: Annotated[LogFormat, choice(LogFormat)] = Field(
        default=LogFormat.CONSOLE,
        description="`console`, for the eye, or `json`, one object a line. In the journal each "
        "line has its priority (`journalctl -p warning`).",
        examples=["json"],
    )


class HooksConfig(Section):
    """A command of yours that runs after the role of an instance has changed."""

    role_changed: tuple[Argument, ...] = Field(
        default=(),
        strict=False,
        description="Program and arguments, without a shell. The environment has OVPNHA_NODE, "
        "OVPNHA_INSTANCE, OVPNHA_OLD_ROLE, OVPNHA_ROLE, OVPNHA_EPOCH and OVPNHA_REASON. It never "
        "delays a promotion; runs follow one another.",
        examples=[["/usr/local/sbin/role-changed"]],
    )
    timeout: Seconds = Field(
        default=10.0,
        description="Seconds after which a run is killed.",
        examples=[10.0],
    )


class ConntrackConfig(Section):
    """Connection tracking that travels, for nodes that translate or filter statefully."""

    manager: Annotated[ConntrackManager, choice(ConntrackManager)] = Field(
        default=ConntrackManager.NONE,
        description="`conntrackd`: this node's conntrackd is told of every change of role, and "
        "missed when it does not run; or `none`. Needed where the nodes translate (NAT) or filter "
        "by the state of connections: all others break at a takeover.",
        examples=["conntrackd"],
    )
    flows: tuple[Network, ...] = Field(
        default=(),
        strict=False,
        description="Networks and addresses whose connections the other nodes must know: the "
        "tunnels' networks, and virtual addresses that have services behind them. "
        "`ovpnha conntrackd-config` makes the configuration of conntrackd from this.",
        examples=[["10.8.0.0/24", "2001:db8:8::/64"]],
    )
    mode: Annotated[ConntrackMode, choice(ConntrackMode)] = Field(
        default=ConntrackMode.FTFW,
        description="`ftfw`: what is lost is sent again; for two nodes, and only two: of a third "
        "it loses entries. `notrack`: nothing is acknowledged; for three nodes and more.",
        examples=["ftfw"],
    )
    port: int = Field(
        default=3780,
        ge=1,
        le=65535,
        description="UDP port of conntrackd on the BCN, the same on all nodes.",
        examples=[3780],
    )
    socket: SocketPath = Field(
        default=Path("/run/conntrackd.ctl"),
        description="Path of conntrackd's control socket.",
        examples=["/run/conntrackd.ctl"],
    )
    refresh: Seconds = Field(
        default=30.0,
        ge=1.0,
        description="Seconds after which a master tells all connections again. The entries of UDP "
        "end on a standby when nobody does so for longer than "
        "`net.netfilter.nf_conntrack_udp_timeout_stream` (120 s).",
        examples=[30.0],
    )


class SnatConfig(Section):
    """Network address translation of the tunnels by one interface."""

    interface: Interface = Field(
        description="Interface towards the LAN by which the tunnels' traffic leaves.",
        examples=["eth1"],
    )
    vip: HostAddress = Field(
        description="The address that it gets, which must move with the role: the inside VIP (on "
        "an interface that clients reach, the instance's VIP). IPv6 is translated only where an "
        "IPv6 address is named here.",
        examples=["198.51.100.10"],
    )


class FirewallConfig(Section):
    """Firewall and NAT of this node: what `check-config` knows of it, and what the sidecar sets."""

    manage: bool = Field(
        default=False,
        description="Lets the sidecar keep an nftables table of its own, `inet ovpnha`, as "
        "`ovpnha firewall` shows it: what `snat` says, no answer to packets of connections that "
        "are not known here yet, and `nf_conntrack_tcp_be_liberal`. Without it nothing is changed.",
        examples=[True],
    )
    snat: tuple[SnatConfig, ...] = Field(
        default=(),
        strict=False,
        description="Where the tunnels' traffic is translated, and to which address. Without "
        "`manage` it only tells `check-config` which address your own rules should have.",
        examples=[[{"interface": "eth1", "vip": "198.51.100.10"}]],
    )
    networks: tuple[Network, ...] = Field(
        default=(),
        strict=False,
        description="The tunnels' networks. Left out, they are those of `server`, `server-ipv6`, "
        "`route` and `route-ipv6` in OpenVPN's configurations (`server_config`).",
        examples=[["10.8.0.0/24"]],
    )

    @model_validator(mode="after")
    def _check_snat(self) -> Self:
        seen = [(one.interface, one.vip.version) for one in self.snat]
        if len(set(seen)) != len(seen):
            raise ValueError("two of snat are for one interface and family; keep one")
        return self


class Config(Section):
    """The whole configuration, as this node sees it."""

    cluster: ClusterConfig
    bcn: BcnConfig = Field(default_factory=BcnConfig)
    instance: tuple[InstanceSection, ...] = Field(strict=False)
    http: HttpConfig = Field(default_factory=HttpConfig)
    control: ControlConfig = Field(default_factory=ControlConfig)
    log: LogConfig = Field(default_factory=LogConfig)
    hooks: HooksConfig = Field(default_factory=HooksConfig)
    conntrack: ConntrackConfig = Field(default_factory=ConntrackConfig)
    firewall: FirewallConfig = Field(default_factory=FirewallConfig)

    @model_validator(mode="after")
    def _check_conntrack(self) -> Self:
        if self.conntrack.manager is ConntrackManager.CONNTRACKD and not self.conntrack.flows:
            raise ValueError(
                "conntrack.flows is empty, so nothing would travel; name the tunnels' networks"
            )
        return self

    @model_validator(mode="after")
    def _check_instances(self) -> Self:
        if not self.instance:
            raise ValueError("there is no OpenVPN to serve; add [[instance]]")
        names = [one.name for one in self.instance]
        if len(set(names)) != len(names):
            raise ValueError("two instances have the same name; each needs its own")
        _check_paths(self)
        return self


def _check_paths(config: Config) -> None:
    """No file is two things at once: the track file would overwrite the key, say."""
    seen: dict[Path, str] = {}
    for what, path in _paths(config):
        if path in seen:
            raise ValueError(f"{what} and {seen[path]} are both {path}; each needs its own")
        seen[path] = what


def _paths(config: Config) -> Iterator[tuple[str, Path]]:
    yield "cluster.key_file", config.cluster.key_file
    yield "control.socket", config.control.socket
    yield "conntrack.socket", config.conntrack.socket
    for one in config.instance:
        yield f"instance[{one.name}].management", one.management
        if one.track_file is not None:
            yield f"instance[{one.name}].track_file", one.track_file
