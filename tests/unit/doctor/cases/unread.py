"""What cannot be read, and the check that lacks it."""

from __future__ import annotations

from ovpnha.doctor.facts import Facts, Unread
from tests.unit.doctor.good import changed

UNREAD = Unread("no permission")
UNITS = "the units of udp"
LACKING: dict[str, tuple[Facts, str]] = {
    "ovpnha.toml": (changed("configuration", unread="no permission"), "ovpnha.toml, and all"),
    "key": (changed(key=UNREAD), "the cluster key"),
    "status": (changed(sidecar=UNREAD), "what ovpnha status says"),
    "capabilities": (changed("sidecar", capabilities=UNREAD), "the sidecar's capabilities"),
    "sidecar's unit": (changed(sidecar_unit=UNREAD), "the unit ovpnha.service"),
    "server": (changed(servers=(UNREAD,)), "a server's configuration"),
    "unit": (changed("server", unit=UNREAD), UNITS),
    "stock unit": (changed("server", stock_unit=UNREAD), UNITS),
    "spare unit": (changed("server", spare_unit=UNREAD), "the second process of udp"),
    "reachable": (changed("socket", reachable=UNREAD), "whether the sidecar's user may open"),
    "strangers": (changed("socket", strangers=UNREAD), "who uses /run/openvpn-cluster/udp.sock"),
    "certificates": (changed("server", certificates=(UNREAD,)), "certificates of"),
    "packages": (changed(packages=UNREAD), "which OpenVPN is installed"),
    "available": (changed("packages", available=UNREAD), "which versions of openvpn"),
    "clock": (changed("host", clock_kept=UNREAD), "whether the clock is kept"),
    "firewall": (changed(firewall=UNREAD), "the packet filter"),
    "nftables": (
        changed(firewall_unread=("nftables was not looked at: no permission",)),
        "nftables",
    ),
    "iptables": (changed(firewall_unread=("no permission",)), "no permission"),
    "conntrackd": (changed("conntrackd", as_wanted=UNREAD), "conntrackd's configuration"),
    "conntrackd's unit": (changed("conntrackd", unit=UNREAD), "the unit conntrackd.service"),
    "keepalived's unit": (changed("keepalived", unit=UNREAD), "the unit keepalived.service"),
    "keepalived's files": (changed("keepalived", blocks=UNREAD), "keepalived's configuration"),
    "keepalived's test": (changed("keepalived", tested=UNREAD), "keepalived --config-test"),
}
