"""What is wrong with packages, with the host, with its packet filter."""

from __future__ import annotations

from dataclasses import replace

from ovpnha.doctor.facts import Facts, UnitFacts
from ovpnha.doctor.host import FIREWALL_KINDS
from ovpnha.doctor.kinds import DoctorKind
from ovpnha.firewall.site import Finding, FindingKind
from tests.unit.doctor.good import DAY, GOOD, NOW, SERVER, changed


def firewall(kind: FindingKind) -> Facts:
    return changed(firewall=(Finding(kind, "a rule", "a command"),))


CASES: dict[str, tuple[DoctorKind, Facts, str]] = {
    "no OpenVPN": (
        DoctorKind.PACKAGE_MISSING,
        replace(
            changed("packages", patched="", built_from=""),
            servers=(replace(SERVER, process=None),),
        ),
        "no package of the patched OpenVPN",
    ),
    "older than installed": (
        DoctorKind.PACKAGE_OUTDATED,
        changed("packages", stock="2.6.14-0+deb12u3"),
        "is built on 2.6.14-0+deb12u2, and Debian's is 2.6.14-0+deb12u3",
    ),
    "older than available": (
        DoctorKind.PACKAGE_OUTDATED,
        changed("packages", built_from_date=NOW - 40 * DAY, available=("2.6.15-1+b2",)),
        "built on 2.6.14-0+deb12u2, 40 days old, and Debian's is 2.6.15-1",
    ),
    "on hold": (DoctorKind.PACKAGE_HELD, changed("packages", held=True), "is on hold"),
    "another distribution": (
        DoctorKind.PLATFORM_UNTRIED,
        changed("host", system="ubuntu 24.04"),
        "this host is ubuntu 24.04 on x86_64",
    ),
    "another architecture": (
        DoctorKind.PLATFORM_UNTRIED,
        changed("host", system="debian 12", machine="aarch64"),
        "debian 12 on aarch64",
    ),
    "reboot": (
        DoctorKind.REBOOT_WANTED,
        changed("host", reboot="an update asks for a reboot"),
        "an update asks for a reboot",
    ),
    "open control socket": (
        DoctorKind.CONTROL_MODE,
        changed("host", control={"/run/ovpnha/control.sock": 0o666}),
        "others may use /run/ovpnha/control.sock (mode 0666)",
    ),
    "open directory": (
        DoctorKind.DIRECTORY_MODE,
        changed("host", directories={"/run/ovpnha": 0o777}),
        "everybody may write into /run/ovpnha (mode 0777)",
    ),
    "no user": (
        DoctorKind.USER_MISSING,
        changed("host", user=False),
        "/etc/openvpn/server/udp.conf names it",
    ),
    "no user for the unit": (
        DoctorKind.USER_MISSING,
        replace(changed("server", management_user=""), host=replace(GOOD.host, user=False)),
        "ovpnha.service runs as it",
    ),
    "no forwarding": (
        DoctorKind.FORWARDING,
        changed("host", tunables={"net.ipv4.ip_forward": 0}),
        "net.ipv4.ip_forward = 0",
    ),
    "full table": (
        DoctorKind.CONNTRACK_FULL,
        changed("host", tracked=90, tracked_limit=100),
        "has 90 of 100 entries",
    ),
    "clock": (DoctorKind.CLOCK, changed("host", clock_kept=False), "no program keeps"),
    "no conntrackd": (
        DoctorKind.CONNTRACKD_MISSING,
        changed("conntrackd", installed=False),
        "conntrackd is not installed",
    ),
    "another conntrackd.conf": (
        DoctorKind.CONNTRACKD_CONFIGURATION,
        changed("conntrackd", as_wanted=False),
        "is not what ovpnha conntrackd-config prints",
    ),
    "conntrackd not enabled": (
        DoctorKind.CONNTRACKD_NOT_ENABLED,
        changed("conntrackd", unit=UnitFacts("conntrackd.service")),
        "conntrackd.service is not enabled",
    ),
    "another firewall": (
        DoctorKind.FIREWALL_SPARED,
        changed(firewall_sparing=("ufw", "firewalld")),
        "ufw and firewalld may change rules at any time",
    ),
    **{
        f"firewall {kind.value}": (FIREWALL_KINDS[kind], firewall(kind), "a rule")
        for kind in FindingKind
    },
}
