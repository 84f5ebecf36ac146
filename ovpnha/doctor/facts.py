"""What doctor knows of this node: plain values, read elsewhere, judged by ``checks``.

Decides nothing. A fact that could not be read is an ``Unread`` with the reason, so that the check
which needs it can say that it was not made, instead of finding nothing. Times are seconds since
1970.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from ovpnha.doctor.keepalived import KeepalivedBlock
from ovpnha.firewall.site import Finding
from ovpnha.machines import SparePolicy
from ovpnha.problems import Problem


@dataclass(frozen=True)
class Unread:
    """A fact that is not known, and why: a permission, a program that is missing."""

    why: str


@dataclass(frozen=True)
class PackageFacts:
    """Which OpenVPN is installed, and which could be."""

    patched: str = ""
    """Version of the patched OpenVPN; "" when none is installed as a package."""
    built_from: str = ""
    """Debian's source version that it was built from; "" when that is not known."""
    built_from_date: float | None = None
    beside: bool = False
    """It lives beside Debian's (``openvpn-cluster``), and does not take its place."""
    held: bool = False
    """Debian's own is on hold."""
    stock: str = ""
    """Source version of Debian's own that is installed; "" when there is none."""
    available: tuple[str, ...] | Unread = ()
    """Versions of Debian's ``openvpn`` that the package lists know."""


@dataclass(frozen=True)
class UnitFacts:
    """One unit of systemd; None stands for all units of a host without it."""

    name: str
    present: bool = True
    """It is installed."""
    active: bool = False
    """It runs, or is being started."""
    runs: bool = False
    enabled: bool = False
    stale: bool = False
    """Its files have changed since systemd read them."""
    pid: int = 0
    hands_over: bool = False
    """Its ExecStop gives the role away."""
    restarts: bool = False
    may_chown: bool = False
    masked: bool = False
    """Nobody can start it."""
    since: int = 0
    """When it came to be what it is, in whole seconds of the clock; 0: not known."""


@dataclass(frozen=True)
class ProcessFacts:
    """A process that runs."""

    pid: int
    replaced: bool = False
    """Its program was replaced on disk since it started."""
    locked_memory: int | None = None
    """Bytes that it may lock; None: as many as it wants."""
    capabilities: frozenset[str] = frozenset()
    real_time: bool = False


@dataclass(frozen=True)
class CertificateFacts:
    """A certificate, a certificate authority or a list of revoked certificates."""

    role: str
    """``certificate``, ``ca`` or ``crl``."""
    where: str
    subject: str
    begins: float
    ends: float | None
    key_fits: bool | None = None
    """Whether the server's key belongs to it; None when that is not its affair."""


@dataclass(frozen=True)
class SocketFacts:
    """The management socket of one OpenVPN."""

    path: str
    mode: int | None = None
    """Its permissions; None when it is not there."""
    reachable: bool | Unread = True
    """Whether the sidecar's user may open it."""
    strangers: tuple[str, ...] | Unread = ()
    """Programs beside the sidecar that are connected to it."""


@dataclass(frozen=True)
class ServerFacts:
    """One configuration file of OpenVPN's."""

    name: str
    path: str
    instance: str = ""
    """The instance of ovpnha.toml that it is; "" when it is none."""
    cluster: bool = False
    local: str = ""
    tcp: bool = False
    user: str = ""
    pool_file: str = ""
    """``ifconfig-pool-persist``."""
    locks_memory: bool = False
    """``mlock``."""
    guarded: bool = True
    """``management-client-user`` or ``-group`` says who may use the management socket."""
    management_user: str = ""
    unit: UnitFacts | Unread | None = None
    """The unit of the patched OpenVPN for this file."""
    stock_unit: UnitFacts | Unread | None = None
    """Debian's own unit for it."""
    process: ProcessFacts | None = None
    socket: SocketFacts | None = None
    certificates: tuple[CertificateFacts | Unread, ...] = ()
    open_keys: tuple[str, ...] = ()
    """Files with its keys that others may read."""
    spare: SparePolicy = SparePolicy.NEVER
    """Whether ovpnha.toml wants a second process of it."""
    shares: bool = False
    """``cluster-spare``."""
    spare_unit: UnitFacts | Unread | None = None
    """The unit of its second process."""
    spare_process: ProcessFacts | None = None
    spare_socket: SocketFacts | None = None


@dataclass(frozen=True)
class LinkFacts:
    """One link of the BCN."""

    name: str
    mtu: int
    received: int
    """Packets that came within ``seconds``."""
    sent: int
    errors: int
    """Packets that were dropped or broken within that time, in both directions."""
    seconds: float = 0.0


@dataclass(frozen=True)
class NodeFacts:
    """Another node, as our sidecar hears it."""

    name: str
    openvpn: str = ""
    heard: bool = True
    release: str = ""
    """Version of its ovpnha; "" when it does not tell."""


@dataclass(frozen=True)
class InstanceFacts:
    """One instance as ovpnha.toml has it."""

    name: str
    vips: tuple[str, ...] = ()
    interface: str = ""
    track_file: str = ""
    keepalived: bool = True
    """keepalived moves its VIP."""


@dataclass(frozen=True)
class SidecarFacts:
    """The sidecar that runs, and what it says."""

    version: str = ""
    problems: tuple[Problem, ...] = ()
    """What ``ovpnha status`` shows under *Problems*."""
    openvpn: Mapping[str, str] = field(default_factory=dict)
    """By instance, the version of OpenVPN."""
    nodes: tuple[NodeFacts, ...] = ()
    refused: Mapping[str, int] = field(default_factory=dict)
    """Datagrams that were refused while doctor looked, by reason."""
    master: bool = False
    capabilities: frozenset[str] | Unread = frozenset()


@dataclass(frozen=True)
class ConfigurationFacts:
    """ovpnha.toml, and what ``ovpnha check-config`` says of it."""

    path: str
    present: bool = True
    unread: str = ""
    """Why it could not be read."""
    problems: tuple[str, ...] = ()
    own_vips: Mapping[str, str] = field(default_factory=dict)
    """By instance, what is refused because its VIP is this node's own address."""
    warnings: tuple[str, ...] = ()
    pending: tuple[str, ...] = ()
    """What is to be done before a server says ``cluster``."""
    instances: tuple[InstanceFacts, ...] = ()
    inside_vips: tuple[str, ...] = ()
    """``[firewall] snat``: addresses that move together with the VIP."""
    bcn_version: int = 4


@dataclass(frozen=True)
class KeyFacts:
    """The file with the cluster key."""

    path: str
    problem: str = ""
    owner: str = ""
    for_sidecar: bool = True
    """The sidecar's user may read it."""


@dataclass(frozen=True)
class KeepalivedFacts:
    """keepalived of this node."""

    installed: bool
    path: str = "/etc/keepalived/keepalived.conf"
    blocks: tuple[KeepalivedBlock, ...] | Unread | None = None
    """What the configuration says, its includes and variables filled in; None: there is none."""
    tested: tuple[str, ...] | Unread = ()
    """What ``keepalived --config-test`` says."""
    unit: UnitFacts | Unread | None = None
    process: ProcessFacts | None = None
    scripts: Mapping[str, str] = field(default_factory=dict)
    """By path, what is wrong with a script that it is to run; "" when nothing is."""


@dataclass(frozen=True)
class ConntrackdFacts:
    """conntrackd of this node; None in ``Facts`` where none is wanted."""

    installed: bool
    unit: UnitFacts | Unread | None = None
    as_wanted: bool | Unread = True
    """Its configuration is what ``ovpnha conntrackd-config`` prints."""


@dataclass(frozen=True)
class HostFacts:
    """The host."""

    tunables: Mapping[str, int] = field(default_factory=dict)
    """By name, as sysctl has them; one that could not be read is missing."""
    tunnel_versions: frozenset[int] = frozenset({4})
    """IP versions of the tunnels' networks."""
    user: bool = True
    """There is a user ``ovpnha``."""
    clock_kept: bool | Unread = True
    """Some program keeps the clock by a time server."""
    reboot: str = ""
    """Why a reboot is wanted; "" when it is not."""
    tracked: int | None = None
    """Entries of connection tracking; None where it is not loaded."""
    tracked_limit: int | None = None
    directories: Mapping[str, int] = field(default_factory=dict)
    """By path, the permissions of what lies around sockets and the grade."""
    control: Mapping[str, int] = field(default_factory=dict)
    """The same of the sidecar's control socket."""
    system: str = ""
    """Distribution and its version, as ``debian 12``; "" when it is not known."""
    machine: str = "x86_64"


@dataclass(frozen=True)
class Facts:
    """Everything."""

    now: float
    node: str
    version: str
    """Of this program."""
    configuration: ConfigurationFacts
    packages: PackageFacts | Unread
    servers: tuple[ServerFacts | Unread, ...] = ()
    key: KeyFacts | Unread | None = None
    host: HostFacts = field(default_factory=HostFacts)
    firewall: tuple[Finding, ...] | Unread | None = None
    """None: there is nothing to be looked at yet."""
    firewall_unread: tuple[str, ...] = ()
    firewall_sparing: tuple[str, ...] = ()
    """Other services with rules that leave our table alone; empty where we have none."""
    links: tuple[LinkFacts, ...] = ()
    sidecar: SidecarFacts | Unread | None = None
    """None: it does not run."""
    sidecar_unit: UnitFacts | Unread | None = None
    keepalived: KeepalivedFacts | None = None
    """None: something else moves the VIP."""
    conntrackd: ConntrackdFacts | None = None
