"""The nouns of ovpnha, shared by every package: immutable, and without a clock or a socket.

Units: times are seconds on the monotonic clock, sizes are bytes, packet-id ranges are half-open.
Terms are those of docs/glossary.md. Bytes that hold key material are never shown by ``repr``.
"""

from __future__ import annotations

import enum
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NewType

NodeName = NewType("NodeName", str)
InstanceName = NewType("InstanceName", str)
Uid = NewType("Uid", bytes)  # 8 bytes: the server's session id of a client
Fingerprint = NewType("Fingerprint", bytes)  # 8 bytes: names one data channel key
HolderId = NewType("HolderId", bytes)  # 16 bytes: one OpenVPN process between two demotes
BootId = NewType("BootId", bytes)  # 16 bytes: one start of a sidecar

UID_SIZE = 8
FINGERPRINT_SIZE = 8
HOLDER_SIZE = 16
BOOT_SIZE = 16
HOT_LIMIT = 1000
RECORD_LIMIT = 64 * 1024


class Descriptors(enum.StrEnum):
    """Where a process has its link socket and its tun from."""

    OWN = "own"  # it has opened them
    TAKEN = "taken"  # the other process of this machine has, and both hold the same


class Silence(enum.StrEnum):
    """What a process that does not serve does with what arrives."""

    DRAIN = "drain"  # read it, and drop it
    LEAVE = "leave"  # leave it to the process beside it, which serves


class Role(enum.Enum):
    """The role of one OpenVPN instance on this node (docs/roles.md)."""

    INIT = "init"
    STANDBY = "standby"
    MASTER = "master"
    HELD = "held"
    FAULT = "fault"


SOURCES = (Role.MASTER, Role.HELD)
"""The roles of a node that has clients of its own, and tells of them."""


class RekeyPolicy(enum.StrEnum):
    """Which clients a node renegotiates that came to it from another."""

    AUTO = "auto"  # those whose user is asked for nothing
    ALWAYS = "always"
    NEVER = "never"


class FencePolicy(enum.Enum):
    """Whether a silent master is fenced."""

    OFF = "off"
    OPTIONAL = "optional"  # beside the promotion, which does not wait
    REQUIRED = "required"  # before it


class VipManager(enum.StrEnum):
    """Who moves the VIP."""

    KEEPALIVED = "keepalived"  # reads the track file whenever it is replaced
    OTHER = "other"


class ConntrackManager(enum.StrEnum):
    """Who lets connection tracking travel."""

    NONE = "none"
    CONNTRACKD = "conntrackd"


class ClientMetrics(enum.StrEnum):
    """Whether metrics tell of each client, and by what names."""

    OFF = "off"
    NAMES = "names"
    HASHES = "hashes"


@dataclass(frozen=True, slots=True)
class ServerClient:
    """One client as OpenVPN's ``status 3`` shows it; a name that is not known is ``UNDEF``."""

    name: str
    user: str
    address: str  # with its port
    virtual: str
    since: str  # seconds since 1970
    received: int  # bytes
    sent: int
    virtual6: str = ""
    cid: int = -1  # of this OpenVPN process


class Sync(enum.Enum):
    """How complete a standby's copy of the followed master's table is."""

    NONE = "none"  # no master is followed
    SYNCING = "syncing"  # a snapshot or imports are outstanding
    IN_SYNC = "in_sync"  # every client of the master is imported, hot part and cold parts
    PARTIAL = "partial"  # every client but those that OpenVPN refuses


class Grade(enum.IntEnum):
    """How good a master this node would be: the number that the VIP manager adds to its priority.

    Differences exceed every configured difference of priorities, so preference decides only
    between equals. ``FAULT`` refuses the VIP.
    """

    MASTER = 120
    IN_SYNC = 90
    LONE = 60
    DEGRADED = 30
    FAULT = -254


@dataclass(frozen=True, order=True)
class Epoch:
    """The order of promotions: a counter, raised at every one, and the node that raised it."""

    counter: int
    node: NodeName

    def __str__(self) -> str:
        return f"{self.counter}/{self.node}"


NO_EPOCH = Epoch(0, NodeName(""))


@dataclass(frozen=True)
class Grant:
    """Packet ids ``[start, end)`` of one key, given to one holder for ever (rules R2 to R4)."""

    holder: HolderId
    fingerprint: Fingerprint
    start: int
    end: int


@dataclass(frozen=True)
class StoredRange:
    """A holder's OpenVPN has stored its range of this key that ends at ``end``."""

    fingerprint: Fingerprint
    end: int


@dataclass(frozen=True)
class VipPlace:
    """Where the VIP counts on this host, and where it is."""

    interface: str  # the only one on which it counts; "": it counts on any
    exists: bool
    here: bool = False  # the VIP is on it; of several, one of them
    found: str = ""  # the other interface that has the VIP; "" when none has
    missing: tuple[str, ...] = ()  # of several VIPs those that are not where another one is


@dataclass(frozen=True)
class Unreachable:
    """Why OpenVPN's management socket cannot be connected, and what an administrator can do."""

    reason: str
    fix: str
    absent: bool = False  # nobody has it open: no OpenVPN serves behind it


class ColdKind(enum.IntEnum):
    """The cold parts of a record (docs/management.md)."""

    IDENTITY = 1
    WRAP = 2
    PEER_INFO = 3
    TOKEN = 4
    CERT_HASHES = 5
    OPTIONS = 6
    ENVIRONMENT = 7


@dataclass(frozen=True)
class ColdPart:
    """A part of a record that seldom changes. Its content is opaque to the sidecar."""

    kind: int
    data: bytes = field(repr=False)

    @property
    def name(self) -> bytes:
        """16 bytes that name the content: a truncated SHA-256 over kind and data."""
        return hashlib.sha256(bytes([self.kind]) + self.data).digest()[:16]


@dataclass(frozen=True)
class ClientRecord:
    """One client's ``multi_instance``: everything another OpenVPN needs to continue it."""

    uid: Uid
    generation: int
    hot: bytes = field(repr=False)
    cold: tuple[ColdPart, ...] = ()
    grants: tuple[Grant, ...] = ()


class CounterKind(enum.IntEnum):
    """The packed counters of docs/management.md, passed on without being decoded."""

    HIGH_WATER = 1
    BYTES = 2


COUNTER_ENTRY_SIZE: Mapping[CounterKind, int] = {CounterKind.HIGH_WATER: 20, CounterKind.BYTES: 24}


@dataclass(frozen=True)
class OpenvpnStatus:
    """The reply to ``cluster-status``."""

    version: int
    record_format: int
    role: Role  # STANDBY, MASTER or HELD
    instances: int
    holder: HolderId
    epoch: Epoch  # NO_EPOCH when it was never promoted
    openvpn: str
    local: str
    port: int
    proto: str
    broadcast: str  # "" when not configured
    bcn_port: int  # 0 when not configured
    digest: str
    certificate: str
    issuer: str
    max_clients: int
    lapses: int = 0  # how often nobody renewed ``cluster-wait`` in time
    unreleased: int = 0  # clients and keys that waited in vain
    descriptors: Descriptors | None = None  # None: an OpenVPN that knows of no spares
    silence: Silence | None = None
    addresses: tuple[str, ...] = ()  # those of ``cluster-address``, of one without ``local``
    apart: int = 0  # clients that speak to another address of this node than these
    early: bool = False  # it would send from one of these that is not here

    @property
    def vips(self) -> tuple[str, ...]:
        """The addresses that it serves; one may be a name."""
        return self.addresses or ((self.local,) if self.local else ())


class SwitchPhase(enum.IntEnum):
    """How far a switchover is (docs/roles.md, "A switchover"); the number is that of the wire."""

    WISHED = 1  # said by the node where the command was given
    PREPARING = 2  # the others are said by the master
    READY = 3
    MOVING = 4
    DONE = 5
    FAILED = 6


class SwitchReason(enum.IntEnum):
    """Why a switchover was not begun, or was called off; the number is that of the wire."""

    NONE = 0
    OTHER = 1  # of a newer ovpnha
    NO_MASTER = 2
    TWO_MASTERS = 3
    UNDER_WAY = 4
    NO_TARGET = 5
    UNKNOWN = 6
    IS_MASTER = 7
    NOT_STANDBY = 8
    NOT_IN_SYNC = 9
    LOW_GRADE = 10
    NO_VIP_MANAGER = 11
    BUSY = 12
    NOT_PROMOTED = 13
    TARGET_LOST = 14
    NOT_MOVED = 15
    CHANGED = 16
    ELSEWHERE = 17
    SERVER_LOST = 18
    NO_ANSWER = 19
    MASTER_LOST = 20
    PAUSED = 21

    @classmethod
    def _missing_(cls, value: object) -> SwitchReason | None:
        """A newer node knows more reasons than this one."""
        return cls.OTHER if isinstance(value, int) else None


@dataclass(frozen=True)
class SwitchState:
    """What a node's hello says of a switchover. Nodes are named by their tags (docs/wire.md)."""

    id: bytes  # 8 bytes, drawn where the command was given
    phase: SwitchPhase
    target: bytes  # the node that shall be master
    master: bytes  # the node that shall carry it out
    epoch: int  # the counter of the epoch of that master: in no other is it meant
    within: float  # seconds that the VIP may take
    reason: SwitchReason = SwitchReason.NONE
    times: tuple[float, ...] = ()
    """Seconds from the begin to the end of each of ``SWITCH_PHASES``, as far as they are over."""


SWITCH_PHASES = ("frozen", "promoted", "moved", "served")
"""Nothing changes and the target has everything; it has promoted itself; the VIP has left the old
master; the target serves with it."""


class Verdict(enum.Enum):
    """What is held of a check of the service, after its rises and falls."""

    UNKNOWN = "unknown"  # it has had no result yet
    OK = "ok"
    FAILED = "failed"


@dataclass(frozen=True)
class CheckState:
    """One check of the service, as its node last knew it."""

    name: str
    verdict: Verdict
    critical: bool = False  # a failure lowers the grade
    resting: bool = False  # it runs on a master only, and this node is none
    stuck: bool = False  # failed until somebody resets it
    checked: int = 0  # when it last had a result: seconds since 1970; 0: never
    text: str = ""  # the first line of that result


@dataclass(frozen=True)
class StockState:
    """What a hello says of an OpenVPN without the patch: of clients it can take over none."""

    role: Role  # MASTER: the VIP is there and it serves; STANDBY: it runs without the VIP
    whole: bool  # the leases of the node that serves, or served last, are there


@dataclass(frozen=True)
class InstanceState:
    """What a node's hello says about one of its OpenVPN instances."""

    role: Role
    epoch: Epoch
    vip: bool  # this node holds the VIP
    sync: (
        Sync  # a standby's copy; of a master or held node: whether it had all clients when promoted
    )
    grade: int
    holder: HolderId  # all zero when OpenVPN is down
    clients: int
    record_format: int
    openvpn: str
    digest: str
    certificate: str
    issuer: str
    managed: bool = True  # a VIP manager reads the grade, as far as the node can tell
    origin: Epoch = NO_EPOCH  # master or held: the epoch whose clients it was promoted with
    touched: bool = False  # master or held: a client came, changed or went in its epoch
    switchover: SwitchState | None = None  # asked for here, or carried out by this node
    paused: bool = False  # it does not act
    checks: tuple[CheckState, ...] = ()  # of the service, those that failed first
    stock: StockState | None = None  # OpenVPN has not the patch: ``role`` is INIT, for all who copy

    @property
    def serves(self) -> bool:
        """Whether it is master and has the VIP."""
        return self.role is Role.MASTER and self.vip

    @property
    def shown_role(self) -> Role:
        """The role for the eye."""
        return self.role if self.stock is None else self.stock.role

    @property
    def shown_sync(self) -> Sync:
        """The same of a copy; without the patch it is one of leases, as there can be no other."""
        if self.stock is None or self.stock.role is Role.MASTER:
            return self.sync
        return Sync.IN_SYNC if self.stock.whole else Sync.SYNCING
