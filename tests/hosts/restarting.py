"""OpenVPN started anew on one host, by its service manager: deeds of ``ovpnha restart-openvpn``."""

from __future__ import annotations

import json
import time
from typing import Any

from tests.hosts import page
from tests.hosts.host import Host
from tests.hosts.site import UNIT, Site
from tests.lab.errors import LabError
from tests.lab.waiting import wait_until

SECONDS = 120.0
CONFIG = f"/etc/openvpn/server/{page.NAME}.conf"
SIDECAR = "/etc/ovpnha/ovpnha.toml"
RESTART = "ovpnha restart-openvpn"
CHANGED = "tun-mtu 1450"
"""Nothing that a client can go on without knowing of."""


def _give_spares(site: Site) -> None:
    """Each node may have a second process for the length of a restart."""
    master = site.wait_settled()
    for name in sorted(site.hosts, key=lambda one: one == master):
        host = site.hosts[name]
        if "cluster-spare" not in host.read(CONFIG):
            host.run(f"sed -i '/^\\[\\[instance\\]\\]/a spare = \"restart\"' {SIDECAR}")
            host.run(f"echo cluster-spare >>{CONFIG}")
            host.run(f"systemctl restart ovpnha {UNIT}")
        site.wait_settled()


def _pids(host: Host) -> dict[str, str]:
    """The processes of OpenVPN, by what they run."""
    said = host.ask("pgrep -ax openvpn-cluster")
    return dict(line.split(" ", 1) for line in said.splitlines())


def _ask(host: Host, command: str) -> dict[str, Any]:
    return dict(json.loads(host.ask(f"{command} --json")))


def reload_openvpn(site: Site) -> str:
    """What an administrator does after a new certificate: the same one serves on, as another."""
    _give_spares(site)
    name = site.wait_settled()
    host = site.hosts[name]
    before = set(_pids(host))
    host.run(f"systemctl reload {UNIT}")
    after = set(_pids(host))
    if before & after or not after:
        raise LabError(f"before the reload {sorted(before)} ran, and after it {sorted(after)}")
    if (now := site.wait_settled()) != name:
        raise LabError(f"{name} is not master any more, but {now}")
    return f"on {name}, {len(after)} process after it"


def restart_by_force(site: Site) -> str:
    """A change that clients must know of, without another node: refused, then forced."""
    _give_spares(site)
    name = site.wait_settled()
    host = site.hosts[name]
    (other,) = (one for one in site.hosts.values() if one is not host)
    other.ask("systemctl --no-block poweroff")
    other.wait_off()
    try:
        host.run(f"echo {CHANGED} >>{CONFIG}")
        before = set(_pids(host))
        begun = time.monotonic()
        refused = _ask(host, RESTART)
        took = time.monotonic() - begun
        told = f"{refused.get('reason')} {refused.get('obstacles')}"
        if refused.get("phase") == "done" or CHANGED.split()[0] not in told:
            raise LabError(f"without force: {refused}")
        if str(refused["pids"][refused["serving"]]) not in before:
            raise LabError(f"what was refused has another process serve: {refused}")
        host.run(f"{RESTART} --force")
        if before & set(_pids(host)):
            raise LabError("by force nothing was started anew")
        # Who is told once more before it is back is away for as long as both of them take.
        site.wait_answered()
    finally:
        host.run(f"sed -i '/^{CHANGED}$/d' {CONFIG}")
        host.run(f"{RESTART} --force")
        other.start()
        other.wait_up()
    wait_until(lambda: host.ask(f"systemctl is-active {UNIT}") == "active", "it runs", SECONDS)
    return f"on {name}: {told}, after {took:.0f} s"
