"""Reads all that doctor wants to know of this host, in a few seconds, and changes nothing.

Decides how long anything may take: each program has ``WITHIN`` seconds, and all are asked side by
side. What this user may not read is an ``Unread`` with the reason. What the facts mean is
``ovpnha.doctor``'s.
"""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

from ovpnha import __version__
from ovpnha.config import Config
from ovpnha.doctor.facts import (
    ConfigurationFacts,
    ConntrackdFacts,
    Facts,
    PackageFacts,
    Unread,
)
from ovpnha.firewall.findings import find_findings
from ovpnha.firewall.site import Finding, Site
from ovpnha.model import ConntrackManager, VipManager
from ovpnha.runtime.firewall import Reading, read_rules
from ovpnha.runtime.hostbasics import read_host
from ovpnha.runtime.hostkeepalived import find_program, read_keepalived
from ovpnha.runtime.hostpackages import read_available, read_packages
from ovpnha.runtime.hostservers import ServerFile, list_server_files, read_servers
from ovpnha.runtime.hostsidecar import (
    StatusLook,
    find_user,
    look,
    make_links,
    make_sidecar,
    read_key,
)
from ovpnha.runtime.hostunits import Units, read_units
from ovpnha.runtime.network import NetworkTable
from ovpnha.runtime.site import make_site
from ovpnha.runtime.sourcewatcher import read_listed

WITHIN = 2.5
"""Seconds for one program."""
LOOK = 1.2
"""Seconds between two looks at what is counted: each node says something twice a second."""
SIDECAR, KEEPALIVED, CONNTRACKD = (
    f"{name}.service" for name in ("ovpnha", "keepalived", "conntrackd")
)
CONNTRACKD_FILE = Path("/etc/conntrackd/conntrackd.conf")


@dataclass(frozen=True)
class Known:
    """What was found out before: the configuration, and what must be made from it."""

    configuration: ConfigurationFacts
    node: str
    config: Config | None = None
    """None: there is none, or it is refused."""
    network: NetworkTable | None = None
    conntrackd: str | Unread = ""
    """What ``ovpnha conntrackd-config`` prints."""
    keepalived: Path | None = None
    """keepalived's file, where somebody has named one."""


def read_facts(known: Known) -> Facts:
    """Everything; programs are asked side by side."""
    config = known.config
    with ThreadPoolExecutor(max_workers=8) as pool:
        before = look(config, WITHIN)
        files = list_server_files(config)
        rules = pool.submit(read_rules, WITHIN)
        packages = pool.submit(_read_packages)
        units = pool.submit(read_units, _unit_names(files), WITHIN).result()
        user = find_user(config)
        servers = pool.submit(lambda: tuple(read_servers(files, units, user, WITHIN)))
        keepalived = pool.submit(read_keepalived, known.keepalived, units.get(KEEPALIVED), WITHIN)
        site = _site(known)
        facts = Facts(
            now=time.time(),
            node=known.node,
            version=__version__,
            configuration=known.configuration,
            packages=packages.result(),
            servers=servers.result(),
            key=read_key(config.cluster.key_file, user) if config is not None else None,
            host=read_host(config, {net.version for net in site.tunnels} if site else ()),
            firewall=_judge(site, rules.result()),
            firewall_unread=_unread(site, rules.result()),
            firewall_sparing=site.services.sparing if site is not None and site.plan else (),
            sidecar_unit=units.get(SIDECAR),
            keepalived=keepalived.result() if _wants_keepalived(config) else None,
            conntrackd=_conntrackd(known, units),
        )
    after = _look_again(config, before)
    return replace(
        facts, links=make_links(before, after), sidecar=make_sidecar(before, after, user)
    )


def _look_again(config: Config | None, before: StatusLook) -> StatusLook:
    """A sidecar that did not answer is not waited for twice."""
    if config is None or isinstance(before.status, Unread):
        return before
    time.sleep(max(0.0, before.when + LOOK - time.monotonic()))
    return look(config, WITHIN)


def _unit_names(files: tuple[ServerFile, ...]) -> list[str]:
    names = [SIDECAR, KEEPALIVED, CONNTRACKD]
    for file in files:
        names += filter(None, (file.our_unit, file.stock_unit, file.spare_unit))
    return names


def _read_packages() -> PackageFacts | Unread:
    found = read_packages()
    if isinstance(found, Unread):
        return found
    available = read_available(WITHIN)
    if isinstance(available, Unread):  # apt makes its cache first, or cannot
        available = tuple(read_listed(Path("/"))) or available
    return replace(found, available=available)


def _site(known: Known) -> Site | None:
    if known.config is None or known.network is None:
        return None
    return make_site(known.config, known.network)


def _judge(site: Site | None, reading: Reading) -> tuple[Finding, ...] | Unread | None:
    if site is None:
        return None
    if not site.tunnels:
        return Unread(
            'the tunnels\' networks are not known; name them: networks = ["10.8.0.0/24"] under'
            " [firewall], or server_config of the instance"
        )
    return tuple(find_findings(site, reading.rules))


def _unread(site: Site | None, reading: Reading) -> tuple[str, ...]:
    if site is None or not site.tunnels:
        return ()
    return (*reading.unread, *site.services.unread)


def _wants_keepalived(config: Config | None) -> bool:
    """What moves addresses on a node that is not configured yet is not our affair."""
    return config is not None and any(
        one.vip_manager is VipManager.KEEPALIVED for one in config.instance
    )


def _conntrackd(known: Known, units: Units) -> ConntrackdFacts | None:
    config = known.config
    if config is None or config.conntrack.manager is not ConntrackManager.CONNTRACKD:
        return None
    installed = find_program("conntrackd") is not None
    return ConntrackdFacts(installed, units.get(CONNTRACKD), _is_as_wanted(known.conntrackd))


def _is_as_wanted(wanted: str | Unread) -> bool | Unread:
    if isinstance(wanted, Unread):
        return wanted
    try:
        return CONNTRACKD_FILE.read_text() == wanted
    except FileNotFoundError:
        return False
    except OSError as error:
        return Unread(f"{CONNTRACKD_FILE}: {error.strerror}; run as root")
