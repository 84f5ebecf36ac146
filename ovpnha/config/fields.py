"""Every key of the configuration: its unit, default and trade-off, and what may stand together.

Decides what a configuration may say. Must never open sockets, look at interfaces or read the
cluster key (``runtime.keyfile`` does). docs/configuration.md is generated from these fields.
"""

from __future__ import annotations

import ipaddress
import os
import re
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    model_validator,
)

from ovpnha.model import ClientMetrics, RekeyPolicy

DEFAULT_PATH = Path("/etc/ovpnha/ovpnha.toml")
NAME_PATTERN = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,31}\Z"
IMPLIED_LINK = "bcn"
INTERFACE_PATTERN = r"^[^\s/]{1,15}\Z"


class BcnMode(StrEnum):
    """How one datagram reaches the other nodes."""

    BROADCAST = "broadcast"
    MULTICAST = "multicast"
    UNICAST = "unicast"


class Difference(StrEnum):
    """What two nodes may be told to overlook in each other."""

    DIGEST = "digest"
    CERTIFICATE = "certificate"
    ISSUER = "issuer"


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


def _absolute(path: Path) -> Path:
    if not path.is_absolute():
        raise ValueError("a path must be absolute (begin with /)")
    return Path(os.path.normpath(path))


def _listen(text: str) -> str:
    if text:
        split_listen(text)
    return text


def split_listen(text: str) -> tuple[str, int]:
    """Split ``address:port`` or ``[address]:port``; ValueError says what is wrong."""
    host, colon, port = text.rpartition(":")
    if not colon or not port.isdigit() or not 0 < int(port) < 65536:
        raise ValueError("must be ADDRESS:PORT, or [ADDRESS]:PORT for IPv6")
    return str(ipaddress.ip_address(host.removeprefix("[").removesuffix("]"))), int(port)


def _address(value: object) -> object:
    if isinstance(value, ipaddress.IPv4Address | ipaddress.IPv6Address):
        return value
    try:
        return ipaddress.ip_address(value if isinstance(value, str) else "")
    except ValueError:
        raise ValueError("must be an IPv4 or IPv6 address, without a prefix length") from None


def _choice(kind: type[StrEnum]) -> BeforeValidator:
    """Let a text of the file become this enumeration, which strict models refuse by themselves."""

    def choose(value: object) -> object:
        if not isinstance(value, str) or value not in list(kind):
            raise ValueError(f"must be one of {', '.join(kind)}")
        return kind(value)

    return BeforeValidator(choose)


def _matches(pattern: str, meaning: str) -> AfterValidator:
    def match(text: str) -> str:
        if not re.match(pattern, text):
            raise ValueError(f"must be {meaning}")
        return text

    return AfterValidator(match)


IpAddress = ipaddress.IPv4Address | ipaddress.IPv6Address
Name = Annotated[
    str, _matches(NAME_PATTERN, "1 to 32 letters, digits, dots, dashes or underscores")
]
Interface = Annotated[str, _matches(INTERFACE_PATTERN, "the name of a network interface")]
AbsolutePath = Annotated[Path, Field(strict=False), AfterValidator(_absolute)]
Address = Annotated[IpAddress, BeforeValidator(_address)]
Seconds = Annotated[float, Field(ge=0.0, le=86400.0, allow_inf_nan=False)]
Listen = Annotated[str, AfterValidator(_listen)]


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
    nodes: tuple[Address, ...] = Field(
        default=(),
        strict=False,
        description="`unicast` only: addresses of all nodes on this link. This node's own may be "
        "among them, so that one file serves all.",
        examples=[["192.168.77.1", "192.168.77.2"]],
    )


class BcnConfig(Section):
    """The back channel network over which the nodes replicate."""

    mode: Annotated[BcnMode, _choice(BcnMode)] = Field(
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


class InstanceConfig(Section):
    """One OpenVPN daemon."""

    name: Name = Field(
        description="Name of the instance; the same on all nodes: records travel between "
        "instances of one name.",
        examples=["udp"],
    )
    management: AbsolutePath = Field(
        description="Path of OpenVPN's management socket (`management PATH unix` there). ovpnha "
        "must be its only client.",
        examples=["/run/openvpn-server/udp.sock"],
    )
    vip: Address | None = Field(
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
    rekey_after_promotion: Annotated[RekeyPolicy, _choice(RekeyPolicy)] = Field(
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
        description="How many of them a second. Each costs OpenVPN about 2 ms of one processor.",
        examples=[50.0],
    )
    client_metrics: Annotated[ClientMetrics, _choice(ClientMetrics)] = Field(
        default=ClientMetrics.OFF,
        description="Metrics of each client, as OpenVPN's exporters have them: `off`; `names`, "
        "with common name, user name and addresses as labels; `hashes`, the same under a keyed "
        "hash, which is equal on all nodes until the cluster key changes. OpenVPN is asked every "
        "15 s and does nothing else while it answers; with 10,000 clients a scrape takes about "
        "0.35 s instead of 2 ms.",
        examples=["hashes"],
    )
    tolerate: tuple[Annotated[Difference, _choice(Difference)], ...] = Field(
        default=(),
        strict=False,
        description="What may differ between the nodes during a rolling replacement: `digest` (of "
        "OpenVPN's options), `certificate`, `issuer`. Remove it afterwards: a difference that is "
        "not meant costs the clients their connection at the next takeover.",
        examples=[["certificate"]],
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

    socket: AbsolutePath = Field(
        default=Path("/run/ovpnha/control.sock"),
        description="Path of the socket, mode 0660: its owner and group may command this node.",
        examples=["/run/ovpnha/control.sock"],
    )


class LogConfig(Section):
    """Log lines, written to the standard error output."""

    level: Annotated[LogLevel, _choice(LogLevel)] = Field(
        default=LogLevel.INFO,
        description="Least important event that is logged: `debug`, `info`, `warning` or `error`.",
        examples=["info"],
    )
    format: Annotated[LogFormat, _choice(LogFormat)] = Field(
        default=LogFormat.JSON,
        description="`json`, one object a line, or `console`, for the eye.",
        examples=["json"],
    )


class HooksConfig(Section):
    """A command of yours that runs after the role of an instance has changed."""

    role_changed: tuple[str, ...] = Field(
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


class Config(Section):
    """The whole configuration, as this node sees it."""

    cluster: ClusterConfig
    bcn: BcnConfig = Field(default_factory=BcnConfig)
    instance: tuple[InstanceConfig, ...] = Field(strict=False)
    http: HttpConfig = Field(default_factory=HttpConfig)
    control: ControlConfig = Field(default_factory=ControlConfig)
    log: LogConfig = Field(default_factory=LogConfig)
    hooks: HooksConfig = Field(default_factory=HooksConfig)

    @model_validator(mode="after")
    def _check_instances(self) -> Self:
        if not self.instance:
            raise ValueError("there is no OpenVPN to serve; add [[instance]]")
        for key in ("name", "management", "track_file"):
            values = [getattr(one, key) for one in self.instance if getattr(one, key) is not None]
            if len(set(values)) != len(values):
                raise ValueError(f"two instances have the same {key}; each needs its own")
        for one in self.instance:
            if self.control.socket in (one.management, one.track_file):
                raise ValueError(
                    f"control.socket {self.control.socket} is a path of instance {one.name} too;"
                    " each needs its own"
                )
        return self
