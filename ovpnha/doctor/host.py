"""Checks of the host: packages, forwarding, clock, users, packet filter, connection tracking."""

from __future__ import annotations

from collections.abc import Iterator

from ovpnha.doctor.facts import ConntrackdFacts, Facts, PackageFacts, UnitFacts, Unread
from ovpnha.doctor.kinds import DoctorKind, Told, Unmade, find
from ovpnha.doctor.turn import servers
from ovpnha.doctor.versions import is_older, newest, source_version
from ovpnha.firewall.site import FindingKind

FORWARDING = {4: "net.ipv4.ip_forward", 6: "net.ipv6.conf.all.forwarding"}
FULL = 0.8
"""Share of the kernel's table of connections at which new ones are soon refused."""
DAY = 86400.0
TRIED_SYSTEMS = ("debian 12", "debian 13")
TRIED_MACHINE = "x86_64"
FIREWALL_KINDS = {
    FindingKind.BCN: DoctorKind.FIREWALL_BLOCKS,
    FindingKind.VRRP: DoctorKind.FIREWALL_BLOCKS,
    FindingKind.MASQUERADE: DoctorKind.FIREWALL_MASQUERADE,
    FindingKind.FOREIGN_SNAT: DoctorKind.FIREWALL_FOREIGN_SNAT,
    FindingKind.NO_CONNTRACKD: DoctorKind.FIREWALL_NO_CONNTRACKD,
    FindingKind.STATEFUL: DoctorKind.FIREWALL_STATEFUL,
    FindingKind.INVALID: DoctorKind.FIREWALL_INVALID,
    FindingKind.LOOSE: DoctorKind.FIREWALL_LOOSE,
    FindingKind.RESETS: DoctorKind.FIREWALL_RESETS,
    FindingKind.RP_FILTER: DoctorKind.FIREWALL_RP_FILTER,
    FindingKind.FLOWTABLE: DoctorKind.FIREWALL_FLOWTABLE,
    FindingKind.LEFTOVER: DoctorKind.FIREWALL_LEFTOVER,
    FindingKind.FLUSHED: DoctorKind.FIREWALL_FLUSHED,
}


def check_packages(facts: Facts) -> Iterator[Told]:
    """Whether there is an OpenVPN that knows ``cluster``, and how old its source is."""
    found = facts.packages
    if isinstance(found, Unread):
        yield Unmade("which OpenVPN is installed", found.why)
        return
    needing = [one.path for one in servers(facts) if one.cluster and one.process is None]
    if needing and not found.patched:
        yield find(
            DoctorKind.PACKAGE_MISSING,
            f"{', '.join(needing)} says cluster, and no package of the patched OpenVPN is here",
            "apt install ./openvpn-cluster_*.deb, made by make packages",
        )
    if isinstance(found.available, Unread):
        yield Unmade("which versions of openvpn are available", found.available.why)
    if found.held and found.beside:
        yield find(
            DoctorKind.PACKAGE_HELD,
            "the package openvpn is on hold, and openvpn-cluster does not need that: Debian's own"
            " gets no security updates",
            "apt-mark unhold openvpn",
        )
    if outdated := older_source(found):
        yield find(
            DoctorKind.PACKAGE_OUTDATED,
            f"the patched OpenVPN is built on {found.built_from}{_age(found, facts.now)}, and"
            f" Debian's is {outdated}: it may lack security updates",
            "make packages with the new source, then install it on the standbys first"
            ' (docs/operations.md, "Planned moves")',
        )


def check_platform(facts: Facts) -> Iterator[Told]:
    """What was never tried may work."""
    system, machine = facts.host.system, facts.host.machine
    if system and (system not in TRIED_SYSTEMS or machine != TRIED_MACHINE):
        yield find(
            DoctorKind.PLATFORM_UNTRIED,
            f"this host is {system} on {machine}: tried are {' and '.join(TRIED_SYSTEMS)} on"
            f" {TRIED_MACHINE}",
            "try a takeover with a client of your own (ovpnha demote on the master) before you rely"
            " on it",
        )


def older_source(found: PackageFacts) -> str:
    """The version that the patched OpenVPN's source is older than; "" when it is none."""
    available = () if isinstance(found.available, Unread) else found.available
    others = (one for one in (found.stock, *available) if one and "+ovpnha" not in one)
    latest = newest(tuple(map(source_version, others)))
    built_from = source_version(found.built_from)
    return latest if built_from and latest and is_older(built_from, latest) else ""


def _age(found: PackageFacts, now: float) -> str:
    if found.built_from_date is None:
        return ""
    return f", {max(0.0, now - found.built_from_date) / DAY:.0f} days old"


def check_user(facts: Facts) -> Iterator[Told]:
    """The sidecar's user."""
    named = [one.path for one in servers(facts) if one.management_user == "ovpnha"]
    unit = facts.sidecar_unit
    runs = isinstance(unit, UnitFacts) and unit.present
    if not facts.host.user and (named or runs):
        needs = f"{', '.join(named)} names it" if named else "ovpnha.service runs as it"
        yield find(
            DoctorKind.USER_MISSING,
            f"there is no user ovpnha on this host, and {needs}",
            "systemd-sysusers, after ovpnha.sysusers.conf was installed",
        )


def check_directories(facts: Facts) -> Iterator[Told]:
    """Where sockets and grades lie nobody else may put any."""
    for path, mode in facts.host.directories.items():
        if mode & 0o002 and not mode & 0o1000:
            yield find(
                DoctorKind.DIRECTORY_MODE,
                f"everybody may write into {path} (mode {mode:04o}): a forged grade or socket lies"
                " there tomorrow",
                f"chmod o-w {path}",
            )


def check_control(facts: Facts) -> Iterator[Told]:
    """Who may command the sidecar."""
    for path, mode in facts.host.control.items():
        if mode & 0o007:
            yield find(
                DoctorKind.CONTROL_MODE,
                f"others may use {path} (mode {mode:04o}): who does may promote or demote this"
                " node",
                f"chmod 0660 {path}; who needs it gets the socket's group",
            )


def check_forwarding(facts: Facts) -> Iterator[Told]:
    """A node that does not forward serves nobody."""
    if not facts.configuration.instances:
        return
    for version, name in FORWARDING.items():
        if version in facts.host.tunnel_versions and facts.host.tunables.get(name) == 0:
            yield find(
                DoctorKind.FORWARDING,
                f"{name} = 0: this host does not forward what comes out of the tunnel",
                f"sysctl -w {name}=1, and the line {name} = 1 in /etc/sysctl.d/ovpnha.conf",
            )


def check_clock(facts: Facts) -> Iterator[Told]:
    """Certificates and auth-tokens go by it."""
    kept = facts.host.clock_kept
    if isinstance(kept, Unread):
        yield Unmade("whether the clock is kept", kept.why)
    elif not kept:
        yield find(
            DoctorKind.CLOCK,
            "no program keeps this host's clock by a time server: certificates and auth-tokens go"
            " by it, on each node by its own",
            "apt install systemd-timesyncd (or chrony), the same servers on all nodes",
        )


def check_reboot(facts: Facts) -> Iterator[Told]:
    """An update that wants one."""
    if facts.host.reboot:
        yield find(
            DoctorKind.REBOOT_WANTED,
            facts.host.reboot,
            "one node after the other: ovpnha demote first, and wait until all is in sync again",
        )


def check_firewall(facts: Facts) -> Iterator[Told]:
    """What the packet filter stops or breaks."""
    if isinstance(facts.firewall, Unread):
        yield Unmade("the packet filter", facts.firewall.why)
    elif facts.firewall is not None:
        for found in facts.firewall:
            yield find(FIREWALL_KINDS[found.kind], found.what, found.fix, found.kind.value)
    if facts.firewall_sparing:
        yield find(
            DoctorKind.FIREWALL_SPARED,
            f"{' and '.join(facts.firewall_sparing)} may change rules at any time, and the table"
            " inet ovpnha stays as it is at each start, reload and stop",
            "nothing: it was tried with each of them",
        )
    for line in facts.firewall_unread:
        what, _, why = line.partition(" was not looked at: ")
        yield Unmade(what, why or line)


def check_conntrack(facts: Facts) -> Iterator[Told]:
    """The kernel's table of connections, and who carries it to the other nodes."""
    count, limit = facts.host.tracked, facts.host.tracked_limit
    if count is not None and limit and count > FULL * limit:
        yield find(
            DoctorKind.CONNTRACK_FULL,
            f"connection tracking has {count} of {limit} entries: beyond that new connections are"
            " refused",
            f"sysctl -w net.netfilter.nf_conntrack_max={2 * limit}, the same on all nodes",
        )
    if facts.conntrackd is not None:
        yield from _check_conntrackd(facts.conntrackd)


def _check_conntrackd(found: ConntrackdFacts) -> Iterator[Told]:
    if not found.installed:
        yield find(
            DoctorKind.CONNTRACKD_MISSING,
            'ovpnha.toml says manager = "conntrackd", and conntrackd is not installed',
            "apt install conntrackd conntrack",
        )
        return
    if isinstance(found.as_wanted, Unread):
        yield Unmade("conntrackd's configuration", found.as_wanted.why)
    elif not found.as_wanted:
        yield find(
            DoctorKind.CONNTRACKD_CONFIGURATION,
            "/etc/conntrackd/conntrackd.conf is not what ovpnha conntrackd-config prints",
            "ovpnha conntrackd-config >/etc/conntrackd/conntrackd.conf, then systemctl restart"
            " conntrackd",
        )
    if isinstance(found.unit, Unread):
        yield Unmade("the unit conntrackd.service", found.unit.why)
    elif found.unit is not None and found.unit.present and not found.unit.enabled:
        yield find(
            DoctorKind.CONNTRACKD_NOT_ENABLED,
            "conntrackd.service is not enabled: after a reboot no connections travel",
            "systemctl enable conntrackd",
        )
