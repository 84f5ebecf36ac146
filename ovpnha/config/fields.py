"""Every key of the configuration: its unit, default and trade-off, and what may stand together.

Decides what a configuration may say. Must never open sockets, look at interfaces or read the
cluster key (``runtime.keyfile`` does). docs/configuration.md is generated from these fields.
"""

from __future__ import annotations

from collections.abc import Iterator
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Self

from pydantic import Field, model_validator

from ovpnha.config.bcn import BcnConfig
from ovpnha.config.check import CHECKS_MAX, CheckSection
from ovpnha.config.fence import FenceSection
from ovpnha.config.filtering import ConntrackConfig, FirewallConfig
from ovpnha.config.hook import HOOKS_MAX, HookSection
from ovpnha.config.section import Section
from ovpnha.config.values import (
    AbsolutePath,
    Argument,
    HostAddress,
    Interface,
    Listen,
    Name,
    Seconds,
    SocketPath,
    choice,
)
from ovpnha.model import ClientMetrics, ConntrackManager, RekeyPolicy, VipManager

DEFAULT_PATH = Path("/etc/ovpnha/ovpnha.toml")


class Tolerated(StrEnum):
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
        "content on all nodes. Anybody who has it can pose as any node and read every client's "
        "keys.",
        examples=["/etc/ovpnha/cluster.key"],
    )


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
        examples=["/run/openvpn-cluster/udp.sock"],
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
        description="The virtual IP that the clients use. The node that has it is master. Left "
        "out, it is OpenVPN's `local`; it must be the same address, or this node refuses the VIP.",
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
        "after some seconds; or `other` (ucarp, Pacemaker, FRR), of which nothing is expected.",
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

    def memory(self, instance: str) -> Path:
        """The file beside it that a sidecar leaves to the next one (docs/adr/0055)."""
        return self.socket.with_name(f"{instance}.memory")


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


class HistoryConfig(Section):
    """What `ovpnha history` shows: the changes of roles of all nodes."""

    file: AbsolutePath = Field(
        default=Path("/var/lib/ovpnha/history/history.jsonl"),
        description="File in which they are kept over a restart, 1 MiB at most. Where its "
        "directory is not there they are kept in memory only, and fetched from the other nodes.",
        examples=["/var/lib/ovpnha/history/history.jsonl"],
    )


class HooksConfig(Section):
    """A command of yours after each change of a role; `[[hook]]` has all other events, too."""

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


class Config(Section):
    """The whole configuration, as this node sees it."""

    cluster: ClusterConfig
    bcn: BcnConfig = Field(default_factory=BcnConfig)
    instance: tuple[InstanceSection, ...] = Field(strict=False)
    http: HttpConfig = Field(default_factory=HttpConfig)
    control: ControlConfig = Field(default_factory=ControlConfig)
    log: LogConfig = Field(default_factory=LogConfig)
    history: HistoryConfig = Field(default_factory=HistoryConfig)
    hooks: HooksConfig = Field(default_factory=HooksConfig)
    conntrack: ConntrackConfig = Field(default_factory=ConntrackConfig)
    firewall: FirewallConfig = Field(default_factory=FirewallConfig)
    check: tuple[CheckSection, ...] = Field(default=(), strict=False)
    hook: tuple[HookSection, ...] = Field(default=(), strict=False)
    fence: FenceSection | None = None

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
        _check_checks(self)
        _check_hooks(self)
        return self


def _check_hooks(config: Config) -> None:
    if len(config.hook) > HOOKS_MAX:
        raise ValueError(
            f"there are {len(config.hook)} hooks; no more than {HOOKS_MAX} are possible"
        )
    known = {one.name for one in config.instance}
    for one in config.hook:
        if one.instance is not None and one.instance not in known:
            raise ValueError(f"hook: there is no instance {one.instance}; correct instance")


def _check_checks(config: Config) -> None:
    names = [one.name for one in config.check]
    if len(names) > CHECKS_MAX:
        raise ValueError(f"there are {len(names)} checks; no more than {CHECKS_MAX} are possible")
    if len(set(names)) != len(names):
        raise ValueError("two checks have the same name; each needs its own")
    known = {one.name for one in config.instance}
    for one in config.check:
        if one.instance is not None and one.instance not in known:
            raise ValueError(f"check[{one.name}].instance: there is no instance {one.instance}")


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
    yield "history.file", config.history.file
    for one in config.instance:
        yield f"instance[{one.name}].management", one.management
        if one.track_file is not None:
            yield f"instance[{one.name}].track_file", one.track_file
        memory = config.control.memory(one.name)
        yield f"the memory of instance[{one.name}]", memory
        yield f"the memory of instance[{one.name}] while it is written", draft_of(memory)


def draft_of(path: Path) -> Path:
    """The file that is renamed to this one when all of it is written."""
    return path.with_name(f".{path.name}.new")
