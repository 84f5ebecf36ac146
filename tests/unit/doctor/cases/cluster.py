"""What is wrong with the configuration, the key, the sidecar and what it says."""

from __future__ import annotations

from dataclasses import replace

from ovpnha.doctor.facts import ConfigurationFacts, Facts, KeyFacts, LinkFacts, NodeFacts, UnitFacts
from ovpnha.doctor.kinds import DoctorKind
from ovpnha.machines import SparePolicy
from ovpnha.problems import Problem, ProblemKind
from tests.unit.doctor.good import also, before_step_9, changed

LINK_DOWN = Problem(ProblemKind.LINK_DOWN, "BCN link bcn0 is down")


CASES: dict[str, tuple[DoctorKind, Facts, str]] = {
    "another release of ovpnha": (
        DoctorKind.RELEASES_DIFFER,
        changed("sidecar", nodes=(NodeFacts("b", release="0.9"),)),
        "node b runs ovpnha 0.9, this node ",
    ),
    "no toml": (
        DoctorKind.NOT_CONFIGURED,
        changed(
            configuration=ConfigurationFacts("/etc/ovpnha/ovpnha.toml", present=False),
            keepalived=None,
        ),
        "there is no /etc/ovpnha/ovpnha.toml",
    ),
    "refused": (
        DoctorKind.CONFIGURATION,
        changed("configuration", problems=("f: x: is missing; add x = 1",)),
        "f: x: is missing",
    ),
    "own VIP": (
        DoctorKind.CONFIGURATION,
        changed("configuration", own_vips={"udp": "192.0.2.10 is this node's own address; x"}),
        "is this node's own address",
    ),
    "warned of": (
        DoctorKind.CONFIGURATION_WARNING,
        changed("configuration", warnings=("http.listen: another",)),
        "http.listen",
    ),
    "not clustered yet": (
        DoctorKind.SERVER_PENDING,
        changed("configuration", pending=("does not say cluster yet; add it",)),
        "does not say cluster yet",
    ),
    "sidecar before its time": (
        DoctorKind.SERVER_PENDING,
        before_step_9(sidecar=None, keepalived=None),
        "the sidecar does not run yet",
    ),
    "key": (
        DoctorKind.KEY_FILE,
        changed("key", problem="/k: others may open it (mode 0644); run: chmod 600 /k"),
        "others may open it",
    ),
    "key of root": (
        DoctorKind.KEY_FILE,
        changed(key=KeyFacts("/k", owner="root", for_sidecar=False)),
        "/k belongs to root",
    ),
    "status": (
        DoctorKind.CLUSTER,
        changed("sidecar", problems=(LINK_DOWN,)),
        "BCN link bcn0 is down",
    ),
    "status of a node": (
        DoctorKind.CLUSTER,
        changed("sidecar", problems=(replace(LINK_DOWN, fix="x", instance="udp", node="b"),)),
        "udp, node b: BCN link bcn0 is down",
    ),
    "another OpenVPN": (
        DoctorKind.VERSIONS_DIFFER,
        changed("sidecar", nodes=(NodeFacts("b", "2.6.3"),)),
        "node b runs OpenVPN 2.6.3, this node 2.6.14",
    ),
    "another release": (
        DoctorKind.REFUSED_DATAGRAMS,
        changed("sidecar", refused={"version": 3, "kernel": 2}),
        "of another release",
    ),
    "small link": (
        DoctorKind.LINK_MTU,
        changed(links=(LinkFacts("bcn0", 1200, 5, 5, 0, 1.0),)),
        "bcn0 has an MTU of 1200, and datagrams of the BCN need 1228",
    ),
    "silent link": (
        DoctorKind.LINK_SILENT,
        changed(links=(LinkFacts("bcn0", 1500, 0, 5, 0, 1.0),)),
        "nothing came in by bcn0",
    ),
    "mute link": (
        DoctorKind.LINK_MUTE,
        changed(links=(LinkFacts("bcn0", 1500, 5, 0, 0, 1.0),)),
        "nothing went out by bcn0",
    ),
    "lossy link": (
        DoctorKind.LINK_ERRORS,
        changed(links=(LinkFacts("bcn0", 1500, 5, 5, 8, 1.0),)),
        "bcn0 has dropped or broken 8 packets",
    ),
    "replaced sidecar": (
        DoctorKind.SIDECAR_REPLACED,
        changed("sidecar", version="0.1.0"),
        "is version 0.1.0, this program 0.2.0",
    ),
    "no sidecar": (DoctorKind.SIDECAR_DOWN, changed(sidecar=None), "the sidecar does not run"),
    "sidecar not enabled": (
        DoctorKind.SIDECAR_NOT_ENABLED,
        replace(
            changed("server", unit=None, stock_unit=None),
            sidecar_unit=UnitFacts("ovpnha.service", active=True),
        ),
        "ovpnha.service is not enabled",
    ),
    "no unit of the sidecar": (
        DoctorKind.SIDECAR_NOT_ENABLED,
        replace(
            changed("server", unit=None, stock_unit=None),
            sidecar_unit=UnitFacts("ovpnha.service", present=False),
        ),
        "ovpnha.service is not enabled",
    ),
    "capability": (
        DoctorKind.SIDECAR_CAPABILITIES,
        changed("sidecar", capabilities=frozenset({"cap_net_admin"})),
        "lacks CAP_NET_RAW",
    ),
    "capability for a spare": (
        DoctorKind.SIDECAR_CAPABILITIES,
        also(
            changed("server", spare=SparePolicy.RESTART),
            "sidecar",
            capabilities=frozenset({"cap_net_admin", "cap_net_raw"}),
        ),
        "lacks CAP_KILL, which it needs for the end of an OpenVPN that hangs",
    ),
    "silent standby": (
        DoctorKind.SILENT_AFTER_REBOOT,
        replace(
            changed("host", reboot="an update asks for a reboot"),
            sidecar_unit=UnitFacts("ovpnha.service"),
        ),
        "up as a silent standby, which serves nobody: ovpnha.service is not enabled, and an",
    ),
}
