"""What is well, or not known, and not to be blamed."""

from __future__ import annotations

from dataclasses import replace

from ovpnha.doctor.facts import (
    ConfigurationFacts,
    Facts,
    InstanceFacts,
    LinkFacts,
    NodeFacts,
    UnitFacts,
    Unread,
)
from ovpnha.machines import SparePolicy
from tests.unit.doctor.cases.server import spare
from tests.unit.doctor.good import (
    GOOD,
    KEEPALIVED,
    NOW,
    OTHER,
    UNIT,
    also,
    before_step_9,
    changed,
    keepalived,
    server_with,
)

QUIET: dict[str, Facts] = {
    "a spare that is wanted all the time": spare(SparePolicy.ALWAYS),
    "a spare that runs for a restart": spare(SparePolicy.RESTART),
    "a spare of a server that is not clustered yet": also(
        also(spare(SparePolicy.ALWAYS, active=False), "server", cluster=False), keepalived=None
    ),
    "no capability for a spare that is not wanted": changed(
        "sidecar", capabilities=frozenset({"cap_net_admin", "cap_net_raw"})
    ),
    "nothing is known yet": Facts(
        NOW, "a", "0.2.0", ConfigurationFacts("f"), changed().packages, firewall=None
    ),
    "something else moves the VIP": changed(keepalived=None, conntrackd=None),
    "another instance has another manager": changed(
        "configuration",
        instances=(
            *GOOD.configuration.instances,
            InstanceFacts("o", ("192.0.2.11",), keepalived=False),
        ),
    ),
    "the VIP is not known": changed("configuration", instances=(InstanceFacts("udp"),)),
    "no systemd": also(
        also(
            also(changed("server", unit=None, stock_unit=None), sidecar_unit=None),
            "keepalived",
            unit=None,
        ),
        "conntrackd",
        unit=None,
    ),
    "the sidecar does not say its version": changed("sidecar", version=""),
    "nobody is heard": changed(
        "sidecar", nodes=(NodeFacts("b", "2.6.3", heard=False), NodeFacts("c"))
    ),
    "OpenVPN is not known here": changed(
        "sidecar", openvpn={"udp": ""}, nodes=(NodeFacts("b", "9"),)
    ),
    "nobody heard and nothing received": replace(
        changed("sidecar", nodes=()), links=(LinkFacts("bcn0", 1500, 0, 5, 0, 1.0),)
    ),
    "a link and no sidecar to tell": replace(
        before_step_9(keepalived=None),
        sidecar=Unread(""),
        links=(LinkFacts("bcn0", 1500, 0, 0, 0, 1.0),),
    ),
    "nothing is installed": also(
        also(
            changed(
                "server",
                management_user="",
                unit=None,
                stock_unit=None,
            ),
            "host",
            user=False,
        ),
        sidecar_unit=None,
    ),
    "conntrackd without a unit": changed(
        "conntrackd", unit=UnitFacts("conntrackd.service", present=False)
    ),
    "a platform that was tried": also(
        changed("host", system="debian 13", control={"/c": 0o660}), "packages", beside=True
    ),
    "on hold, and needed so": also(
        changed("server", unit=None, stock_unit=None), "packages", held=True, beside=False
    ),
    "another server is elsewhere": server_with(replace(OTHER, local="192.0.2.77")),
    "a server of somebody else": server_with(replace(OTHER, local="", user="nobody")),
    "nothing limits keepalived's start": changed(
        "keepalived", unit=UnitFacts("keepalived.service", enabled=True)
    ),
    "keepalived waits for its turn": also(
        also(before_step_9(), "keepalived", process=None),
        "keepalived",
        unit=UnitFacts("keepalived.service"),
    ),
    "a script of somebody else's group": keepalived(
        text=KEEPALIVED + "vrrp_sync_group x {\n group {\n other\n }\n}\n"
    ),
    "no socket and no process": changed("server", socket=None, process=None),
    "the patched OpenVPN took the place of Debian's": also(
        changed(
            "server",
            unit=UnitFacts("openvpn-cluster@udp.service"),
            stock_unit=replace(UNIT, name="openvpn-server@udp.service"),
        ),
        "packages",
        beside=False,
        stock="",
    ),
    "what runs, and what is not clustered, needs no package": also(
        server_with(replace(OTHER, local="192.0.2.77")), "packages", patched="", built_from=""
    ),
    "no source is known": changed("packages", built_from=""),
    "newer than all": changed("packages", built_from="2.7.0-1"),
    "memory that is not limited": changed("server", locks_memory=True),
    "a keepalived that is a group": keepalived(
        text=KEEPALIVED.replace("    track_file {\n        ovpnha_grade\n    }\n", "").replace(
            "    track_script {\n        ovpnha_serves\n    }\n", ""
        )
        + "vrrp_sync_group both {\n group {\n ovpnha\n }\n track_file {\n ovpnha_grade\n }\n"
        " track_script {\n ovpnha_serves\n }\n}\n"
        "vrrp_sync_group others {\n group {\n someone\n }\n}\n"
    ),
    "two instances of ovpnha": replace(
        keepalived(
            text=KEEPALIVED
            + "vrrp_instance two {\n interface eth0\n virtual_ipaddress {\n 192.0.2.11\n }\n"
            " track_file {\n ovpnha_grade\n }\n track_script {\n ovpnha_serves\n }\n}\n"
        ),
        configuration=replace(
            GOOD.configuration,
            instances=(
                *GOOD.configuration.instances,
                InstanceFacts("two", ("192.0.2.11",), "eth0", "/run/ovpnha/udp.grade"),
            ),
        ),
    ),
    "a user of each script": keepalived(
        text=KEEPALIVED.replace("    script_user root\n", "").replace(
            "    weight -120", "    weight -120\n    user root"
        )
    ),
    "an unnumbered priority": keepalived("    priority 100\n"),
    "a vmac that is meant": replace(
        keepalived(), configuration=replace(GOOD.configuration, instances=())
    ),
}
