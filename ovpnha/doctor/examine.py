"""All checks, in the order in which somebody would look; what they find together.

Decides the order of the findings and the exit code. A check is a function of the facts, named in
``CHECKS``; it never knows of another one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from ovpnha.doctor import adverts, cluster, host, server, vipmanager
from ovpnha.doctor.facts import Facts
from ovpnha.doctor.kinds import (
    RANK,
    DoctorFinding,
    DoctorKind,
    Severity,
    Told,
    Unmade,
)

REPORT_VERSION = 1
"""Raised when a figure goes or comes to mean something else; one more is no new version."""
FINE, WARNINGS, PROBLEMS, UNKNOWN = 0, 1, 2, 3
"""Exit codes, as monitoring plugins have them."""
CODES = {Severity.PROBLEM: PROBLEMS, Severity.WARNING: WARNINGS}

Check = Callable[[Facts], Iterator[Told]]
CHECKS: dict[str, Check] = {
    "configuration": cluster.check_configuration,
    "cluster key": cluster.check_key,
    "sidecar": cluster.check_sidecar,
    "status": cluster.check_status,
    "versions of the nodes": cluster.check_versions,
    "releases of the nodes": cluster.check_releases,
    "BCN links": cluster.check_links,
    "servers' files": server.check_readable,
    "servers and instances": server.check_membership,
    "servers' options": server.check_options,
    "servers' units": server.check_units,
    "second processes": server.check_spares,
    "changed units": server.check_stale_units,
    "replaced programs": server.check_processes,
    "management sockets": server.check_sockets,
    "certificates": server.check_certificates,
    "private keys": server.check_keys,
    "packages": host.check_packages,
    "platform": host.check_platform,
    "user": host.check_user,
    "directories": host.check_directories,
    "control socket": host.check_control,
    "forwarding": host.check_forwarding,
    "clock": host.check_clock,
    "reboot": host.check_reboot,
    "packet filter": host.check_firewall,
    "connection tracking": host.check_conntrack,
    "keepalived": vipmanager.check_presence,
    "keepalived's configuration": vipmanager.check_configuration,
    "keepalived's addresses": vipmanager.check_addresses,
    "keepalived and the grade": vipmanager.check_grade,
    "keepalived's scripts": vipmanager.check_scripts,
    "keepalived's real time": vipmanager.check_real_time,
    "keepalived's adverts": adverts.check_adverts,
    "keepalived and conntrackd": vipmanager.check_notify,
}
"""By the name that it is told by."""


@dataclass(frozen=True)
class DoctorAnswer:
    """All that doctor has to say, also for programs."""

    node: str
    severity: Severity
    """The worst of the findings."""
    code: int
    """The exit code: 0 fine, 1 warnings, 2 problems, 3 some check could not be made."""
    findings: tuple[DoctorFinding, ...]
    """The worst first."""
    unmade: tuple[Unmade, ...]
    fine: tuple[str, ...]
    """Checks that were made whole, and found nothing."""
    version: int = REPORT_VERSION


def examine(facts: Facts, ignored: frozenset[DoctorKind] = frozenset()) -> DoctorAnswer:
    """Make all checks; findings of a kind that is ignored do not count."""
    told: list[Told] = []
    fine = []
    for name, check in CHECKS.items():
        said = [one for one in check(facts) if not _is_ignored(one, ignored)]
        told += said
        if not said:
            fine.append(name)
    distinct = list(dict.fromkeys(told))
    found = [one for one in distinct if isinstance(one, DoctorFinding)]
    unmade = tuple(one for one in distinct if isinstance(one, Unmade))
    worst = max((one.severity for one in found), key=lambda one: RANK[one], default=Severity.OK)
    return DoctorAnswer(
        node=facts.node,
        severity=worst,
        code=CODES.get(worst, UNKNOWN if unmade else FINE),
        findings=tuple(sorted(found, key=lambda one: -RANK[one.severity])),
        unmade=unmade,
        fine=tuple(fine),
    )


def _is_ignored(one: Told, ignored: frozenset[DoctorKind]) -> bool:
    return isinstance(one, DoctorFinding) and one.kind in ignored
