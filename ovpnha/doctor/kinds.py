"""Every kind of finding: how bad it is, and what it means. docs/doctor.md is made from this.

Decides severities. A kind has one severity only, so that a program may go by the kind alone. A kind
never changes its meaning; new ones may come at any time.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Severity(StrEnum):
    """How bad a finding is."""

    OK = "ok"
    NOTE = "note"
    """Worth knowing; nothing has to be done."""
    WARNING = "warning"
    """It will hurt one day, at a move, a reboot or an update."""
    PROBLEM = "problem"
    """It hurts now, or this node could not take over."""


RANK = {severity: at for at, severity in enumerate(Severity)}
"""The worst last."""


class DoctorKind(StrEnum):
    """What a finding is about."""

    NOT_CONFIGURED = "not_configured"
    CONFIGURATION = "configuration"
    CONFIGURATION_WARNING = "configuration_warning"
    SERVER_PENDING = "server_pending"
    KEY_FILE = "key_file"
    CLUSTER = "cluster"
    VERSIONS_DIFFER = "versions_differ"
    RELEASES_DIFFER = "releases_differ"
    REFUSED_DATAGRAMS = "refused_datagrams"
    LINK_MTU = "link_mtu"
    LINK_SILENT = "link_silent"
    LINK_MUTE = "link_mute"
    LINK_ERRORS = "link_errors"
    PACKAGE_MISSING = "package_missing"
    PACKAGE_OUTDATED = "package_outdated"
    PACKAGE_HELD = "package_held"
    PLATFORM_UNTRIED = "platform_untried"
    PROGRAM_REPLACED = "program_replaced"
    SIDECAR_REPLACED = "sidecar_replaced"
    SIDECAR_DOWN = "sidecar_down"
    SIDECAR_NOT_ENABLED = "sidecar_not_enabled"
    SIDECAR_CAPABILITIES = "sidecar_capabilities"
    SERVER_WITHOUT_INSTANCE = "server_without_instance"
    SERVER_UNIT_TWICE = "server_unit_twice"
    SERVER_NOT_ENABLED = "server_not_enabled"
    SERVER_PREPARED = "server_prepared"
    SERVER_UNIT_LACKS = "server_unit_lacks"
    SPARE_LEFTOVER = "spare_leftover"
    SPARE_MISSING = "spare_missing"
    UNIT_STALE = "unit_stale"
    SILENT_AFTER_REBOOT = "silent_after_reboot"
    REBOOT_WANTED = "reboot_wanted"
    TCP_BESIDE = "tcp_beside"
    USER_GIVEN_UP = "user_given_up"
    POOL_FILE = "pool_file"
    MEMORY_LOCK = "memory_lock"
    MANAGEMENT_UNGUARDED = "management_unguarded"
    MANAGEMENT_MODE = "management_mode"
    MANAGEMENT_CLOSED = "management_closed"
    MANAGEMENT_STRANGER = "management_stranger"
    CONTROL_MODE = "control_mode"
    PRIVATE_KEY_MODE = "private_key_mode"
    DIRECTORY_MODE = "directory_mode"
    USER_MISSING = "user_missing"
    CERTIFICATE_ENDED = "certificate_ended"
    CERTIFICATE_ENDS_SOON = "certificate_ends_soon"
    CERTIFICATE_NOT_YET = "certificate_not_yet"
    CERTIFICATE_KEY = "certificate_key"
    FORWARDING = "forwarding"
    CONNTRACK_FULL = "conntrack_full"
    CLOCK = "clock"
    KEEPALIVED_MISSING = "keepalived_missing"
    KEEPALIVED_UNCONFIGURED = "keepalived_unconfigured"
    KEEPALIVED_REFUSES = "keepalived_refuses"
    KEEPALIVED_TOO_EARLY = "keepalived_too_early"
    KEEPALIVED_DOWN = "keepalived_down"
    KEEPALIVED_NOT_ENABLED = "keepalived_not_enabled"
    KEEPALIVED_VIP = "keepalived_vip"
    KEEPALIVED_INTERFACE = "keepalived_interface"
    KEEPALIVED_VMAC = "keepalived_vmac"
    KEEPALIVED_GRADE = "keepalived_grade"
    KEEPALIVED_WEIGHT = "keepalived_weight"
    KEEPALIVED_INIT_FILE = "keepalived_init_file"
    KEEPALIVED_PRIORITY = "keepalived_priority"
    KEEPALIVED_STATE = "keepalived_state"
    KEEPALIVED_SPLIT = "keepalived_split"
    KEEPALIVED_INSIDE = "keepalived_inside"
    KEEPALIVED_SCRIPT = "keepalived_script"
    KEEPALIVED_SCRIPT_USER = "keepalived_script_user"
    KEEPALIVED_REAL_TIME = "keepalived_real_time"
    KEEPALIVED_ADVERTS = "keepalived_adverts"
    KEEPALIVED_NOTIFY = "keepalived_notify"
    CONNTRACKD_MISSING = "conntrackd_missing"
    CONNTRACKD_CONFIGURATION = "conntrackd_configuration"
    CONNTRACKD_NOT_ENABLED = "conntrackd_not_enabled"
    FIREWALL_BLOCKS = "firewall_blocks"
    FIREWALL_MASQUERADE = "firewall_masquerade"
    FIREWALL_FOREIGN_SNAT = "firewall_foreign_snat"
    FIREWALL_NO_CONNTRACKD = "firewall_no_conntrackd"
    FIREWALL_STATEFUL = "firewall_stateful"
    FIREWALL_INVALID = "firewall_invalid"
    FIREWALL_LOOSE = "firewall_loose"
    FIREWALL_RESETS = "firewall_resets"
    FIREWALL_RP_FILTER = "firewall_rp_filter"
    FIREWALL_FLOWTABLE = "firewall_flowtable"
    FIREWALL_LEFTOVER = "firewall_leftover"
    FIREWALL_FLUSHED = "firewall_flushed"
    FIREWALL_SPARED = "firewall_spared"


@dataclass(frozen=True)
class DoctorFinding:
    """One thing that should be changed, or known."""

    kind: DoctorKind
    severity: Severity
    what: str
    """A sentence that names the thing."""
    fix: str
    """A command or a line where there is one."""
    detail: str = ""
    """Of what ``status`` or ``firewall`` finds, its kind there."""


@dataclass(frozen=True)
class Unmade:
    """A check that could not be made."""

    what: str
    why: str


Told = DoctorFinding | Unmade


def find(kind: DoctorKind, what: str, fix: str, detail: str = "") -> DoctorFinding:
    """A finding, as bad as its kind."""
    return DoctorFinding(kind, CATALOGUE[kind][0], what, fix, detail)


_P, _W, _N = Severity.PROBLEM, Severity.WARNING, Severity.NOTE
_K = DoctorKind
CATALOGUE: dict[DoctorKind, tuple[Severity, str]] = {
    _K.NOT_CONFIGURED: (_W, "there is no `ovpnha.toml`: nothing protects this server's clients"),
    _K.CONFIGURATION: (_P, "what `ovpnha check-config` refuses"),
    _K.CONFIGURATION_WARNING: (_W, "what `ovpnha check-config` warns of"),
    _K.SERVER_PENDING: (
        _N,
        "a server's file does not say `cluster` yet: what is to be done before it does",
    ),
    _K.KEY_FILE: (_P, "the cluster key is missing, open to others, or closed to the sidecar"),
    _K.CLUSTER: (
        _P,
        "what `ovpnha status` has under *Problems*: the copy, the other nodes and their clocks,"
        " configurations or certificates that differ, conntrackd",
    ),
    _K.VERSIONS_DIFFER: (_W, "nodes run different versions of OpenVPN"),
    _K.RELEASES_DIFFER: (_W, "nodes run different releases of ovpnha"),
    _K.REFUSED_DATAGRAMS: (
        _W,
        "datagrams of another release or under another key keep coming while doctor looks",
    ),
    _K.LINK_MTU: (_P, "an interface of the BCN has no room for a whole datagram"),
    _K.LINK_SILENT: (_W, "nothing comes in by a link of the BCN, though another node is heard"),
    _K.LINK_MUTE: (_W, "nothing goes out by a link of the BCN"),
    _K.LINK_ERRORS: (_W, "an interface of the BCN drops or breaks packets while doctor looks"),
    _K.PACKAGE_MISSING: (_P, "a server says `cluster`, and no OpenVPN that knows it is installed"),
    _K.PACKAGE_OUTDATED: (
        _W,
        "the patched OpenVPN is built on an older source than Debian's that is installed or"
        " available",
    ),
    _K.PACKAGE_HELD: (
        _W,
        "Debian's `openvpn` is on hold, as an older way to install ovpnha wanted it: it gets no"
        " security updates",
    ),
    _K.PLATFORM_UNTRIED: (_N, "a distribution or an architecture on which nothing was tried"),
    _K.PROGRAM_REPLACED: (_W, "a running OpenVPN's program was replaced: it is still the old one"),
    _K.SIDECAR_REPLACED: (_W, "the sidecar that runs is of another version than this program"),
    _K.SIDECAR_DOWN: (_P, "the sidecar does not run, or does not answer"),
    _K.SIDECAR_NOT_ENABLED: (_W, "the sidecar does not come back after a reboot"),
    _K.SIDECAR_CAPABILITIES: (_W, "the sidecar that runs lacks a capability"),
    _K.SERVER_WITHOUT_INSTANCE: (
        _P,
        "a server says `cluster` and is no instance of `ovpnha.toml`: nobody promotes it",
    ),
    _K.SERVER_UNIT_TWICE: (
        _P,
        "Debian's unit of a server is enabled beside the patched one: at boot they fight",
    ),
    _K.SERVER_NOT_ENABLED: (_W, "no unit brings a server up after a reboot"),
    _K.SERVER_PREPARED: (
        _P,
        "a server's file says `cluster`, and Debian's OpenVPN still runs with the old one: it must"
        " not be restarted before the rest is done",
    ),
    _K.SERVER_UNIT_LACKS: (
        _W,
        "a server's unit lacks what `cluster` needs: the hand-over, the restart, a capability",
    ),
    _K.SPARE_LEFTOVER: (
        _P,
        "the unit of a server's second process runs or starts at boot, and `spare` says that there"
        " is none: that process may be the one that serves",
    ),
    _K.SPARE_MISSING: (
        _W,
        'a second process is wanted all the time (`spare = "always"`), and its unit does not run,'
        " or does not come back after a reboot",
    ),
    _K.UNIT_STALE: (_W, "systemd has not read a unit's files again since they changed"),
    _K.SILENT_AFTER_REBOOT: (
        _P,
        "a reboot now brings a server up as a silent standby that nobody promotes",
    ),
    _K.REBOOT_WANTED: (_N, "an update asks for a reboot"),
    _K.TCP_BESIDE: (_N, "a server without `cluster` serves on the same VIP"),
    _K.USER_GIVEN_UP: (_N, "a server gives up root: what it opens later must be open to that user"),
    _K.POOL_FILE: (_N, "`ifconfig-pool-persist` names a file that differs between nodes"),
    _K.MEMORY_LOCK: (_P, "`mlock`, and less memory may be locked than clients need"),
    _K.MANAGEMENT_UNGUARDED: (
        _W,
        "the management socket does not say who may use it, so that the sidecar may not",
    ),
    _K.MANAGEMENT_MODE: (_P, "others may use the management socket, which carries keys"),
    _K.MANAGEMENT_CLOSED: (_P, "the sidecar's user may not open the management socket"),
    _K.MANAGEMENT_STRANGER: (_P, "another program has the management socket"),
    _K.CONTROL_MODE: (_P, "others may command the sidecar by its control socket"),
    _K.PRIVATE_KEY_MODE: (_W, "others may read a private key of a server"),
    _K.DIRECTORY_MODE: (_P, "others may write where sockets and grades lie"),
    _K.USER_MISSING: (_P, "the sidecar's user does not exist"),
    _K.CERTIFICATE_ENDED: (_P, "a certificate, its authority or a list of the revoked has ended"),
    _K.CERTIFICATE_ENDS_SOON: (_W, "the same, soon"),
    _K.CERTIFICATE_NOT_YET: (_P, "a certificate is not valid yet: is the clock right?"),
    _K.CERTIFICATE_KEY: (_P, "the private key does not belong to the certificate"),
    _K.FORWARDING: (_P, "this host does not forward what comes out of the tunnel"),
    _K.CONNTRACK_FULL: (_W, "the kernel's table of connections is nearly full"),
    _K.CLOCK: (_W, "no program keeps the clock of this host by a time server"),
    _K.KEEPALIVED_MISSING: (_P, "keepalived is to move the VIP, and is not installed"),
    _K.KEEPALIVED_UNCONFIGURED: (_P, "keepalived has no configuration"),
    _K.KEEPALIVED_REFUSES: (_P, "`keepalived --config-test` complains"),
    _K.KEEPALIVED_TOO_EARLY: (
        _W,
        "keepalived runs or is enabled while the server is not clustered yet: it takes the VIP",
    ),
    _K.KEEPALIVED_DOWN: (_P, "keepalived does not run"),
    _K.KEEPALIVED_NOT_ENABLED: (_W, "keepalived does not come back after a reboot"),
    _K.KEEPALIVED_VIP: (_P, "no `vrrp_instance` has the VIP"),
    _K.KEEPALIVED_INTERFACE: (_P, "keepalived puts the VIP on another interface than counts"),
    _K.KEEPALIVED_VMAC: (
        _W,
        "`use_vmac` puts the VIP on an interface of keepalived's own, and changes MAC addresses",
    ),
    _K.KEEPALIVED_GRADE: (_P, "keepalived does not read the grade of this instance"),
    _K.KEEPALIVED_WEIGHT: (_P, "the grade is not added as it is (`weight 1`)"),
    _K.KEEPALIVED_INIT_FILE: (
        _W,
        "without `init_file` keepalived refuses a grade file that is not there yet",
    ),
    _K.KEEPALIVED_PRIORITY: (_P, "a priority outweighs the grade, or cuts it off"),
    _K.KEEPALIVED_STATE: (_W, "keepalived takes the VIP, or leaves it, against the grade"),
    _K.KEEPALIVED_SPLIT: (_W, "two addresses that belong together may part"),
    _K.KEEPALIVED_INSIDE: (
        _N,
        "only the outside address moves: hosts of a LAN whose route names a node lose the way",
    ),
    _K.KEEPALIVED_SCRIPT: (
        _W,
        "`check-grade` is not run, or cannot be: a standby whose sidecar is gone may get the VIP",
    ),
    _K.KEEPALIVED_SCRIPT_USER: (_W, "keepalived does not know as whom to run its script"),
    _K.KEEPALIVED_REAL_TIME: (
        _W,
        "real time by keepalived's own options: its next reload may kill it",
    ),
    _K.KEEPALIVED_ADVERTS: (
        _W,
        "keepalived is to send adverts more often than every 50 ms, and has no real time",
    ),
    _K.KEEPALIVED_NOTIFY: (
        _W,
        "keepalived calls conntrackd's script, too, which empties what the sidecar keeps",
    ),
    _K.CONNTRACKD_MISSING: (_P, "connections are to travel, and conntrackd is not installed"),
    _K.CONNTRACKD_CONFIGURATION: (
        _W,
        "conntrackd's configuration is not what `ovpnha conntrackd-config` prints",
    ),
    _K.CONNTRACKD_NOT_ENABLED: (_W, "conntrackd does not come back after a reboot"),
    _K.FIREWALL_BLOCKS: (_P, "a rule stops the BCN or the VIP manager"),
    _K.FIREWALL_MASQUERADE: (_W, "a rule translates to an address that stays behind at a move"),
    _K.FIREWALL_FOREIGN_SNAT: (_W, "a rule translates to an address that is no VIP here"),
    _K.FIREWALL_NO_CONNTRACKD: (_W, "a rule translates, and no connections travel"),
    _K.FIREWALL_STATEFUL: (_W, "a rule drops established connections after a move"),
    _K.FIREWALL_INVALID: (_W, "packets of old connections count as invalid after a move"),
    _K.FIREWALL_LOOSE: (_W, "a connection whose entry has not come stays invalid"),
    _K.FIREWALL_RESETS: (_W, "this host resets connections whose entry has not come yet"),
    _K.FIREWALL_RP_FILTER: (_W, "the kernel drops what comes by another way than it would answer"),
    _K.FIREWALL_FLOWTABLE: (_W, "a flowtable hides the tunnels' connections from conntrackd"),
    _K.FIREWALL_LEFTOVER: (_N, "our table of the packet filter is there, and nobody keeps it"),
    _K.FIREWALL_FLUSHED: (
        _W,
        "a reload of the host's rules takes our table of the packet filter away, or sets an old"
        " one: connections that are busy break",
    ),
    _K.FIREWALL_SPARED: (
        _N,
        "another service has rules here, and leaves our table of the packet filter as it is",
    ),
}
"""By kind, its severity and what it means."""
