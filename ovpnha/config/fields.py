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
from ovpnha.config.cluster import ClusterConfig
from ovpnha.config.fence import FenceSection
from ovpnha.config.filtering import ConntrackConfig, FirewallConfig
from ovpnha.config.hook import HOOKS_MAX, HookSection
from ovpnha.config.logs import LogConfig
from ovpnha.config.paths import check_paths
from ovpnha.config.section import Section
from ovpnha.config.values import (
    SOCKET_PATH_LIMIT,
    AbsolutePath,
    Argument,
    HostAddresses,
    Interface,
    Listen,
    Name,
    Seconds,
    SocketPath,
    choice,
    fits_socket,
)
from ovpnha.machines import SparePolicy
from ovpnha.model import ClientMetrics, ConntrackManager, RekeyPolicy, VipManager

DEFAULT_PATH = Path("/etc/ovpnha/ovpnha.toml")


class Tolerated(StrEnum):
    """What two nodes may be told to overlook in each other."""

    DIGEST = "digest"
    CERTIFICATE = "certificate"
    ISSUER = "issuer"


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
    spare: Annotated[SparePolicy, choice(SparePolicy)] | None = Field(
        default=None,
        description="A second OpenVPN process of this server on the same machine, which has all "
        "clients and goes on in the same moment: `restart`, started by `ovpnha restart-openvpn` "
        "only; `always`, there all the time, so that it goes on when the one that serves dies; "
        "`never`. Both need `cluster-spare` in OpenVPN's configuration. Left out, it is `restart` "
        "where the server is `alone`, else `never`.",
        examples=["always"],
    )
    spare_management: SocketPath | None = Field(
        default=None,
        description="Path of the management socket of the second process. Left out, it is that of "
        "the first with `-spare` before its ending: `/run/openvpn-cluster/udp-spare.sock`.",
        examples=["/run/openvpn-cluster/udp-spare.sock"],
    )
    server_config: AbsolutePath | None = Field(
        default=None,
        description="OpenVPN's own configuration file. `ovpnha check-config` reads it, to say "
        "before a restart what `cluster` will refuse, and its name is that of the units that "
        "`ovpnha restart-openvpn` starts: `openvpn-cluster@udp` for `udp.conf`. Left out, it is "
        "`/etc/openvpn/server/NAME.conf`, where there is one, and the units have the name of the "
        "instance.",
        examples=["/etc/openvpn/server/udp.conf"],
    )
    seamless: bool = Field(
        default=True,
        description="`false`: OpenVPN is meant to be the distribution's, without `cluster`, UDP or "
        "TCP, on all nodes. Its clients reconnect at a takeover, with `pool_file` to the addresses "
        "that they had; `vip` must be written. `true`: such an OpenVPN is a problem.",
        examples=[False],
    )
    pool_file: AbsolutePath | None = Field(
        default=None,
        description="With `seamless = false`: the file of OpenVPN's `ifconfig-pool-persist FILE "
        "0`, which ovpnha writes, on every node. At a takeover OpenVPN is started anew, in its "
        "process, to read it, which takes a second. Left out, clients get any address.",
        examples=["/var/lib/ovpnha/pool/udp"],
    )
    tcp_port: Annotated[int, Field(ge=1, le=65535)] | None = Field(
        default=None,
        description="With `seamless = false`: the port of a TCP server. At a takeover its idle "
        "clients are told at once, by one segment each, and reconnect; left out, at their `ping`.",
        examples=[1194],
    )
    vip: HostAddresses = Field(
        default=(),
        description="The virtual IP that the clients use. The node that has it is master. Left "
        "out, it is OpenVPN's `local`; it must be the same address, or this node refuses the VIP. "
        "A server without `local` has those of its `cluster-address`; of several, which move "
        'together, all are listed: `["192.0.2.10", "2001:db8:51::10"]`.',
        examples=["192.0.2.10"],
    )
    vip_interface: Interface | None = Field(
        default=None,
        description="Interface on which the VIP counts. Left out, it counts on any. A node that "
        "gets the VIP on another one refuses it. Several VIPs count on it alike.",
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

    @model_validator(mode="after")
    def _check_stock(self) -> Self:
        if self.seamless and (self.pool_file or self.tcp_port):
            what = "pool_file is" if self.pool_file else "tcp_port is"
            raise ValueError(
                f"{what} for an OpenVPN without cluster; add seamless = false, or remove it"
            )
        if not self.seamless and self.spare not in (None, SparePolicy.NEVER):
            raise ValueError(
                "spare is for an OpenVPN with cluster; remove spare, or seamless = false"
            )
        if not self.seamless and not self.vip:
            raise ValueError('seamless = false needs the VIP; add vip = "192.0.2.10"')
        return self

    @property
    def spare_socket(self) -> Path:
        """The management socket of the second process."""
        path = self.management
        return self.spare_management or path.with_name(f"{path.stem}-spare{path.suffix}")


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

    def spare_of(self, one: InstanceSection) -> SparePolicy:
        """Whether an instance has a second process, and when."""
        alone = self.cluster.alone and one.seamless
        left_out = SparePolicy.RESTART if alone else SparePolicy.NEVER
        return left_out if one.spare is None else one.spare

    def watches_spare(self, one: InstanceSection) -> bool:
        """Whether a second process is looked for: one that is not wanted may serve all the same."""
        if self.spare_of(one) is not SparePolicy.NEVER:
            return True
        sockets = [path for each in self.instance for path in (each.management, each.spare_socket)]
        alone = sockets.count(one.spare_socket) == 1
        return one.seamless and alone and fits_socket(one.spare_socket)

    @model_validator(mode="after")
    def _check_alone(self) -> Self:
        if self.cluster.alone and (found := next(_of_a_cluster(self), "")):
            raise ValueError(
                f"cluster.alone and {found} exclude each other; remove {found}, or alone where this"
                " is one of several nodes"
            )
        return self

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
        check_paths(self)
        _check_spares(self)
        _check_checks(self)
        _check_hooks(self)
        return self


def _of_a_cluster(config: Config) -> Iterator[str]:
    """Keys that mean something only where there are several nodes."""
    if config.bcn.links:
        yield "bcn.links"
    if config.fence is not None:
        yield "fence"
    if config.conntrack.manager is not ConntrackManager.NONE:
        yield "conntrack.manager"
    for one in config.instance:
        for key in ("vip", "vip_interface", "track_file"):
            if getattr(one, key) not in {None, ()}:
                yield f"instance[{one.name}].{key}"


def _check_spares(config: Config) -> None:
    for one in config.instance:
        wanted = config.spare_of(one) is not SparePolicy.NEVER
        if wanted and not fits_socket(one.spare_socket):
            raise ValueError(
                f"instance[{one.name}].management: with -spare before its ending this path is too "
                f"long for a unix socket ({SOCKET_PATH_LIMIT} bytes); add spare_management, or"
                ' spare = "never"'
            )


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
