"""What is done to the hosts, and what the client may notice of it: a row of the table each."""

from __future__ import annotations

import json
import signal
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ovpnha.errors import OvpnhaError
from tests.hosts.connections import cut_power_under_nat, reload_rules_under_nat
from tests.hosts.host import Host
from tests.hosts.restarting import reload_openvpn, restart_by_force
from tests.hosts.site import STOCK_UNIT, TCP_UNIT, UNIT, Site
from tests.lab.clientlog import Noticed, noticed
from tests.lab.errors import LabError
from tests.lab.measure import outage_ms
from tests.lab.traffic import INTERVAL_MS
from tests.lab.waiting import wait_until

SECONDS = 120.0
# Told by the address that they know, clients try again after 1 s, 2 to 3 s and 6 to 7 s; those that
# only notice by ping-restart after 120 s.
MIGRATION_SECONDS = 5.0
# A crash that keepalived notices by missed adverts, on a machine that has other things to do.
CRASH_MS = 10_000.0
WATCHDOG_SECONDS = 60.0
DETAIL = 600  # characters


@dataclass(frozen=True)
class Row:
    """What came of one deed."""

    row: str
    restarts: int  # of the client
    hard_resets: int
    outage_ms: float  # the longest gap in the answers
    held: bool
    detail: str


@dataclass(frozen=True)
class Deed:
    """Something done to the site; ``do`` tells a detail. ``limit`` of the outage, milliseconds."""

    row: str
    do: Callable[[Site], str]
    limit: float = CRASH_MS
    restarts: int = 0


def try_deed(site: Site, deed: Deed) -> Row:
    """Do it, wait until all is well again, and look at what the client noticed."""
    site.say(deed.row)
    wall, monotonic = time.time_ns(), time.monotonic_ns()
    try:
        detail = deed.do(site)
        site.wait_settled()
        site.wait_answered()
    except (AssertionError, OvpnhaError) as error:
        return _row(site, deed, wall, monotonic, f"failed: {str(error)[:DETAIL]}")
    return _row(site, deed, wall, monotonic, detail)


def _row(site: Site, deed: Deed, wall: int, monotonic: int, detail: str) -> Row:
    seen: Noticed = noticed(site.client.log(), wall)
    gap = outage_ms(site.probes.gap(monotonic), INTERVAL_MS)
    held = gap <= deed.limit and seen.restarts <= deed.restarts
    held = held and not detail.startswith("failed")
    return Row(deed.row, seen.restarts, seen.hard_resets, round(gap, 1), held, detail)


# The deeds.


def migrate(site: Site) -> str:
    """A server in use becomes a cluster, by the page."""
    site.follow_page()
    wait_until(site.client.connected, "the client is connected", SECONDS)
    return "docs/operations.md, steps 3 to 9"


MISTAKES = {
    "silent_after_reboot": ("systemctl disable ovpnha", "systemctl enable ovpnha"),
    "server_unit_twice": (f"systemctl enable {STOCK_UNIT}", f"systemctl disable {STOCK_UNIT}"),
    "keepalived_not_enabled": ("systemctl disable keepalived", "systemctl enable keepalived"),
    "directory_mode": ("chmod 777 /run/ovpnha", "chmod 755 /run/ovpnha"),
}
"""By the kind of finding, what an administrator gets wrong, and how it is undone."""


def consult_doctor(site: Site) -> str:
    """It finds nothing wrong with good hosts, and each mistake of units and permissions."""
    master = site.wait_settled()
    for name, host in site.hosts.items():
        wrong = [one for one in findings(host) if one["severity"] == "problem"]
        assert not wrong, f"{name}: {wrong}"
    (standby,) = (host for name, host in site.hosts.items() if name != master)
    for kind, (do, undo) in MISTAKES.items():
        standby.ask(do)
        found = {one["kind"] for one in findings(standby)}
        standby.run(undo)
        assert kind in found, f"{do}: {sorted(found)}"
    return f"no problems; {len(MISTAKES)} of {len(MISTAKES)} mistakes found"


def findings(host: Host) -> list[dict[str, Any]]:
    """What doctor says there."""
    return list(json.loads(host.ask("ovpnha doctor --json"))["findings"])


def reboot(site: Site) -> str:
    """The master reboots."""
    name = site.wait_settled()
    host = site.hosts[name]
    host.ask("systemctl --no-block reboot")
    host.wait_off()
    host.start()
    host.wait_up()
    return f"of {name}"


def cut_power(site: Site) -> str:
    """The master loses its power, and has it again when the other one serves."""
    name = site.wait_settled()
    site.hosts[name].cut_power()
    site.wait_answered()
    site.hosts[name].start()
    site.hosts[name].wait_up()
    return f"of {name}"


def restart_openvpn(site: Site) -> str:
    """What habit does."""
    return _run_on_master(site, f"systemctl restart {UNIT}")


def upgrade_package(site: Site) -> str:
    """An upgrade of OpenVPN's package restarts nothing, and says what runs on."""
    name = site.wait_settled()
    host = site.hosts[name]
    before = host.run(f"systemctl show -P MainPID {UNIT}")
    said = host.run("dpkg -i openvpn-cluster_*.deb")
    if host.run(f"systemctl show -P MainPID {UNIT}") != before:
        raise LabError("the upgrade restarted the server")
    if f"systemctl restart {UNIT}.service" not in said or "reboot" in said:
        raise LabError(f"the upgrade said {said}")
    return f"on {name}"


def remove_package(site: Site) -> str:
    """Its removal ends the servers that run from it, and leaves nothing of them."""
    name = site.wait_settled()
    other = next(one for one in site.hosts if one != name)
    host = site.hosts[other]
    host.run("dpkg --purge openvpn-cluster")
    left = host.ask(
        "pidof openvpn-cluster; ls -d /run/openvpn-cluster /etc/systemd/system/*/openvpn-c*"
    )
    if left:
        raise LabError(f"the removal left {left}")
    host.run(f"dpkg -i openvpn-cluster_*.deb && systemctl enable --now {UNIT}")
    return f"on {other}, and back"


def restart_all(site: Site) -> str:
    """What needrestart does after an update of a library."""
    return _run_on_master(site, f"systemctl restart keepalived.service ovpnha.service {UNIT}")


def stop_one_by_one(site: Site) -> str:
    """The sidecar first, then OpenVPN, then keepalived: the worst order."""
    name = site.wait_settled()
    for unit in ("ovpnha", UNIT, "keepalived"):
        site.hosts[name].run(f"systemctl stop {unit}")
    site.wait_answered()
    site.hosts[name].run(f"systemctl start ovpnha {UNIT} keepalived")
    return f"on {name}"


def terminate_openvpn(site: Site) -> str:
    """SIGTERM past the service manager."""
    name = site.wait_settled()
    site.hosts[name].signal(UNIT, signal.SIGTERM)
    return f"on {name}"


def take_over_with_tcp(site: Site) -> str:
    """An instance for TCP, bound to the VIP, without `cluster`: it follows the VIP by itself."""
    site.add_tcp()
    name = site.wait_settled()
    other = next(one for one in site.hosts if one != name)
    _wait_listening(site, name)
    wait_until(lambda: _restarts(site, other) >= 3, "it is tried again on the standby", SECONDS)
    site.hosts[name].run("ovpnha demote")
    moved = time.monotonic()
    _wait_listening(site, other)
    return f"listens on {other} {time.monotonic() - moved:.1f} s after the VIP came"


def hang_sidecar(site: Site) -> str:
    """The master's sidecar hangs: its watchdog restarts it."""
    name = site.wait_settled()
    before = site.hosts[name].run("systemctl show -P NRestarts ovpnha")
    hung = time.monotonic()
    site.hosts[name].signal("ovpnha", signal.SIGSTOP)

    def restarted() -> bool:
        return site.hosts[name].ask("systemctl show -P NRestarts ovpnha") != before

    wait_until(restarted, "the watchdog restarts the sidecar", WATCHDOG_SECONDS)
    return f"on {name}, restarted after {time.monotonic() - hung:.1f} s"


def _run_on_master(site: Site, command: str) -> str:
    name = site.wait_settled()
    begin = time.monotonic()
    site.hosts[name].run(command)
    return f"on {name}, took {time.monotonic() - begin:.1f} s"


def _wait_listening(site: Site, name: str) -> None:
    def listens() -> bool:
        return "192.0.2.10:1194" in site.hosts[name].ask("ss --listening --tcp --numeric")

    wait_until(listens, f"the TCP instance listens on {name}", SECONDS)


def _restarts(site: Site, name: str) -> int:
    return int(site.hosts[name].run(f"systemctl show -P NRestarts {TCP_UNIT}"))


DEEDS = (
    Deed("migration, following the page", migrate, MIGRATION_SECONDS * 1000, restarts=1),
    Deed("doctor on both hosts, and four mistakes", consult_doctor),
    Deed("systemctl restart of the master's OpenVPN", restart_openvpn),
    Deed("upgrade of OpenVPN's package on the master", upgrade_package),
    Deed("removal of OpenVPN's package on the standby", remove_package),
    Deed("restart of everything, as needrestart does", restart_all),
    Deed("SIGTERM to the master's OpenVPN", terminate_openvpn),
    Deed("stop of the sidecar, of OpenVPN, of keepalived", stop_one_by_one),
    Deed("reboot of the master", reboot),
    Deed("power cut of the master", cut_power),
    Deed("hung sidecar of the master", hang_sidecar),
    Deed("TCP instance bound to the VIP", take_over_with_tcp),
    Deed("power cut under NAT with conntrackd", cut_power_under_nat),
    Deed("reload of nftables under NAT", reload_rules_under_nat),
    Deed("reload of the master's OpenVPN, which starts it anew", reload_openvpn),
    Deed("restart by force without another node", restart_by_force, restarts=2),
)


def write(rows: list[Row], path: Path) -> None:
    """build/lab/hosts.json"""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps([asdict(row) for row in rows], indent=2) + "\n")
