"""What is wrong with keepalived."""

from __future__ import annotations

from dataclasses import replace

from ovpnha.doctor.facts import Facts, InstanceFacts, UnitFacts
from ovpnha.doctor.kinds import DoctorKind
from tests.unit.doctor.good import GOOD, KEEPALIVED, also, before_step_9, changed, keepalived, split

CASES: dict[str, tuple[DoctorKind, Facts, str]] = {
    "no keepalived": (
        DoctorKind.KEEPALIVED_MISSING,
        changed("keepalived", installed=False),
        "keepalived is not installed",
    ),
    "no keepalived.conf": (
        DoctorKind.KEEPALIVED_UNCONFIGURED,
        changed("keepalived", blocks=None),
        "there is no /etc/keepalived/keepalived.conf",
    ),
    "refused keepalived.conf": (
        DoctorKind.KEEPALIVED_REFUSES,
        changed("keepalived", tested=("Unknown keyword 'advrt_int'",)),
        "Unknown keyword 'advrt_int'",
    ),
    "keepalived too early": (
        DoctorKind.KEEPALIVED_TOO_EARLY,
        before_step_9(),
        "keepalived runs, and no server here is part of a cluster yet",
    ),
    "keepalived enabled too early": (
        DoctorKind.KEEPALIVED_TOO_EARLY,
        also(before_step_9(), "keepalived", process=None),
        "keepalived is enabled, and no server here is part of a cluster yet",
    ),
    "no keepalived runs": (
        DoctorKind.KEEPALIVED_DOWN,
        changed("keepalived", process=None),
        "keepalived does not run",
    ),
    "keepalived not enabled": (
        DoctorKind.KEEPALIVED_NOT_ENABLED,
        changed("keepalived", unit=UnitFacts("keepalived.service", active=True)),
        "keepalived.service is not enabled",
    ),
    "another VIP": (
        DoctorKind.KEEPALIVED_VIP,
        keepalived("192.0.2.10/24", "192.0.2.99/24"),
        "no vrrp_instance of keepalived has 192.0.2.10",
    ),
    "no inside VIP": (
        DoctorKind.KEEPALIVED_VIP,
        keepalived("198.51.100.10/24", "198.51.100.99/24"),
        "has 198.51.100.10, to which the tunnels are translated",
    ),
    "another interface": (
        DoctorKind.KEEPALIVED_INTERFACE,
        keepalived("192.0.2.10/24 dev eth0", "192.0.2.10/24 dev eth9"),
        "puts 192.0.2.10 on eth9, and it counts on eth0 only",
    ),
    "vmac": (
        DoctorKind.KEEPALIVED_VMAC,
        keepalived("    state BACKUP", "    use_vmac"),
        "the VIP comes on vrrp.51",
    ),
    "named vmac": (
        DoctorKind.KEEPALIVED_VMAC,
        keepalived("    state BACKUP", "    use_vmac vip0"),
        "the VIP comes on vip0",
    ),
    "another grade": (
        DoctorKind.KEEPALIVED_GRADE,
        keepalived("=/run/ovpnha/udp.grade", "=/run/ovpnha/up.grade"),
        "does not go by /run/ovpnha/udp.grade, the grade of instance udp; it reads /run/ovpnha/up",
    ),
    "grade not tracked": (
        DoctorKind.KEEPALIVED_GRADE,
        keepalived("        ovpnha_grade\n"),
        "does not go by /run/ovpnha/udp.grade",
    ),
    "no grade at all": (
        DoctorKind.KEEPALIVED_GRADE,
        keepalived("track_file ovpnha_grade", "unknown ovpnha_grade"),
        "does not go by /run/ovpnha/udp.grade, the grade of instance udp",
    ),
    "an IPv6 one lacks": (
        DoctorKind.KEEPALIVED_VIP,
        changed(
            "configuration",
            instances=(
                InstanceFacts(
                    "udp", ("192.0.2.10", "2001:db8::10"), "eth0", "/run/ovpnha/udp.grade"
                ),
            ),
        ),
        "no vrrp_instance of keepalived has 2001:db8::10, the VIP of instance udp",
    ),
    "no track_file": (
        DoctorKind.KEEPALIVED_GRADE,
        changed("configuration", instances=(InstanceFacts("udp", ("192.0.2.10",)),)),
        "instance udp has no track_file",
    ),
    "weight": (DoctorKind.KEEPALIVED_WEIGHT, keepalived("weight 1\n", "weight 2\n"), "weight 2"),
    "own weight": (
        DoctorKind.KEEPALIVED_WEIGHT,
        keepalived("        ovpnha_grade\n", "        ovpnha_grade weight 3\n"),
        "weight 3",
    ),
    "own weight, and none in its group": (
        DoctorKind.KEEPALIVED_WEIGHT,
        keepalived(
            text=KEEPALIVED.replace("        ovpnha_grade\n", "        ovpnha_grade weight 3\n")
            + "vrrp_sync_group both {\n group {\n ovpnha\n }\n track_file {\n ovpnha_grade\n }\n}\n"
        ),
        "weight 3",
    ),
    "own weight in its group alone": (
        DoctorKind.KEEPALIVED_WEIGHT,
        keepalived(
            text=KEEPALIVED + "vrrp_sync_group both {\n group {\n ovpnha\n }\n"
            " track_file {\n ovpnha_grade weight 4\n }\n}\n"
        ),
        "weight 4",
    ),
    "reversed": (
        DoctorKind.KEEPALIVED_WEIGHT,
        keepalived("weight 1\n", "weight 1 reverse\n"),
        "does not count as it is",
    ),
    "no init_file": (
        DoctorKind.KEEPALIVED_INIT_FILE,
        keepalived("    init_file 0\n"),
        "has no init_file",
    ),
    "priority": (
        DoctorKind.KEEPALIVED_PRIORITY,
        keepalived("priority 100", "priority 200"),
        "has priority 200",
    ),
    "no number": (
        DoctorKind.KEEPALIVED_PRIORITY,
        keepalived("priority 100", "priority $PRIORITY"),
        "has priority $PRIORITY",
    ),
    "state": (
        DoctorKind.KEEPALIVED_STATE,
        keepalived("state BACKUP", "state MASTER\n nopreempt"),
        "says state MASTER and nopreempt",
    ),
    "VIPs that part": (
        DoctorKind.KEEPALIVED_SPLIT,
        replace(
            split(),
            configuration=replace(
                GOOD.configuration,
                instances=(
                    InstanceFacts(
                        "udp", ("192.0.2.10", "198.51.100.10"), "", "/run/ovpnha/udp.grade"
                    ),
                ),
            ),
        ),
        "lan moves 198.51.100.10 by itself, and ovpnha the other VIPs of instance udp",
    ),
    "split": (
        DoctorKind.KEEPALIVED_SPLIT,
        split(),
        "vrrp_instance lan moves 198.51.100.10 by itself",
    ),
    "outside only": (
        DoctorKind.KEEPALIVED_INSIDE,
        replace(
            keepalived("        198.51.100.10/24 dev eth1\n"),
            configuration=replace(GOOD.configuration, inside_vips=()),
        ),
        "moves addresses on eth0 only",
    ),
    "no script": (
        DoctorKind.KEEPALIVED_SCRIPT,
        keepalived("        ovpnha_serves\n"),
        "does not run check-grade",
    ),
    "script that is not there": (
        DoctorKind.KEEPALIVED_SCRIPT,
        changed("keepalived", scripts={"/x": "it cannot be found"}),
        "keepalived is to run /x: it cannot be found",
    ),
    "script user": (
        DoctorKind.KEEPALIVED_SCRIPT_USER,
        keepalived("    script_user root\n"),
        "does not say as whom scripts run",
    ),
    "real time": (
        DoctorKind.KEEPALIVED_REAL_TIME,
        keepalived("    script_user root", "    script_user root\n    vrrp_rt_priority 50"),
        "keepalived.conf says vrrp_rt_priority",
    ),
    "fast adverts without real time": (
        DoctorKind.KEEPALIVED_ADVERTS,
        keepalived("    priority 100", "    priority 100\n    advert_int 0.01"),
        "vrrp_instance ovpnha sends an advert every 0.01 s, and keepalived has no real time",
    ),
    "fast adverts that are not had": (
        DoctorKind.KEEPALIVED_ADVERTS,
        keepalived(
            "    priority 100",
            "    priority 100\n    @realtime advert_int 0.01\n    @^realtime advert_int 0.05",
        ),
        "is to send an advert every 0.01 s, and keepalived has no real time: it is every 0.05 s",
    ),
    "two who command conntrackd": (
        DoctorKind.KEEPALIVED_NOTIFY,
        keepalived(
            "    state BACKUP",
            '    state BACKUP\n    notify_master "/x/primary-backup.sh primary"\n',
        ),
        "vrrp_instance ovpnha calls primary-backup (notify_master)",
    ),
}
